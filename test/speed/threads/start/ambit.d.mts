import type * as BlockingFunction from "@ambit/core/BlockingFunction"

export declare const triple: BlockingFunction.BlockingFunction<[n: number], number>
