import type * as Scheduler from "effect/Scheduler"
import type { Random } from "./random.ts"

/**
 * A scheduler that only collects what fibers want to run, until the test picks
 * the next piece, at random but by a seed. So every interleaving can be had, and
 * had again.
 */
export interface CrankedScheduler extends Scheduler.Scheduler {
  /** Runs one collected piece; `false` when there is none. */
  readonly crank: () => boolean
}

export const makeCrankedScheduler = (random: Random): CrankedScheduler => {
  const pieces: Array<() => void> = []
  return {
    executionMode: "async",
    shouldYield: () => random.chance(0.2),
    makeDispatcher: () => ({
      scheduleTask: (piece) => {
        pieces.push(piece)
      },
      flush: () => {}
    }),
    crank: () => {
      if (pieces.length === 0) return false
      const [piece] = pieces.splice(random.below(pieces.length), 1)
      piece!()
      return true
    }
  }
}
