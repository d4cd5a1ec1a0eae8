import { App, Host, InvalidOption, Limits, Task, TaskScope, Timer } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const inScope = TaskScope.layer("app")

const makeTimes = () => {
  const times: Array<number> = []
  return { times, note: Effect.map(Clock.currentTimeMillis, (now) => void times.push(now)) }
}

const taskPaths = Effect.map(
  Effect.flatMap(TaskScope.TaskScope, TaskScope.tasks),
  (tasks) => tasks.map(({ path }) => path)
)

describe("a timer", () => {
  it.effect("fires once, when its time has passed, and is idle before and after", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(note, "flush")
      assert.deepStrictEqual([timer.path, timer.status], ["app/flush", { _tag: "Idle" }])
      yield* timer.start("1 second")
      assert.deepStrictEqual(timer.status, { _tag: "Started", firesAt: 1000 })
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(times, [])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([times, timer.status], [[1000], { _tag: "Idle" }])
      assert.deepStrictEqual([timer.runs.started, timer.runs.completed], [1, 1])
    }).pipe(Effect.provide(inScope)))

  it.effect("S1: that is started twice fails with what to do, and fires as it was to", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(note, "flush")
      yield* timer.start("1 second")
      yield* TestClock.adjust(200)
      const error = yield* Effect.flip(timer.start("5 seconds"))
      assert.instanceOf(error, Timer.TimerStarted)
      assert.strictEqual(
        error.message,
        "Timer app/flush is started already and fires in 800 ms. Give it a new time with restart, or stop it first"
      )
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(times, [1000])
      yield* timer.start("1 second")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(times, [1000, 11_200])
    }).pipe(Effect.provide(inScope)))

  it.effect("S1: that is restarted has the new time, later or earlier, and is started if it was not", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(note, "flush")
      yield* timer.restart("1 second")
      yield* TestClock.adjust(900)
      yield* timer.restart("1 second")
      yield* TestClock.adjust(900)
      yield* timer.restart("1 second")
      yield* TestClock.adjust(100)
      yield* timer.restart("300 millis")
      assert.deepStrictEqual(yield* taskPaths, ["app/flush"])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(times, [2200])
    }).pipe(Effect.provide(inScope)))

  it.effect("S2: that repeats fires after each period until it is stopped", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(note, "tick", { repeat: true })
      yield* timer.start("1 second")
      yield* TestClock.adjust(3500)
      assert.deepStrictEqual([times, timer.status], [[1000, 2000, 3000], { _tag: "Started", firesAt: 4000 }])
      assert.isTrue(yield* timer.stop)
      assert.isFalse(yield* timer.stop)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(times.length, 3)
      yield* timer.start("2 seconds")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(times.slice(3), [65_500, 67_500])
    }).pipe(Effect.provide(inScope)))

  it.effect("S2: that repeats is restarted with another period", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(note, "tick", { repeat: true })
      yield* timer.start("1 second")
      yield* TestClock.adjust(1500)
      yield* timer.restart("3 seconds")
      yield* TestClock.adjust("7 seconds")
      assert.deepStrictEqual(times, [1000, 4500, 7500])
    }).pipe(Effect.provide(inScope)))

  it.effect("S2: is stopped by the stop of the program, while it waits and while it runs", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timers: Array<Timer.Timer> = []
      const start = Effect.gen(function*() {
        const waits = yield* Timer.make(note, "waits", { repeat: true })
        const runs = yield* Timer.make(Effect.never, "runs")
        yield* waits.start("2 seconds")
        yield* runs.start("1 second")
        timers.push(waits, runs)
        yield* Task.after(Host.requestStop("enough"), "stopper", "3 seconds")
      })
      const host = yield* Effect.forkChild(Host.launch(App.layer("a", start)))
      yield* TestClock.adjust("1 minute")
      const report = yield* Fiber.join(host)
      assert.deepStrictEqual(Object.fromEntries(report.tasks.map(({ outcome, path }) => [path, outcome])), {
        "host/a/runs": "interrupted",
        "host/a/stopper": "completed",
        "host/a/waits": "interrupted"
      })
      assert.deepStrictEqual(times, [2000])
      for (const timer of timers) {
        assert.strictEqual(timer.status._tag, "Idle")
        assert.strictEqual((yield* Effect.flip(timer.start("1 second")))._tag, "ScopeClosed")
        assert.strictEqual((yield* Effect.flip(timer.restart("1 second")))._tag, "ScopeClosed")
        assert.strictEqual(timer.status._tag, "Idle")
      }
    }))

  it.effect("is a task of the scope exactly while it is started or runs", () =>
    Effect.gen(function*() {
      const timer = yield* Timer.make(Effect.sleep("1 second"), "flush", { kind: "foreground" })
      assert.deepStrictEqual(yield* taskPaths, [])
      yield* timer.start("1 second")
      assert.deepStrictEqual(yield* taskPaths, ["app/flush"])
      yield* timer.stop
      assert.deepStrictEqual(yield* taskPaths, [])
      yield* timer.start("1 second")
      yield* TestClock.adjust(1500)
      assert.deepStrictEqual([timer.status._tag, yield* taskPaths], ["Idle", ["app/flush"]])
      yield* TestClock.adjust(500)
      assert.deepStrictEqual(yield* taskPaths, [])
    }).pipe(Effect.provide(inScope)))

  it.effect("that is stopped during a run lets the run end, and fires no more", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(Effect.andThen(Effect.sleep(500), note), "tick", { repeat: true })
      yield* timer.start("1 second")
      yield* TestClock.adjust(1200)
      yield* timer.stop
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(times, [1500])
    }).pipe(Effect.provide(inScope)))

  it.effect("that is started during a run, also by that run, fires after it and never beside it", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timers: Array<Timer.Timer> = []
      let running = 0
      const work = Effect.gen(function*() {
        assert.strictEqual(++running, 1)
        yield* note
        if (times.length < 3) yield* timers[0]!.start(times.length === 1 ? 200 : 900)
        yield* Effect.sleep(500)
        running--
      })
      timers.push(yield* Timer.make(work, "tick"))
      yield* timers[0]!.start("1 second")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(times, [1000, 1500, 2400])
      assert.strictEqual(timers[0]!.runs.failed, 0)
    }).pipe(Effect.provide(inScope)))

  it.effect("that repeats skips and counts the times that come during a run", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(Effect.andThen(note, Effect.sleep(2500)), "tick", { repeat: true })
      yield* timer.start("1 second")
      yield* TestClock.adjust("8 seconds")
      assert.deepStrictEqual(times, [1000, 4000, 7000])
      assert.strictEqual(timer.runs.skipped, 4)
    }).pipe(Effect.provide(inScope)))

  it.effect("that fails says so, and can be started again", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      const timer = yield* Timer.make(Effect.fail("no"), "flush")
      for (let run = 0; run < 2; run++) {
        yield* timer.start("1 second")
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(
        linesAt(records, "Error"),
        [1, 2].map((run) => `Run ${run} of task app/flush failed after 0 ms; the next run is not affected`)
      )
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("whose task somebody interrupts is idle, and can be started again", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(note, "flush")
      yield* timer.start("1 second")
      yield* TaskScope.cancelAll(scope)
      assert.strictEqual(timer.status._tag, "Idle")
      yield* timer.start("1 second")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(times, [1000])
    }).pipe(Effect.provide(inScope)))

  it.effect("whose task is interrupted before its first step is idle, and can be started again", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const { note, times } = makeTimes()
      const timer = yield* Timer.make(note, "flush", { startImmediately: false })
      yield* timer.start("1 second")
      yield* TaskScope.cancelAll(scope)
      assert.deepStrictEqual([timer.status._tag, yield* taskPaths], ["Idle", []])
      yield* timer.start("2 seconds")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([times, timer.status._tag], [[2000], "Idle"])
    }).pipe(Effect.provide(inScope)))

  it.effect("whose task is interrupted and still cleans up is started beside that, and not reset by its end", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const { note, times } = makeTimes()
      const first = Effect.ensuring(Effect.never, Effect.sleep(500))
      const slowly = Effect.andThen(note, Effect.suspend(() => times.length === 1 ? first : Effect.void))
      const timer = yield* Timer.make(slowly, "flush")
      yield* timer.start("1 second")
      yield* TestClock.adjust("1 second")
      yield* TaskScope.cancelAll(scope)
      yield* timer.start("2 seconds")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(timer.status._tag, "Started")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(times, [1000, 3000])
    }).pipe(Effect.provide(inScope)))

  it.effect("wakes nobody to say that there is more time: 10,000 restarts leave one sleep", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const clock = yield* Clock.Clock
      let sleeps = 0
      const counting: Clock.Clock = {
        ...clock,
        sleep: (duration) => Effect.suspend(() => (sleeps++, clock.sleep(duration)))
      }
      const timer = yield* Timer.make(note, "flush").pipe(Effect.provideService(Clock.Clock, counting))
      yield* timer.start("1 second")
      for (let n = 0; n < 10_000; n++) yield* timer.restart("1 second")
      assert.strictEqual(sleeps, 1)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(times, [1000])
    }).pipe(Effect.provide(inScope)))

  it.effect("has a limit for each run", () =>
    Effect.gen(function*() {
      const own = yield* Timer.make(Effect.never, "own", { repeat: true, within: "100 millis" })
      const followed = yield* Timer.make(Effect.never, "followed", { repeat: true })
      yield* own.start("1 second")
      yield* followed.start("1 second")
      yield* TestClock.adjust("2500 millis")
      assert.deepStrictEqual([own.runs.timedOut, followed.runs.timedOut], [2, 2])
    }).pipe(Effect.provide(inScope), Effect.provide(Limits.layer({ run: "300 millis" }))))

  it.effect("with a name, an option or a time of no sense is refused at the first moment", () =>
    Effect.gen(function*() {
      const refusal = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.map(Effect.flip(effect), (error) => {
          assert.instanceOf(error, InvalidOption)
          return error.option
        })
      assert.strictEqual(yield* refusal(Timer.make(Effect.void, "a/b")), "the name of a timer of \"app\"")
      const wrong = { kind: "daemon" } as never
      assert.strictEqual(yield* refusal(Timer.make(Effect.void, "flush", wrong)), "kind of task \"app/flush\"")
      assert.strictEqual(
        yield* refusal(Timer.make(Effect.void, "flush", { within: 0 })),
        "within of task \"app/flush\""
      )
      const timer = yield* Timer.make(Effect.void, "flush")
      yield* timer.start("1 second")
      for (const after of [0, -1, Number.NaN, Infinity, "soon"] as Array<never>) {
        assert.strictEqual(yield* refusal(timer.restart(after)), "time of timer \"app/flush\"")
      }
      assert.deepStrictEqual(timer.status, { _tag: "Started", firesAt: 1000 })
      yield* timer.stop
      for (const after of [0, -1, Number.NaN, Infinity, "soon"] as Array<never>) {
        assert.strictEqual(yield* refusal(timer.start(after)), "time of timer \"app/flush\"")
      }
    }).pipe(Effect.provide(inScope)))
})
