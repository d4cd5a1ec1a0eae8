/**
 * Threads that run blocking functions.
 *
 * @since 0.1.0
 */
import { Blocking, type Pool } from "@ambit/core/Blocking"
import type { InvalidOption } from "@ambit/core/InvalidOption"
import * as Limits from "@ambit/core/Limits"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { ResourceLimits } from "node:worker_threads"
import { openPool } from "./internal/openPool.ts"
import { settingsOf } from "./internal/settings.ts"
import type { PoolStartFailed } from "./PoolStartFailed.ts"

/**
 * How a pool is built.
 *
 * **Details**
 *
 * - `name`: what it is called in logs, metrics and the tree; `"blocking"` by default. Its threads are `blocking-1` and so on. As long as another pool of that name is open, it is called `blocking#2`.
 * - `threads`: how many; as many as the machine has cores, at least 2, by default. With `min` and `max`, threads beyond `min` come when all are busy, and go when they have been idle.
 * - `idleAfter`: how long a thread beyond `min` may have nothing to do; 30 seconds by default.
 * - `spare`: whether one more thread stands ready to take the place of one that was ended, in a millisecond instead of some 20; `false` by default, since it takes some 8 megabytes.
 * - `capacity`, `whenFull`: how many calls may wait, 1,000 by default, and what happens to those beyond: `"wait"` (the default) makes them wait as well, `"fail"` fails them with `QueueFull`. Up to 64 quick calls lie ready on each busy thread, and do not count.
 * - `grace`: how long a cancelled function may clean up before its thread is ended; 1 second by default.
 * - `stopWithin`: how long the stop of the pool may take; 10 seconds by default, or `hostStop` of the `Limits` around where that is shorter. A longer one than that, or one that is as long, is refused.
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
 * start, or not within 20 seconds, with `PoolStartFailed`.
 *
 * **Interruption**
 *
 * The end of the scope stops the pool: what waits fails with `PoolStopped` and
 * never runs, what runs is cancelled and gets its grace, and then its thread is
 * ended. It takes no longer than `stopWithin`. A start that is interrupted ends what
 * it has begun.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: BlockingPoolOptions = {}
): Effect.Effect<Pool, InvalidOption | PoolStartFailed, Scope.Scope> =>
  Limits.around.pipe(
    Effect.flatMap((limits) => Effect.fromResult(settingsOf(options, limits))),
    Effect.flatMap((settings) => openPool(settings, undefined))
  )

/**
 * Provides `Blocking` with a pool of threads.
 *
 * **When to use**
 *
 * Use once, around all apps, so that the pool outlives those who use it.
 *
 * **Example** (A pool of two threads)
 *
 * ```ts import.meta.vitest
 * import { Blocking } from "@ambit/core"
 * import { BlockingPool } from "@ambit/node"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const pool = yield* Blocking.Blocking
 *   const { busy, name, size } = yield* pool.status
 *   return [name, size, busy]
 * })
 * const layer = BlockingPool.layer({ name: "files", threads: 2 })
 * await Effect.runPromise(Effect.provide(program, layer)) // => ["files", 2, 0]
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
