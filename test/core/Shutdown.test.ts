import {
  App,
  Blocking,
  BlockingFunction,
  Host,
  InvalidOption,
  Limits,
  ScopeClosed,
  Shutdown,
  Task,
  TaskScope
} from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { awakeClock } from "../support/awakeClock.ts"
import { advanceUntilDone, failure, launch, now, phasesIn, phasesTold, succeeded } from "../support/launch.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const say = (log: Array<string>, line: string) => Effect.sync(() => log.push(line))

const sayAt = (log: Array<string>, line: string) => Effect.map(now, (at) => log.push(`${line} at ${at}`))

/** Builds an app without a host. */
const bare = <E>(layer: Layer.Layer<never, E>) =>
  Effect.gen(function*() {
    yield* awakeClock
    const scope = yield* Scope.make()
    yield* Layer.buildWithScope(layer, scope)
    const close = Effect.flatMap(Effect.forkChild(Scope.close(scope, Exit.void)), advanceUntilDone)
    return { close }
  })

/** What an app gives away of itself at its start. */
const handleOf = (apps: Array<App.App>) => Effect.map(App.CurrentApp, (app) => apps.push(app))

const reportOf = (app: App.App | undefined) =>
  Effect.map(App.state(app!), (state) => {
    assert.include(["Stopped", "Failed"], state._tag)
    return (state as Extract<App.AppState, { readonly _tag: "Stopped" | "Failed" }>).report
  })

/** An app without a host, and the report that it leaves behind. */
const bareApp = <E>(start: Effect.Effect<unknown, E, App.Provided>, options?: App.AppOptions) =>
  Effect.gen(function*() {
    const apps: Array<App.App> = []
    const { close } = yield* bare(App.layer("a", Effect.andThen(handleOf(apps), start), options))
    return { close, report: Effect.suspend(() => reportOf(apps[0])) }
  })

const outcomes = (lines: ReadonlyArray<{ readonly path: string; readonly outcome: string }>) =>
  lines.map(({ outcome, path }) => `${path} ${outcome}`)

const deaf = Task.spawn(Effect.uninterruptible(Effect.never), "deaf")

/** Hooks in all phases, each of which notes that it has run. */
const hooksOf = (log: Array<string>, name: string, hook: Effect.Effect<unknown, unknown> = Effect.void) =>
  Effect.forEach(
    Shutdown.StopPhase.literals,
    (phase) => Shutdown.on(phase, `at-${phase}`, Effect.andThen(say(log, `${name} ${phase}`), hook)),
    { discard: true }
  )

const phases = [...Shutdown.StopPhase.literals]

describe("the phases of a stop", () => {
  const agree = (host: Effect.Success<ReturnType<typeof launch>>) => {
    assert.deepStrictEqual(phasesIn(host.events), phases, "events")
    assert.isDefined(host.reader.pollUnsafe(), "the events have an end")
    assert.deepStrictEqual(phasesTold(host.told), phases, "owner")
    assert.deepStrictEqual(host.reports[0]!.phases?.map(({ phase }) => phase), phases, "report")
    assert.strictEqual(host.told.at(-1)!.what, "stopped")
    assert.strictEqual(host.told.at(-1)!.health.state, "stopped")
    // What a start that fails takes before the stop of the host is in none of them.
    const sum = host.reports[0]!.phases!.reduce((all, { took }) => all + took, 0)
    if (!host.reports[0]!.reason.includes("did not start")) assert.approximately(sum, host.reports[0]!.took, 0.01)
  }

  it.effect("come once each and in order, and events, owner and report agree (Q1)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const host = yield* launch(App.layer(
        "a",
        Effect.gen(function*() {
          yield* hooksOf(log, "a", Effect.sleep(100))
          yield* Task.spawn(Effect.ensuring(Effect.never, Effect.sleep(200)), "poll")
        })
      ))
      yield* host.stop
      assert.deepStrictEqual(log, phases.map((phase) => `a ${phase}`))
      agree(host)
      assert.deepStrictEqual(
        host.reports[0]!.phases!.map(({ took }) => took),
        [100, 0, 200, 100, 100]
      )
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("come once each without apps, with layers that hang, after a start that failed and one that is cut short", () =>
    Effect.gen(function*() {
      const Hanging = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => Effect.never))
      const Below = Layer.provide(App.layer("a", Effect.asVoid(deaf)), Hanging)
      const Bad = App.layer("bad", Effect.andThen(Effect.sleep(100), Effect.fail("no")))
      const hosts: ReadonlyArray<Layer.Layer<never, unknown, Host.Host>> = [
        Layer.empty,
        Hanging,
        Below,
        Layer.mergeAll(App.layer("good", Effect.asVoid(deaf)), Bad),
        App.layer("slow", Effect.never)
      ]
      for (const apps of hosts) {
        const host = yield* launch(apps, { stopWithin: "3 seconds" })
        yield* TestClock.adjust(50)
        if (apps !== hosts[3]) yield* host.beginStop
        yield* advanceUntilDone(host.fiber)
        agree(host)
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("come once each when the host is interrupted, also twice", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const host = yield* launch(App.layer("a", hooksOf(log, "a", Effect.sleep(50))))
      host.fiber.interruptUnsafe()
      yield* TestClock.adjust(70)
      host.fiber.interruptUnsafe()
      yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(log, phases.map((phase) => `a ${phase}`))
      agree(host)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("their hooks can read reason and exit code, and `launch` fails with that code (Q3)", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const look = Effect.map(Shutdown.status, Option.map((status) => seen.push(status)))
      const host = yield* launch(App.layer(
        "a",
        Effect.forEach(phases, (phase) => Shutdown.on(phase, "look", look))
      ))
      assert.isTrue(Option.isNone(yield* host.inHost(Shutdown.status)))
      yield* host.inHost(Host.requestStop("the disk is full", 3))
      const error = failure((yield* advanceUntilDone(host.fiber)).exit)
      assert.deepInclude(error, { _tag: "HostFailed", exitCode: 3, reason: "the disk is full" })
      const status = { reason: "the disk is full", exitCode: 3, left: 30_000, extended: 0 }
      // The stop goes on beside the hooks of two phases, and is past them in the same moment.
      assert.deepStrictEqual(seen, [
        { ...status, phase: "stopping" },
        { ...status, phase: "draining" },
        { ...status, phase: "interrupting" },
        { ...status, phase: "finalWrite" },
        { ...status, phase: "closing" }
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("the hooks of one app run in reverse order, those of different apps at the same time", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const app = (name: string) =>
        App.layer(
          name,
          Effect.forEach(["one", "two"], (hook) =>
            Shutdown.on("stopping", hook, Effect.andThen(sayAt(log, `${name} ${hook}`), Effect.sleep(100))))
        )
      const host = yield* launch(Layer.mergeAll(app("a"), app("b")))
      const begin = yield* now
      yield* host.stop
      assert.deepStrictEqual(log.toSorted(), [
        `a one at ${begin + 100}`,
        `a two at ${begin}`,
        `b one at ${begin + 100}`,
        `b two at ${begin}`
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("a stop is announced to all apps while all of them work, and nothing is interrupted before", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, { readonly write: Effect.Effect<void> }>()("test/core/Shutdown/Db") {}
      const log: Array<string> = []
      const Store = App.layer(
        "store",
        Layer.effect(Db)(Effect.gen(function*() {
          const scope = yield* TaskScope.TaskScope
          yield* Shutdown.on("stopping", "announce", Effect.andThen(Effect.sleep(100), say(log, "store announced")))
          yield* Task.spawn(Effect.ensuring(Effect.never, say(log, "store interrupted")), "poll")
          return {
            write: Effect.orDie(Effect.flatMap(
              TaskScope.spawn(scope, say(log, "written"), "write"),
              (task) => task.join
            ))
          }
        }))
      )
      const Client = App.layer(
        "client",
        Effect.gen(function*() {
          const db = yield* Db
          yield* Shutdown.on("stopping", "announce", Effect.andThen(say(log, "client announced"), db.write))
          yield* App.onStop("flush", Effect.andThen(say(log, "client flushes"), db.write))
          yield* Task.spawn(Effect.ensuring(Effect.never, say(log, "client interrupted")), "poll")
        })
      ).pipe(Layer.provide(Store))
      const host = yield* launch(Client)
      yield* host.stop
      assert.deepStrictEqual(log, [
        "client announced",
        "written",
        "store announced",
        "client flushes",
        "written",
        "client interrupted",
        "store interrupted"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("the drain of one app does not hold up that of another, and the interrupts begin with the first", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const slow = App.layer(
        "slow",
        Effect.andThen(
          Shutdown.on("draining", "at", sayAt(log, "draining")),
          Task.spawn(Effect.sleep("1 minute"), "work", { kind: "foreground" })
        )
      )
      const quick = App.layer("quick", Shutdown.on("interrupting", "at", sayAt(log, "interrupting")))
      const host = yield* launch(Layer.mergeAll(slow, quick))
      const begin = yield* now
      const { took } = yield* host.stop
      assert.strictEqual(took, 2000)
      assert.deepStrictEqual(log, [`draining at ${begin}`, `interrupting at ${begin}`])
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("tasks with stopAt", () => {
  it.effect("\"stopping\" are interrupted at the announcement, all others not, and each is reported once (Q5)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const delayed = (name: string) => Effect.ensuring(Effect.never, sayAt(log, name))
      const App1 = App.layer(
        "a",
        Effect.gen(function*() {
          yield* Shutdown.on("stopping", "slow", Effect.sleep(100))
          yield* Task.spawn(delayed("early"), "early", { stopAt: "stopping" })
          yield* Task.spawn(delayed("late"), "late", { stopAt: "interrupting" })
          yield* Task.spawn(delayed("plain"), "plain")
          const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child")
          yield* TaskScope.spawn(child, delayed("early child"), "early", { stopAt: "stopping" })
          yield* TaskScope.spawn(child, delayed("late child"), "late")
        })
      )
      const host = yield* launch(App1)
      const begin = yield* now
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(log.toSorted(), [
        `early at ${begin}`,
        `early child at ${begin}`,
        `late at ${begin + 100}`,
        `late child at ${begin + 100}`,
        `plain at ${begin + 100}`
      ])
      assert.deepStrictEqual(
        report.tasks.map((task) => `${task.path} ${task.outcome} ${task.took}`).toSorted(),
        [
          "hub/a/child/early interrupted 0",
          "hub/a/child/late interrupted 0",
          "hub/a/early interrupted 0",
          "hub/a/late interrupted 0",
          "hub/a/plain interrupted 0"
        ]
      )
      assert.isTrue(report.clean)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("\"stopping\" is the announcement of the app where it stops alone, also in its child scopes", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close, report } = yield* bareApp(
        Effect.gen(function*() {
          yield* App.onStop("slow", Effect.sleep(100))
          yield* Task.spawn(Effect.ensuring(Effect.never, sayAt(log, "early")), "early", { stopAt: "stopping" })
          const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child")
          yield* TaskScope.spawn(child, Effect.ensuring(Effect.never, sayAt(log, "early")), "early", {
            stopAt: "stopping"
          })
        })
      )
      const begin = yield* now
      yield* close
      assert.deepStrictEqual(log, [`early at ${begin}`, `early at ${begin}`])
      assert.deepStrictEqual(outcomes((yield* report).tasks).toSorted(), [
        "a/child/early interrupted",
        "a/early interrupted"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("\"stopping\" that do not end are given up once and reported once", () =>
    Effect.gen(function*() {
      const App1 = App.layer(
        "a",
        Effect.gen(function*() {
          yield* Task.spawn(Effect.uninterruptible(Effect.never), "stuck", { stopAt: "stopping" })
          // Its session closes by itself, long before the app stops, and gives it up.
          yield* Task.spawn(
            TaskScope.use("session", (session) =>
              Effect.andThen(
                TaskScope.spawn(session, Effect.uninterruptible(Effect.sleep(600)), "stuck", {
                  stopAt: "stopping",
                  kind: "background"
                }),
                TaskScope.spawn(session, Effect.never, "early", { stopAt: "stopping" })
              ), { stopWithin: "200 millis" }),
            "serve"
          )
          yield* Shutdown.on("stopping", "slow", Effect.sleep(300))
          yield* App.onStop("slow", Effect.sleep(500))
        })
      )
      const host = yield* launch(App1)
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(outcomes(report.tasks).toSorted(), [
        "hub/a/session/early interrupted",
        "hub/a/session/stuck interrupted",
        "hub/a/stuck abandoned"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("\"stopping\" leave the calls that they have made to the report as well", () =>
    Effect.gen(function*() {
      const { promise, resolve } = Promise.withResolvers<void>()
      const slow = BlockingFunction.make({ url: import.meta.url }, "slow", () => promise)
      // It ends while the stop is announced, before its app stops.
      const end = Effect.andThen(Effect.sync(resolve), Effect.sleep(100))
      const host = yield* launch(
        App.layer(
          "a",
          Effect.andThen(
            Task.spawn(Blocking.run(slow), "early", { stopAt: "stopping" }),
            Shutdown.on("stopping", "end", end)
          )
        ).pipe(Layer.provide(Blocking.layerInline))
      )
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(outcomes(report.tasks).toSorted(), [
        "hub/a/early interrupted",
        "hub/a/early/slow interrupted"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("\"stopping\" leave their path to nobody, so that no two lines of the report have one", () =>
    Effect.gen(function*() {
      const host = yield* launch(App.layer(
        "a",
        Effect.gen(function*() {
          yield* Task.spawn(Effect.never, "work", { stopAt: "stopping" })
          yield* Shutdown.on("stopping", "again", Task.spawn(Effect.never, "work"))
        })
      ))
      const report = succeeded((yield* host.stop).exit)
      const paths = report.tasks.map((task) => task.path)
      assert.strictEqual(paths.length, 2)
      assert.strictEqual(new Set(paths).size, 2)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("\"stopping\" are refused once the stop was announced: what should not begin any more does not", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const refusals: Array<unknown> = []
      const late = Task.spawn(say(log, "late"), "late", { stopAt: "stopping" })
      const host = yield* launch(App.layer(
        "a",
        Shutdown.on(
          "stopping",
          "late",
          Effect.andThen(
            Task.spawn(say(log, "plain"), "plain"),
            Effect.map(Effect.flip(late), (error) => refusals.push(error))
          )
        )
      ))
      yield* host.stop
      assert.deepStrictEqual(log, ["plain"])
      assert.deepInclude(refusals[0], { _tag: "ScopeClosed", path: "hub/a/late", scope: "hub", state: "stopping" })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("\"stopping\" and many others are told in a moment", () =>
    Effect.gen(function*() {
      const many = (options: Task.SpawnOptions) =>
        Effect.forEach(Array.from({ length: 30_000 }), () => Task.spawn(Effect.never, "task", options), {
          discard: true
        })
      const host = yield* launch(App.layer("a", Effect.andThen(many({ stopAt: "stopping" }), many({}))))
      yield* host.inHost(Host.awaitReady)
      const begin = performance.now()
      const report = succeeded((yield* host.stop).exit)
      assert.strictEqual(report.tasks.length, 60_000)
      // Some 200 ms; ten seconds where each of the first looks for itself among the others.
      assert.isBelow(performance.now() - begin, 6000)
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("a hook of a phase", () => {
  const never = Effect.uninterruptible(Effect.never)

  it.effect("that throws, fails, hangs, cannot be interrupted or interrupts itself changes nothing for the rest (B13)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const log: Array<string> = []
      for (const phase of phases) {
        log.length = 0
        const bad = (name: string, hook: Effect.Effect<unknown, unknown>) =>
          App.layer(
            name,
            Effect.gen(function*() {
              yield* Shutdown.on(phase, "after", say(log, `${name} after`))
              yield* Shutdown.on(phase, "bad", hook, { within: "200 millis" })
              yield* Task.spawn(Effect.ensuring(Effect.never, say(log, `${name} task`)), "poll")
            })
          )
        const kinds: Record<string, Effect.Effect<unknown, unknown>> = {
          throws: Effect.suspend(() => {
            throw new Error("broken hook")
          }),
          fails: Effect.fail("no"),
          hangs: Effect.never,
          deaf: never,
          loops: Effect.ensuring(Effect.never, Effect.forever(Effect.sleep(10))),
          interrupts: Effect.interrupt,
          noEffect: Effect.flatMap(Effect.void, () => undefined as never)
        }
        const apps = Object.entries(kinds).map(([name, hook]) => bad(name, hook))
        const host = yield* launch(Layer.mergeAll(Layer.empty, ...apps))
        const { exit, took } = yield* host.stop
        assert.strictEqual(took, 200, phase)
        const report = succeeded(exit)
        assert.deepStrictEqual(
          outcomes(report.hooks).toSorted(),
          Object.keys(kinds).flatMap((name) => [
            `hub/${name}/after completed`,
            `hub/${name}/bad ${["hangs", "deaf", "loops"].includes(name) ? "abandoned" : "failed"}`
          ]).toSorted(),
          phase
        )
        assert.isTrue(report.hooks.every((hook) => hook.phase === phase))
        assert.deepStrictEqual(
          log.toSorted(),
          Object.keys(kinds).flatMap((name) => [`${name} after`, `${name} task`]).toSorted(),
          phase
        )
        assert.isFalse(report.clean)
        assert.strictEqual(report.apps.filter((app) => app.outcome === "stopped").length, apps.length)
      }
      assert.deepStrictEqual(recorder.records.filter((record) => record.message.includes("please report it")), [])
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("that is no effect, has a bad name or limit, or a phase that there is not, is refused at its registration", () =>
    Effect.gen(function*() {
      const refused = (effect: Effect.Effect<void, unknown, App.App>) =>
        Effect.gen(function*() {
          const error = failure(yield* Effect.exit(Effect.scoped(Layer.build(App.layer("a", effect)))))
          assert.instanceOf(error, InvalidOption)
          return error.message
        })
      const on = Shutdown.on as (...args: ReadonlyArray<unknown>) => Effect.Effect<void, unknown, App.App>
      for (const hook of [undefined, null, () => Effect.void, Promise.resolve(), "save", {}]) {
        assert.match(
          yield* refused(on("finalWrite", "save", hook)),
          /hook "save" of app "a" is .*: a hook is an Effect/
        )
      }
      for (const phase of ["announce", "", undefined, null, 3, "Stopping"]) {
        assert.match(
          yield* refused(on(phase, "save", Effect.void)),
          /the phase of hook "save" is .*: there is no such phase\. Choose one of "stopping", "draining", "interrupting"/
        )
      }
      for (const name of ["", "a/b", null, undefined]) {
        assert.match(yield* refused(on("closing", name, Effect.void)), /the name of a hook of app "a" is/)
      }
      assert.match(
        yield* refused(on("stopping", "x", Effect.void, { within: "3 seconds" })),
        /does not fit into announce of the Limits, which is 2\.0 s/
      )
      assert.match(
        yield* refused(on("draining", "x", Effect.void, { within: "11 seconds" })),
        /does not fit into stopWithin of its app, which is 10\.0 s/
      )
      assert.match(
        yield* refused(on("finalWrite", "x", Effect.void, { within: "4 seconds" })),
        /finalWrite of the Limits/
      )
      assert.match(yield* refused(on("closing", "x", Effect.void, { within: "2 seconds" })), /closing of the Limits/)
      for (const within of [0, -1, Number.NaN, "soon", Infinity]) {
        assert.match(yield* refused(on("closing", "x", Effect.void, { within })), /within of hook "x" of app "a"/)
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("can be registered for as long as its phase has not begun, and is refused with the path of the hook then", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const refusals: Array<unknown> = []
      const late = (at: Shutdown.StopPhase) =>
        Effect.forEach(
          phases,
          (phase) =>
            Shutdown.on(phase, `late-${at}-${phase}`, say(log, `${phase} from ${at}`)).pipe(
              Effect.catchTag("ScopeClosed", (error) => Effect.sync(() => refusals.push(error)))
            ),
          { discard: true }
        )
      const host = yield* launch(App.layer(
        "a",
        Effect.forEach(phases, (phase) => Shutdown.on(phase, `at-${phase}`, late(phase)), { discard: true })
      ))
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(log.toSorted(), [
        "closing from draining",
        "closing from stopping",
        "draining from stopping",
        "finalWrite from draining",
        "finalWrite from stopping",
        "interrupting from draining",
        "interrupting from stopping"
      ])
      assert.deepInclude(refusals[0], {
        path: "hub/a/late-stopping-stopping",
        scope: "hub",
        state: "stopping",
        reason: "the test says so"
      })
      assert.strictEqual(refusals.length, 5 * phases.length - log.length)
      assert.isTrue(refusals.every((error) => error instanceof ScopeClosed))
      assert.isTrue(report.clean)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("may stop or restart its own app, or one that this app depends on, without a wait for itself", () =>
    Effect.gen(function*() {
      for (const phase of phases) {
        const apps: Array<App.App> = []
        class Db extends Context.Service<Db, string>()("test/core/Shutdown/Db2") {}
        const Below = App.layer("below", Layer.effect(Db)(Effect.as(handleOf(apps), "db")))
        const Above = App.layer(
          "above",
          Effect.gen(function*() {
            yield* Db
            yield* handleOf(apps)
            yield* Shutdown.on(phase, "stops", Effect.suspend(() => App.stop(apps[1]!)))
            yield* Shutdown.on(phase, "stops-below", Effect.suspend(() => App.stop(apps[0]!)))
            yield* Shutdown.on(phase, "restarts", Effect.ignore(Effect.suspend(() => App.restart(apps[1]!))))
          })
        )
        const host = yield* launch(Layer.provide(Above, Below))
        const { exit, took } = yield* host.stop
        assert.isAtMost(took, 10, phase)
        const report = succeeded(exit)
        assert.deepStrictEqual(report.hooks.map((hook) => hook.outcome), ["completed", "completed", "completed"], phase)
        assert.deepStrictEqual(report.apps.map((app) => app.path).toSorted(), ["hub/above", "hub/below"], phase)
        assert.isTrue(report.clean)
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("of one app gets no more than its share when others of its phase come after it", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const app = App.layer(
        "a",
        Effect.gen(function*() {
          yield* Shutdown.on("stopping", "last", sayAt(log, "last"), { within: "500 millis" })
          yield* Shutdown.on("stopping", "hangs", Effect.never)
        })
      )
      const host = yield* launch(app)
      const begin = yield* now
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(log, [`last at ${begin + 1500}`])
      assert.deepStrictEqual(report.hooks.map(({ outcome, took, within }) => [outcome, took, within]), [
        ["abandoned", 1500, 1500],
        ["completed", 0, 500]
      ])
      assert.strictEqual(report.took, 1500)
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("the hooks of an app", () => {
  it.effect("that stops without a host run in the same order around its own stop", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close, report } = yield* bareApp(
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => say(log, "released"))
          yield* hooksOf(log, "a")
          yield* App.onStop("hook", say(log, "onStop"))
          yield* Task.spawn(Effect.ensuring(Effect.sleep(100), say(log, "work")), "work", { kind: "foreground" })
          yield* Task.spawn(Effect.ensuring(Effect.never, say(log, "interrupted")), "poll")
        })
      )
      const { took } = yield* close
      assert.strictEqual(took, 100)
      assert.deepStrictEqual(log, [
        "a stopping",
        "onStop",
        "a draining",
        "work",
        "a interrupting",
        "interrupted",
        "released",
        "a finalWrite",
        "a closing"
      ])
      const { clean, hooks } = yield* report
      assert.isTrue(clean)
      assert.strictEqual(hooks.length, 6)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that stops alone run with it and not again with the host, and those of its newest life run then", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const apps: Array<App.App> = []
      let life = 0
      const host = yield* launch(App.layer(
        "a",
        Effect.suspend(() => Effect.andThen(handleOf(apps), hooksOf(log, `life ${++life}`)))
      ))
      yield* App.stop(apps[0]!)
      assert.deepStrictEqual(log, phases.map((phase) => `life 1 ${phase}`))
      log.length = 0
      yield* App.start(apps[0]!)
      yield* App.restart(apps[0]!)
      assert.deepStrictEqual(log, phases.map((phase) => `life 2 ${phase}`))
      log.length = 0
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(log, phases.map((phase) => `life 3 ${phase}`))
      assert.strictEqual(report.hooks.length, 5)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that is stopping alone when the host stops run once, and the host keeps to its own phases", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const apps: Array<App.App> = []
      const Alone = App.layer(
        "alone",
        Effect.gen(function*() {
          yield* handleOf(apps)
          yield* hooksOf(log, "alone", Effect.sleep(100))
        })
      )
      const Other = App.layer(
        "other",
        Shutdown.on(
          "stopping",
          "slow",
          Effect.andThen(
            Effect.sleep(1000),
            say(log, "other announced")
          )
        )
      )
      const host = yield* launch(Layer.mergeAll(Alone, Other))
      const stopping = yield* Effect.forkChild(App.stop(apps[0]!))
      yield* TestClock.adjust(50)
      const { exit, took } = yield* host.stop
      assert.strictEqual(took, 1000)
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(log, [...phases.map((phase) => `alone ${phase}`), "other announced"])
      const report = succeeded(exit)
      assert.strictEqual(new Set(report.hooks.map((hook) => hook.path)).size, report.hooks.length)
      assert.deepStrictEqual(report.phases!.map(({ took }) => took), [1000, 0, 0, 0, 0])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that is taken down during the announcement run with its own stop, and the host does not go on before its time", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const gate = yield* Deferred.make<void>()
      // A layer of the host that has an app of its own for a while.
      const Dynamic = Layer.effectDiscard(Effect.gen(function*() {
        const scope = yield* Scope.make()
        const announced = Shutdown.on(
          "stopping",
          "slow",
          Effect.andThen(Deferred.succeed(gate, undefined), Effect.sleep(100))
        )
        yield* Layer.buildWithScope(
          App.layer("a", Effect.andThen(announced, Shutdown.on("finalWrite", "save", say(log, "saved")))),
          scope
        )
        yield* Effect.forkScoped(Effect.andThen(Deferred.await(gate), Scope.close(scope, Exit.void)))
      }))
      const host = yield* launch(Dynamic)
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(report.phases!.map(({ took }) => took), [100, 0, 0, 0, 0])
      assert.deepStrictEqual(log, ["saved"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that stops alone run beside it in `draining` and `interrupting`, and its final write waits for them", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close } = yield* bare(App.layer(
        "a",
        Effect.gen(function*() {
          yield* Shutdown.on("draining", "slow", Effect.andThen(Effect.sleep(300), sayAt(log, "drained")))
          yield* Shutdown.on("interrupting", "slow", Effect.andThen(Effect.sleep(200), sayAt(log, "told")))
          yield* Shutdown.on("finalWrite", "save", sayAt(log, "saved"))
          yield* Task.spawn(Effect.ensuring(Effect.never, sayAt(log, "interrupted")), "poll")
        })
      ))
      const begin = yield* now
      yield* close
      assert.deepStrictEqual(log, [
        `interrupted at ${begin}`,
        `told at ${begin + 200}`,
        `drained at ${begin + 300}`,
        `saved at ${begin + 300}`
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that begins to stop by itself during the announcement run with the host", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const apps: Array<App.App> = []
      const host = yield* launch(Layer.mergeAll(
        App.layer("a", Effect.andThen(handleOf(apps), hooksOf(log, "a"))),
        App.layer("slow", Shutdown.on("stopping", "slow", Effect.sleep(100)))
      ))
      yield* host.beginStop
      yield* App.stop(apps[0]!)
      assert.deepStrictEqual(log, ["a stopping"])
      yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(log, phases.map((phase) => `a ${phase}`))
      assert.deepStrictEqual(host.reports[0]!.phases!.map(({ took }) => took), [100, 0, 0, 0, 0])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("inside of an app run with the phases of the host, and with its own stop when the app around stops alone", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const apps: Array<App.App> = []
      const Inner = App.layer("inner", hooksOf(log, "inner"))
      const Outer = App.layer(
        "outer",
        Layer.merge(Inner, Layer.effectDiscard(Effect.andThen(handleOf(apps), hooksOf(log, "outer"))))
      )
      const host = yield* launch(Outer)
      yield* App.restart(apps[0]!)
      assert.deepStrictEqual(log.filter((line) => line.startsWith("inner")), phases.map((phase) => `inner ${phase}`))
      assert.deepStrictEqual(log.filter((line) => line.startsWith("outer")), phases.map((phase) => `outer ${phase}`))
      log.length = 0
      const report = succeeded((yield* host.stop).exit)
      for (const phase of phases) {
        assert.deepStrictEqual(log.splice(0, 2).toSorted(), [`inner ${phase}`, `outer ${phase}`])
      }
      assert.deepStrictEqual(log, [])
      assert.isTrue(report.clean)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that does not start run with its own stop, once, and those of the others with the stop of the host", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Bad = App.layer("bad", Effect.andThen(hooksOf(log, "bad", Effect.sleep(10)), Effect.fail("no" as const)))
      const Good = App.layer("good", hooksOf(log, "good"))
      const host = yield* launch(Layer.mergeAll(Good, Bad))
      const { exit } = yield* advanceUntilDone(host.fiber)
      assert.strictEqual(failure(exit), "no")
      assert.deepStrictEqual(log, [
        ...phases.map((phase) => `bad ${phase}`),
        ...phases.map((phase) => `good ${phase}`)
      ])
      assert.strictEqual(host.reports[0]!.hooks.length, 10)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that still starts when the host stops run, as far as they are registered", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const host = yield* launch(App.layer("slow", Effect.andThen(hooksOf(log, "slow"), Effect.never)))
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(log, phases.map((phase) => `slow ${phase}`))
      assert.isTrue(report.clean)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that stops alone leave each other, its tasks and its resources their time, and its stop is in time", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { close, report } = yield* bareApp(
        Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.void, () => Effect.andThen(say(log, "release"), Effect.never))
          for (const phase of phases) {
            yield* Shutdown.on(phase, `hang-${phase}`, Effect.andThen(say(log, phase), Effect.never))
          }
          yield* App.onStop("hang", Effect.andThen(say(log, "onStop"), Effect.never))
          yield* deaf
          yield* Task.spawn(Effect.ensuring(Effect.never, say(log, "task")), "poll")
        }),
        { stopWithin: "5 seconds" }
      )
      const { took } = yield* close
      assert.strictEqual(took, 5000)
      assert.include(log, "stopping")
      assert.include(log, "onStop")
      assert.deepStrictEqual(log.slice(-4), ["task", "release", "finalWrite", "closing"])
      assert.deepInclude(yield* report, { took: 5000, budget: 5000 })
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("the final write", () => {
  class Disk extends Context.Service<Disk, { open: boolean }>()("test/core/Shutdown/Disk") {}
  const disk = (log: Array<string>) =>
    Layer.effect(Disk)(Effect.acquireRelease(Effect.sync(() => ({ open: true as boolean })), (it) =>
      Effect.andThen(
        Effect.sync(() => {
          it.open = false
        }),
        say(log, "disk closed")
      )))

  const writer = (log: Array<string>, name: string, alive: { tasks: number }) =>
    App.layer(
      name,
      Effect.gen(function*() {
        const it = yield* Disk
        const ended = Effect.sync(() => {
          alive.tasks--
        })
        alive.tasks++
        yield* Task.spawn(Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep(name.length * 100), ended)), "work")
        yield* Shutdown.on(
          "finalWrite",
          "save",
          Effect.suspend(() => say(log, `${name} saved with ${alive.tasks} tasks, disk ${it.open ? "open" : "closed"}`))
        )
        yield* Shutdown.on(
          "closing",
          "bye",
          Effect.suspend(() => say(log, `${name} closing, disk ${it.open ? "open" : "closed"}`))
        )
      })
    )

  it.effect("comes once, when all tasks of all apps are gone, while what is provided around the apps is still there", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const alive = { tasks: 0 }
      const apps = Layer.provide(
        Layer.mergeAll(writer(log, "a", alive), writer(log, "bbbb", alive), writer(log, "cc", alive)),
        disk(log)
      )
      const host = yield* launch(apps)
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(log.toSorted(), [
        "a closing, disk closed",
        "a saved with 0 tasks, disk open",
        "bbbb closing, disk closed",
        "bbbb saved with 0 tasks, disk open",
        "cc closing, disk closed",
        "cc saved with 0 tasks, disk open",
        "disk closed"
      ])
      assert.deepStrictEqual(log.indexOf("disk closed"), 3)
      assert.deepInclude(report, { took: 400, clean: true })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("comes once also when the host was interrupted twice, and when there is a chain of apps", () =>
    Effect.gen(function*() {
      class Other extends Context.Service<Other, string>()("test/core/Shutdown/Other") {}
      const log: Array<string> = []
      const alive = { tasks: 1 }
      const ended = Effect.sync(() => {
        alive.tasks--
      })
      const Below = App.layer(
        "below",
        Layer.effect(Other)(Effect.as(Task.spawn(Effect.ensuring(Effect.never, ended), "work"), "other"))
      )
      const save = Effect.suspend(() => say(log, `above saved with ${alive.tasks} tasks`))
      const Above = App.layer("above", Effect.andThen(Other, Shutdown.on("finalWrite", "save", save)))
      const host = yield* launch(Layer.provide(
        Layer.mergeAll(writer(log, "a", alive), Layer.provide(Above, Below)),
        disk(log)
      ))
      host.fiber.interruptUnsafe()
      yield* TestClock.adjust(50)
      host.fiber.interruptUnsafe()
      yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(log.toSorted(), [
        "a closing, disk closed",
        "a saved with 0 tasks, disk open",
        "above saved with 0 tasks",
        "disk closed"
      ])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("comes with the stop of each app when the start of the host fails, since what is around it goes then, too", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Bad = App.layer("bad", Effect.andThen(Effect.sleep(100), Effect.fail("no")))
      const alive = { tasks: 0 }
      const host = yield* launch(Layer.merge(Layer.provide(writer(log, "a", alive), disk(log)), Bad))
      yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(log, ["a saved with 0 tasks, disk open", "a closing, disk open", "disk closed"])
      assert.deepStrictEqual(outcomes(host.reports[0]!.hooks), ["hub/a/save completed", "hub/a/bye completed"])
      assert.isTrue(host.reports[0]!.apps.every((app) => app.outcome === "stopped"))
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and the closing get their time even if tasks, hooks, resources and layers eat everything", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const hang = Effect.uninterruptible(Effect.never)
      const Hungry = App.layer(
        "hungry",
        Effect.gen(function*() {
          for (const phase of ["stopping", "draining", "interrupting"] as const) {
            yield* Shutdown.on(phase, phase, hang)
          }
          yield* App.onStop("hook", hang)
          yield* deaf
          yield* Effect.acquireRelease(Effect.void, () => hang)
          yield* Task.spawn(Effect.never, "foreground", { kind: "foreground" })
          yield* Shutdown.on("finalWrite", "save", Effect.andThen(Effect.sleep(2900), sayAt(log, "saved")))
          yield* Shutdown.on("closing", "bye", Effect.andThen(Effect.sleep(900), sayAt(log, "closed")))
        }),
        { stopWithin: "30 seconds" }
      )
      const Hanging = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => hang))
      for (const apps of [Hungry, Layer.provide(Hungry, Hanging), Layer.provideMerge(Hanging, Hungry)]) {
        log.length = 0
        const host = yield* launch(apps)
        const begin = yield* now
        const { exit, took } = yield* host.stop
        assert.isAtMost(took, 30_000)
        const report = succeeded(exit)
        assert.deepStrictEqual(
          report.hooks.filter(({ phase }) => phase === "finalWrite" || phase === "closing").map((hook) => hook.outcome),
          ["completed", "completed"]
        )
        assert.strictEqual(log.length, 2)
        assert.isAtMost(Number(log[1]!.split(" ").at(-1)) - begin, 30_000)
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("begins when the hooks of the phases before have ended, and has all of its time then", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const host = yield* launch(App.layer(
        "a",
        Effect.gen(function*() {
          yield* Shutdown.on("draining", "slow", Effect.andThen(Effect.sleep("4 seconds"), sayAt(log, "drained")))
          yield* Shutdown.on("finalWrite", "save", Effect.andThen(Effect.sleep("2 seconds"), sayAt(log, "saved")))
        })
      ))
      const begin = yield* now
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(log, [`drained at ${begin + 4000}`, `saved at ${begin + 6000}`])
      assert.deepStrictEqual(report.phases!.map(({ took }) => took), [0, 0, 4000, 2000, 0])
      assert.isTrue(report.clean)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that takes long leaves the layers below their time", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Below = Layer.effectDiscard(
        Effect.acquireRelease(Effect.void, () => Effect.andThen(Effect.sleep(100), say(log, "released")))
      )
      const host = yield* launch(Layer.provide(
        App.layer(
          "a",
          Effect.gen(function*() {
            yield* Effect.acquireRelease(Effect.void, () => Effect.uninterruptible(Effect.never))
            yield* Shutdown.on("finalWrite", "save", Effect.andThen(Effect.sleep(2800), say(log, "saved")))
          }),
          { stopWithin: "26 seconds" }
        ),
        Below
      ))
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(log, ["saved", "released"])
      assert.deepStrictEqual(report.apps.map((app) => app.path), ["hub/a"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("and the closing have their limits together, however many hooks an app has in them", () =>
    Effect.gen(function*() {
      for (const [phase, limit] of [["stopping", 2000], ["finalWrite", 3000], ["closing", 1000]] as const) {
        const hooks = (on: Effect.Effect<void, unknown, App.App>) => App.layer("a", on)
        const many = Effect.forEach(
          Array.from({ length: 10 }),
          (_, index) => Shutdown.on(phase, `hook${index}`, Effect.uninterruptible(Effect.never)),
          { discard: true }
        )
        const host = yield* launch(hooks(many))
        assert.strictEqual((yield* host.stop).took, limit, phase)
        if (phase === "stopping") continue
        // Alone, those of "stopping" share their time with those of `App.onStop`.
        const { close } = yield* bare(hooks(many))
        assert.strictEqual((yield* close).took, limit, phase)
      }
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("more time", () => {
  const most = (extension: Limits.LimitOptions["extension"], options?: Limits.LimitOptions) =>
    Effect.provide(Limits.layer({ extension, ...options }))

  /** Asks, and notes what it got. */
  const ask = (got: Array<number>, amount: Duration.Input = "10 seconds") =>
    Effect.orDie(Effect.map(Shutdown.extend(amount, "it is a lot"), (granted) => got.push(granted)))

  it.effect("is given to whoever asks in a stop, and moves every limit: of the host, its apps, tasks and hooks", () =>
    Effect.gen(function*() {
      const slow = Effect.sleep("12 seconds")
      const works: Record<
        string,
        (got: Array<number>) => Effect.Effect<unknown, unknown, App.Provided>
      > = {
        "the finalizer of a task": (got) =>
          Task.spawn(Effect.ensuring(Effect.never, Effect.andThen(ask(got), slow)), "work"),
        "a task with a limit of its own": (got) =>
          Task.spawn(Effect.ensuring(Effect.never, Effect.andThen(ask(got), slow)), "work", {
            stopWithin: "3 seconds"
          }),
        "a task in a child scope": (got) =>
          Effect.gen(function*() {
            const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child", { stopWithin: "3 seconds" })
            yield* TaskScope.spawn(child, Effect.ensuring(Effect.never, Effect.andThen(ask(got), slow)), "work")
          }),
        "a foreground task in the drain": (got) =>
          Effect.gen(function*() {
            const stopping = yield* Deferred.make<void>()
            yield* Shutdown.on("draining", "tell", Deferred.succeed(stopping, undefined))
            yield* Task.spawn(
              Effect.andThen(
                Deferred.await(stopping),
                Effect.andThen(Effect.sleep(10), Effect.andThen(ask(got), Effect.sleep(11_990)))
              ),
              "work",
              {
                kind: "foreground"
              }
            )
          }),
        "a hook": (got) => App.onStop("work", Effect.andThen(ask(got), slow)),
        "the release of a resource": (got) =>
          Effect.flatMap(
            TaskScope.TaskScope,
            () => Effect.acquireRelease(Effect.void, () => Effect.andThen(ask(got), Effect.sleep("8 seconds")))
          )
      }
      for (const phase of phases) {
        works[`a hook in ${phase}`] = (got) =>
          Shutdown.on(phase, "work", Effect.andThen(ask(got), slow), {
            within: phase === "closing" ? "1 second" : "2 seconds"
          })
      }
      for (const [what, work] of Object.entries(works)) {
        const got: Array<number> = []
        const host = yield* launch(App.layer("a", work(got) as Effect.Effect<unknown, unknown, App.App>))
        const { exit, took } = yield* host.stop
        assert.deepStrictEqual(got, [10_000], what)
        const report = succeeded(exit)
        const needed = what.includes("resource") ? 8000 : what.includes("closing") ? 11_000 : 12_000
        assert.strictEqual(took, needed, what)
        assert.isTrue(report.clean || what.includes("closing"), what)
        assert.deepInclude(report, { budget: 40_000, extended: 10_000 }, what)
        for (const hook of report.hooks) assert.isAtMost(hook.took, hook.within, what)
        for (const app of report.apps) assert.isAtMost(app.took, app.budget, what)
        // After the end there is none.
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(host.told.at(-1)!.what, "stopped")
      }
    }).pipe(most("10 seconds"), Effect.provide(makeRecorder().layer)))

  it.effect("is given up to its cap, whoever asks how often, and each answer is said", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const got: Array<number> = []
      const host = yield* launch(Layer.mergeAll(
        App.layer("a", App.onStop("flush", Effect.andThen(ask(got, "4 seconds"), ask(got, "4 seconds")))),
        App.layer("b", App.onStop("flush", Effect.andThen(Effect.sleep(10), ask(got, "4 seconds"))))
      ))
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(got, [4000, 2000, 0])
      assert.deepInclude(report, { budget: 36_000, extended: 6000 })
      assert.isTrue(report.apps.every((app) => app.budget === 16_000))
      assert.deepStrictEqual(linesAt(recorder.records, "Info").filter((line) => line.includes("asked for")), [
        "hub/a asked for 4.0 s more to stop (it is a lot); it got 4.0 s",
        "hub/a asked for 4.0 s more to stop (it is a lot); it got 2.0 s"
      ])
      assert.deepStrictEqual(linesAt(recorder.records, "Warn"), [
        "hub/b asked for 4.0 s more to stop (it is a lot); it got 0 ms"
      ])
    }).pipe(most("6 seconds"), Effect.provide(recorder.layer))
  })

  it.effect("is given to each stop anew, and the report of a host tells of its own stop only", () =>
    Effect.gen(function*() {
      const got: Array<number> = []
      const apps: Array<App.App> = []
      const host = yield* launch(App.layer(
        "a",
        Effect.gen(function*() {
          yield* handleOf(apps)
          yield* App.onStop("flush", Effect.andThen(ask(got), Effect.sleep("12 seconds")))
        })
      ))
      for (let time = 0; time < 2; time++) {
        const restart = yield* Effect.forkChild(App.restart(apps[0]!))
        assert.strictEqual((yield* advanceUntilDone(restart)).took, 12_000)
      }
      const { exit, took } = yield* host.stop
      assert.strictEqual(took, 12_000)
      assert.deepStrictEqual(got, [10_000, 10_000, 10_000])
      const report = succeeded(exit)
      assert.deepInclude(report, { extended: 10_000, budget: 40_000 })
      assert.strictEqual(report.apps[0]!.budget, 20_000)
      const status = host.told.findLast(({ stop }) => stop !== undefined)!.stop!
      assert.deepInclude(status, { phase: "closing", extended: 10_000, left: 28_000 })
    }).pipe(most("10 seconds"), Effect.provide(makeRecorder().layer)))

  it.effect("is not given before a stop, nor to what an earlier stop has given up, and neither is counted", () =>
    Effect.gen(function*() {
      const got: Array<number> = []
      const apps: Array<App.App> = []
      let life = 0
      const Flaky = App.layer(
        "a",
        Effect.gen(function*() {
          yield* handleOf(apps)
          yield* ask(got)
          if (++life === 1) {
            yield* Task.spawn(Effect.uninterruptible(Effect.andThen(Effect.sleep("1 minute"), ask(got))), "deaf")
          } else yield* App.onStop("flush", ask(got))
        })
      )
      const host = yield* launch(Flaky)
      yield* advanceUntilDone(yield* Effect.forkChild(App.restart(apps[0]!)))
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(got, [0, 0, 0])
      const report = succeeded((yield* host.stop).exit)
      assert.deepStrictEqual(got, [0, 0, 0, 10_000])
      assert.strictEqual(report.extended, 10_000)
    }).pipe(most("10 seconds"), Effect.provide(makeRecorder().layer)))

  it.effect("is not given to what works on while another app stops", () =>
    Effect.gen(function*() {
      const got: Array<number> = []
      const apps: Array<App.App> = []
      const host = yield* launch(Layer.merge(
        App.layer("stops", Effect.andThen(handleOf(apps), App.onStop("slow", Effect.sleep(100)))),
        App.layer("works", Task.spawn(Effect.andThen(Effect.sleep(50), ask(got)), "work"))
      ))
      yield* Effect.forkChild(App.stop(apps[0]!))
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(got, [0])
      assert.notProperty(succeeded((yield* host.stop).exit), "extended")
    }).pipe(most("10 seconds"), Effect.provide(makeRecorder().layer)))

  it.effect("is given once to all that unwinds after a start that failed", () =>
    Effect.gen(function*() {
      const got: Array<number> = []
      const asks = App.onStop("flush", Effect.andThen(ask(got), Effect.sleep(100)))
      const Bad = App.layer("bad", Effect.andThen(asks, Effect.fail("no")))
      const host = yield* launch(Layer.provide(Bad, App.layer("good", asks)))
      yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(got, [10_000, 0])
      assert.strictEqual(host.reports[0]!.extended, 10_000)
    }).pipe(most("10 seconds"), Effect.provide(makeRecorder().layer)))

  it.effect("that is given while a start fails belongs to the stop of the host that follows", () =>
    Effect.gen(function*() {
      const got: Array<number> = []
      const stuck = Effect.uninterruptible(Effect.never)
      const Bad = App.layer(
        "bad",
        Effect.gen(function*() {
          yield* App.onStop("flush", Effect.andThen(ask(got), Effect.sleep("12 seconds")))
          return yield* Effect.fail("no")
        })
      )
      const Hanging = Layer.effectDiscard(Effect.acquireRelease(Effect.void, () => stuck))
      const host = yield* launch(Layer.mergeAll(Bad, Hanging))
      const { took } = yield* advanceUntilDone(host.fiber)
      assert.deepStrictEqual(got, [10_000])
      assert.strictEqual(took, 40_000)
      assert.deepInclude(host.reports[0], { took: 40_000, budget: 40_000, extended: 10_000 })
    }).pipe(most("10 seconds"), Effect.provide(makeRecorder().layer)))

  it.effect("bounds a stop all the same: its limit, and what was given", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const got: Array<number> = []
      const stuck = Effect.uninterruptible(Effect.never)
      const greedy = Effect.andThen(ask(got, "1 hour"), stuck)
      const host = yield* launch(App.layer(
        "a",
        Effect.gen(function*() {
          for (const phase of phases) yield* Shutdown.on(phase, phase, greedy)
          yield* App.onStop("hook", greedy)
          yield* Effect.acquireRelease(Effect.void, () => greedy)
          yield* Task.spawn(Effect.ensuring(Effect.never, greedy), "work", { stopWithin: "1 second" })
        })
      ))
      const { exit, took } = yield* host.stop
      assert.isAtMost(took, 37_000)
      const report = succeeded(exit)
      assert.deepInclude(report, { budget: 37_000, extended: 7000, took })
      assert.strictEqual(got.reduce((all, granted) => all + granted, 0), 7000)
      for (const hook of report.hooks) assert.isAtMost(hook.took, hook.within)
      assert.strictEqual(report.hooks[0]!.within, report.hooks[0]!.took)
    }).pipe(most("7 seconds"), Effect.provide(recorder.layer))
  })

  it.effect("is part of what the log says that a straggler was given", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const got: Array<number> = []
      const host = yield* launch(App.layer(
        "a",
        Effect.gen(function*() {
          yield* Task.spawn(Effect.ensuring(Effect.never, Effect.andThen(ask(got), Effect.never)), "deaf", {
            stopWithin: "1 second"
          })
          yield* App.onStop("deaf", Effect.andThen(Effect.sleep(500), Effect.uninterruptible(Effect.never)))
        })
      ))
      const report = succeeded((yield* host.stop).exit)
      const lines = [...linesAt(recorder.records, "Warn"), ...linesAt(recorder.records, "Error")]
      assert.match(lines.find((line) => line.startsWith("Task hub/a/deaf"))!, /did not stop within 11\.0 s/)
      assert.match(lines.find((line) => line.startsWith("Hook hub/a/deaf"))!, /did not end within 4500 ms/)
      assert.deepInclude(report.hooks[0], { took: 4500, within: 4500 })
    }).pipe(most("10 seconds"), Effect.provide(recorder.layer))
  })

  it.effect("is there for an app without a host, and for a scope without an app", () =>
    Effect.gen(function*() {
      const got: Array<number> = []
      const slow = Effect.ensuring(Effect.never, Effect.andThen(ask(got), Effect.sleep("12 seconds")))
      const { close, report } = yield* bareApp(Task.spawn(slow, "work"))
      assert.strictEqual((yield* close).took, 12_000)
      assert.deepInclude(yield* report, { took: 12_000, budget: 20_000, clean: true })

      const scope = yield* TaskScope.make("scope")
      yield* TaskScope.spawn(scope, slow, "work")
      yield* TaskScope.spawn(yield* TaskScope.child(scope, "child"), slow, "work")
      const closing = yield* Effect.forkChild(TaskScope.close(scope))
      const { exit, took } = yield* advanceUntilDone(closing)
      assert.strictEqual(took, 12_000)
      assert.deepInclude(succeeded(exit), { took: 12_000, budget: 15_000, clean: true })
      assert.deepStrictEqual(got, [10_000, 10_000, 0])
    }).pipe(Effect.scoped, most("10 seconds"), Effect.provide(makeRecorder().layer)))

  it.effect("is not given unless the limits say so, and then a stop is as it was", () =>
    Effect.gen(function*() {
      const got: Array<number> = []
      for (const limits of [Limits.layer({}), Limits.layer({ extension: "none" })]) {
        const host = yield* launch(
          App.layer("a", App.onStop("flush", Effect.andThen(ask(got), Effect.sleep("12 seconds"))))
        )
          .pipe(Effect.provide(limits))
        const { exit, took } = yield* host.stop
        assert.strictEqual(took, 4500)
        const report = succeeded(exit)
        assert.deepInclude(report, { budget: 30_000 })
        assert.notProperty(report, "extended")
        assert.deepInclude(report.apps[0], { budget: 10_000 })
      }
      assert.deepStrictEqual(got, [0, 0])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("of no sense is refused", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("scope")
      for (const amount of [0, -1, Number.NaN, Infinity, "soon", undefined] as Array<never>) {
        const error = yield* Effect.flip(Effect.provideService(Shutdown.extend(amount), TaskScope.TaskScope, scope))
        assert.match(error.message, /^the time asked for with Shutdown\.extend is /)
      }
    }).pipe(Effect.scoped, Effect.provide(makeRecorder().layer)))
})
