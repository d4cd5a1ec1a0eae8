/**
 * Threads that run blocking functions.
 *
 * @since 0.1.0
 */
import { Blocking, type Pool } from "@ambit/core/Blocking"
import { threadGlobal } from "@ambit/core/BlockingFunction"
import { InvalidOption } from "@ambit/core/InvalidOption"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { availableParallelism } from "node:os"
import type { ResourceLimits } from "node:worker_threads"
import { registerMetrics } from "./internal/metrics.ts"
import { PoolImpl, type PoolSettings } from "./internal/pool.ts"

/**
 * How a pool is built.
 *
 * **Details**
 *
 * - `name`: what it is called in logs, metrics and the tree; `"blocking"` by default. Its threads are `blocking-1` and so on.
 * - `threads`: how many; as many as the machine has cores, at least 2, by default. With `min` and `max`, threads beyond `min` come when all are busy, and go when they have been idle.
 * - `idleAfter`: how long a thread beyond `min` may have nothing to do; 30 seconds by default.
 * - `spare`: whether one more thread stands ready to take the place of one that was ended, in a millisecond instead of some 20; `false` by default, since it takes some 8 megabytes.
 * - `capacity`, `whenFull`: how many calls may wait, 1,000 by default, and what happens to those beyond: `"wait"` (the default) makes them wait as well, `"fail"` fails them with `QueueFull`.
 * - `grace`: how long a cancelled function may clean up before its thread is ended; 1 second by default.
 * - `stopWithin`: how long the stop of the pool may take; 10 seconds by default.
 * - `resourceLimits`: what Node gives a thread at most, such as `maxOldGenerationSizeMb`; Node's own by default.
 * - `saturation`: from which share of busy threads on a warning is logged, and how often at most; 0.75 and 30 seconds by default, or `"none"`.
 * - `stalledAfter`: after how long a call without a limit is worth a warning; 1 minute by default.
 *
 * All times are real time, also under a virtual clock: threads do not know it.
 *
 * @category models
 * @since 0.1.0
 */
export interface BlockingPoolOptions {
  readonly name?: string | undefined
  readonly threads?: number | { readonly min: number; readonly max: number } | undefined
  readonly idleAfter?: Duration.Input | undefined
  readonly spare?: boolean | undefined
  readonly capacity?: number | undefined
  readonly whenFull?: "wait" | "fail" | undefined
  readonly grace?: Duration.Input | undefined
  readonly stopWithin?: Duration.Input | undefined
  readonly resourceLimits?: ResourceLimits | undefined
  readonly saturation?: { readonly threshold?: number; readonly every?: Duration.Input } | "none" | undefined
  readonly stalledAfter?: Duration.Input | undefined
}

/**
 * The first thread of a pool did not start.
 *
 * @category errors
 * @since 0.1.0
 */
export class PoolStartFailed extends Schema.TaggedError<PoolStartFailed>("@ambit/node/BlockingPool/PoolStartFailed")(
  "PoolStartFailed",
  { pool: Schema.String, problem: Schema.String }
) {
  override get message(): string {
    return `No thread of pool ${this.pool} starts: ${this.problem}. In a bundle, make @ambit/node/threadMain an input ` +
      "of its own that ends up beside the code; in a thread, do not build a pool: its module must have no side effects"
  }
}

const invalid = (option: string, value: unknown, problem: string, remedy: string) =>
  Result.fail(new InvalidOption({ option, value: String(value), problem, remedy }))

const duration = (
  option: string,
  input: Duration.Input | undefined,
  fallback: number,
  least: "zero" | "more"
): Result.Result<number, InvalidOption> => {
  if (input === undefined) return Result.succeed(fallback)
  const read = typeof input === "number" && Number.isNaN(input) ? Option.none() : Duration.fromInput(input)
  const millis = Option.isSome(read) ? Duration.toMillis(read.value) : Number.NaN
  if (Number.isFinite(millis) && (least === "zero" ? millis >= 0 : millis > 0)) return Result.succeed(millis)
  return invalid(option, input, "this is no finite duration above zero", "Give it one such as \"5 seconds\"")
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

const sizes = (
  of: string,
  threads: BlockingPoolOptions["threads"]
): Result.Result<{ readonly min: number; readonly max: number }, InvalidOption> =>
  Result.gen(function*() {
    if (threads === undefined || typeof threads === "number") {
      const size = yield* wholeNumber(`threads of ${of}`, threads ?? Math.max(2, availableParallelism()), 1)
      return { min: size, max: size }
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
    const threshold = saturation?.threshold ?? 0.75
    if (!(threshold > 0 && threshold <= 1)) {
      return yield* invalid(
        `saturation.threshold of ${of}`,
        threshold,
        "this is no share between 0 and 1",
        "Give it a share such as 0.75, or set saturation to \"none\""
      )
    }
    return { threshold, every: yield* duration(`saturation.every of ${of}`, saturation?.every, 30_000, "more") }
  })

const settingsOf = (options: BlockingPoolOptions): Result.Result<PoolSettings, InvalidOption> =>
  Result.gen(function*() {
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
    const stopWithin = yield* duration(`stopWithin of ${of}`, options.stopWithin, 10_000, "more")
    return {
      name,
      ...yield* sizes(of, options.threads),
      spare: options.spare === true,
      capacity: yield* wholeNumber(`capacity of ${of}`, options.capacity ?? 1000, 0),
      whenFull,
      grace: yield* duration(`grace of ${of}`, options.grace, 1000, "zero"),
      idleAfter: yield* duration(`idleAfter of ${of}`, options.idleAfter, 30_000, "more"),
      stopWithin,
      resourceLimits: options.resourceLimits,
      saturation: yield* saturationOf(of, options.saturation),
      stalledAfter: yield* duration(`stalledAfter of ${of}`, options.stalledAfter, 60_000, "more")
    }
  })

const start = (settings: PoolSettings, context: Context.Context<never>): Effect.Effect<PoolImpl, PoolStartFailed> =>
  Effect.gen(function*() {
    const { name } = settings
    if (threadGlobal().inThread) {
      return yield* new PoolStartFailed({ pool: name, problem: "this is a thread of a pool already" })
    }
    const pool = new PoolImpl(settings, context)
    const problem = yield* Effect.promise(() => pool.start())
    if (problem === undefined) return pool
    yield* Effect.promise(() => pool.close())
    return yield* new PoolStartFailed({ pool: name, problem })
  })

/**
 * Makes a pool of threads that ends with the scope.
 *
 * **When to use**
 *
 * Use for a second pool, as a service of its own; see `Blocking.on`. For the pool
 * that everybody uses, there is `layer`.
 *
 * **Failure**
 *
 * Options that make no sense fail with `InvalidOption`, a thread that does not
 * start with `PoolStartFailed`.
 *
 * **Interruption**
 *
 * The end of the scope stops the pool: what waits fails with `PoolStopped` and
 * never runs, what runs is cancelled and gets its grace, and then its thread is
 * ended. It takes no longer than `stopWithin`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: BlockingPoolOptions = {}
): Effect.Effect<Pool, InvalidOption | PoolStartFailed, Scope.Scope> =>
  Effect.gen(function*() {
    const settings = yield* Effect.fromResult(settingsOf(options))
    const context = yield* Effect.context()
    const pool = yield* Effect.acquireRelease(start(settings, context), (pool) => Effect.promise(() => pool.close()))
    yield* registerMetrics(pool)
    return {
      name: settings.name,
      submit: (request) => pool.submit(request),
      status: Effect.sync(() => pool.status()),
      restart: Effect.promise(() => pool.restart())
    }
  })

/**
 * Provides `Blocking` with a pool of threads.
 *
 * **When to use**
 *
 * Use once, around all apps, so that the pool outlives those who use it.
 *
 * **Example** (A pool of two threads)
 *
 * ```ts
 * import { Host } from "@ambit/core"
 * import { BlockingPool } from "@ambit/node"
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Effect } from "effect"
 * import { Indexer } from "./indexer.ts"
 *
 * Host.launch(Indexer).pipe(
 *   Effect.provide(BlockingPool.layer({ threads: 2 })),
 *   NodeRuntime.runMain
 * )
 * ```
 *
 * **Failure**
 *
 * As `make`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: BlockingPoolOptions): Layer.Layer<Blocking, InvalidOption | PoolStartFailed> =>
  Layer.effect(Blocking, make(options))
