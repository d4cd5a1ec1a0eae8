// @effect-diagnostics strictEffectProvide:off
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { type Counters, CountersUnreadable, Machine } from "../machine.ts"
import { Metrics } from "../metrics.ts"

/** A quarter busy, and one more byte of everything with each reading. */
const counters = (reading: number): Counters => ({
  cpu: { busy: reading, total: 4 * reading },
  memory: { used: reading, total: 1000 },
  disk: { read: reading, written: 2 * reading },
  network: undefined
})

/** Counts its readings, and fails those that `broken` says. */
const makeMachine = (broken: (reading: number) => boolean = () => false) => {
  const machine = { readings: 0 }
  const read = Effect.suspend(() => {
    const reading = ++machine.readings
    return broken(reading)
      ? Effect.fail(new CountersUnreadable({ source: "/proc/stat", problem: "it is gone" }))
      : Effect.succeed(counters(reading))
  })
  const layer = Layer.provide(Metrics.layer, Layer.succeed(Machine, Machine.of({ read })))
  return { machine, layer }
}

const makeLog = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel !== "Info") lines.push(String(message))
  })
  return { lines, layer: Logger.layer([logger]) }
}

describe("the metrics app", () => {
  it.effect("reads the machine at its start and every second from then on", () =>
    Effect.gen(function*() {
      const { layer, machine } = makeMachine()
      yield* TestHost.launch(layer)
      assert.strictEqual(machine.readings, 1)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(machine.readings, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(machine.readings, 2)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(machine.readings, 12)
    }))

  it.effect("knows the memory at once, and the rates after a second", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(makeMachine().layer)
      const usage = host.run(Metrics.use((metrics) => metrics.usage("2 seconds")))
      assert.deepStrictEqual(yield* usage, {
        cpu: undefined,
        memory: { used: 1, total: 1000 },
        disk: undefined,
        network: undefined
      })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* usage, {
        cpu: 0.25,
        memory: { used: 2, total: 1000 },
        disk: { read: 1, written: 2 },
        network: undefined
      })
    }))

  it.effect("fails to start on a machine that tells nothing", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(TestHost.launch(makeMachine(() => true).layer))
      assert.instanceOf(error, CountersUnreadable)
      assert.include(error.message, "/proc/stat cannot be read")
    }))

  it.effect("tries again after 1, 2 and 4 seconds when the machine fails later, says so each time, and goes on", () => {
    const { layer, machine } = makeMachine((reading) => reading >= 2 && reading <= 4)
    const log = makeLog()
    return Effect.gen(function*() {
      const host = yield* TestHost.launch(layer)
      const readAfter: Array<number> = []
      for (let second = 1, seen = 1; second <= 10; second++) {
        yield* TestClock.adjust("1 second")
        for (; seen < machine.readings; seen++) readAfter.push(second)
      }
      assert.deepStrictEqual(readAfter, [1, 2, 4, 8, 9, 10])
      assert.deepStrictEqual(log.lines, Array(3).fill("/proc/stat cannot be read: it is gone. Trying again"))
      const usage = yield* host.run(Metrics.use((metrics) => metrics.usage("1 second")))
      assert.strictEqual(usage.cpu, 0.25)
    }).pipe(Effect.provide(log.layer))
  })
})
