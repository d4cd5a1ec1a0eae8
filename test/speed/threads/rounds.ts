/**
 * Rounds in one process, as in `test/speed/rounds.ts`: each begins with another
 * candidate, and every other one goes backwards.
 */
import * as Effect from "effect/Effect"
import { inOrderOf } from "../rounds.ts"

/** The figures of a row, one for each round; what it cannot do is missing. */
export interface Row<Metric extends string> {
  readonly name: string
  readonly rounds: Array<Partial<Record<Metric, number>>>
}

/** Measures everybody once for nothing, and then in every round. */
export const inRounds = <A extends { readonly name: string }, Metric extends string, E, R>(
  items: ReadonlyArray<A>,
  repetitions: number,
  measure: (item: A) => Effect.Effect<Partial<Record<Metric, number>>, E, R>
): Effect.Effect<ReadonlyArray<Row<Metric>>, E, R> =>
  Effect.gen(function*() {
    const rows = items.map((item) => ({ item, name: item.name, rounds: [] as Row<Metric>["rounds"] }))
    for (const { item } of rows) yield* measure(item)
    for (let round = 0; round < repetitions; round++) {
      for (const { item, rounds } of inOrderOf(rows, round)) rounds.push(yield* measure(item))
    }
    return rows
  })
