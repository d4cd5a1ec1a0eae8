import * as Result from "effect/Result"
import { InvalidOption } from "../InvalidOption.ts"
import { shown } from "./shown.ts"

/** What is wrong with a name that becomes one part of a path. */
const problemOf = (name: unknown): string | undefined => {
  if (typeof name !== "string") return "a name must be a string"
  if (name.trim() === "") return "a name must not be empty"
  if (name.includes("/")) return "a name is one part of a path, so it must not contain \"/\""
  if (/#\d+$/.test(name)) return "\"#\" and a number tell members of one name apart, so a name must not end in them"
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
      value: shown(name),
      problem,
      remedy: "Give it a short name without slashes, such as \"poll\""
    })
  )
}

// Most spawns say the name that the spawn before them said.
let lastValid = ""

/** Whether `checkName` would refuse the name; free of allocation, for the hot path. */
export const isValidName = (name: string): boolean => {
  if (name === lastValid) return name !== ""
  if (problemOf(name) !== undefined) return false
  lastValid = name
  return true
}

/** How many live members of a scope share one name, and the last number that one of them got. */
interface Namesakes {
  live: number
  last: number
}

/** What most names have: one member. Shared, so that a name costs no object. */
const alone: Namesakes = { live: 1, last: 1 }

/**
 * The names of the live members of a scope. The first of a name is `poll`, the
 * second `poll#2`. A number is not used again while any namesake lives.
 *
 * Invariant: the name that is `entering` is not in the map. It gets there when
 * its member stays (`keep`) or another one comes (`take`), and never when the
 * member ends within its first step, as most short tasks do.
 */
export class Names {
  private readonly taken = new Map<string, Namesakes>()
  private entering: string | undefined = undefined

  /** Takes the next number for a name: 1 for the first live member. */
  take(name: string): number {
    if (this.entering !== undefined) this.keep(this.entering)
    const namesakes = this.taken.get(name)
    if (namesakes === undefined) {
      this.entering = name
      return 1
    }
    if (namesakes === alone) {
      this.taken.set(name, { live: 2, last: 2 })
      return 2
    }
    namesakes.live++
    return ++namesakes.last
  }

  /** Says that the member which took the name last stays for longer. */
  keep(name: string): void {
    if (this.entering !== name) return
    this.entering = undefined
    this.taken.set(name, alone)
  }

  /** How many live members have a name. */
  count(name: string): number {
    return this.taken.get(name)?.live ?? (this.entering === name ? 1 : 0)
  }

  /** Gives a number back when its member has ended. */
  release(name: string): void {
    if (this.entering === name) {
      this.entering = undefined
      return
    }
    const namesakes = this.taken.get(name)
    if (namesakes === alone || (namesakes !== undefined && --namesakes.live === 0)) this.taken.delete(name)
  }

  /** Gives all numbers back, when nobody takes any more. */
  clear(): void {
    this.taken.clear()
  }
}

/** `hub/sensor` and `poll`, 2 make `hub/sensor/poll#2`. */
export const joinPath = (parent: string, name: string, ordinal: number): string => {
  const part = ordinal === 1 ? name : `${name}#${ordinal}`
  return parent === "" ? part : `${parent}/${part}`
}
