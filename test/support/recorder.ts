import type * as Cause from "effect/Cause"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"

/** One log record, as a test wants to look at it. */
export interface LogRecord {
  readonly level: string
  readonly message: string
  readonly annotations: Readonly<Record<string, unknown>>
  readonly cause: Cause.Cause<unknown>
}

/** Collects log records of every level instead of printing them. */
export const makeRecorder = (): { readonly records: Array<LogRecord>; readonly layer: Layer.Layer<never> } => {
  const records: Array<LogRecord> = []
  const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
    records.push({
      level: logLevel,
      message: Array.isArray(message) ? message.map(String).join(" ") : String(message),
      annotations: { ...fiber.getRef(References.CurrentLogAnnotations) },
      cause
    })
  })
  return {
    records,
    layer: Layer.merge(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, "All"))
  }
}

/** The records at a level, as one line each. */
export const linesAt = (records: ReadonlyArray<LogRecord>, level: string): Array<string> =>
  records.filter((record) => record.level === level).map((record) => record.message)
