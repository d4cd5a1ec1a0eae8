/**
 * The examples of the page `guide/block.md`. Each thread imports this file, so it
 * has no side effects, and loads no Effect.
 */
import * as BlockingFunction from "@ambit/core/BlockingFunction"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"

export const sha256 = BlockingFunction.make(
  import.meta,
  "sha256",
  (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex")
)
