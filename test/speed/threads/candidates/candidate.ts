/**
 * Who is compared: pools of threads that run the same jobs, each used as its
 * users would.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Work } from "../work.ts"

/** The open pool of a candidate. */
export interface Crew {
  /** Makes `count` calls, so many at a time, and gives how many answers were right. */
  readonly run: (work: Work, count: number, inFlight: number) => Effect.Effect<number, unknown>
}

export interface Candidate {
  readonly name: string
  /** Whether buffers can move to a thread and back. */
  readonly moves: boolean
  readonly open: (threads: number) => Effect.Effect<Crew, unknown, Scope.Scope>
}
