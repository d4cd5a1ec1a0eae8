/**
 * Real work: many short jobs and a few long ones, all asked for at once.
 */
import * as Effect from "effect/Effect"
import { candidates } from "../candidates/index.ts"
import { callsTimed } from "../measure.ts"
import { inRounds } from "../rounds.ts"
import { renderTable } from "../table.ts"
import { mixOf } from "../work.ts"
import type { Part } from "./part.ts"

const jobs = 600

const threads = 2

export const mix: Part = {
  rounds: 5,
  run: (rounds) =>
    Effect.scoped(Effect.gen(function*() {
      const work = mixOf(0.2, 15, 0.05)
      const all = yield* Effect.forEach(
        candidates,
        ({ name, open }) => Effect.map(open(threads), (crew) => ({ name, crew }))
      )
      const rows = yield* inRounds(all, rounds, ({ crew, name }) =>
        Effect.map(callsTimed(name, crew, work, jobs, jobs), (took) => ({ took })))
      const title = `${jobs} jobs at once, 95 % of 0.2 ms and 5 % of 15 ms, ${threads} threads`
      return [
        renderTable(title, [{ title: "until the last is done, ms", metric: "took", digits: 0, ratio: true }], rows)
      ]
    }))
}
