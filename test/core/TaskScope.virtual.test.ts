import { App, Host, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { makeRecorder } from "../support/recorder.ts"

/** Runs a test body as `it.effect` does, on a clock that nobody advances at the end, and measures real time. */
const runAsTest = <E>(body: Effect.Effect<unknown, E>) =>
  Effect.gen(function*() {
    const begin = performance.now()
    const exit = yield* Effect.exit(body.pipe(Effect.provide(TestClock.layer())))
    return { exit, took: performance.now() - begin }
  })

const failure = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "no failure"

describe("under a virtual clock that nobody advances", () => {
  it.live("a scope with a stuck task ends its test within seconds, with an error that names the task", () =>
    Effect.gen(function*() {
      const { exit, took } = yield* runAsTest(Effect.scoped(Effect.gen(function*() {
        const scope = yield* TaskScope.make("app")
        yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "stuck")
      })))
      assert.isBelow(took, 2500)
      assert.match(failure(exit), /app could not close: the virtual clock stood still, .*: app\/stuck\./)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.live("an app with a stuck task, hook and resource does as well", () =>
    Effect.gen(function*() {
      const Stuck = App.layer(
        "app",
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => Effect.never)
          yield* App.onStop("hang", Effect.never)
          yield* Task.spawn(Effect.uninterruptible(Effect.never), "stuck")
        })
      )
      const { exit, took } = yield* runAsTest(Effect.scoped(Layer.build(Stuck)))
      assert.isBelow(took, 2500)
      assert.match(failure(exit), /app could not close: .*: app\/stuck, app\/hang, app\/\(resources\)\./)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.live("a host does as well", () =>
    Effect.gen(function*() {
      const Stuck = App.layer("app", Task.spawn(Effect.uninterruptible(Effect.never), "stuck"))
      const Stopper = App.layer("stopper", Host.requestStop("done"))
      const { exit, took } = yield* runAsTest(Host.launch(Layer.mergeAll(Stuck, Stopper), { name: "hub" }))
      assert.isBelow(took, 2500)
      assert.match(failure(exit), /hub could not close: the virtual clock stood still, .*: hub\/app\/stuck\./)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.live("a scope whose tasks end by themselves closes at once", () =>
    Effect.gen(function*() {
      const { exit, took } = yield* runAsTest(Effect.scoped(Effect.gen(function*() {
        const scope = yield* TaskScope.make("app")
        yield* TaskScope.spawn(scope, Effect.never, "healthy")
      })))
      assert.isTrue(Exit.isSuccess(exit))
      assert.isBelow(took, 500)
    }))

  it.live("real work that gets on is waited for, though the clock stands", () =>
    Effect.gen(function*() {
      const slow = (millis: number) => Effect.ensuring(Effect.never, TestClock.withLive(Effect.sleep(millis)))
      const { exit } = yield* runAsTest(Effect.scoped(Effect.gen(function*() {
        const scope = yield* TaskScope.make("app")
        for (const millis of [600, 1200, 1800]) yield* TaskScope.spawn(scope, slow(millis), "slow")
      })))
      assert.isTrue(Exit.isSuccess(exit), failure(exit))
    }))
})
