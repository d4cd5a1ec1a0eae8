/**
 * What a job is, for those who start one in a way of their own.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { JobKind, JobOf } from "../Job.ts"
import { formatMillis } from "../ShutdownReport.ts"
import { say } from "./say.ts"

export const JobTypeId = "~@ambit/core/Job"

export type Effectful = (...args: never) => Effect.Effect<unknown, unknown, unknown>

/** A job as it is made; only a callback is called. */
export interface JobImpl extends JobOf<JobKind, Effectful> {
  readonly called: Called | undefined
}

interface Called {
  readonly plain: (...args: ReadonlyArray<unknown>) => unknown
  /** The same, and says it when the call took longer than its budget. */
  readonly watched: (...args: ReadonlyArray<unknown>) => unknown
  /** Milliseconds. */
  readonly budget: number | undefined
}

export const sayOverBudget = (job: string, millis: number, limit: number, context: Context.Context<never>): void => {
  const took = formatMillis(millis)
  const budget = formatMillis(limit)
  const problem = `Callback ${job} took ${took}, and its budget is ${budget}. Nothing else ran meanwhile`
  say(context, "Warn", `${problem}: make it shorter, or an effect or a blocking job`, { job, took, budget })
}
