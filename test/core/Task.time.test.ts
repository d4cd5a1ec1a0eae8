import { App, Host, InvalidOption, Limits, Shutdown, Task, TaskScope, TimeLimit, TimeLimitExceeded } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const inScope = TaskScope.layer("app")

/** Times in milliseconds since the begin of a test. */
const makeTimes = () => {
  const times: Array<number> = []
  return { times, note: Effect.map(Clock.currentTimeMillis, (now) => void times.push(now)) }
}

const refusalOf = <A>(effect: Effect.Effect<A, unknown, TaskScope.TaskScope>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, InvalidOption)
    return error.message
  })

const runsOf = (task: Task.Task) => Option.getOrThrow(Task.runs(task))

const none = { started: 0, completed: 0, failed: 0, timedOut: 0, interrupted: 0, skipped: 0 }

/** The outcome of a task that has ended. */
const outcomeOf = ({ status }: Task.Task) => status._tag === "Ended" ? status.outcome : status._tag

describe("after", () => {
  it.effect("a delay the task begins, and not before; until then it is pending", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const task = yield* note.pipe(Task.after("remind", "1 minute"))
      yield* TestClock.adjust(59_999)
      assert.deepStrictEqual([times, task.status._tag], [[], "Pending"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual([times, outcomeOf(task)], [[60_000], "completed"])
    }).pipe(Effect.provide(inScope)))

  it.effect("no delay it begins all the same", () =>
    Effect.gen(function*() {
      const task = yield* Task.after(Effect.succeed(1), "remind", 0)
      assert.strictEqual(yield* task.join, 1)
    }).pipe(Effect.provide(inScope)))

  it.effect("a stop that comes before its begin the task was never started", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const scope = yield* TaskScope.TaskScope
      yield* note.pipe(Task.after("remind", "1 minute"))
      const report = yield* TaskScope.close(scope)
      assert.deepStrictEqual(report.tasks.map(({ outcome }) => outcome), ["neverStarted"])
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(times, [])
    }).pipe(Effect.provide(inScope)))

  it.effect("Q5: of two delayed tasks, a stop keeps the flagged one from beginning, and the other begins in the drain", () =>
    Effect.gen(function*() {
      const begun: Array<string> = []
      const start = Effect.gen(function*() {
        for (const stopAt of ["stopping", "interrupting"] as const) {
          yield* Effect.sync(() => begun.push(stopAt)).pipe(
            Task.after(stopAt, "3 seconds", { stopAt, kind: "foreground" })
          )
        }
        yield* Shutdown.on("stopping", "announce", Effect.sleep("1 second"))
        yield* Task.after(Host.requestStop("enough"), "stopper", "1500 millis")
      })
      const host = yield* Effect.forkChild(Host.launch(App.layer("a", start, { drain: "5 seconds" })))
      yield* TestClock.adjust("10 seconds")
      const report = yield* Fiber.join(host)
      assert.deepStrictEqual(begun, ["interrupting"])
      assert.deepStrictEqual(
        Object.fromEntries(report.tasks.map(({ outcome, path }) => [path, outcome])),
        { "host/a/stopping": "neverStarted", "host/a/interrupting": "completed" }
      )
    }))

  it.effect("a delay below zero, without end or of no sense is refused by its name", () =>
    Effect.gen(function*() {
      for (const delay of [-1, Number.NaN, Infinity, "soon"] as Array<never>) {
        assert.match(yield* refusalOf(Task.after(Effect.void, "remind", delay)), /^delay of task "app\/remind" is /)
        // No delay is one, too.
        assert.notMatch(yield* refusalOf(Task.after(Effect.void, "remind", delay)), /longer than zero/)
      }
      assert.match(yield* refusalOf(Task.after(Effect.void, "a/b", 1)), /^the name of a task of "app" is "a\/b"/)
      assert.deepStrictEqual(yield* TaskScope.tasks(yield* TaskScope.TaskScope), [])
    }).pipe(Effect.provide(inScope)))
})

describe("every", () => {
  it.effect("period it runs: the n-th time is n periods after the begin, whatever a run takes", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      let run = 0
      const work = Effect.andThen(note, Effect.suspend(() => Effect.sleep((run++ * 137) % 1000)))
      yield* TestClock.adjust(250)
      const task = yield* work.pipe(Task.every("poll", "1 second"))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(times, Array.from({ length: 3600 }, (_, n) => 250 + (n + 1) * 1000))
      assert.strictEqual(runsOf(task).skipped, 0)
    }).pipe(Effect.provide(inScope)))

  it.effect("period of a fraction of a millisecond the times do not drift", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      yield* note.pipe(Task.every("poll", "333333 micros"))
      yield* TestClock.adjust("1000 seconds")
      assert.strictEqual(times.length, 3000)
      assert.deepStrictEqual(times, times.map((_, n) => Math.ceil((n + 1) * 333.333 - 1e-4)))
    }).pipe(Effect.provide(inScope)))

  it.effect("time that comes during a run is skipped and counted, and a run that ends on time is followed at once", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const takes = [2500, 1000, 3000, 100]
      const work = Effect.andThen(note, Effect.suspend(() => Effect.sleep(takes[times.length - 1] ?? 0)))
      const task = yield* work.pipe(Task.every("poll", "1 second"))
      yield* TestClock.adjust(9500)
      assert.deepStrictEqual(times, [1000, 4000, 5000, 8000, 9000])
      assert.deepStrictEqual(runsOf(task), { ...none, started: 5, completed: 5, skipped: 4 })
    }).pipe(Effect.provide(inScope)))

  it.effect("skipped run is said in a warning, at most once a minute, with how often it was not said", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      yield* Effect.sleep(2500).pipe(Task.every("poll", "1 second"))
      yield* TestClock.adjust("70 seconds")
      assert.deepStrictEqual(linesAt(records, "Warn"), [
        "Task app/poll has skipped 2 runs, since their times passed before run 1 had ended",
        "Task app/poll has skipped 2 runs, since their times passed before run 21 had ended (and 19 more since the " +
        "last such line)"
      ])
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("failing run is said once and told to hooks and readers, and the next one comes at its time", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const { note, times } = makeTimes()
      const hooked: Array<unknown> = []
      yield* TaskScope.onFailure(scope, ({ cause, path }) => hooked.push([path, Cause.squash(cause)]))
      const events = yield* Effect.forkChild(
        TaskScope.events(scope).pipe(Stream.take(4), Stream.runCollect),
        { startImmediately: true }
      )
      const work = Effect.andThen(note, Effect.suspend(() => times.length === 2 ? Effect.void : Effect.fail("no")))
      const task = yield* work.pipe(Task.every("poll", "1 second"))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(linesAt(records, "Error"), [
        "Run 1 of task app/poll failed after 0 ms; the next run is not affected"
      ])
      assert.deepStrictEqual(hooked, [["app/poll", "no"]])
      const of = { path: "app/poll", kind: "background" } as const
      assert.deepStrictEqual((yield* Fiber.join(events)).filter(({ _tag }) => _tag !== "Failed"), [
        { _tag: "Started", ...of },
        { _tag: "RunEnded", ...of, run: 1, outcome: "failed", took: 0 },
        { _tag: "RunEnded", ...of, run: 2, outcome: "completed", took: 0 }
      ])
      assert.deepStrictEqual(runsOf(task), { ...none, started: 2, completed: 1, failed: 1 })
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("failing run ends the task when that is to stop the app, and is said once", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const task = yield* Effect.fail("no").pipe(Task.every("poll", "1 second", { onFailure: "stopApp" }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(task.status._tag === "Ended" && task.status.exit, Exit.fail("no"))
      assert.strictEqual((yield* TaskScope.close(scope)).reason, "task app/poll failed")
      assert.deepStrictEqual(linesAt(records, "Error"), ["Task app/poll failed after 1.0 s; scope app stops"])
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("run that interrupts itself leaves the next ones alone", () =>
    Effect.gen(function*() {
      const task = yield* Effect.interrupt.pipe(Task.every("poll", "1 second"))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(runsOf(task), { ...none, started: 2, interrupted: 2 })
    }).pipe(Effect.provide(inScope)))

  it.effect("task ends with its scope, in a run and between two, and no run comes after that", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const { note, times } = makeTimes()
      yield* note.pipe(Task.every("between", "3 seconds"))
      const inRun = yield* Effect.never.pipe(Task.every("in-run", "1 second"))
      yield* TestClock.adjust("4 seconds")
      const report = yield* TaskScope.close(scope)
      assert.deepStrictEqual(report.tasks.map(({ outcome }) => outcome), ["interrupted", "interrupted"])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(times, [3000])
      assert.deepStrictEqual(runsOf(inRun), { ...none, started: 1 })
    }).pipe(Effect.provide(inScope)))

  it.effect("period of zero, below zero, without end or of no sense is refused by its name", () =>
    Effect.gen(function*() {
      for (const period of [0, -1, Number.NaN, Infinity, "often"] as Array<never>) {
        assert.match(yield* refusalOf(Task.every(Effect.void, "poll", period)), /^period of task "app\/poll" is /)
      }
    }).pipe(Effect.provide(inScope)))

  it.effect("other task has no runs to count", () =>
    Effect.gen(function*() {
      assert.isTrue(Option.isNone(Task.runs(yield* Task.spawn(Effect.void, "once"))))
    }).pipe(Effect.provide(inScope)))
})

describe("cron", () => {
  const at = (iso: string) => TestClock.setTime(Date.parse(iso))
  const isoOf = (times: ReadonlyArray<number>) =>
    times.map((time) => DateTime.formatIso(DateTime.makeUnsafe(time)).slice(0, 16))

  const during = (from: string, days: number, schedule: string | Cron.Cron, options?: Task.CronOptions) =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      yield* at(from)
      yield* note.pipe(Task.cron("report", schedule, options))
      for (let hour = 0; hour < days * 24; hour++) yield* TestClock.adjust("1 hour")
      return isoOf(times)
    }).pipe(Effect.provide(inScope))

  it.effect("times are those of the time zone, before and after the clocks go forward", () =>
    Effect.gen(function*() {
      const times = yield* during("2026-03-27T12:00:00Z", 3, "0 8 * * *", { timeZone: "Europe/Oslo" })
      assert.deepStrictEqual(times, ["2026-03-28T07:00", "2026-03-29T06:00", "2026-03-30T06:00"])
    }))

  it.effect("time in the hour that is missing when clocks go forward is taken once, an hour later", () =>
    Effect.gen(function*() {
      const times = yield* during("2026-03-27T12:00:00Z", 3, "30 2 * * *", { timeZone: "Europe/Oslo" })
      assert.deepStrictEqual(times, ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"])
    }))

  it.effect("time in the hour that comes twice when clocks go back is taken once, or as the Cron says", () =>
    Effect.gen(function*() {
      const once = yield* during("2026-10-24T12:00:00Z", 2, "30 2 * * *", { timeZone: "Europe/Oslo" })
      assert.deepStrictEqual(once, ["2026-10-25T00:30", "2026-10-26T01:30"])
      const both = Cron.parseUnsafe("30 2 * * *", "Europe/Oslo", { onDstOverlap: "both" })
      assert.deepStrictEqual(yield* during("2026-10-24T12:00:00Z", 2, both), [
        "2026-10-25T00:30",
        "2026-10-25T01:30",
        "2026-10-26T01:30"
      ])
    }))

  it.effect("times without a time zone are those of the process, also when its clocks change", () => {
    const before = process.env["TZ"]
    return Effect.gen(function*() {
      process.env["TZ"] = "America/New_York"
      const text = yield* during("2026-03-07T20:00:00Z", 2, "0 8 * * *")
      assert.deepStrictEqual(text, ["2026-03-08T12:00", "2026-03-09T12:00"])
      const cron = yield* during("2026-03-07T20:00:00Z", 2, Cron.parseUnsafe("0 8 * * *"))
      assert.deepStrictEqual(cron, text)
    }).pipe(Effect.ensuring(Effect.sync(() => {
      if (before === undefined) delete process.env["TZ"]
      else process.env["TZ"] = before
    })))
  })

  it.effect("time that comes during a run is skipped and counted, and one that comes with its end is taken", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const takes = [150, 60]
      const work = Effect.andThen(note, Effect.suspend(() => Effect.sleep((takes[times.length - 1] ?? 0) * 1000)))
      const task = yield* work.pipe(Task.cron("report", "* * * * *", { within: "none" }))
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(times, [60_000, 240_000, 300_000])
      assert.deepStrictEqual(runsOf(task), { ...none, started: 3, completed: 3, skipped: 2 })
    }).pipe(Effect.provide(inScope)))

  it.effect("times that a long run has taken are counted, and others have their turn meanwhile", () =>
    Effect.gen(function*() {
      let turns = 0
      const others = Effect.forever(Effect.andThen(Effect.yieldNow, Effect.sync(() => turns++)))
      const long = Effect.andThen(Effect.sleep("1 hour"), Effect.forkDetach(others))
      const ends: Array<Fiber.Fiber<unknown>> = []
      const task = yield* Effect.map(long, (fiber) => ends.push(fiber)).pipe(
        Task.cron("report", "* * * * * *", { within: "none" })
      )
      const adjusting = yield* Effect.forkChild(TestClock.adjust("3601 seconds"), { startImmediately: true })
      while (runsOf(task).skipped === 0) yield* Effect.yieldNow
      yield* Fiber.interruptAll(ends)
      yield* Fiber.join(adjusting)
      assert.deepStrictEqual(runsOf(task).skipped, 3599)
      assert.isAtLeast(turns, 10)
    }).pipe(Effect.provide(inScope)))

  /** A wall clock that can be set while timers go on. */
  const settable = Effect.map(Clock.Clock, (clock) => {
    let offset = 0
    const currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + offset
    const wall: Clock.Clock = {
      ...clock,
      currentTimeMillisUnsafe,
      currentTimeMillis: Effect.sync(currentTimeMillisUnsafe)
    }
    return {
      wall,
      set: (iso: string) => {
        offset += Date.parse(iso) - currentTimeMillisUnsafe()
      }
    }
  })

  const setAbout = (
    work: Effect.Effect<void>,
    test: (
      set: (iso: string) => void,
      times: ReadonlyArray<number>,
      task: Task.Task
    ) => Effect.Effect<void>
  ) =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const { set, wall } = yield* settable
      set("2026-06-01T07:59:59Z")
      const options = { timeZone: "UTC", within: "none" } as const
      const task = yield* Effect.andThen(note, work).pipe(
        Task.cron("report", "0 * * * *", options),
        Effect.provideService(Clock.Clock, wall)
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(isoOf(times), ["2026-06-01T08:00"])
      yield* test(set, times, task)
    }).pipe(Effect.provide(inScope))

  it.effect("clock that is set back has no run twice, and by more than a minute it is believed when the wait ends", () =>
    setAbout(Effect.void, (set, times) =>
      Effect.gen(function*() {
        set("2026-06-01T07:59:58Z")
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(times.length, 1)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(isoOf(times), ["2026-06-01T08:00", "2026-06-01T09:00"])
        set("2026-06-01T06:30:00Z")
        yield* TestClock.adjust("2 hours")
        assert.deepStrictEqual(isoOf(times).slice(2), ["2026-06-01T08:00"])
      })))

  it.effect("clock that is set back during a run is believed when the run ends", () =>
    setAbout(Effect.sleep("1 minute"), (set, times) =>
      Effect.gen(function*() {
        set("2026-06-01T06:29:00Z")
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(isoOf(times), ["2026-06-01T08:00", "2026-06-01T07:00"])
      })))

  it.effect("clock that is set forward has one late run, the other times are counted, and no run is blamed", () => {
    const { layer, records } = makeRecorder()
    return setAbout(Effect.void, (set, times, task) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("10 minutes")
        set("2026-06-01T11:30:00Z")
        yield* TestClock.adjust("100 minutes")
        assert.deepStrictEqual(isoOf(times).slice(1), ["2026-06-01T12:20", "2026-06-01T13:00"])
        assert.strictEqual(runsOf(task).skipped, 3)
        assert.deepStrictEqual(linesAt(records, "Warn"), [
          "Task app/report has skipped 3 runs, since their times passed before run 2 had ended"
        ])
      })).pipe(Effect.provide(layer))
  })

  it.effect("expression that cannot be read is refused, with the expression and what to write", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* refusalOf(Task.cron(Effect.void, "report", "99 8 * * *")),
        "schedule of task \"app/report\" is \"99 8 * * *\": it cannot be read: Expected a value between 0 and 59 (99). " +
          "Give it minute, hour, day, month and weekday, such as \"30 8 * * mon-fri\", or seconds before these."
      )
      for (const schedule of ["", "* * *", "a b c d e", "*/0 * * * *", null, 7, {}] as Array<never>) {
        assert.match(yield* refusalOf(Task.cron(Effect.void, "report", schedule)), /cannot be read/)
      }
      assert.strictEqual(
        yield* refusalOf(Task.cron(Effect.void, "report", "0 8 * * *", { timeZone: "Mars/Base" })),
        "timeZone of task \"app/report\" is \"Mars/Base\": there is no such time zone. Give it one such as \"Europe/Oslo\"."
      )
    }).pipe(Effect.provide(inScope)))

  it.effect("expression that no day meets is refused", () =>
    Effect.gen(function*() {
      const never =
        "schedule of task \"app/report\" is \"0 0 30 2 *\": no day is ever like that. Give it a day that its " +
        "month has."
      assert.strictEqual(yield* refusalOf(Task.cron(Effect.void, "report", "0 0 30 2 *")), never)
      const cron = Cron.parseUnsafe("0 0 30 2 *")
      assert.strictEqual(yield* refusalOf(Task.cron(Effect.void, "report", cron)), never)
      yield* Task.cron(Effect.void, "leap", "0 0 29 2 *")
    }).pipe(Effect.provide(inScope)))
})

describe("a limit of a task", () => {
  it.effect("M1: ends it, and the outcome is timedOut in status, events, log and hooks, apart from failed and interrupted", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const hooked: Array<unknown> = []
      yield* TaskScope.onFailure(scope, ({ cause }) => hooked.push(Cause.squash(cause)))
      const events = yield* Effect.forkChild(
        TaskScope.events(scope).pipe(Stream.take(3), Stream.runCollect),
        { startImmediately: true }
      )
      const cleaned: Array<string> = []
      const work = Effect.ensuring(Effect.never, Effect.sync(() => cleaned.push("yes")))
      const task = yield* work.pipe(Task.spawn("sync", { within: "1 second" }))
      yield* TestClock.adjust("1 second")
      const error = new TimeLimitExceeded({ limit: 1000, task: "app/sync" })
      assert.deepStrictEqual(task.status, {
        _tag: "Ended",
        exit: Exit.fail(error),
        outcome: "timedOut",
        after: 1000
      })
      assert.deepStrictEqual(cleaned, ["yes"])
      assert.deepStrictEqual(hooked, [error])
      assert.deepStrictEqual(
        (yield* Fiber.join(events)).map((event) => [
          event._tag,
          event._tag === "Ended" && [event.outcome, event.after]
        ]),
        [["Started", false], ["Failed", false], ["Ended", ["timedOut", 1000]]]
      )
      assert.deepStrictEqual(records.map(({ level, message }) => [level, message]), [[
        "Warn",
        "Task app/sync timed out: it had not ended after 1.0 s, its limit; everything else goes on"
      ]])
      assert.strictEqual(records[0]?.annotations["outcome"], "timedOut")
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("M1: that passes during a stop is in the report, which then is not clean", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      yield* TaskScope.spawn(scope, Effect.uninterruptible(TimeLimit.freeze(Effect.sleep("1 second"))), "frozen", {
        within: "1 second"
      })
      yield* Task.spawn(Effect.sleep("1 hour"), "long", { within: "2 seconds", kind: "foreground" })
      const start = Effect.gen(function*() {
        yield* Task.spawn(Effect.never, "work", { kind: "foreground", within: "3 seconds" })
        yield* Task.after(Host.requestStop("enough"), "stopper", "1 second")
      })
      const host = yield* Effect.forkChild(Host.launch(App.layer("a", start, { drain: "5 seconds" })))
      yield* TestClock.adjust("10 seconds")
      const report = yield* Fiber.join(host)
      const line = report.tasks.find(({ path }) => path === "host/a/work")
      assert.deepStrictEqual([line?.outcome, line?.age, report.clean], ["timedOut", 3000, false])
      assert.match(line?.error ?? "", /Task host\/a\/work had not ended after 3\.0 s, its time limit/)
    }).pipe(Effect.provide(inScope)))

  it.effect("M1: of one run ends that run, and the next one comes at its time", () =>
    Effect.gen(function*() {
      const { note, times } = makeTimes()
      const task = yield* Effect.andThen(note, Effect.never).pipe(Task.every("poll", "1 second", { within: 400 }))
      yield* TestClock.adjust(3500)
      assert.deepStrictEqual(times, [1000, 2000, 3000])
      assert.deepStrictEqual(runsOf(task), { ...none, started: 3, timedOut: 3 })
    }).pipe(Effect.provide(inScope)))

  it.effect("M2: wins over the default for runs, and so does none", () =>
    Effect.gen(function*() {
      const long = Effect.sleep(800)
      const task = (name: string, options?: Task.SpawnOptions) => long.pipe(Task.every(name, "1 second", options))
      const tasks = [
        yield* task("default"),
        yield* task("shorter", { within: 100 }),
        yield* task("longer", { within: "900 millis" }),
        yield* task("none", { within: "none" })
      ]
      const delayed = yield* long.pipe(Task.after("after", "1 second"))
      const plain = yield* Task.spawn(long, "plain")
      yield* TestClock.adjust("1900 millis")
      assert.deepStrictEqual(tasks.map((of) => runsOf(of).timedOut), [1, 1, 0, 0])
      assert.deepStrictEqual([outcomeOf(delayed), outcomeOf(plain)], ["timedOut", "completed"])
    }).pipe(Effect.provide(inScope), Effect.provide(Limits.layer({ run: "500 millis" }))))

  it.effect("M4: of one name is said in one warning a minute, with how often it was not said", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      yield* Effect.never.pipe(Task.every("poll", "1 second", { within: 400 }))
      for (let second = 0; second < 62; second++) {
        yield* Task.spawn(Effect.never, "event", { within: 400 })
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(linesAt(records, "Warn").toSorted(), [
        "Run 1 of task app/poll timed out: it had not ended after 400 ms, its limit; the next run is not affected",
        "Run 61 of task app/poll timed out: it had not ended after 400 ms, its limit; the next run is not affected (and " +
        "59 more since the last such line)",
        "Task app/event timed out: it had not ended after 400 ms, its limit; everything else goes on",
        "Task app/event timed out: it had not ended after 400 ms, its limit; everything else goes on (and 59 more since " +
        "the last such line)"
      ])
      assert.strictEqual(linesAt(records, "Debug").length, 61 - 2 + 62 - 2)
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("M5: is told from a timeout of the task's own code, which is a failure that says whose it is", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      const own = [
        yield* Effect.never.pipe(Effect.timeout(100), Task.spawn("effect")),
        yield* Effect.never.pipe(TimeLimit.within(100), Task.spawn("inner", { within: "1 second" }))
      ]
      const waits = yield* Task.spawn(Effect.never, "waits", { within: 100 })
      own.push(yield* Task.spawn(waits.join, "joins") as Effect.Effect<never>)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(own.map(outcomeOf), ["failed", "failed", "failed"])
      assert.strictEqual(outcomeOf(waits), "timedOut")
      assert.deepStrictEqual(
        linesAt(records, "Error"),
        ["effect", "inner", "joins"].map((name) =>
          `Task app/${name} failed after 100 ms by a timeout of its own code, not by a limit of the task; everything ` +
          "else goes on"
        )
      )
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("M6: that is not there is missed after a minute, in one warning a run, and nothing is interrupted", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      const slow = Effect.sleep("3 minutes")
      const tasks = [
        yield* slow.pipe(Task.every("slow", "4 minutes")),
        yield* Effect.sleep("59 seconds").pipe(Task.every("fast", "4 minutes")),
        yield* slow.pipe(Task.every("meant", "4 minutes", { within: "none" })),
        yield* slow.pipe(Task.every("limited", "4 minutes", { within: "1 hour" }))
      ]
      yield* slow.pipe(Task.after("once", "1 minute"))
      yield* TestClock.adjust("11 minutes")
      const stalled = "has not ended after 1m, and has no limit. Give it one with within, which may be \"none\""
      assert.deepStrictEqual(linesAt(records, "Warn"), [
        `Task app/once ${stalled}`,
        `Run 1 of task app/slow ${stalled}`,
        `Run 2 of task app/slow ${stalled}`
      ])
      assert.deepStrictEqual(tasks.map((task) => runsOf(task).completed), [2, 2, 2, 2])
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("frees the task at once when its work cannot be interrupted, and says so", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const task = yield* Effect.sleep("10 seconds").pipe(
        Effect.uninterruptible,
        Task.spawn("stubborn", { within: "1 second" })
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(outcomeOf(task), "timedOut")
      assert.deepStrictEqual(linesAt(records, "Warn"), [
        "Task app/stubborn timed out: it had not ended after 1.0 s, its limit, and it still cleans up; everything else " +
        "goes on"
      ])
      assert.deepStrictEqual(
        (yield* TaskScope.tasks(scope)).map(({ path }) => path),
        ["app/stubborn/(past its limit)"]
      )
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* TaskScope.tasks(scope), [])
    }).pipe(Effect.provide(inScope), Effect.provide(layer))
  })

  it.effect("stands while its work runs in a freeze", () =>
    Effect.gen(function*() {
      const work = Effect.andThen(TimeLimit.freeze(Effect.sleep("5 seconds")), Effect.sleep("900 millis"))
      const task = yield* work.pipe(Task.spawn("work", { within: "1 second" }))
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(outcomeOf(task), "completed")
    }).pipe(Effect.provide(inScope)))

  it.effect("is an end that onFailure is about: it stops the app, and fails the body of a scope in use", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      yield* Task.spawn(Effect.never, "vital", { within: 100, onFailure: "stopApp" })
      const used = yield* Effect.forkChild(
        Effect.flip(TaskScope.use("group", () => Task.spawn(Effect.never, "member", { within: 50 }))),
        { startImmediately: true }
      )
      yield* TestClock.adjust(100)
      const failed = yield* Fiber.join(used)
      assert.deepStrictEqual(failed._tag === "TaskFailed" && failed.path, "app/group/member")
      assert.strictEqual((yield* TaskScope.close(scope)).reason, "task app/vital timed out")
    }).pipe(Effect.provide(inScope)))

  it.effect("works the same wherever a task is spawned from", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const spawn = yield* TaskScope.runtime(scope)
      const tasks = [
        yield* TaskScope.spawn(scope, Effect.never, "one", { within: 100 }),
        yield* Effect.never.pipe(TaskScope.spawn(scope, "two", { within: 100 })),
        yield* Effect.fromResult(spawn(Effect.never, "three", { within: 100 }))
      ]
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(tasks.map(outcomeOf), ["timedOut", "timedOut", "timedOut"])
    }).pipe(Effect.provide(inScope)))

  it.effect("of zero, below zero, without end or of no sense is refused by its name", () =>
    Effect.gen(function*() {
      for (const within of [0, -1, Number.NaN, Infinity, "soon"] as Array<never>) {
        for (
          const spawned of [
            Task.spawn(Effect.void, "work", { within }),
            Task.after(Effect.void, "work", 1, { within }),
            Task.every(Effect.void, "work", 1, { within }),
            Task.cron(Effect.void, "work", "* * * * *", { within })
          ]
        ) assert.match(yield* refusalOf(spawned), /^within of task "app\/work" is /)
      }
    }).pipe(Effect.provide(inScope)))
})

describe("a task with a schedule", () => {
  it.effect("is refused by a closed scope", () =>
    Effect.gen(function*() {
      yield* TaskScope.close(yield* TaskScope.TaskScope)
      for (
        const spawned of [
          Task.after(Effect.void, "work", 1),
          Task.every(Effect.void, "work", 1),
          Task.cron(Effect.void, "work", "* * * * *")
        ]
      ) assert.strictEqual((yield* Effect.flip(spawned))._tag, "ScopeClosed")
    }).pipe(Effect.provide(inScope)))
})
