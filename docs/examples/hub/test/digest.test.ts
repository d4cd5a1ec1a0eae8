// @effect-diagnostics strictEffectProvide:off
import { Host } from "@ambit/core"
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { digest } from "../digest.ts"
import { Files, type FilesSummary } from "../files.ts"
import { Metrics } from "../metrics.ts"
import { Screen, ScreenGone } from "../screen.ts"
import { timer } from "../timer.ts"

const summary: FilesSummary = {
  files: 1,
  folders: 1,
  bytes: 1,
  unreadable: 0,
  walking: false,
  hashing: undefined,
  changes: [],
  newestHash: undefined
}

const files = Layer.succeed(
  Files,
  Files.of({
    summary: Effect.succeed(summary)
  })
)

/** Its processor is as busy as the number of seconds it is asked for. */
const metrics = Layer.succeed(
  Metrics,
  Metrics.of({
    usage: (last) =>
      Effect.succeed({
        cpu: Duration.toSeconds(last) / 100,
        memory: { used: 1, total: 2 },
        disk: undefined,
        network: undefined
      })
  })
)

/** Notes what is shown, and when. Its reader is gone after `lines`, and to keep a line takes `keeping`. */
const makeScreen = ({ keeping = Duration.zero, lines = Infinity, live = false } = {}) => {
  const shown: Array<string> = []
  const note = (how: string) => (line: string) =>
    Effect.gen(function*() {
      if (shown.length >= lines) return yield* new ScreenGone({ cause: "EPIPE" })
      const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      shown.push(`${now} ${how} ${line.slice(0, line.indexOf(" |"))}`)
    })
  const keep = (line: string) => Effect.andThen(Effect.sleep(keeping), note("keep")(line))
  const layer = Layer.succeed(Screen, Screen.of({ live, show: note("show"), keep, print: note("print") }))
  return { shown, layer }
}

describe("the digest app", () => {
  it.effect("shows a line at once and then as often as asked, and keeps the last one when it stops", () => {
    const screen = makeScreen()
    const apps = Layer.mergeAll(
      Layer.provide(digest(Duration.seconds(2)), [files, metrics]),
      timer(Duration.seconds(5))
    )
    return Effect.gen(function*() {
      const host = yield* TestHost.launch(apps, { name: "hub" })
      yield* TestClock.adjust("5 seconds")
      const report = yield* host.stop
      assert.deepStrictEqual(screen.shown, [
        "0 show cpu   2% (1 min 60%)",
        "2000 show cpu   2% (1 min 60%)",
        "4000 show cpu   2% (1 min 60%)",
        "5000 keep cpu   2% (1 min 60%)"
      ])
      assert.isTrue(report.clean)
      assert.strictEqual(report.reason, "it has run for 5s")
    }).pipe(Effect.provide(screen.layer))
  })

  it.effect("on a terminal, shows a bar that grows five times a second until all is hashed", () => {
    const screen = makeScreen({ live: true })
    let left = 3
    const busy = Layer.succeed(
      Files,
      Files.of({ summary: Effect.sync(() => ({ ...summary, hashing: left-- > 0 ? 0.5 : undefined })) })
    )
    const apps = Layer.mergeAll(
      Layer.provide(digest(Duration.seconds(2)), [busy, metrics]),
      timer(Duration.seconds(3))
    )
    return Effect.gen(function*() {
      const host = yield* TestHost.launch(apps, { name: "hub" })
      yield* TestClock.adjust("3 seconds")
      yield* host.stop
      assert.deepStrictEqual(screen.shown.map((line) => line.split(" ", 2).join(" ")), [
        "0 show",
        "200 show",
        "400 show",
        "600 show",
        "2600 show",
        "3000 keep"
      ])
    }).pipe(Effect.provide(screen.layer))
  })

  it.effect("shows nothing more once it has begun with the last line", () => {
    const screen = makeScreen({ keeping: Duration.millis(500) })
    const apps = Layer.mergeAll(
      Layer.provide(digest(Duration.millis(200)), [files, metrics]),
      timer(Duration.millis(300))
    )
    return Effect.gen(function*() {
      const host = yield* TestHost.launch(apps, { name: "hub" })
      yield* TestClock.adjust("2 seconds")
      yield* host.stop
      assert.deepStrictEqual(screen.shown.map((line) => line.split(" ", 2).join(" ")), [
        "0 show",
        "200 show",
        "800 keep"
      ])
    }).pipe(Effect.provide(screen.layer))
  })

  it.effect("ends the host with a failure when it cannot make its line", () => {
    const broken = Layer.succeed(Files, Files.of({ summary: Effect.die("a bug") }))
    const apps = Layer.provide(digest(Duration.seconds(1)), [broken, metrics])
    return Effect.gen(function*() {
      const host = yield* TestHost.launch(apps, { name: "hub" })
      const exit = yield* host.exit
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, Host.HostFailed)
      assert.include(error.message, "task hub/digest/print failed")
      assert.deepStrictEqual((yield* host.expectFailure("digest/print")).cause, Cause.die("a bug"))
    }).pipe(Effect.provide(makeScreen().layer))
  })

  it.effect("ends the host when nobody reads its lines any more, and calls that no failure", () => {
    const screen = makeScreen({ lines: 2 })
    const apps = Layer.provide(digest(Duration.seconds(1)), [files, metrics])
    return Effect.gen(function*() {
      const host = yield* TestHost.launch(apps, { name: "hub" })
      yield* TestClock.adjust("2 seconds")
      const report = yield* host.stop
      assert.strictEqual(report.reason, "nobody reads the output any more")
      assert.isTrue(report.clean)
    }).pipe(Effect.provide(screen.layer))
  })
})
