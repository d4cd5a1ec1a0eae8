/**
 * Tasks with a limit of their own, and the watch over what has none.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { InvalidOption } from "../InvalidOption.ts"
import { formatMillis } from "../ShutdownReport.ts"
import type { TimeLimitExceeded } from "../TimeLimitExceeded.ts"
import { checkLimit } from "./limit.ts"
import { joinPath } from "./names.ts"
import { say } from "./say.ts"
import { CurrentTask, type ScopeImpl, type TaskImpl } from "./state.ts"
import { limited } from "./timeLimit.ts"

/** Milliseconds; `"none"` is no limit on purpose, `undefined` that nobody has said anything. */
export type RunLimit = number | "none" | undefined

/** The limit that a task is given, or the one around. */
export const runLimitOf = (
  scope: ScopeImpl,
  name: string,
  options: { readonly within?: Duration.Input | "none" | undefined } | undefined | null,
  around: number | undefined
): Result.Result<RunLimit, InvalidOption> => {
  const within = options?.within
  if (within === undefined || within === "none") return Result.succeed(within ?? around)
  return checkLimit(`within of task "${joinPath(scope.path, name, 1)}"`, within)
}

/** An effect with a limit, if it has one. */
export const withinLimit = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  limit: RunLimit
): Effect.Effect<A, E | TimeLimitExceeded, R> =>
  typeof limit === "number"
    ? Effect.withFiber((fiber) => limited(effect, { millis: limit, task: fiber.getRef(CurrentTask) }))
    : effect

/** How long a run without a limit may take before a warning names it. Chosen, not measured. */
const stallMillis = 60_000

/** One run of something that is expected to end: within its limit, or watched. */
export const oneRun = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  limit: RunLimit,
  what: (task: TaskImpl) => string
): Effect.Effect<A, E | TimeLimitExceeded, R> =>
  limit === undefined
    ? Effect.acquireUseRelease(watch(what), () => effect, (timer) => Effect.sync(() => timer.interruptUnsafe()))
    : withinLimit(effect, limit)

const watch = (what: (task: TaskImpl) => string): Effect.Effect<Fiber.Fiber<void>> =>
  Effect.withFiber((fiber) => {
    const task = fiber.getRef(CurrentTask)
    const timer = Effect.runFork(fiber.getRef(Clock.Clock).sleep(Duration.millis(stallMillis)))
    timer.addObserver((exit) => {
      if (Exit.isFailure(exit) || task === undefined) return
      const age = formatMillis(stallMillis)
      const problem = `${what(task)} has not ended after ${age}, and has no limit`
      say(fiber.context, "Warn", `${problem}. Give it one with within, which may be "none"`, { task: task.path, age })
    })
    return Effect.succeed(timer)
  })
