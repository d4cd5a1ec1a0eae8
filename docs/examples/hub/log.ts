/**
 * The log of the hub: a line a record, on stderr, above the live line.
 */
import { Cause, Effect, Layer, Logger, Stdio } from "effect"
import { eraseLine } from "./screen.ts"

const textOf = ({ cause, date, logLevel, message }: Logger.Options<unknown>): string => {
  const time = date.toTimeString().slice(0, 8)
  const text = [message].flat().map(String).join(" ")
  const failure = cause.reasons.length === 0 ? "" : `\n${Cause.pretty(cause)}`
  return `${time} ${logLevel.toUpperCase().padEnd(5)} ${text}${failure}`
}

export const layer = Layer.unwrap(Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  // On a terminal, a record takes the place of the live line, which comes again below it a moment later.
  const erase = (yield* stdio.stderrIsTerminal) ? eraseLine : ""
  return Logger.layer([Logger.withConsoleError(Logger.make((options) => erase + textOf(options)))])
}))
