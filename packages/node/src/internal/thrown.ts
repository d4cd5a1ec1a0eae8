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

/** How many errors travel with one, as causes and in lists, so that lists of lists come to an end. */
const mostErrors = 1000

/** A thrown thing on its way, with the errors of an `AggregateError`. */
interface Travelling extends Thrown {
  readonly errors?: ReadonlyArray<Travelling> | undefined
}

/** What a value looks like, whatever it does when it is asked. */
export const textOf = (value: unknown): string => {
  try {
    return String(value)
  } catch {
    return "a value that cannot be shown"
  }
}

/**
 * The value if it can be cloned, or else what `otherwise` gives. It is the clone
 * that travels: a getter may give something else when it is asked again.
 */
const travelling = (value: unknown, otherwise: (value: object) => unknown = textOf): unknown => {
  if (value === null || (typeof value !== "object" && typeof value !== "function" && typeof value !== "symbol")) {
    return value
  }
  try {
    return structuredClone(value)
  } catch {
    return typeof value === "object" ? otherwise(value) : textOf(value)
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

const keysOf = (value: object): ReadonlyArray<string> => {
  try {
    return Object.keys(value)
  } catch {
    return []
  }
}

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

/** The own fields of an object, as far as they can be cloned, and else as text. */
export const travellingFields = (value: object): Record<string, unknown> =>
  Object.fromEntries(keysOf(value).map((key) => [key, travelling(fieldOf(value, key))]))

/** Every error has these, and they travel as what they are. */
const ownWay = ["message", "stack", "cause"]

/** What is no error, with every field that can be cloned, and the rest as text. */
const travellingValue = (value: object): unknown => {
  const cloned = travelling(value, fieldByField)
  // The tag of an instance may stand on its class, which no clone keeps.
  const tag = fieldOf(value, "_tag")
  if (typeof tag === "string" && typeof cloned === "object" && cloned !== null && isPlain(cloned)) {
    if (!Object.hasOwn(cloned, "_tag")) Object.assign(cloned, { _tag: tag })
  }
  return cloned
}

const fieldByField = (value: object): unknown => {
  if (Array.isArray(value)) return value.map((item) => travelling(item))
  const keys = keysOf(value)
  if (keys.length === 0) return textOf(value)
  return Object.fromEntries(keys.map((key) => [key, travelling(fieldOf(value, key))]))
}

const asText = (error: unknown): Travelling => ({
  name: "Error",
  message: textOf(error),
  stack: "",
  fields: {},
  cause: undefined,
  value: textOf(error),
  isError: false
})

/** Makes anything that was thrown ready to travel. It never throws, whatever the thing does when it is looked at. */
export const encodeThrown = (error: unknown): Thrown => encode(error, 0, { left: mostErrors })

const encode = (error: unknown, depth: number, budget: { left: number }): Travelling => {
  try {
    if (typeof error === "object" && error !== null) return encodeObject(error, depth, budget)
    return { ...asText(error), value: travelling(error) }
  } catch {
    return asText(error)
  }
}

const encodeObject = (error: object, depth: number, budget: { left: number }): Travelling => {
  const fields = travellingFields(error)
  for (const key of ownWay) delete fields[key]
  // The tag of an Effect error stands on the prototype or on the instance.
  const tag = fieldOf(error, "_tag")
  if (typeof tag === "string") fields["_tag"] = tag
  const inner = (value: unknown): ReadonlyArray<Travelling> =>
    depth >= deepestCause || budget.left-- <= 0 ? [] : [encode(value, depth + 1, budget)]
  const cause = fieldOf(error, "cause")
  const errors = error instanceof AggregateError ? fieldOf(error, "errors") : undefined
  const isError = error instanceof Error || types.isNativeError(error)
  return {
    name: textOf(fieldOf(error, "name") ?? "Error"),
    message: textOf(fieldOf(error, "message") ?? ""),
    stack: textOf(fieldOf(error, "stack") ?? ""),
    fields,
    cause: cause === undefined ? undefined : inner(cause)[0],
    value: isError ? undefined : travellingValue(error),
    isError,
    errors: Array.isArray(errors) ? errors.flatMap(inner) : undefined
  }
}

const languageErrors = new Map<string, ErrorConstructor>(
  Object.entries({ EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError })
)

/** An error with everything that has travelled; its class is that of the language, or `Error`. */
export const decodeThrown = (thrown: Travelling): unknown => {
  if (!thrown.isError) return thrown.value
  const Class = languageErrors.get(thrown.name) ?? Error
  const cause = thrown.cause === undefined ? undefined : { cause: decodeThrown(thrown.cause) }
  const error = thrown.errors === undefined
    ? new Class(thrown.message, cause)
    : new AggregateError(thrown.errors.map(decodeThrown), thrown.message, cause)
  if (error.name !== thrown.name && !("name" in thrown.fields)) hidden(error, "name", thrown.name)
  hidden(error, "stack", thrown.stack)
  return Object.assign(error, thrown.fields)
}

const hidden = (error: Error, key: string, value: string): void => {
  Object.defineProperty(error, key, { value, configurable: true, enumerable: false, writable: true })
}
