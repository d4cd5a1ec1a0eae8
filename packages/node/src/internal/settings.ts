import { InvalidOption } from "@ambit/core/InvalidOption"
import type { Limits } from "@ambit/core/Limits"
import { formatMillis } from "@ambit/core/ShutdownReport"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { availableParallelism } from "node:os"
import type { BlockingPoolOptions } from "../BlockingPool.ts"
import type { PoolSettings } from "./pool.ts"
import { textOf } from "./thrown.ts"

const invalid = (option: string, value: unknown, problem: string, remedy: string) =>
  Result.fail(new InvalidOption({ option, value: textOf(value), problem, remedy }))

export const durationOf = (
  option: string,
  input: Duration.Input | undefined,
  fallback: number,
  least: "zero" | "more"
): Result.Result<number, InvalidOption> => {
  if (input === undefined) return Result.succeed(fallback)
  const read = input === null || Number.isNaN(input) ? Option.none() : Duration.fromInput(input)
  const millis = Option.isSome(read) ? Duration.toMillis(read.value) : Number.NaN
  if (Number.isFinite(millis) && (least === "zero" ? millis >= 0 : millis > 0)) return Result.succeed(millis)
  const problem = `this is no finite duration ${least === "zero" ? "from zero on" : "above zero"}`
  return invalid(option, input, problem, "Give it one such as \"5 seconds\"")
}

const wholeNumber = (option: string, value: number, least: number): Result.Result<number, InvalidOption> =>
  Number.isInteger(value) && value >= least
    ? Result.succeed(value)
    : invalid(
      option,
      value,
      `this is no whole number from ${least} on`,
      `Give it a number such as ${Math.max(least, 2)}`
    )

/** Also for callers whose options no compiler has checked. */
const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

const sizes = (
  of: string,
  threads: BlockingPoolOptions["threads"]
): Result.Result<{ readonly min: number; readonly max: number }, InvalidOption> =>
  Result.gen(function*() {
    if (threads === undefined || typeof threads === "number") {
      const size = yield* wholeNumber(`threads of ${of}`, threads ?? Math.max(2, availableParallelism()), 1)
      return { min: size, max: size }
    }
    if (!isObject(threads)) {
      return yield* invalid(
        `threads of ${of}`,
        threads,
        "this is neither a number nor min and max",
        "Give it a number such as 4, or { min: 1, max: 4 }"
      )
    }
    const min = yield* wholeNumber(`threads.min of ${of}`, threads.min, 0)
    const max = yield* wholeNumber(`threads.max of ${of}`, threads.max, 1)
    if (min > max) {
      return yield* invalid(
        `threads.min of ${of}`,
        min,
        `it is above threads.max, which is ${max}`,
        "Lower the one or raise the other"
      )
    }
    return { min, max }
  })

const saturationOf = (of: string, saturation: BlockingPoolOptions["saturation"]) =>
  Result.gen(function*() {
    if (saturation === "none") return undefined
    if (saturation !== undefined && !isObject(saturation)) {
      return yield* invalid(
        `saturation of ${of}`,
        saturation,
        "there is no such choice",
        "Give it { threshold: 0.75 }, or \"none\""
      )
    }
    const threshold = saturation?.threshold ?? 0.75
    if (!(typeof threshold === "number" && threshold > 0 && threshold <= 1)) {
      return yield* invalid(
        `saturation.threshold of ${of}`,
        threshold,
        "this is no share between 0 and 1",
        "Give it a share such as 0.75, or set saturation to \"none\""
      )
    }
    return { threshold, every: yield* durationOf(`saturation.every of ${of}`, saturation?.every, 30_000, "more") }
  })

const resources = new Set(["maxOldGenerationSizeMb", "maxYoungGenerationSizeMb", "codeRangeSizeMb", "stackSizeMb"])

// Node ignores what it does not know, and the limit with it.
const resourceLimitsOf = (
  of: string,
  limits: BlockingPoolOptions["resourceLimits"]
): Result.Result<BlockingPoolOptions["resourceLimits"], InvalidOption> => {
  if (limits === undefined) return Result.succeed(undefined)
  const example = "Give it megabytes, such as { maxOldGenerationSizeMb: 256 }"
  if (!isObject(limits)) return invalid(`resourceLimits of ${of}`, limits, "this is no object", example)
  for (const [limit, value] of Object.entries(limits as Record<string, unknown>)) {
    const option = `resourceLimits.${limit} of ${of}`
    if (!resources.has(limit)) return invalid(option, value, "Node knows no such limit", example)
    if (value !== undefined && !(typeof value === "number" && value > 0 && value < Infinity)) {
      return invalid(option, value, "this is no number above zero", example)
    }
  }
  return Result.succeed(limits)
}

// The program has to end in the time that the host has, so what comes on top is shorter.
const stopWithinOf = (
  of: string,
  input: Duration.Input | undefined,
  { hostStop }: Pick<Limits, "hostStop">,
  fallback: number
): Result.Result<number, InvalidOption> =>
  Result.flatMap(
    durationOf(`stopWithin of ${of}`, input, Math.min(fallback, hostStop), "more"),
    (millis) =>
      input === undefined || millis < hostStop
        ? Result.succeed(millis)
        : invalid(
          `stopWithin of ${of}`,
          input,
          `it is not shorter than hostStop, which is ${formatMillis(hostStop)}`,
          "Lower the one or raise the other"
        )
  )

/** Enough for a module that is slow to load, and for a timer of a thread. */
const signWithin = 5000

/** Checks the options of a pool against the limits around it, and fills in what is not given. */
export const settingsOf = (
  options: BlockingPoolOptions,
  limits: Pick<Limits, "hostStop">,
  stopWithinByDefault = 10_000
): Result.Result<PoolSettings, InvalidOption> =>
  Result.gen(function*() {
    if (!isObject(options)) {
      return yield* invalid("the options of a pool", options, "this is no object", "Give it { threads: 4 }")
    }
    const name = options.name ?? "blocking"
    if (typeof name !== "string" || name.trim() === "" || name.includes("/")) {
      return yield* invalid(
        "name of a pool",
        name,
        "a name is not empty and has no slash",
        "Give it a name such as \"blocking\""
      )
    }
    const of = `pool "${name}"`
    const whenFull = options.whenFull ?? "wait"
    if (whenFull !== "wait" && whenFull !== "fail") {
      return yield* invalid(`whenFull of ${of}`, whenFull, "there is no such choice", "Choose \"wait\" or \"fail\"")
    }
    const spare = options.spare ?? false
    if (typeof spare !== "boolean") {
      return yield* invalid(`spare of ${of}`, spare, "this is neither true nor false", "Give it true or false")
    }
    const stopWithin = yield* stopWithinOf(of, options.stopWithin, limits, stopWithinByDefault)
    return {
      name,
      ...yield* sizes(of, options.threads),
      spare,
      capacity: yield* wholeNumber(`capacity of ${of}`, options.capacity ?? 1000, 0),
      whenFull,
      grace: yield* durationOf(`grace of ${of}`, options.grace, 1000, "zero"),
      idleAfter: yield* durationOf(`idleAfter of ${of}`, options.idleAfter, 30_000, "more"),
      stopWithin,
      resourceLimits: yield* resourceLimitsOf(of, options.resourceLimits),
      saturation: yield* saturationOf(of, options.saturation),
      stalledAfter: yield* durationOf(`stalledAfter of ${of}`, options.stalledAfter, 60_000, "more"),
      signWithin
    }
  })
