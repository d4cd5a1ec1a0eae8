import { App, Host, Limits, Restart, Shutdown, ShutdownReport, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { awakeClock } from "../support/awakeClock.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const now = TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))

const advanceUntilDone = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function*() {
    const begin = yield* now
    yield* TestClock.adjust(0)
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust(10)
    return { exit: yield* Fiber.await(fiber), took: (yield* now) - begin }
  })

/** Launches apps in a fiber, and gives the host to act on it from outside. */
const launch = <A, E>(apps: Layer.Layer<A, E, Host.Host>, options?: Host.HostOptions) =>
  Effect.gen(function*() {
    yield* awakeClock
    const host = yield* Deferred.make<Host.Host>()
    const reports: Array<ShutdownReport.ShutdownReport> = []
    const Spy = Layer.effectDiscard(Effect.flatMap(Host.Host, (found) => Deferred.succeed(host, found)))
    const fiber = yield* Effect.forkChild(
      Host.launch(Layer.mergeAll(apps, Spy), {
        name: "hub",
        onReport: (report) => Effect.sync(() => reports.push(report)),
        ...options
      })
    )
    const found = yield* Deferred.await(host)
    yield* TestClock.adjust(0)
    const inHost = <B, F>(effect: Effect.Effect<B, F, Host.Host>) => Effect.provideService(effect, Host.Host, found)
    const stop = Effect.andThen(inHost(Host.requestStop("the test says so")), advanceUntilDone(fiber))
    return { fiber, reports, inHost, stop }
  })

const succeeded = <A, E>(exit: Exit.Exit<A, E>): A => {
  assert.isTrue(Exit.isSuccess(exit), String(exit))
  return (exit as Exit.Success<A, E>).value
}

const failure = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

const idle = (name: string) => App.layer(name, Task.spawn(Effect.never, "poll"))

const deaf = (name: string, options?: App.AppOptions) =>
  App.layer(name, Task.spawn(Effect.uninterruptible(Effect.never), "deaf"), options)

describe("a host", () => {
  it.effect("runs until it is asked to stop, and gives the report", () =>
    Effect.gen(function*() {
      const host = yield* launch(Layer.mergeAll(idle("a"), idle("b")))
      yield* TestClock.adjust("30 days")
      assert.isUndefined(host.fiber.pollUnsafe())
      const { exit } = yield* host.stop
      const report = succeeded(exit)
      assert.deepInclude(report, { path: "hub", reason: "the test says so", took: 0, budget: 30_000, clean: true })
      assert.deepStrictEqual(report.tasks.map((task) => task.path).toSorted(), ["hub/a/poll", "hub/b/poll"])
      assert.deepStrictEqual(host.reports, [report])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("stops its apps when it is interrupted, and onReport gets the report (Q8)", () =>
    Effect.gen(function*() {
      const host = yield* launch(idle("a"))
      host.fiber.interruptUnsafe()
      const { exit } = yield* advanceUntilDone(host.fiber)
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.deepStrictEqual(host.reports.map((report) => [report.reason, report.clean]), [[
        "it was interrupted",
        true
      ]])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("tells each state of an app once and in order (Q1)", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const Spy = Layer.effectDiscard(Effect.forkScoped(
        Stream.runForEach(Host.events, (event) =>
          Effect.sync(() => {
            if (event._tag === "AppState") seen.push(`${event.path} ${event.state}`)
          })),
        { startImmediately: true }
      ))
      const host = yield* launch(Layer.provideMerge(idle("a"), Spy))
      yield* host.stop
      assert.deepStrictEqual(seen, ["hub/a starting", "hub/a ready", "hub/a stopping", "hub/a stopped"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("says when it is ready, when and why it stops, and what that took, in one line each", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const host = yield* launch(idle("a"))
      yield* host.stop
      assert.deepStrictEqual(linesAt(recorder.records, "Info"), [
        "hub is ready with 1 app",
        "hub stops: the test says so",
        "hub stopped cleanly in 0 ms of 30.0 s (1 task: 1 interrupted; reason: the test says so)"
      ])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("ends its stop well although the clean-up of a task throws (Q2)", () =>
    Effect.gen(function*() {
      const Broken = App.layer("a", Task.spawn(Effect.ensuring(Effect.never, Effect.die("broken")), "poll"))
      const host = yield* launch(Broken)
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(report.apps.map((app) => app.outcome), ["stopped"])
      assert.deepStrictEqual(report.tasks.map((task) => task.outcome), ["failed"])
      assert.isFalse(report.clean)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("waits for the hooks (Q4)", () =>
    Effect.gen(function*() {
      const host = yield* launch(App.layer("a", App.onStop("flush", Effect.sleep("2 seconds"))))
      const { exit, took } = yield* host.stop
      assert.strictEqual(took, 2000)
      assert.deepInclude(succeeded(exit).hooks[0], { path: "hub/a/flush", outcome: "completed", took: 2000 })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("stops when all foreground work is done, when it is asked to", () =>
    Effect.gen(function*() {
      const Import = App.layer(
        "import",
        Effect.gen(function*() {
          yield* Task.spawn(Effect.never, "progress")
          yield* Task.spawn(Effect.sleep("1 minute"), "copy", { kind: "foreground" })
        })
      )
      const host = yield* launch(Import, { stopWhenIdle: true })
      const { exit, took } = yield* advanceUntilDone(host.fiber)
      assert.strictEqual(took, 60_000)
      assert.strictEqual(succeeded(exit).reason, "all foreground work is done")
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("the first of several stop requests wins (Q9, B18)", () =>
    Effect.gen(function*() {
      const host = yield* launch(App.layer("a", App.onStop("slow", Effect.sleep("1 second"))))
      assert.isTrue(yield* host.inHost(Host.requestStop("first")))
      assert.isFalse(yield* host.inHost(Host.requestStop("second", 7)))
      yield* TestClock.adjust(500)
      host.fiber.interruptUnsafe()
      const { took } = yield* advanceUntilDone(host.fiber)
      assert.strictEqual(took, 500)
      assert.isFalse(yield* host.inHost(Host.requestStop("third")))
      assert.deepStrictEqual(host.reports.map((report) => report.reason), ["first"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("fails with the exit code that was requested, after the stop (Q3)", () =>
    Effect.gen(function*() {
      const host = yield* launch(idle("a"))
      yield* host.inHost(Host.requestStop("configuration changed", 75))
      const error = failure((yield* advanceUntilDone(host.fiber)).exit)
      assert.instanceOf(error, Host.HostFailed)
      assert.strictEqual(error.report.exitCode, 75)
      assert.strictEqual(Runtime.getErrorExitCode(error), 75)
      assert.isFalse(Runtime.getErrorReported(error))
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("an exit code of zero is a good end", () =>
    Effect.gen(function*() {
      const host = yield* launch(idle("a"))
      yield* host.inHost(Host.requestStop("done", 0))
      assert.strictEqual(succeeded((yield* advanceUntilDone(host.fiber)).exit).exitCode, 0)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("stops and fails when a task fails that asks for it, after the finalizers have run (Q9)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const log: Array<string> = []
      const Vital = App.layer(
        "vital",
        Effect.gen(function*() {
          yield* Effect.addFinalizer(() => Effect.sync(() => log.push("released")))
          yield* Task.spawn(Effect.andThen(Effect.sleep(100), Effect.fail(new Error("no disk"))), "write", {
            onFailure: "stopHost"
          })
        })
      )
      const host = yield* launch(Layer.mergeAll(Vital, idle("other")))
      const error = failure((yield* advanceUntilDone(host.fiber)).exit)
      assert.instanceOf(error, Host.HostFailed)
      assert.strictEqual(error.reason, "task hub/vital/write failed")
      assert.strictEqual(Runtime.getErrorExitCode(error), 1)
      assert.deepStrictEqual(log, ["released"])
      assert.deepStrictEqual(linesAt(recorder.records, "Error"), [
        "Task hub/vital/write failed after 100 ms; the host stops"
      ])
    }).pipe(Effect.provide(recorder.layer))
  })
})

describe("the budget of a host", () => {
  it.effect("bounds the stop of everything in it, with one line that says so (B17)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const log: Array<string> = []
      const host = yield* launch(
        Layer.mergeAll(
          deaf("stuck"),
          App.layer("good", Effect.addFinalizer(() => Effect.sync(() => log.push("released"))))
        ),
        { stopWithin: "200 millis" }
      )
      const { exit, took } = yield* host.stop
      assert.isAtMost(took, 200)
      assert.deepStrictEqual(log, ["released"])
      assert.strictEqual(
        linesAt(recorder.records, "Warn").filter((line) => line.startsWith("hub stopped NOT")).length,
        1
      )
      assert.isFalse(succeeded(exit).clean)
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("bounds a chain of stuck apps, and each of them gets its turn", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const stuck = (name: string) =>
        App.layer(
          name,
          Layer.effect(Context.Service<string>(name))(Effect.gen(function*() {
            yield* Task.spawn(Effect.uninterruptible(Effect.never), "deaf")
            yield* Task.spawn(
              Effect.ensuring(
                Effect.never,
                Effect.sync(() => log.push(name))
              ),
              "good"
            )
            return name
          }))
        )
      const chain = ["a", "b", "c", "d", "e"].map(stuck).reduce((below, app) => Layer.provide(app, below))
      const host = yield* launch(chain)
      const { took } = yield* host.stop
      assert.isAtMost(took, 30_000)
      assert.deepStrictEqual(log, ["e", "d", "c", "b", "a"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("is not exceeded by a layer between the apps that hangs, and the apps below it are stopped all the same", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const log: Array<string> = []
      class Db extends Context.Service<Db, string>()("test/core/Host/Db") {}
      class Cache extends Context.Service<Cache, string>()("test/core/Host/Cache") {}
      const Below = App.layer(
        "below",
        Layer.effect(Db)(Effect.as(App.onStop("hook", Effect.sync(() => log.push("below"))), "db"))
      )
      const Hanging = Layer.effect(Cache)(
        Effect.andThen(Db, Effect.acquireRelease(Effect.succeed("cache"), () => Effect.never))
      )
      const Above = App.layer("above", Effect.asVoid(Cache))
      const host = yield* launch(Above.pipe(Layer.provide(Hanging), Layer.provide(Below)))
      const { exit, took } = yield* host.stop
      assert.strictEqual(took, 30_000)
      assert.deepStrictEqual(log, ["below"])
      const report = succeeded(exit)
      assert.deepStrictEqual(report.apps.map((app) => [app.path, app.outcome]), [
        ["hub/above", "stopped"],
        ["hub/below", "stopped"],
        ["hub/(layers)", "failed"]
      ])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("also bounds the stop of a start that fails", () =>
    Effect.gen(function*() {
      const Bad = App.layer("bad", Effect.andThen(Effect.sleep(100), Effect.fail("no" as const)))
      const Hanging = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => Effect.never))
      const host = yield* launch(Layer.mergeAll(Bad, Hanging, idle("good")), { stopWithin: "3 seconds" })
      const { exit, took } = yield* advanceUntilDone(host.fiber)
      assert.isAtMost(took, 3100)
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(host.reports.map((report) => report.reason), ["app hub/bad did not start"])
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("the report of a host", () => {
  const stuckWith = (name: string, options?: App.AppOptions) =>
    App.layer(
      name,
      Effect.gen(function*() {
        yield* Effect.acquireRelease(Effect.void, () => Effect.never)
        yield* App.onStop("fail", Effect.fail("no"))
        yield* Task.spawn(Effect.uninterruptible(Effect.never), "stuck")
      }),
      options
    )

  it.effect("tells of every app and its stragglers also when their limit ends at the same moment as its own", () =>
    Effect.gen(function*() {
      for (const options of [undefined, { stopWithin: "1 second" }] as const) {
        const host = yield* launch(Layer.mergeAll(stuckWith("a", options), stuckWith("b", options)), {
          stopWithin: "1 second"
        })
        const { exit, took } = yield* host.stop
        assert.strictEqual(took, 1000)
        const report = succeeded(exit)
        assert.deepStrictEqual(report.tasks.map((task) => `${task.path} ${task.outcome}`).toSorted(), [
          "hub/a/stuck abandoned",
          "hub/b/stuck abandoned"
        ])
        assert.deepStrictEqual(report.hooks.map((hook) => hook.path).toSorted(), ["hub/a/fail", "hub/b/fail"])
        assert.deepStrictEqual(report.apps.map((app) => `${app.path} ${app.resources}`).toSorted(), [
          "hub/a abandoned",
          "hub/b abandoned"
        ])
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("tells of the tasks of an app that has no time left, because of those that depend on it", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, string>()("test/core/Host/Db3") {}
      const Below = App.layer(
        "below",
        Layer.effect(Db)(Effect.gen(function*() {
          yield* Task.spawn(Effect.never, "poll")
          yield* TaskScope.spawn(yield* TaskScope.child(yield* TaskScope.TaskScope, "child"), Effect.never, "poll")
          return "db"
        }))
      )
      const Above = App.layer(
        "above",
        Effect.gen(function*() {
          yield* Db
          yield* Task.spawn(Effect.uninterruptible(Effect.never), "deaf")
          yield* Effect.acquireRelease(Effect.void, () => Effect.never)
        })
      )
      const host = yield* launch(Layer.provide(Above, Below), { stopWithin: "1 second" })
      const { exit, took } = yield* host.stop
      assert.strictEqual(took, 1000)
      const lines = succeeded(exit).tasks.map((task) => `${task.path} ${task.outcome}`)
      assert.deepStrictEqual(lines.toSorted(), [
        "hub/above/deaf abandoned",
        "hub/below/child/poll interrupted",
        "hub/below/poll interrupted"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("tells of what a layer outside of any app has spawned, and stops it", () =>
    Effect.gen(function*() {
      let beats = 0
      const beat = Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => beats++))
      const Plain = Layer.effectDiscard(Task.spawn(Effect.forever(beat), "poll"))
      const host = yield* Effect.provide(launch(Plain as Layer.Layer<never>), TaskScope.layer("outer"))
      yield* TestClock.adjust("2 seconds")
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(report.tasks.map((task) => [task.path, task.outcome]), [["hub/poll", "interrupted"]])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(beats, 2)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("tells of a scope outside of any app and of what was given up in it", () =>
    Effect.gen(function*() {
      const Pool = Layer.effectDiscard(Effect.gen(function*() {
        const pool = yield* TaskScope.make("pool", { stopWithin: "100 millis" })
        yield* TaskScope.spawn(pool, Effect.uninterruptible(Effect.never), "stuck")
      }))
      const host = yield* launch(Pool)
      const report = succeeded((yield* host.stop).exit)
      assert.isFalse(report.clean)
      assert.deepStrictEqual(report.tasks.map((task) => [task.path, task.outcome]), [["hub/pool/stuck", "abandoned"]])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("tells of a task that an earlier life of an app has given up, and so does the tree", () =>
    Effect.gen(function*() {
      let starts = 0
      const stuck = Task.spawn(Effect.uninterruptible(Effect.never), "stuck")
      const Flaky = App.layer("a", Effect.suspend(() => ++starts === 1 ? Effect.asVoid(stuck) : Effect.void), {
        stopWithin: "100 millis"
      })
      const host = yield* launch(Flaky)
      const [app] = yield* host.inHost(Host.apps)
      const restart = yield* Effect.forkChild(App.restart(app!), { startImmediately: true })
      yield* advanceUntilDone(restart)
      assert.strictEqual((yield* App.state(app!))._tag, "Ready")
      const tree = yield* host.inHost(Host.tree)
      assert.deepStrictEqual(tree.apps[0]!.tasks.map((task) => task.path), ["hub/a/stuck"])
      const report = succeeded((yield* host.stop).exit)
      assert.isFalse(report.clean)
      assert.deepStrictEqual(report.tasks.map((task) => [task.path, task.outcome]), [["hub/a/stuck", "abandoned"]])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("is not clean when a finalizer of an app fails", () =>
    Effect.gen(function*() {
      const Broken = App.layer("a", Effect.acquireRelease(Effect.void, () => Effect.die("could not write")))
      const host = yield* launch(Broken)
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(report.apps.map((app) => [app.outcome, app.resources]), [["stopped", "failed"]])
      assert.isFalse(report.clean)
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("the start of a host", () => {
  it.effect("goes on when somebody recovers from an app that does not start", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Optional = App.layer("optional", Effect.fail("no hardware")).pipe(
        Layer.catchCause(() => App.layer("fallback", Effect.sync(() => log.push("fallback"))))
      )
      const host = yield* launch(Layer.merge(idle("main"), Optional))
      yield* host.inHost(Host.awaitReady)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(log, ["fallback"])
      assert.deepStrictEqual((yield* host.inHost(Host.apps)).map((app) => app.path).toSorted(), [
        "hub/fallback",
        "hub/main"
      ])
      const report = succeeded((yield* host.stop).exit)
      assert.deepInclude(report, { reason: "the test says so", clean: true })
      assert.deepStrictEqual(report.apps.map((app) => app.path).toSorted(), ["hub/fallback", "hub/main"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("waits for as long as it takes to recover", () =>
    Effect.gen(function*() {
      const Fallback = App.layer("fallback", Effect.sleep("10 minutes"), { startWithin: "none" })
      const Optional = Layer.catchCause(App.layer("optional", Effect.fail("no hardware")), () => Fallback)
      const host = yield* launch(Optional)
      yield* TestClock.adjust("10 minutes")
      yield* host.inHost(Host.awaitReady)
      yield* host.stop
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that fails counts the budget of its stop from the failure", () =>
    Effect.gen(function*() {
      const slow = (name: string) => App.layer(name, App.onStop("slow", Effect.never), { stopWithin: "2 seconds" })
      const Hanging = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => Effect.never))
      const Bad = App.layer(
        "bad",
        Effect.gen(function*() {
          yield* App.onStop("slow", Effect.never)
          yield* Task.spawn(Effect.uninterruptible(Effect.never), "stuck")
          yield* Effect.sleep(100)
          return yield* Effect.fail("no" as const)
        }),
        { stopWithin: "2 seconds" }
      )
      const host = yield* launch(Layer.mergeAll(Layer.provide(slow("good"), Hanging), Bad), {
        stopWithin: "3 seconds"
      })
      const { exit, took } = yield* advanceUntilDone(host.fiber)
      assert.strictEqual(failure(exit), "no")
      assert.isAtMost(took, 3100)
      assert.deepStrictEqual(host.reports[0]!.tasks.map((task) => task.path), ["hub/bad/stuck"])
      assert.deepStrictEqual(host.reports[0]!.apps.map((app) => app.path).toSorted(), [
        "hub/(layers)",
        "hub/bad",
        "hub/good"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that fails has one budget for all that follows, whatever is built meanwhile", () =>
    Effect.gen(function*() {
      const stuck = Task.spawn(Effect.uninterruptible(Effect.never), "stuck")
      const Bad = App.layer("bad", Effect.andThen(stuck, Effect.fail("no" as const)), { stopWithin: "1 second" })
      const Late = App.layer("late", stuck, { stopWithin: "2 seconds" }).pipe(
        Layer.provide(Layer.effectDiscard(Effect.sleep(100)))
      )
      const host = yield* launch(Layer.mergeAll(Bad, Late), { stopWithin: "2.5 seconds" })
      const { exit, took } = yield* advanceUntilDone(host.fiber)
      assert.strictEqual(failure(exit), "no")
      assert.isAtMost(took, 2500)
      const report = host.reports[0]!
      assert.deepInclude(report, { took, budget: 2500, reason: "app hub/bad did not start" })
      // An app has no more time than its host has left.
      assert.deepStrictEqual(report.apps.map((app) => [app.path, app.budget]), [["hub/bad", 1000], ["hub/late", 1600]])
      assert.deepStrictEqual(report.tasks.map((task) => task.path), ["hub/bad/stuck", "hub/late/stuck"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that fails counts its budget from the failure also when it has to wait for a layer that is built", () =>
    Effect.gen(function*() {
      const Bad = App.layer("bad", Effect.fail("no" as const))
      const Connecting = Layer.effectDiscard(Effect.acquireRelease(Effect.sleep("1 second"), () => Effect.never))
      const host = yield* launch(Layer.mergeAll(Bad, Connecting), { stopWithin: "2 seconds" })
      const { exit, took } = yield* advanceUntilDone(host.fiber)
      assert.strictEqual(failure(exit), "no")
      assert.strictEqual(took, 2000)
      assert.deepInclude(host.reports[0], { took: 2000, budget: 2000 })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that fails counts its budget from the failure also when somebody takes note of it for a while", () =>
    Effect.gen(function*() {
      const Bad = App.layer("bad", Effect.fail("no" as const)).pipe(Layer.tapError(() => Effect.sleep(500)))
      const stuck = Task.spawn(Effect.uninterruptible(Effect.never), "stuck")
      const Starting = App.layer("starting", Effect.andThen(stuck, Effect.never), { stopWithin: "2 seconds" })
      const host = yield* launch(Layer.mergeAll(Bad, Starting), { stopWithin: "2 seconds" })
      const { exit, took } = yield* advanceUntilDone(host.fiber)
      assert.strictEqual(failure(exit), "no")
      assert.isAtMost(took, 2000)
      const report = host.reports[0]!
      assert.deepInclude(report, { took, budget: 2000 })
      assert.deepStrictEqual(report.apps.map((app) => [app.path, app.budget]), [
        ["hub/bad", 2000],
        ["hub/starting", 1500]
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that fails lists a straggler once that ends while the host stops", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const straggler = Task.spawn(Effect.uninterruptible(Effect.sleep("1 second")), "straggler")
      const Bad = App.layer("bad", Effect.andThen(straggler, Effect.fail("no")), { stopWithin: "500 millis" })
      const slow = Task.spawn(Effect.ensuring(Effect.never, Effect.sleep("2 seconds")), "slow")
      const Plain = Layer.effectDiscard(slow) as Layer.Layer<never>
      const host = yield* Effect.provide(launch(Layer.mergeAll(Plain, Bad)), TaskScope.layer("outer"))
      yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(host.reports[0]!.tasks.map((task) => [task.path, task.outcome]), [
        ["hub/bad/straggler", "abandoned"],
        ["hub/slow", "interrupted"]
      ])
      const line = linesAt(recorder.records, "Warn").find((line) => line.startsWith("hub stopped"))!
      assert.include(line, "2 tasks: 1 interrupted, 1 abandoned")
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("goes on when somebody recovers from a failure long after another, with nothing in its place", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const optional = (name: string, after: number) =>
        App.layer(
          name,
          Effect.gen(function*() {
            yield* App.onStop("slow", Effect.andThen(Effect.sleep(200), Effect.sync(() => log.push(name))))
            yield* Effect.sleep(after)
            return yield* Effect.fail("no hardware")
          })
        ).pipe(Layer.catchCause(() => Layer.empty))
      const host = yield* launch(Layer.mergeAll(optional("a", 10), optional("b", 800)), { stopWithin: "1 second" })
      yield* TestClock.adjust("1 second")
      yield* host.inHost(Host.awaitReady)
      assert.deepStrictEqual(log, ["a", "b"])
      const report = succeeded((yield* host.stop).exit)
      assert.deepInclude(report, { reason: "the test says so", apps: [], took: 0 })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that fails just when somebody asks for a stop fails the host all the same", () =>
    Effect.gen(function*() {
      const Bad = App.layer("bad", Effect.andThen(Host.requestStop("enough"), Effect.fail("no broker" as const)))
      const host = yield* launch(Bad)
      assert.deepStrictEqual((yield* advanceUntilDone(host.fiber)).exit, Exit.fail("no broker"))
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that fails for a layer which is no app stops the apps within the budget, and reports on them", () =>
    Effect.gen(function*() {
      const Bad = Layer.effectDiscard(Effect.andThen(Effect.sleep(100), Effect.fail("no disk" as const)))
      const host = yield* launch(Layer.merge(idle("a"), Bad))
      const { exit } = yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(exit, Exit.fail("no disk"))
      assert.deepStrictEqual(host.reports.map((report) => [report.reason, report.apps.map((app) => app.path)]), [
        ["its start failed", ["hub/a"]]
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("fails with the error of the app that does not start, and nothing else, after the others were stopped", () =>
    Effect.gen(function*() {
      const start = Effect.andThen(Effect.sleep(100), Effect.fail("no broker" as const))
      for (const Bad of [App.layer("bad", start), App.layer("bad", Layer.effectDiscard(start))]) {
        const log: Array<string> = []
        const stopped = Effect.sync(() => log.push("stopped"))
        const Good = App.layer("good", Task.spawn(Effect.ensuring(Effect.never, stopped), "poll"))
        const host = yield* launch(Layer.mergeAll(Good, Bad, App.layer("slow", Effect.sleep("10 seconds"))))
        const { exit } = yield* advanceUntilDone(host.fiber)
        assert.deepStrictEqual(exit, Exit.fail("no broker"))
        assert.deepStrictEqual(log, ["stopped"])
        assert.deepStrictEqual(host.reports.map((report) => [report.reason, report.apps.length]), [
          ["app hub/bad did not start", 3]
        ])
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("is cut short by a stop request, which ends well", () =>
    Effect.gen(function*() {
      const host = yield* launch(App.layer("slow", Effect.never))
      const { exit, took } = yield* host.stop
      assert.strictEqual(took, 0)
      assert.deepStrictEqual(succeeded(exit).tasks.map((task) => [task.path, task.outcome]), [
        ["hub/slow/(start)", "interrupted"]
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("refuses a layer that is built from itself instead of waiting for it", () =>
    Effect.gen(function*() {
      const Cycle: Layer.Layer<never, unknown> = App.layer("a", Effect.void).pipe(
        Layer.provide(Layer.suspend(() => Cycle))
      )
      const error = yield* Effect.flip(Host.launch(Cycle))
      assert.instanceOf(error, Host.LayerCycle)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("makes ready known to those who wait for it", () =>
    Effect.gen(function*() {
      const host = yield* launch(App.layer("slow", Effect.sleep("1 second")))
      const waiting = yield* Effect.forkChild(host.inHost(Host.awaitReady))
      yield* TestClock.adjust(999)
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(waiting)
      yield* host.stop
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("looking into a host", () => {
  it.effect("tree shows every app with its state and dependencies, and every task with its age and place", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, string>()("test/core/Host/Db2") {}
      const A = App.layer(
        "a",
        Layer.effect(Db)(Effect.as(
          Task.spawn(Effect.fn("listen")(() => Effect.never)(), "listener", { kind: "foreground" }),
          "db"
        ))
      )
      const B = App.layer("b", Effect.andThen(Db, Task.spawn(Effect.never, "poll"))).pipe(Layer.provide(A))
      const host = yield* launch(B)
      yield* TestClock.adjust("5 seconds")
      const tree = yield* host.inHost(Host.tree)
      assert.strictEqual(tree.path, "hub")
      assert.deepStrictEqual(tree.apps.map((app) => [app.path, app.state, app.dependsOn]), [
        ["hub/a", "ready", []],
        ["hub/b", "ready", ["hub/a"]]
      ])
      const [listener] = tree.apps[0]!.tasks
      assert.deepInclude(listener, { path: "hub/a/listener", kind: "foreground", status: "Running", age: 5000 })
      assert.match(listener!.place!, /^listen \(.*Host\.test\.ts:\d+:\d+\)$/)
      assert.deepStrictEqual((yield* host.inHost(Host.apps)).map((app) => app.path), ["hub/a", "hub/b"])
      yield* host.inHost(Effect.flip(Host.awaitIdle({ within: "1 millis" }))).pipe(
        Effect.forkChild,
        Effect.tap(TestClock.adjust(1)),
        Effect.flatMap(Fiber.join),
        Effect.map((error) => assert.deepInclude(error, { _tag: "IdleTimeout", busy: ["hub/a/listener"] }))
      )
      yield* host.stop
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("tree shows the tasks of layers that belong to no app as well", () =>
    Effect.gen(function*() {
      const Cache = Layer.effectDiscard(Effect.gen(function*() {
        const scope = yield* TaskScope.make("cache")
        yield* TaskScope.spawn(scope, Effect.never, "sweep")
      }))
      const host = yield* launch(Layer.provide(idle("a"), Cache))
      const tree = yield* host.inHost(Host.tree)
      assert.deepStrictEqual(tree.tasks.map(({ path }) => path), ["hub/cache/sweep"])
      assert.deepStrictEqual(tree.apps.flatMap(({ tasks }) => tasks.map(({ path }) => path)), ["hub/a/poll"])
      yield* host.stop
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("the report is plain JSON for machines and comes back as it was", () =>
    Effect.gen(function*() {
      const host = yield* launch(Layer.mergeAll(deaf("a"), App.layer("b", App.onStop("fail", Effect.fail("no")))))
      const report = succeeded((yield* host.stop).exit)
      const json = JSON.parse(JSON.stringify(Schema.encodeSync(ShutdownReport.ShutdownReport)(report)))
      const decoded = Schema.decodeUnknownSync(ShutdownReport.ShutdownReport)(json)
      assert.deepStrictEqual(decoded.tasks, report.tasks)
      assert.deepStrictEqual(decoded.hooks, report.hooks)
      assert.deepStrictEqual(decoded.apps, report.apps)
      assert.strictEqual(decoded.clean, false)
      assert.strictEqual(ShutdownReport.format(decoded), ShutdownReport.format(report))
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("an app that began to stop before it, and has more time than it has for apps, is told as far as that has got", () =>
    Effect.gen(function*() {
      const slow = App.layer(
        "slow",
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => Effect.never)
          yield* App.onStop("flush", Effect.sleep("1 second"))
        }),
        { stopWithin: "20 seconds" }
      )
      const saves = App.layer("saves", Shutdown.on("finalWrite", "save", Effect.void))
      const host = yield* launch(Layer.mergeAll(slow, saves), { stopWithin: "20 seconds" })
      const [app] = yield* host.inHost(Host.apps)
      yield* Effect.forkChild(App.stop(app!, "by hand"), { startImmediately: true })
      yield* TestClock.adjust("1500 millis")
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(report.hooks.map(({ outcome, path }) => [path, outcome]), [
        ["hub/saves/save", "completed"],
        ["hub/slow/flush", "completed"]
      ])
      assert.deepInclude(report.apps.find(({ path }) => path === "hub/slow"), {
        outcome: "failed",
        error: "its stop takes longer than the scope around it has"
      })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a start that fails is told with its own error, however late what it had acquired is released", () =>
    Effect.gen(function*() {
      for (const release of [Effect.void, Effect.yieldNow, Effect.sleep("100 millis")]) {
        for (const restart of [undefined, Restart.permanent({ decide: () => "giveUp" })]) {
          const start = Effect.andThen(Effect.acquireRelease(Effect.void, () => release), Effect.fail("boom"))
          for (const layer of [Layer.effectDiscard(start), start]) {
            const app = App.layer("a", layer as Layer.Layer<never, string>, { restart })
            const host = yield* Effect.forkChild(Host.launch(app))
            const { exit } = yield* advanceUntilDone(host)
            assert.strictEqual(failure(exit), "boom")
          }
        }
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("clean-up that was given up is told again when it ends, with how late it was and what it has failed with", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const slow = Effect.uninterruptible(Effect.sleep("10 minutes"))
      const release = Effect.acquireRelease(Effect.void, () => slow)
      const Slow = App.layer(
        "a",
        Effect.andThen(
          App.onStop("hook", Effect.uninterruptible(Effect.andThen(slow, Effect.fail("no disk")))),
          release
        )
      )
      const apps = Layer.provideMerge(Slow, Layer.effectDiscard(release))
      const host = yield* launch(apps, { stopWithin: "10 seconds", onReport: () => slow })
      yield* host.stop
      recorder.records.length = 0
      yield* TestClock.adjust("1 hour")
      const lines = recorder.records.map(({ level, message }) => `${level}: ${message}`)
      assert.deepStrictEqual(lines.map((line) => line.replace(/, .* after it/, ", so late after it")).toSorted(), [
        "Error: Hook hub/a/hook ended after all, so late after it was given up",
        "Warn: The close of the layers of hub ended after all, so late after it was given up",
        "Warn: The release of the resources of app hub/a ended after all, so late after it was given up",
        "Warn: onReport ended after all, so late after it was given up"
      ])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("a reader of the report that fails or hangs does not hold up the end", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      for (const onReport of [() => Effect.die("no paper"), () => Effect.never]) {
        const host = yield* launch(idle("a"), { onReport })
        assert.isAtMost((yield* host.stop).took, 500)
      }
      assert.deepStrictEqual(linesAt(recorder.records, "Error"), [
        "onReport failed",
        "onReport did not end within half a second; it is given up"
      ])
    }).pipe(Effect.provide(recorder.layer))
  })
})

describe("bad input", () => {
  const refused = (effect: Effect.Effect<unknown, unknown>) => Effect.map(Effect.flip(effect), String)

  it.effect("a bad name, limit or exit code is refused with its value", () =>
    Effect.gen(function*() {
      assert.match(yield* refused(Host.launch(Layer.empty, { name: "a/b" })), /the name of a host is "a\/b"/)
      assert.match(yield* refused(Host.launch(Layer.empty, { stopWithin: -1 })), /stopWithin of host "host"/)
      assert.match(yield* refused(Host.launch(Layer.empty, { stopWithin: Number.NaN })), /this is not a duration/)
      const host = yield* launch(idle("a"))
      for (const code of [-1, 256, 1.5, Number.NaN]) {
        assert.match(yield* refused(host.inHost(Host.requestStop("x", code))), /a whole number from 0 to 255/)
      }
      yield* host.stop
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("what is not a layer, a name that is no string and limits that are no numbers are refused", () =>
    Effect.gen(function*() {
      for (const apps of [Effect.void, [idle("a")], undefined]) {
        assert.match(
          yield* refused(Host.launch(apps as unknown as Layer.Layer<never>)),
          /the apps of host "host" is .*: a host is launched with one Layer/
        )
      }
      assert.match(yield* refused(Host.launch(idle("a"), { name: null as unknown as string })), /must be a string/)
      const limits = { ...Limits.defaults, hostStop: Number.NaN }
      assert.match(
        yield* refused(Effect.provideService(Host.launch(idle("a")), Limits.Limits, limits)),
        /hostStop of the Limits is "NaN"/
      )
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a reason that is not a string is a reason all the same", () =>
    Effect.gen(function*() {
      const host = yield* launch(idle("a"))
      const [app] = yield* host.inHost(Host.apps)
      assert.strictEqual((yield* App.stop(app!, 42 as unknown as string)).reason, "42")
      yield* host.inHost(Host.requestStop(new Error("no disk") as unknown as string))
      assert.strictEqual(succeeded((yield* advanceUntilDone(host.fiber)).exit).reason, "Error: no disk")
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("an app whose limit is above that of its host is refused with both values, a default follows", () =>
    Effect.gen(function*() {
      const options = { stopWithin: "2 seconds" } as const
      assert.match(
        yield* refused(Host.launch(App.layer("a", Effect.void, { stopWithin: "3 seconds" }), options)),
        /stopWithin of app "host\/a" is "3 seconds": it does not fit into the stop of its host \(.*\), which is 2\.0 s/
      )
      const host = yield* launch(idle("a"), options)
      assert.strictEqual(succeeded((yield* host.stop).exit).apps[0]!.budget, 2000)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("two apps of one name are refused, wherever they are in the graph", () =>
    Effect.gen(function*() {
      const inner = App.layer("a", Effect.void)
      const outer = App.layer("b", Effect.void).pipe(Layer.provide(App.layer("a", Effect.void)))
      assert.match(yield* refused(Host.launch(Layer.mergeAll(inner, outer))), /two apps with the path host\/a/)
    }).pipe(Effect.provide(makeRecorder().layer)))
})
