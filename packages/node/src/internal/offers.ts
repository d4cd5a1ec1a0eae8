/**
 * What threads may ask of the main thread: the handlers around a call, by the
 * name of their contract.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { PoolJob } from "./job.ts"

/** A handler with everything it requires. */
export type Handler = (...args: ReadonlyArray<never>) => Effect.Effect<unknown, unknown>

export type Offered = ReadonlyMap<string, Readonly<Record<string, Handler>>>

export const Offers = Context.Reference<Offered>(
  "@ambit/node/internal/offers/Offers",
  { defaultValue: () => new Map() }
)

/** The job whose effect a fiber runs, so that the calls of that effect are known as its children. */
export const CurrentJob = Context.Reference<PoolJob | undefined>("@ambit/node/internal/offers/CurrentJob", {
  defaultValue: () => undefined
})
