import { App, Host, type ShutdownReport, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { awakeClock } from "../support/awakeClock.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

class Link extends Context.Service<Link, { readonly connection: number; open: boolean }>()(
  "test/core/App.restart/Link"
) {}

/** A broker whose services say which life they are of, and whether it has ended. */
const makeBroker = (options: { readonly start?: Effect.Effect<void, unknown>; readonly close?: number } = {}) => {
  let connections = 0
  const connect = Effect.acquireRelease(
    Effect.suspend(() => Effect.as(options.start ?? Effect.void, { connection: ++connections, open: true })),
    (link) =>
      Effect.andThen(
        Effect.sleep(options.close ?? 0),
        Effect.sync(() => {
          link.open = false
        })
      )
  )
  return App.layer("broker", Layer.effect(Link)(connect))
}

/** An app on the broker, which notes the connection that it starts with. */
const sensor = (name: string, log: Array<string>, start: Effect.Effect<unknown, unknown, App.Provided> = Effect.void) =>
  App.layer(
    name,
    Effect.gen(function*() {
      const { connection, open } = yield* Link
      log.push(`${name} on ${connection}${open ? "" : ", which is closed"}`)
      yield* start
    })
  )

/** Launches a host, and hands its apps out by name. */
const launch = (apps: Layer.Layer<never, unknown, Host.Host>) =>
  Effect.gen(function*() {
    yield* awakeClock
    const host = yield* Deferred.make<Host.Host>()
    const Spy = Layer.effectDiscard(Effect.flatMap(Host.Host, (found) => Deferred.succeed(host, found)))
    const fiber = yield* Effect.forkChild(Host.launch(Layer.mergeAll(apps, Spy), { name: "hub" }))
    const found = yield* Deferred.await(host)
    yield* TestClock.adjust(0)
    const inHost = <A, E>(effect: Effect.Effect<A, E, Host.Host>) => Effect.provideService(effect, Host.Host, found)
    const app = (name: string) => Effect.map(inHost(Host.apps), (all) => all.find((one) => one.name === name)!)
    const states = Effect.flatMap(inHost(Host.apps), (all) =>
      Effect.map(
        Effect.forEach(all, (one) => Effect.map(App.state(one), (state) => `${one.name} ${state._tag}`)),
        (lines) => lines.toSorted()
      ))
    const stop = Effect.gen(function*() {
      yield* inHost(Host.requestStop("the test is over"))
      yield* settle(fiber)
      return yield* Fiber.await(fiber)
    })
    return { fiber, app, states, inHost, stop }
  })

const settle = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.gen(function*() {
    yield* TestClock.adjust(0)
    for (let i = 0; i < 1000 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust(10)
  })

/** Runs something beside the clock, and gives how it ends. */
const beside = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* settle(fiber)
    assert.isDefined(fiber.pollUnsafe(), "it has ended")
    return yield* Fiber.await(fiber)
  })

const succeeded = <A, E>(exit: Exit.Exit<A, E>): A => {
  assert.isTrue(Exit.isSuccess(exit), Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
  return (exit as Exit.Success<A, E>).value
}

const messageOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "a success"

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, makeRecorder().layer)

const failsAt = (which: number) => {
  let starts = 0
  return Effect.suspend(() => ++starts === which ? Effect.fail("boom") : Effect.void)
}

describe("a restart", () => {
  it.effect("that two ask for at the same time is one restart, and both get its report", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      const hook = App.onStop("slow", Effect.sleep(50))
      const host = yield* launch(Layer.provide(sensor("s1", log, hook), makeBroker({ close: 40 })))
      const broker = yield* host.app("broker")
      const restarts = Effect.all([
        App.restart(broker),
        App.restart(broker),
        Effect.delay(App.restart(broker), 70)
      ], { concurrency: "unbounded" })
      const reports = succeeded(yield* beside(restarts))
      assert.strictEqual(new Set(reports).size, 1)
      assert.deepStrictEqual(log, ["s1 on 1", "s1 on 2"])
      yield* host.stop
    })))

  it.effect("of a dependent while the broker is restarted is part of that", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      const hook = App.onStop("slow", Effect.sleep(50))
      const host = yield* launch(Layer.provide(sensor("s1", log, hook), makeBroker()))
      const [broker, s1] = [yield* host.app("broker"), yield* host.app("s1")]
      const [, report] = succeeded(
        yield* beside(
          Effect.all([App.restart(broker), App.restart(s1)], { concurrency: "unbounded" })
        )
      )
      assert.strictEqual(report.path, "hub/s1")
      assert.deepStrictEqual(log, ["s1 on 1", "s1 on 2"])
      yield* host.stop
    })))

  it.effect("that is asked for again when the app is up already, but not all that depend on it, is another one", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      const host = yield* launch(Layer.provide(sensor("s1", log, Effect.sleep(100)), makeBroker()))
      yield* TestClock.adjust(100)
      const broker = yield* host.app("broker")
      succeeded(
        yield* beside(
          Effect.all([App.restart(broker), Effect.delay(App.restart(broker), 50)], { concurrency: "unbounded" })
        )
      )
      assert.deepStrictEqual(log, ["s1 on 1", "s1 on 2", "s1 on 3"])
      yield* host.stop
    })))

  it.effect("goes on when whoever waits for it is interrupted", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      const hook = App.onStop("slow", Effect.sleep(50))
      const host = yield* launch(Layer.provide(sensor("s1", log, hook), makeBroker()))
      const restart = Effect.timeoutOption(App.restart(yield* host.app("broker")), 20)
      yield* beside(restart)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(log, ["s1 on 1", "s1 on 2"])
      assert.deepStrictEqual(yield* host.states, ["broker Ready", "s1 Ready"])
      yield* host.stop
    })))

  it.effect("may be asked for by a task of the app itself, and by one of an app that depends on it", () =>
    quiet(Effect.gen(function*() {
      for (const target of ["broker", "s1"]) {
        const log: Array<string> = []
        const again = Effect.gen(function*() {
          yield* Host.awaitReady
          if (log.length > 1) return
          const apps = yield* Host.apps
          yield* App.restart(apps.find((app) => app.name === target)!)
        })
        const watch = Effect.flatMap(
          Host.Host,
          (host) => Task.spawn(Effect.provideService(again, Host.Host, host), "watch")
        )
        const Sensor = App.layer(
          "s1",
          Effect.gen(function*() {
            log.push(`s1 on ${(yield* Link).connection}`)
            yield* watch
          })
        )
        const host = yield* launch(Layer.provide(Sensor, makeBroker()))
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(log, ["s1 on 1", target === "broker" ? "s1 on 2" : "s1 on 1"])
        assert.deepStrictEqual(yield* host.states, ["broker Ready", "s1 Ready"])
        yield* host.stop
      }
    })))

  it.effect("starts all that can start, and fails with each one that cannot, which is logged as well", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const log: Array<string> = []
      const names = ["s1", "s2", "s3", "s4"]
      const sensors = names.map((name) =>
        sensor(name, log, name === "s2" || name === "s4" ? failsAt(2) : Effect.void)
      ) as [Layer.Layer<never, unknown, Link>]
      const host = yield* launch(Layer.provide(Layer.mergeAll(...sensors), makeBroker()))
      const exit = yield* beside(App.restart(yield* host.app("broker")))
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, App.StartFailed)
      for (const name of ["s2", "s4"]) assert.include(error.message, `App hub/${name} was not started`)
      assert.deepStrictEqual(yield* host.states, ["broker Ready", "s1 Ready", "s2 Failed", "s3 Ready", "s4 Failed"])
      const lines = linesAt(recorder.records, "Error")
      assert.deepStrictEqual(lines.map((line) => line.slice(0, 27)).toSorted(), [
        "App hub/s2 was not started:",
        "App hub/s4 was not started:"
      ])
      yield* host.stop
    }).pipe(Effect.provide(recorder.layer))
  })

  it.effect("of an app that does not start again says so, and which others stay down with it", () =>
    quiet(Effect.gen(function*() {
      const host = yield* launch(Layer.provide(sensor("s1", []), makeBroker({ start: failsAt(2) })))
      const exit = yield* beside(App.restart(yield* host.app("broker")))
      assert.match(messageOf(exit), /App hub\/broker was not started: its start failed with boom/)
      assert.match(messageOf(exit), /App hub\/s1 was not started: it depends on hub\/broker, which does not run/)
      yield* host.stop
    })))

  it.effect("takes an app that somebody else has started meanwhile as started", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      const sensors = Layer.mergeAll(sensor("s1", log), sensor("s2", log), sensor("s3", log, Effect.sleep(20)))
      const host = yield* launch(Layer.provide(sensors, makeBroker({ close: 20 })))
      yield* TestClock.adjust(20)
      const [broker, s1] = [yield* host.app("broker"), yield* host.app("s1")]
      const supervise = Effect.delay(Effect.eventually(Effect.delay(App.start(s1), 2)), 5)
      succeeded(yield* beside(Effect.all([App.restart(broker), supervise], { concurrency: "unbounded" })))
      assert.deepStrictEqual(yield* host.states, ["broker Ready", "s1 Ready", "s2 Ready", "s3 Ready"])
      assert.strictEqual(log.filter((line) => line === "s1 on 2").length, 1)
      yield* host.stop
    })))

  it.effect("gives what depends on an app with an app inside the newest services, however often it is repeated", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      let connections = 0
      const Inner = App.layer("inner", Task.spawn(Effect.never, "poll"))
      const Broker = App.layer(
        "broker",
        Layer.merge(Inner, Layer.effect(Link)(Effect.sync(() => ({ connection: ++connections, open: true }))))
      )
      const host = yield* launch(Layer.provide(sensor("s1", log), Broker))
      for (let i = 0; i < 3; i++) succeeded(yield* beside(App.restart(yield* host.app("broker"))))
      assert.deepStrictEqual(log, ["s1 on 1", "s1 on 2", "s1 on 3", "s1 on 4"])
      assert.deepStrictEqual(yield* host.states, ["broker Ready", "inner Ready", "s1 Ready"])
      yield* host.stop
    })))

  it.effect("of what an app with an app inside depends on leaves the inner one to the outer one", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      const Outer = App.layer("outer", sensor("inner", log))
      const host = yield* launch(Layer.provide(Outer, makeBroker()))
      succeeded(yield* beside(App.restart(yield* host.app("broker"))))
      assert.deepStrictEqual(log, ["inner on 1", "inner on 2"])
      assert.deepStrictEqual(yield* host.states, ["broker Ready", "inner Ready", "outer Ready"])
      yield* host.stop
    })))

  it.effect("while an app that depends on it waits for another layer lets it start on the new services", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      class Slow extends Context.Service<Slow, string>()("test/core/App.restart/Slow") {}
      const SlowLive = Layer.effect(Slow)(Effect.as(Effect.sleep(100), "slow"))
      const Sensor = App.layer(
        "s1",
        Effect.andThen(Slow, Effect.map(Link, (link) => log.push(`s1 on ${link.connection}`)))
      )
      // Once the slow layer comes while the broker runs again, once while it still stops.
      for (const close of [0, 150]) {
        log.length = 0
        const host = yield* launch(Layer.provide(Sensor, Layer.merge(makeBroker({ close }), SlowLive)))
        yield* TestClock.adjust(50)
        yield* beside(App.restart(yield* host.app("broker")))
        yield* TestClock.adjust(200)
        assert.deepStrictEqual(log, ["s1 on 2"])
        assert.deepStrictEqual(yield* host.states, ["broker Ready", "s1 Ready"])
        yield* host.stop
      }
    })))

  it.effect("while an app that depends on it starts lets that start wait for the new one, and the host goes on", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      const host = yield* launch(Layer.provide(sensor("s1", log, Effect.sleep(100)), makeBroker()))
      yield* TestClock.adjust(50)
      yield* beside(App.restart(yield* host.app("broker")))
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(log, ["s1 on 1", "s1 on 2"])
      assert.deepStrictEqual(yield* host.states, ["broker Ready", "s1 Ready"])
      yield* host.inHost(Host.awaitReady)
      yield* host.stop
    })))

  it.effect("while a start takes its time to end waits for that, and the end of that start is none of the life after it", () =>
    quiet(Effect.gen(function*() {
      const again: Readonly<Record<string, (s1: App.App, broker: App.App) => Effect.Effect<unknown, App.StartFailed>>> =
        {
          restart: (s1) => App.restart(s1),
          "stop and start": (s1) => Effect.andThen(App.stop(s1), App.start(s1)),
          "restart of the broker": (_, broker) => App.restart(broker)
        }
      const slow = [
        Effect.acquireRelease(Effect.sleep(200), () => Effect.void),
        Effect.ensuring(Effect.sleep(200), Effect.sleep(200)),
        // Given up, and it ends in the midst of the next start.
        Effect.uninterruptible(Effect.sleep("12 seconds"))
      ]
      for (const [name, second] of Object.entries(again)) {
        for (const taking of slow) {
          let starts = 0
          const start = Effect.suspend(() =>
            ++starts === 1 ? Effect.void : starts === 2 ? taking : Effect.sleep("8 seconds")
          )
          const host = yield* launch(Layer.provide(sensor("s1", [], start), makeBroker()))
          const [broker, s1] = [yield* host.app("broker"), yield* host.app("s1")]
          const both = [App.restart(s1), Effect.delay(second(s1, broker), 50)]
          const asked = yield* Effect.forkChild(Effect.forEach(both, Effect.exit, { concurrency: "unbounded" }))
          yield* TestClock.adjust("1 minute")
          assert.isDefined(asked.pollUnsafe(), name)
          assert.deepStrictEqual(yield* host.states, ["broker Ready", "s1 Ready"], name)
          yield* host.stop
        }
      }
    })))

  it.effect("or a start of an app by the start of what it depends on is refused, for it comes after that", () =>
    quiet(Effect.gen(function*() {
      for (const again of [App.start, App.restart] as const) {
        const answers: Array<string> = []
        let starts = 0
        const host = yield* Effect.gen(function*() {
          const s1 = Deferred.makeUnsafe<App.App>()
          const start = Effect.gen(function*() {
            if (++starts === 1) return
            answers.push(messageOf(yield* Effect.exit(again(yield* Deferred.await(s1)))))
          })
          const host = yield* launch(Layer.provide(sensor("s1", []), makeBroker({ start })))
          yield* Deferred.succeed(s1, yield* host.app("s1"))
          return host
        })
        succeeded(yield* beside(App.restart(yield* host.app("broker"))))
        assert.strictEqual(answers.length, 1)
        assert.match(
          answers[0]!,
          /hub\/s1 was not started: it depends on hub\/broker, which does not run\. Start that first/
        )
        assert.deepStrictEqual(yield* host.states, ["broker Ready", "s1 Ready"])
        yield* host.stop
      }
    })))

  it.effect("of what forty apps stand on, each on all below it, costs no more than of forty others", () =>
    quiet(Effect.gen(function*() {
      let starts = 0
      const count = Effect.sync(() => String(++starts))
      const layers = Array.from({ length: 40 }, (_, index) => {
        const own = Context.Service<string>(`test/core/App.restart/Stack/${index}`)
        return App.layer(`a${index}`, Layer.effect(own, count))
      })
      const stack = layers.reduce((below, layer) => Layer.provideMerge(layer, below))
      const host = yield* launch(stack)
      // From a task, as a supervisor would.
      succeeded(yield* beside(TaskScope.use("supervisor", () => host.app("a0").pipe(Effect.flatMap(App.restart)))))
      assert.strictEqual(starts, 80)
      yield* host.stop
    })))

  it.effect("of an app inside of another one, and then of that, brings what depends on both back each time", () =>
    quiet(Effect.gen(function*() {
      class Up extends Context.Service<Up, string>()("test/core/App.restart/Up") {}
      const log: Array<string> = []
      const up = Layer.effect(Up, Effect.map(Link, ({ connection }) => `up ${connection}`))
      const Outer = App.layer("outer", Layer.provideMerge(up, makeBroker()))
      const User = App.layer(
        "user",
        Effect.gen(function*() {
          log.push(`user of ${(yield* Link).connection} and ${yield* Up}`)
        })
      )
      const host = yield* launch(Layer.provide(User, Outer))
      for (const name of ["broker", "outer", "broker"]) succeeded(yield* beside(App.restart(yield* host.app(name))))
      assert.deepStrictEqual(log, [
        "user of 1 and up 1",
        "user of 2 and up 1",
        "user of 3 and up 3",
        "user of 4 and up 3"
      ])
      yield* host.stop
    })))

  it.effect("that the stop of the host overtakes leaves nothing running, and complains of nothing", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const host = yield* launch(Layer.provide(sensor("s1", [], App.onStop("slow", Effect.sleep(50))), makeBroker()))
      const restart = yield* Effect.forkChild(App.restart(yield* host.app("broker")), { startImmediately: true })
      const report = succeeded(yield* host.stop)
      assert.isTrue(report.clean)
      assert.match(messageOf(yield* Fiber.await(restart)), /hub is stopping or closed/)
      assert.deepStrictEqual(linesAt(recorder.records, "Error"), [])
    }).pipe(Effect.provide(recorder.layer))
  })
})

describe("an app whose layer is closed", () => {
  /** A bare app that counts its beats, one a second. */
  const pulse = (hook: Effect.Effect<void>) =>
    Effect.gen(function*() {
      yield* awakeClock
      const beats = { count: 0 }
      const self = Deferred.makeUnsafe<App.App>()
      const beat = Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => beats.count++))
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(
        App.layer(
          "pulse",
          Effect.gen(function*() {
            yield* Deferred.succeed(self, yield* App.CurrentApp)
            yield* App.onStop("slow", hook)
            yield* Task.spawn(Effect.forever(beat), "beat")
          })
        ),
        scope
      )
      return { beats, app: yield* Deferred.await(self), close: beside(Scope.close(scope, Exit.void)) }
    })

  it.effect("does not start again", () =>
    quiet(Effect.gen(function*() {
      const { app, beats, close } = yield* pulse(Effect.void)
      yield* close
      for (const again of [App.start(app), Effect.asVoid(App.restart(app))]) {
        assert.match(messageOf(yield* beside(again)), /App pulse was not started: its layer is closed/)
      }
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(beats.count, 0)
    })))

  it.effect("does not come back by a restart that was on its way", () =>
    quiet(Effect.gen(function*() {
      const { app, beats, close } = yield* pulse(Effect.sleep(500))
      const restart = yield* Effect.forkChild(App.restart(app), { startImmediately: true })
      yield* close
      assert.match(messageOf(yield* Fiber.await(restart)), /its layer is closed/)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(beats.count, 0)
      assert.strictEqual((yield* App.state(app))._tag, "Stopped")
    })))

  it.effect("does not start again in a host that runs on either", () =>
    quiet(Effect.gen(function*() {
      let local: App.App | undefined
      const Local = App.layer("local", Effect.map(App.CurrentApp, (app) => (local = app)))
      const host = yield* launch(Layer.effectDiscard(Effect.scoped(Layer.build(Local))))
      assert.match(messageOf(yield* beside(App.start(local!))), /App hub\/local was not started: its layer is closed/)
      assert.deepStrictEqual(succeeded(yield* host.stop).tasks, [])
    })))
})

describe("the stop of an app", () => {
  it.effect("ends although a supervisor starts again whatever stops", () =>
    quiet(Effect.gen(function*() {
      const supervise = Stream.runForEach(Host.events, (event) =>
        Effect.gen(function*() {
          if (event._tag !== "AppState" || event.state !== "stopped") return
          const app = (yield* Host.apps).find((one) => one.path === event.path)!
          yield* Effect.ignore(App.start(app))
        }))
      const Supervisor = App.layer("supervisor", Task.spawn(supervise, "supervise"))
      const stops = (millis: number) => App.onStop("slow", Effect.sleep(millis))
      const Sensors = Layer.mergeAll(sensor("s1", [], stops(20)), sensor("s2", [], stops(50)))
      const host = yield* launch(Layer.merge(Layer.provide(Sensors, makeBroker()), Supervisor))
      const broker = yield* host.app("broker")
      const reports: Array<ShutdownReport.ShutdownReport> = []
      yield* beside(Effect.map(App.stop(broker), (report) => reports.push(report)))
      assert.deepStrictEqual(reports.map((report) => report.path), ["hub/broker"])
      yield* host.stop
    })))

  it.effect("ends at once for a task that cleans up in an app that depends on it", () =>
    quiet(Effect.gen(function*() {
      const broker = Deferred.makeUnsafe<App.App>()
      const stopBroker = Effect.flatMap(Deferred.await(broker), (app) => App.stop(app))
      const Sensor = sensor("s1", [], Task.spawn(Effect.ensuring(Effect.never, stopBroker), "poll"))
      const host = yield* launch(Layer.provide(Sensor, makeBroker()))
      yield* Deferred.succeed(broker, yield* host.app("broker"))
      const report = succeeded(yield* beside(App.stop(yield* host.app("s1"))))
      assert.deepInclude(report, { clean: true, took: 0 })
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* host.states, ["broker Stopped", "s1 Stopped"])
      yield* host.stop
    })))

  it.effect("ends at once for a hook and a finalizer of the app, and of one that depends on it", () =>
    quiet(Effect.gen(function*() {
      for (const which of ["broker", "s1"]) {
        const target = Deferred.makeUnsafe<App.App>()
        const paths: Array<string> = []
        const stopIt = Effect.flatMap(
          Deferred.await(target),
          (app) => Effect.map(App.stop(app), (report) => paths.push(report.path))
        )
        const start = Effect.andThen(
          App.onStop("stop", stopIt),
          Effect.acquireRelease(Effect.void, () => stopIt)
        )
        const host = yield* launch(Layer.provide(sensor("s1", [], start), makeBroker()))
        yield* Deferred.succeed(target, yield* host.app(which))
        const report = succeeded(yield* beside(App.stop(yield* host.app("s1"))))
        assert.deepInclude(report, { clean: true, took: 0 })
        assert.deepStrictEqual(paths, [`hub/${which}`, `hub/${which}`])
        yield* host.stop
      }
    })))
})

describe("the start of an app", () => {
  it.effect("fails with a typed error also when it throws or takes too long", () =>
    quiet(Effect.gen(function*() {
      let starts = 0
      const start = Effect.suspend(() => {
        starts++
        if (starts === 2) throw new Error("a bug")
        return starts === 3 ? Effect.never : Effect.void
      })
      const host = yield* launch(App.layer("a", start, { startWithin: "1 second" }))
      const app = yield* host.app("a")
      yield* beside(App.stop(app))
      assert.match(messageOf(yield* beside(Effect.flip(App.start(app)))), /a success/)
      assert.match(messageOf(yield* beside(App.start(app))), /App hub\/a did not start within 1\.0 s/)
      succeeded(yield* beside(App.start(app)))
      yield* host.stop
    })))

  it.effect("is refused with what is the matter", () =>
    quiet(Effect.gen(function*() {
      const host = yield* launch(App.layer("a", App.onStop("slow", Effect.sleep(100))))
      const app = yield* host.app("a")
      assert.match(messageOf(yield* beside(App.start(app))), /it runs already\. Stop it first/)
      const stopping = yield* Effect.forkChild(App.stop(app), { startImmediately: true })
      assert.match(messageOf(yield* Effect.exit(App.start(app))), /it is stopping\. Wait for that with App\.stop/)
      yield* settle(stopping)
      for (const again of [App.start, App.restart]) {
        const error = yield* Effect.flip(again(undefined as unknown as App.App))
        assert.match(error.message, /App undefined was not started: it is not the handle of an app/)
      }
      yield* host.stop
    })))

  it.effect("that is interrupted in its last step leaves what depends on it to the next start", () =>
    quiet(Effect.gen(function*() {
      const log: Array<string> = []
      const starting = Deferred.makeUnsafe<Fiber.Fiber<unknown, unknown>>()
      let starts = 0
      const start = Effect.suspend(() =>
        ++starts === 2
          ? Effect.map(Deferred.await(starting), (fiber) => fiber.interruptUnsafe())
          : Effect.void
      )
      const host = yield* launch(Layer.provide(sensor("s1", log), makeBroker({ start })))
      const [broker, s1] = [yield* host.app("broker"), yield* host.app("s1")]
      yield* beside(App.stop(broker))
      const fiber = yield* Effect.forkChild(App.start(broker), { startImmediately: true })
      yield* Deferred.succeed(starting, fiber)
      yield* settle(fiber)
      yield* beside(Effect.ignore(App.start(broker)))
      succeeded(yield* beside(App.start(s1)))
      assert.notInclude(log.at(-1), "closed")
      yield* host.stop
    })))

  it.effect("that was given up registers no hook in the next life of the app", () =>
    quiet(Effect.gen(function*() {
      let starts = 0
      const late = Deferred.makeUnsafe<Exit.Exit<unknown, unknown>>()
      const slow = Effect.uninterruptible(Effect.gen(function*() {
        yield* Effect.sleep(300)
        yield* Deferred.succeed(late, yield* Effect.exit(App.onStop("late", Effect.void)))
      }))
      const host = yield* launch(
        App.layer("a", Effect.suspend(() => ++starts === 2 ? slow : Effect.void), {
          startWithin: "50 millis",
          stopWithin: "100 millis"
        })
      )
      const app = yield* host.app("a")
      yield* beside(App.stop(app))
      yield* beside(App.start(app))
      succeeded(yield* beside(App.start(app)))
      yield* TestClock.adjust(400)
      assert.match(messageOf(yield* Deferred.await(late)), /ScopeClosed/)
      assert.deepStrictEqual(succeeded(yield* beside(App.stop(app))).hooks, [])
      yield* host.stop
    })))
})
