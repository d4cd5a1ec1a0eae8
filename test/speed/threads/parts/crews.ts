/**
 * All candidates with their pools open, and how often each can make which call
 * in the time that a measurement has.
 */
import * as Effect from "effect/Effect"
import type { Candidate, Crew } from "../candidates/candidate.ts"
import { candidates } from "../candidates/index.ts"
import { callsFilling, callsTimed } from "../measure.ts"
import { inRounds } from "../rounds.ts"
import type { Column } from "../table.ts"
import type { Work } from "../work.ts"

/** One kind of measurement. */
export interface Case {
  readonly title: string
  readonly work: Work
  readonly inFlight: number
}

interface Open {
  readonly name: string
  readonly crew: Crew
  readonly candidate: Candidate
  /** How many calls each case gets. */
  readonly counts: Map<Case, number>
}

/** How long one measurement takes at least, in milliseconds. */
const filled = 60

const measureCase = ({ counts, crew, name }: Open, one: Case) =>
  Effect.gen(function*() {
    const { inFlight, work } = one
    const count = counts.get(one) ?? (yield* callsFilling(name, crew, work, filled, inFlight))
    counts.set(one, count)
    return (yield* callsTimed(name, crew, work, count, inFlight)) * 1000 / count
  })

/** The microseconds a call in all cases, with pools of so many threads. */
export const measureCases = (cases: ReadonlyArray<Case>, threads: number, rounds: number) =>
  Effect.scoped(Effect.gen(function*() {
    const all: Array<Open> = []
    for (const candidate of candidates) {
      all.push({ name: candidate.name, crew: yield* candidate.open(threads), candidate, counts: new Map() })
    }
    return yield* inRounds(all, rounds, (open) =>
      Effect.gen(function*() {
        const figures: Record<string, number> = {}
        for (const one of cases) {
          if (one.work.job !== "move" || open.candidate.moves) figures[one.title] = yield* measureCase(open, one)
        }
        return figures
      }))
  }))

export const columnsOf = (cases: ReadonlyArray<Case>): ReadonlyArray<Column<string>> =>
  cases.map(({ title }) => ({ title, metric: title, digits: 1, ratio: true }))
