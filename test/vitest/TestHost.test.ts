import { App, Blocking, Host, Limits, Shutdown, Task, type TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import { execFileSync } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as realSleep } from "node:timers/promises"
import { block, cleansUp } from "../fixtures/functions.ts"
import { asTest, errorsOf } from "../support/asTest.ts"
import { gate } from "../support/gate.ts"

const refuse = Effect.fn("refuse")(function*() {
  return yield* Effect.uninterruptible(Effect.never)
})

const app = <R>(name: string, start: Effect.Effect<unknown, unknown, R>) => App.layer(name, start)

/** Real milliseconds of an effect, which must not hang. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const begin = performance.now()
    const value = yield* effect
    return { value, took: performance.now() - begin }
  })

describe("launch", () => {
  it.effect("returns when all apps are ready, after as much time as their start takes", () =>
    Effect.gen(function*() {
      const slow = App.layer("slow", Effect.sleep("3 seconds"))
      const slower = App.layer("slower", Effect.sleep("4500 millis"))
      const host = yield* TestHost.launch(Layer.merge(slow, slower))
      assert.strictEqual(yield* Clock.currentTimeMillis, 4500)
      assert.isTrue(host.control.health().ready)
    }))

  it.effect("fails as the start does, when everything has stopped", () =>
    Effect.gen(function*() {
      let released = false
      const broken = App.layer(
        "broken",
        Effect.andThen(
          Effect.acquireRelease(Effect.void, () => Effect.sync(() => (released = true))),
          Effect.andThen(Effect.sleep("1 second"), Effect.fail("no broker" as const))
        )
      )
      const error: TestHost.StartError<"no broker" | App.AppError> | TestHost.WouldHang = yield* Effect.flip(
        TestHost.launch(broken)
      )
      assert.strictEqual(error, "no broker")
      assert.isTrue(released)
    }))

  it.effect("of a start that hangs fails at its limit, and takes no time of the reader", () =>
    Effect.gen(function*() {
      const { took, value } = yield* timed(Effect.flip(TestHost.launch(App.layer("slow", Effect.never))))
      assert.deepInclude(value, { _tag: "StartTimeout", app: "host/slow", within: 20_000 })
      assert.strictEqual(yield* Clock.currentTimeMillis, 20_000)
      assert.isBelow(took, 2000)
    }))

  it.effect("fails with WouldHang when the start waits for what cannot come, and names it", () =>
    Effect.gen(function*() {
      const hanging = App.layer("hanging", Effect.never, { startWithin: "none" })
      const error = yield* Effect.flip(TestHost.launch(hanging, { name: "hub" }))
      assert.instanceOf(error, TestHost.WouldHang)
      assert.match(error.message, /^The wait for the start of hub would never end: .* Alive: hub\/hanging\/\(start\)\./)
    }))

  it.effect("with awaitReady: false leaves the time of the start to the test", () =>
    Effect.gen(function*() {
      const slow = App.layer("slow", Effect.sleep("3 seconds"))
      const host = yield* TestHost.launch(slow, { awaitReady: false })
      assert.strictEqual(host.control.health().state, "starting")
      yield* TestClock.adjust("2999 millis")
      assert.strictEqual(host.control.health().state, "starting")
      yield* TestClock.adjust("1 millis")
      yield* host.awaitReady
      assert.strictEqual(host.control.health().state, "running")
      assert.strictEqual(yield* Clock.currentTimeMillis, 3000)
    }))

  it.effect("runs apps with the limits that hold where nobody sets any (U1)", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("empty", Effect.void))
      assert.deepStrictEqual(host.control.limits, Limits.defaults)
    }))

  it.effect("returns when tasks that start at once, and those that start later, have begun (H1, H2, H3)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const note = (what: string) => Effect.sync(() => void log.push(what))
      const start = Effect.gen(function*() {
        yield* Task.spawn(Effect.andThen(note("now"), Effect.never), "now")
        yield* Task.spawn(note("done"), "done")
        yield* Task.spawn(Effect.andThen(note("later"), Effect.never), "later", { startImmediately: false })
        yield* note("started")
      })
      const host = yield* TestHost.launch(app("sensor", start))
      assert.deepStrictEqual(log, ["now", "done", "started", "later"])
      assert.deepStrictEqual((yield* host.tasks).map((task) => task.name), ["now", "later"])
    }))

  it.effect("refuses what a host refuses, and a hurry that is none (U3)", () =>
    Effect.gen(function*() {
      const messageOf = (launched: Effect.Effect<unknown, { readonly message: string }, any>) =>
        Effect.map(Effect.flip(launched) as Effect.Effect<{ readonly message: string }>, ({ message }) => message)
      const nothing = App.layer("nothing", Effect.void)
      assert.match(yield* messageOf(Effect.scoped(TestHost.launch(nothing, { name: "a/b" }))), /a host/)
      for (const awaitReady of [true, false]) {
        const options = { stopWithin: 0, awaitReady }
        assert.match(yield* messageOf(Effect.scoped(TestHost.launch(nothing, options))), /longer than zero/)
      }
      assert.match(yield* messageOf(Effect.scoped(TestHost.launch(5 as never))), /launched with one Layer/)
      for (const hurryWithin of [0, -1, Number.NaN, Infinity, "soon" as never]) {
        const launched = Effect.scoped(TestHost.launch(nothing, { hurryWithin }))
        assert.match(yield* messageOf(launched), /^hurryWithin of TestHost.launch is /)
      }
    }))

  it.effect("of a host that stops itself while it starts gives a host that has stopped", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(App.layer("once", Host.requestStop("done")))
      assert.strictEqual(host.control.health().state, "stopped")
      assert.strictEqual((yield* host.stop).reason, "done")
    }))

  it.effect("is of the host that the test has launched, and not of one that an app of it launches", () =>
    Effect.gen(function*() {
      const inner = app("inner", Effect.andThen(Effect.sleep("1 second"), Host.requestStop("done")))
      const run = Effect.map(Host.launch(inner, { name: "job" }), (report) => report.path)
      const host = yield* TestHost.launch(app(
        "outer",
        Effect.gen(function*() {
          yield* Task.spawn(Effect.andThen(run, Effect.never), "run")
          yield* Effect.sleep("2 seconds")
        })
      ))
      assert.strictEqual(yield* Clock.currentTimeMillis, 2000)
      assert.deepStrictEqual([host.name, host.control.health().state], ["host", "running"])
      const report = yield* host.stop
      assert.deepStrictEqual(report.tasks.map(({ path }) => path), ["host/outer/run"])
    }))

  it.effect("moves the clock first, so that no sleep in clean-up is cut short", () =>
    Effect.gen(function*() {
      let ended = -1
      const start = Effect.gen(function*() {
        const task = yield* Task.spawn(Effect.ensuring(Effect.never, Effect.sleep("2 seconds")), "wait")
        yield* task.interrupt()
        ended = yield* Clock.currentTimeMillis
      })
      yield* TestHost.launch(App.layer("sleepy", start, { startWithin: "none" }))
      assert.strictEqual(ended, 2000)
    }))
})

describe("looking around", () => {
  it.effect("a live task is found by its path, from the host on or below it (A1, A7)", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("sensor", Task.spawn(Effect.never, "poll")), { name: "hub" })
      for (const path of ["hub/sensor/poll", "sensor/poll"]) {
        const task = yield* host.task(path)
        assert.strictEqual(task.path, "hub/sensor/poll")
        assert.deepStrictEqual(task.status, { _tag: "Running", since: 0 })
      }
    }))

  it.effect("a task that is not there is a typed error that says what has become of it (A3, A4)", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        yield* Task.spawn(Effect.never, "poll")
        yield* Task.spawn(Effect.sleep("2 seconds"), "warm-up")
      })
      const host = yield* TestHost.launch(app("sensor", start), { name: "hub" })
      yield* TestClock.adjust("2 seconds")
      const ended = yield* Effect.flip(host.task("sensor/warm-up"))
      assert.strictEqual(
        ended.message,
        "hub has no task sensor/warm-up: it has ended (completed) at 2000 ms. There is hub/sensor/poll"
      )
      const unknown = yield* Effect.flip(host.task("sensor/pol"))
      assert.strictEqual(
        unknown.message,
        "hub has no task sensor/pol: there was none so far. There is hub/sensor/poll"
      )
    }))

  it.effect("the list of tasks is a snapshot (A2, A5)", () =>
    Effect.gen(function*() {
      const empty = yield* TestHost.launch(app("empty", Effect.void), { name: "empty" })
      assert.deepStrictEqual(yield* empty.tasks, [])
      const host = yield* TestHost.launch(app("sensor", Task.spawn(Effect.never, "poll")))
      const before = yield* host.tasks
      yield* before[0]!.interrupt()
      assert.deepStrictEqual(before.map((task) => task.path), ["host/sensor/poll"])
      assert.deepStrictEqual(yield* host.tasks, [])
    }))

  it.effect("events are all from the first one on, each with its time", () =>
    Effect.gen(function*() {
      const step = Effect.andThen(Effect.sleep("2 seconds"), Task.spawn(Effect.void, "second"))
      const host = yield* TestHost.launch(app("a", Effect.andThen(Effect.sleep("1 second"), Task.spawn(step, "first"))))
      yield* TestClock.adjust("3 seconds")
      const told = (yield* host.events).map((event) => `${event.at} ${event._tag} ${event.path}`)
      assert.deepStrictEqual(told, [
        "0 AppState host/a",
        "0 Started host/a/(start)",
        "1000 Started host/a/first",
        "1000 Ended host/a/(start)",
        "1000 AppState host/a",
        "3000 Started host/a/second",
        "3000 Ended host/a/second",
        "3000 Ended host/a/first"
      ])
    }))

  it.effect("a backoff is read off the events", () =>
    Effect.gen(function*() {
      let reads = 0
      const read = Effect.suspend(() => ++reads < 4 ? Effect.fail("broken") : Effect.never)
      const attempt = Task.spawn(Effect.ignore(read), "read").pipe(
        Effect.andThen(Effect.suspend(() => reads < 4 ? Effect.fail("again") : Effect.void)),
        Effect.retry(Schedule.exponential("1 second"))
      )
      const host = yield* TestHost.launch(app("sensor", Task.spawn(attempt, "readings")))
      yield* TestClock.adjust("7 seconds")
      const started = (yield* host.events).filter((event) => event._tag === "Started" && event.path.endsWith("/read"))
      assert.deepStrictEqual(started.map(({ at }) => at), [0, 1000, 3000, 7000])
    }))

  it.effect("run leaves a test its own services and its scope", () =>
    Effect.gen(function*() {
      class Own extends Context.Service<Own, string>()("test/Own") {}
      let released = false
      const host = yield* TestHost.launch(app("sensor", Effect.void))
      yield* Effect.scoped(Effect.gen(function*() {
        const own = yield* host.run(Own).pipe(Effect.provideService(Own, "of the test"))
        assert.strictEqual(own, "of the test")
        yield* host.run(Effect.acquireRelease(Effect.void, () => Effect.sync(() => (released = true))))
        assert.isFalse(released)
      }))
      assert.isTrue(released)
    }))

  it.effect("run gives a test the services of the apps, and those of the host", () =>
    Effect.gen(function*() {
      class Count extends Context.Service<Count, Ref.Ref<number>>()("test/Count") {}
      const counting = App.layer("counting", Layer.effect(Count, Ref.make(41)))
      const host = yield* TestHost.launch(counting)
      const value: number = yield* host.run(Effect.flatMap(Count, (count) => Ref.updateAndGet(count, (n) => n + 1)))
      assert.strictEqual(value, 42)
      const tree = yield* host.run(Host.tree)
      assert.deepStrictEqual(tree.apps.map(({ path, state }) => [path, state]), [["host/counting", "ready"]])
      assert.deepStrictEqual(tree, host.control.tree())
      const error = yield* Effect.flip(host.run(Effect.fail("typed" as const)))
      assert.strictEqual(error, "typed")
    }))
})

describe("awaitIdle", () => {
  const work = <E, R>(name: string, effect: Effect.Effect<unknown, E, R>) =>
    Task.spawn(effect, name, { kind: "foreground" })

  // At the end of the test the host stops, and refuses the next one.
  const untilClosed = <R>(spawned: Effect.Effect<unknown, unknown, R>) => Effect.ignore(spawned)

  it.effect("waits for chains, and lets as much time pass as they take (T1, G1, G3)", () =>
    Effect.gen(function*() {
      const third = work("third", Effect.sleep("3 seconds"))
      const second = work("second", Effect.andThen(Effect.sleep("2 seconds"), third))
      const first = work("first", Effect.andThen(Effect.sleep("1 second"), second))
      const host = yield* TestHost.launch(app("import", first))
      yield* host.awaitIdle()
      assert.strictEqual(yield* Clock.currentTimeMillis, 6000)
      assert.deepStrictEqual(yield* host.tasks, [])
    }))

  it.effect("does not wait for background tasks, unless it is told to (G2)", () =>
    Effect.gen(function*() {
      const start = Effect.andThen(
        work("copy", Effect.sleep("10 millis")),
        Task.spawn(Effect.sleep("1 minute"), "poll")
      )
      const host = yield* TestHost.launch(app("import", start))
      yield* host.awaitIdle()
      assert.strictEqual(yield* Clock.currentTimeMillis, 10)
      yield* host.awaitIdle({ background: true, within: "2 minutes" })
      assert.strictEqual(yield* Clock.currentTimeMillis, 60_000)
    }))

  it.effect("does not wait for the task that calls it (G4)", () =>
    Effect.gen(function*() {
      let idle = -1
      const start = Effect.gen(function*() {
        yield* work("copy", Effect.sleep("1 second"))
        yield* work(
          "last",
          Effect.andThen(Host.awaitIdle(), Effect.map(Clock.currentTimeMillis, (now) => (idle = now)))
        )
      })
      const host = yield* TestHost.launch(app("import", start))
      yield* host.awaitIdle()
      assert.strictEqual(idle, 1000)
    }))

  it.effect("of tasks that spawn for ever names who is busy, at its limit (T1)", () =>
    Effect.gen(function*() {
      let count = 0
      const again: Effect.Effect<unknown, unknown, TaskScope.TaskScope> = Effect.andThen(
        Effect.sleep("1 second"),
        Effect.suspend(() => untilClosed(work(`step-${++count}`, again)))
      )
      const host = yield* TestHost.launch(app("chain", work("step-0", again)))
      const error = yield* Effect.flip(host.awaitIdle({ within: "4500 millis" }))
      assert.instanceOf(error, TestHost.TestHostFailed)
      assert.deepStrictEqual(error.idle, { within: 4500, busy: ["host/chain/step-4"] })
      assert.strictEqual(
        error.message,
        "host is not idle after 4s 500ms; still busy:\n" +
          "  host/chain/step-4\n" +
          "Wait longer, or look at what these tasks wait for."
      )
      assert.strictEqual(yield* Clock.currentTimeMillis, 4500)
    }))

  it.effect("of tasks that spawn for ever and take no time ends as well (T1)", () =>
    Effect.gen(function*() {
      const again: Effect.Effect<unknown, unknown, TaskScope.TaskScope> = Effect.andThen(
        Effect.yieldNow,
        Effect.suspend(() => untilClosed(work("step", again)))
      )
      const host = yield* TestHost.launch(app("chain", work("step", again)))
      const { took, value } = yield* timed(Effect.flip(host.awaitIdle({ within: "1 second" })))
      assert.instanceOf(value, TestHost.TestHostFailed)
      assert.match(value.idle?.busy.join() ?? "", /^host\/chain\/step/)
      assert.isBelow(took, 5000)
    }))

  it.effect("has a limit where nobody sets one", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("stuck", work("wait", Effect.never)))
      const error = yield* Effect.flip(host.awaitIdle())
      assert.deepStrictEqual(error._tag === "TestHostFailed" && error.idle, {
        within: 30_000,
        busy: ["host/stuck/wait"]
      })
    }))

  it.effect("lists every failure on the way in one error, and they are told with it (T2)", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        yield* work("one", Effect.andThen(Effect.sleep("1 second"), Effect.fail(new Error("no paper"))))
        yield* work("two", Effect.andThen(Effect.sleep("2 seconds"), Effect.die("no ink")))
        yield* work("three", Effect.sleep("3 seconds"))
      })
      const host = yield* TestHost.launch(app("print", start))
      const error = yield* Effect.flip(host.awaitIdle())
      assert.instanceOf(error, TestHost.TestHostFailed)
      assert.deepStrictEqual(error.failures.map(({ path }) => path), ["host/print/one", "host/print/two"])
      assert.isUndefined(error.idle)
      assert.match(error.message, /^2 tasks of host failed, and the test did not expect it:\n/)
      assert.match(error.message, /\n {2}host\/print\/one: Error: no paper\n/)
      assert.match(error.message, /\n {2}host\/print\/two: Error: no ink\n/)
      assert.strictEqual(yield* Clock.currentTimeMillis, 3000)
    }))

  it.effect("that is too short, with failures on the way, carries both (T2)", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        yield* work("one", Effect.fail("no paper"))
        yield* work("two", Effect.never)
      })
      const host = yield* TestHost.launch(app("print", start))
      const error = yield* Effect.flip(host.awaitIdle({ within: "1 second" }))
      assert.instanceOf(error, TestHost.TestHostFailed)
      assert.deepStrictEqual(error.failures.map(({ path }) => path), ["host/print/one"])
      assert.deepStrictEqual(error.idle?.busy, ["host/print/two"])
      assert.match(error.message, /^host is not idle after 1s; still busy:\n {2}host\/print\/two\n/)
      assert.match(error.message, /1 task of host failed/)
    }))
})

describe("wait", () => {
  it.effect("lets as much time pass as an effect takes, and no more", () =>
    Effect.gen(function*() {
      let starts = 0
      const start = Effect.gen(function*() {
        starts++
        yield* Effect.sleep("2 seconds")
        yield* App.onStop("bye", Effect.sleep("3 seconds"))
      })
      const host = yield* TestHost.launch(app("sensor", start))
      const restart = Effect.flatMap(Host.apps, ([sensor]) => App.restart(sensor!))
      const report = yield* host.wait(host.run(restart))
      assert.strictEqual(report.took, 3000)
      assert.strictEqual(starts, 2)
      assert.strictEqual(yield* Clock.currentTimeMillis, 7000)
      assert.strictEqual(yield* Effect.flip(host.wait(Effect.fail("typed" as const))), "typed")
    }))

  it.effect("fails with WouldHang for what cannot come, and lets go of it", () =>
    Effect.gen(function*() {
      let interrupted = false
      const host = yield* TestHost.launch(app("sensor", Task.spawn(Effect.never, "poll")), { name: "hub" })
      const never = Effect.onInterrupt(Effect.never, () => Effect.sync(() => (interrupted = true)))
      const error = yield* Effect.flip(host.wait(never))
      assert.strictEqual(
        error.message,
        "The wait for an effect of hub would never end: nobody sleeps on the clock, and nothing happens. " +
          "Alive: hub/sensor/poll. Give it what it waits for first, or launch with awaitReady: false"
      )
      assert.isTrue(interrupted)
    }))
})

describe("stop", () => {
  it.effect("gives up a task that ignores interruption at exactly its limit (B2, B3)", () =>
    Effect.gen(function*() {
      for (const within of [300, 5000]) {
        const stubborn = App.layer("stubborn", Task.spawn(refuse(), "sulk"), { taskStopWithin: within })
        const host = yield* TestHost.launch(stubborn)
        const { took, value: report } = yield* timed(host.stop)
        assert.strictEqual(report.took, within)
        assert.deepStrictEqual(report.tasks.map(({ outcome, path, took }) => [path, outcome, took]), [
          ["host/stubborn/sulk", "abandoned", within]
        ])
        assert.isFalse(report.clean)
        assert.isBelow(took, 1000)
        yield* host.expectLeak("stubborn/sulk")
      }
      assert.strictEqual(yield* Clock.currentTimeMillis, 5300)
    }))

  it.effect("takes as long as its hooks, drain, tasks and resources, to the millisecond (B6, B10, G7)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const note = (what: string) => Effect.map(Clock.currentTimeMillis, (now) => void log.push(`${now} ${what}`))
      const start = Effect.gen(function*() {
        yield* Effect.acquireRelease(Effect.void, () => Effect.andThen(Effect.sleep("50 millis"), note("resource")))
        yield* App.onStop("hook", Effect.andThen(Effect.sleep("100 millis"), note("hook")))
        yield* Task.spawn(Effect.andThen(Effect.sleep("1 second"), note("drained")), "copy", { kind: "foreground" })
        for (const name of ["a", "b", "c", "d"]) {
          yield* Task.spawn(
            Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep("500 millis"), note(name))),
            name
          )
        }
        yield* Shutdown.on("finalWrite", "save", Effect.andThen(Effect.sleep("7 millis"), note("saved")))
      })
      const host = yield* TestHost.launch(app("sensor", start))
      const report = yield* host.stop
      assert.isTrue(report.clean)
      assert.deepStrictEqual(log, [
        "100 hook",
        "1000 drained",
        "1500 a",
        "1500 b",
        "1500 c",
        "1500 d",
        "1550 resource",
        "1557 saved"
      ])
      assert.strictEqual(report.took, 1557)
    }))

  it.effect("ends within the budget of the host, when everything hangs at once (B11, B17)", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        yield* Effect.acquireRelease(Effect.void, () => Effect.never)
        yield* App.onStop("hang", Effect.never)
        yield* Shutdown.on("stopping", "hang", Effect.never)
        yield* Shutdown.on("finalWrite", "hang", Effect.never)
        yield* Task.spawn(Effect.never, "drained", { kind: "foreground" })
        yield* Task.spawn(refuse(), "sulk")
        yield* Effect.forEach([1, 2, 3], () => Task.spawn(Effect.forever(Effect.sleep("100 millis")), "busy"))
      })
      const host = yield* TestHost.launch(app("stuck", start))
      const { took, value: report } = yield* timed(host.stop)
      assert.isFalse(report.clean)
      assert.strictEqual(report.took, 15_000)
      assert.isBelow(took, 10_000)
      yield* host.expectLeak("stuck/sulk")
    }))

  it.effect("gives the report of a stop that somebody else has asked for", () =>
    Effect.gen(function*() {
      const ending = App.layer(
        "ending",
        Task.spawn(Effect.andThen(Effect.sleep("5 seconds"), Host.requestStop("enough", 3)), "end")
      )
      const host = yield* TestHost.launch(ending)
      yield* TestClock.adjust("5 seconds")
      const report = yield* host.stop
      assert.deepStrictEqual([report.reason, report.exitCode], ["enough", 3])
      const exit = yield* host.exit
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, Host.HostFailed)
      assert.strictEqual(error.exitCode, 3)
    }))

  it.effect("asked for twice is one stop (B8, B9)", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("sensor", Task.spawn(Effect.never, "poll")))
      const reports = yield* Effect.all([host.stop, host.stop], { concurrency: "unbounded" })
      assert.strictEqual(reports[0], reports[1])
      assert.strictEqual(yield* host.stop, reports[0])
    }))

  it.effect("follows the limits that are set around the host", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("stubborn", Task.spawn(refuse(), "sulk")))
      assert.strictEqual((yield* host.stop).took, 70)
      yield* host.expectLeak("stubborn/sulk")
    }).pipe(Effect.provide(Limits.layer({ taskStop: "70 millis" }))))

  it.effect("waits for files and for real timers, and no limit passes meanwhile", () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "ambit-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true }))
      )
      const file = join(folder, "state.json")
      const save = Effect.forEach(
        Array.from({ length: 20 }, (_, round) => `${round}`),
        (round) => Effect.promise(() => writeFile(file, round))
      )
      const start = Effect.gen(function*() {
        yield* App.onStop("save", save)
        yield* Shutdown.on("finalWrite", "wait", Effect.promise(() => realSleep(60)))
      })
      const host = yield* TestHost.launch(app("saver", start))
      const report = yield* host.stop
      assert.deepStrictEqual(report.hooks.map(({ outcome, took }) => [outcome, took]), [
        ["completed", 0],
        ["completed", 0]
      ])
      assert.strictEqual(yield* Effect.promise(() => readFile(file, "utf8")), "19")
    }))

  it.effect("waits for calls on threads, and no limit passes meanwhile", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        yield* Task.spawn(Blocking.run(block, 80), "block", { kind: "foreground" })
        yield* Task.spawn(Blocking.run(cleansUp, gate(), 80), "clean")
      })
      const host = yield* TestHost.launch(app("indexer", start))
      yield* host.awaitIdle()
      const report = yield* host.stop
      assert.deepStrictEqual(report.tasks.map(({ outcome, path, took }) => [path, outcome, took]), [
        ["host/indexer/clean", "interrupted", 0],
        ["host/indexer/clean/cleansUp", "interrupted", 0]
      ])
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }).pipe(Effect.provide(BlockingPool.layer({ threads: 2, saturation: "none" }))))

  it.effect("does not wait for a timer that is far away", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        const controller = yield* Effect.acquireRelease(
          Effect.sync(() => new AbortController()),
          (controller) => Effect.sync(() => controller.abort())
        )
        void realSleep(60_000, undefined, controller).catch(() => {})
        yield* App.onStop("slow", Effect.sleep("2 seconds"))
      })
      const { took } = yield* timed(Effect.flatMap(TestHost.launch(app("waiting", start)), (host) => host.stop))
      assert.isBelow(took, 400)
    }))

  it.effect("waits no more than once for real work that does not end", () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "ambit-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true }))
      )
      // Nobody opens the other end, so the system never answers.
      const pipe = join(folder, "pipe")
      execFileSync("mkfifo", [pipe])
      const start = Effect.gen(function*() {
        yield* Effect.forkDetach(Effect.promise(() => readFile(pipe)))
        yield* Task.spawn(refuse(), "sulk")
        yield* App.onStop("slow", Effect.sleep("2 seconds"))
      })
      const { took, value: host } = yield* timed(Effect.gen(function*() {
        const host = yield* TestHost.launch(app("waiting", start))
        assert.strictEqual((yield* host.stop).took, 7000)
        return host
      }))
      assert.isAtLeast(took, 400)
      assert.isBelow(took, 2000)
      yield* host.expectLeak("waiting/sulk")
      yield* Effect.promise(() => writeFile(pipe, "the end"))
    }))

  it.effect("comes at the end of a test that does not stop, before what it acquired earlier is released", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const exit = yield* asTest(Effect.gen(function*() {
        yield* Effect.acquireRelease(Effect.void, () => Effect.sync(() => log.push("broker closed")))
        const start = App.onStop("bye", Effect.andThen(Effect.sleep("3 seconds"), Effect.sync(() => log.push("bye"))))
        yield* TestHost.launch(app("sensor", start))
        yield* Effect.acquireRelease(Effect.void, () => Effect.sync(() => log.push("page closed")))
      }))
      assert.deepStrictEqual(errorsOf(exit), [])
      assert.deepStrictEqual(log, ["page closed", "bye", "broker closed"])
    }))
})

describe("a signal", () => {
  const start = Effect.gen(function*() {
    yield* App.onStop("slow", Effect.sleep("3 seconds"))
    yield* Task.spawn(refuse(), "sulk")
    yield* Task.spawn(Effect.never, "poll")
  })

  it.effect("asks for a stop, with its name as the reason (Q7)", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("sensor", App.onStop("slow", Effect.sleep("3 seconds"))))
      assert.deepStrictEqual(yield* host.signal(), { _tag: "Stop" })
      assert.deepStrictEqual(host.control.stop()?.phase, "draining")
      yield* TestClock.adjust("2999 millis")
      assert.strictEqual(host.control.health().state, "stopping")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(host.control.health().state, "stopped")
      const report = yield* host.stop
      assert.deepStrictEqual([report.reason, report.took, report.clean], ["SIGTERM", 3000, true])
      assert.isUndefined(report.hurried)
    }))

  it.effect("whose stop takes no time has stopped the host when it returns", () =>
    Effect.gen(function*() {
      const turns = Effect.forEach([1, 2, 3, 4, 5], () => Effect.yieldNow)
      const host = yield* TestHost.launch(app("sensor", App.onStop("turns", turns)))
      yield* host.signal()
      assert.strictEqual(host.control.health().state, "stopped")
    }))

  it.effect("that is the second one hurries: hooks are cut short, and what is left has two seconds (Q7)", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("sensor", start))
      yield* host.signal("SIGINT")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* host.signal("SIGINT"), { _tag: "Hurry", within: 2000 })
      const report = yield* host.stop
      assert.isTrue(report.hurried)
      assert.strictEqual(report.reason, "SIGINT")
      assert.isAtLeast(report.took, 1000)
      assert.isAtMost(report.took, 3000)
      assert.deepStrictEqual(report.hooks.map(({ outcome, took }) => [outcome, took]), [["abandoned", 1000]])
      yield* host.expectLeak("sensor/sulk")
    }))

  it.effect("hurries as much as the launch says", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("sensor", start), { hurryWithin: "100 millis" })
      yield* host.signal()
      assert.deepStrictEqual(yield* host.signal(), { _tag: "Hurry", within: 100 })
      assert.isAtMost((yield* host.stop).took, 100)
      yield* host.expectLeak("sensor/sulk")
    }))

  it.effect("that is the third one is the end: it says what is still alive, and nothing waits or is missed (Q7)", () =>
    Effect.gen(function*() {
      const exit = yield* asTest(Effect.gen(function*() {
        const host = yield* TestHost.launch(app("sensor", start))
        yield* host.signal()
        yield* host.signal()
        const now = yield* Clock.currentTimeMillis
        const last = { _tag: "Exit", alive: ["host/sensor/sulk"] } as const
        assert.deepStrictEqual(yield* host.signal(), last)
        assert.deepStrictEqual(yield* host.signal(), last)
        assert.strictEqual(yield* Clock.currentTimeMillis, now)
      }))
      assert.deepStrictEqual(errorsOf(exit), [])
    }))
})

describe("settle", () => {
  it.effect("waits for a real promise, while the time of the host stands still", () =>
    Effect.gen(function*() {
      let ticks = 0
      const tick = Effect.repeat(Effect.sync(() => ++ticks), Schedule.spaced("1 second"))
      const host = yield* TestHost.launch(app("sensor", Task.spawn(tick, "tick")))
      const value = yield* host.settle(async () => {
        await realSleep(30)
        return 42
      })
      assert.strictEqual(value, 42)
      assert.strictEqual(ticks, 1)
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }))

  it.effect("what waits in the host for the same promise has gone on when it returns", () =>
    Effect.gen(function*() {
      const { promise, resolve } = Promise.withResolvers<string>()
      let got = ""
      const wait = Effect.gen(function*() {
        const value = yield* Effect.promise(() => promise)
        yield* Effect.forEach([1, 2, 3, 4, 5], () => Effect.yieldNow)
        got = value
      })
      const host = yield* TestHost.launch(app("reader", Task.spawn(wait, "wait")))
      yield* host.settle(async () => {
        await realSleep(5)
        resolve("there")
        return promise
      })
      assert.strictEqual(got, "there")
      assert.deepStrictEqual(yield* host.tasks, [])
    }))

  it.effect("lets as much time pass as the promise needs, and no more than it is told", () =>
    Effect.gen(function*() {
      const { promise, resolve } = Promise.withResolvers<void>()
      const upload = Effect.andThen(Effect.sleep("7 seconds"), Effect.sync(resolve))
      const host = yield* TestHost.launch(app("uploader", Task.spawn(upload, "upload")))
      const options = { advance: "3 seconds", within: "50 millis" } as const
      const error = yield* Effect.flip(host.settle(() => promise, options))
      assert.deepInclude(error, { _tag: "NotSettled", within: 50, advanced: 3000 })
      assert.strictEqual(
        error.message,
        "The promise was not settled within 50ms of real time, in which 3s of the time of host passed. " +
          "Raise within, or say with advance how much time of the host it needs"
      )
      yield* host.settle(() => promise, { advance: "1 hour" })
      assert.strictEqual(yield* Clock.currentTimeMillis, 7000)
    }))

  it.effect("fails when the promise is rejected, and refuses limits that are none", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(app("empty", Effect.void))
      const rejected = yield* Effect.flip(host.settle(() => Promise.reject(new Error("no network"))))
      assert.strictEqual(rejected._tag, "UnknownError")
      assert.strictEqual((rejected.cause as Error).message, "no network")
      const refused = yield* Effect.flip(host.settle(() => Promise.resolve(), { within: 0 }))
      assert.match(refused.message, /^within of settle is "0": /)
    }))
})

describe("under the live clock", () => {
  it.live("a host starts, waits and stops in real time", () =>
    Effect.gen(function*() {
      const work = Task.spawn(Effect.sleep("20 millis"), "copy", { kind: "foreground" })
      const launched = TestHost.launch(app("import", Effect.andThen(Effect.sleep("20 millis"), work)))
      const { took, value: host } = yield* timed(Effect.tap(launched, (host) => host.awaitIdle()))
      assert.isAtLeast(took, 39)
      const report = yield* host.stop
      assert.isTrue(report.clean)
      assert.isTrue(Option.isNone(yield* Effect.option(host.task("import/copy"))))
    }).pipe(Effect.provide(Logger.layer([]))))
})
