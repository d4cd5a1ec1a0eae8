import { App } from "@ambit/core"
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { timer } from "../timer.ts"

describe("the timer app", () => {
  it.effect("counts from the moment at which all apps are ready", () =>
    Effect.gen(function*() {
      const slow = App.layer("slow", Effect.sleep("3 seconds"))
      const host = yield* TestHost.launch(Layer.mergeAll(slow, timer(Duration.seconds(1))))
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(host.control.health().state, "running")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(host.control.health().state, "stopped")
      const report = yield* host.stop
      assert.strictEqual(report.reason, "it has run for 1s")
      assert.isTrue(report.clean)
    }))
})
