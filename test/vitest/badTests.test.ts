/**
 * Bad tests fail: what a person sees who runs them.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { childApp } from "../support/childApp.ts"

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

interface Result {
  readonly title: string
  readonly status: string
  readonly failureMessages: ReadonlyArray<string>
}

it.live(
  "a bad test fails for what it did, a good one beside it passes, and none of them hangs",
  () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "ambit-bad-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true }))
      )
      const output = join(folder, "results.json")
      const config = at("../fixtures/badTests/vitest.config.ts")
      const child = yield* childApp(
        [
          at("../../node_modules/vitest/vitest.mjs"),
          "run",
          "--config",
          config,
          "--reporter=json",
          `--outputFile=${output}`
        ],
        { within: 60_000 }
      )
      assert.strictEqual((yield* child.end).code, 1)
      const json = JSON.parse(yield* Effect.promise(() => readFile(output, "utf8")))
      const results: ReadonlyArray<Result> = json.testResults[0].assertionResults
      const seen = results.map(({ failureMessages, status, title }) =>
        [title, status, failureMessages[0] ?? ""] as const
      )
      const messageOf = (wanted: string) => {
        const found = seen.find(([title]) => title === wanted)
        assert.strictEqual(found?.[1], "failed", wanted)
        return found?.[2] ?? ""
      }
      const failed = messageOf("a task fails")
      assert.match(
        failed,
        /TestHostFailed: 1 task of host failed, and the test did not expect it:\n {2}host\/sensor\/poll: /
      )
      assert.match(
        messageOf("a timer is left"),
        /host has left 1 thing behind:\n {2}a timer of setInterval .*bad\.spec\.ts:/
      )
      assert.match(
        messageOf("an assertion fails, and so does a task"),
        /^AssertionError: expected 'the assertion' to be/
      )
      assert.match(messageOf("it takes too long"), /Test timed out in 300ms/)
      assert.deepStrictEqual(seen.at(-1), ["all is well", "passed", ""])
    }).pipe(Effect.scoped),
  60_000
)
