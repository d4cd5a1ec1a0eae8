import { App, Blocking, BlockingFunction, Host, Limits, Shutdown, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { advanceUntilDone, launch, now, phasesIn, succeeded } from "../support/launch.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const say = (log: Array<string>, line: string) => Effect.sync(() => log.push(line))

const phases = [...Shutdown.StopPhase.literals]

const stuck = Effect.uninterruptible(Effect.never)

const outcomes = (lines: ReadonlyArray<{ readonly path: string; readonly outcome: string }>) =>
  lines.map(({ outcome, path }) => `${path} ${outcome}`).toSorted()

/** Does everything that keeps a stop from its end. */
const hungry = (name: string) =>
  App.layer(
    name,
    Effect.gen(function*() {
      for (const phase of phases) yield* Shutdown.on(phase, `hang-${phase}`, stuck)
      yield* App.onStop("hang", stuck)
      yield* Effect.acquireRelease(Effect.void, () => stuck)
      yield* Task.spawn(stuck, "stuck")
      yield* Task.spawn(Effect.ensuring(Effect.never, Effect.never), "hung-finalizer")
      yield* Task.spawn(stuck, "foreground", { kind: "foreground" })
      yield* Task.spawn(stuck, "own-limit", { stopWithin: "10 millis" })
    })
  )

const never = BlockingFunction.make({ url: import.meta.url }, "never", () => new Promise<never>(() => {}))

/** A call that never ends by itself, of a pool that tells how much time it has once it is cancelled. */
const callTold = (cancelled: Array<string>) => (name: string) => {
  const telling = Effect.map(Blocking.makeInline, (pool): Blocking.Pool => ({
    ...pool,
    submit: (request) => {
      const job = pool.submit(request)
      return {
        ...job,
        cancel: (within) => {
          cancelled.push(`${name} ${within}`)
          job.cancel(within)
        }
      }
    }
  }))
  return Effect.provideServiceEffect(Blocking.run(never), Blocking.Blocking, telling)
}

describe("haste", () => {
  it.effect("cuts hooks and the drain short at once, and runs no more of them", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const hook = (name: string) =>
        Effect.andThen(say(log, name), Effect.onInterrupt(Effect.never, () => say(log, `${name} cut`)))
      const register: Record<string, Effect.Effect<unknown, unknown, App.Provided>> = {
        stopping: Shutdown.on("stopping", "hang", hook("stopping")),
        onStop: App.onStop("hang", hook("onStop")),
        draining: Shutdown.on("draining", "hang", hook("draining")),
        drain: Task.spawn(hook("drain"), "work", { kind: "foreground" }),
        interrupting: Shutdown.on("interrupting", "hang", hook("interrupting"))
      }
      for (const [name, registered] of Object.entries(register)) {
        log.length = 0
        const host = yield* launch(
          App.layer(
            "a",
            Effect.gen(function*() {
              yield* App.onStop("later", say(log, "ran all the same"))
              yield* registered
              yield* Task.spawn(Effect.ensuring(Effect.never, say(log, "task ended")), "poll")
              if (name !== "stopping") log.length = 0
            })
          ),
          {}
        )
        if (name === "drain" || name === "interrupting" || name === "draining") log.length = 0
        yield* host.beginStop
        yield* TestClock.adjust(100)
        host.control.hurry("the user is gone", 1000)
        const { exit, took } = yield* advanceUntilDone(host.fiber)
        assert.strictEqual(took, 0, name)
        const report = succeeded(exit)
        assert.deepInclude(report, { took: 100, hurried: true, budget: 30_000, reason: "the test says so" }, name)
        assert.include(log, "task ended", name)
        assert.include(log, `${name} cut`, name)
        // Hooks that had their turn before are done; those that wait for it never get it.
        assert.strictEqual(log.includes("ran all the same"), !["stopping", "onStop"].includes(name), name)
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("interrupts the tasks of all apps, whatever the order of their dependency, and each is reported once", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, string>()("test/core/Shutdown/haste/Db") {}
      const log: Array<string> = []
      const tasks = (name: string) =>
        Effect.gen(function*() {
          const noted = Effect.flatMap(now, (at) => say(log, `${name} at ${at}`))
          yield* Task.spawn(Effect.ensuring(Effect.never, noted), "poll")
          yield* Task.spawn(Effect.ensuring(Effect.never, noted), "early", { stopAt: "stopping" })
          const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child")
          yield* TaskScope.spawn(child, Effect.ensuring(Effect.never, noted), "poll")
          yield* Task.spawn(
            TaskScope.use("session", () => Task.spawn(Effect.ensuring(Effect.never, noted), "poll")),
            "serve"
          )
        })
      const Below = App.layer("below", Layer.effect(Db)(Effect.as(tasks("below"), "db")))
      const Above = App.layer(
        "above",
        Effect.gen(function*() {
          yield* Db
          yield* tasks("above")
          // Dependents that do not leave would keep those below waiting.
          yield* Task.spawn(Effect.uninterruptible(Effect.sleep("3 seconds")), "deaf")
        })
      )
      const expected = ["above", "below"].flatMap((app) => [
        `hub/${app}/child/poll interrupted`,
        `hub/${app}/early interrupted`,
        `hub/${app}/poll interrupted`,
        `hub/${app}/serve interrupted`,
        `hub/${app}/session/(body) completed`,
        `hub/${app}/session/poll interrupted`
      ])
      for (const asked of [false, true]) {
        log.length = 0
        const host = yield* launch(Layer.provide(Above, Below))
        if (asked) yield* host.beginStop
        const begin = yield* now
        host.control.hurry("the user is gone", 10_000)
        const { exit, took } = yield* advanceUntilDone(host.fiber)
        assert.strictEqual(took, 3000)
        assert.deepStrictEqual([...new Set(log)].toSorted(), [`above at ${begin}`, `below at ${begin}`])
        const report = succeeded(exit)
        const told = outcomes(report.tasks).filter((line) => !line.includes("(body)"))
        assert.deepStrictEqual(
          told,
          [...expected.filter((line) => !line.includes("(body)")), "hub/above/deaf interrupted"].toSorted()
        )
        assert.strictEqual(report.reason, asked ? "the test says so" : "the user is gone")
        assert.deepStrictEqual(phasesIn(host.events), phases)
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("tells of each task once, also when no time at all is left and an app is still at its hooks", () =>
    Effect.gen(function*() {
      const slow = App.layer(
        "slow",
        Effect.gen(function*() {
          yield* App.onStop("hang", stuck)
          const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child")
          yield* TaskScope.spawn(child, Effect.never, "poll")
          yield* Task.spawn(TaskScope.use("session", () => Task.spawn(Effect.never, "poll")), "serve")
        })
      )
      const host = yield* launch(slow)
      yield* host.beginStop
      host.control.hurry("the user is gone", 0)
      yield* advanceUntilDone(host.fiber)
      const paths = host.reports[0]!.tasks.map((task) => task.path)
      assert.deepStrictEqual(paths.toSorted(), [
        "hub/slow/child/poll",
        "hub/slow/serve",

        "hub/slow/session/poll"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("tells of a task that ends in the very moment, since the close it waits for gives up", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, string>()("test/core/Shutdown/haste/moment/Db") {}
      class Api extends Context.Service<Api, string>()("test/core/Shutdown/haste/moment/Api") {}
      const below = App.layer(
        "below",
        Layer.effect(
          Db,
          Effect.gen(function*() {
            const session = yield* TaskScope.child(yield* TaskScope.TaskScope, "session")
            yield* TaskScope.spawn(session, stuck, "stuck")
            yield* TaskScope.spawn(session, Effect.ensuring(Effect.never, TaskScope.close(session)), "waits")
            yield* Task.spawn(TaskScope.close(session), "closes")
            return "db"
          })
        )
      )
      // While these do not leave, the stop of the app below has not begun.
      const above = App.layer("above", Layer.effect(Api, Effect.as(Db, "api")))
      const top = App.layer("top", Effect.andThen(Api, Task.spawn(stuck, "deaf")))
      const host = yield* launch(Layer.provide(top, Layer.provide(above, below)))
      yield* TestClock.adjust(200)
      yield* host.beginStop
      yield* TestClock.adjust(200)
      host.control.hurry("the user is gone", 0)
      yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(outcomes(host.reports[0]!.tasks), [
        "hub/below/closes interrupted",
        "hub/below/session/stuck abandoned",
        "hub/below/session/waits interrupted",
        "hub/top/deaf abandoned"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("bounds all that is left, whatever anything does, from wherever it comes", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, string>()("test/core/Shutdown/haste/Db2") {}
      const Below = Layer.provideMerge(hungry("below"), Layer.succeed(Db)("db"))
      const Hanging = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => stuck))
      const apps = [
        hungry("a"),
        Layer.mergeAll(hungry("a"), hungry("b"), Hanging),
        Layer.provide(hungry("above"), Layer.provideMerge(Hanging, Below)),
        App.layer("outer", Layer.merge(hungry("inner"), Hanging)),
        App.layer("slow", Effect.andThen(Task.spawn(stuck, "stuck"), stuck)),
        Layer.effectDiscard(stuck)
      ]
      for (const app of apps) {
        for (const within of [0, 10, 500, 5000]) {
          for (const after of [-1, 0, 1000, 3000, 11_000]) {
            const host = yield* launch(app)
            if (after >= 0) {
              yield* host.beginStop
              yield* TestClock.adjust(after)
            }
            if (host.reports.length > 0) continue
            host.control.hurry("the user is gone", within)
            yield* advanceUntilDone(host.fiber)
            assert.strictEqual(host.reports.length, 1)
            const took = host.reports[0]!.took - Math.max(0, after)
            assert.isAtMost(took, within, `${apps.indexOf(app)}, after ${after}`)
            assert.isTrue(host.reports[0]!.hurried)
          }
        }
      }
    }).pipe(Effect.provide(makeRecorder().layer)), { timeout: 60_000 })

  it.effect("bounds also the stop of an app that was under way by itself", () =>
    Effect.gen(function*() {
      const host = yield* launch(hungry("a"))
      const [app] = yield* host.inHost(Host.apps)
      yield* Effect.forkChild(App.stop(app!))
      yield* TestClock.adjust(100)
      host.control.hurry("the user is gone", 1000)
      const { took } = yield* advanceUntilDone(host.fiber)
      assert.isAtMost(took, 1000)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("lets finalizers and resources that can end do so, beside those that cannot", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Good = App.layer(
        "good",
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => Effect.andThen(Effect.sleep(500), say(log, "released")))
          yield* Task.spawn(
            Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep(4900), say(log, "flushed"))),
            "poll"
          )
          yield* Task.spawn(stuck, "own-limit", { stopWithin: "100 millis" })
        })
      )
      const host = yield* launch(Layer.mergeAll(Good, hungry("bad")))
      host.control.hurry("the user is gone", 10_000)
      const report = succeeded((yield* advanceUntilDone(host.fiber)).exit)
      assert.deepStrictEqual(log, ["flushed", "released"])
      assert.deepStrictEqual(outcomes(report.tasks).filter((line) => line.startsWith("hub/good")), [
        "hub/good/own-limit abandoned",
        "hub/good/poll interrupted"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("leaves the final write and the closing their share", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Disk = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => say(log, "disk closed")))
      const Writer = App.layer(
        "writer",
        Effect.gen(function*() {
          yield* Shutdown.on("finalWrite", "save", Effect.andThen(Effect.sleep(90), say(log, "saved")))
          yield* Shutdown.on("closing", "bye", Effect.andThen(Effect.sleep(40), say(log, "closed")))
        })
      )
      const eats = App.layer(
        "eats",
        Effect.gen(function*() {
          yield* Task.spawn(stuck, "stuck")
          yield* Effect.acquireRelease(Effect.void, () => stuck)
        }),
        { stopWithin: "30 seconds" }
      )
      for (const alone of [undefined, "eats", "hungry"]) {
        log.length = 0
        const host = yield* launch(Layer.provide(Layer.mergeAll(Writer, eats, hungry("hungry")), Disk))
        // One that stops by itself has a time of its own, beyond that of the host.
        const app = (yield* host.inHost(Host.apps)).find((app) => app.name === alone)
        if (app !== undefined) yield* Effect.forkChild(App.stop(app))
        yield* TestClock.adjust(1000)
        host.control.hurry("the user is gone", 1000)
        const { took } = yield* advanceUntilDone(host.fiber)
        assert.isAtMost(took, 1000)
        assert.deepStrictEqual(log.toSorted(), ["closed", "disk closed", "saved"])
        assert.strictEqual(log[0], "saved")
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("counts the first time only: who hurries again changes nothing", () =>
    Effect.gen(function*() {
      const recorder = makeRecorder()
      yield* Effect.gen(function*() {
        const host = yield* launch(hungry("a"))
        host.control.hurry("the user is gone", 1000)
        yield* TestClock.adjust(500)
        host.control.hurry("really", 10_000)
        host.control.hurry("really", 10)
        const { took } = yield* advanceUntilDone(host.fiber)
        assert.strictEqual(took, 500)
        assert.strictEqual(linesAt(recorder.records, "Warn").filter((line) => line.includes("in a hurry")).length, 1)
      }).pipe(Effect.provide(recorder.layer))
    }))

  it.effect("after the end changes nothing, and nobody hears of it", () =>
    Effect.gen(function*() {
      const host = yield* launch(App.layer("a", Effect.void))
      yield* host.stop
      const told = host.told.length
      host.control.hurry("the user is gone", 1000)
      assert.isFalse(host.control.requestStop({ reason: "again" }))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(host.told.length, told)
      assert.notProperty(host.reports[0]!, "hurried")
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("during the start ends the start, and what has started", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Started = App.layer("started", Effect.acquireRelease(Effect.void, () => say(log, "released")))
      const Starting = App.layer(
        "starting",
        Effect.andThen(
          Task.spawn(Effect.ensuring(Effect.never, say(log, "task ended")), "poll"),
          Effect.never
        )
      )
      const Failing = App.layer("failing", Effect.andThen(App.onStop("hang", stuck), Effect.fail("no" as const)))
      for (const apps of [Layer.mergeAll(Started, Starting), Layer.mergeAll(Started, Starting, Failing)]) {
        log.length = 0
        const host = yield* launch(apps)
        host.control.hurry("the user is gone", 1000)
        const { exit, took } = yield* advanceUntilDone(host.fiber)
        assert.isAtMost(took, 1000)
        assert.deepStrictEqual(log.toSorted(), ["released", "task ended"])
        assert.strictEqual(Exit.isSuccess(exit), host.reports[0]!.apps.every((app) => app.path !== "hub/failing"))
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("as soon as the host is there ends it", () =>
    Effect.gen(function*() {
      const host = yield* launch(hungry("a"), {}, { launched: (control) => control.hurry("at once", 100) })
      const { took } = yield* advanceUntilDone(host.fiber)
      assert.isAtMost(took, 100)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("with a time of no sense is no time at all, and never more than the host has", () =>
    Effect.gen(function*() {
      for (
        const [within, bound] of [[Number.NaN, 0], [-5, 0], [Infinity, 30_000], [
          "soon" as unknown as number,
          0
        ]] as const
      ) {
        const host = yield* launch(hungry("a"))
        host.control.hurry("the user is gone", within)
        yield* advanceUntilDone(host.fiber)
        assert.isAtMost(host.reports[0]!.took, bound)
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("gives no more time, and takes none that was given", () =>
    Effect.gen(function*() {
      const got: Array<number> = []
      const ask = Effect.orDie(Effect.map(Shutdown.extend("5 seconds"), (granted) => got.push(granted)))
      const host = yield* launch(App.layer(
        "a",
        Effect.gen(function*() {
          yield* App.onStop("flush", Effect.andThen(ask, stuck))
          yield* Task.spawn(Effect.ensuring(Effect.never, Effect.andThen(ask, Effect.sleep(100))), "poll")
        })
      ))
      yield* host.beginStop
      yield* TestClock.adjust(200)
      host.control.hurry("the user is gone", 1000)
      assert.isAtMost(host.control.stop()!.left, 1000)
      const { exit, took } = yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(got, [5000, 0])
      assert.strictEqual(took, 100)
      assert.deepInclude(succeeded(exit), { extended: 5000, budget: 35_000, took: 300 })
    }).pipe(Effect.provide(Limits.layer({ extension: "20 seconds" })), Effect.provide(makeRecorder().layer)))

  it.effect("ends calls of blocking functions without their grace, also those that are in it", () =>
    Effect.gen(function*() {
      const cancelled: Array<string> = []
      const call = callTold(cancelled)
      const host = yield* launch(App.layer(
        "a",
        Effect.gen(function*() {
          yield* Task.spawn(call("early"), "early", { stopAt: "stopping" })
          yield* Task.spawn(call("late"), "late")
          yield* App.onStop("slow", Effect.sleep("4 seconds"))
        })
      ))
      yield* host.beginStop
      assert.deepStrictEqual(cancelled, ["early 24000"])
      yield* TestClock.adjust(100)
      host.control.hurry("the user is gone", 1000)
      assert.deepStrictEqual([...new Set(cancelled.slice(1))].toSorted(), ["early 0", "late 0"])
      yield* advanceUntilDone(host.fiber)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("cuts calls off that fibers wait for who cannot be interrupted, and does not wait for them", () =>
    Effect.gen(function*() {
      for (const asked of [false, true]) {
        const log: Array<string> = []
        const cancelled: Array<string> = []
        const call = Effect.ensuring(callTold(cancelled)("deaf"), say(log, "goes on"))
        const host = yield* launch(App.layer(
          "a",
          Effect.gen(function*() {
            yield* Task.spawn(Effect.uninterruptible(call), "deaf")
            const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child")
            yield* TaskScope.spawn(child, Effect.uninterruptible(call), "deaf")
          })
        ))
        if (asked) yield* host.beginStop
        yield* TestClock.adjust(100)
        assert.deepStrictEqual([cancelled, log], [[], []])
        host.control.hurry("the user is gone", 5000)
        const report = succeeded((yield* advanceUntilDone(host.fiber)).exit)
        assert.strictEqual(report.took, asked ? 100 : 0)
        assert.deepStrictEqual([...new Set(cancelled)], ["deaf 0"])
        assert.deepStrictEqual(log, ["goes on", "goes on"])
        assert.deepStrictEqual(outcomes(report.tasks), [
          "hub/a/child/deaf interrupted",
          "hub/a/child/deaf/never abandoned",
          "hub/a/deaf interrupted",
          "hub/a/deaf/never abandoned"
        ])
      }
    }).pipe(Effect.provide(makeRecorder().layer)))
})
