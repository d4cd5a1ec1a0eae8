import { App, Host, HostOwner, Limits, Shutdown, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { advanceUntilDone, failure, launch, makeOwner, phasesIn, succeeded } from "../support/launch.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const idle = App.layer("a", Task.spawn(Effect.never, "poll"))

const phases = [...Shutdown.StopPhase.literals]

describe("the owner of a host", () => {
  it.effect("hears of its launch first, of its end last, and of every change between, with the state that it has then", () =>
    Effect.gen(function*() {
      const Slow = App.layer(
        "slow",
        Effect.gen(function*() {
          yield* Effect.sleep(100)
          yield* Shutdown.on("stopping", "slow", Effect.sleep(100))
          yield* App.onStop("flush", Effect.orDie(Shutdown.extend("1 second")))
        })
      )
      const host = yield* launch(Layer.mergeAll(idle, Slow))
      yield* TestClock.adjust("1 minute")
      yield* host.stop
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(
        host.told.map(({ health, stop, what }) => [what, health.state, health.ready, stop?.phase].join(" ").trim()),
        [
          "launched starting false",
          "changed starting false",
          "changed starting false",
          "changed starting false",
          "changed starting false",
          "changed running true",
          "changed stopping false stopping",
          "changed stopping false draining",
          "changed stopping false draining",
          "changed stopping false draining",
          "changed stopping false draining",
          "changed stopping false interrupting",
          "changed stopping false interrupting",
          "changed stopping false interrupting",
          "changed stopping false finalWrite",
          "changed stopping false closing",
          "stopped stopped false closing"
        ]
      )
    }).pipe(Effect.provide(Limits.layer({ extension: "1 second" })), Effect.provide(makeRecorder().layer)))

  it.effect("hears nothing after the end, also when something goes on that was given up", () =>
    Effect.gen(function*() {
      const stuck = Effect.uninterruptible(
        Effect.andThen(Effect.sleep("1 minute"), Effect.ignore(Shutdown.extend("1 second")))
      )
      const Late = App.layer(
        "late",
        Effect.gen(function*() {
          yield* Task.spawn(stuck, "deaf")
          yield* Effect.acquireRelease(Effect.void, () => stuck)
        }),
        { stopWithin: "30 seconds" }
      )
      const Saving = App.layer("saving", Shutdown.on("finalWrite", "save", Effect.void))
      const host = yield* launch(Layer.merge(Late, Saving))
      // It stops by itself, and may take until after that of the host is over, but for the closing.
      const app = (yield* host.inHost(Host.apps)).find(({ name }) => name === "late")!
      yield* Effect.forkChild(App.stop(app))
      yield* TestClock.adjust("1 second")
      yield* host.stop
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* App.state(app))._tag, "Failed")
      assert.strictEqual(host.told.at(-1)!.what, "stopped")
      assert.strictEqual(host.told.filter(({ what }) => what === "stopped").length, 1)
    }).pipe(Effect.provide(Limits.layer({ extension: "1 hour" })), Effect.provide(makeRecorder().layer)))

  it.effect("hears nothing after the end, also when apps are still stopping then, because there was no time at all", () =>
    Effect.gen(function*() {
      class Db extends Context.Service<Db, string>()("test/core/HostOwner/Db2") {}
      const hang = Effect.gen(function*() {
        const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child")
        yield* TaskScope.spawn(child, Effect.never, "poll")
        yield* Task.spawn(TaskScope.use("session", () => Task.spawn(Effect.never, "poll")), "serve")
        yield* Task.spawn(Effect.uninterruptible(Effect.sleep("1 second")), "deaf")
        yield* App.onStop("hang", Effect.uninterruptible(Effect.never))
      })
      const Below = App.layer("below", Layer.effect(Db)(Effect.as(hang, "db")))
      const host = yield* launch(Layer.provide(App.layer("above", Effect.andThen(Db, hang)), Below))
      host.control.hurry("the user is gone", 0)
      yield* advanceUntilDone(host.fiber)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(host.told.filter(({ what }) => what === "stopped").length, 1)
      assert.strictEqual(host.told.at(-1)!.what, "stopped")
      assert.deepStrictEqual(host.control.health().apps, {})
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that throws disturbs nothing, and it is said", () => {
    const broken = (): never => {
      throw new Error("broken owner")
    }
    return Effect.gen(function*() {
      for (const what of ["launched", "changed", "stopped", "leftOpen"] as const) {
        const recorder = makeRecorder()
        yield* Effect.gen(function*() {
          const host = yield* launch(idle, {}, { [what]: broken })
          const report = succeeded((yield* host.stop).exit)
          assert.isTrue(report.clean, what)
          assert.deepStrictEqual(phasesIn(host.events), phases, what)
          assert.deepStrictEqual(host.reports, [report], what)
          assert.notProperty(report, "leftOpen")
          const lines = linesAt(recorder.records, "Error")
          assert.isAtLeast(lines.length, 1, what)
          assert.deepStrictEqual([...new Set(lines)], [`The owner of hub threw in ${what}; the host goes on`])
        }).pipe(Effect.provide(recorder.layer))
      }
    })
  })

  it.effect("may ask for the stop and lose patience in each call that it gets", () =>
    Effect.gen(function*() {
      // 14 calls without it; whichever brings it about, each comes in order and the stop ends well.
      for (let at = 0; at < 14; at++) {
        for (const act of ["requestStop", "hurry"] as const) {
          let call = 0
          const acts = (host: HostOwner.HostControl) => {
            if (call++ !== at) return
            if (act === "hurry") host.hurry("the owner says so", 1000)
            else host.requestStop({ reason: "the owner says so" })
          }
          const host = yield* launch(idle, {}, { launched: acts, changed: acts, stopped: acts })
          const { exit } = yield* host.stop
          assert.deepStrictEqual(succeeded(exit).phases?.map(({ phase }) => phase), phases, `${act} in call ${at}`)
          assert.strictEqual(host.told.at(-1)!.what, "stopped")
          assert.strictEqual(host.told.filter(({ what }) => what === "stopped").length, 1)
        }
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("asks once: `true` for the first, with reason, exit code and failure as it says", () =>
    Effect.gen(function*() {
      const host = yield* launch(idle)
      assert.isTrue(host.control.requestStop({ reason: "no memory", exitCode: 9, failed: true }))
      assert.isFalse(host.control.requestStop({ reason: "again" }))
      const error = failure((yield* advanceUntilDone(host.fiber)).exit)
      assert.instanceOf(error, Host.HostFailed)
      assert.deepInclude(error, { reason: "no memory", exitCode: 9 })
      const plain = yield* launch(idle)
      plain.control.requestStop({ reason: "failed", failed: true })
      assert.deepInclude(failure((yield* advanceUntilDone(plain.fiber)).exit), { reason: "failed", exitCode: 1 })
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("that asks with what is no exit code or no reason gets its stop all the same, with 1, and it is said", () =>
    Effect.gen(function*() {
      for (const exitCode of [-1, 256, 1.5, Number.NaN, "3"] as Array<number>) {
        const recorder = makeRecorder()
        yield* Effect.gen(function*() {
          const host = yield* launch(idle)
          host.control.requestStop({ reason: { no: "text" } as unknown as string, exitCode })
          const error = failure((yield* advanceUntilDone(host.fiber)).exit)
          assert.deepInclude(error, { _tag: "HostFailed", exitCode: 1 })
          assert.strictEqual(host.reports[0]!.exitCode, 1)
          assert.match(
            linesAt(recorder.records, "Error")[0]!,
            /^The exit code of a stop of hub is .*: an exit code is a whole number/
          )
        }).pipe(Effect.provide(recorder.layer))
      }
    }))

  it.effect("tells what keeps the process alive, for the report", () =>
    Effect.gen(function*() {
      const host = yield* launch(idle, {}, { leftOpen: () => ["Timeout (1)", "TCPSocketWrap (2)"] })
      assert.deepStrictEqual(succeeded((yield* host.stop).exit).leftOpen, ["Timeout (1)", "TCPSocketWrap (2)"])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.live("is asked for that when the timer that ended the last wait of the stop is over, too", () =>
    Effect.gen(function*() {
      let inTimer = false
      const asked: Array<boolean> = []
      const { control, owner } = makeOwner({
        leftOpen: () => {
          asked.push(inTimer)
          return []
        }
      })
      const lasts = Effect.callback<void>((resume) => {
        // @effect-diagnostics-next-line globalTimersInEffect:off
        setTimeout(() => {
          inTimer = true
          resume(Effect.void)
          inTimer = false
        }, 1)
      })
      const app = App.layer(
        "a",
        Effect.andThen(Host.awaitReady, Effect.sync(() => control.current!.requestStop({ reason: "enough" }))).pipe(
          Task.spawn("stop"),
          Effect.andThen(Shutdown.on("closing", "lasts", lasts))
        )
      )
      yield* Effect.provideService(Host.launch(app), HostOwner.HostOwner, owner)
      assert.deepStrictEqual(asked, [false])
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("gets the limits that are in force", () =>
    Effect.gen(function*() {
      const host = yield* launch(idle, { stopWithin: "10 seconds" })
      assert.deepStrictEqual(host.control.limits, {
        ...Limits.defaults,
        hostStop: 10_000,
        announce: 1000,
        finalWrite: 1000
      })
      assert.strictEqual(host.control.name, "hub")
      yield* host.stop
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("is nobody by default", () =>
    Effect.gen(function*() {
      const report = yield* Host.launch(App.layer("a", Host.requestStop("enough")))
      assert.notProperty(report, "leftOpen")
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("health and tree", () => {
  class Db extends Context.Service<Db, string>()("test/core/HostOwner/Db") {}

  it.effect("tell the truth in every state of a host", () =>
    Effect.gen(function*() {
      const Below = App.layer(
        "below",
        Layer.effect(Db)(Effect.as(
          Effect.andThen(Effect.sleep(100), Task.spawn(Effect.ensuring(Effect.never, Effect.sleep(100)), "poll")),
          "db"
        ))
      )
      const Above = App.layer(
        "above",
        Effect.gen(function*() {
          yield* Db
          const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child")
          yield* TaskScope.spawn(child, Effect.ensuring(Effect.never, Effect.sleep(100)), "poll", {
            kind: "foreground"
          })
          yield* Shutdown.on("stopping", "slow", Effect.sleep(100))
          yield* Shutdown.on("finalWrite", "slow", Effect.sleep(100))
          yield* Shutdown.on("closing", "slow", Effect.sleep(100))
        }),
        { drain: "none" }
      )
      const host = yield* launch(Layer.provide(Above, Below))
      const look = () => {
        const { apps, ...health } = host.control.health()
        return {
          ...health,
          apps: Object.entries(apps).map(([path, state]) => `${path} ${state}`),
          tasks: host.control.tree().apps.flatMap((app) => app.tasks.map((task) => `${task.path} ${task.status}`)),
          phase: host.control.stop()?.phase,
          left: host.control.stop()?.left
        }
      }
      const nothing = { apps: [], tasks: [] }
      assert.deepStrictEqual(look(), {
        ready: false,
        live: true,
        state: "starting",
        apps: ["hub/below starting"],
        tasks: ["hub/below/(start) Running"],
        phase: undefined,
        left: undefined
      })
      yield* TestClock.adjust(100)
      const polls = (below: string, above: string) => [`hub/below/poll ${below}`, `hub/above/child/poll ${above}`]
      assert.deepStrictEqual(look(), {
        ready: true,
        live: true,
        state: "running",
        apps: ["hub/below ready", "hub/above ready"],
        tasks: polls("Running", "Running"),
        phase: undefined,
        left: undefined
      })
      yield* host.beginStop
      yield* TestClock.adjust(50)
      const stopping = { ready: false, live: true, state: "stopping" } as const
      assert.deepStrictEqual(look(), {
        ...stopping,
        apps: ["hub/below ready", "hub/above ready"],
        tasks: polls("Running", "Running"),
        phase: "stopping",
        left: 29_950
      })
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(look(), {
        ...stopping,
        apps: ["hub/below ready", "hub/above stopping"],
        tasks: polls("Running", "Stopping"),
        phase: "interrupting",
        left: 29_850
      })
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(look(), {
        ...stopping,
        apps: ["hub/below stopping"],
        tasks: ["hub/below/poll Stopping"],
        phase: "interrupting",
        left: 29_750
      })
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(look(), {
        ...stopping,
        apps: ["hub/below stopped"],
        tasks: [],
        phase: "finalWrite",
        left: 29_650
      })
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(look(), { ...stopping, ...nothing, phase: "closing", left: 29_550 })
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(look(), {
        ...stopping,
        ...nothing,
        state: "stopped",
        phase: "closing",
        left: 29_500
      })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(look().left, 29_500)
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("an app that could not be stopped, or did not start, is not live", () =>
    Effect.gen(function*() {
      const Deaf = App.layer("deaf", Task.spawn(Effect.uninterruptible(Effect.never), "deaf"), {
        stopWithin: "1 second"
      })
      const host = yield* launch(Deaf)
      const [app] = yield* host.inHost(Host.apps)
      assert.isTrue(host.control.health().live)
      yield* advanceUntilDone(yield* Effect.forkChild(App.stop(app!)))
      assert.deepInclude(host.control.health(), { ready: false, live: false, state: "running" })
      assert.deepStrictEqual(host.control.tree().apps[0]!.tasks.map((task) => task.status), ["Abandoned"])
      yield* App.start(app!)
      assert.deepInclude(host.control.health(), { ready: true, live: true })
      yield* host.stop
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("an app that was stopped by hand makes the host not ready, and it lives", () =>
    Effect.gen(function*() {
      const host = yield* launch(idle)
      const [app] = yield* host.inHost(Host.apps)
      yield* App.stop(app!)
      assert.deepInclude(host.control.health(), { ready: false, live: true, apps: { "hub/a": "stopped" } })
      assert.isTrue(Exit.isSuccess((yield* host.stop).exit))
    }).pipe(Effect.provide(makeRecorder().layer)))
})
