import { App, Host, InvalidOption, Restart, Task, type TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { linesAt, makeRecorder } from "../support/recorder.ts"

class Connection extends Context.Service<Connection, number>()("test/Connection") {}

const everySecond = Schedule.spaced("1 second")
const policy = Restart.permanent({ schedule: everySecond })

/** What apps do, with the second in which they do it. */
const makeLog = () => {
  const log: Array<string> = []
  const note = (what: string) => Effect.map(Clock.currentTimeMillis, (now) => void log.push(`${what} ${now / 1000}`))
  /** Notes its start and its stop, and has a task that does the work. */
  const start = <E, R>(name: string, work: Effect.Effect<unknown, E, R> = Effect.never) =>
    Effect.gen(function*() {
      yield* note(`+${name}`)
      yield* App.onStop("note", note(`-${name}`))
      yield* Task.spawn(work, "work", { onFailure: "stopApp" })
    })
  return { log, note, start }
}

const failAfter = (seconds: number) => Effect.andThen(Effect.sleep(seconds * 1000), Effect.fail("broken"))

/** Does the first things one after the other, one each time it is run, and then the last again and again. */
const inTurn = <Runs extends ReadonlyArray<Effect.Effect<unknown, unknown, unknown>>>(...runs: Runs) => {
  let ran = 0
  type Run = Runs[number]
  return Effect.suspend(() =>
    runs[Math.min(ran++, runs.length - 1)] as Effect.Effect<
      Effect.Success<Run>,
      Effect.Error<Run>,
      Effect.Services<Run>
    >
  )
}

const launch = <E, R>(apps: Layer.Layer<never, E, R>) =>
  Effect.forkChild(Host.launch(apps as Layer.Layer<never, E, Host.Host>))

const looker = <E>(after: number, look: Effect.Effect<unknown, E, Host.Host>) =>
  App.layer(
    "looker",
    Task.spawn(
      Effect.andThen(Effect.sleep(after * 1000), Effect.andThen(look, Host.requestStop("seen"))),
      "look",
      { onFailure: "stopHost" }
    )
  )

const appAt = (path: string) => Effect.map(Host.apps, (apps) => apps.find((app) => app.path === path)!)

describe("an app that fails", () => {
  it.effect("starts again after the wait of its policy, with a fresh scope, while others run on", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const host = yield* launch(Layer.mergeAll(
        App.layer("sensor", start("sensor", inTurn(failAfter(10), Effect.never)), { restart: policy }),
        App.layer("other", start("other")),
        looker(20, Effect.void)
      ))
      yield* TestClock.adjust("30 seconds")
      const report = yield* Fiber.join(host)
      assert.deepStrictEqual(log.filter((line) => !line.endsWith(" 20")), [
        "+sensor 0",
        "+other 0",
        "-sensor 10",
        "+sensor 11"
      ])
      assert.strictEqual(report.apps.find(({ path }) => path === "host/sensor")?.restarts, 1)
    }))

  it.effect("takes those that depend on it along, and they get its new services", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const Link = Context.Service<number>("test/Link")
      let links = 0
      const seen: Array<number> = []
      const work = inTurn(failAfter(10), Effect.never)
      const Sensor = App.layer(
        "sensor",
        Layer.effect(Link, Effect.as(start("sensor", work), 0).pipe(Effect.map(() => ++links))),
        { restart: policy }
      )
      const Reader = App.layer(
        "reader",
        Effect.gen(function*() {
          seen.push(yield* Link)
          yield* start("reader")
        })
      )
      const host = yield* launch(Layer.mergeAll(Reader.pipe(Layer.provide(Sensor)), looker(20, Effect.void)))
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log.filter((line) => !line.endsWith(" 20")), [
        "+sensor 0",
        "+reader 0",
        "-reader 10",
        "-sensor 10",
        "+sensor 11",
        "+reader 11"
      ])
      assert.deepStrictEqual(seen, [1, 2])
    }))

  it.effect("in the restart of what it depends on starts again by its own policy", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const Link = Context.Service<number>("test/Link")
      const Sensor = App.layer(
        "sensor",
        Layer.effect(Link, Effect.as(start("sensor", inTurn(failAfter(10), Effect.never)), 1)),
        { restart: policy }
      )
      const work = inTurn(Effect.never, failAfter(0.5), Effect.never)
      const Reader = App.layer("reader", Effect.andThen(Link, start("reader", work)), { restart: policy })
      // As long as it starts, the restart goes on.
      const Slow = App.layer("slow", Effect.andThen(Link, Effect.sleep("3 seconds")))
      const host = yield* launch(Layer.mergeAll(
        Layer.mergeAll(Slow, Reader).pipe(Layer.provide(Sensor)),
        looker(20, Effect.void)
      ))
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log.filter((line) => line.startsWith("+reader")), [
        "+reader 0",
        "+reader 11",
        "+reader 12.5"
      ])
    }))

  it.effect("is not the end of a host that stops when all foreground work is done", () =>
    Effect.gen(function*() {
      const work = inTurn(failAfter(1), failAfter(1), Effect.sleep("1 second"))
      let ends = 0
      const spawned = Effect.andThen(work, Effect.sync(() => ends++)).pipe(
        Task.spawn("work", { kind: "foreground", onFailure: "stopApp" })
      )
      const host = yield* Effect.forkChild(
        Host.launch(App.layer("import", spawned, { restart: policy }), { stopWhenIdle: true })
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([(yield* Fiber.join(host)).reason, ends], ["all foreground work is done", 1])
    }))

  it.effect("without a policy stays down", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const host = yield* launch(Layer.mergeAll(
        App.layer("sensor", start("sensor", failAfter(10))),
        looker(100, Effect.void)
      ))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log, ["+sensor 0", "-sensor 10"])
    }))

  it.effect("starts again without a host as well", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const Sensor = App.layer("sensor", start("sensor", inTurn(failAfter(10), Effect.never)), { restart: policy })
      const fiber = yield* Effect.forkChild(Layer.launch(Sensor))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(log, ["+sensor 0", "-sensor 10", "+sensor 11", "-sensor 20"])
    }))
})

describe("an app whose start fails", () => {
  it.effect("is tried again, also the first time; the host is ready when it is", () =>
    Effect.gen(function*() {
      const { log, note, start } = makeLog()
      const Sensor = App.layer(
        "sensor",
        Effect.andThen(note("try"), inTurn(Effect.fail("no broker"), Effect.fail("no broker"), start("sensor"))),
        { restart: policy }
      )
      const host = yield* launch(Layer.mergeAll(Sensor, looker(20, Effect.void)))
      yield* TestClock.adjust("30 seconds")
      const report = yield* Fiber.join(host)
      assert.deepStrictEqual(log, ["try 0", "try 1", "try 2", "+sensor 2", "-sensor 20"])
      assert.isTrue(report.clean)
    }))

  it.effect("the first time, is tried again by that alone, though somebody else has started it meanwhile", () =>
    Effect.gen(function*() {
      for (const byHand of [App.start, App.restart] as const) {
        const { layer, records } = makeRecorder()
        const { log, note, start } = makeLog()
        yield* Effect.gen(function*() {
          const from = (yield* Clock.currentTimeMillis) / 1000
          const Broker = App.layer(
            "broker",
            Layer.effect(Connection, Effect.as(start("broker", inTurn(failAfter(1), Effect.never)), 1)),
            {
              restart: Restart.permanent({ schedule: Schedule.spaced("9 seconds") })
            }
          )
          // The broker has failed before the sensor begins.
          const later = Layer.effectDiscard(Effect.andThen(Connection, Effect.sleep("3 seconds")))
          const tries = Effect.andThen(note("try"), inTurn(Effect.fail("no sensor"), Effect.void))
          const Sensor = App.layer("sensor", Layer.effectDiscard(Effect.andThen(Connection, tries)), {
            restart: policy
          })
          const apps = Deferred.makeUnsafe<ReadonlyArray<App.App>>()
          const look = App.layer(
            "look",
            Effect.delay(Effect.flatMap(Host.apps, (all) => Deferred.succeed(apps, all)), 5000)
          )
          const host = yield* launch(
            Layer.mergeAll(Sensor.pipe(Layer.provide(later), Layer.provide(Broker)), look, looker(20, Effect.void))
          )
          const sensor = Effect.map(Deferred.await(apps), (all) => all.find(({ name }) => name === "sensor")!)
          const asked = yield* Effect.forkChild(Effect.exit(Effect.flatMap(sensor, byHand)))
          yield* TestClock.adjust("40 seconds")
          assert.isTrue((yield* Fiber.join(host)).clean)
          assert.isDefined(asked.pollUnsafe())
          assert.deepStrictEqual(log.filter((line) => line.startsWith("try")), [`try ${from + 10}`, `try ${from + 11}`])
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(linesAt(records, "Error").slice(2), [
          "App host/sensor failed to start; it starts again in 1.0 s (restart 1)"
        ])
      }
    }))

  it.effect("the first time, in the restart of what it depends on, fails the host with its own error when it is used up", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      const { start } = makeLog()
      const Broker = App.layer(
        "broker",
        Layer.effect(Connection, Effect.as(start("broker", inTurn(failAfter(1), Effect.never)), 1)),
        {
          restart: policy
        }
      )
      const Sensor = App.layer(
        "sensor",
        Effect.andThen(Connection, Effect.andThen(Effect.sleep("2 seconds"), Effect.fail("no sensor"))),
        {
          restart: Restart.permanent({
            schedule: everySecond,
            budget: { restarts: 2, within: "1 hour" },
            onExhausted: "giveUp"
          })
        }
      )
      const host = yield* launch(Layer.provide(Sensor, Broker)).pipe(Effect.provide(layer))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Effect.flip(Fiber.join(host)), "no sensor")
      assert.match(linesAt(records, "Error").at(-1)!, /used up its 2 restarts .*; its layer fails$/)
    }))

  it.effect("and with it a layer in it that fails", () =>
    Effect.gen(function*() {
      const { log, note, start } = makeLog()
      const Broker = Context.Service<string>("test/Broker")
      const broker = Layer.effect(
        Broker,
        Effect.andThen(note("try"), inTurn(Effect.fail("down"), Effect.succeed("up")))
      )
      const Sensor = App.layer(
        "sensor",
        Layer.effectDiscard(Effect.andThen(Broker, start("sensor"))).pipe(Layer.provide(broker)),
        { restart: policy }
      )
      const host = yield* launch(Layer.mergeAll(Sensor, looker(20, Effect.void)))
      yield* TestClock.adjust("60 seconds")
      const report = yield* Fiber.join(host)
      assert.deepStrictEqual(log, ["try 0", "try 1", "+sensor 1", "-sensor 20"])
      assert.strictEqual(report.reason, "seen")
    }))

  it.effect("holds up those that depend on it until it is ready, and nobody else", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const Link = Context.Service<number>("test/Link")
      const Sensor = App.layer(
        "sensor",
        Layer.effect(Link, inTurn(Effect.fail("no broker"), Effect.as(start("sensor"), 1))),
        { restart: policy }
      )
      const Reader = App.layer("reader", Effect.andThen(Link, start("reader")))
      const host = yield* launch(Layer.mergeAll(
        Reader.pipe(Layer.provide(Sensor)),
        App.layer("other", start("other")),
        looker(20, Effect.void)
      ))
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log.slice(0, 3), ["+other 0", "+sensor 1", "+reader 1"])
    }))

  it.effect("that takes too long has failed, too", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const Sensor = App.layer("sensor", inTurn(Effect.never, start("sensor")), {
        restart: policy,
        startWithin: "5 seconds"
      })
      const host = yield* launch(Layer.mergeAll(Sensor, looker(20, Effect.void)))
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log, ["+sensor 6", "-sensor 20"])
    }))

  it.effect("as often as its budget allows fails the host with its own error", () =>
    Effect.gen(function*() {
      const restart = Restart.permanent({ schedule: everySecond, budget: { restarts: 2, within: "1 minute" } })
      const host = yield* launch(App.layer("sensor", Effect.fail("no broker"), { restart }))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Effect.flip(Fiber.join(host)), "no broker")
    }))

  it.effect("since a task of it has failed is judged by what that has failed with", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const decide = (failure: Cause.Fail<unknown> | Cause.Die) => {
        seen.push(failure._tag === "Fail" ? failure.error : failure.defect)
        return "giveUp" as const
      }
      const start = Effect.andThen(
        Task.spawn(failAfter(1), "work", { onFailure: "stopApp" }),
        Effect.sleep("3 seconds")
      )
      const host = yield* launch(App.layer("sensor", start, { restart: Restart.permanent({ decide }) }))
      yield* TestClock.adjust("1 minute")
      assert.isDefined(host.pollUnsafe())
      assert.deepStrictEqual(seen, ["broken"])
    }))

  it.effect("and is to start again is not blamed for the same error of another app", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      const slowly = Effect.andThen(App.onStop("slow", Effect.sleep("5 seconds")), Effect.fail("no broker"))
      const host = yield* launch(Layer.mergeAll(
        App.layer("sensor", slowly, { restart: policy }),
        App.layer("reader", Effect.delay(Effect.fail("no broker"), "2 seconds"))
      )).pipe(Effect.provide(layer))
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(yield* Effect.flip(Fiber.join(host)), "no broker")
      assert.include(linesAt(records, "Info"), "host stops: app host/reader did not start")
    }))

  it.effect("by an error that cannot be mended is not tried again, and the host says which app it was", () =>
    Effect.gen(function*() {
      const { log, note } = makeLog()
      const { layer, records } = makeRecorder()
      const restart = Restart.permanent({
        schedule: everySecond,
        decide: (failure) => failure._tag === "Fail" && failure.error === "bad password" ? "giveUp" : "restart"
      })
      const start = Effect.andThen(note("try"), inTurn(Effect.fail("no broker"), Effect.fail("bad password")))
      const host = yield* launch(App.layer("sensor", start, { restart })).pipe(Effect.provide(layer))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Effect.flip(Fiber.join(host)), "bad password")
      assert.deepStrictEqual(log, ["try 0", "try 1"])
      assert.include(linesAt(records, "Info"), "host stops: app host/sensor did not start")
    }))
})

describe("a policy that throws", () => {
  it.effect("gives up, and is said; its app stays down", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { start } = makeLog()
        const restart = Restart.permanent({ decide: () => assert.fail("a bug in decide") })
        const state = yield* Deferred.make<string>()
        const host = yield* launch(Layer.mergeAll(
          App.layer("sensor", start("sensor", failAfter(1)), { restart }),
          looker(
            60,
            Effect.flatMap(Host.health, ({ apps }) => Deferred.succeed(state, apps["host/sensor"]!))
          )
        ))
        yield* TestClock.adjust("2 minutes")
        yield* Fiber.join(host)
        assert.strictEqual(yield* Deferred.await(state), "failed")
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(linesAt(records, "Error").slice(1), [
        "The restart policy of app host/sensor failed",
        "App host/sensor is not started again: its policy has failed; it stays down"
      ])
    }))
})

describe("the budget", () => {
  const budget = { restarts: 2, within: "1 hour" } as const

  it.effect("of an app that is used up stops the host, which fails and says which app it was", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const restart = Restart.permanent({ schedule: everySecond, budget })
      const host = yield* launch(App.layer("sensor", start("sensor", failAfter(1)), { restart }))
      yield* TestClock.adjust("1 minute")
      const error = yield* Effect.flip(Fiber.join(host))
      assert.instanceOf(error, Host.HostFailed)
      assert.strictEqual(error.report.reason, "app host/sensor has used up its restarts")
      assert.strictEqual(log.length, 6)
    }))

  it.effect("escalates from the task to its app, and from there to the host", () =>
    Effect.gen(function*() {
      const runs: Array<number> = []
      const work = Effect.andThen(Effect.map(Clock.currentTimeMillis, (now) => runs.push(now / 1000)), Effect.fail("x"))
      const task = Restart.permanent({ schedule: everySecond, budget, onExhausted: "stopApp" })
      const restart = Restart.permanent({ schedule: Schedule.spaced("10 seconds"), budget })
      const start = Task.spawn(work, "work", { restart: task })
      const host = yield* launch(App.layer("sensor", start, { restart }))
      yield* TestClock.adjust("10 minutes")
      assert.instanceOf(yield* Effect.flip(Fiber.join(host)), Host.HostFailed)
      assert.deepStrictEqual(runs, [0, 1, 2, 12, 13, 14, 24, 25, 26])
    }))

  it.effect("with giveUp the app stays down and has failed, and the others go on", () =>
    Effect.gen(function*() {
      const { start } = makeLog()
      const restart = Restart.permanent({ schedule: everySecond, budget, onExhausted: "giveUp" })
      const health = yield* Deferred.make<Host.Health>()
      const host = yield* launch(Layer.mergeAll(
        App.layer("sensor", start("sensor", failAfter(1)), { restart }),
        looker(60, Effect.flatMap(Host.health, (seen) => Deferred.succeed(health, seen)))
      ))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(host)
      const { apps, live } = yield* Deferred.await(health)
      assert.deepStrictEqual([apps["host/sensor"], live], ["failed", false])
    }))

  it.effect("with giveUp is said with the apps that stay down with it, in the order in which they had started", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { start } = makeLog()
        const Reading = Context.Service<number>("test/Reading")
        const restart = Restart.permanent({ schedule: everySecond, budget, onExhausted: "giveUp" })
        const Sensor = App.layer("sensor", Layer.effect(Connection, Effect.as(start("sensor", failAfter(1)), 1)), {
          restart
        })
        const Reader = App.layer("reader", Layer.effect(Reading, Effect.andThen(Connection, Effect.succeed(2))))
        const Printer = App.layer("printer", Reading)
        const host = yield* launch(Layer.mergeAll(
          Layer.provide(Printer, Layer.provide(Reader, Sensor)),
          looker(60, Effect.void)
        ))
        yield* TestClock.adjust("2 minutes")
        yield* Fiber.join(host)
      }).pipe(Effect.provide(layer))
      const line = linesAt(records, "Error").at(-1)
      assert.include(line, "it has used up its 2 restarts in 1h.")
      assert.match(line!, /; it stays down, and with it host\/reader, host\/printer$/)
    }))

  it.effect("is said with what its last start has failed with", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { start } = makeLog()
        const restart = Restart.permanent({
          schedule: everySecond,
          decide: (failure) => failure._tag === "Fail" && failure.error === "no broker" ? "giveUp" : "restart"
        })
        const host = yield* launch(Layer.mergeAll(
          App.layer("sensor", inTurn(start("sensor", failAfter(1)), Effect.fail("no broker")), { restart }),
          looker(20, Effect.void)
        ))
        yield* TestClock.adjust("20 seconds")
        yield* Fiber.join(host)
      }).pipe(Effect.provide(layer))
      const line = records.find(({ message }) => message.includes("is not started again"))
      assert.deepStrictEqual(line?.cause.reasons.map((reason) => reason._tag === "Fail" && reason.error), ["no broker"])
    }))

  it.effect("R2: being ready gives it back only when the app has stayed so", () =>
    Effect.gen(function*() {
      for (const [stays, ends] of [[59, true], [60, false]] as const) {
        const { start } = makeLog()
        const restart = Restart.permanent({ schedule: everySecond, budget, healthyAfter: "1 minute" })
        const slowStart = (work: Effect.Effect<unknown, string>) =>
          Effect.andThen(Effect.sleep("15 seconds"), start("sensor", work))
        const host = yield* launch(App.layer("sensor", slowStart(failAfter(stays)), { restart }))
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(host.pollUnsafe() !== undefined, ends)
        yield* Fiber.interrupt(host)
      }
    }))
})

describe("a stop", () => {
  const slowly = Restart.permanent({ schedule: Schedule.spaced("1 minute") })

  it.effect("by hand during the wait ends it, and the app stays down", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const host = yield* launch(Layer.mergeAll(
        App.layer("sensor", start("sensor", failAfter(10)), { restart: slowly }),
        looker(
          20,
          Effect.gen(function*() {
            const app = yield* appAt("host/sensor")
            assert.strictEqual((yield* App.state(app))._tag, "Starting")
            yield* App.stop(app, "not now")
            yield* Effect.sleep("10 minutes")
            assert.strictEqual((yield* App.state(app))._tag, "Stopped")
          })
        )
      ))
      yield* TestClock.adjust("20 minutes")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log, ["+sensor 0", "-sensor 10"])
    }))

  it.effect("by hand while it stops since it has failed keeps it down", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const slowStop = Effect.andThen(start("sensor", failAfter(10)), App.onStop("slow", Effect.sleep("3 seconds")))
      const host = yield* launch(Layer.mergeAll(
        App.layer("sensor", slowStop, { restart: policy }),
        looker(
          11,
          Effect.gen(function*() {
            const app = yield* appAt("host/sensor")
            assert.strictEqual((yield* App.state(app))._tag, "Stopping")
            yield* App.stop(app, "for good")
            yield* Effect.sleep("1 minute")
            assert.strictEqual((yield* App.state(app))._tag, "Stopped")
          })
        )
      ))
      yield* TestClock.adjust("5 minutes")
      yield* Fiber.join(host)
      assert.strictEqual(log.filter((line) => line.startsWith("+")).length, 1)
    }))

  it.effect("by hand while it stops since it has failed is told as no restart, and leads to no end of the host", () =>
    Effect.gen(function*() {
      for (const decide of [undefined, () => "stopHost" as const]) {
        const { layer, records } = makeRecorder()
        const { start } = makeLog()
        const slowStop = Effect.andThen(start("sensor", failAfter(10)), App.onStop("slow", Effect.sleep("3 seconds")))
        const restart = Restart.permanent({ schedule: everySecond, ...(decide && { decide }) })
        const look = Effect.andThen(Effect.flatMap(appAt("host/sensor"), App.stop("enough")), Effect.sleep("1 minute"))
        yield* Effect.gen(function*() {
          const host = yield* launch(Layer.mergeAll(App.layer("sensor", slowStop, { restart }), looker(11, look)))
          yield* TestClock.adjust("5 minutes")
          yield* Fiber.join(host)
        }).pipe(Effect.provide(layer))
        assert.notInclude(linesAt(records, "Error").join("\n"), "again")
      }
    }))

  it.effect("by hand of an app that runs is no failure", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const host = yield* launch(Layer.mergeAll(
        App.layer("sensor", start("sensor"), { restart: policy }),
        looker(10, Effect.andThen(Effect.flatMap(appAt("host/sensor"), App.stop("enough")), Effect.sleep("1 minute")))
      ))
      yield* TestClock.adjust("5 minutes")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log, ["+sensor 0", "-sensor 10"])
    }))

  it.effect("of the host during the wait ends it at once, and nothing starts", () =>
    Effect.gen(function*() {
      for (const startFails of [true, false]) {
        const { log, note, start } = makeLog()
        const sensor: Effect.Effect<void, unknown, App.App | TaskScope.TaskScope> = startFails
          ? Effect.andThen(note("try"), Effect.fail("no broker"))
          : start("sensor", failAfter(5))
        const host = yield* launch(Layer.mergeAll(
          App.layer("sensor", sensor, { restart: slowly }),
          looker(20, Effect.void)
        ))
        yield* TestClock.adjust("20 seconds")
        const report = yield* Fiber.join(host)
        assert.strictEqual(report.took, 0)
        yield* TestClock.adjust("5 minutes")
        assert.strictEqual(log.length, startFails ? 1 : 2)
      }
    }))
})

describe("a start by hand", () => {
  const slowly = Restart.permanent({ schedule: Schedule.spaced("1 hour") })

  it.effect("during the wait starts the app now, with those that depend on it", () =>
    Effect.gen(function*() {
      for (const byHand of [App.start, App.restart] as const) {
        const { log, start } = makeLog()
        const from = (yield* Clock.currentTimeMillis) / 1000
        const host = yield* launch(Layer.mergeAll(
          App.layer("sensor", start("sensor", inTurn(failAfter(10), Effect.never)), { restart: slowly }),
          looker(20, Effect.flatMap(appAt("host/sensor"), byHand))
        ))
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(host)
        assert.deepStrictEqual(log.slice(0, 3), [`+sensor ${from}`, `-sensor ${from + 10}`, `+sensor ${from + 20}`])
      }
    }))

  it.effect("that fails says so, and the policy goes on", () =>
    Effect.gen(function*() {
      const { log, note, start } = makeLog()
      const Sensor = App.layer(
        "sensor",
        Effect.andThen(note("try"), inTurn(start("sensor", failAfter(10)), Effect.fail("no broker"), start("sensor"))),
        { restart: Restart.permanent({ schedule: Schedule.spaced("1 minute") }) }
      )
      const exits: Array<Exit.Exit<unknown, unknown>> = []
      const tryIt = Effect.gen(function*() {
        exits.push(yield* Effect.exit(App.restart(yield* appAt("host/sensor"))))
        yield* Effect.sleep("5 minutes")
      })
      const host = yield* launch(Layer.mergeAll(Sensor, looker(20, tryIt)))
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log.filter((line) => line.startsWith("try")), ["try 0", "try 20", "try 80"])
      assert.strictEqual(exits.length, 1)
    }))
})

describe("a start by hand of an app that was stopped", () => {
  it.effect("and that fails says so to each who has asked, and is tried again once", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      const { log, note, start } = makeLog()
      const tries = inTurn(
        start("sensor"),
        Effect.andThen(Effect.andThen(note("try"), Effect.sleep("1 second")), Effect.fail("no broker")),
        Effect.andThen(note("try"), Effect.fail("no broker")),
        start("sensor")
      )
      const look = Effect.gen(function*() {
        const app = yield* appAt("host/sensor")
        yield* App.stop(app)
        const one = yield* Effect.forkChild(Effect.flip(App.start(app)), { startImmediately: true })
        const two = yield* Effect.forkChild(Effect.flip(App.start(app)), { startImmediately: true })
        for (const fiber of [one, two]) assert.strictEqual((yield* Fiber.join(fiber))._tag, "StartFailed")
        yield* Effect.sleep("1 minute")
        assert.strictEqual((yield* App.state(app))._tag, "Ready")
      })
      yield* Effect.gen(function*() {
        const host = yield* launch(Layer.mergeAll(App.layer("sensor", tries, { restart: policy }), looker(20, look)))
        yield* TestClock.adjust("2 minutes")
        yield* Fiber.join(host)
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(log.slice(0, 5), ["+sensor 0", "-sensor 20", "try 20", "try 22", "+sensor 23"])
      assert.deepStrictEqual(linesAt(records, "Error"), [
        "App host/sensor failed to start; it starts again in 1.0 s (restart 1)",
        "App host/sensor failed to start; it starts again in 1.0 s (restart 2)"
      ])
    }))
})

describe("a restart by hand", () => {
  it.effect("during the wait of an app that is given up then fails, and so does one of what depends on it", () =>
    Effect.gen(function*() {
      const { start } = makeLog()
      const Broker = App.layer(
        "broker",
        Layer.effect(Connection, Effect.as(inTurn(start("broker", failAfter(10)), Effect.fail("no broker")), 1)),
        {
          restart: Restart.permanent({
            schedule: Schedule.spaced("1 hour"),
            budget: { restarts: 1, within: "1 day" },
            onExhausted: "giveUp"
          })
        }
      )
      const Sensor = App.layer("sensor", Effect.andThen(Connection, start("sensor")))
      const look = Effect.gen(function*() {
        const sensor = yield* Effect.forkChild(Effect.flip(App.restart(yield* appAt("host/sensor"))))
        const error = yield* Effect.flip(App.restart(yield* appAt("host/broker")))
        assert.include(error.message, "App host/broker was not started: it does not run now")
        assert.include((yield* Fiber.join(sensor)).message, "App host/sensor was not started")
      })
      const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(20, look)))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(host)
    }))
})

describe("an app on another one that has a policy, too", () => {
  const broker = <E>(after: Effect.Effect<unknown, E>, every: "1 second" | "30 seconds") => {
    const { log, note, start } = makeLog()
    const took = inTurn(Effect.void, Effect.sleep("3 seconds"))
    const Broker = App.layer(
      "broker",
      Layer.effect(Connection, Effect.as(Effect.andThen(took, start("broker", inTurn(after, Effect.never))), 1)),
      { restart: Restart.permanent({ schedule: Schedule.spaced(every) }) }
    )
    const sensor = (restart: Restart.Restart) =>
      App.layer(
        "sensor",
        Effect.andThen(Connection, start("sensor", inTurn(failAfter(1), Effect.never))),
        { restart }
      )
    return { log, note, Broker, sensor }
  }

  it.effect("is part of a restart by hand also while the policy of that one tries", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const slowly = inTurn(Effect.void, Effect.sleep("4 seconds"), Effect.void)
      const Broker = App.layer(
        "broker",
        Layer.effect(
          Connection,
          Effect.as(Effect.andThen(slowly, start("broker", inTurn(failAfter(3), Effect.never))), 1)
        ),
        { restart: policy }
      )
      const tries = inTurn(start("sensor"), Effect.andThen(Effect.sleep("5 seconds"), Effect.fail("no sensor")))
      const Sensor = App.layer("sensor", Effect.andThen(Connection, tries))
      const look = Effect.gen(function*() {
        const broker = yield* appAt("host/broker")
        const error = yield* Effect.flip(App.restart(broker))
        assert.include(error.message, "App host/sensor was not started: its start failed with no sensor")
        assert.strictEqual((yield* App.state(broker))._tag, "Ready")
      })
      const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(5, look)))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log.filter((line) => line.startsWith("+")), ["+broker 0", "+sensor 0", "+broker 5"])
    }))

  it.effect("waits for its start when its own wait is over", () =>
    Effect.gen(function*() {
      const { Broker, log, sensor } = broker(failAfter(8), "1 second")
      const Sensor = sensor(Restart.permanent({ schedule: Schedule.spaced("9 seconds") }))
      const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(20, Effect.void)))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log.filter((line) => line.startsWith("+")), [
        "+broker 0",
        "+sensor 0",
        "+broker 12",
        "+sensor 12"
      ])
    }))

  it.effect("stays down, and says so, when that was stopped by hand", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { Broker, sensor } = broker(Effect.never, "1 second")
        const Sensor = sensor(Restart.permanent({ schedule: Schedule.spaced("9 seconds") }))
        const look = Effect.gen(function*() {
          yield* App.stop(yield* appAt("host/broker"))
          yield* Effect.sleep("1 minute")
          assert.strictEqual((yield* App.state(yield* appAt("host/sensor")))._tag, "Stopped")
        })
        const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(5, look)))
        yield* TestClock.adjust("2 minutes")
        yield* Fiber.join(host)
      }).pipe(Effect.provide(layer))
      assert.include(
        linesAt(records, "Error"),
        "App host/sensor was not started: it depends on host/broker, which does not run. Start that first; it stays down"
      )
    }))

  it.effect("stays down when it is stopped by hand while it waits for that", () =>
    Effect.gen(function*() {
      const { Broker, log, sensor } = broker(failAfter(2), "30 seconds")
      const Sensor = sensor(Restart.permanent({ schedule: Schedule.spaced("4 seconds") }))
      const look = Effect.gen(function*() {
        const app = yield* appAt("host/sensor")
        yield* App.stop(app, "not now")
        yield* Effect.sleep("1 minute")
        assert.strictEqual((yield* App.state(app))._tag, "Stopped")
      })
      const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(10, look)))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(host)
      assert.strictEqual(log.filter((line) => line.startsWith("+sensor")).length, 1)
    }))
})

describe("an app that two restarts have at the same time", () => {
  const soon = Restart.permanent({ schedule: Schedule.spaced("5 seconds"), budget: "none" })
  const laterOn = Restart.permanent({ schedule: Schedule.spaced("10 seconds"), budget: "none" })

  it.effect("is tried once for both, and goes on with its own policy when that has failed", () =>
    Effect.gen(function*() {
      const { log, note, start } = makeLog()
      const Broker = App.layer(
        "broker",
        Layer.effect(Connection, Effect.as(start("broker", inTurn(failAfter(2), Effect.never)), 1)),
        { restart: soon }
      )
      const fails = Effect.andThen(note("try"), Effect.fail("no sensor"))
      const Sensor = App.layer(
        "sensor",
        Effect.andThen(Connection, inTurn(start("sensor"), fails, fails, start("sensor"))),
        { restart: laterOn }
      )
      const byHand = Effect.flatMap(appAt("host/sensor"), (app) => Effect.exit(App.start(app)))
      const look = Effect.andThen(Effect.forkChild(byHand, { startImmediately: true }), Effect.sleep("1 minute"))
      const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(3, look)))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log.filter((line) => !line.startsWith("-")), [
        "+broker 0",
        "+sensor 0",
        "+broker 7",
        "try 7",
        "try 17",
        "+sensor 27"
      ])
    }))

  it.effect("has what depends on it started again, whichever of them has started it", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const Link = Context.Service<number>("test/Link")
      const Broker = App.layer(
        "broker",
        Layer.effect(Connection, Effect.as(start("broker", inTurn(failAfter(2), Effect.never)), 1)),
        { restart: soon }
      )
      const work = inTurn(failAfter(1), Effect.never)
      const middle = Effect.gen(function*() {
        yield* Connection
        yield* App.onStop("slow", Effect.sleep("3 seconds"))
        yield* start("middle", work)
        return 1
      })
      const Middle = App.layer("middle", Layer.effect(Link, middle), { restart: laterOn })
      const Sensor = App.layer("sensor", Effect.andThen(Effect.service(Link), start("sensor")))
      const all = Layer.provide(Sensor, Layer.provide(Middle, Broker))
      const host = yield* launch(Layer.mergeAll(all, looker(60, Effect.void)))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(host)
      assert.deepStrictEqual(log.filter((line) => line.startsWith("+")), [
        "+broker 0",
        "+middle 0",
        "+sensor 0",
        "+broker 9",
        "+middle 9",
        "+sensor 9"
      ])
    }))

  it.effect("waits for neither more than it depends on, where each of the two has what the other one waits for", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      class A extends Context.Service<A, string>()("test/core/App.policy/two/A") {}
      class B extends Context.Service<B, string>()("test/core/App.policy/two/B") {}
      class E extends Context.Service<E, string>()("test/core/App.policy/two/E") {}
      const a = App.layer("a", Layer.effect(A, Effect.as(start("a"), "a")))
      const b = App.layer("b", Layer.effect(B, Effect.as(start("b", inTurn(failAfter(10), Effect.never)), "b")), {
        restart: soon
      })
      const c = App.layer("c", Effect.andThen(A, Effect.andThen(B, start("c"))))
      const e = App.layer("e", Layer.effect(E, Effect.andThen(A, Effect.as(start("e"), "e"))))
      const slow = App.onStop("slow", Effect.sleep("3 seconds"))
      const d = App.layer("d", Effect.andThen(B, Effect.andThen(E, Effect.andThen(slow, start("d")))))
      const apps = Layer.mergeAll(
        Layer.provide(c, Layer.merge(a, b)),
        Layer.provide(d, Layer.merge(b, Layer.provide(e, a)))
      )
      // While this restart waits for the slow one, what that depends on as well has failed.
      const look = Effect.gen(function*() {
        yield* App.restart(yield* appAt("host/a"))
        yield* Effect.sleep("30 seconds")
      })
      const host = yield* launch(Layer.mergeAll(apps, looker(9, look)))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(host)
      const starts = log.filter((line) => line.startsWith("+") && !line.endsWith(" 0"))
      assert.deepStrictEqual(starts, ["+a 12", "+e 12", "+b 17", "+c 17", "+d 17"])
    }))

  it.effect("is restarted by hand at once, though one that depends on it fails again and again", () =>
    Effect.gen(function*() {
      // First while the policy of that one waits, and then while it tries.
      for (const at of [5, 13]) {
        const { log, note, start } = makeLog()
        const Broker = App.layer("broker", Layer.effect(Connection, Effect.as(start("broker"), 1)))
        const tries = Effect.andThen(Effect.andThen(note("try"), Effect.sleep("4 seconds")), Effect.fail("no sensor"))
        const Sensor = App.layer("sensor", Effect.andThen(Connection, inTurn(start("sensor", failAfter(1)), tries)), {
          restart: laterOn
        })
        const answers: Array<string> = []
        const look = Effect.gen(function*() {
          const restarted = App.restart(yield* appAt("host/broker"))
          answers.push(yield* Effect.match(restarted, { onSuccess: () => "up", onFailure: ({ message }) => message }))
        })
        const from = (yield* Clock.currentTimeMillis) / 1000
        const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(at, look)))
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(host)
        assert.include(log, `+broker ${from + at}`)
        const failed = "App host/sensor was not started: its start failed with no sensor. See its cause"
        assert.deepStrictEqual(answers, [at === 5 ? "up" : failed])
      }
    }))
})

describe("an app that somebody stops for good", () => {
  const laterOn = Restart.permanent({ schedule: Schedule.spaced("10 seconds"), budget: "none" })
  const slow = App.onStop("slow", Effect.sleep("3 seconds"))

  const staysDown = (path: string) =>
    Effect.gen(function*() {
      yield* Effect.sleep("1 minute")
      assert.strictEqual((yield* App.state(yield* appAt(path)))._tag, "Stopped")
    })

  it.effect("while it waits in the restart of what it depends on stays down, and the others come back", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      // Once it is stopped by then, once it stops.
      for (const at of [11, 14]) {
        log.length = 0
        const Broker = App.layer("broker", Layer.effect(Connection, Effect.as(start("broker"), 1)))
        const Sensor = App.layer("sensor", Effect.andThen(Connection, Effect.andThen(slow, start("sensor"))))
        const Other = App.layer(
          "other",
          Effect.andThen(Connection, Effect.andThen(App.onStop("slower", Effect.sleep("4900 millis")), start("other")))
        )
        const byHand = Effect.delay(Effect.flatMap(appAt("host/sensor"), App.stop("enough")), (at - 10) * 1000)
        const restarted = Effect.flatMap(appAt("host/broker"), App.restart)
        const look = Effect.andThen(Effect.all([restarted, byHand], { concurrency: 2 }), staysDown("host/sensor"))
        const host = yield* launch(
          Layer.mergeAll(Layer.provide(Layer.mergeAll(Sensor, Other), Broker), looker(10, look))
        )
        yield* TestClock.adjust("2 minutes")
        yield* Fiber.join(host)
        const starts = log.filter((line) => line.startsWith("+")).map((line) => line.split(" ")[0])
        assert.deepStrictEqual(starts.slice(3), ["+broker", "+other"])
      }
    }))

  it.effect("while it stops since its start has failed, or has just stopped, stays down", () =>
    Effect.gen(function*() {
      const { log, note, start } = makeLog()
      const Sensor = App.layer(
        "sensor",
        Effect.andThen(
          note("try"),
          inTurn(start("sensor", failAfter(5)), Effect.andThen(slow, Effect.fail("no broker")))
        ),
        { restart: laterOn }
      )
      // The second start fails at 15, and its stop takes until 18.
      const look = Effect.andThen(Effect.flatMap(appAt("host/sensor"), App.stop("enough")), staysDown("host/sensor"))
      const host = yield* launch(Layer.mergeAll(Sensor, looker(16, look)))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(host)
      assert.strictEqual(log.filter((line) => line.startsWith("try")).length, 2)
    }))

  it.effect("while a start by hand waits for what it depends on stays down, and that start says so", () =>
    Effect.gen(function*() {
      const { log, start } = makeLog()
      const Broker = App.layer(
        "broker",
        Layer.effect(Connection, Effect.as(start("broker", inTurn(failAfter(5), Effect.never)), 1)),
        { restart: laterOn }
      )
      const Sensor = App.layer("sensor", Effect.andThen(Connection, start("sensor")))
      const look = Effect.gen(function*() {
        const app = yield* appAt("host/sensor")
        yield* App.stop(app, "enough")
        const started = yield* Effect.forkChild(Effect.flip(App.start(app)), { startImmediately: true })
        yield* App.stop(app, "once more")
        yield* staysDown("host/sensor")
        assert.include((yield* Fiber.join(started)).message, "it was stopped during its start")
      })
      const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(7, look)))
      yield* TestClock.adjust("2 minutes")
      yield* Fiber.join(host)
      assert.strictEqual(log.filter((line) => line.startsWith("+sensor")).length, 1)
    }))

  it.effect("is told with those that were stopped with it, and who waits for the restart hears why it is none", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { start } = makeLog()
        const Broker = App.layer("broker", Layer.effect(Connection, Effect.as(start("broker", failAfter(5)), 1)), {
          restart: laterOn
        })
        const Sensor = App.layer("sensor", Effect.andThen(Connection, Effect.andThen(slow, start("sensor"))))
        const look = Effect.gen(function*() {
          const broker = yield* appAt("host/broker")
          const asked = yield* Effect.forkChild(Effect.flip(App.restart(broker)), { startImmediately: true })
          yield* App.stop(broker, "enough")
          assert.include((yield* Fiber.join(asked)).message, "somebody has stopped it meanwhile")
          yield* staysDown("host/sensor")
        })
        const host = yield* launch(Layer.mergeAll(Layer.provide(Sensor, Broker), looker(6, look)))
        yield* TestClock.adjust("2 minutes")
        yield* Fiber.join(host)
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(linesAt(records, "Error").slice(1), [
        "App host/sensor was not started: it depends on host/broker, which does not run. Start that first; it stays down"
      ])
    }))
})

describe("it is visible", () => {
  it.effect("in the log, the tree, the events and the metrics", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { start } = makeLog()
        const events: Array<string> = []
        const tree = yield* Deferred.make<Host.Tree>()
        const listen = Stream.runForEach(Host.events, (event) =>
          Effect.sync(() => {
            if (event.path !== "host/watched") return
            if (event._tag === "AppState") events.push(event.state)
            if (event._tag === "AppRestarting") events.push(`restart ${event.restart} in ${event.delay}`)
          }))
        const host = yield* launch(Layer.mergeAll(
          App.layer("first", Effect.forkDetach(listen, { startImmediately: true })),
          App.layer(
            "watched",
            Effect.andThen(Effect.yieldNow, inTurn(start("x", failAfter(10)), Effect.fail("no broker"), start("x"))),
            { restart: policy }
          ),
          looker(20, Effect.flatMap(Host.tree, (seen) => Deferred.succeed(tree, seen)))
        ))
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(host)
        assert.deepStrictEqual(events, [
          "starting",
          "ready",
          "stopping",
          "stopped",
          "restart 1 in 1000",
          "starting",
          "stopping",
          "stopped",
          "restart 2 in 1000",
          "starting",
          "ready",
          "stopping",
          "stopped"
        ])
        assert.strictEqual((yield* Deferred.await(tree)).apps.find(({ path }) => path === "host/watched")?.restarts, 2)
        const metric = (yield* Metric.snapshot).find(({ attributes, id }) =>
          id === "ambit_app_restarts_total" && attributes?.["app"] === "host/watched"
        )
        assert.deepStrictEqual(metric?.state, { count: 2, incremental: true })
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(
        linesAt(records, "Error").filter((line) => line.startsWith("App")),
        [
          "App host/watched failed 10.0 s after it was ready (task host/watched/work failed); it starts again in 1.0 s (restart 1)",
          "App host/watched failed to start; it starts again in 1.0 s (restart 2)"
        ]
      )
    }))
})

describe("bad options", () => {
  it.effect("are refused with their value and a remedy", () =>
    Effect.gen(function*() {
      const Sensor = App.layer("sensor", Effect.void, { restart: Restart.permanent({ healthyAfter: "soon" as never }) })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Sensor)))
      assert.instanceOf(error, InvalidOption)
      assert.include(error.message, "healthyAfter of the restart of app \"sensor\"")
    }).pipe(Effect.scoped))
})
