import * as BlockingFunction from "@ambit/core/BlockingFunction"

export const triple = BlockingFunction.make(import.meta, "triple", (n) => n * 3)
