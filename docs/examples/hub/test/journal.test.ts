import { App, Bus, Restart, Task } from "@ambit/core"
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { journal } from "../journal.ts"
import { Screen, ScreenGone } from "../screen.ts"
import { Changes, Temperatures } from "../topics.ts"

/** The app with a bus to publish on, and the lines that it shows, without their time. */
const makeJournal = ({ readerGone = false } = {}) => {
  const lines: Array<string> = []
  const unused = () => Effect.die("not used here")
  const keep = (line: string) =>
    readerGone ? Effect.fail(new ScreenGone({ cause: "EPIPE" })) : Effect.sync(() => {
      lines.push(line.replace(/^\d\d:\d\d \| /, ""))
    })
  const screen = Layer.succeed(Screen, Screen.of({ live: false, show: unused, keep, print: unused }))
  return { lines, layer: journal.pipe(Layer.provide(screen), Layer.provideMerge(Bus.layer)) }
}

const change = Bus.publish(Changes, { path: "a.txt", what: "changed", at: 0 })
const reading = (celsius: number) => Bus.publish(Temperatures, { celsius })

describe("the journal app", () => {
  it.effect("shows at the full minute what was published, whoever did", () =>
    Effect.gen(function*() {
      const { layer, lines } = makeJournal()
      const host = yield* TestHost.launch(layer)
      yield* host.run(Effect.all([change, change, reading(20.51), reading(21.44)]))
      yield* TestClock.adjust("59999 millis")
      assert.deepStrictEqual(lines, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(lines, ["2 changes | 2 readings, the last 21.4 °C"])
    }))

  it.effect("begins anew each minute, and shows nothing for one in which nothing has happened", () =>
    Effect.gen(function*() {
      const { layer, lines } = makeJournal()
      const host = yield* TestHost.launch(layer)
      yield* host.run(change)
      yield* TestClock.adjust("150 seconds")
      yield* host.run(reading(-3))
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(lines, ["1 change", "1 reading, the last -3.0 °C"])
    }))

  it.effect("counts what was started again, in whatever app", () =>
    Effect.gen(function*() {
      const { layer, lines } = makeJournal()
      const restart = Restart.permanent({ schedule: Schedule.spaced("15 seconds") })
      const poll = Effect.delay(Effect.fail("no broker"), "5 seconds")
      const sensor = App.layer("sensor", Task.spawn(poll, "poll", { restart }))
      yield* TestHost.launch(Layer.merge(layer, sensor), { name: "hub" })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["3 restarts of hub/sensor/poll"])
    }))

  it.effect("makes a number of ten thousand changes, and nothing else", () =>
    Effect.gen(function*() {
      const { layer, lines } = makeJournal()
      const host = yield* TestHost.launch(layer)
      const before = (yield* host.tasks).length
      yield* host.run(Effect.repeat(change, { times: 9999 }))
      assert.strictEqual((yield* host.tasks).length, before)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["10000 changes"])
    }))

  it.effect("ends the host when nobody reads its lines any more, and calls that no failure", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(makeJournal({ readerGone: true }).layer)
      yield* host.run(change)
      yield* TestClock.adjust("1 minute")
      const report = yield* host.stop
      assert.strictEqual(report.reason, "nobody reads the output any more")
      assert.isTrue(report.clean)
    }))
})
