// @effect-diagnostics globalTimers:off
import * as Effect from "effect/Effect"

/** Real time, whatever clock the test has. */
const moment = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 2)))

/** Waits until something holds of which nobody tells. The limit of the test is the limit: a busy machine takes longer. */
export const eventually = <R>(holds: Effect.Effect<boolean, never, R>): Effect.Effect<void, never, R> =>
  Effect.flatMap(holds, (now) => now ? Effect.void : Effect.andThen(moment, eventually(holds)))
