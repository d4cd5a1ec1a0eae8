/**
 * Runs a law over random programs, each on a virtual clock of its own. `AMBIT_LAWS` sets how many, a fifth of it here;
 * `AMBIT_SEED` runs one.
 */
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"

const count = Math.ceil(Number(process.env.AMBIT_LAWS ?? 1000) / 5)
const only = process.env.AMBIT_SEED
const batch = 50

export const eachProgram = <E>(law: string, run: (seed: number) => Effect.Effect<void, E, Scope.Scope>): void => {
  describe(law, () => {
    const batches = only === undefined ? Math.ceil(count / batch) : 1
    for (let index = 0; index < batches; index++) {
      const first = only === undefined ? index * batch : Number(only)
      const last = only === undefined ? Math.min(count, first + batch) - 1 : first
      it.effect(`programs ${first} to ${last}`, () =>
        Effect.gen(function*() {
          for (let seed = first; seed <= last; seed++) yield* Effect.provide(run(seed), TestClock.layer())
        }), { timeout: 60_000 })
    }
  })
}
