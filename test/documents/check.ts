import * as Equal from "effect/Equal"
import { AssertionError } from "node:assert"
import { inspect, isDeepStrictEqual } from "node:util"

// `Equal` compares values of Effect, and arrays and objects by what is in them. It remembers the hash of what it has
// seen, so an array that has grown since needs the second look.
const same = (actual: unknown, expected: unknown): boolean =>
  Equal.equals(actual, expected) || isDeepStrictEqual(actual, expected)

const show = (value: unknown): string => inspect(value, { depth: 6, breakLength: 100 })

/** The expectations of one example: they compare, and know which of them was never reached. */
export interface Expectations {
  readonly check: (line: number, actual: unknown, expected: unknown) => void
  readonly unreached: () => ReadonlyArray<string>
}

export const expectations = (file: string, lines: ReadonlyArray<number>): Expectations => {
  const unreached = new Set(lines)
  const check = (line: number, actual: unknown, expected: unknown): void => {
    unreached.delete(line)
    if (same(actual, expected)) return
    throw new AssertionError({
      message: `${file}:${line}: expected ${show(expected)}, got ${show(actual)}`,
      actual,
      expected,
      operator: "Equal.equals",
      stackStartFn: check
    })
  }
  return { check, unreached: () => [...unreached].map((line) => `${file}:${line}`) }
}
