/**
 * What others have handed over, as text. Messages and reports are made of it, so
 * nothing in here throws, whatever the value does.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"

const orElse = (text: () => string, otherwise: string): string => {
  try {
    return text()
  } catch {
    return otherwise
  }
}

const plain = (value: unknown): string =>
  typeof value === "object" && value !== null && !(value instanceof Error)
    ? JSON.stringify(value) ?? "undefined"
    : String(value)

/** Any value as text. */
export const shown = (value: unknown): string =>
  orElse(
    () => Duration.isDuration(value) ? Duration.format(value) : plain(value),
    `a value of type ${typeof value} that cannot be shown`
  )

/** A cause as text, also one whose error cannot be rendered. */
export const shownCause = (cause: Cause.Cause<unknown>): string =>
  orElse(() => Cause.pretty(cause), "an error that cannot be shown")
