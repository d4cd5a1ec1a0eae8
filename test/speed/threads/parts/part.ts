import type * as Effect from "effect/Effect"

/** A part of the comparison. */
export interface Part {
  /** As many rounds as fit in a minute or so. */
  readonly rounds: number
  /** Gives the tables. */
  readonly run: (rounds: number) => Effect.Effect<ReadonlyArray<string>, unknown>
}
