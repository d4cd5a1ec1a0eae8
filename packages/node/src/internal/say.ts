import type { LogLevel } from "@ambit/core/BlockingFunction"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** Logs at once, from a plain callback. */
export const say = (
  context: Context.Context<never>,
  level: LogLevel,
  message: string,
  annotations: Readonly<Record<string, unknown>>
): void => {
  Effect.runForkWith(context)(Effect.annotateLogs(Effect.logWithLevel(level)(message), annotations))
}
