/**
 * What it costs to pass something there and back.
 */
import * as Effect from "effect/Effect"
import { renderTable } from "../table.ts"
import { bigObjects, bigTexts, moving, smallObjects } from "../work.ts"
import { type Case, columnsOf, measureCases } from "./crews.ts"
import type { Part } from "./part.ts"

const objects: ReadonlyArray<Case> = [
  { title: "1 KB object, 1 in flight", work: smallObjects, inFlight: 1 },
  { title: "1 KB object, 64 in flight", work: smallObjects, inFlight: 64 },
  { title: "100 KB object", work: bigObjects, inFlight: 1 }
]

const bytes = (): ReadonlyArray<Case> => [
  { title: "100 KB string", work: bigTexts, inFlight: 1 },
  { title: "10 MB moved there and back", work: moving(), inFlight: 1 }
]

export const payloads: Part = {
  rounds: 5,
  run: (rounds) =>
    Effect.gen(function*() {
      const moved = bytes()
      const rows = yield* measureCases([...objects, ...moved], 1, rounds)
      return [
        renderTable("Objects there and back, 1 thread, µs a call", columnsOf(objects), rows),
        renderTable("Bytes there and back, 1 thread, µs a call", columnsOf(moved), rows)
      ]
    })
}
