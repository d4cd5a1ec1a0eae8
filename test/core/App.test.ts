import { App, Host, Limits, ScopeClosed, ShutdownReport, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { awakeClock } from "../support/awakeClock.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const now = TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))

/** Advances the clock by 10 ms until the fiber is done, and says how long that was. */
const advanceUntilDone = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function*() {
    const begin = yield* now
    yield* TestClock.adjust(0)
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust(10)
    return { exit: yield* Fiber.await(fiber), took: (yield* now) - begin }
  })

/** Builds a layer into a scope of its own, which the test closes. */
const build = <A, E, R>(layer: Layer.Layer<A, E, R>) =>
  Effect.gen(function*() {
    yield* awakeClock
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(layer, scope)
    const close = Effect.flatMap(Effect.forkChild(Scope.close(scope, Exit.void)), advanceUntilDone)
    return { context, close }
  })

const say = (log: Array<string>, line: string) => Effect.sync(() => log.push(line))

/** The handle of the app whose start this is part of. */
const handle = Deferred.makeUnsafe

describe("an app starts", () => {
  it.effect("and its tasks have its path", () =>
    Effect.gen(function*() {
      const task = yield* Deferred.make<Task.Task>()
      const { close } = yield* build(
        App.layer(
          "sensor",
          Effect.flatMap(Task.spawn(Effect.never, "poll"), (spawned) => Deferred.succeed(task, spawned))
        )
      )
      assert.strictEqual((yield* Deferred.await(task)).path, "sensor/poll")
      yield* close
    }))

  it.effect("from a layer, and provides what that provides", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, string>()("test/core/App/Db") {}
      const { close, context } = yield* build(App.layer("db", Layer.succeed(Db)("connected")))
      assert.strictEqual(Context.get(context, Db), "connected")
      yield* close
    }))

  it.effect("and when its start fails, its tasks end, then its resources are released, and the error comes through (A16)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const start = Effect.gen(function*() {
        yield* Effect.acquireRelease(Effect.void, () => say(log, "released"))
        yield* Task.spawn(
          Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep(100), say(log, "task ended"))),
          "poll"
        )
        yield* App.onStop("goodbye", say(log, "hook"))
        return yield* Effect.fail("no broker" as const)
      })
      for (const app of [App.layer("sensor", start), App.layer("sensor", Layer.effectDiscard(start))]) {
        log.length = 0
        yield* awakeClock
        const building = yield* Effect.forkChild(Effect.scoped(Layer.build(app)))
        const { exit } = yield* advanceUntilDone(building)
        assert.deepStrictEqual(exit, Exit.fail("no broker"))
        assert.deepStrictEqual(log, ["hook", "task ended", "released"])
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("step by step: what comes after a step that fails is not done (B14)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const steps = Effect.forEach(["first", "second", "third"], (step) =>
        step === "second" ? Effect.fail("second failed" as const) : say(log, step))
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(App.layer("sensor", steps))))
      assert.deepStrictEqual(exit, Exit.fail("second failed"))
      assert.deepStrictEqual(log, ["first"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("in time, or is stopped and fails with the place where it is stuck", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const connect = Effect.fn("connect")(function*() {
        return yield* Effect.never
      })
      const Slow = App.layer(
        "sensor",
        Effect.andThen(Task.spawn(Effect.ensuring(Effect.never, say(log, "task ended")), "poll"), connect()),
        { startWithin: "3 seconds" }
      )
      yield* awakeClock
      const building = yield* Effect.forkChild(Effect.flip(Effect.scoped(Layer.build(Slow))))
      const { exit, took } = yield* advanceUntilDone(building)
      assert.strictEqual(took, 3000)
      const error = Exit.isSuccess(exit) ? exit.value : undefined
      assert.instanceOf(error, App.StartTimeout)
      assert.match(
        error.message,
        /^App sensor did not start within 3\.0 s; it is at connect \(.*App\.test\.ts:\d+:\d+\)/
      )
      assert.deepStrictEqual(log, ["task ended"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and a start that cannot even be interrupted does not hold up its end", () =>
    Effect.gen(function*() {
      const Deaf = App.layer("sensor", Effect.uninterruptible(Effect.never), {
        startWithin: "1 second",
        stopWithin: "2 seconds"
      })
      yield* awakeClock
      const building = yield* Effect.forkChild(Effect.flip(Effect.scoped(Layer.build(Deaf))))
      const { took } = yield* advanceUntilDone(building)
      assert.isAtMost(took, 3000)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("with no limit when it is told so", () =>
    Effect.gen(function*() {
      const Slow = App.layer("sensor", Effect.sleep("1 hour"), { startWithin: "none" })
      yield* awakeClock
      const building = yield* Effect.forkChild(Effect.scoped(Layer.build(Slow)))
      yield* TestClock.adjust("1 hour")
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(building)))
    }))
})

describe("an app stops", () => {
  it.effect("its hooks in reverse order while its tasks live, then its tasks, then its resources (B10)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => say(log, "resource"))
          const task = yield* Task.spawn(Effect.ensuring(Effect.never, say(log, "task")), "poll")
          yield* App.onStop("first", Effect.suspend(() => say(log, `first while ${task.status._tag}`)))
          yield* App.onStop("second", Effect.suspend(() => say(log, `second while ${task.status._tag}`)))
        })
      ))
      yield* close
      assert.deepStrictEqual(log, ["second while Running", "first while Running", "task", "resource"])
    }))

  it.effect("in time although a hook never ends, and its tasks are interrupted (B11)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* Task.spawn(Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep(500), say(log, "task"))), "poll")
          yield* App.onStop("hang", Effect.uninterruptible(Effect.never))
        }),
        { stopWithin: "3 seconds" }
      ))
      const { took } = yield* close
      assert.isAtMost(took, 3000)
      assert.deepStrictEqual(log, ["task"], "the hook did not take the time of the task")
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("with all hooks run although one fails and one hangs, and says so (B12)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const log: Array<string> = []
      const self = handle<App.App>()
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* Deferred.succeed(self, yield* App.CurrentApp)
          yield* App.onStop("last", say(log, "last"))
          yield* App.onStop("hang", Effect.never, { within: "100 millis" })
          yield* App.onStop("fail", Effect.fail("disk full"))
          yield* App.onStop(
            "throw",
            Effect.suspend((): Effect.Effect<void> => {
              throw new Error("thrown at once")
            })
          )
          yield* App.onStop("first", say(log, "first"))
        })
      ))
      yield* close
      assert.deepStrictEqual(log, ["first", "last"])
      const state = yield* App.state(yield* Deferred.await(self))
      const report = state._tag === "Failed" ? state.report : undefined
      assert.deepStrictEqual(report?.hooks.map((hook) => [hook.path, hook.outcome]), [
        ["sensor/first", "completed"],
        ["sensor/throw", "failed"],
        ["sensor/fail", "failed"],
        ["sensor/hang", "abandoned"],
        ["sensor/last", "completed"]
      ])
      assert.isFalse(report?.clean)
      assert.deepStrictEqual(linesAt(recorder.records, "Error"), [
        "Hook sensor/throw failed; the stop goes on",
        "Hook sensor/fail failed; the stop goes on",
        "Hook sensor/hang did not end within 100 ms; it is given up, and the stop goes on"
      ])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("with the hooks before the drain, and interrupts a hook at its limit", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          const upload = Effect.andThen(Effect.sleep("1 second"), say(log, "uploaded"))
          yield* Task.spawn(upload, "upload", { kind: "foreground" })
          yield* App.onStop("hang", Effect.onInterrupt(Effect.never, () => say(log, "hook interrupted")), {
            within: "100 millis"
          })
          yield* App.onStop("announce", say(log, "announced"))
        })
      ))
      assert.strictEqual((yield* close).took, 1000)
      assert.deepStrictEqual(log, ["announced", "hook interrupted", "uploaded"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and a hook that ends interrupted, but not by its limit, has failed", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const self = handle<App.App>()
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* Deferred.succeed(self, yield* App.CurrentApp)
          const task = yield* Task.spawn(Effect.never, "poll")
          yield* App.onStop("goodbye", Effect.andThen(task.interrupt("bye"), task.join))
        })
      ))
      const report = yield* App.stop(yield* Deferred.await(self))
      assert.deepStrictEqual(report.hooks.map((hook) => hook.outcome), ["failed"])
      assert.deepStrictEqual(report.apps.map((app) => app.outcome), ["stopped"])
      assert.deepStrictEqual(linesAt(recorder.records, "Error"), ["Hook sensor/goodbye failed; the stop goes on"])
      yield* close
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("and a hook whose failure cannot even be shown holds up nothing", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const self = handle<App.App>()
      const unspeakable = Object.defineProperty(new Error(), "message", {
        get: () => {
          throw new Error("no")
        }
      })
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* Deferred.succeed(self, yield* App.CurrentApp)
          yield* Effect.acquireRelease(Effect.void, () => say(log, "released"))
          yield* Task.spawn(Effect.ensuring(Effect.never, say(log, "task ended")), "poll")
          yield* App.onStop("last", say(log, "last hook"))
          yield* App.onStop("fail", Effect.fail(unspeakable))
        })
      ))
      const report = yield* App.stop(yield* Deferred.await(self))
      assert.deepStrictEqual(log, ["last hook", "task ended", "released"])
      assert.deepStrictEqual(report.hooks.map((hook) => hook.outcome), ["failed", "completed"])
      assert.deepStrictEqual(report.apps.map((app) => [app.outcome, app.resources]), [["stopped", "released"]])
      yield* close
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and several hanging hooks share the time, so that each of them gets its turn", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* App.onStop("last", say(log, "last"))
          for (let i = 0; i < 3; i++) yield* App.onStop(`hang${i}`, Effect.andThen(say(log, `hang${i}`), Effect.never))
        }),
        { stopWithin: "4 seconds" }
      ))
      const { took } = yield* close
      assert.deepStrictEqual(log, ["hang2", "hang1", "hang0", "last"])
      assert.isAtMost(took, 4000)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and a hook registered while it stops is refused", () =>
    Effect.gen(function*() {
      const refused = yield* Deferred.make<unknown>()
      const { close } = yield* build(App.layer(
        "sensor",
        App.onStop(
          "outer",
          Effect.flatMap(Effect.flip(App.onStop("inner", Effect.void)), (error) => Deferred.succeed(refused, error))
        )
      ))
      yield* close
      assert.instanceOf(yield* Deferred.await(refused), ScopeClosed)
    }))

  it.effect("with a hook that is no effect refused at its registration (B13)", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(
        App.layer("sensor", App.onStop("bad", (() => "no effect") as unknown as Effect.Effect<void>))
      )))
      assert.match(String(error), /hook "bad" of app "sensor" is .*: a hook is an Effect. Wrap/)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("at once without draining, and waits for foreground tasks with a drain (G7)", () =>
    Effect.gen(function*() {
      const started = (drain: "none" | "9 seconds") =>
        build(App.layer("sensor", Task.spawn(Effect.sleep("5 seconds"), "upload", { kind: "foreground" }), { drain }))
      const without = yield* started("none")
      assert.isBelow((yield* without.close).took, 500)
      const log = yield* started("9 seconds")
      // The hooks and the drain get what the tasks and resources leave: 4.5 of 10 seconds.
      assert.strictEqual((yield* log.close).took, 4500)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and a background task sees that it is stopping (G6)", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          const app = yield* App.CurrentApp
          const look = Effect.flatMap(App.state(app), (state) => say(seen, state._tag))
          yield* Task.spawn(Effect.onInterrupt(Effect.never, () => look), "poll")
        })
      ))
      yield* close
      assert.deepStrictEqual(seen, ["Stopping"])
    }))

  it.effect("and when it missed its limit its state is failed, with the error that names what is stuck (B21)", () =>
    Effect.gen(function*() {
      const self = handle<App.App>()
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* Deferred.succeed(self, yield* App.CurrentApp)
          yield* Effect.acquireRelease(Effect.void, () => Effect.never)
          yield* Task.spawn(Effect.uninterruptible(Effect.never), "deaf")
        }),
        { stopWithin: "2 seconds" }
      ))
      const { took } = yield* close
      assert.strictEqual(took, 2000)
      const state = yield* App.state(yield* Deferred.await(self))
      assert.strictEqual(state._tag, "Failed")
      assert.match(
        String(state._tag === "Failed" && state.error),
        /App sensor did not stop within 2\.0 s; given up: sensor\/deaf, sensor\/\(resources\)/
      )
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and says in one line what it took", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const { close } = yield* build(App.layer("sensor", Task.spawn(Effect.never, "poll")))
      yield* close
      assert.deepStrictEqual(linesAt(recorder.records, "Info"), [
        "sensor stopped cleanly in 0 ms of 10.0 s (1 task: 1 interrupted; reason: its layer was closed)"
      ])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("when a task with stopApp fails, and others go on", () =>
    Effect.gen(function*() {
      const other = handle<Task.Task>()
      const self = handle<App.App>()
      const { close } = yield* build(Layer.mergeAll(
        App.layer("other", Effect.flatMap(Task.spawn(Effect.never, "poll"), (task) => Deferred.succeed(other, task))),
        App.layer(
          "sensor",
          Effect.gen(function*() {
            yield* Deferred.succeed(self, yield* App.CurrentApp)
            yield* Task.spawn(Effect.andThen(Effect.sleep(100), Effect.fail("E")), "poll", { onFailure: "stopApp" })
          })
        )
      ))
      yield* TestClock.adjust(100)
      const state = yield* App.state(yield* Deferred.await(self))
      assert.strictEqual(state._tag === "Stopped" && state.report.reason, "task sensor/poll failed")
      assert.strictEqual((yield* Deferred.await(other)).status._tag, "Running")
      yield* close
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and reports what was alive then, also in a scope inside, and also what ends while the hooks run", () =>
    Effect.gen(function*() {
      const scope = handle<TaskScope.TaskScope>()
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          const own = yield* TaskScope.TaskScope
          yield* Deferred.succeed(scope, own)
          const inner = yield* TaskScope.child(own, "inner")
          for (const at of [own, inner]) {
            yield* TaskScope.spawn(at, Effect.sleep(100), "ends")
            yield* TaskScope.spawn(at, Effect.andThen(Effect.sleep(100), Effect.fail("no")), "fails")
          }
          yield* App.onStop("slow", Effect.sleep("1 second"))
        })
      ))
      yield* close
      const report = yield* TaskScope.close(yield* Deferred.await(scope))
      assert.deepStrictEqual(report.tasks.map((task) => `${task.path} ${task.outcome}`), [
        "sensor/ends completed",
        "sensor/fails failed",
        "sensor/inner/ends completed",
        "sensor/inner/fails failed"
      ])
      assert.include(ShutdownReport.summary(report), "4 tasks: 2 completed, 2 failed")
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and tells so in its events, which end then", () =>
    Effect.gen(function*() {
      const scope = handle<TaskScope.TaskScope>()
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* Deferred.succeed(scope, yield* TaskScope.TaskScope)
          yield* Effect.acquireRelease(Effect.void, () => Effect.sleep(100))
        })
      ))
      const events: Array<string> = []
      const reader = yield* Effect.forkDetach(
        Stream.runForEach(TaskScope.events(yield* Deferred.await(scope)), (event) =>
          Effect.sync(() => events.push(event._tag === "AppState" ? event.state : event._tag))),
        { startImmediately: true }
      )
      yield* close
      assert.isDefined(reader.pollUnsafe())
      assert.deepStrictEqual(events, ["stopping", "ScopeStopping", "ScopeClosed", "stopped"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and tells it who begins to read while its resources are released", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          const read = Stream.runForEach(TaskScope.events(yield* TaskScope.TaskScope), (event) =>
            Effect.sync(() => events.push(event._tag === "AppState" ? event.state : event._tag)))
          yield* Effect.acquireRelease(
            Effect.void,
            () =>
              Effect.andThen(Effect.forkDetach(read, { startImmediately: true }), Effect.sleep(100))
          )
        })
      ))
      yield* close
      assert.deepStrictEqual(events, ["stopped"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("with its hooks when its scope is closed by hand", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const scope = handle<TaskScope.TaskScope>()
      const { close } = yield* build(App.layer(
        "sensor",
        Effect.gen(function*() {
          yield* Deferred.succeed(scope, yield* TaskScope.TaskScope)
          yield* App.onStop("goodbye", say(log, "hook"))
        })
      ))
      const report = yield* TaskScope.close(yield* Deferred.await(scope))
      assert.deepStrictEqual(log, ["hook"])
      assert.deepStrictEqual(report.apps.map((app) => app.path), ["sensor"])
      yield* close
    }))
})

describe("apps together", () => {
  const slow = (log: Array<string>, name: string) =>
    Effect.gen(function*() {
      yield* App.onStop("hook", say(log, `${name} begins`))
      yield* Task.spawn(
        Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep("1 second"), say(log, `${name} ends`))),
        "task"
      )
    })

  it.effect("that depend on each other stop dependents first (Q10)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      class Db extends Context.Service<Db, string>()("test/core/App/Db2") {}
      const A = App.layer("a", Layer.effect(Db)(Effect.as(slow(log, "a"), "db")))
      const B = App.layer("b", Effect.andThen(Db, slow(log, "b"))).pipe(Layer.provide(A))
      const { close } = yield* build(B)
      const { took } = yield* close
      assert.deepStrictEqual(log, ["b begins", "b ends", "a begins", "a ends"])
      assert.strictEqual(took, 2000)
    }))

  it.effect("that do not depend on each other stop at the same time (B6, Q10)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close } = yield* build(Layer.mergeAll(...(["a", "b", "c"] as const).map((name) =>
        App.layer(name, slow(log, name))
      ) as [Layer.Layer<never>]))
      assert.strictEqual((yield* close).took, 1000)
      assert.strictEqual(log.length, 6)
    }))

  it.effect("one is shared by all that depend on it, and stops after the last", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      class Db extends Context.Service<Db, number>()("test/core/App/Db3") {}
      let starts = 0
      const A = App.layer("a", Layer.effect(Db)(Effect.as(slow(log, "a"), ++starts)))
      const user = (name: string) => App.layer(name, Effect.andThen(Db, slow(log, name))).pipe(Layer.provide(A))
      const { close } = yield* build(Layer.mergeAll(user("b"), user("c")))
      assert.strictEqual((yield* close).took, 2000)
      assert.strictEqual(starts, 1)
      assert.strictEqual(log.at(-1), "a ends")
    }))

  it.effect("one stuck app keeps no other from its clean-up", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Stuck = App.layer("stuck", Task.spawn(Effect.uninterruptible(Effect.never), "deaf"), {
        stopWithin: "2 seconds"
      })
      const { close } = yield* build(Layer.mergeAll(Stuck, App.layer("good", slow(log, "good"))))
      assert.isAtMost((yield* close).took, 2000)
      assert.deepStrictEqual(log, ["good begins", "good ends"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("an app inside of an app has its path and stops with its hooks before the outer one's resources", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Inner = App.layer("inner", slow(log, "inner"))
      const { close } = yield* build(App.layer(
        "outer",
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => say(log, "outer resource"))
          yield* Layer.build(Inner)
          yield* Task.spawn(Effect.ensuring(Effect.never, say(log, "outer task")), "task")
        })
      ))
      assert.strictEqual((yield* close).took, 1000)
      assert.deepStrictEqual(log.slice(0, 2).toSorted(), ["inner begins", "outer task"])
      assert.deepStrictEqual(log.slice(2), ["inner ends", "outer resource"])
    }))

  it.effect("the report of an app tells of an app inside that was at its resources already", () =>
    Effect.gen(function*() {
      const apps: Record<string, App.App> = {}
      const remember = Effect.map(App.CurrentApp, (app) => {
        apps[app.name] = app
      })
      const Inner = App.layer(
        "inner",
        Effect.gen(function*() {
          yield* remember
          yield* Effect.acquireRelease(Effect.void, () => Effect.sleep(150))
          yield* Task.spawn(Effect.uninterruptible(Effect.never), "stuck")
        }),
        { taskStopWithin: "20 millis" }
      )
      const { close } = yield* build(App.layer("outer", Effect.andThen(remember, Layer.build(Inner))))
      const inner = yield* Effect.forkChild(App.stop(apps.inner!), { startImmediately: true })
      yield* TestClock.adjust(80)
      const outer = yield* Effect.forkChild(App.stop(apps.outer!), { startImmediately: true })
      const { exit, took } = yield* advanceUntilDone(outer)
      assert.strictEqual(took, 90)
      assert.isDefined(inner.pollUnsafe())
      const report = Exit.isSuccess(exit) ? exit.value : undefined
      assert.deepStrictEqual(report?.tasks.map((task) => [task.path, task.outcome]), [
        ["outer/inner/stuck", "abandoned"]
      ])
      assert.deepStrictEqual(report?.apps.map((app) => [app.path, app.resources]), [
        ["outer", "released"],
        ["outer/inner", "released"]
      ])
      assert.isFalse(report?.clean)
      yield* close
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that are made of one layer value have one each", () =>
    Effect.gen(function*() {
      const tasks: Array<string> = []
      const Work = Layer.effectDiscard(
        Effect.map(Task.spawn(Effect.never, "poll"), (task) => tasks.push(task.path))
      )
      const { close } = yield* build(Layer.mergeAll(App.layer("left", Work), App.layer("right", Work)))
      assert.deepStrictEqual(tasks.toSorted(), ["left/poll", "right/poll"])
      yield* close
    }))

  it.effect("share what is provided around them, and build it once", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, number>()("test/core/App/Db5") {}
      let built = 0
      const DbLive = Layer.effect(Db)(Effect.sync(() => ++built))
      const seen: Array<number> = []
      const user = (name: string) => App.layer(name, Effect.map(Db, (db) => seen.push(db)))
      const { close } = yield* build(Layer.mergeAll(user("a"), user("b")).pipe(Layer.provide(DbLive)))
      assert.deepStrictEqual(seen, [1, 1])
      yield* close
    }))
})

describe("one app, stopped and started again", () => {
  class Db extends Context.Service<Db, number>()("test/core/App/Db4") {}

  const program = (use: (apps: Record<string, App.App>, log: Array<string>) => Effect.Effect<void, unknown>) =>
    Effect.gen(function*() {
      const log: Array<string> = []
      let life = 0
      const known: Record<string, App.App> = {}
      const remember = Effect.map(App.CurrentApp, (app) => {
        known[app.name] = app
      })
      const A = App.layer(
        "a",
        Layer.effect(Db)(Effect.gen(function*() {
          yield* remember
          yield* Task.spawn(Effect.never, "poll")
          return ++life
        }))
      )
      const B = App.layer(
        "b",
        Effect.gen(function*() {
          yield* remember
          log.push(`b sees ${yield* Db}`)
          yield* App.onStop("hook", say(log, "b stops"))
        })
      ).pipe(Layer.provide(A))
      const C = App.layer("c", Effect.andThen(remember, Task.spawn(Effect.never, "poll")))
      const { close } = yield* build(Layer.mergeAll(B, C))
      yield* use(known, log)
      yield* close
    }).pipe(Effect.provide(makeRecorder().layer))

  it.effect("takes the apps that depend on it along, and gives them its new services (B19)", () =>
    program((apps, log) =>
      Effect.gen(function*() {
        const report = yield* App.restart(apps.a!)
        assert.strictEqual(report.path, "a")
        assert.deepStrictEqual(log, ["b sees 1", "b stops", "b sees 2"])
        for (const app of Object.values(apps)) assert.strictEqual((yield* App.state(app))._tag, "Ready")
      })
    ))

  it.effect("leaves the others alone, and its task is gone", () =>
    program((apps) =>
      Effect.gen(function*() {
        yield* App.stop(apps.a!)
        assert.deepStrictEqual(
          [(yield* App.state(apps.a!))._tag, (yield* App.state(apps.b!))._tag, (yield* App.state(apps.c!))._tag],
          ["Stopped", "Stopped", "Ready"]
        )
      })
    ))

  it.effect("cannot be started while it runs, nor on an app that does not", () =>
    program((apps) =>
      Effect.gen(function*() {
        assert.match((yield* Effect.flip(App.start(apps.c!))).message, /it runs already/)
        yield* App.stop(apps.a!)
        assert.match((yield* Effect.flip(App.start(apps.b!))).message, /it depends on a, which does not run/)
        yield* App.start(apps.a!)
        yield* App.start(apps.b!)
      })
    ))

  it.effect("ten times in a row leaves nothing behind", () =>
    program((apps) =>
      Effect.gen(function*() {
        for (let i = 0; i < 10; i++) {
          yield* App.restart(apps.a!)
          assert.strictEqual((yield* App.state(apps.b!))._tag, "Ready")
        }
      })
    ))
})

describe("an app made of layers", () => {
  class Primary extends Context.Service<Primary, string>()("test/core/App/Primary") {}

  it.effect("goes on when one of them fails and another one takes its place, and the failed one leaves nothing", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const attempt = Effect.gen(function*() {
        yield* Effect.acquireRelease(Effect.void, () => say(log, "released"))
        yield* Task.spawn(
          Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep(10), say(log, "task ended"))),
          "probe"
        )
        return yield* Effect.fail("primary down" as const)
      })
      const Down = Layer.effect(Primary)(attempt)
      const Fallback = Layer.effect(Primary)(Effect.as(say(log, "fallback"), "fallback"))
      yield* awakeClock
      const scope = yield* Scope.make()
      const building = yield* Effect.forkChild(
        Layer.buildWithScope(App.layer("a", Layer.catchCause(Down, () => Fallback)), scope)
      )
      const { exit } = yield* advanceUntilDone(building)
      assert.strictEqual(Exit.isSuccess(exit) ? Context.get(exit.value, Primary) : "a failure", "fallback")
      assert.deepStrictEqual(log, ["task ended", "released", "fallback"])
      yield* Scope.close(scope, Exit.void)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("ends what each of them has spawned before that one releases its resources, when the start fails", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const part = (name: string, end: Effect.Effect<void, string>) =>
        Layer.effectDiscard(Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => say(log, `${name} released`))
          const slow = Effect.andThen(Effect.sleep(10), say(log, `${name} task ended`))
          yield* Task.spawn(Effect.ensuring(Effect.never, slow), name)
          yield* end
        }))
      const App1 = App.layer("a", Layer.mergeAll(part("good", Effect.void), part("bad", Effect.fail("no"))))
      yield* awakeClock
      const building = yield* Effect.forkChild(Effect.flip(Effect.scoped(Layer.build(App1))))
      yield* advanceUntilDone(building)
      for (const name of ["good", "bad"]) {
        assert.isBelow(log.indexOf(`${name} task ended`), log.indexOf(`${name} released`))
      }
      assert.strictEqual(log.length, 4)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("starts again as a whole, although a release of the life before hangs", () =>
    Effect.gen(function*() {
      const self = handle<App.App>()
      const log: Array<string> = []
      const part = (name: string, release: Effect.Effect<void>) =>
        Layer.effect(Context.Service<string>(name))(Effect.gen(function*() {
          yield* Deferred.succeed(self, yield* App.CurrentApp)
          yield* Effect.acquireRelease(say(log, name), () => release)
          return name
        }))
      let releases = 0
      const hangOnce = Effect.suspend(() => ++releases === 1 ? Effect.never : Effect.void)
      const Inner = App.layer("inner", say(log, "inner"))
      const Two = part("above", hangOnce).pipe(Layer.provideMerge(Layer.merge(part("below", Effect.void), Inner)))
      const { close } = yield* build(App.layer("a", Two, { stopWithin: "200 millis" }))
      const restart = yield* Effect.forkChild(App.restart(yield* Deferred.await(self)), { startImmediately: true })
      assert.isTrue(Exit.isSuccess((yield* advanceUntilDone(restart)).exit))
      assert.deepStrictEqual(log.slice(0, 3).toSorted(), ["above", "below", "inner"])
      assert.deepStrictEqual(log.slice(3).toSorted(), ["above", "below", "inner"])
      yield* close
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("what an app logs", () => {
  it.effect("in a hook names the hook, and in an app inside of an app names no task of the outer one", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const Inner = App.layer("inner", App.onStop("flush", Effect.logInfo("flushing")))
      const { close } = yield* build(App.layer("outer", Layer.build(Inner)))
      yield* close
      const flushing = recorder.records.find((record) => record.message === "flushing")
      assert.deepStrictEqual(flushing?.annotations, { hook: "outer/inner/flush" })
      const stopped = recorder.records.filter((record) => record.message.startsWith("outer/inner stopped"))
      assert.deepStrictEqual(stopped.map((record) => record.annotations), [{ app: "outer/inner" }])
    }).pipe(Effect.provide(recorder.layer))
  })
})

describe("the current app", () => {
  it.effect("is known inside and nowhere else (D12)", () =>
    Effect.gen(function*() {
      const seen = yield* Deferred.make<Option.Option<App.App>>()
      const { close } = yield* build(
        App.layer("sensor", Effect.flatMap(App.current, (app) => Deferred.succeed(seen, app)))
      )
      assert.strictEqual(Option.getOrThrow(yield* Deferred.await(seen)).path, "sensor")
      assert.deepStrictEqual(yield* App.current, Option.none())
      yield* close
    }))
})

describe("bad input", () => {
  const refused = (layer: Layer.Layer<never, unknown>) =>
    Effect.map(Effect.flip(Effect.scoped(Layer.build(layer))), String)

  it.effect("a bad name, a bad limit and limits that do not fit are refused at the start, with the values", () =>
    Effect.gen(function*() {
      assert.match(yield* refused(App.layer("a/b", Effect.die("ran"))), /the name of an app is "a\/b"/)
      assert.match(yield* refused(App.layer("", Effect.die("ran"))), /a name must not be empty/)
      assert.match(
        yield* refused(App.layer("a", Effect.die("ran"), { stopWithin: 0 })),
        /stopWithin of app "a" is "0": a limit must be longer than zero/
      )
      assert.match(
        yield* refused(App.layer("a", Effect.die("ran"), { startWithin: Number.NaN })),
        /startWithin of app "a"/
      )
      assert.match(
        yield* refused(App.layer("a", Effect.die("ran"), { stopWithin: "3 seconds", taskStopWithin: "4 seconds" })),
        /taskStopWithin of app "a" is "4 seconds": it does not fit into stopWithin of app "a", which is 3\.0 s/
      )
      assert.match(
        yield* refused(App.layer("a", Effect.die("ran"), { stopWithin: "1 minute" })),
        /it does not fit into the stop of its host \(.*\), which is 30\.0 s/
      )
    }))

  it.effect("a start that is neither an effect nor a layer is refused, and so are limits that are no numbers", () =>
    Effect.gen(function*() {
      for (const start of [undefined, () => Effect.void, async () => {}, function*() {}]) {
        assert.match(
          yield* refused(App.layer("a", start as unknown as Effect.Effect<void>)),
          /the start of app "a" is .*: an app starts from an Effect or a Layer\. Wrap/
        )
      }
      const limits = { ...Limits.defaults, appStop: Number.NaN }
      const built = Effect.scoped(Layer.build(App.layer("a", Effect.void)))
      assert.match(
        String(yield* Effect.flip(Effect.provideService(built, Limits.Limits, limits))),
        /appStop of the Limits is "NaN": this is not a duration/
      )
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a second app of the same path is refused, the same layer twice is one app", () =>
    Effect.gen(function*() {
      const one = App.layer("a", Effect.void)
      assert.match(
        yield* refused(Layer.mergeAll(one, App.layer("a", Effect.void))),
        /There are two apps with the path a\./
      )
      const { close } = yield* build(Layer.mergeAll(one, one))
      yield* close
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("an app that builds itself is refused at once, instead of waiting for itself", () =>
    Effect.gen(function*() {
      const Self: Layer.Layer<never, unknown> = App.layer(
        "self",
        Effect.suspend(() => Effect.provide(Effect.void, Self))
      )
      assert.match(yield* refused(Self), /App self depends on itself/)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("an app that is stopped while it starts fails to start, and says why", () =>
    Effect.gen(function*() {
      const Self = App.layer("self", Effect.flatMap(App.CurrentApp, (app) => App.stop(app, "on second thoughts")))
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Self)))
      assert.match(
        Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "",
        /App self was not started: it was stopped during its start \(on second thoughts\)/
      )
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("with a host", () => {
  it.effect("an app of which no layer is closed stops with the host in its path", () =>
    Effect.gen(function*() {
      const report = yield* Host.launch(App.layer("sensor", Task.spawn(Effect.void, "hello")), {
        name: "hub",
        stopWhenIdle: true
      })
      assert.deepStrictEqual(report.apps.map((app) => [app.path, app.outcome]), [["hub/sensor", "stopped"]])
    }).pipe(Effect.provide(makeRecorder().layer)))
})
