import { ShutdownReport } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { childApp } from "../support/childApp.ts"

const main = fileURLToPath(new URL("../../docs/examples/hub/main.ts", import.meta.url))

/** A small folder of its own, so that nothing else changes in it. */
const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = mkdtempSync(join(tmpdir(), "hub-"))
    writeFileSync(join(folder, "first.txt"), "12345")
    return folder
  }),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** The hub on a folder. It is ready when this returns. */
const start = Effect.fnUntraced(function*(watched: string, ...flags: ReadonlyArray<string>) {
  const hub = yield* childApp([main, watched, "--every", "100 millis", ...flags])
  yield* hub.waitFor("hub is ready", "stderr")
  return hub
})

const table = /^\| path +\| what +\| outcome +\| +took \| where or why +\|$/m

/** The cells of the row of a path, without the bars. */
const rowOf = (text: string, path: string): ReadonlyArray<string> | undefined =>
  text.split("\n").map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim())).find(([cell]) =>
    cell === path
  )

describe.skipIf(process.platform === "win32")("the hub as a program", { timeout: 30_000 }, () => {
  it("runs on the Node of this workspace", () => {
    assert.isAtLeast(Number(process.versions.node.split(".")[0]), 26)
  })

  for (const [signal, exitCode] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    it.live(`${signal} stops it within its limits, with a report of every app, hook and task, and the exit code ${exitCode}`, () =>
      Effect.gen(function*() {
        const hub = yield* start(yield* folder)
        yield* hub.send(signal)
        const { code, stdout, took } = yield* hub.end
        assert.strictEqual(code, exitCode)
        assert.isBelow(took, 5000)
        assert.match(stdout, /^hub stopped cleanly in /m)
        assert.match(stdout, table)
        for (const app of ["hub/metrics", "hub/files", "hub/digest", "hub/journal"]) {
          assert.deepStrictEqual(rowOf(stdout, app)?.slice(1, 3), ["app", "stopped"], app)
        }
        assert.deepStrictEqual(rowOf(stdout, "hub/digest/last-line")?.slice(1, 3), ["hook", "completed"])
        for (const task of ["hub/metrics/sample", "hub/files/watch", "hub/digest/print", "hub/journal/turn-page"]) {
          assert.deepStrictEqual(rowOf(stdout, task)?.slice(1, 3), ["background", "interrupted"], task)
        }
      }))
  }

  it.live("a task that refuses to stop holds it for two seconds, and is named with file and line", () =>
    Effect.gen(function*() {
      const hub = yield* start(yield* folder, "--stubborn")
      yield* hub.send("SIGINT")
      const { code, stderr, stdout, took } = yield* hub.end
      assert.strictEqual(code, 70)
      assert.isAtLeast(took, 1900)
      assert.isBelow(took, 4000)
      assert.match(stdout, /^hub stopped NOT cleanly in /m)
      const [, kind, outcome, , place] = rowOf(stdout, "hub/stubborn/sulk") ?? []
      assert.deepStrictEqual([kind, outcome], ["background", "abandoned"])
      assert.match(place ?? "", /^refuseToStop \(.*stubborn\.ts:\d+:\d+\)$/)
      assert.deepStrictEqual(rowOf(stdout, "hub/digest")?.slice(1, 3), ["app", "stopped"])
      assert.match(stderr, /WARN +Task hub\/stubborn\/sulk did not stop within 2\.0 s/)
    }))

  it.live("a second Ctrl-C waits for nobody, and says who is still alive", () =>
    Effect.gen(function*() {
      const hub = yield* start(yield* folder, "--stubborn")
      yield* hub.send("SIGINT")
      yield* hub.waitFor("hub stops: SIGINT", "stderr")
      yield* hub.send("SIGINT")
      yield* hub.waitFor(/no more patience\. Still alive:\n(?: {2}.*\n)* {2}hub\/stubborn\/sulk \(background/, "stderr")
      yield* hub.send("SIGINT")
      const { code, stderr, took } = yield* hub.end
      assert.strictEqual(code, 71)
      assert.isBelow(took, 1500)
      assert.match(
        stderr,
        // Others may still be on their way out.
        /The process ends at once: a third signal \(SIGINT\)\. Still alive:\n(?: {2}.*\n)* {2}hub\/stubborn\/sulk /
      )
    }))

  it.live("it ends by itself after the time it was given, also when a task refuses to", () =>
    Effect.gen(function*() {
      const watched = yield* folder
      const hubs = yield* Effect.all([
        start(watched, "--for", "1 second"),
        start(watched, "--for", "1 second", "--stubborn")
      ])
      const [willing, stubborn] = yield* Effect.all(hubs.map((hub) => hub.end))
      assert.strictEqual(willing?.code, 0)
      assert.match(willing?.stdout ?? "", /^hub stopped cleanly in .*; reason: it has run for 1s\)$/m)
      assert.strictEqual(stubborn?.code, 70)
      assert.match(stubborn?.stdout ?? "", /^hub stopped NOT cleanly in /m)
    }))

  it.live("with a source that fails it stops as cleanly", () =>
    Effect.gen(function*() {
      const hub = yield* start(yield* folder, "--flaky", "--for", "2 seconds")
      const { code, stdout } = yield* hub.end
      assert.strictEqual(code, 0)
      assert.match(stdout, /^hub stopped cleanly in /m)
      assert.deepStrictEqual(rowOf(stdout, "hub/feed")?.slice(1, 3), ["app", "stopped"])
      assert.deepStrictEqual(rowOf(stdout, "hub/feed/read")?.slice(1, 3), ["background", "interrupted"])
    }))

  it.live("--json leaves nothing but the report on stdout, as a report can be read again", () =>
    Effect.gen(function*() {
      const hub = yield* start(yield* folder, "--for", "1 second", "--json")
      const { code, stderr, stdout } = yield* hub.end
      assert.strictEqual(code, 0)
      const report = yield* Schema.decodeEffect(Schema.fromJsonString(ShutdownReport.ShutdownReport))(stdout)
      assert.isTrue(report.clean)
      assert.strictEqual(report.path, "hub")
      assert.strictEqual(report.reason, "it has run for 1s")
      assert.sameMembers(report.apps.map((app) => app.path), [
        "hub/metrics",
        "hub/files",
        "hub/digest",
        "hub/rules",
        "hub/journal",
        "hub/timer"
      ])
      assert.match(stderr, /^\S+Z cpu /m)
    }))

  it.live("piped, each digest is a line with its time, and there are no control characters", () =>
    Effect.gen(function*() {
      const hub = yield* start(yield* folder)
      yield* hub.waitFor(/(?:.*\n){3}/)
      yield* hub.send("SIGINT")
      const { stderr, stdout } = yield* hub.end
      assert.notMatch(stdout + stderr, /[^\P{Cc}\n]/u)
      const digests = stdout.split("\n").filter((line) => line.includes("cpu"))
      assert.isAtLeast(digests.length, 3)
      for (const line of digests) {
        assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z cpu .*\| mem .* of .*\| \d+ files? in 1 folder, /)
      }
    }))

  it.live("a file that is made in the folder shows up", () =>
    Effect.gen(function*() {
      const watched = yield* folder
      const hub = yield* start(watched)
      yield* hub.waitFor("1 file in 1 folder, 5 B |")
      writeFileSync(join(watched, "second.txt"), "123")
      yield* hub.waitFor(/2 files in 1 folder, 8 B \| second\.txt created \d+ s ago/)
    }))

  it.live("a folder that is not there is said in one sentence, and nothing is started", () =>
    Effect.gen(function*() {
      const missing = join(yield* folder, "nowhere")
      const hub = yield* childApp([main, missing])
      const { code, stderr, stdout } = yield* hub.end
      assert.strictEqual(code, 1)
      assert.include(stderr, `${missing} cannot be watched: there is no such folder`)
      assert.notInclude(stderr, "hub stops")
      assert.strictEqual(stdout, "")
    }))

  it.live("a duration that is none, too short or endless is refused with an example of one", () =>
    Effect.gen(function*() {
      for (const duration of ["often", "1 milli", "0 seconds", "Infinity"]) {
        const hub = yield* childApp([main, "--every", duration])
        const { code, stderr } = yield* hub.end
        assert.strictEqual(code, 1)
        assert.include(stderr, `--every: "${duration}"`)
        assert.include(stderr, "such as \"2 seconds\"")
      }
    }))

  it.live("a reader that ends, ends it too", () =>
    Effect.gen(function*() {
      const hub = yield* start(yield* folder)
      yield* hub.stopReading("stdout")
      const { code, stderr } = yield* hub.end
      assert.strictEqual(code, 0)
      assert.include(stderr, "hub stops: nobody reads the output any more")
      assert.include(stderr, "hub stopped cleanly")
    }))
})
