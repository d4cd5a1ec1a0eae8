import { Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const foreground = { kind: "foreground" } as const

/** Forks the wait and says after how many milliseconds it was over. */
const idleAfter = (scope: TaskScope.TaskScope, options?: TaskScope.AwaitIdleOptions) =>
  Effect.gen(function*() {
    const waiting = yield* Effect.forkChild(
      options === undefined ? TaskScope.awaitIdle(scope) : TaskScope.awaitIdle(scope, options),
      { startImmediately: true }
    )
    let waited = 0
    while (waiting.pollUnsafe() === undefined && waited < 100_000) {
      yield* TestClock.adjust(10)
      waited += 10
    }
    yield* Fiber.join(waiting)
    return waited
  })

describe("awaitIdle", () => {
  it.effect("returns when the foreground task has ended (G1)", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, Effect.sleep(10), "quick", foreground)
      assert.strictEqual(yield* idleAfter(scope), 10)
    }))

  it.effect("does not wait for background tasks unless it is told to (G2)", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, Effect.sleep(500), "pump")
      yield* TaskScope.awaitIdle(scope)
      assert.strictEqual(yield* idleAfter(scope, { background: true }), 500)
    }))

  for (const depth of [1, 2, 3]) {
    it.effect(`waits for a chain of tasks of depth ${depth} (G3)`, () =>
      Effect.gen(function*() {
        const scope = yield* TaskScope.make("app")
        const link = (left: number): Effect.Effect<unknown, unknown, TaskScope.TaskScope> =>
          Effect.andThen(Effect.sleep(10), left === 0 ? Effect.void : Task.spawn(link(left - 1), "link", foreground))
        yield* TaskScope.spawn(scope, link(depth), "link", foreground)
        assert.strictEqual(yield* idleAfter(scope), 10 * (depth + 1))
      }))
  }

  it.effect("waits for a task that is started by who waited for the last one", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const first = yield* TaskScope.spawn(scope, Effect.sleep(10), "first", foreground)
      yield* Effect.forkChild(
        Effect.andThen(first.await, TaskScope.spawn(scope, Effect.sleep(20), "second", foreground)),
        { startImmediately: true }
      )
      assert.strictEqual(yield* idleAfter(scope), 30)
    }))

  it.effect("called from a task it does not wait for that task (G4)", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, Effect.sleep(30), "other", foreground)
      const waiter = yield* TaskScope.spawn(scope, TaskScope.awaitIdle(scope), "waiter", foreground)
      yield* TestClock.adjust(30)
      assert.strictEqual(waiter.status._tag, "Ended")
    }))

  it.effect("tasks that all wait for idle do not wait for each other", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const child = yield* TaskScope.child(scope, "inner")
      const one = yield* TaskScope.spawn(scope, TaskScope.awaitIdle(scope), "one", foreground)
      const two = yield* TaskScope.spawn(child, TaskScope.awaitIdle(scope), "two", foreground)
      yield* one.await
      yield* two.await
    }))

  it.effect("waits for the tasks of child scopes", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const child = yield* TaskScope.child(scope, "inner")
      yield* TaskScope.spawn(child, Effect.sleep(20), "quick", foreground)
      assert.strictEqual(yield* idleAfter(scope), 20)
    }))

  it.effect("warns once with the names of who is busy after the slow limit, and not before (G5)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, Effect.sleep("5 seconds"), "quick", foreground)
      yield* TaskScope.spawn(scope, Effect.sleep("30 seconds"), "slow", foreground)
      assert.strictEqual(yield* idleAfter(scope, { warnAfter: "6 seconds" }), 30_000)
      assert.deepStrictEqual(linesAt(recorder.records, "Warn"), ["app is not idle after 6.0 s; still busy: app/slow"])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("fails at its limit with the names of who is busy", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const endless: Effect.Effect<unknown, unknown, TaskScope.TaskScope> = Effect.suspend(() =>
        Effect.andThen(Effect.sleep(10), Task.spawn(endless, "again", foreground))
      )
      yield* TaskScope.spawn(scope, endless, "again", foreground)
      yield* TaskScope.spawn(scope, Effect.never, "pump")
      const waiting = yield* Effect.forkChild(Effect.flip(TaskScope.awaitIdle(scope, { within: "1 second" })))
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(waiting)
      assert.strictEqual(error._tag, "IdleTimeout")
      assert.match(error.message, /^app is not idle after 1\.0 s; still busy: app\/again(#\d+)?\. /)
    }))

  it.effect("a task that was given up is not waited for", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const task = yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf", foreground)
      yield* Effect.forkChild(task.interrupt(), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* TaskScope.awaitIdle(scope)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("names those who are busy, and not those who wait for them", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, Effect.never, "import", foreground)
      yield* TaskScope.spawn(scope, TaskScope.awaitIdle(scope), "waiter", foreground)
      const waiting = yield* Effect.forkChild(Effect.flip(TaskScope.awaitIdle(scope, { within: "1 second" })))
      yield* TestClock.adjust("1 second")
      assert.deepInclude(yield* Fiber.join(waiting), { _tag: "IdleTimeout", busy: ["app/import"] })
    }))

  it.effect("wherever a wait is interrupted, the task that waited is busy again", () =>
    Effect.gen(function*() {
      for (let ops = 3; ops <= 20; ops++) {
        const scope = yield* TaskScope.make("app")
        const waits = Effect.provideService(TaskScope.awaitIdle(scope), Scheduler.MaxOpsBeforeYield, ops)
        const body = Effect.gen(function*() {
          yield* Fiber.interrupt(yield* Effect.forkChild(waits, { startImmediately: true }))
          yield* TaskScope.awaitIdle(scope)
        })
        const task = yield* TaskScope.spawn(scope, body, "task", foreground)
        yield* TestClock.adjust(0)
        assert.strictEqual(task.status._tag, "Ended", `yields after ${ops} operations`)
      }
    }))

  it.effect("refuses a limit that is not positive, or not finite", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      assert.strictEqual((yield* Effect.flip(TaskScope.awaitIdle(scope, { within: 0 })))._tag, "InvalidOption")
      assert.strictEqual(
        (yield* Effect.flip(TaskScope.awaitIdle(scope, { within: Infinity }))).message,
        "within of awaitIdle of scope \"app\" is \"Infinity\": a limit must come at some time. " +
          "Give it a finite duration such as \"1 hour\"."
      )
    }))
})

/** Lets the fibers run that yield after each few operations. */
const settle = Effect.repeat(Effect.yieldNow, { times: 200 })

describe("events", () => {
  it.effect("tell the life of a task in order, and end with the scope", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const events = yield* Effect.forkChild(Stream.runCollect(TaskScope.events(scope)), { startImmediately: true })
      const child = yield* TaskScope.child(scope, "inner")
      yield* TaskScope.spawn(child, Effect.fail("E"), "bad", { onFailure: "ignore" })
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.deepStrictEqual((yield* Fiber.join(events)).map((event) => `${event._tag} ${event.path}`), [
        "Started app/inner/bad",
        "Failed app/inner/bad",
        "Ended app/inner/bad",
        "Started app/deaf",
        "ScopeStopping app",
        "ScopeStopping app/inner",
        "Stopping app/deaf",
        "ScopeClosed app/inner",
        "Abandoned app/deaf",
        "ScopeClosed app"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("reach every reader and end for each, wherever the readers begin", () =>
    Effect.gen(function*() {
      for (let ops = 3; ops <= 60; ops++) {
        const scope = yield* TaskScope.make("app")
        const read = Effect.forkChild(Stream.runCollect(TaskScope.events(scope)), { startImmediately: true })
        const slow = yield* Effect.provideService(read, Scheduler.MaxOpsBeforeYield, ops)
        const quick = yield* read
        yield* settle
        yield* TaskScope.spawn(scope, Effect.void, "hello")
        const late = yield* Effect.provideService(read, Scheduler.MaxOpsBeforeYield, ops)
        yield* TaskScope.close(scope)
        yield* settle
        const counts = [slow, quick].map((fiber) => {
          const exit = fiber.pollUnsafe()
          return exit !== undefined && Exit.isSuccess(exit) ? exit.value.length : "no end"
        })
        assert.deepStrictEqual(counts, [4, 4], `yields after ${ops} operations`)
        assert.isDefined(late.pollUnsafe(), `yields after ${ops} operations`)
      }
    }))

  it.effect("are made for nobody when the last reader has left", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const one = yield* Effect.forkChild(Stream.runDrain(TaskScope.events(scope)), { startImmediately: true })
      const two = yield* Effect.forkChild(Stream.runHead(TaskScope.events(scope)), { startImmediately: true })
      yield* TaskScope.spawn(scope, Effect.void, "hello")
      yield* Fiber.join(two)
      const inside = scope as unknown as { readonly readers: ReadonlySet<unknown> | undefined }
      assert.strictEqual(inside.readers?.size, 1)
      yield* Fiber.interrupt(one)
      assert.isUndefined(inside.readers)
    }))

  it.effect("of a closed scope are none", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.close(scope)
      assert.deepStrictEqual(yield* Stream.runCollect(TaskScope.events(scope)), [])
    }))
})
