import { App, Restart, Task } from "@ambit/core"
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import { makeRecorder } from "../support/recorder.ts"

const readings = Effect.fail("no broker")

const sensorWith = (restart: Restart.Restart) => App.layer("sensor", Task.spawn(readings, "readings", { restart }))

describe("a task that is started again", () => {
  it.effect("a broken broker is retried after 1, 2, 4 seconds, and stops in time", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(
        sensorWith(Restart.permanent({ schedule: Schedule.exponential("1 second") }))
      )
      yield* TestClock.adjust("7 seconds")
      const task = yield* host.task("sensor/readings")
      assert.deepStrictEqual([task.restarts, task.status._tag], [3, "Restarting"])
      const report = yield* host.stop
      assert.isTrue(report.clean)
      const restarts = (yield* host.events).flatMap((event) =>
        event._tag === "Restarting" ? [event.at + event.delay] : []
      )
      assert.deepStrictEqual(restarts, [1000, 3000, 7000, 15_000])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("fails the test only when it is given up", () =>
    Effect.gen(function*() {
      const restart = Restart.permanent({ schedule: Schedule.recurs(2), onExhausted: "giveUp" })
      const test = Effect.scoped(TestHost.launch(sensorWith(restart)))
      const exit = yield* Effect.exit(test)
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) assert.include(Cause.pretty(exit.cause), "sensor/readings")
    }).pipe(Effect.provide(makeRecorder().layer)))
})
