/**
 * A call that sits in native code, where nobody can see or end it. The program that
 * it waits for says when it is there.
 */
import { Blocking } from "@ambit/core"
import * as Effect from "effect/Effect"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { nativeSleep } from "../fixtures/functions.ts"
import { eventually } from "./eventually.ts"

export const nativeCall = (seconds: number) =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "ambit-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const begun = join(folder, "begun")
    return {
      call: Blocking.run(nativeSleep, seconds, begun),
      /** Waits until it sits there. */
      begun: eventually(Effect.sync(() => existsSync(begun)))
    }
  })
