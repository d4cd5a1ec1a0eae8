// @effect-diagnostics strictEffectProvide:off
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Sensor } from "../sensor.ts"

it.effect("the simulated sensor breaks and comes back, until its battery is empty", () =>
  Effect.gen(function*() {
    const { readings } = yield* Effect.provide(Sensor, Sensor.simulated)
    const seen = { readings: 0, lost: 0 }
    const connection = Stream.runForEach(readings, () => Effect.sync(() => seen.readings++)).pipe(
      Effect.catchTag("SensorLost", () => Effect.sync(() => seen.lost++))
    )
    const life = yield* Effect.forkChild(Effect.flip(Effect.forever(connection)))
    yield* TestClock.adjust("10 minutes")
    assert.strictEqual((yield* Fiber.join(life))._tag, "BatteryEmpty")
    assert.strictEqual(seen.readings, 30)
    assert.isAbove(seen.lost, 0)
  }).pipe(Random.withSeed("a seed")))
