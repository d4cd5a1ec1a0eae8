/** What a scope answers for beyond its own tasks: children, apps in it, scopes made for clean-up. */
import { App, InvalidOption, type ShutdownReport, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { awakeClock } from "../support/awakeClock.ts"
import { makeRecorder } from "../support/recorder.ts"

const now = TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))

/** Runs something in another fiber and advances the clock by 10 ms until it is done. */
const advance = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    yield* awakeClock
    const begin = yield* now
    const running = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* TestClock.adjust(0)
    while (running.pollUnsafe() === undefined) yield* TestClock.adjust(10)
    return { value: yield* Fiber.join(running), took: (yield* now) - begin }
  })

const outcomes = (report: ShutdownReport.ShutdownReport) =>
  report.tasks.map((task) => `${task.path} ${task.outcome}`).toSorted()

const paths = (scope: TaskScope.TaskScope) =>
  Effect.map(TaskScope.tasks(scope), (tasks) => tasks.map((task) => task.path))

const deaf = (millis: number) => Effect.uninterruptible(Effect.sleep(millis))

const quiet = Effect.provide(makeRecorder().layer)

describe("what a child could not stop", () => {
  it.effect("is listed by its parent until it has ended, also after both have closed", () =>
    Effect.gen(function*() {
      const parent = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const child = yield* TaskScope.child(parent, "session", { stopWithin: "20 millis" })
      yield* TaskScope.spawn(child, deaf(5000), "deaf")
      yield* advance(TaskScope.close(child))
      assert.deepStrictEqual(yield* paths(parent), ["app/session/deaf"])
      yield* advance(TaskScope.close(parent))
      assert.deepStrictEqual(yield* paths(parent), ["app/session/deaf"])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* paths(parent), [])
    }).pipe(quiet))

  it.effect("stays in the report of the parent, which does not wait for it again", () =>
    Effect.gen(function*() {
      const parent = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const child = yield* TaskScope.child(yield* TaskScope.child(parent, "inner"), "session", { stopWithin: 20 })
      yield* TaskScope.spawn(child, deaf(5000), "deaf")
      yield* TaskScope.spawn(child, Effect.never, "poll")
      yield* advance(TaskScope.close(child))
      const { took, value: report } = yield* advance(TaskScope.close(parent))
      assert.strictEqual(took, 0)
      assert.deepStrictEqual(outcomes(report), ["app/inner/session/deaf abandoned"])
      assert.isFalse(report.clean)
    }).pipe(quiet))

  it.effect("keeps the name of the child taken", () =>
    Effect.gen(function*() {
      const parent = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const child = yield* TaskScope.child(parent, "session")
      yield* TaskScope.spawn(child, deaf(5000), "deaf")
      yield* advance(TaskScope.close(child))
      assert.strictEqual((yield* TaskScope.child(parent, "session")).path, "app/session#2")
      yield* TestClock.adjust("5 seconds")
      yield* TaskScope.close(parent)
    }).pipe(quiet))
})

describe("a child that closes by itself while its parent stops", () => {
  it.effect("is in the report of the parent, when both closes begin in the same turn", () =>
    Effect.gen(function*() {
      const parent = yield* TaskScope.make("app")
      const child = yield* TaskScope.child(parent, "session")
      yield* TaskScope.spawn(child, Effect.never, "reader")
      const both = Effect.all([TaskScope.close(child), TaskScope.close(parent)], { concurrency: "unbounded" })
      const [own, report] = yield* both
      assert.deepStrictEqual(outcomes(own), ["app/session/reader interrupted"])
      assert.deepStrictEqual(outcomes(report), ["app/session/reader interrupted"])
    }))

  it.effect("is in the report of an app, when it ends during the drain", () =>
    Effect.gen(function*() {
      const app = yield* Deferred.make<App.App>()
      const work = TaskScope.use("session", () =>
        Effect.andThen(Task.spawn(deaf(5000), "deaf", { kind: "background" }), Effect.sleep(100)), {
        stopWithin: "50 millis"
      })
      const Hub = App.layer(
        "hub",
        Effect.gen(function*() {
          yield* Deferred.succeed(app, yield* App.CurrentApp)
          yield* Task.spawn(work, "work", { kind: "foreground" })
        })
      )
      yield* Layer.build(Hub)
      const { value: report } = yield* advance(Effect.flatMap(Deferred.await(app), (app) =>
        App.stop(app)))
      assert.deepStrictEqual(outcomes(report), [
        "hub/session/(body) completed",
        "hub/session/deaf abandoned",
        "hub/work completed"
      ])
      assert.isFalse(report.clean)
      yield* TestClock.adjust("5 seconds")
    }).pipe(Effect.scoped, quiet))
})

describe("a scope made for clean-up", () => {
  /** A task whose clean-up does something. */
  const cleansUp = (cleanUp: Effect.Effect<unknown, unknown, TaskScope.TaskScope>) =>
    Effect.ensuring(Effect.never, Effect.asVoid(Effect.ignore(cleanUp)))

  it.effect("by a task that goes on when its close gives up is given up with it, interrupted, and reported", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const log: Array<string> = []
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const poll = Effect.ensuring(Effect.never, Effect.sync(() => log.push("poll ended")))
      const late = TaskScope.use("late", () => Effect.andThen(Task.spawn(poll, "poll"), Effect.never))
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "deaf")
      yield* TaskScope.spawn(scope, cleansUp(Effect.andThen(TaskScope.close(scope), late)), "last")
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(outcomes(yield* Fiber.join(closing)), [
        "app/deaf abandoned",
        "app/last abandoned",
        "app/late/(body) interrupted",
        "app/late/poll interrupted"
      ])
      assert.deepStrictEqual(log, ["poll ended"])
    }).pipe(quiet))

  it.effect("is closed by the scope around when its tasks have ended, and is in its report", () =>
    Effect.gen(function*() {
      const outside = yield* Scope.make()
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const writer = Effect.gen(function*() {
        const flush = yield* TaskScope.make("flush").pipe(Scope.provide(outside))
        yield* TaskScope.spawn(flush, Effect.never, "writer")
        yield* Effect.sleep(100)
      })
      yield* TaskScope.spawn(scope, cleansUp(writer), "poll")
      const { took, value: report } = yield* advance(TaskScope.close(scope))
      assert.strictEqual(took, 100)
      assert.deepStrictEqual(outcomes(report), ["app/flush/writer interrupted", "app/poll interrupted"])
      assert.deepStrictEqual(yield* paths(scope), [])
    }))

  it.effect("is given up with the scope around, listed and reported", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      const stuck = TaskScope.use("flush", () => Effect.uninterruptible(Effect.never))
      yield* TaskScope.spawn(scope, cleansUp(stuck), "poll")
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* paths(scope), ["app/poll", "app/flush/(body)"])
      const { took, value: report } = yield* advance(Fiber.join(closing))
      assert.strictEqual(took, 1000)
      assert.include(outcomes(report), "app/flush/(body) abandoned")
      assert.include(yield* paths(scope), "app/flush/(body)")
    }).pipe(quiet))

  it.effect("that has closed by itself leaves no line: the report tells what was alive when the stop began", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, cleansUp(TaskScope.use("flush", () => Effect.void)), "poll")
      const { value: report } = yield* advance(TaskScope.close(scope))
      assert.deepStrictEqual(outcomes(report), ["app/poll interrupted"])
    }))

  it.effect("is refused in a scope that is closed", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.close(scope)
      const inScope = Effect.provideService(TaskScope.TaskScope, scope)
      for (const late of [TaskScope.make("flush"), TaskScope.use("flush", () => Effect.die("ran"))]) {
        const error = yield* Effect.flip(inScope(late as Effect.Effect<unknown, InvalidOption, Scope.Scope>))
        assert.instanceOf(error, InvalidOption)
        assert.strictEqual(
          error.message,
          "the scope around scope \"app/flush\" is \"app\": it is closed, so nothing in it would ever be stopped. " +
            "Make it while that one is open, or outside of it."
        )
      }
    }))

  it.effect("refuses tasks when the scope around has closed and left it behind", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "100 millis" })
      const made = yield* Deferred.make<TaskScope.TaskScope>()
      const stuck = TaskScope.use("flush", (flush) =>
        Effect.andThen(Deferred.succeed(made, flush), Effect.uninterruptible(Effect.never)))
      yield* TaskScope.spawn(scope, cleansUp(stuck), "poll")
      yield* advance(TaskScope.close(scope))
      const error = yield* Effect.flip(TaskScope.spawn(yield* Deferred.await(made), Effect.die("ran"), "late"))
      assert.strictEqual(error._tag, "ScopeClosed")
    }).pipe(quiet))
})

describe("a scope with an app in it", () => {
  /** An app in a scope, built into the Effect scope around. */
  const appIn = (scope: TaskScope.TaskScope, start: Effect.Effect<unknown, unknown, App.Provided>) =>
    Effect.gen(function*() {
      yield* awakeClock
      const app = yield* Deferred.make<App.App>()
      const Inner = App.layer(
        "inner",
        Effect.andThen(Effect.flatMap(App.CurrentApp, (self) => Deferred.succeed(app, self)), start)
      )
      yield* Layer.build(Inner).pipe(Effect.provideService(TaskScope.TaskScope, scope))
      return yield* Deferred.await(app)
    }).pipe(Effect.orDie)

  it.effect("closes as soon as the app has stopped, hooks and all", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("outer", { stopWithin: "1 second" })
      yield* appIn(
        scope,
        Effect.andThen(Task.spawn(Effect.never, "quick"), App.onStop("bye", Effect.sleep("50 millis")))
      )
      const { took, value: report } = yield* advance(TaskScope.close(scope))
      assert.strictEqual(took, 50)
      assert.isTrue(report.clean)
      assert.deepStrictEqual(report.hooks.map((hook) => hook.path), ["outer/inner/bye"])
    }).pipe(quiet))

  it.effect("gives it the time that it has: what its hooks make, and apps that serve it, go on", () =>
    Effect.gen(function*() {
      yield* awakeClock
      class Served
        extends Context.Service<Served, (what: string) => Effect.Effect<unknown, unknown>>()("test/Served")
      {}
      const log: Array<string> = []
      const note = (what: string) => Effect.sync(() => log.push(what))
      const Provider = App.layer(
        "provider",
        Layer.effect(
          Served,
          Effect.map(
            TaskScope.TaskScope,
            (scope) => (what: string) =>
              Effect.flatMap(TaskScope.spawn(scope, note(`served ${what}`), "serve"), (task) => task.join)
          )
        )
      )
      const User = App.layer(
        "user",
        Effect.gen(function*() {
          const served = yield* Served
          const flush = Effect.gen(function*() {
            yield* Effect.sleep("3 seconds")
            yield* served("flush")
            yield* TaskScope.use("clean-up", () => Task.spawn(note("cleaned up"), "task"))
          })
          yield* App.onStop("flush", Effect.orDie(flush))
        })
      )
      const outer = yield* Deferred.make<App.App>()
      const own = Effect.gen(function*() {
        yield* Deferred.succeed(outer, yield* App.CurrentApp)
        yield* Task.spawn(Effect.uninterruptible(Effect.sleep("1 minute")), "stuck")
      })
      const Outer = App.layer("outer", Layer.merge(Layer.effectDiscard(own), Layer.provide(User, Provider)), {
        stopWithin: "20 seconds",
        taskStopWithin: "2 seconds"
      })
      yield* Layer.build(Outer)
      const { value: report } = yield* advance(App.stop(yield* Deferred.await(outer)))
      assert.deepStrictEqual(log, ["served flush", "cleaned up"])
      assert.deepStrictEqual(report.hooks.map(({ outcome, path }) => [path, outcome]), [[
        "outer/user/flush",
        "completed"
      ]])
    }).pipe(Effect.scoped, Effect.orDie, quiet))

  it.effect("does not wait beyond its limit for an app that was stopping before, and says what it left behind", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("outer", { stopWithin: "500 millis" })
      const log: Array<string> = []
      const app = yield* appIn(
        scope,
        Effect.andThen(
          Task.spawn(Effect.ensuring(Effect.never, Effect.sync(() => log.push("asked"))), "quick"),
          App.onStop("slow", Effect.sleep("3 seconds"))
        )
      )
      const stopping = yield* Effect.forkChild(App.stop(app), { startImmediately: true })
      yield* TestClock.adjust(100)
      const { took, value: report } = yield* advance(TaskScope.close(scope))
      assert.strictEqual(took, 500)
      assert.deepStrictEqual(log, ["asked"], "though the app was at its hooks")
      assert.deepStrictEqual(outcomes(report), ["outer/inner/quick interrupted"])
      assert.deepStrictEqual(report.apps.map((line) => [line.path, line.outcome, line.resources]), [
        ["outer/inner", "failed", "abandoned"]
      ])
      assert.isFalse(report.clean)
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(stopping)
    }).pipe(quiet))
})
