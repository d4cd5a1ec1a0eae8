/**
 * Closed loops: so many calls are in flight, and each is followed by the next
 * as soon as it has its answer.
 */
import * as Effect from "effect/Effect"
import { movedBy, type Work } from "../work.ts"
import type { JobName } from "../workers/jobs.ts"
import type { Crew } from "./candidate.ts"

/** For those that call back. */
export const overCallbacks = (
  send: (job: JobName, input: unknown, moved: Array<ArrayBuffer>, done: (output: unknown) => void) => void
): Crew["run"] =>
(work, count, inFlight) =>
  Effect.callback<number>((resume) => {
    let next = 0
    let ended = 0
    let right = 0
    const sendNext = (): void => {
      const index = next++
      const input = work.input(index)
      send(work.job, input, movedBy(work, input), (output) => {
        if (work.isRight(index, output)) right++
        if (++ended === count) resume(Effect.succeed(right))
        else if (next < count) sendNext()
      })
    }
    for (let lane = 0; lane < Math.min(inFlight, count); lane++) sendNext()
  })

/** For those that give promises. */
export const overPromises = (
  call: (job: JobName, input: unknown, moved: Array<ArrayBuffer>) => PromiseLike<unknown>
): Crew["run"] =>
(work, count, inFlight) =>
  Effect.promise(async () => {
    let next = 0
    let right = 0
    const lane = async (): Promise<void> => {
      while (next < count) {
        const index = next++
        const input = work.input(index)
        // oxlint-disable-next-line no-await-in-loop -- a lane has one call in flight
        if (work.isRight(index, await call(work.job, input, movedBy(work, input)))) right++
      }
    }
    await Promise.all(Array.from({ length: inFlight }, lane))
    return right
  })

/** For those that give effects: a fiber for each call in flight. */
export const overEffects =
  <E, R>(call: (work: Work, input: unknown) => Effect.Effect<unknown, E, R>) =>
  (work: Work, count: number, inFlight: number): Effect.Effect<number, E, R> =>
    Effect.suspend(() => {
      let next = 0
      let right = 0
      const lane = Effect.suspend(() => {
        let index = 0
        return Effect.whileLoop({
          while: () => next < count,
          body: () => {
            index = next++
            return call(work, work.input(index))
          },
          step: (output) => {
            if (work.isRight(index, output)) right++
          }
        })
      })
      const lanes = Effect.all(Array.from({ length: inFlight }, () => lane), {
        concurrency: "unbounded",
        discard: true
      })
      return Effect.map(lanes, () => right)
    })
