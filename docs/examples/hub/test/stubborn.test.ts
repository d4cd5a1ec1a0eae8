// @effect-diagnostics strictEffectProvide:off
import { Host } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { stubborn } from "../stubborn.ts"
import { timer } from "../timer.ts"

describe("the stubborn app", () => {
  it.effect("holds the stop of a host for two seconds, and is named with the place where it is stuck", () =>
    Effect.gen(function*() {
      const apps = Layer.mergeAll(stubborn, timer(Duration.seconds(1)))
      const launched = yield* Effect.forkChild(Host.launch(apps, { name: "hub", stopWithin: "5 seconds" }))
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(launched.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isDefined(launched.pollUnsafe())
      const report = yield* Fiber.join(launched)
      assert.strictEqual(report.took, 2000)
      assert.isFalse(report.clean)
      const [stuck, ...others] = report.tasks.filter((task) => task.outcome === "abandoned")
      assert.strictEqual(stuck?.path, "hub/stubborn/sulk")
      assert.match(stuck?.place ?? "", /^refuseToStop \(.*stubborn\.ts:\d+:\d+\)$/)
      assert.deepStrictEqual(others, [])
    }).pipe(Effect.provide(Logger.layer([]))))
})
