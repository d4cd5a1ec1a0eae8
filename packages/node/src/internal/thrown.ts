/**
 * Errors on their way between threads.
 *
 * A structured clone drops own fields and classes, and throws when one field
 * cannot be cloned. So an error travels field by field, and what cannot be
 * cloned as text. Threads load this file, so it imports no Effect.
 */
import { types } from "node:util"
import type { Thrown } from "./protocol.ts"

/** Deep enough for any real chain of causes, and an end for those that go in circles. */
const deepestCause = 8

const textOf = (value: unknown): string => {
  try {
    return String(value)
  } catch {
    return "a value that cannot be shown"
  }
}

/** The value if it can be cloned, or text. */
const travelling = (value: unknown): unknown => {
  if (value === null || (typeof value !== "object" && typeof value !== "function" && typeof value !== "symbol")) {
    return value
  }
  try {
    structuredClone(value)
    return value
  } catch {
    return textOf(value)
  }
}

// A getter may throw, and an error must arrive all the same.
const fieldOf = (error: object, key: string): unknown => {
  try {
    return (error as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

const ownWay = new Set(["name", "message", "stack", "cause"])

/** The own fields of an object, as far as they can be cloned, and else as text. */
export const travellingFields = (value: object): Record<string, unknown> => {
  const fields: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    if (!ownWay.has(key)) fields[key] = travelling(fieldOf(value, key))
  }
  return fields
}

export const encodeThrown = (error: unknown, depth = 0): Thrown => {
  if (typeof error !== "object" || error === null) {
    return {
      name: "Error",
      message: textOf(error),
      stack: "",
      fields: {},
      cause: undefined,
      value: travelling(error),
      isError: false
    }
  }
  const fields = travellingFields(error)
  // The tag of an Effect error stands on the prototype or on the instance.
  const tag = fieldOf(error, "_tag")
  if (typeof tag === "string") fields["_tag"] = tag
  const cause = fieldOf(error, "cause")
  const isError = error instanceof Error || types.isNativeError(error)
  return {
    name: textOf(fieldOf(error, "name") ?? "Error"),
    message: textOf(fieldOf(error, "message") ?? ""),
    stack: textOf(fieldOf(error, "stack") ?? ""),
    fields,
    cause: cause === undefined || depth >= deepestCause ? undefined : encodeThrown(cause, depth + 1),
    value: isError ? undefined : travelling(error),
    isError
  }
}

const languageErrors: Readonly<Record<string, ErrorConstructor>> = {
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError
}

/** An error with everything that has travelled; its class is that of the language, or `Error`. */
export const decodeThrown = (thrown: Thrown): unknown => {
  if (!thrown.isError) return thrown.value
  const Class = languageErrors[thrown.name] ?? Error
  const cause = thrown.cause === undefined ? undefined : { cause: decodeThrown(thrown.cause) }
  const error = new Class(thrown.message, cause)
  if (error.name !== thrown.name) hidden(error, "name", thrown.name)
  hidden(error, "stack", thrown.stack)
  return Object.assign(error, thrown.fields)
}

const hidden = (error: Error, key: string, value: string): void => {
  Object.defineProperty(error, key, { value, configurable: true, enumerable: false, writable: true })
}
