/**
 * Foreign clean-up: hooks and finalizers. Each runs in a fiber of its own, with a
 * deadline that stands beside, never around.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { formatMillis, type HookReport, roundMillis, type StopPhase } from "../ShutdownReport.ts"
import { moment, now, timeLeft, waitUntil } from "./clock.ts"
import type { Share } from "./pace.ts"
import { placeOf } from "./place.ts"
import { say } from "./say.ts"
import { shownCause } from "./shown.ts"
import type { ScopeImpl } from "./state.ts"

export interface Hook {
  readonly path: string
  readonly run: Effect.Effect<unknown, unknown>
  /** Milliseconds. */
  readonly within: number
  /** The phase that it belongs to; those of `App.onStop` belong to none. */
  readonly phase: StopPhase | undefined
}

/** For whom clean-up runs, and how the stop stands that it is part of. */
export interface CleanUpOf {
  readonly scope: ScopeImpl
  readonly context: Context.Context<never>
  /** Whether a virtual clock was seen standing still. */
  readonly stop: { stalled: boolean }
}

/** The scope of the app that this fiber cleans up for, in a hook or in the release of its resources. */
export const CurrentCleanUp = Context.Reference<ScopeImpl | undefined>("@ambit/core/internal/hooks/CurrentCleanUp", {
  defaultValue: () => undefined
})

/** Clean-up that has run, or runs on after its time. */
export interface CleanUp {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly overran: boolean
}

/** Runs clean-up and waits for it up to a deadline. Past that it is interrupted and left alone. */
export const runUntil = (
  of: CleanUpOf,
  effect: Effect.Effect<unknown, unknown>,
  deadline: number,
  share: Share
): Effect.Effect<CleanUp> =>
  Effect.gen(function*() {
    const fiber = Effect.runForkWith(Context.add(of.context, CurrentCleanUp, of.scope))(effect)
    const end = yield* waitUntil(Fiber.await(fiber), of.scope, deadline, share, () => 0)
    if (end === "standstill") of.stop.stalled = true
    const overran = fiber.pollUnsafe() === undefined
    if (overran) fiber.interruptUnsafe()
    return { fiber, overran }
  })

/** Says when clean-up that was given up now ends after all, and what it has failed with. */
export const sayLateEnd = (
  fiber: Fiber.Fiber<unknown, unknown>,
  clock: Clock.Clock,
  context: Context.Context<never>,
  what: string,
  annotations: Readonly<Record<string, unknown>>
): void => {
  const since = now(clock)
  fiber.addObserver((exit) => {
    const late = formatMillis(now(clock) - since)
    const cause = Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause) ? exit.cause : undefined
    const text = `${what} ended after all, ${late} after it was given up`
    say(context, cause === undefined ? "Warn" : "Error", text, { ...annotations, late }, cause)
  })
}

/** What is left until a deadline; nothing once a virtual clock was seen standing still. */
export const leftUntil = (of: CleanUpOf, deadline: number, share: Share): number =>
  of.stop.stalled ? 0 : timeLeft(of.scope, deadline, share)

/** Runs hooks one after the other, the last registered first, and tells of each when it is over. */
export const runHooks = (
  of: CleanUpOf,
  registered: ReadonlyArray<Hook>,
  deadline: number,
  share: Share,
  tell: (report: HookReport) => void
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const hooks = registered.toReversed()
    for (let index = 0; index < hooks.length; index++) {
      const hook = hooks[index]!
      const remaining = leftUntil(of, deadline, share)
      // What the later hooks need is kept for them, up to an equal share of what is left.
      const equal = remaining / (hooks.length - index)
      const kept = hooks.slice(index + 1).reduce((sum, later) => sum + Math.min(later.within, equal), 0)
      const limit = roundMillis(Math.min(hook.within, remaining - kept))
      if (limit <= 0) {
        tell({ ...lineOf(hook), outcome: "neverStarted", took: 0, within: 0 })
        say(of.context, "Error", `Hook ${hook.path} did not run: no time was left for it; the stop goes on`, {
          hook: hook.path
        })
        continue
      }
      const begin = now(of.scope.clock)
      const from = moment(of.scope)
      const ran = yield* runUntil(of, hook.run, from + limit, share)
      const exit = ran.fiber.pollUnsafe()
      const within = roundMillis(limit + of.scope.pace.grantedSince(begin, from))
      const report = reportOf(hook, ran, exit, roundMillis(now(of.scope.clock) - begin), within)
      tell(report)
      if (report.outcome !== "completed") sayHook(of.context, report, exit)
      if (exit === undefined) {
        sayLateEnd(ran.fiber, of.scope.clock, of.context, `Hook ${hook.path}`, { hook: hook.path })
      }
    }
  })

const lineOf = ({ path, phase }: Hook): Pick<HookReport, "path" | "phase"> =>
  phase === undefined ? { path } : { path, phase }

const reportOf = (
  hook: Hook,
  { fiber, overran }: CleanUp,
  exit: Exit.Exit<unknown, unknown> | undefined,
  took: number,
  within: number
): HookReport => {
  const line = { ...lineOf(hook), took, within }
  if (exit !== undefined && Exit.isSuccess(exit)) return { ...line, outcome: "completed" }
  // Interrupted by us, at its limit: it overran, also if it has ended since.
  if (exit !== undefined && !(overran && Cause.hasInterruptsOnly(exit.cause))) {
    return { ...line, outcome: "failed", error: shownCause(exit.cause) }
  }
  const place = exit === undefined ? placeOf(fiber) : undefined
  return { ...line, outcome: "abandoned", ...(place === undefined ? {} : { place }) }
}

const sayHook = (
  context: Context.Context<never>,
  report: HookReport,
  exit: Exit.Exit<unknown, unknown> | undefined
): void => {
  const { path: hook, place, within } = report
  if (report.outcome === "failed" && exit !== undefined && Exit.isFailure(exit)) {
    return say(context, "Error", `Hook ${hook} failed; the stop goes on`, { hook }, exit.cause)
  }
  const where = place === undefined ? "" : ` at ${place}`
  say(
    context,
    "Error",
    `Hook ${hook} did not end within ${Math.round(within)} ms; it is given up${where}, and the stop goes on`,
    { hook }
  )
}
