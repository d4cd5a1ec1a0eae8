/**
 * What a blocking function may do beyond its own work: see that it is
 * cancelled, log, and ask the main thread.
 *
 * This module imports no Effect, so that threads start fast.
 *
 * @since 0.1.0
 */
// @effect-diagnostics globalTimers:off
import {
  type AskKind,
  type BlockingFunction,
  type CallInfo,
  type LogLevel,
  make as declare,
  type RunningCall,
  threadGlobal
} from "@ambit/core/BlockingFunction"
import type { Transferable } from "node:worker_threads"
import { CallRefused, Cancelled } from "./internal/threadError.ts"
import { encodeThrown, textOf } from "./internal/thrown.ts"
import { keepTransfer } from "./internal/transfer.ts"

export { CallRefused, CallTimeout, Cancelled } from "./internal/threadError.ts"

/**
 * A typed set of effects that an app offers to its threads. The functions are
 * those that a thread calls: arguments and result, without any Effect.
 *
 * @category models
 * @since 0.1.0
 */
export interface Contract<out Calls> {
  readonly name: string
  /** Only for the types. */
  readonly calls?: Calls
}

/**
 * Declares what threads may ask of the main thread.
 *
 * **When to use**
 *
 * Use in a module that both sides import, most often the one with the blocking
 * functions. `MainCalls.offer` says what the calls do.
 *
 * **Example** (A contract of two calls)
 *
 * ```ts import.meta.vitest
 * import * as Thread from "@ambit/node/Thread"
 *
 * const Readings = Thread.contract<{
 *   latest: (sensor: string) => number
 *   store: (sensor: string, value: number) => void
 * }>("readings")
 * Readings.name // => "readings"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const contract = <Calls extends { readonly [method in keyof Calls]: (...args: Array<never>) => unknown }>(
  name: string
): Contract<Calls> => ({ name })

const running = (what: string): RunningCall => {
  const { current } = threadGlobal()
  if (current === undefined) throw new CallRefused("Thread", what, "notInThread")
  return current
}

/**
 * Whether this call is to stop: nobody waits for it any more, or its scope or pool
 * stops. It costs nanoseconds, so a loop may ask in every round.
 *
 * **Details**
 *
 * It is `false` outside of a blocking function.
 *
 * **Example** (A loop that can be stopped)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import * as Thread from "@ambit/node/Thread"
 * import { Effect } from "effect"
 *
 * const count = BlockingFunction.make(import.meta, "count", (to: number) => {
 *   let n = 0
 *   while (n < to && !Thread.isCancelled()) n++
 *   return n
 * })
 * await Effect.runPromise(Effect.provide(Blocking.run(count, 1000), Blocking.layerInline)) // => 1000
 * ```
 *
 * @category cancellation
 * @since 0.1.0
 */
export const isCancelled = (): boolean => threadGlobal().current?.isCancelled() ?? false

/**
 * Throws `Cancelled` when this call is to stop, once; see `isCancelled`.
 *
 * **Details**
 *
 * `finally` blocks run, as with any error. They have the grace of the call for
 * it, `throwIfCancelled` does not disturb them again, and their calls to the main
 * thread go through. A timer that runs during a call gets the error as well, and the
 * call gets its own all the same.
 *
 * @category cancellation
 * @since 0.1.0
 */
export const throwIfCancelled = (): void => {
  if (threadGlobal().current?.takeCancel() === true) throw new Cancelled()
}

/**
 * Where and for whom the function runs: thread, task, app, log annotations and
 * trace context of its caller.
 *
 * **Failure**
 *
 * Throws `CallRefused` outside of a blocking function, and so in a timer that
 * runs between the calls; `currentOrUndefined` does not.
 *
 * @category getters
 * @since 0.1.0
 */
export const current = (): CallInfo => {
  const info = running("current").info()
  if (info === undefined) throw new CallRefused("Thread", "current", "notInThread")
  return info
}

/**
 * `current`, or `undefined` outside of a blocking function.
 *
 * @category getters
 * @since 0.1.0
 */
export const currentOrUndefined = (): CallInfo | undefined => threadGlobal().current?.info()

/**
 * Logs a line with Effect's loggers on the main thread, with the annotations of
 * the caller.
 *
 * **Details**
 *
 * Lines below the caller's minimum log level do not leave the thread. A line
 * arrives even when the thread blocks right after it.
 *
 * A thread may be 128 lines ahead of the main thread, with what it prints, posts and
 * reports of its progress. Then it waits until they are read: a second at most for
 * each, if the main thread stands still.
 *
 * **Failure**
 *
 * Throws a `TypeError` for a level that there is none of.
 *
 * @category logging
 * @since 0.1.0
 */
export const log = (level: LogLevel, message: string, annotations?: Readonly<Record<string, unknown>>): void => {
  const call = running("log")
  if (!levels.includes(level)) {
    throw new TypeError(`Thread.log knows no level ${textOf(level)}: give it one of ${levels.join(", ")}`)
  }
  call.log(level, message, annotations ?? {})
}

const levels: ReadonlyArray<LogLevel> = ["Trace", "Debug", "Info", "Warn", "Error", "Fatal"]

/**
 * Marks buffers in a result that are moved to the main thread instead of
 * copied, and gives the result back.
 *
 * **Example** (Ten megabytes without a copy)
 *
 * ```ts import.meta.vitest
 * import * as Thread from "@ambit/node/Thread"
 *
 * const zeros = () => {
 *   const bytes = new Uint8Array(10_000_000)
 *   return Thread.transfer(bytes, [bytes.buffer])
 * }
 * zeros().length // => 10000000
 * ```
 *
 * @category transfer
 * @since 0.1.0
 */
export const transfer = <A extends object>(value: A, list: ReadonlyArray<Transferable>): A => {
  keepTransfer(value, list)
  return value
}

/** How long a thread waits for the main thread, in milliseconds. */
const defaultWithin = 6000

/**
 * How a thread waits for the main thread.
 *
 * **Details**
 *
 * `within` is milliseconds, 6000 by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface WaitOptions {
  readonly within?: number
}

type Method = (...args: Array<never>) => unknown

const ask = (
  how: AskKind,
  contract: string,
  method: string,
  args: ReadonlyArray<unknown>,
  within: number
): unknown => {
  const { current } = threadGlobal()
  if (current === undefined) throw new CallRefused(contract, method, "notInThread")
  if (current.ask === undefined) throw new CallRefused(contract, method, "onMainThread")
  return current.ask(how, contract, method, args, within)
}

/**
 * Runs an effect of the main thread and waits for its result, blocking this
 * thread.
 *
 * **Details**
 *
 * The default limit is 6 seconds; `callWithin` takes another.
 *
 * **Interruption**
 *
 * When the blocking call is cancelled, this throws `Cancelled`, once: calls in
 * clean-up after that go through. `throwIfCancelled` counts as that once.
 *
 * **Failure**
 *
 * Throws what the effect failed with, with message, fields and `_tag`;
 * `CallTimeout` when it takes too long, and then the effect is interrupted; and
 * `CallRefused`, when it is not offered, the pool stops, this is the main thread,
 * or the effect was interrupted by somebody else, such as by itself. Both errors
 * say with `begun` whether the effect had begun. When it had not, it never runs.
 *
 * @category main thread
 * @since 0.1.0
 */
export const call = <Calls, K extends keyof Calls & string>(
  contract: Contract<Calls>,
  method: K,
  ...args: Calls[K] extends Method ? Parameters<Calls[K]> : never
): Calls[K] extends Method ? ReturnType<Calls[K]> : never =>
  ask("call", contract.name, method, args, defaultWithin) as never

/**
 * `call` with a limit of its own.
 *
 * **Failure**
 *
 * As `call`, and throws a `RangeError` for a limit that is no finite number from 0
 * on. With 0 it throws `CallTimeout` at once, and nothing has run.
 *
 * @category main thread
 * @since 0.1.0
 */
export const callWithin = <Calls, K extends keyof Calls & string>(
  options: WaitOptions,
  contract: Contract<Calls>,
  method: K,
  ...args: Calls[K] extends Method ? Parameters<Calls[K]> : never
): Calls[K] extends Method ? ReturnType<Calls[K]> : never =>
  ask("call", contract.name, method, args, checkedWithin(options.within ?? defaultWithin)) as never

// No number would be no limit, and the thread would wait for ever.
const checkedWithin = (within: number): number => {
  if (typeof within === "number" && within >= 0 && within < Infinity) return within
  throw new RangeError(`A wait within ${textOf(within)} ms cannot be: give it finite milliseconds from 0 on`)
}

/**
 * Runs an effect on the main thread without waiting for it. It becomes a task of
 * the app, so a failure is logged there.
 *
 * **Gotchas**
 *
 * A thread that posts faster than the main thread reads waits for it, as in `log`.
 *
 * @category main thread
 * @since 0.1.0
 */
export const post = <Calls, K extends keyof Calls & string>(
  contract: Contract<Calls>,
  method: K,
  ...args: Calls[K] extends Method ? Parameters<Calls[K]> : never
): void => void ask("post", contract.name, method, args, 0)

/**
 * Starts an effect on the main thread as a task of the app, and gives the path
 * of the task.
 *
 * **Failure**
 *
 * As `call`, for the start. When this throws, no task was started.
 *
 * @category main thread
 * @since 0.1.0
 */
export const spawn = <Calls, K extends keyof Calls & string>(
  contract: Contract<Calls>,
  method: K,
  ...args: Calls[K] extends Method ? Parameters<Calls[K]> : never
): string => ask("spawn", contract.name, method, args, defaultWithin) as string

// -----------------------------------------------------------------------------
// Apps in a thread
// -----------------------------------------------------------------------------

/**
 * An app whose code is synchronous and runs in a thread of its own.
 * `SyncApp.layer` starts it.
 *
 * @category models
 * @since 0.1.0
 */
export interface App<out Name extends string, in Config, out Handlers> {
  readonly name: Name
  readonly start: BlockingFunction<[config: Config], void>
  readonly stop: BlockingFunction<[], void>
  readonly handlers: {
    readonly [method in keyof Handlers]: Handlers[method] extends (state: never, ...args: infer Args) => infer A
      ? BlockingFunction<Args, Awaited<A>>
      : never
  }
}

/**
 * What a synchronous app does.
 *
 * **Details**
 *
 * - `onStart` gets the configuration and gives the state.
 * - `handlers` are what others may run, each with the state first.
 * - `onStop` cleans up, within the limit of a hook. Before it, the timers of the thread end.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppDefinition<in Config, in out State, out Handlers> {
  readonly onStart: (config: Config) => State
  readonly handlers: Handlers & { readonly [method: string]: (state: State, ...args: Array<never>) => unknown }
  readonly onStop?: (state: State) => void
}

/**
 * Declares an app whose code is synchronous. It gets a thread of its own, keeps
 * its state there, and may block as it likes.
 *
 * **When to use**
 *
 * Use in a module of its own, as for blocking functions, for code that is
 * synchronous throughout: a rule engine, an interpreter, a device library.
 *
 * **Details**
 *
 * One handler runs at a time, and timers (`every`, `after`) in between. The main
 * thread is asked with `call`, `post` and `spawn`. A restart of the app is a new
 * thread with a new state.
 *
 * **Failure**
 *
 * Throws a `TypeError` for a handler that is called `onStart` or `onStop`, and as
 * `BlockingFunction.make` does.
 *
 * **Example** (A counter that keeps its count in a thread)
 *
 * ```ts import.meta.vitest
 * import * as Thread from "@ambit/node/Thread"
 *
 * const Counter = Thread.app(import.meta, "counter", {
 *   onStart: (config: { readonly from: number }) => ({ count: config.from }),
 *   handlers: {
 *     add: (state, by: number) => state.count += by
 *   }
 * })
 * Counter.name // => "counter"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const app = <
  const Name extends string,
  Config,
  State,
  Handlers
>(
  meta: { readonly url: string },
  name: Name,
  definition: AppDefinition<Config, State, Handlers>
): App<Name, Config, Handlers> => {
  // In the thread these names are those of the app itself.
  const taken = ["onStart", "onStop"].find((method) => Object.hasOwn(definition.handlers, method))
  if (taken !== undefined) {
    throw new TypeError(
      `Thread.app(import.meta, ${
        JSON.stringify(name)
      }, …): no handler can be called ${taken}, as a part of the app is. ` +
        "Give it another name"
    )
  }
  let started: { readonly state: State } | undefined
  const state = (): State => {
    if (started === undefined) throw new Error(`${name} has no state: its thread has not been through onStart`)
    return started.state
  }
  // Without a prototype, so that only what is given is found.
  const handlers: Record<string, unknown> = Object.create(null)
  const given: Readonly<Record<string, (state: State, ...args: Array<never>) => unknown>> = definition.handlers
  for (const [method, handler] of Object.entries(given)) {
    handlers[method] = declare(
      meta,
      `${name}.${method}`,
      (...args: ReadonlyArray<never>) => handler(state(), ...args)
    )
  }
  return {
    name,
    start: declare(meta, `${name}.onStart`, (config: Config) => {
      started = { state: definition.onStart(config) }
    }),
    stop: declare(meta, `${name}.onStop`, () => {
      endTimers()
      if (started !== undefined) definition.onStop?.(started.state)
      started = undefined
    }),
    handlers: handlers as App<Name, Config, Handlers>["handlers"]
  }
}

const guarded = (f: () => void) => (): void => {
  const { current } = threadGlobal()
  try {
    if (current === undefined) f()
    else current.runTimer(f)
  } catch (error) {
    // That is for the call, which is told by itself.
    if (error instanceof Cancelled) return
    const { message, stack } = encodeThrown(error)
    const text = `A timer threw: ${stack === "" ? message : stack}`
    // On the main thread, once the call is over, there are no loggers around, and a timer is no reason to crash.
    if (threadGlobal().current === undefined) process.emitWarning(text)
    else log("Error", text)
  }
}

/** The timers of this thread that have not ended. */
const timers = new Set<ReturnType<typeof setTimeout>>()

const endTimer = (timer: ReturnType<typeof setTimeout>): void => {
  clearTimeout(timer)
  timers.delete(timer)
}

const endTimers = (): void => {
  for (const timer of timers) endTimer(timer)
}

/**
 * Runs a function in this thread again and again, between the calls. Gives a
 * function that ends it; the end of the thread does so as well, and the stop of an
 * app in the thread.
 *
 * **Failure**
 *
 * What the function throws is logged, and the next run comes all the same. `Cancelled`
 * is not: the call that runs is to stop, and is told by itself.
 *
 * @category timers
 * @since 0.1.0
 */
export const every = (millis: number, f: () => void): () => void => {
  const timer = setInterval(guarded(f), checkedMillis(millis))
  timers.add(timer)
  return () => endTimer(timer)
}

/**
 * Runs a function in this thread once, later. Gives a function that prevents it.
 *
 * @category timers
 * @since 0.1.0
 */
export const after = (millis: number, f: () => void): () => void => {
  const run = guarded(f)
  const timer = setTimeout(() => {
    timers.delete(timer)
    run()
  }, checkedMillis(millis))
  timers.add(timer)
  return () => endTimer(timer)
}

const checkedMillis = (millis: number): number => {
  if (typeof millis === "number" && millis >= 0 && millis <= 2_147_483_647) return millis
  throw new RangeError(`A timer of ${String(millis)} ms cannot be: give it milliseconds from 0 to 2147483647`)
}
