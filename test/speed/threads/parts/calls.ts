/**
 * What a call costs: a number in, a number out.
 */
import * as Effect from "effect/Effect"
import { renderTable } from "../table.ts"
import { tiny } from "../work.ts"
import { columnsOf, measureCases } from "./crews.ts"
import type { Part } from "./part.ts"

const cases = [1, 64, 1000].map((inFlight) => ({ title: `${inFlight} in flight, µs`, work: tiny, inFlight }))

export const calls: Part = {
  rounds: 5,
  run: (rounds) =>
    Effect.forEach([1, 2], (threads) =>
      Effect.map(measureCases(cases, threads, rounds), (rows) =>
        renderTable(
          `Tiny calls, ${threads} ${threads === 1 ? "thread" : "threads"}, µs a call`,
          columnsOf(cases),
          rows
        )))
}
