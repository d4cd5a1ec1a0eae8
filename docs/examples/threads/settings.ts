/**
 * The example of errors of the page `guide/block.md`.
 */
import * as BlockingFunction from "@ambit/core/BlockingFunction"
import { readFileSync } from "node:fs"

export const readSettings = BlockingFunction.make(import.meta, "readSettings", (path: string): unknown => {
  try {
    return JSON.parse(readFileSync(path, "utf8"))
  } catch (error) {
    throw Object.assign(new Error("bad settings"), { _tag: "BadSettings", path, problem: (error as Error).name })
  }
})
