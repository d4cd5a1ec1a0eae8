/**
 * Rounds of measurements in one process. In each round every candidate has its
 * turn, so whatever the machine does in the meantime meets them all. Each round
 * begins with another candidate and every other one goes backwards, so nobody
 * always comes after the same neighbour.
 */
import * as Effect from "effect/Effect"
import type { Candidate } from "./candidates.ts"
import { type Figures, measure } from "./measure.ts"

/** The figures of a candidate, one for each round. */
export interface Measured {
  readonly candidate: Candidate
  readonly rounds: Array<Figures>
}

/** Enough for the compiler to have seen everything. */
const warmUpTasks = 1e4

/** Each round begins with another one, and every other round goes backwards. */
export const inOrderOf = <A>(items: ReadonlyArray<A>, round: number): ReadonlyArray<A> => {
  const first = round % items.length
  const rotated = [...items.slice(first), ...items.slice(0, first)]
  return round % 2 === 0 ? rotated : rotated.toReversed()
}

/** Candidates that stop short of a size are measured at their most, unless that is less than a tenth of it. */
const takesPart = (candidate: Candidate, size: number): boolean => candidate.most >= size / 10

export const runRounds = (
  candidates: ReadonlyArray<Candidate>,
  size: number,
  repetitions: number
): Effect.Effect<ReadonlyArray<Measured>, unknown> =>
  Effect.gen(function*() {
    // Made beforehand: making names is no part of spawning.
    const ownNames = Array.from({ length: size }, (_, index) => `t${index}`)
    const oneName = ownNames.map(() => "poll")
    const namesFor = (candidate: Candidate, most: number) =>
      (candidate.ownNames ? ownNames : oneName).slice(0, Math.min(most, candidate.most))

    const all = candidates.filter((candidate) => takesPart(candidate, size))
      .map((candidate): Measured => ({ candidate, rounds: [] }))
    for (const { candidate } of all) yield* measure(candidate, namesFor(candidate, warmUpTasks))
    for (let round = 0; round < repetitions; round++) {
      for (const { candidate, rounds } of inOrderOf(all, round)) {
        rounds.push(yield* measure(candidate, namesFor(candidate, size)))
      }
    }
    return all
  })
