import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"

/** Runs a test body as `it.effect` does, and gives how it ends instead of failing. */
export const asTest = <A, E>(body: Effect.Effect<A, E, Scope.Scope>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.exit(body.pipe(Effect.scoped, Effect.provide([TestClock.layer(), Logger.layer([])])))

/** The error that a test runner reports for an exit. */
export const reported = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

/** All errors of an exit, in their order. */
export const errorsOf = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<unknown> =>
  Exit.isSuccess(exit) ?
    [] :
    exit.cause.reasons.map((reason) =>
      reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : "interrupted"
    )
