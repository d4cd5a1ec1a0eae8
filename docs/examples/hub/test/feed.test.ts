import { App, Bus, Job, RestartExhausted } from "@ambit/core"
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { feed } from "../feed.ts"
import { BatteryEmpty, type Reading, Sensor, SensorLost } from "../sensor.ts"
import { Temperatures } from "../topics.ts"

type Connection = Sensor["Service"]["readings"]

const broken: Connection = Stream.fail(new SensorLost())
const empty: Connection = Stream.fail(new BatteryEmpty())
const brokenAfter = (seconds: number): Connection =>
  Stream.fromEffect(Effect.delay(Effect.fail(new SensorLost()), `${seconds} seconds`))

/** The app with a sensor whose connections go as told; all after these are broken. Notes the second of each. */
const makeFeed = (...connections: ReadonlyArray<Connection>) => {
  const connects: Array<number> = []
  const connect = Effect.map(Clock.currentTimeMillis, (now) => {
    const connection = connections[connects.length] ?? broken
    connects.push(now / 1000)
    return connection
  })
  const sensor = Layer.succeed(Sensor, Sensor.of({ readings: Stream.unwrap(connect) }))
  return { connects, layer: Layer.provide(feed, [sensor, Bus.layer]) }
}

describe("the feed app", () => {
  it.effect("publishes each reading, for whoever listens", () =>
    Effect.gen(function*() {
      const { layer } = makeFeed(Stream.concat(Stream.make({ celsius: 20 }, { celsius: 21 }), Stream.never))
      const seen: Array<number> = []
      const note = Job.callback("note", ({ celsius }: Reading) => seen.push(celsius))
      const listener = App.layer("listener", Bus.on(Temperatures, note))
      yield* TestHost.launch(Layer.provide(layer, Layer.provide(listener, Bus.layer)))
      assert.deepStrictEqual(seen, [20, 21])
    }))

  it.effect("connects again 1, 2, 4 and 8 seconds after a connection broke", () =>
    Effect.gen(function*() {
      const { connects, layer } = makeFeed(broken, broken, broken, broken, Stream.never)
      const host = yield* TestHost.launch(layer)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(connects, [0, 1, 3, 7, 15])
      assert.strictEqual((yield* host.task("feed/read")).restarts, 4)
    }))

  it.effect("connects again after 1 second when the connection had held for ten", () =>
    Effect.gen(function*() {
      const { connects, layer } = makeFeed(broken, broken, brokenAfter(10), Stream.never)
      yield* TestHost.launch(layer)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(connects, [0, 1, 3, 14])
    }))

  it.effect("does not connect again to a sensor whose battery is empty, and the hub goes on", () =>
    Effect.gen(function*() {
      const { connects, layer } = makeFeed(empty)
      const host = yield* TestHost.launch(layer)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(connects, [0])
      assert.deepStrictEqual((yield* host.expectFailure("feed/read")).cause, Cause.fail(new BatteryEmpty()))
      assert.strictEqual(host.control.health().state, "running")
    }))

  it.effect("begins afresh three times when no connection works, and then stays down while the hub goes on", () =>
    Effect.gen(function*() {
      const { connects, layer } = makeFeed()
      const host = yield* TestHost.launch(layer)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(connects, [0, 30, 60, 90].flatMap((begin) => [0, 1, 3, 7, 15].map((s) => begin + s)))
      const failures = yield* Effect.replicateEffect(host.expectFailure("feed/read"), 4)
      assert.isTrue(failures.every(({ cause }) => Cause.squash(cause) instanceof RestartExhausted))
      assert.strictEqual(host.control.health().state, "running")
    }))

  it.effect("stops at once while it waits for the next connection", () =>
    Effect.gen(function*() {
      const { connects, layer } = makeFeed()
      const host = yield* TestHost.launch(layer, { name: "hub" })
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* host.task("feed/read")).status._tag, "Restarting")
      const report = yield* host.stop
      const [read] = report.tasks
      assert.deepStrictEqual([report.took, read?.path, read?.outcome], [0, "hub/feed/read", "interrupted"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(connects, [0, 1, 3])
    }))
})
