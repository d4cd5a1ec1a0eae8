/**
 * References to functions that a thread can run.
 *
 * This module imports nothing, so that a thread which loads only blocking
 * functions starts in milliseconds.
 *
 * @since 0.1.0
 */

const TypeId = "~@ambit/core/BlockingFunction"

/**
 * A function of a module, which a thread can run by importing that module.
 *
 * **Details**
 *
 * `P` is what it says of its progress; `never` for a function that says nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface BlockingFunction<in Args extends ReadonlyArray<unknown>, out A, out P = unknown> {
  readonly [TypeId]: typeof TypeId
  /** The URL of the module that a thread imports. */
  readonly module: string
  readonly name: string
  /** The function itself, for those who run it where they are. */
  readonly run: (...args: Args) => A | PromiseLike<A>
  /** Only for the types. */
  readonly progress?: P
}

/**
 * Says how far a function is. `Blocking.stream` emits it; for `Blocking.run`
 * nobody listens.
 *
 * **Details**
 *
 * It belongs to one call. Once that has ended, nobody listens either.
 *
 * **Failure**
 *
 * Throws a `DataCloneError` when the value cannot be cloned.
 *
 * @category models
 * @since 0.1.0
 */
export type Progress<in P> = (value: P) => void

/**
 * What a thread knows about the call it runs. A pool, or the inline layer, puts
 * it where `Thread` looks for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunningCall {
  readonly isCancelled: () => boolean
  /** `isCancelled`, for one who then throws, once: the clean-up is not disturbed. A timer is told, and takes nothing. */
  readonly takeCancel: () => boolean
  /** Runs a timer: it is not the call itself, also when it runs during one. */
  readonly runTimer: (f: () => void) => void
  /** `undefined` between the calls, as in a timer. */
  readonly info: () => CallInfo | undefined
  readonly log: (level: LogLevel, message: string, annotations: Readonly<Record<string, unknown>>) => void
  /** Gives what says the progress of the call that runs now. */
  readonly progress: () => Progress<unknown>
  /** Asks the main thread; `undefined` on the main thread itself, which cannot wait for itself. */
  readonly ask:
    | ((how: AskKind, contract: string, method: string, args: ReadonlyArray<unknown>, within: number) => unknown)
    | undefined
}

/**
 * Where and for whom a call runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallInfo {
  readonly pool: string
  /** The name of the thread, such as `blocking-2`. */
  readonly thread: string
  /** The path of the task that made the call, or `""`. */
  readonly task: string
  /** The path of the app that the task belongs to, or `""`. */
  readonly app: string
  readonly function: string
  readonly annotations: Readonly<Record<string, unknown>>
  readonly minimumLogLevel: string
  /** The W3C `traceparent` of the span around the call, or `""`. */
  readonly traceparent: string
}

/**
 * How a line is logged.
 *
 * @category models
 * @since 0.1.0
 */
export type LogLevel = "Trace" | "Debug" | "Info" | "Warn" | "Error" | "Fatal"

/**
 * What a thread asks the main thread for: a value, nothing, or a task.
 *
 * @category models
 * @since 0.1.0
 */
export type AskKind = "call" | "post" | "spawn"

/**
 * What the copies of this module in one thread share. A bundle may hold several.
 *
 * @category models
 * @since 0.1.0
 */
export interface ThreadGlobal {
  /** The functions of the modules that were loaded: a thread finds there what it is to run. */
  readonly functions: Map<string, Map<string, (...args: Array<never>) => unknown>>
  /** Whether this is a thread of a pool. */
  readonly inThread: boolean
  /** The call that runs now. */
  current: RunningCall | undefined
}

const key = Symbol.for("@ambit/core/BlockingFunction/ThreadGlobal")

const holder = globalThis as { [key]?: ThreadGlobal }

/**
 * Gives what this thread shares with those who run functions in it.
 *
 * **When to use**
 *
 * Use to write a pool of your own. Everybody else needs `Blocking` and `Thread`.
 *
 * @category threads
 * @since 0.1.0
 */
export const threadGlobal = (): ThreadGlobal =>
  holder[key] ??= { functions: new Map(), inThread: false, current: undefined }

/**
 * Says that this is a thread of a pool, before the first function is loaded.
 *
 * **When to use**
 *
 * Use to write a pool of your own.
 *
 * @category threads
 * @since 0.1.0
 */
export const becomeThread = (): ThreadGlobal =>
  holder[key] = { functions: new Map(), inThread: true, current: undefined }

/**
 * Declares a function that a thread can run. Pass `import.meta` of the module
 * it stands in, and a name that is unique there.
 *
 * **When to use**
 *
 * Use for work that blocks or computes for longer than a few milliseconds, and
 * run it with `Blocking.run`.
 *
 * **Details**
 *
 * The function may be asynchronous. Imports and constants of its module just
 * work, for a thread imports the same module. Arguments and result are cloned,
 * as `structuredClone` does it.
 *
 * **Failure**
 *
 * Throws a `TypeError` for what is not `import.meta` or a function, and for a name
 * that cannot be part of a path. In a thread also for a name that the module has
 * given already; calls of that module fail with `ModuleFailed`.
 *
 * **Gotchas**
 *
 * - Every thread runs the top level of the module. So a module with blocking
 *   functions has no side effects.
 * - A thread does not know what the main thread keeps in variables.
 * - A bundler must get the module as an input of its own.
 *
 * **Example** (Declaring and running)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * // Usually this stands in a module of its own, and is exported.
 * const square = BlockingFunction.make(import.meta, "square", (n: number) => n * n)
 *
 * const program = Blocking.run(square, 12)
 * await Effect.runPromise(Effect.provide(program, Blocking.layerInline)) // => 144
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Args extends ReadonlyArray<unknown>, A>(
  meta: { readonly url: string },
  name: string,
  run: (...args: Args) => A
): BlockingFunction<Args, Awaited<A>, never> => {
  const invalid = problemOf(meta, name, run)
  if (invalid !== undefined) throw new TypeError(invalid)
  const { functions, inThread } = threadGlobal()
  // Only threads look for functions by name. The main thread keeps none of them alive.
  if (inThread) {
    const ofModule = functions.get(meta.url) ?? new Map()
    functions.set(meta.url, ofModule)
    if (ofModule.has(name)) {
      throw new TypeError(
        `BlockingFunction.make(import.meta, ${
          JSON.stringify(name)
        }, …): ${meta.url} declares a function of this name ` +
          "already, and a thread could not tell them apart. Give each a name of its own"
      )
    }
    ofModule.set(name, run)
  }
  return { [TypeId]: TypeId, module: meta.url, name, run: run as (...args: Args) => Awaited<A> }
}

const unheard = (): void => {}

/**
 * Declares a function that says how far it is. It gets what says so as its first
 * argument, and callers give the others.
 *
 * **When to use**
 *
 * Use for long work that somebody watches, with `Blocking.stream`.
 *
 * **Details**
 *
 * The type that the first argument is annotated with is the type of the progress
 * in the stream. All else is as with `make`.
 *
 * **Example** (Progress with a type)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { Effect, Stream } from "effect"
 *
 * const count = BlockingFunction.makeWithProgress(
 *   import.meta,
 *   "count",
 *   (progress: BlockingFunction.Progress<number>, to: number): string => {
 *     for (let n = 1; n <= to; n++) progress(n / to)
 *     return "counted"
 *   }
 * )
 *
 * const program = Blocking.stream(count, 2).pipe(Stream.map((event) => event.value), Stream.runCollect)
 * await Effect.runPromise(Effect.provide(program, Blocking.layerInline)) // => [0.5, 1, "counted"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeWithProgress = <P, Args extends ReadonlyArray<unknown>, A>(
  meta: { readonly url: string },
  name: string,
  run: (progress: Progress<P>, ...args: Args) => A
): BlockingFunction<Args, Awaited<A>, P> => {
  const invalid = problemOf(meta, name, run)
  if (invalid !== undefined) throw new TypeError(invalid)
  return make(meta, name, (...args: Args) => run(threadGlobal().current?.progress() ?? unheard, ...args))
}

const problemOf = (meta: unknown, name: unknown, run: unknown): string | undefined => {
  const at = `BlockingFunction.make(import.meta, ${JSON.stringify(String(name))}, …)`
  if (typeof meta !== "object" || meta === null || !("url" in meta) || typeof meta.url !== "string") {
    return `${at}: the first argument is not import.meta. A thread finds the function by the URL in there`
  }
  if (typeof name !== "string" || name.trim() === "") {
    return `${at}: the name is empty or no string. Give it the name of the function`
  }
  if (/\/|#\d+$/.test(name)) {
    return `${at}: the name is one part of a path, so it has no "/" and does not end in "#" and a number`
  }
  return typeof run === "function" ? undefined : `${at}: the third argument is ${typeof run}, not a function`
}

/**
 * Tells whether a value is a `BlockingFunction`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isBlockingFunction = (value: unknown): value is BlockingFunction<never, unknown> =>
  typeof value === "object" && value !== null && TypeId in value
