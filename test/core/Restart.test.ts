import {
  App,
  Host,
  InvalidOption,
  Job,
  Restart,
  RestartExhausted,
  ShutdownReport,
  Task,
  TaskScope,
  TimeLimitExceeded
} from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const inScope = TaskScope.layer("app")

/** What notes when it begins, and then does what it is told, the last thing again and again. */
const makeFlaky = <E = string>(...runs: ReadonlyArray<Effect.Effect<unknown, E>>) => {
  const starts: Array<number> = []
  const effect = Effect.flatMap(Clock.currentTimeMillis, (at) => {
    starts.push(at)
    return runs[Math.min(starts.length, runs.length) - 1]!
  })
  return { starts, effect }
}

const fails = Effect.fail("no broker")

const everySecond = Schedule.spaced("1 second")

/** The outcome of a task that has ended. */
const outcomeOf = ({ status }: Task.Task) => status._tag === "Ended" ? status.outcome : status._tag

const errorOf = (task: Task.Task) =>
  task.status._tag === "Ended" && Exit.isFailure(task.status.exit) ? task.status.exit.cause : undefined

const exhaustedOf = (task: Task.Task): RestartExhausted => {
  const reason = errorOf(task)?.reasons.find((one) => one._tag === "Fail")
  assert.instanceOf(reason?.error, RestartExhausted)
  return reason.error
}

describe("what is started again", () => {
  it.effect("F6, R1: a task that fails is started again after d, 2d, 4d, up to the cap", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails)
      const schedule = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("5 seconds")])
      const task = yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule, budget: "none" }) })
      yield* TestClock.adjust("17 seconds")
      assert.deepStrictEqual(starts, [0, 1000, 3000, 7000, 12_000, 17_000])
      assert.strictEqual(task.restarts, 5)
    }).pipe(Effect.provide(inScope)))

  it.effect("by default it waits a second, jittered and doubled, at most a minute, and 5 times in 5 minutes", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails)
      const restart = Restart.permanent({ onExhausted: "giveUp" })
      const task = yield* Task.spawn(effect, "poll", { restart, onFailure: "ignore" })
      yield* TestClock.adjust("10 minutes")
      const waits = starts.slice(1).map((at, nth) => at - starts[nth]!)
      assert.strictEqual(waits.length, 5)
      for (const [nth, wait] of waits.entries()) {
        assert.isAtLeast(wait, 0.8 * 1000 * 2 ** nth)
        assert.isAtMost(wait, Math.min(60_000, 1.2 * 1000 * 2 ** nth) + 1)
      }
      assert.strictEqual(outcomeOf(task), "failed")
      const endless = makeFlaky(fails)
      yield* Task.spawn(endless.effect, "endless", { restart: Restart.permanent({ budget: "none" }) })
      yield* TestClock.adjust("30 minutes")
      const later = endless.starts.slice(-5).map((at, nth, all) => nth === 0 ? 60_000 : at - all[nth - 1]!)
      for (const wait of later) assert.strictEqual(wait, 60_000)
    }).pipe(Effect.provide(inScope)))

  it.effect("F4: a permanent task that returns is started again", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(Effect.void)
      yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule: everySecond }) })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(starts, [0, 1000, 2000])
    }).pipe(Effect.provide(inScope)))

  it.effect("a permanent task that interrupts itself is started again", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(Effect.interrupt)
      yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule: everySecond }) })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(starts, [0, 1000])
    }).pipe(Effect.provide(inScope)))

  it.effect("a transient task is started again when it fails, and not when it returns or interrupts itself", () =>
    Effect.gen(function*() {
      for (const last of [Effect.succeed("done"), Effect.interrupt]) {
        const { effect, starts } = makeFlaky(fails, Effect.die("bug"), last)
        const task = yield* Task.spawn(effect, "sync", { restart: Restart.transient({ schedule: everySecond }) })
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(starts.length, 3)
        assert.strictEqual(outcomeOf(task), last === Effect.interrupt ? "interrupted" : "completed")
        assert.strictEqual(task.restarts, 2)
      }
    }).pipe(Effect.provide(inScope)))

  it.effect("a temporary task is not started again", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails)
      const task = yield* Task.spawn(effect, "once", { restart: Restart.temporary, onFailure: "ignore" })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([starts, outcomeOf(task)], [[0], "failed"])
    }).pipe(Effect.provide(inScope)))

  it.effect("a defect is a failure as an error is", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(Effect.die(new Error("bug")))
      yield* Task.spawn(effect, "poll", { restart: Restart.transient({ schedule: everySecond }) })
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(starts, [0, 1000, 2000])
    }).pipe(Effect.provide(inScope)))

  it.effect("a run over its limit is a failure, and the limit is that of each run", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(Effect.never)
      const task = yield* Task.spawn(effect, "poll", {
        within: "10 seconds",
        restart: Restart.permanent({
          schedule: everySecond,
          budget: { restarts: 1, within: "1 hour" },
          onExhausted: "giveUp"
        })
      })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(starts, [0, 11_000])
      assert.instanceOf(exhaustedOf(task).cause, TimeLimitExceeded)
    }).pipe(Effect.provide(inScope)))

  it.effect("what a run has forked ends before the next one begins", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const run = Effect.gen(function*() {
        log.push("begin")
        yield* Effect.forkChild(Effect.ensuring(Effect.never, Effect.sync(() => log.push("child ends"))), {
          startImmediately: true
        })
        return yield* fails
      })
      yield* Task.spawn(run, "poll", { restart: Restart.permanent({ schedule: everySecond }) })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(log.slice(0, 3), ["begin", "child ends", "begin"])
    }).pipe(Effect.provide(inScope)))

  it.effect("it keeps its path, its handle and its place in the scope", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const { effect } = makeFlaky(fails, Effect.never)
      const task = yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule: everySecond }) })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual((yield* TaskScope.tasks(scope)).map(({ path }) => path), ["app/poll"])
      assert.deepStrictEqual([task.path, task.status._tag], ["app/poll", "Running"])
      assert.strictEqual(yield* task.interrupt("enough"), true)
    }).pipe(Effect.provide(inScope)))
})

describe("health", () => {
  const healthy = Effect.andThen(Effect.sleep("1 minute"), fails)

  it.effect("R2: after a healthy run, schedule and budget begin anew", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails, fails, fails, healthy, fails, fails, fails, Effect.never)
      yield* Task.spawn(effect, "poll", {
        restart: Restart.permanent({
          schedule: Schedule.exponential("1 second"),
          budget: { restarts: 4, within: "1 hour" },
          healthyAfter: "1 minute"
        })
      })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(starts, [0, 1000, 3000, 7000, 68_000, 70_000, 74_000, 82_000])
    }).pipe(Effect.provide(inScope)))

  it.effect("R2: a run that ends a moment before it is healthy changes nothing", () =>
    Effect.gen(function*() {
      const almost = Effect.andThen(Effect.sleep(59_999), fails)
      const { effect } = makeFlaky(almost)
      const task = yield* Task.spawn(effect, "poll", {
        restart: Restart.permanent({
          schedule: everySecond,
          budget: { restarts: 2, within: "1 hour" },
          healthyAfter: "1 minute",
          onExhausted: "giveUp"
        })
      })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual([outcomeOf(task), task.restarts], ["failed", 2])
    }).pipe(Effect.provide(inScope)))

  it.effect("restarts that lie farther apart than the window of the budget do not use it up", () =>
    Effect.gen(function*() {
      const { effect } = makeFlaky(fails)
      const task = yield* Task.spawn(effect, "poll", {
        restart: Restart.permanent({
          schedule: Schedule.spaced("10 seconds"),
          budget: { restarts: 2, within: "20 seconds" },
          onExhausted: "giveUp"
        })
      })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual([outcomeOf(task), task.restarts], ["Restarting", 60])
    }).pipe(Effect.provide(inScope)))
})

describe("when the budget is used up", () => {
  const budget = { restarts: 2, within: "1 minute" } as const

  it.effect("R3: of a permanent task the host stops, with the reason, and launch fails", () =>
    Effect.gen(function*() {
      const start = Task.spawn(fails, "poll", { restart: Restart.permanent({ schedule: everySecond, budget }) })
      const host = yield* Effect.forkChild(Host.launch(App.layer("sensor", start)))
      yield* TestClock.adjust("10 seconds")
      const error = yield* Effect.flip(Fiber.join(host))
      assert.instanceOf(error, Host.HostFailed)
      assert.strictEqual(error.report.reason, "task host/sensor/poll has used up its restarts")
      assert.isFalse(error.report.tasks.some(({ path }) => path === "host/sensor/poll"))
    }))

  it.effect("R3: a transient task cools down and begins anew, at most so many times, and then stays down", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails)
      const task = yield* Task.spawn(effect, "sync", {
        restart: Restart.transient({
          schedule: everySecond,
          budget,
          onExhausted: Restart.coolDown({ pause: "1 hour", cycles: 2 })
        })
      })
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(
        starts,
        [0, 1000, 2000, 3_602_000, 3_603_000, 3_604_000, 7_204_000, 7_205_000, 7_206_000]
      )
      assert.strictEqual(outcomeOf(task), "failed")
      assert.strictEqual(exhaustedOf(task).message.includes("it has used up its 2 restarts in 1"), true)
    }).pipe(Effect.provide(inScope)))

  it.effect("R3: by default a transient task cools down for 5 minutes, 3 times; a permanent one stops what it is in", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails)
      const task = yield* Task.spawn(effect, "sync", { restart: Restart.transient({ schedule: everySecond, budget }) })
      yield* TestClock.adjust("1 day")
      assert.strictEqual(starts.length, 3 * 4)
      assert.strictEqual(starts[3]! - starts[2]!, 300_000)
      assert.strictEqual(outcomeOf(task), "failed")
      const scope = yield* TaskScope.make("other")
      yield* TaskScope.spawn(scope, fails, "poll", { restart: Restart.permanent({ schedule: everySecond, budget }) })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(scope.state._tag, "Closed")
    }).pipe(Effect.scoped, Effect.provide(inScope)))

  it.effect("R3: a temporary task stays down", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(fails, "once", { restart: Restart.temporary })
      yield* TestClock.adjust("1 day")
      assert.strictEqual(outcomeOf(task), "failed")
    }).pipe(Effect.provide(inScope)))

  it.effect("giveUp lets the task fail with what was used up and with the last error, and its onFailure count", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const task = yield* Task.spawn(fails, "poll", {
          restart: Restart.permanent({ schedule: everySecond, budget, onExhausted: "giveUp" })
        })
        yield* TestClock.adjust("10 seconds")
        const error = exhaustedOf(task)
        assert.deepStrictEqual(
          [error.path, error.restarts, error.within, error.cause],
          ["app/poll", 2, 60_000, "no broker"]
        )
        assert.deepStrictEqual(
          linesAt(records, "Error").map((line) => line.replace(/after [^;]*; /, "; ")),
          [
            "Task app/poll failed ; it starts again in 1.0 s (restart 1)",
            "Task app/poll failed ; it starts again in 1.0 s (restart 2)",
            "Task app/poll failed ; its restarts are used up, and everything else goes on"
          ]
        )
      }).pipe(Effect.provide(inScope), Effect.provide(layer))
    }))

  it.effect("stopApp stops the app, and the host goes on", () =>
    Effect.gen(function*() {
      const start = Task.spawn(fails, "poll", {
        restart: Restart.permanent({ schedule: everySecond, budget, onExhausted: "stopApp" })
      })
      const states = yield* Deferred.make<ReadonlyArray<string>>()
      const look = Effect.gen(function*() {
        yield* Effect.sleep("1 minute")
        yield* Deferred.succeed(states, (yield* Host.tree).apps.map(({ state }) => state))
        yield* Host.requestStop("seen")
      })
      const apps = [App.layer("sensor", start), App.layer("looker", Task.spawn(look, "look"))] as const
      const host = yield* Effect.forkChild(Host.launch(Layer.mergeAll(...apps)))
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* Deferred.await(states), ["stopped", "ready"])
      yield* Fiber.join(host)
    }))

  it.effect("the error counts in words", () =>
    Effect.gen(function*() {
      for (const [restarts, words] of [[1, "its 1 restart in 1m"], [2, "its 2 restarts in 1m"]] as const) {
        const task = yield* Task.spawn(fails, "poll", {
          restart: Restart.permanent({
            schedule: everySecond,
            budget: { restarts, within: "1 minute" },
            onExhausted: "giveUp"
          })
        })
        yield* TestClock.adjust("10 seconds")
        assert.include(exhaustedOf(task).message, words)
      }
    }).pipe(Effect.provide(inScope)))

  it.effect("a schedule that has ended is used up as a budget is", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(fails, "poll", {
        restart: Restart.permanent({ schedule: Schedule.recurs(2), onExhausted: "giveUp" })
      })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(task.restarts, 2)
      assert.include(exhaustedOf(task).message, "the schedule of its restarts has ended")
    }).pipe(Effect.provide(inScope)))
})

describe("what must not be restarted", () => {
  class BadPassword {
    readonly _tag = "BadPassword"
  }
  class Offline {
    readonly _tag = "Offline"
  }
  const decideOn = Restart.permanent<BadPassword | Offline>({
    schedule: everySecond,
    decide: (failure) =>
      failure._tag === "Die" ? "stopHost" : failure.error._tag === "BadPassword" ? "giveUp" : "restart"
  })

  it.effect("R4: an error that a restart cannot mend leads to none, and the task fails with it", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { effect, starts } = makeFlaky<BadPassword | Offline>(
          Effect.fail(new Offline()),
          Effect.fail(new BadPassword())
        )
        const task = yield* Task.spawn(effect, "login", { restart: decideOn })
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(starts, [0, 1000])
        assert.instanceOf(yield* Effect.flip(task.join), BadPassword)
      }).pipe(Effect.provide(inScope), Effect.provide(layer))
      assert.include(
        linesAt(records, "Error").at(-1),
        "its policy says that no restart mends this, and everything else goes on"
      )
    }))

  it.effect("R4: a fatal failure stops the host at once, also a defect", () =>
    Effect.gen(function*() {
      const start = Task.spawn(Effect.die("corrupt"), "login", { restart: decideOn })
      const host = yield* Effect.forkChild(Host.launch(App.layer("sensor", start)))
      yield* TestClock.adjust(0)
      assert.instanceOf(yield* Effect.flip(Fiber.join(host)), Host.HostFailed)
    }))

  it.effect("of several failures in one cause the gravest counts", () =>
    Effect.gen(function*() {
      const both = Effect.ensuring(Effect.fail(new Offline()), Effect.die("corrupt"))
      const scope = yield* TaskScope.TaskScope
      yield* Task.spawn(both, "login", { restart: decideOn })
      yield* TestClock.adjust(0)
      assert.strictEqual(scope.state._tag, "Closed")
    }).pipe(Effect.provide(inScope)))

  it.effect("a verdict that throws, or that there is none of, ends the task with both failures", () =>
    Effect.gen(function*() {
      for (const decide of [() => assert.fail("bug in decide"), () => "never" as never]) {
        const task = yield* Task.spawn(fails, "poll", {
          restart: Restart.permanent({ decide }),
          onFailure: "ignore"
        })
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(errorOf(task)?.reasons.map(({ _tag }) => _tag), ["Fail", "Die"])
      }
    }).pipe(Effect.provide(inScope)))
})

describe("a stop", () => {
  it.effect("F7: ends a run that goes on, and it does not run again", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(Effect.never)
      const scope = yield* TaskScope.TaskScope
      yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule: everySecond }) })
      const report = yield* TaskScope.close(scope)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(starts, [0])
      assert.deepStrictEqual(report.tasks.map(({ outcome, restarts }) => [outcome, restarts]), [[
        "interrupted",
        undefined
      ]])
    }).pipe(Effect.provide(inScope)))

  it.effect("R5: during the delay ends it, and the report says how often it was started again", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails)
      const scope = yield* TaskScope.TaskScope
      yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule: everySecond }) })
      yield* TestClock.adjust("1500 millis")
      const report = yield* TaskScope.close(scope)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(starts, [0, 1000])
      assert.deepStrictEqual(report.tasks.map(({ outcome, restarts }) => [outcome, restarts]), [["interrupted", 1]])
      assert.include(ShutdownReport.format(report), "1 restart")
    }).pipe(Effect.provide(inScope)))

  it.effect("R5: of an app during the delay ends a foreground task at once, and no drain waits for it", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails)
      const start = Effect.gen(function*() {
        yield* Task.spawn(effect, "poll", {
          kind: "foreground",
          restart: Restart.permanent({ schedule: Schedule.spaced("1 minute") })
        })
        yield* Task.after(Host.requestStop("enough"), "stopper", "500 millis")
      })
      const host = yield* Effect.forkChild(Host.launch(App.layer("sensor", start)))
      yield* TestClock.adjust("20 seconds")
      const report = yield* Fiber.join(host)
      assert.deepStrictEqual([starts, report.took], [[0], 0])
    }))

  it.effect("R5: of an app with many tasks in their delay starts none of them, also when the delay ends meanwhile", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(fails)
      const count = 4000
      const app = yield* Deferred.make<App.App>()
      const start = Effect.gen(function*() {
        const restart = Restart.permanent({ schedule: Schedule.spaced("1 second") })
        for (let nth = 0; nth < count; nth++) yield* Task.spawn(effect, "poll", { restart })
        yield* App.onStop("hook", Effect.sleep("3 seconds"))
        yield* Deferred.succeed(app, yield* App.CurrentApp)
      })
      yield* Effect.forkScoped(Layer.launch(App.layer("sensor", start)))
      yield* TestClock.adjust(999)
      // They are interrupted a few at a time, and their delays end before it comes to all of them.
      yield* Effect.forkChild(App.stop(yield* Deferred.await(app)), { startImmediately: true })
      yield* TestClock.adjust(1)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(starts.length, count)
    }).pipe(Effect.scoped, Effect.provide(makeRecorder().layer)))

  it.effect("a task that fails while its app stops is not started again, and nobody says so", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      const { effect, starts } = makeFlaky(Effect.andThen(Effect.sleep("1 second"), fails))
      const start = Effect.gen(function*() {
        yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule: Schedule.spaced(1) }) })
        yield* App.onStop("hook", Effect.sleep("3 seconds"))
        yield* Task.after(Host.requestStop("enough"), "stopper", "500 millis")
      })
      const host = yield* Effect.forkChild(Effect.provide(Host.launch(App.layer("sensor", start)), layer))
      yield* TestClock.adjust("20 seconds")
      yield* Effect.exit(Fiber.join(host))
      assert.deepStrictEqual(starts, [0])
      assert.deepStrictEqual(
        records.map(({ message }) => message).filter((message) => message.startsWith("Task")),
        ["Task host/sensor/poll failed after 1.0 s; its scope is stopping anyway"]
      )
    }))

  it.effect("the clean-up of a run that a stop ends has its time", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const scope = yield* TaskScope.TaskScope
      const run = Effect.onInterrupt(Effect.never, () =>
        Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => log.push("cleaned up"))))
      yield* Task.spawn(run, "poll", { restart: Restart.permanent() })
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      const report = yield* Fiber.join(closing)
      assert.deepStrictEqual([log, report.clean], [["cleaned up"], true])
    }).pipe(Effect.provide(inScope)))
})

describe("the event loop", () => {
  it.effect("has its turn before each restart without a pause", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(Effect.void)
      const restart = Restart.permanent({
        schedule: Schedule.spaced(0),
        budget: { restarts: 100, within: "1 hour" },
        onExhausted: "giveUp"
      })
      yield* Task.spawn(effect, "busy", { restart, onFailure: "ignore" })
      assert.deepStrictEqual(starts, [0])
    }).pipe(Effect.provide(inScope), Effect.provide(makeRecorder().layer)))

  it.live("has its turns beside a task that ends before its first wait, again and again without a pause", () =>
    Effect.gen(function*() {
      const { effect, starts } = makeFlaky(Effect.void)
      const restart = Restart.permanent({ schedule: Schedule.spaced(0), budget: "none" })
      const task = yield* Task.spawn(effect, "busy", { restart })
      yield* Effect.sleep("5 millis")
      assert.strictEqual(yield* task.interrupt("enough"), true)
      assert.isAbove(starts.length, 1)
    }).pipe(Effect.provide(inScope), Effect.provide(makeRecorder().layer)))

  it.live("has its turns while many tasks that have failed together are started again", () =>
    Effect.gen(function*() {
      const count = 5000
      const waiting: Array<() => void> = []
      let again = 0
      const all = yield* Deferred.make<void>()
      const wait = Effect.callback<void, string>((resume) => void waiting.push(() => resume(fails)))
      const done = Effect.sync(() => {
        if (++again === count) Deferred.doneUnsafe(all, Effect.void)
      })
      const restart = Restart.transient({ schedule: Schedule.spaced(0), budget: "none" })
      for (let nth = 0; nth < count; nth++) {
        yield* Task.spawn(makeFlaky(wait, done).effect, `task-${nth}`, { restart })
      }
      const turns: Array<number> = []
      let watching = true
      const look = () => {
        turns.push(again)
        if (watching) setImmediate(look)
      }
      setImmediate(look)
      for (const fail of waiting) fail()
      yield* Deferred.await(all)
      watching = false
      // Not all of them in one or two turns.
      assert.isAbove(new Set(turns).size, 5)
    }).pipe(Effect.provide(inScope), Effect.provide(makeRecorder().layer)))
})

describe("it is visible", () => {
  it.effect("F5: each restart is logged with its reason", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { effect } = makeFlaky(fails, Effect.die("bug"), Effect.void, Effect.interrupt, Effect.never)
        yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule: everySecond }) })
        yield* TestClock.adjust("10 seconds")
      }).pipe(Effect.provide(inScope), Effect.provide(layer))
      const said = [...linesAt(records, "Error"), ...linesAt(records, "Warn")].map((line) =>
        line.replace(/after [^;,]*([;,])/, "$1")
      )
      assert.deepStrictEqual(said, [
        "Task app/poll failed ; it starts again in 1.0 s (restart 1)",
        "Task app/poll failed ; it starts again in 1.0 s (restart 2)",
        "Task app/poll returned , but it is permanent; it starts again in 1.0 s (restart 3)",
        "Task app/poll interrupted itself , but it is permanent; it starts again in 1.0 s (restart 4)"
      ])
    }))

  it.effect("F5: also when a job of the task has said the failure, which is not said twice", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      const job = Job.effect("fetch", () => Effect.fail("no broker"))
      yield* Effect.gen(function*() {
        yield* Task.spawn(Job.run(job)(), "poll", { restart: Restart.transient({ schedule: Schedule.recurs(1) }) })
        yield* TestClock.adjust("1 second")
      }).pipe(Effect.provide(inScope), Effect.provide(layer))
      const restarts = records.filter(({ message }) => message.includes("starts again"))
      assert.deepStrictEqual(
        restarts.map(({ level, message }) => [level, message]),
        [
          ["Warn", "Task app/poll failed after 0 ms; it starts again at once (restart 1)"],
          [
            "Warn",
            "Task app/poll failed after 0 ms; it has used up its restarts, and it starts again in 5m (restart 2, after cool-down 1)"
          ]
        ]
      )
      assert.strictEqual(linesAt(records, "Error").filter((line) => line.includes("Job fetch failed")).length, 2)
    }))

  it.effect("what else the last run has failed with is in the failure of the task", () =>
    Effect.gen(function*() {
      const restart = Restart.permanent<string>({ schedule: Schedule.recurs(1), onExhausted: "giveUp" })
      const work = Effect.ensuring(Effect.fail("no broker"), Effect.die("no disk"))
      const task = yield* Task.spawn(work, "poll", { restart, onFailure: "ignore" })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(exhaustedOf(task).cause, "no broker")
      const reasons = errorOf(task)?.reasons.map((reason) => reason._tag === "Die" ? reason.defect : reason._tag)
      assert.deepStrictEqual(reasons, ["Fail", "no disk"])
    }).pipe(Effect.provide(inScope)))

  it.effect("in the status, the tree, the events and the metrics", () =>
    Effect.gen(function*() {
      const { effect } = makeFlaky(fails)
      const seen = yield* Deferred.make<Host.Tree>()
      const events: Array<readonly [string, number | undefined]> = []
      const start = Effect.gen(function*() {
        const listening = Stream.runForEach(Host.events, (event) =>
          Effect.sync(() => {
            if (event.path !== "host/visible/poll") return
            events.push([event._tag, event._tag === "Restarting" ? event.restart : undefined])
          }))
        yield* Effect.forkDetach(listening, { startImmediately: true })
        const task = yield* Task.spawn(effect, "poll", { restart: Restart.permanent({ schedule: everySecond }) })
        const look = Effect.gen(function*() {
          yield* Effect.sleep("1500 millis")
          assert.deepStrictEqual(task.status, { _tag: "Restarting", since: 1000, startsAt: 2000 })
          yield* Deferred.succeed(seen, yield* Host.tree)
          yield* Host.requestStop("seen")
        })
        yield* Task.spawn(look, "look")
      })
      const host = yield* Effect.forkChild(Host.launch(App.layer("visible", start)))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(host)
      const tree = yield* Deferred.await(seen)
      const line = tree.apps[0]?.tasks.find(({ path }) => path === "host/visible/poll")
      assert.deepStrictEqual([line?.status, line?.restarts], ["Restarting", 1])
      const metrics = yield* Metric.snapshot
      const metric = metrics.find(({ attributes, id }) =>
        id === "ambit_task_restarts_total" && attributes?.["scope"] === "host/visible"
      )
      assert.deepStrictEqual(metric?.state, { count: 1, incremental: true })
      assert.deepStrictEqual(events, [
        ["Started", undefined],
        ["Failed", undefined],
        ["Restarting", 1],
        ["Failed", undefined],
        ["Restarting", 2],
        ["Stopping", undefined],
        ["Ended", undefined]
      ])
    }))

  it.effect("failure hooks get each failure, and when it is started again; a scope of `use` goes on", () =>
    Effect.gen(function*() {
      const seen: Array<number | undefined> = []
      const value = yield* Effect.forkChild(TaskScope.use("work", (scope) =>
        Effect.gen(function*() {
          yield* TaskScope.onFailure(scope, ({ restartsIn }) => seen.push(restartsIn))
          const { effect } = makeFlaky(fails, fails, Effect.succeed("done"))
          const task = yield* Task.spawn(effect, "sync", { restart: Restart.transient({ schedule: everySecond }) })
          return yield* task.join
        })))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(value), "done")
      assert.deepStrictEqual(seen, [1000, 1000])
    }))
})

describe("bad options are refused with their value and a remedy", () => {
  const cases: ReadonlyArray<readonly [name: string, restart: unknown, part: string]> = [
    ["no policy", "permanent", "restart of task \"app/poll\" is \"permanent\": this is no restart policy"],
    ["null", null, "this is no restart policy"],
    ["a budget of zero", Restart.permanent({ budget: { restarts: 0, within: "1 minute" } }), "Take Restart.temporary"],
    ["a budget of NaN", Restart.permanent({ budget: { restarts: NaN, within: "1 minute" } }), "is \"NaN\""],
    ["a half", Restart.permanent({ budget: { restarts: 1.5, within: "1 minute" } }), "is \"1.5\""],
    ["a window of zero", Restart.permanent({ budget: { restarts: 1, within: 0 } }), "within in budget"],
    ["no budget", Restart.permanent({ budget: "all" as never }), "this is no budget"],
    ["an unknown choice", Restart.permanent({ onExhausted: "panic" as never }), "there is no such choice"],
    ["cool-down without cycles", Restart.transient({ onExhausted: Restart.coolDown({ cycles: 0 }) }), "cycles in"],
    ["an endless pause", Restart.transient({ onExhausted: Restart.coolDown({ pause: Infinity }) }), "pause in"],
    ["a health of NaN", Restart.permanent({ healthyAfter: NaN }), "healthyAfter of the restart"],
    ["no schedule", Restart.permanent({ schedule: "1 second" as never }), "this is no schedule"],
    ["no function", Restart.permanent({ decide: "never" as never }), "this is no function"]
  ]
  for (const [name, restart, part] of cases) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const { effect, starts } = makeFlaky(fails)
        const error = yield* Effect.flip(Task.spawn(effect, "poll", { restart: restart as Restart.Restart }))
        assert.instanceOf(error, InvalidOption)
        assert.include(error.message, part)
        assert.deepStrictEqual(starts, [])
      }).pipe(Effect.provide(inScope)))
  }
})

describe("values", () => {
  it("are told from others", () => {
    assert.deepStrictEqual(
      [Restart.permanent(), Restart.temporary, {}, undefined].map(Restart.isRestart),
      [true, true, false, false]
    )
  })

  it.effect("an unlimited wait keeps the option of a spawn without restarts as it was", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.succeed(1), "once")
      assert.deepStrictEqual([yield* task.join, task.restarts, Option.isNone(Task.runs(task))], [1, 0, true])
    }).pipe(Effect.provide(inScope)))
})
