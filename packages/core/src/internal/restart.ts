/**
 * A restart policy at work: what comes after a run.
 *
 * Invariants
 * - A healthy run gives schedule, budget and cool-downs back, a cool-down gives schedule and budget, and nothing else gives
 *   any of them. (Restart.test.ts, R2, R3)
 * - Between two cool-downs, no window of the budget has more restarts in it than the budget. (laws/supervision.test.ts)
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { InvalidOption } from "../InvalidOption.ts"
import type { Restart, RestartBudget, RestartKind, RestartOptions, Verdict } from "../Restart.ts"
import { RestartExhausted } from "../RestartExhausted.ts"
import type { TimeLimitExceeded } from "../TimeLimitExceeded.ts"
import { now } from "./clock.ts"
import { checkDelay, checkLimit, checkPeriod } from "./limit.ts"
import { shown } from "./shown.ts"
import { errorOf, failuresOf } from "./told.ts"

export const RestartTypeId = "~@ambit/core/Restart"

export const makeRestart = <E>(kind: RestartKind, options: RestartOptions<E>): Restart<E> => ({
  [RestartTypeId]: RestartTypeId,
  kind,
  options
})

// -----------------------------------------------------------------------------
// Checked
// -----------------------------------------------------------------------------

/** What happens when nothing is started again though the policy wants it. `escalate` is for the group to decide. */
export type Last = "giveUp" | "stopApp" | "stopHost" | "escalate"

/** A budget in milliseconds. */
export interface Budget {
  readonly restarts: number
  readonly within: number
}

interface Pause {
  readonly _tag: "CoolDown"
  readonly millis: number
  readonly cycles: number
}

/** A policy whose options are right, and complete. */
export interface Policy {
  readonly kind: RestartKind
  readonly schedule: Schedule.Schedule<unknown, Exit.Exit<unknown>>
  readonly budget: Budget | undefined
  readonly onExhausted: Last | Pause
  readonly healthyAfter: number
  readonly decide: RestartOptions<never>["decide"]
}

const defaultSchedule = Schedule.min([
  Schedule.exponential("1 second").pipe(Schedule.jittered),
  Schedule.spaced("1 minute")
])

export const defaultBudget: Budget = { restarts: 5, within: 5 * 60_000 }

const healthyMillis = 60_000

const refuse = (option: string, value: unknown, problem: string, remedy: string): Result.Result<never, InvalidOption> =>
  Result.fail(new InvalidOption({ option, value: shown(value), problem, remedy }))

const checkCount = (
  option: string,
  value: number,
  endless: boolean,
  remedy: string
): Result.Result<number, InvalidOption> =>
  (Number.isInteger(value) && value > 0) || (endless && value === Infinity)
    ? Result.succeed(value)
    : refuse(option, value, "it must be a whole number above zero", remedy)

export const checkBudget = (
  option: string,
  budget: RestartBudget | "none" | undefined,
  fallback: Budget | undefined
): Result.Result<Budget | undefined, InvalidOption> =>
  Result.gen(function*() {
    if (budget === undefined) return fallback
    if (budget === "none") return undefined
    if (typeof budget !== "object" || budget === null) {
      return yield* refuse(
        option,
        budget,
        "this is no budget",
        "Give it one such as { restarts: 5, within: \"5 minutes\" }, or \"none\""
      )
    }
    return {
      restarts: yield* checkCount(
        `restarts in ${option}`,
        budget.restarts,
        false,
        "Take Restart.temporary for no restart, and \"none\" for no budget"
      ),
      within: yield* checkPeriod(`within in ${option}`, budget.within)
    }
  })

const lasts = ["giveUp", "stopApp", "stopHost"] as const

const checkLast = (
  option: string,
  value: RestartOptions["onExhausted"],
  fallback: Last | Pause
): Result.Result<Last | Pause, InvalidOption> =>
  Result.gen(function*() {
    if (value === undefined) return fallback
    const last = lasts.find((choice) => choice === value)
    if (last !== undefined) return last
    if (typeof value !== "object" || value === null || value._tag !== "CoolDown") {
      const choices = lasts.map((choice) => `"${choice}"`).join(", ")
      return yield* refuse(option, value, "there is no such choice", `Choose one of ${choices}, or Restart.coolDown()`)
    }
    return {
      _tag: "CoolDown" as const,
      millis: yield* checkDelay(`pause in ${option}`, value.pause),
      cycles: yield* checkCount(
        `cycles in ${option}`,
        value.cycles,
        true,
        "Take \"giveUp\" for none, Infinity for ever"
      )
    }
  })

const pauseByDefault: Pause = { _tag: "CoolDown", millis: 5 * 60_000, cycles: 3 }

/** What a policy is in force for. */
export interface Use {
  readonly budget: Budget | undefined
  readonly onExhausted: Readonly<Record<RestartKind, Last | Pause>>
}

/** By itself, a task or an app has a budget of its own. */
export const alone: Use = {
  budget: defaultBudget,
  onExhausted: { permanent: "stopHost", transient: pauseByDefault, temporary: "giveUp" }
}

/** In a group, that of the group counts. */
export const inGroup: Use = {
  budget: undefined,
  onExhausted: { permanent: "escalate", transient: "escalate", temporary: "giveUp" }
}

/** Checks a policy, and fills in what it leaves open. `of` is who has it, as an error names it. */
export const checkRestart = <E>(of: string, restart: Restart<E>, use: Use): Result.Result<Policy, InvalidOption> =>
  Result.gen(function*() {
    const option = `restart of ${of}`
    if (typeof restart !== "object" || restart === null || !(RestartTypeId in restart)) {
      return yield* refuse(
        option,
        restart,
        "this is no restart policy",
        "Make one with Restart.permanent, Restart.transient or Restart.temporary"
      )
    }
    const { kind, options } = restart as Restart<never>
    const { decide, schedule } = options
    if (schedule !== undefined && !Schedule.isSchedule(schedule)) {
      return yield* refuse(
        `schedule of the ${option}`,
        schedule,
        "this is no schedule",
        "Give it one such as Schedule.exponential(\"1 second\")"
      )
    }
    if (decide !== undefined && typeof decide !== "function") {
      return yield* refuse(
        `decide of the ${option}`,
        decide,
        "this is no function",
        "Give it one that gets a failure and gives a verdict"
      )
    }
    return {
      kind,
      schedule: schedule ?? defaultSchedule,
      budget: yield* checkBudget(`budget of the ${option}`, options.budget, use.budget),
      onExhausted: yield* checkLast(`onExhausted of the ${option}`, options.onExhausted, use.onExhausted[kind]),
      healthyAfter: options.healthyAfter === undefined
        ? healthyMillis
        : yield* checkLimit(`healthyAfter of the ${option}`, options.healthyAfter),
      decide
    }
  })

// -----------------------------------------------------------------------------
// At work
// -----------------------------------------------------------------------------

/** The restarts within the last time of the budget. */
export class Window {
  private times: Array<number> = []
  readonly budget: Budget | undefined

  constructor(budget: Budget | undefined) {
    this.budget = budget
  }

  /** Takes one restart from the budget, if there is one left. */
  take(at: number): boolean {
    if (this.budget === undefined) return true
    const { restarts, within } = this.budget
    this.times = this.times.filter((time) => at - time < within)
    if (this.times.length >= restarts) return false
    this.times.push(at)
    return true
  }

  clear(): void {
    this.times = []
  }
}

/** How a run ended, as the policy sees it. */
export type RunEnd = "failed" | "returned" | "interrupted"

export type Next =
  /** `cycle` counts the cool-downs. */
  | { readonly _tag: "Again"; readonly delay: number; readonly end: RunEnd; readonly cycle: number | undefined }
  /** It has come to its end as the policy wants it. */
  | { readonly _tag: "Done" }
  /** It is not to be started again, by verdict or since something is used up. */
  | Final

/** `why` is for the log, where the kind of the policy does not say it. */
export interface Final {
  readonly _tag: "Last"
  readonly last: Last
  readonly exhausted: RestartExhausted | undefined
  readonly why: string | undefined
}

export const usedUp = (last: Last, exhausted: RestartExhausted): Final => ({
  _tag: "Last",
  last,
  exhausted,
  why: "its restarts are used up"
})

const decided = (last: Last): Final => ({
  _tag: "Last",
  last,
  exhausted: undefined,
  why: "its policy says that no restart mends this"
})

/** Its verdict or its schedule has thrown. */
export const broken: Final = { _tag: "Last", last: "giveUp", exhausted: undefined, why: "its policy has failed" }

const runOnce: Final = { _tag: "Last", last: "giveUp", exhausted: undefined, why: undefined }

type Step = (now: number, input: Exit.Exit<unknown>) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

const gravity: ReadonlyArray<Verdict> = ["restart", "giveUp", "stopApp", "stopHost"]

const noVerdict = {
  option: "what decide of a restart policy gave",
  problem: "there is no such verdict",
  remedy: `Give one of ${gravity.map((verdict) => `"${verdict}"`).join(", ")}`
}

export const endOf = (exit: Exit.Exit<unknown, unknown>): RunEnd => {
  if (Exit.isSuccess(exit)) return "returned"
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "failed"
}

export class Restarter {
  readonly policy: Policy
  readonly path: string
  private readonly clock: Clock.Clock
  private readonly window: Window
  private step: Step | undefined = undefined
  private cycles = 0

  constructor(policy: Policy, path: string, clock: Clock.Clock) {
    this.policy = policy
    this.path = path
    this.clock = clock
    this.window = new Window(policy.budget)
  }

  /** What comes after a run that took so long. */
  next(exit: Exit.Exit<unknown, unknown>, took: number): Effect.Effect<Next> {
    return Effect.suspend(() => {
      const { healthyAfter, kind } = this.policy
      if (took >= healthyAfter) this.beginAnew(0)
      const end = endOf(exit)
      if (end === "failed") {
        const verdict = this.verdictOn(exit)
        if (verdict !== "restart") return Effect.succeed<Next>(decided(verdict))
        if (kind === "temporary") return Effect.succeed<Next>(runOnce)
      } else if (kind !== "permanent") {
        return Effect.succeed<Next>({ _tag: "Done" })
      }
      if (!this.window.take(now(this.clock))) return Effect.succeed(this.exhausted(exit, end, this.policy.budget))
      return Effect.map(this.delayAfter(exit), (delay) =>
        delay === undefined
          ? this.exhausted(exit, end, undefined)
          : { _tag: "Again", delay, end, cycle: undefined })
    })
  }

  private beginAnew(cycles: number): void {
    this.step = undefined
    this.window.clear()
    this.cycles = cycles
  }

  private verdictOn(exit: Exit.Exit<unknown, unknown>): Verdict {
    const { decide } = this.policy
    if (decide === undefined || Exit.isSuccess(exit)) return "restart"
    return failuresOf(exit.cause).reduce<Verdict>((gravest, failure) => {
      const verdict = decide(failure as Cause.Fail<TimeLimitExceeded> | Cause.Die)
      const grave = gravity.indexOf(verdict)
      if (grave === -1) throw new InvalidOption({ ...noVerdict, value: shown(verdict) })
      return grave > gravity.indexOf(gravest) ? verdict : gravest
    }, "restart")
  }

  /** The wait that the schedule wants; `undefined` when it has ended. */
  private delayAfter(exit: Exit.Exit<unknown, unknown>): Effect.Effect<number | undefined> {
    const step = this.step === undefined
      ? Effect.map(Schedule.toStep(this.policy.schedule), (made) => this.step = made)
      : Effect.succeed(this.step)
    return Effect.flatMap(
      step,
      (advance) =>
        Effect.matchCauseEffect(advance(this.clock.currentTimeMillisUnsafe(), exit as Exit.Exit<unknown>), {
          onSuccess: ([, delay]) => Effect.succeed<number | undefined>(Duration.toMillis(delay)),
          onFailure: (cause) =>
            cause.reasons.some((reason) => reason._tag !== "Fail")
              ? Effect.failCause(cause as Cause.Cause<never>)
              : Effect.undefined
        })
    )
  }

  private exhausted(exit: Exit.Exit<unknown, unknown>, end: RunEnd, budget: Budget | undefined): Next {
    const { onExhausted } = this.policy
    if (typeof onExhausted === "object") {
      if (this.cycles < onExhausted.cycles) {
        const cycle = this.cycles + 1
        this.beginAnew(cycle)
        return { _tag: "Again", delay: onExhausted.millis, end, cycle }
      }
    }
    const last = typeof onExhausted === "object" ? "giveUp" : onExhausted
    return usedUp(last, exhaustedBy(this.path, exit, budget, undefined))
  }
}

export const exhaustedBy = (
  path: string,
  exit: Exit.Exit<unknown, unknown>,
  budget: Budget | undefined,
  group: string | undefined
): RestartExhausted =>
  new RestartExhausted({
    path,
    ...(group === undefined ? {} : { group }),
    ...(budget === undefined ? {} : budget),
    ...(Exit.isSuccess(exit) ? {} : { cause: Cause.squash(exit.cause) })
  })

/** What is used up as the failure of whom it was for, with all that the last run has failed with beside its cause. */
export const causeOf = <E>(
  exhausted: RestartExhausted,
  exit: Exit.Exit<unknown, E>
): Cause.Cause<E | RestartExhausted> => {
  const others = Exit.isSuccess(exit) ? [] : failuresOf(exit.cause).filter((one) => errorOf(one) !== exhausted.cause)
  return Cause.fromReasons<E | RestartExhausted>([Cause.makeFailReason(exhausted), ...others])
}
