/**
 * Measures calls of an open pool. Garbage is collected before, and answers are
 * checked while they come.
 */
import * as Effect from "effect/Effect"
import type { Crew } from "./candidates/candidate.ts"
import type { Work } from "./work.ts"

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** The milliseconds that an effect takes, on a clean heap. */
export const timed = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<{ readonly took: number; readonly value: A }, E, R> =>
  Effect.gen(function*() {
    yield* turn
    globalThis.gc?.()
    const begin = performance.now()
    const value = yield* effect
    return { took: performance.now() - begin, value }
  })

/** The milliseconds that so many calls take. */
export const callsTimed = (name: string, crew: Crew, work: Work, count: number, inFlight: number) =>
  Effect.gen(function*() {
    const { took, value } = yield* timed(crew.run(work, count, inFlight))
    if (value !== count) return yield* Effect.die(new Error(`${name}: ${value} of ${count} answers are right`))
    return took
  })

/** How many calls fill so many milliseconds. */
export const callsFilling = (name: string, crew: Crew, work: Work, millis: number, inFlight: number) =>
  Effect.gen(function*() {
    // The first ones load modules, the next ones are compiled, the last ones tell.
    let each = 0
    for (let rehearsal = 0; rehearsal < 3; rehearsal++) {
      const count = rehearsal === 0 ? 2 : Math.max(2 * inFlight, Math.min(1000, Math.round(millis / each)))
      each = (yield* callsTimed(name, crew, work, count, inFlight)) / count
    }
    return Math.max(inFlight === 1 ? 5 : 4 * inFlight, Math.round(millis / each))
  })
