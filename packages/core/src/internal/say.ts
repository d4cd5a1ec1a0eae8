import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import type { TaskEvent } from "../Task.ts"
import type { ScopeImpl } from "./state.ts"

type Level = "Debug" | "Info" | "Warn" | "Error"

/** Logs at once, from anywhere; loggers that throw are no reason to stop. */
export const say = (
  context: Context.Context<never>,
  level: Level,
  message: string,
  annotations: Record<string, unknown>,
  cause?: Cause.Cause<unknown>
): void => {
  const log = cause === undefined
    ? Effect.logWithLevel(level)(message)
    : Effect.logWithLevel(level)(message, cause)
  Effect.runForkWith(context)(Effect.annotateLogs(log, annotations))
}

export const emit = (scope: ScopeImpl, event: TaskEvent): void => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (at.pubsub !== undefined) PubSub.publishUnsafe(at.pubsub, [event])
  }
}

// Events are made only for those who listen.
export const listened = (scope: ScopeImpl): boolean => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (at.pubsub !== undefined) return true
  }
  return false
}
