import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { InvalidOption } from "../InvalidOption.ts"
import type { LimitOptions, Limits } from "../Limits.ts"
import { formatMillis } from "../ShutdownReport.ts"
import { shown } from "./shown.ts"

/** A limit that another one must fit into. */
export interface Bound {
  readonly name: string
  readonly millis: number
}

const refuse = (option: string, value: unknown, problem: string, remedy: string) =>
  Result.fail(new InvalidOption({ option, value: shown(value), problem, remedy }))

// NaN is a number, and `Duration` reads it as zero; it is an error of the caller's arithmetic.
const read = (value: unknown): number | undefined => {
  if (typeof value === "number" && Number.isNaN(value)) return undefined
  return Option.match(Duration.fromInput(value as Duration.Input), {
    onNone: () => undefined,
    onSome: Duration.toMillis
  })
}

/**
 * Checks a limit and gives it in milliseconds. A limit is longer than zero and
 * not longer than the limit it is in.
 */
export const checkLimit = (
  option: string,
  value: Duration.Input,
  bound?: Bound,
  what = "a limit"
): Result.Result<number, InvalidOption> => {
  const millis = read(value)
  if (millis === undefined || Number.isNaN(millis)) {
    return refuse(option, value, "this is not a duration", "Give it one such as \"5 seconds\"")
  }
  if (millis <= 0) {
    return refuse(option, value, `${what} must be longer than zero`, "Give it a duration such as \"5 seconds\"")
  }
  if (millis === Infinity) {
    return refuse(option, value, `${what} must come at some time`, "Give it a finite duration such as \"1 hour\"")
  }
  if (bound !== undefined && millis > bound.millis) {
    return refuse(
      option,
      value,
      `it does not fit into ${bound.name}, which is ${formatMillis(bound.millis)}`,
      `Lower the one or raise the other`
    )
  }
  return Result.succeed(millis)
}

const checkFromZero = (option: string, value: Duration.Input, what: string): Result.Result<number, InvalidOption> => {
  const millis = read(value)
  if (millis === 0) return Result.succeed(0)
  return millis !== undefined && millis < 0
    ? refuse(option, value, `${what} cannot be below zero`, "Give it a duration such as \"5 seconds\", or 0")
    : checkLimit(option, value, undefined, what)
}

/** Checks how long clean-up may take, in milliseconds; zero is no clean-up at all. */
export const checkGrace = (option: string, value: Duration.Input): Result.Result<number, InvalidOption> =>
  checkFromZero(option, value, "a grace")

/** Checks after which time something is to happen, in milliseconds; zero is at once. */
export const checkDelay = (option: string, value: Duration.Input): Result.Result<number, InvalidOption> =>
  checkFromZero(option, value, "a delay")

/** Checks a time that passes again and again, in milliseconds. */
export const checkPeriod = (option: string, value: Duration.Input): Result.Result<number, InvalidOption> =>
  checkLimit(option, value, undefined, "a period")

/** `checkLimit` for a limit that may be switched off. */
export const checkOptionalLimit = (
  option: string,
  value: Duration.Input | "none",
  bound?: Bound
): Result.Result<number | undefined, InvalidOption> =>
  value === "none" ? Result.succeed(undefined) : checkLimit(option, value, bound)

// A limit that was given must fit; one that was not follows.
const within = (
  option: string,
  value: Duration.Input | undefined,
  fallback: number,
  bound: Bound
): Result.Result<number, InvalidOption> =>
  value === undefined ? Result.succeed(Math.min(fallback, bound.millis)) : checkLimit(option, value, bound)

/**
 * The phases of a stop come one after the other, with the stops of the apps between
 * them, so those that are given must fit into the host together. Gives what is
 * left of it beside the phases.
 */
const checkSum = (
  given: LimitOptions,
  names: Readonly<Record<keyof LimitOptions, string>>,
  host: Bound
): Result.Result<number, InvalidOption> =>
  Result.gen(function*() {
    const texts: Array<string> = []
    let sum = 0
    let left = host.millis
    for (const name of ["announce", "appStop", "finalWrite", "closing"] as const) {
      const value = given[name]
      if (value === undefined) continue
      const millis = yield* checkLimit(names[name], value, host)
      texts.push(`${names[name]} (${formatMillis(millis)})`)
      sum += millis
      if (name !== "appStop") left -= millis
    }
    if (sum <= host.millis && left > 0) return left
    return yield* refuse(
      texts.join(" + "),
      formatMillis(sum),
      `together they ${sum > host.millis ? "do not fit into" : "leave nothing for the apps of"} ${host.name}, ` +
        `which is ${formatMillis(host.millis)}`,
      "Lower some of them or raise the other"
    )
  })

/**
 * Checks limits against each other and fills in what is not given from `base`.
 * `names` are what whoever gave them calls them.
 */
export const resolveLimits = (
  options: LimitOptions,
  base: Limits,
  names: Readonly<Record<keyof LimitOptions, string>>
): Result.Result<Limits, InvalidOption> =>
  Result.gen(function*() {
    const hostStop = options.hostStop === undefined
      ? base.hostStop
      : yield* checkLimit(names.hostStop, options.hostStop)
    const inHost = { name: names.hostStop, millis: hostStop }
    const left = yield* checkSum(options, names, inHost)
    // One that is not given gets a tenth of what is left, or what it has of the host that it was made for.
    const phase = (name: "announce" | "finalWrite" | "closing") =>
      options[name] === undefined
        ? Result.succeed(Math.min(base[name], Math.max(left / 10, base[name] * left / base.hostStop)))
        : checkLimit(names[name], options[name], inHost)
    const appStop = yield* within(names.appStop, options.appStop, base.appStop, inHost)
    const inApp = { name: names.appStop, millis: appStop }
    const noDrain = options.drain === "none" || (options.drain === undefined && base.drain === undefined)
    const limits = {
      hostStop,
      announce: yield* phase("announce"),
      appStart: options.appStart === undefined
        ? base.appStart
        : yield* checkOptionalLimit(names.appStart, options.appStart),
      appStop,
      hookStop: yield* within(names.hookStop, options.hookStop, base.hookStop, inApp),
      drain: noDrain ? undefined : yield* within(names.drain, options.drain, base.drain ?? appStop, inApp),
      taskStop: yield* within(names.taskStop, options.taskStop, base.taskStop, inApp),
      finalWrite: yield* phase("finalWrite"),
      closing: yield* phase("closing"),
      extension: options.extension === undefined
        ? base.extension
        : yield* checkOptionalLimit(names.extension, options.extension),
      run: options.run === undefined ? base.run : yield* checkOptionalLimit(names.run, options.run)
    }
    return limits
  })
