/**
 * Tasks that run the same again and again, one run after the other.
 *
 * Invariants
 * - The times of the runs depend on the begin and the period alone, not on how long a run takes. (Task.time.test.ts)
 * - A run begins when the one before it has ended. A time that comes meanwhile is skipped and counted. (Task.time.test.ts)
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { InvalidOption } from "../InvalidOption.ts"
import type { RunOutcome, Runs } from "../Task.ts"
import type { TimeLimitExceeded } from "../TimeLimitExceeded.ts"
import { now } from "./clock.ts"
import { nurseryOf, sayFailure, tellFailure } from "./endTask.ts"
import { oneRun, type RunLimit } from "./limitedTask.ts"
import { emit, listened, say } from "./say.ts"
import { shown } from "./shown.ts"
import { CurrentTask, type ScopeImpl, type TaskImpl } from "./state.ts"
import { keptBack, Throttle } from "./throttle.ts"
import { timedOutIn } from "./timedOut.ts"

export type Counts = { -readonly [count in keyof Runs]: number }

export const noRuns = (): Counts => ({ started: 0, completed: 0, failed: 0, timedOut: 0, interrupted: 0, skipped: 0 })

const kept = new WeakMap<object, Counts>()

const keepRuns = (task: object, runs: Counts): void => {
  kept.set(task, runs)
}

export const runsOf = (task: object): Runs | undefined => {
  const runs = kept.get(task)
  return runs === undefined ? undefined : { ...runs }
}

/** Waits until it is time for a run, and gives how many times have passed meanwhile; `undefined` when there are no more. */
export type Tick = (clock: Clock.Clock) => Effect.Effect<number | undefined>

/** Runs an effect whenever a tick says so. Ends with the ticks, or with a failure that is to stop the app or host. */
export const repeating = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  tick: Tick,
  runs: Counts,
  limit: RunLimit
): Effect.Effect<void, E | TimeLimitExceeded, R> =>
  Effect.withFiber((fiber) => {
    const task = fiber.getRef(CurrentTask)!
    keepRuns(task, runs)
    const clock = fiber.getRef(Clock.Clock)
    const run = Effect.suspend(() => {
      const nth = ++runs.started
      const what = (of: TaskImpl) => `Run ${nth} of task ${of.path}`
      const from = now(clock)
      return Effect.flatMap(
        Effect.exit(oneRun(effect, limit, what)),
        (exit) => endRun(task, runs, nth, exit, now(clock) - from, fiber)
      )
    })
    const next: Effect.Effect<void, E | TimeLimitExceeded, R> = Effect.flatMap(tick(clock), (skipped) => {
      if (skipped === undefined) return Effect.void
      runs.skipped += skipped
      if (skipped > 0) saySkipped(task, runs, skipped, fiber)
      return Effect.flatMap(run, () => next)
    })
    return next
  })

const runOutcomeOf = (task: TaskImpl, exit: Exit.Exit<unknown, unknown>): RunOutcome => {
  if (Exit.isSuccess(exit)) return "completed"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  return timedOutIn(task, exit.cause) === undefined ? "failed" : "timedOut"
}

const endRun = <E>(
  task: TaskImpl,
  runs: Counts,
  run: number,
  exit: Exit.Exit<unknown, E>,
  took: number,
  { context }: Fiber.Fiber<unknown, unknown>
): Effect.Effect<void, E> => {
  const { kind, path, scope, settings } = task
  const outcome = runOutcomeOf(task, exit)
  runs[outcome]++
  const stops = settings.onFailure === "stopApp" || settings.onFailure === "stopHost"
  const failure = Exit.isFailure(exit) && (outcome === "failed" || outcome === "timedOut") ? exit.cause : undefined
  if (failure !== undefined && !stops) {
    sayFailure(task, `Run ${run} of task ${path}`, failure, took, consequenceOf(task), context)
    tellFailure(task, failure, context)
  }
  if (listened(scope)) emit(scope, { _tag: "RunEnded", path, kind, run, outcome, took })
  return failure !== undefined && stops ? Effect.failCause(failure) : Effect.void
}

const consequenceOf = ({ scope }: TaskImpl): string => {
  if (scope.state._tag !== "Open") return "its scope is stopping anyway"
  const nursery = nurseryOf(scope)
  return nursery === undefined ? "the next run is not affected" : `the body and the tasks of ${nursery.path} stop`
}

const said = new Throttle<ScopeImpl>()

const saySkipped = (
  task: TaskImpl,
  runs: Counts,
  skipped: number,
  { context }: Fiber.Fiber<unknown, unknown>
): void => {
  const { name, path, scope } = task
  const turn = said.turn(scope, name, now(scope.clock))
  // Be it that the run took long, that nothing else ran meanwhile, or that somebody set the wall clock forward.
  const [times, theirs] = skipped === 1 ? ["a run", "its time"] : [`${skipped} runs`, "their times"]
  const message = `Task ${path} has skipped ${times}, since ${theirs} passed before run ${runs.started} had ended`
  say(context, turn === undefined ? "Debug" : "Warn", message + keptBack(turn ?? 0), { task: path, skipped })
}

// -----------------------------------------------------------------------------
// When
// -----------------------------------------------------------------------------

/** Waits, but not when the time is there. */
export const until = (clock: Clock.Clock, millis: number): Effect.Effect<void> => {
  // As in `waitUntil`: whole milliseconds, rounded up, but not for the hair of floating point.
  const whole = Math.ceil(millis - 1e-4)
  return whole <= 0 ? Effect.void : clock.sleep(Duration.millis(whole))
}

/** The tick number of the first tick at or after a moment that is not over yet, `elapsed` after the begin. */
const tickFrom = (last: number, elapsed: number, period: number): number =>
  Math.max(last + 1, Math.ceil((elapsed - 1e-4) / period))

/** The begin of the task, and then every period. */
export const everyTick = (period: number): Tick => {
  let begin: number | undefined
  let last = 0
  return (clock) =>
    Effect.suspend(() => {
      const at = now(clock)
      begin ??= at
      const due = tickFrom(last, at - begin, period)
      const skipped = due - last - 1
      last = due
      return Effect.as(until(clock, begin + due * period - at), skipped)
    })
}

/** A wall clock that is set back by more than this many milliseconds was wrong before. */
const setBackMillis = 60_000

/** How many times are counted before others have their turn. */
const countedAtOnce = 100

/** Each time of a schedule. */
export const cronTick = (cron: Cron.Cron): Tick => {
  const after = nextOf(cron)
  let last: number | undefined
  const countBetween = (from: number, to: number): Effect.Effect<number> =>
    Effect.suspend(() => {
      let count = 0
      let at = after(from)
      while (at < to && count < countedAtOnce) {
        count++
        from = at
        at = after(at)
      }
      if (at >= to) return Effect.succeed(count)
      return Effect.map(Effect.andThen(Effect.yieldNow, countBetween(from, to)), (rest) => count + rest)
    })
  const wait = (clock: Clock.Clock, due: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      last = due
      const left = due - clock.currentTimeMillisUnsafe()
      if (left <= 0) return Effect.void
      return Effect.flatMap(until(clock, left), () => {
        // The wall clock may have gone more slowly than the timer, or have been set back.
        const at = clock.currentTimeMillisUnsafe()
        return wait(clock, at < due - setBackMillis ? after(at) : due)
      })
    })
  return (clock) =>
    Effect.suspend(() => {
      const at = clock.currentTimeMillisUnsafe()
      const from = last === undefined || at < last - setBackMillis ? at : last
      // The time that is just now counts, as long as it has not had its run.
      const due = after(Math.max(from, last === undefined ? at : at - 1))
      return Effect.flatMap(countBetween(from, due), (skipped) => Effect.as(wait(clock, due), skipped))
    })
}

/**
 * The next time of a schedule. Where the schedule has no time zone, it is that of the process: `Cron.next` by itself
 * would take the offset of the moment, and be an hour off when the clocks change.
 */
const nextOf = (cron: Cron.Cron): (after: number) => number => {
  const timeZone = DateTime.zoneMakeLocal()
  return (after) => Cron.next(cron, DateTime.makeZonedUnsafe(after, { timeZone })).getTime()
}

const refuse = (option: string, value: string, problem: string, remedy: string) =>
  Result.fail(new InvalidOption({ option, value, problem, remedy }))

/** Reads a schedule. One that never comes is refused as well. */
export const checkCron = (
  of: string,
  schedule: string | Cron.Cron,
  timeZone: string | undefined,
  at: number
): Result.Result<Cron.Cron, InvalidOption> => {
  const zone = timeZone === undefined ? undefined : DateTime.zoneFromString(shown(timeZone))
  if (zone?._tag === "None") {
    return refuse(
      `timeZone of ${of}`,
      shown(timeZone),
      "there is no such time zone",
      "Give it one such as \"Europe/Oslo\""
    )
  }
  const parsed = Cron.isCron(schedule) ? Result.succeed(schedule) : Cron.parse(shown(schedule), zone?.value)
  const option = `schedule of ${of}`
  if (Result.isFailure(parsed)) {
    const { input, message } = parsed.failure
    const part = input === undefined || input === schedule ? "" : ` (${input})`
    return refuse(
      option,
      shown(schedule),
      `it cannot be read: ${message}${part}`,
      "Give it minute, hour, day, month and weekday, such as \"30 8 * * mon-fri\", or seconds before these"
    )
  }
  try {
    nextOf(parsed.success)(at)
    return Result.succeed(parsed.success)
  } catch {
    const expression = Cron.isCron(schedule) ? Cron.format(schedule) : schedule
    return refuse(option, expression, "no day is ever like that", "Give it a day that its month has")
  }
}
