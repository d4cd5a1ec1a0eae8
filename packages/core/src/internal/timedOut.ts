/**
 * Which tasks have been ended by their own limit. Their exit alone cannot tell: a limit inside of a task, or a task
 * that this one waits for, fails with the same error.
 */
import type * as Cause from "effect/Cause"
import type { TimeLimitExceeded } from "../TimeLimitExceeded.ts"
import type { TaskImpl } from "./state.ts"
import { errorOf, failuresOf } from "./told.ts"

/** The end of a task, or of one of its runs, by its limit. */
export interface TimedOut {
  readonly task: TaskImpl
  readonly limit: number
  /** Whether it did not end at once. */
  readonly left: boolean
}

const kept = new WeakMap<object, TimedOut>()

export const keepTimedOut = (error: TimeLimitExceeded, task: TaskImpl, left: boolean): void => {
  kept.set(error, { task, limit: error.limit, left })
}

/** How the limit of a task has ended it, if that is what the cause tells. */
export const timedOutIn = (task: TaskImpl, cause: Cause.Cause<unknown>): TimedOut | undefined => {
  const failures = failuresOf(cause)
  if (failures.length !== 1) return undefined
  const error = errorOf(failures[0]!)
  const timedOut = typeof error === "object" && error !== null ? kept.get(error) : undefined
  return timedOut?.task === task ? timedOut : undefined
}
