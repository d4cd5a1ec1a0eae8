// @effect-diagnostics strictEffectProvide:off
import { App, Host } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { timer } from "../timer.ts"

describe("the timer app", () => {
  it.effect("counts from the moment at which all apps are ready", () =>
    Effect.gen(function*() {
      const slow = App.layer("slow", Effect.sleep("3 seconds"))
      const apps = Layer.mergeAll(slow, timer(Duration.seconds(1)))
      const launched = yield* Effect.forkChild(Host.launch(apps, { name: "hub" }))
      yield* TestClock.adjust("3999 millis")
      assert.isUndefined(launched.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const report = yield* Fiber.join(launched)
      assert.strictEqual(report.reason, "it has run for 1s")
      assert.isTrue(report.clean)
    }).pipe(Effect.provide(Logger.layer([]))))
})
