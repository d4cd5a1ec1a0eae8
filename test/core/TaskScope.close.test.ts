import { InvalidOption, Limits, type ShutdownReport, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { awakeClock } from "../support/awakeClock.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const now = TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))

/** Closes in another fiber and advances the clock by 10 ms until it is done. */
const closeAndAdvance = (scope: TaskScope.TaskScope) =>
  Effect.gen(function*() {
    yield* awakeClock
    const begin = yield* now
    const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
    yield* TestClock.adjust(0)
    while (closing.pollUnsafe() === undefined) yield* TestClock.adjust(10)
    return { report: yield* Fiber.join(closing), took: (yield* now) - begin }
  })

const outcomes = (report: ShutdownReport.ShutdownReport) =>
  Object.fromEntries(report.tasks.map((task) => [task.path, task.outcome]))

const ensuringLog = (log: Array<string>, name: string) =>
  Effect.ensuring(Effect.never, Effect.sync(() => log.push(name)))

describe("close", () => {
  it.effect("interrupts every task and runs its clean-up (B1)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const scope = yield* TaskScope.make("app")
      for (const name of ["a", "b", "c"]) yield* TaskScope.spawn(scope, ensuringLog(log, name), name)
      const report = yield* TaskScope.close(scope)
      assert.deepStrictEqual(log.toSorted(), ["a", "b", "c"])
      assert.deepStrictEqual(yield* TaskScope.tasks(scope), [])
      assert.deepStrictEqual(outcomes(report), {
        "app/a": "interrupted",
        "app/b": "interrupted",
        "app/c": "interrupted"
      })
      assert.isTrue(report.clean)
    }))

  it.effect("gives up a task that ignores it after the limit, with one warning, and reports it (B2, B3)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "300 millis" })
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 300)
      assert.deepStrictEqual(linesAt(recorder.records, "Warn"), [
        "Task app/deaf did not stop within 300 ms; it is abandoned and may still run"
      ])
      assert.deepStrictEqual(outcomes(report), { "app/deaf": "abandoned" })
      assert.isFalse(report.clean)
      assert.deepStrictEqual((yield* TaskScope.tasks(scope)).map((task) => task.status._tag), ["Abandoned"])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.live("takes its limit in real time, too (B2)", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "300 millis" })
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
      const begin = performance.now()
      yield* TaskScope.close(scope)
      const took = performance.now() - begin
      assert.isAtLeast(took, 300)
      assert.isBelow(took, 600)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("says that a clean-up failed, and goes on (B4)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const log: Array<string> = []
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.die("disk full")), "broken")
      yield* TaskScope.spawn(scope, ensuringLog(log, "other"), "other")
      const report = yield* TaskScope.close(scope)
      assert.deepStrictEqual(log, ["other"])
      assert.deepStrictEqual(outcomes(report), { "app/broken": "failed", "app/other": "interrupted" })
      assert.include(report.tasks[0]!.error, "disk full")
      assert.deepStrictEqual(linesAt(recorder.records, "Warn"), [
        "Task app/broken failed after 0 ms; its scope is stopping anyway"
      ])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("does not wait when there is nothing to wait for (B5)", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 0)
      assert.deepStrictEqual(report.tasks, [])
    }))

  it.effect("costs the slowest task, not the sum (B6)", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      for (let i = 0; i < 4; i++) {
        yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("500 millis")), "slow")
      }
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 500)
      assert.isTrue(report.clean)
    }))

  it.effect("is not held up by a clean-up that cannot be interrupted (B7)", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "200 millis" })
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("3 seconds")), "slow")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 200)
      assert.deepStrictEqual(outcomes(report), { "app/slow": "abandoned" })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("two closers get the same report, and the work is done once (B8, B9)", () =>
    Effect.gen(function*() {
      yield* awakeClock
      let cleaned = 0
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(
        scope,
        Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => cleaned++))),
        "slow"
      )
      const first = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      const second = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const report = yield* Fiber.join(first)
      assert.strictEqual(yield* Fiber.join(second), report)
      assert.strictEqual(yield* TaskScope.close(scope), report)
      assert.strictEqual(cleaned, 1)
    }))

  it.effect("goes on when the fiber that waits for it is interrupted", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app")
      const task = yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("1 second")), "slow")
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* Fiber.interrupt(closing)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(task.status._tag, "Ended")
      assert.strictEqual(scope.state._tag, "Closed")
    }))

  it.effect("a task has the limit of its own that it was given, and is given up alone", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "2 seconds" })
      const deaf = Effect.uninterruptible(Effect.never)
      yield* TaskScope.spawn(scope, deaf, "brief", { stopWithin: "100 millis" })
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("1 second")), "slow")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 1000)
      assert.deepStrictEqual(
        report.tasks.map((task) => [task.path, task.outcome, task.took]),
        [["app/brief", "abandoned", 100], ["app/slow", "interrupted", 1000]]
      )
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("names the place where a straggler is stuck, also when it is in a child of the task", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "100 millis" })
      const upload = Effect.fn("upload")(function*() {
        return yield* Effect.uninterruptible(Effect.never)
      })
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never).pipe(Effect.withSpan("handshake")), "span")
      yield* TaskScope.spawn(scope, Effect.andThen(Effect.forkChild(upload()), Effect.never), "child")
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "nameless")
      const { report } = yield* closeAndAdvance(scope)
      assert.match(report.tasks[0]!.place!, /^handshake \(.*TaskScope\.close\.test\.ts:\d+:\d+\)$/)
      assert.match(report.tasks[1]!.place!, /^upload \(.*TaskScope\.close\.test\.ts:\d+:\d+\)$/)
      assert.isUndefined(report.tasks[2]!.place)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("the end of a task that was given up is said once, with how late it was", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.sleep("10 seconds")), "slow")
      yield* closeAndAdvance(scope)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(linesAt(recorder.records, "Warn"), [
        "Task app/slow did not stop within 1.0 s; it is abandoned and may still run",
        "Task app/slow ended after all, 9.0 s after it was abandoned"
      ])
      assert.deepStrictEqual(yield* TaskScope.tasks(scope), [])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("logs at most twenty stragglers one by one, and reports all", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "100 millis" })
      for (let i = 0; i < 50; i++) yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
      const { report } = yield* closeAndAdvance(scope)
      assert.strictEqual(report.tasks.length, 50)
      const lines = linesAt(recorder.records, "Warn")
      assert.strictEqual(lines.length, 21)
      assert.strictEqual(lines.at(-1), "30 more tasks of app did not stop and are abandoned; see the report")
    }).pipe(Effect.provide(recorder.layer))
  })
})

describe("a limit of the program", () => {
  it.effect("that is no number or never comes is refused where a scope is made, and is no close without an end", () =>
    Effect.gen(function*() {
      for (const taskStop of [Number.NaN, Infinity, 0, -1, "soon"] as Array<never>) {
        const made = Effect.scoped(TaskScope.make("app"))
        const limits = { ...Limits.defaults, taskStop }
        const error = yield* Effect.flip(Effect.provideService(made, Limits.Limits, limits))
        assert.strictEqual(error.option, "taskStop of the Limits")
      }
    }))
})

describe("a reason", () => {
  it.effect("of a close that is no string is refused, and the scope stays open", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      for (const reason of [42, new Error("boom"), {}, Symbol("why")] as Array<never>) {
        assert.instanceOf(yield* Effect.flip(TaskScope.close(scope, { reason })), InvalidOption)
      }
      assert.strictEqual(scope.state._tag, "Open")
    }))

  it.effect("that is no string is taken as text where nothing can be refused", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app")
      const slow = Effect.ensuring(Effect.never, Effect.sleep("1 second"))
      const one = yield* TaskScope.spawn(scope, slow, "one")
      const two = yield* TaskScope.spawn(scope, slow, "two")
      yield* Effect.forkChild(one.interrupt(new Error("boom") as never), { startImmediately: true })
      yield* TaskScope.cancelAll(scope, 42 as never)
      assert.deepInclude(one.status, { reason: "Error: boom" })
      assert.deepInclude(two.status, { reason: "42" })
      yield* TestClock.adjust("1 second")
    }))
})

describe("a close that meets a bug of others", () => {
  it.effect("asks every task to stop, though an exit observer throws, and says so", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "300 millis" })
      const one = yield* TaskScope.spawn(scope, Effect.never, "one")
      one.fiber.addObserver(() => {
        throw new Error("observer of the user")
      })
      yield* TaskScope.spawn(scope, Effect.never, "two")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 0)
      assert.deepStrictEqual(outcomes(report), { "app/one": "interrupted", "app/two": "interrupted" })
      assert.deepStrictEqual(linesAt(recorder.records, "Error"), [
        "An exit observer on the fiber of task app/one threw; the stop goes on"
      ])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("ends for everybody who waits, with what runs on listed, though the clock of the scope is broken", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      let broken = false
      const scope = yield* TaskScope.make("app", { stopWithin: "300 millis" }).pipe(
        Effect.provideService(Clock.Clock, {
          ...clock,
          sleep: (duration) => clock.sleep(duration),
          monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
          currentTimeMillisUnsafe: () => {
            if (broken) throw new Error("no time")
            return clock.currentTimeMillisUnsafe()
          }
        })
      )
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
      const healthy = yield* TaskScope.spawn(scope, Effect.never, "healthy")
      broken = true
      const { report } = yield* closeAndAdvance(scope)
      assert.strictEqual(healthy.fiber.pollUnsafe()?._tag, "Failure")
      assert.deepStrictEqual(outcomes(report), { "app/deaf": "abandoned", "app/healthy": "interrupted" })
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("closing from inside", () => {
  it.effect("a task that closes its own scope is interrupted as the others, and nothing after its call runs", () =>
    Effect.gen(function*() {
      let after = false
      const scope = yield* TaskScope.make("app")
      const other = yield* TaskScope.spawn(scope, Effect.never, "other")
      const self = yield* TaskScope.spawn(
        scope,
        Effect.andThen(TaskScope.close(scope, { reason: "I say so" }), Effect.sync(() => (after = true))),
        "self"
      )
      yield* self.await
      const report = yield* TaskScope.close(scope)
      assert.isFalse(after)
      assert.strictEqual(other.status._tag, "Ended")
      assert.strictEqual(report.reason, "I say so")
      assert.deepStrictEqual(outcomes(report), { "app/other": "interrupted", "app/self": "interrupted" })
    }))

  it.effect("a close from a finalizer of a task inside waits for the others and not for itself", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("1 second")), "other")
      const seen = yield* Deferred.make<ShutdownReport.ShutdownReport>()
      const closing = Effect.flatMap(TaskScope.close(scope), (report) => Deferred.succeed(seen, report))
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.void, Effect.asVoid(closing)), "last")
      yield* TestClock.adjust("1 second")
      const inside = yield* Deferred.await(seen)
      const outside = yield* TaskScope.close(scope)
      assert.deepStrictEqual(outcomes(inside), { "app/other": "interrupted" })
      assert.deepStrictEqual(outcomes(outside), { "app/other": "interrupted", "app/last": "interrupted" })
      assert.strictEqual(outside.took, 1000)
    }))

  it.effect("who waits for the close in a finalizer is not given up with those that are stuck", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.asVoid(TaskScope.close(scope))), "last")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 1000)
      assert.deepStrictEqual(outcomes(report), { "app/deaf": "abandoned", "app/last": "interrupted" })
      assert.strictEqual(linesAt(recorder.records, "Warn").length, 1)
    }).pipe(Effect.provide(recorder.layer))
  })

  for (const others of [0, 1]) {
    it.effect(`unless it hangs itself after that, with ${others} other stuck tasks`, () => {
      const recorder = makeRecorder()
      return Effect.gen(function*() {
        const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
        const hangs = Effect.andThen(TaskScope.close(scope), Effect.never)
        yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, hangs), "last")
        for (let i = 0; i < others; i++) yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
        const { report, took } = yield* closeAndAdvance(scope)
        assert.strictEqual(took, 1000)
        assert.strictEqual(outcomes(report)["app/last"], "abandoned")
        const lines = linesAt(recorder.records, "Warn")
        assert.strictEqual(lines.length, 1 + others)
        assert.match(lines.at(-1)!, /^Task app\/last did not stop within 1\.0 s/)
      }).pipe(Effect.provide(recorder.layer))
    })
  }

  it.effect("one of them that is given up by its handle does not let the rest go on early", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app")
      const wentOnAt = yield* Deferred.make<number>()
      const closing = TaskScope.close(scope).pipe(
        Effect.andThen(Effect.flatMap(now, (at) => Deferred.succeed(wentOnAt, at)))
      )
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("2 seconds")), "slow")
      const last = yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.asVoid(closing)), "last", {
        stopWithin: "500 millis"
      })
      yield* Effect.forkChild(last.interrupt(), { startImmediately: true })
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* Deferred.await(wentOnAt), 2000)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("two tasks that close their scope in their finalizers do not wait for each other", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const closes = Effect.ensuring(Effect.never, Effect.asVoid(TaskScope.close(scope)))
      yield* TaskScope.spawn(scope, closes, "one")
      yield* TaskScope.spawn(scope, closes, "two")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 0)
      assert.isTrue(report.clean)
    }))

  it.effect("a task whose use ends with a close of the scope around does not wait for itself", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const batch = TaskScope.use("batch", () =>
        Effect.sleep(10).pipe(
          Effect.andThen(Effect.fail("broken")),
          Effect.onError(() => TaskScope.close(scope))
        ))
      yield* TaskScope.spawn(scope, batch, "poll")
      yield* TestClock.adjust(10)
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 0)
      assert.strictEqual(report.took, 0)
      assert.deepStrictEqual(outcomes(report), { "app/poll": "failed", "app/batch/(body)": "failed" })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("also through two uses, and not before the other tasks have ended", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app", { stopWithin: "2 seconds" })
      const wentOnAt = yield* Deferred.make<number>()
      const closing = TaskScope.close(scope).pipe(
        Effect.andThen(Effect.flatMap(now, (at) => Deferred.succeed(wentOnAt, at)))
      )
      const inner = TaskScope.use("inner", () => Effect.ensuring(Effect.never, Effect.asVoid(closing)))
      yield* TaskScope.spawn(scope, TaskScope.use("outer", () => inner), "poll")
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("1 second")), "slow")
      const { took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 1000)
      assert.strictEqual(yield* Deferred.await(wentOnAt), 1000)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a limit of its own counts again when a task has waited for the close, from there", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "2 seconds" })
      const hangs = Effect.ensuring(Effect.never, Effect.andThen(TaskScope.close(scope), Effect.never))
      yield* TaskScope.spawn(scope, hangs, "last", { stopWithin: "50 millis" })
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("1 second")), "slow")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 1050)
      assert.deepStrictEqual(outcomes(report), { "app/last": "abandoned", "app/slow": "interrupted" })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("wherever its wait is interrupted, a task that waits for the close twice waits for nobody", () =>
    Effect.gen(function*() {
      yield* awakeClock
      for (let ops = 3; ops <= 40; ops++) {
        const scope = yield* TaskScope.make("app")
        const once = Effect.provideService(TaskScope.close(scope), Scheduler.MaxOpsBeforeYield, ops)
        yield* TaskScope.spawn(scope, Effect.ensuring(once, TaskScope.close(scope)), "twice")
        const { took } = yield* closeAndAdvance(scope)
        assert.strictEqual(took, 0, `yields after ${ops} operations`)
      }
    }))

  it.effect("a task of a child scope may close the parent in its finalizer", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const child = yield* TaskScope.child(scope, "inner")
      yield* TaskScope.spawn(child, Effect.ensuring(Effect.never, Effect.asVoid(TaskScope.close(scope))), "one")
      const { report, took } = yield* closeAndAdvance(scope)
      assert.strictEqual(took, 0)
      assert.deepStrictEqual(outcomes(report), { "app/inner/one": "interrupted" })
    }))

  it.effect("and goes on only when the other tasks of its own scope have ended", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app")
      const child = yield* TaskScope.child(scope, "inner")
      const wentOnAt = yield* Deferred.make<number>()
      const closing = TaskScope.close(scope).pipe(
        Effect.andThen(Effect.flatMap(now, (at) => Deferred.succeed(wentOnAt, at)))
      )
      yield* TaskScope.spawn(child, Effect.ensuring(Effect.never, Effect.sleep("1 second")), "slow")
      yield* TaskScope.spawn(child, Effect.ensuring(Effect.never, Effect.asVoid(closing)), "last")
      yield* closeAndAdvance(scope)
      assert.strictEqual(yield* Deferred.await(wentOnAt), 1000)
    }))
})

describe("child scopes", () => {
  it.effect("begin to close in reverse order of their making, and overlap (B15)", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const log: Array<string> = []
      const slow = (name: string) =>
        Effect.ensuring(
          Effect.never,
          Effect.sync(() => log.push(`begin ${name}`)).pipe(
            Effect.andThen(Effect.sleep("1 second")),
            Effect.andThen(Effect.sync(() => log.push(`end ${name}`)))
          )
        )
      const parent = yield* TaskScope.make("app")
      for (const name of ["A", "B"]) {
        yield* TaskScope.spawn(yield* TaskScope.child(parent, name), slow(name), "task")
      }
      const { took } = yield* closeAndAdvance(parent)
      assert.deepStrictEqual(log.slice(0, 2), ["begin B", "begin A"])
      assert.strictEqual(took, 1000)
    }))

  it.effect("that are closed already are not closed again (B16)", () =>
    Effect.gen(function*() {
      const parent = yield* TaskScope.make("app")
      const child = yield* TaskScope.child(parent, "inner")
      yield* TaskScope.spawn(child, Effect.never, "task")
      const own = yield* TaskScope.close(child)
      const report = yield* TaskScope.close(parent)
      assert.strictEqual(own.tasks.length, 1)
      assert.deepStrictEqual(report.tasks, [])
    }))

  it.effect("never get more time than their parent has left", () =>
    Effect.gen(function*() {
      const parent = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const child = yield* TaskScope.child(parent, "inner")
      yield* TaskScope.spawn(child, Effect.uninterruptible(Effect.never), "deaf")
      yield* awakeClock
      const own = yield* Effect.forkChild(TaskScope.close(child), { startImmediately: true })
      yield* TestClock.adjust("700 millis")
      const { report, took } = yield* closeAndAdvance(parent)
      assert.strictEqual(took, 300, "the child had begun 700 ms before")
      assert.deepStrictEqual(outcomes(report), { "app/inner/deaf": "abandoned" })
      assert.strictEqual((yield* Fiber.join(own)).took, 1000)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("made inside a task belong to the scope of the task: listed, stopped and reported with it", () =>
    Effect.gen(function*() {
      const outer = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const session = TaskScope.use(
        "session",
        () => Effect.andThen(Task.spawn(Effect.uninterruptible(Effect.never), "deaf"), Effect.never)
      )
      yield* TaskScope.spawn(outer, session, "one")
      yield* TaskScope.spawn(outer, session, "two")
      assert.deepStrictEqual((yield* TaskScope.tasks(outer)).map((task) => task.path), [
        "app/one",
        "app/two",
        "app/session/(body)",
        "app/session/deaf",
        "app/session#2/(body)",
        "app/session#2/deaf"
      ])
      yield* TaskScope.awaitIdle(outer)
      const { report, took } = yield* closeAndAdvance(outer)
      assert.strictEqual(took, 1000)
      assert.deepInclude(outcomes(report), {
        "app/session/deaf": "abandoned",
        "app/session/(body)": "interrupted",
        "app/session#2/deaf": "abandoned"
      })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("with a limit above that of the scope around are refused with both values", () =>
    Effect.gen(function*() {
      const outer = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const inOuter = Effect.provideService(TaskScope.TaskScope, outer)
      const refused = yield* Effect.flip(inOuter(TaskScope.make("inner", { stopWithin: "2 seconds" })))
      assert.include(refused.message, "it does not fit into stopWithin of scope \"app\", which is 1.0 s")
      assert.strictEqual((yield* inOuter(TaskScope.make("inner"))).stopWithin, 1000)
    }))

  it.effect("made for clean-up while the scope around stops do work, for the time that one has left", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const outer = yield* TaskScope.make("app", { stopWithin: "1 second" })
      let flushed = false
      const flush = TaskScope.use("flush", () =>
        Effect.andThen(
          Task.spawn(Effect.sync(() => (flushed = true)), "quick"),
          Task.spawn(Effect.uninterruptible(Effect.never), "deaf", { kind: "background" })
        ))
      const body = Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep("600 millis"), Effect.ignore(flush)))
      yield* TaskScope.spawn(outer, body, "task")
      const { took } = yield* closeAndAdvance(outer)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(took, 1000)
      assert.isTrue(flushed)
      assert.match(linesAt(recorder.records, "Warn").join("\n"), /Task app\/flush\/deaf did not stop within 400 ms/)
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("refuse work as soon as the parent stops, also while the parent still waits", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const parent = yield* TaskScope.make("app")
      const child = yield* TaskScope.child(parent, "inner")
      yield* TaskScope.spawn(parent, Effect.ensuring(Effect.never, Effect.sleep("1 second")), "slow")
      const closing = yield* Effect.forkChild(TaskScope.close(parent), { startImmediately: true })
      const error = yield* Effect.flip(TaskScope.spawn(child, Effect.die("ran"), "late"))
      assert.strictEqual(error._tag, "ScopeClosed")
      assert.match(error.message, /^app\/inner\/late was refused and has not run: scope app(\/inner)? is stopping/)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
    }))
})

describe("a scope in its states", () => {
  it.effect("refuses tasks and children when it stops and when it is closed, and never runs them (A15)", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app")
      const spawner = yield* TaskScope.runtime(scope)
      yield* TaskScope.spawn(scope, Effect.ensuring(Effect.never, Effect.sleep("1 second")), "slow")
      const closing = yield* Effect.forkChild(TaskScope.close(scope, { reason: "done" }), { startImmediately: true })
      for (const state of ["stopping", "closed"] as const) {
        const refused = yield* Effect.flip(TaskScope.spawn(scope, Effect.die("ran"), "late"))
        assert.deepInclude(refused, { _tag: "ScopeClosed", path: "app/late", scope: "app", state, reason: "done" })
        const child = yield* Effect.flip(TaskScope.child(scope, "inner"))
        assert.deepInclude(child, { _tag: "ScopeClosed", path: "app/inner", state })
        assert.strictEqual(spawner(Effect.die("ran"), "late")._tag, "Failure")
        yield* TestClock.adjust("1 second")
      }
      yield* Fiber.join(closing)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a refusal to a plain callback is also logged, for callbacks drop results", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      const spawner = yield* TaskScope.runtime(scope)
      yield* TaskScope.close(scope)
      spawner(Effect.die("ran"), "late")
      assert.match(linesAt(recorder.records, "Warn")[0]!, /^app\/late was refused/)
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("closing one scope leaves the tasks of another alone (A14)", () =>
    Effect.gen(function*() {
      const one = yield* TaskScope.make("one")
      const two = yield* TaskScope.make("two")
      const first = yield* TaskScope.spawn(one, Effect.never, "poll")
      const second = yield* TaskScope.spawn(two, Effect.never, "poll")
      yield* TaskScope.close(one)
      assert.deepStrictEqual([first.status._tag, second.status._tag], ["Ended", "Running"])
    }))

  it.effect("closes with the Effect scope that owns it, before what was acquired earlier is released", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const owner = yield* Scope.make()
      yield* Scope.provide(
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => Effect.sync(() => log.push("resource")))
          const scope = yield* TaskScope.make("app")
          yield* TaskScope.spawn(scope, ensuringLog(log, "task"), "poll")
        }),
        owner
      )
      yield* Scope.close(owner, Exit.void)
      assert.deepStrictEqual(log, ["task", "resource"])
    }))

  it.effect("leaves nothing with the Effect scope that owns it once it is closed", () =>
    Effect.gen(function*() {
      const owner = yield* Scope.make()
      for (let i = 0; i < 3; i++) {
        const scope = yield* Scope.provide(TaskScope.make("session"), owner)
        yield* TaskScope.spawn(scope, Effect.never, "reader")
        yield* TaskScope.close(scope)
      }
      assert.strictEqual(owner.state._tag, "Empty")
      yield* Scope.close(owner, Exit.void)
    }))

  it.effect("cancelAll has asked every task when it returns, waits for none, and leaves the scope open (B20)", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const scope = yield* TaskScope.make("app")
      const child = yield* TaskScope.child(scope, "inner")
      for (let i = 0; i < 1000; i++) {
        yield* TaskScope.spawn(
          i % 2 === 0 ? scope : child,
          Effect.ensuring(Effect.never, Effect.sleep("1 second")),
          "slow"
        )
      }
      const before = yield* now
      yield* TaskScope.cancelAll(scope, "new configuration")
      assert.strictEqual(yield* now, before)
      for (const task of yield* TaskScope.tasks(scope)) {
        assert.deepStrictEqual(task.status, { _tag: "Stopping", since: before, reason: "new configuration" })
      }
      assert.strictEqual((yield* TaskScope.spawn(scope, Effect.succeed(1), "next")).status._tag, "Ended")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* TaskScope.tasks(scope), [])
    }))

  it.effect("a limit of the close must fit into that of the scope", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const error = yield* Effect.flip(TaskScope.close(scope, { within: "2 seconds" }))
      assert.include(error.message, "it does not fit into its stopWithin, which is 1.0 s")
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
      yield* awakeClock
      const closing = yield* Effect.forkChild(TaskScope.close(scope, { within: "200 millis" }))
      yield* TestClock.adjust("200 millis")
      assert.strictEqual((yield* Fiber.join(closing)).took, 200)
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("use", () => {
  it.effect("returns the value of the body when all foreground tasks are done, and interrupts the background", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const log: Array<string> = []
      const using = yield* Effect.forkChild(
        TaskScope.use("demo", () =>
          Effect.gen(function*() {
            yield* Task.spawn(Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => log.push("done"))), "work")
            yield* Task.spawn(ensuringLog(log, "background"), "pump", { kind: "background" })
            return "value"
          })),
        { startImmediately: true }
      )
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(using.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Fiber.join(using), "value")
      assert.deepStrictEqual(log, ["done", "background"])
    }))

  it.effect("fails with the first failure of a task, after the body and the others have stopped", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const log: Array<string> = []
      const using = yield* Effect.forkChild(
        Effect.flip(
          TaskScope.use("demo", () =>
            Effect.gen(function*() {
              yield* Task.spawn(
                Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep(100), Effect.sync(() => log.push("other")))),
                "other"
              )
              yield* Task.spawn(Effect.andThen(Effect.sleep("1 second"), Effect.fail("disk full")), "write")
              return yield* ensuringLog(log, "body")
            }))
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1100 millis")
      const error = yield* Fiber.join(using)
      assert.deepInclude(error, { _tag: "TaskFailed", path: "demo/write", cause: "disk full" })
      assert.deepStrictEqual(log.toSorted(), ["body", "other"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a failure of the body comes through as it is and stops the tasks", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const error = yield* Effect.flip(TaskScope.use("demo", () =>
        Effect.andThen(Task.spawn(ensuringLog(log, "task"), "task"), Effect.fail("body" as const))))
      assert.strictEqual(error, "body")
      assert.deepStrictEqual(log, ["task"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a task that fails before the body waits for the first time is not missed", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(TaskScope.use("demo", () => Task.spawn(Effect.fail("at once"), "quick")))
      assert.deepInclude(error, { _tag: "TaskFailed", path: "demo/quick" })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("interrupting it stops everything within the limit", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const using = yield* Effect.forkChild(
        TaskScope.use("demo", () => Effect.uninterruptible(Effect.never), { stopWithin: "1 second" }),
        { startImmediately: true }
      )
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(using), { startImmediately: true })
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(interrupting.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(interrupting)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a failure in the clean-up of the body comes through, beside what it fails with", () =>
    Effect.gen(function*() {
      const broken = Effect.ensuring(Effect.never, Effect.die("not rolled back"))
      const interrupted = yield* Effect.forkChild(TaskScope.use("demo", () => broken), { startImmediately: true })
      yield* Fiber.interrupt(interrupted)
      const reasons = (exit: Exit.Exit<unknown, unknown>) =>
        Exit.isFailure(exit) ? exit.cause.reasons.map((reason) => reason._tag).toSorted() : []
      assert.deepStrictEqual(reasons(yield* Fiber.await(interrupted)), ["Die", "Interrupt"])
      const failed = yield* Effect.exit(
        TaskScope.use(
          "demo",
          () => Effect.andThen(Task.spawn(Effect.andThen(Effect.yieldNow, Effect.fail("E")), "write"), broken)
        )
      )
      assert.deepStrictEqual(reasons(failed), ["Die", "Die"], "a defect makes a defect of the failure, as everywhere")
      const once = yield* Effect.exit(TaskScope.use("demo", () => Effect.die("body")))
      assert.deepStrictEqual(once, Exit.die("body"), "what came through already comes once")
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a task that fails is said to stop the others", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      yield* Effect.flip(TaskScope.use("demo", (scope) =>
        Effect.gen(function*() {
          const inner = yield* TaskScope.child(scope, "inner")
          yield* TaskScope.spawn(inner, Effect.fail("E"), "ignored", { onFailure: "ignore" })
          yield* TaskScope.spawn(inner, Effect.fail("E"), "write")
        })))
      assert.deepStrictEqual(linesAt(recorder.records, "Error"), [
        "Task demo/inner/write failed after 0 ms; the body and the other tasks of demo stop"
      ])
      assert.include(
        linesAt(recorder.records, "Debug"),
        "Task demo/inner/ignored failed after 0 ms; everything else goes on"
      )
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("wherever the scope around begins to stop, it ends as its body or as interrupted", () =>
    Effect.gen(function*() {
      for (let ops = 3; ops <= 60; ops++) {
        const scope = yield* TaskScope.make("app")
        const using = yield* TaskScope.use("batch", () => Effect.succeed("done")).pipe(
          Effect.provideService(TaskScope.TaskScope, scope),
          Effect.provideService(Scheduler.MaxOpsBeforeYield, ops),
          Effect.forkChild({ startImmediately: true })
        )
        const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
        const exit = yield* Fiber.await(using)
        yield* Fiber.join(closing)
        assert.isTrue(
          Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ||
            Cause.squash(exit.cause) instanceof InvalidOption,
          `yields after ${ops} operations: ${String(exit)}`
        )
      }
    }))
})
