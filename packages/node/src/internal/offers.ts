/**
 * What threads may ask of the main thread: the handlers around a call, by the
 * name of their contract.
 */
import * as Task from "@ambit/core/Task"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Errand } from "./job.ts"

export interface Handler {
  readonly effect: (...args: ReadonlyArray<never>) => Effect.Effect<unknown, unknown>
  /** In which context it runs for somebody, with everything that it requires. */
  readonly contextFor: (calling: Context.Context<never>) => Context.Context<never>
}

export type Offered = ReadonlyMap<string, Readonly<Record<string, Handler>>>

export const Offers = Context.Reference<Offered>(
  "@ambit/node/internal/offers/Offers",
  { defaultValue: () => new Map() }
)

/** The question that a fiber answers, so that the calls it makes are known as those that the question waits for. */
export const CurrentErrand = Task.errand as Context.Reference<Errand | undefined>

/** That question, if somebody still waits for its answer. */
export const errandIn = (context: Context.Context<never>): Errand | undefined => {
  const errand = Context.get(context, CurrentErrand)
  return errand === undefined || errand.asker.question?.number !== errand.question ? undefined : errand
}
