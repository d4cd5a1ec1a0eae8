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
  bound?: Bound
): Result.Result<number, InvalidOption> => {
  const millis = read(value)
  if (millis === undefined || Number.isNaN(millis)) {
    return refuse(option, value, "this is not a duration", "Give it one such as \"5 seconds\"")
  }
  if (millis <= 0) {
    return refuse(option, value, "a limit must be longer than zero", "Give it a duration such as \"5 seconds\"")
  }
  if (millis === Infinity) {
    return refuse(option, value, "a limit must come at some time", "Give it a finite duration such as \"1 hour\"")
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

/** Checks how long clean-up may take, in milliseconds; zero is no clean-up at all. */
export const checkGrace = (option: string, value: Duration.Input): Result.Result<number, InvalidOption> =>
  read(value) === 0 ? Result.succeed(0) : checkLimit(option, value)

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

// The phases around the stops of the apps get a tenth of a short host each.
const phase = (
  option: string,
  value: Duration.Input | undefined,
  fallback: number,
  host: Bound
): Result.Result<number, InvalidOption> =>
  value === undefined ? Result.succeed(Math.min(fallback, host.millis / 10)) : checkLimit(option, value, host)

/** The phases of a stop come one after the other, so those that are given must fit into the host together. */
const checkSum = (
  given: ReadonlyArray<Bound>,
  host: Bound
): Result.Result<void, InvalidOption> => {
  const sum = given.reduce((all, limit) => all + limit.millis, 0)
  if (sum <= host.millis) return Result.void
  return refuse(
    given.map((limit) => `${limit.name} (${formatMillis(limit.millis)})`).join(" + "),
    formatMillis(sum),
    `together they do not fit into ${host.name}, which is ${formatMillis(host.millis)}`,
    "Lower some of them or raise the other"
  )
}

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
    const appStop = yield* within(names.appStop, options.appStop, base.appStop, inHost)
    const inApp = { name: names.appStop, millis: appStop }
    const noDrain = options.drain === "none" || (options.drain === undefined && base.drain === undefined)
    const limits = {
      hostStop,
      announce: yield* phase(names.announce, options.announce, base.announce, inHost),
      appStart: options.appStart === undefined
        ? base.appStart
        : yield* checkOptionalLimit(names.appStart, options.appStart),
      appStop,
      hookStop: yield* within(names.hookStop, options.hookStop, base.hookStop, inApp),
      drain: noDrain ? undefined : yield* within(names.drain, options.drain, base.drain ?? appStop, inApp),
      taskStop: yield* within(names.taskStop, options.taskStop, base.taskStop, inApp),
      finalWrite: yield* phase(names.finalWrite, options.finalWrite, base.finalWrite, inHost),
      closing: yield* phase(names.closing, options.closing, base.closing, inHost),
      extension: options.extension === undefined
        ? base.extension
        : yield* checkOptionalLimit(names.extension, options.extension)
    }
    yield* checkSum(
      (["announce", "appStop", "finalWrite", "closing"] as const)
        .filter((name) => options[name] !== undefined)
        .map((name) => ({ name: names[name], millis: limits[name] })),
      inHost
    )
    return limits
  })
