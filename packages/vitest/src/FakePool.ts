/**
 * A pool for tests, in which effects stand in for blocking functions. They take
 * virtual time, and misbehave as they are told to.
 *
 * @since 0.1.0
 */
import { Blocking, type Pool } from "@ambit/core/Blocking"
import type { BlockingFunction } from "@ambit/core/BlockingFunction"
import { InvalidOption } from "@ambit/core/InvalidOption"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { CurrentCall, fakePool } from "./internal/fakePool.ts"

/**
 * What stands in for a blocking function.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fake {
  readonly reference: BlockingFunction<never, unknown>
  readonly run: (...args: ReadonlyArray<never>) => unknown
}

/**
 * Says what stands in for a function, found by its reference.
 *
 * **Details**
 *
 * `run` gets the arguments and gives what the function would, or an effect of it:
 *
 * | what it gives | what the function does |
 * | --- | --- |
 * | a value, or an effect of one | returns it, after as much virtual time as the effect takes |
 * | throws, or an effect that fails | throws: the reason is `FunctionThrew` |
 * | `Effect.never` | hangs, and ends when it is cancelled |
 * | `Effect.uninterruptible(Effect.never)` | never looks whether it is cancelled: its thread is ended after the grace |
 * | `stuck` | sits in native code: its thread cannot be ended |
 *
 * Arguments and result are cloned, as on a thread.
 *
 * **Example** (A function that takes its time)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { FakePool } from "@ambit/vitest"
 * import { Effect, Fiber } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * const hash = BlockingFunction.make(import.meta, "hash", (path: string): string => path)
 *
 * const slow = FakePool.fake(hash, (path) => Effect.delay(Effect.succeed(`hash of ${path}`), "1 minute"))
 * const program = Effect.gen(function*() {
 *   const call = yield* Effect.forkChild(Blocking.run(hash, "a.txt"))
 *   yield* TestClock.adjust("1 minute")
 *   return yield* Fiber.join(call)
 * })
 * const layers = [FakePool.layer([slow]), TestClock.layer()] as const
 * await Effect.runPromise(Effect.provide(program, [...layers])) // => "hash of a.txt"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fake = <Args extends ReadonlyArray<unknown>, A>(
  reference: BlockingFunction<Args, A>,
  run: (...args: Args) => A | Effect.Effect<A, unknown>
): Fake => ({ reference, run })

/**
 * How a pool of fakes is made.
 *
 * **Details**
 *
 * `threads`: how many calls run at the same time, 2 by default. Others wait.
 *
 * @category models
 * @since 0.1.0
 */
export interface FakePoolOptions {
  readonly threads?: number | undefined
}

/**
 * Makes a pool of fakes.
 *
 * **When to use**
 *
 * Use for a second pool, as a service of its own; see `Blocking.on`. For the pool
 * that everybody uses, there is `layer`.
 *
 * **Failure**
 *
 * `InvalidOption` for a number of threads that is no whole number from 1 up.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  fakes: ReadonlyArray<Fake>,
  options: FakePoolOptions = {}
): Effect.Effect<Pool, InvalidOption> => {
  const threads = options.threads ?? 2
  return Number.isInteger(threads) && threads >= 1
    ? Effect.sync(() => fakePool(fakes, threads))
    : Effect.fail(
      new InvalidOption({
        option: "threads of FakePool",
        value: String(threads),
        problem: "a pool has a whole number of threads, and at least one",
        remedy: "Give it 1 to let calls wait for each other"
      })
    )
}

/**
 * Provides `Blocking` with a pool of fakes.
 *
 * **Details**
 *
 * Calls begin in the order in which they were made. Graces and timeouts count on Effect's `Clock`. A call
 * of a function that has no fake dies with `InvalidOption`, which names it.
 *
 * **Failure**
 *
 * As `make`.
 *
 * **Example** (A function that never stops)
 *
 * ```ts import.meta.vitest
 * import { App, Blocking, BlockingFunction, Task } from "@ambit/core"
 * import { FakePool, TestHost } from "@ambit/vitest"
 * import { expect, it } from "@effect/vitest"
 * import { Effect } from "effect"
 *
 * const search = BlockingFunction.make(import.meta, "search", (below: number): number => below)
 * const Primes = App.layer("primes", Task.spawn(Blocking.run(search, 1e12), "search"))
 * const endless = FakePool.fake(search, () => Effect.uninterruptible(Effect.never))
 *
 * it.effect("a search that does not look costs its thread, after the grace of a second", () =>
 *   Effect.gen(function*() {
 *     const host = yield* TestHost.launch(Primes)
 *     const report = yield* host.stop
 *     expect(report.tasks.map(({ outcome, path, took }) => [path, outcome, took])).toEqual([
 *       ["host/primes/search", "interrupted", 0],
 *       ["host/primes/search/search", "killed", 1000]
 *     ])
 *   }).pipe(Effect.provide(FakePool.layer([endless]))))
 * ```
 *
 * @see `Blocking.layerInline` to run the functions themselves
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  fakes: ReadonlyArray<Fake>,
  options?: FakePoolOptions
): Layer.Layer<Blocking, InvalidOption> => Layer.effect(Blocking, make(fakes, options))

/**
 * Sits where nobody can end it, as a function does in native code. Its thread is
 * given up after the grace, and counted as stuck.
 *
 * @category running
 * @since 0.1.0
 */
export const stuck: Effect.Effect<never> = Effect.flatMap(CurrentCall, (call) => {
  if (call !== undefined) call.stuck = true
  return Effect.uninterruptible(Effect.never)
})

/**
 * Says how far a fake is, as `Thread.progress` does; `Blocking.stream` emits it.
 *
 * **Example** (A function that tells how far it is)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { FakePool } from "@ambit/vitest"
 * import { Effect, Stream } from "effect"
 *
 * const copy = BlockingFunction.make(import.meta, "copy", (): string => "done")
 *
 * const half = FakePool.fake(copy, () => Effect.as(FakePool.progress(0.5), "done"))
 * const events = Stream.runCollect(Blocking.stream(copy))
 * const seen = await Effect.runPromise(Effect.provide(events, FakePool.layer([half])))
 * seen // => [{ _tag: "Progress", value: 0.5 }, { _tag: "Result", value: "done" }]
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const progress = (value: unknown): Effect.Effect<void> =>
  Effect.map(CurrentCall, (call) => call?.request.progress?.(structuredClone(value)))
