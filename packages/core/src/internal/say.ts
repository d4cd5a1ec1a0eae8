import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { TaskEvent } from "../Task.ts"
import type { ScopeImpl } from "./state.ts"

type Level = "Trace" | "Debug" | "Info" | "Warn" | "Error" | "Fatal"

/** Logs at once, from anywhere; loggers that throw are no reason to stop. */
export const say = (
  context: Context.Context<never>,
  level: Level,
  message: string,
  annotations: Record<string, unknown>,
  cause?: Cause.Cause<unknown>
): void => {
  const plain = Effect.logWithLevel(level)(message)
  // A logger that cannot render the cause has not written the message either.
  const log = cause === undefined
    ? plain
    : Effect.catchCause(Effect.logWithLevel(level)(message, cause), () => plain)
  Effect.runForkWith(context)(Effect.annotateLogs(log, annotations))
}

export const emit = (scope: ScopeImpl, event: TaskEvent): void => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    for (const reader of at.readers ?? []) reader.tell(event)
  }
}

/** Nothing more happens in the scope. */
export const endEvents = (scope: ScopeImpl): void => {
  for (const reader of scope.readers ?? []) reader.end()
}

// Events are made only for those who listen.
export const listened = (scope: ScopeImpl): boolean => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (at.readers !== undefined) return true
  }
  return false
}
