import * as Result from "effect/Result"
import { InvalidOption } from "../InvalidOption.ts"

/** What is wrong with a name that becomes one part of a path. */
const problemOf = (name: unknown): string | undefined => {
  if (typeof name !== "string") return "a name must be a string"
  if (name.trim() === "") return "a name must not be empty"
  if (name.includes("/")) return "a name is one part of a path, so it must not contain \"/\""
  return undefined
}

/**
 * Checks the name of a host, an app, a scope, a task or a hook.
 */
export const checkName = (of: string, name: unknown): Result.Result<void, InvalidOption> => {
  const problem = problemOf(name)
  return problem === undefined ? Result.void : Result.fail(
    new InvalidOption({
      option: `the name of ${of}`,
      value: String(name),
      problem,
      remedy: "Give it a short name without slashes, such as \"poll\""
    })
  )
}

/** Whether `checkName` would refuse the name; free of allocation, for the hot path. */
export const isValidName = (name: string): boolean => problemOf(name) === undefined

/**
 * How many live members of a scope share one name. The first is `poll`, the
 * second `poll#2`. A number is not used again while any namesake lives.
 */
export interface Namesakes {
  live: number
  last: number
}

/** Takes the next number for a name: 1 for the first live member. */
export const takeOrdinal = (names: Map<string, Namesakes>, name: string): number => {
  const namesakes = names.get(name)
  if (namesakes === undefined) {
    names.set(name, { live: 1, last: 1 })
    return 1
  }
  namesakes.live++
  return ++namesakes.last
}

/** Gives a number back when its member has ended. */
export const releaseOrdinal = (names: Map<string, Namesakes>, name: string): void => {
  const namesakes = names.get(name)
  if (namesakes !== undefined && --namesakes.live === 0) names.delete(name)
}

/** `hub/sensor` and `poll`, 2 make `hub/sensor/poll#2`. */
export const joinPath = (parent: string, name: string, ordinal: number): string => {
  const part = ordinal === 1 ? name : `${name}#${ordinal}`
  return parent === "" ? part : `${parent}/${part}`
}
