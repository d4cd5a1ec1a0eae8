/**
 * Functions that block, run where they block nobody: on threads.
 *
 * `Blocking` is the pool that runs them. `BlockingPool` of `@ambit/node` provides
 * it with threads, `layerInline` with the main thread, for tests.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { BlockingError, TimedOut } from "./BlockingError.ts"
import { type BlockingFunction, isBlockingFunction } from "./BlockingFunction.ts"
import { answered, ended, enter, leave } from "./internal/calls.ts"
import { inlinePool } from "./internal/inline.ts"
import { checkGrace, checkOptionalLimit } from "./internal/limit.ts"
import { checkName } from "./internal/names.ts"
import { shown } from "./internal/shown.ts"
import { CurrentTask, type ScopeImpl, scopeIn } from "./internal/state.ts"
import { InvalidOption } from "./InvalidOption.ts"

export * from "./BlockingError.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What a pool is asked to run.
 *
 * **When to use**
 *
 * Use to write a pool of your own.
 *
 * **Details**
 *
 * The pool calls `answered` at most once, and not after a cancel. After a cancel
 * it calls `ended`, at the latest when no code of the call runs any more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  readonly reference: BlockingFunction<never, unknown>
  readonly args: ReadonlyArray<unknown>
  readonly options: CallOptions
  /** The context of the fiber that waits: its loggers, annotations and span, and where its tasks belong. */
  readonly context: Context.Context<never>
  /** The path of the task that called, or `""`. */
  readonly task: string
  /** The path of its app, or `""`. */
  readonly app: string
  readonly progress: ((value: unknown) => void) | undefined
  readonly answered: (exit: Exit.Exit<unknown, BlockingError>) => void
  readonly ended: (end: CallEnd) => void
}

/**
 * A request that a pool has taken in.
 *
 * @category models
 * @since 0.1.0
 */
export interface Job {
  /** How long it may clean up after a cancel, in milliseconds. */
  readonly grace: number
  readonly state: () => CallState
  /**
   * Nobody waits any more. What has not begun never does; what runs is told, and
   * its thread ended after the grace, or `within` milliseconds if that is less.
   * Once more, it can only shorten what is left of that.
   */
  readonly cancel: (within: number) => void
  /** Says that the cancel, which has come, was due to the limit of the call. Gives where the call was. */
  readonly timedOut: () => TimedOut["state"]
}

/**
 * What became of a cancelled call: it had not begun; it returned or threw; its
 * thread was ended, with the stack it had then; or its thread cannot be ended.
 *
 * @category models
 * @since 0.1.0
 */
export type CallEnd =
  | { readonly _tag: "NeverStarted" }
  | { readonly _tag: "Returned" }
  | { readonly _tag: "Killed"; readonly stack: string | undefined }
  | { readonly _tag: "Stuck"; readonly stack: string | undefined }

/**
 * Where a call is. `thread` is the name of the thread that has it. A call whose
 * function has ended is done, also while an effect that it asked for still runs.
 *
 * @category models
 * @since 0.1.0
 */
export type CallState =
  | { readonly _tag: "Queued" }
  | { readonly _tag: "Running"; readonly thread: string }
  | { readonly _tag: "Done" }

/**
 * One call that a pool has, as plain data. `age` is in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface PoolCall {
  readonly function: string
  readonly module: string
  readonly task: string
  readonly state: CallState
  readonly age: number
}

/**
 * A pool at one moment, as plain data.
 *
 * **Details**
 *
 * `threads` counts those that are up, also when they run their last call, `busy`
 * those of them that run one, and `stuck` those beyond them that were ended but sit
 * in code that nobody can end. `queued` counts the calls that have not begun. The
 * other numbers count since the pool was made.
 *
 * @category models
 * @since 0.1.0
 */
export interface PoolStatus {
  readonly name: string
  readonly size: number
  readonly threads: number
  readonly busy: number
  readonly stuck: number
  readonly queued: number
  readonly completed: number
  readonly failed: number
  readonly cancelled: number
  readonly timedOut: number
  readonly rejected: number
  /** Threads that were ended because a call did not stop. */
  readonly killed: number
  /** Threads that ended by themselves. */
  readonly died: number
  readonly calls: ReadonlyArray<PoolCall>
}

/**
 * What runs blocking functions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pool {
  readonly name: string
  /** Takes a call in. See `Request` for what it promises. */
  readonly submit: (request: Request) => Job
  readonly status: Effect.Effect<PoolStatus>
  /**
   * Replaces all threads by new ones. Waiting calls run on the new ones, running calls get to end on the old ones. The
   * limit is that of a stop of the pool: for the last part of it, as long as their grace, they are told to stop, and then
   * they fail with `PoolStopped`.
   */
  readonly restart: Effect.Effect<void>
}

/**
 * The pool that `Blocking.run` uses.
 *
 * @category services
 * @since 0.1.0
 */
export class Blocking extends Context.Service<Blocking, Pool>()("@ambit/core/Blocking") {}

/**
 * What a call can be given, read and in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptions {
  readonly name: string | undefined
  readonly grace: number | undefined
  readonly timeout: number | undefined
  readonly transfer: ReadonlyArray<unknown>
}

/**
 * Options for calls.
 *
 * **Details**
 *
 * - `name`: what the call is called in the tree, the log and the report; the name of the function by default.
 * - `grace`: how long a cancelled function may clean up before its thread is ended; 1 second by default, or what the pool says.
 * - `timeout`: how long a call may take, from the call on; `"none"` by default.
 * - `transfer`: what is moved to the thread instead of copied, such as the `ArrayBuffer`s in the arguments. The caller loses it.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptionsInput {
  readonly name?: string | undefined
  readonly grace?: Duration.Input | undefined
  readonly timeout?: Duration.Input | "none" | undefined
  readonly transfer?: ReadonlyArray<unknown> | undefined
}

/**
 * Those options for calls in which nothing can be wrong.
 *
 * @category models
 * @since 0.1.0
 */
export interface SureOptions {
  readonly name?: undefined
  readonly grace?: undefined
  readonly timeout?: "none" | undefined
  readonly transfer?: ReadonlyArray<unknown> | undefined
}

const noOptions: CallOptions = { name: undefined, grace: undefined, timeout: undefined, transfer: [] }

const CurrentOptions = Context.Reference<CallOptions>("@ambit/core/Blocking/CurrentOptions", {
  defaultValue: () => noOptions
})

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

const noPool = () =>
  new InvalidOption({
    option: "the pool of Blocking.run",
    value: "none",
    problem: "nobody provides @ambit/core/Blocking",
    remedy: "Provide BlockingPool.layer of @ambit/node around the program, or Blocking.layerInline in a test"
  })

const noReference = (value: unknown) =>
  new InvalidOption({
    option: "the function of Blocking.run",
    value: typeof value === "function" ? `function ${value.name}` : typeof value,
    problem: "this is not a blocking function",
    remedy: "Declare it with BlockingFunction.make(import.meta, \"name\", f) in a module that threads can load"
  })

/** The path of the app that a scope belongs to. */
const appOf = (scope: ScopeImpl | undefined): string => {
  for (let at = scope; at !== undefined; at = at.parent) {
    if (at.stop !== undefined) return at.path
  }
  return ""
}

// A class, and no literal: V8 puts literals of which many live for a while among its old objects, as soon as a thousand
// calls are under way, and all that was needed for a call outlives it there.
class Asked implements Request {
  /** See `CallImpl.kept`. */
  static readonly kept = new Asked(
    undefined as never,
    [],
    noOptions,
    Context.empty(),
    "",
    "",
    undefined,
    () => {},
    () => {}
  )
  readonly reference: BlockingFunction<never, unknown>
  readonly args: ReadonlyArray<unknown>
  readonly options: CallOptions
  readonly context: Context.Context<never>
  readonly task: string
  readonly app: string
  readonly progress: Request["progress"]
  readonly answered: Request["answered"]
  readonly ended: Request["ended"]

  constructor(
    reference: BlockingFunction<never, unknown>,
    args: ReadonlyArray<unknown>,
    options: CallOptions,
    context: Context.Context<never>,
    task: string,
    app: string,
    progress: Request["progress"],
    answered: Request["answered"],
    ended: Request["ended"]
  ) {
    this.reference = reference
    this.args = args
    this.options = options
    this.context = context
    this.task = task
    this.app = app
    this.progress = progress
    this.answered = answered
    this.ended = ended
  }
}

/** Asks the pool around for a call. `watch` gets to see the job. */
const ask = (
  context: Context.Context<never>,
  reference: BlockingFunction<never, unknown>,
  args: ReadonlyArray<unknown>,
  options: CallOptions,
  progress: Request["progress"],
  watch: ((job: Job) => void) | undefined,
  resume: (effect: Effect.Effect<unknown, BlockingError>) => void
): Effect.Effect<void> | void => {
  const pool = Context.getOrUndefined(context as Context.Context<Blocking>, Blocking)
  if (pool === undefined) return resume(Effect.die(noPool()))
  if (!isBlockingFunction(reference)) return resume(Effect.die(noReference(reference)))
  const task = Context.get(context, CurrentTask)
  const scope = task?.scope ?? scopeIn(context)
  const path = task?.path ?? scope?.path ?? ""
  const call = scope === undefined
    ? undefined
    : enter(scope, path, options.name ?? reference.name, context, resume)
  const job = pool.submit(
    new Asked(
      reference,
      args,
      options,
      context,
      path,
      appOf(scope),
      progress,
      (exit) => {
        if (call !== undefined) answered(call)
        resume(exit)
      },
      (end) => {
        if (call !== undefined) ended(call, end)
      }
    )
  )
  call?.begin(job)
  if (scope !== undefined && scope.state._tag !== "Open") call?.endInTime()
  watch?.(job)
  return Effect.sync(() => call === undefined ? job.cancel(Infinity) : leave(call))
}

const call = (
  reference: BlockingFunction<never, unknown>,
  args: ReadonlyArray<unknown>,
  progress: Request["progress"]
): Effect.Effect<unknown, BlockingError> =>
  Effect.callback((resume) => {
    // One step of the fiber, where `withFiber` around it would be a second one.
    const around = Fiber.getCurrent()!.context
    const options = Context.get(around, CurrentOptions)
    // What the thread asks for may call as well. The options are not meant for that.
    const context = options === noOptions ? around : Context.add(around, CurrentOptions, noOptions)
    if (options.timeout === undefined) return ask(context, reference, args, options, progress, undefined, resume)
    resume(within(context, reference, args, options, options.timeout, progress))
  })

const within = (
  context: Context.Context<never>,
  reference: BlockingFunction<never, unknown>,
  args: ReadonlyArray<unknown>,
  options: CallOptions,
  timeout: number,
  progress: Request["progress"]
): Effect.Effect<unknown, BlockingError> => {
  let job: Job | undefined
  const asked = Effect.callback<unknown, BlockingError>((resume) =>
    ask(context, reference, args, options, progress, (taken) => {
      job = taken
    }, resume)
  )
  return Effect.timeoutOrElse(asked, {
    duration: timeout,
    // By now the call is cancelled, so what had not begun never will.
    orElse: () =>
      Effect.fail(
        new BlockingError({
          reason: new TimedOut({
            function: reference.name,
            module: reference.module,
            within: timeout,
            state: job?.timedOut() ?? "queued"
          })
        })
      )
  })
}

/**
 * Runs a function on a thread and waits for its result, without blocking
 * anybody.
 *
 * **When to use**
 *
 * Use for synchronous file access, compression, hashing, parsing and everything
 * else that would hold up the event loop.
 *
 * **Details**
 *
 * Arguments and result are cloned, as `structuredClone` does it: the arguments when
 * the call goes to a thread, which may be later, so leave them as they are until the
 * call has ended. The call belongs to the task that makes it: it is in `Host.tree` while it runs, and in the report
 * of a stop. Options are given with `withOptions`.
 *
 * **Ordering**
 *
 * Calls are handed to the threads in the order in which they were made. Each thread begins them in that order; two
 * threads are not in step. They end as they please.
 *
 * **Interruption**
 *
 * The fiber is free at once. A call that has not begun never does. A function that
 * runs is told, which it sees with `Thread.isCancelled`; when it has not ended after
 * the grace, its thread is ended, without its `finally` blocks, and replaced. What
 * sits in native code cannot be ended: such a thread is counted as stuck, and
 * replaced as well. A close of the scope waits for all of this, within its limit.
 *
 * A fiber that cannot be interrupted waits on. When its scope stops, the call is
 * told as late as its grace allows, and the fiber goes on, as if it had been
 * interrupted, when the call is over.
 *
 * **Failure**
 *
 * Fails with `BlockingError`, whose `reason` tells the cases apart. What the function
 * threw is in `FunctionThrew`; see `throws`. Dies with `InvalidOption` when it is
 * given no blocking function.
 *
 * **Example** (Off the event loop)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const sum = BlockingFunction.make(import.meta, "sum", (numbers: ReadonlyArray<number>) =>
 *   numbers.reduce((a, b) => a + b, 0))
 *
 * const program = Blocking.run(sum, [1, 2, 3])
 * await Effect.runPromise(Effect.provide(program, Blocking.layerInline)) // => 6
 * ```
 *
 * @see `stream` for the progress of long work
 * @category running
 * @since 0.1.0
 */
export const run = <Args extends ReadonlyArray<unknown>, A>(
  reference: BlockingFunction<Args, A>,
  ...args: Args
): Effect.Effect<A, BlockingError, Blocking> => call(reference, args, undefined) as Effect.Effect<A, BlockingError>

/**
 * What `stream` emits: any number of progress values, and at last the result.
 *
 * @category models
 * @since 0.1.0
 */
export type CallEvent<A, P> =
  | { readonly _tag: "Progress"; readonly value: P }
  | { readonly _tag: "Result"; readonly value: A }

/** How much progress is kept for a reader that is slow. */
const keptProgress = 16

/**
 * Runs a function on a thread and emits what it says of its progress, and at last
 * its result.
 *
 * **When to use**
 *
 * Use with a function that is declared with `BlockingFunction.makeWithProgress`.
 *
 * **Details**
 *
 * A slow reader misses progress: the latest 16 values are kept. The result is
 * never missed.
 *
 * **Interruption**
 *
 * A reader that goes away cancels the call, as an interruption of `run` does.
 *
 * **Failure**
 *
 * Fails as `run` does.
 *
 * **Example** (The last event is the result)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { Effect, Stream } from "effect"
 *
 * const answer = BlockingFunction.make(import.meta, "answer", () => 42)
 *
 * const program = Stream.runCollect(Blocking.stream(answer))
 * await Effect.runPromise(Effect.provide(program, Blocking.layerInline)) // => [{ _tag: "Result", value: 42 }]
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const stream = <Args extends ReadonlyArray<unknown>, A, P>(
  reference: BlockingFunction<Args, A, P>,
  ...args: Args
): Stream.Stream<CallEvent<A, P>, BlockingError, Blocking> =>
  Stream.callback<CallEvent<A, P>, BlockingError>((queue) =>
    Effect.matchCause(
      call(reference, args, (value) => {
        Queue.offerUnsafe(queue, { _tag: "Progress", value: value as P })
      }),
      {
        onFailure: (cause) => Queue.failCauseUnsafe(queue, cause),
        onSuccess: (value) => {
          Queue.offerUnsafe(queue, { _tag: "Result", value: value as A })
          Queue.endUnsafe(queue)
        }
      }
    ), { bufferSize: keptProgress, strategy: "sliding" })

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

const wrongOption = (option: string, value: unknown, problem: string, example: string) =>
  Result.fail(new InvalidOption({ option, value: shown(value), problem, remedy: `Give it ${example}` }))

/** What is wrong with the form of options. */
const checkForm = (input: CallOptionsInput): Result.Result<unknown, InvalidOption> | undefined => {
  const given: { readonly [option in keyof CallOptionsInput]: unknown } = input
  if (typeof given !== "object" || given === null) {
    return wrongOption("the options of a blocking call", given, "this is no object", "{ timeout: \"5 seconds\" }")
  }
  if (given.transfer !== undefined && !Array.isArray(given.transfer)) {
    return wrongOption("transfer of a blocking call", given.transfer, "this is no array", "[bytes.buffer]")
  }
  return given.name === undefined ? undefined : checkName("a blocking call", given.name)
}

const optionsOf = (input: CallOptionsInput, base: CallOptions): CallOptions | InvalidOption => {
  const form = checkForm(input)
  if (form !== undefined && Result.isFailure(form)) return form.failure
  let { grace, timeout } = base
  if (input.timeout !== undefined) {
    const read = checkOptionalLimit("timeout of a blocking call", input.timeout)
    if (Result.isFailure(read)) return read.failure
    timeout = read.success
  }
  if (input.grace !== undefined) {
    const read = checkGrace("grace of a blocking call", input.grace)
    if (Result.isFailure(read)) return read.failure
    grace = read.success
  }
  return { name: input.name ?? base.name, grace, timeout, transfer: input.transfer ?? base.transfer }
}

/**
 * Gives options to every `run` and `stream` inside of an effect.
 *
 * **Details**
 *
 * Options nearer to the call win, one by one. `timeout: "none"` takes away a limit
 * that was given further out.
 *
 * **Failure**
 *
 * A limit that is no duration, a timeout of zero, a name that cannot be part of a
 * path, or what is no option at all fails with `InvalidOption` before anything runs.
 * Options in which nothing can be wrong add no error.
 *
 * **Example** (A limit for one call)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const forever = BlockingFunction.make(import.meta, "forever", () => new Promise<void>(() => {}))
 *
 * const program = Blocking.run(forever).pipe(
 *   Blocking.withOptions({ timeout: "20 millis", grace: 0 }),
 *   Effect.catchReason("BlockingError", "TimedOut", ({ within }) => Effect.succeed(`gave up after ${within} ms`)),
 *   Effect.provide(Blocking.layerInline)
 * )
 * await Effect.runPromise(program) // => "gave up after 20 ms"
 * ```
 *
 * @category options
 * @since 0.1.0
 */
export const withOptions: {
  /**
   * Gives options to every `run` and `stream` inside of an effect. Data-last,
   * with options in which nothing can be wrong.
   *
   * @category options
   * @since 0.1.0
   */
  (options: SureOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /**
   * Gives options to every `run` and `stream` inside of an effect. Data-last.
   *
   * @category options
   * @since 0.1.0
   */
  (options: CallOptionsInput): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | InvalidOption, R>
  /**
   * Gives options to every `run` and `stream` inside of an effect. Data-first,
   * with options in which nothing can be wrong.
   *
   * @category options
   * @since 0.1.0
   */
  <A, E, R>(self: Effect.Effect<A, E, R>, options: SureOptions): Effect.Effect<A, E, R>
  /**
   * Gives options to every `run` and `stream` inside of an effect. Data-first.
   *
   * @category options
   * @since 0.1.0
   */
  <A, E, R>(self: Effect.Effect<A, E, R>, options: CallOptionsInput): Effect.Effect<A, E | InvalidOption, R>
} = dual(2, <A, E, R>(
  self: Effect.Effect<A, E, R>,
  options: CallOptionsInput
): Effect.Effect<A, E | InvalidOption, R> =>
  Effect.flatMap(CurrentOptions, (base): Effect.Effect<A, E | InvalidOption, R> => {
    const read = optionsOf(options, base)
    return read instanceof InvalidOption ? Effect.fail(read) : Effect.provideService(self, CurrentOptions, read)
  }))

/**
 * Runs every blocking call inside of an effect on another pool.
 *
 * **When to use**
 *
 * Use to keep slow work from taking the threads of quick work: give it a pool of
 * its own, as a service with the type `Pool`.
 *
 * **Example** (A pool of its own for images)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { Context, Effect, Layer } from "effect"
 *
 * class Images extends Context.Service<Images, Blocking.Pool>()("app/Images") {}
 *
 * const resize = BlockingFunction.make(import.meta, "resize", (width: number) => width / 2)
 * const program = Blocking.run(resize, 640).pipe(Blocking.on(Images))
 *
 * // In a service: Layer.effect(Images, BlockingPool.make({ name: "images", threads: 1 }))
 * const images = Layer.effect(Images, Blocking.makeInline)
 * await Effect.runPromise(Effect.provide(program, images)) // => 320
 * ```
 *
 * @category options
 * @since 0.1.0
 */
export const on: {
  /**
   * Runs every blocking call inside of an effect on another pool. Data-last.
   *
   * @category options
   * @since 0.1.0
   */
  <I>(
    pool: Context.Key<I, Pool>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, I | Exclude<R, Blocking>>
  /**
   * Runs every blocking call inside of an effect on another pool. Data-first.
   *
   * @category options
   * @since 0.1.0
   */
  <A, E, R, I>(self: Effect.Effect<A, E, R>, pool: Context.Key<I, Pool>): Effect.Effect<A, E, I | Exclude<R, Blocking>>
} = dual(
  2,
  <A, E, R, I>(
    self: Effect.Effect<A, E, R>,
    pool: Context.Key<I, Pool>
  ): Effect.Effect<A, E, I | Exclude<R, Blocking>> => Effect.provideServiceEffect(self, Blocking, Effect.service(pool))
)

/**
 * A class of errors whose instances have a tag.
 *
 * @category models
 * @since 0.1.0
 */
export interface ErrorClass {
  new(fields: never): { readonly _tag: string }
}

/**
 * Gives errors that a function throws their class: what was thrown with the tag
 * of one of the classes becomes an instance of it, in the error channel.
 *
 * **Details**
 *
 * A function throws an instance of the class or, when its module is to load no
 * Effect, any object with the same `_tag` and fields; `message` and `cause` of an
 * error count as fields. The instance keeps the stack of what was thrown, and its
 * message and cause where the class has none of its own. What does not fit the
 * class stays a `FunctionThrew`.
 *
 * **Example** (A typed error from a thread)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { Effect, Schema } from "effect"
 *
 * class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { path: Schema.String }) {}
 *
 * const read = BlockingFunction.make(import.meta, "read", (path: string): string => {
 *   throw Object.assign(new Error("no such file"), { _tag: "NotFound", path })
 * })
 *
 * const program = Blocking.run(read, "a.txt").pipe(
 *   Blocking.throws([NotFound]),
 *   Effect.catchTag("NotFound", (error) => Effect.succeed(`no ${error.path}`)),
 *   Effect.provide(Blocking.layerInline)
 * )
 * await Effect.runPromise(program) // => "no a.txt"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export const throws: {
  /**
   * Gives errors that a function throws their class. Data-last.
   *
   * @category errors
   * @since 0.1.0
   */
  <Class extends ErrorClass>(
    classes: ReadonlyArray<Class>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | InstanceType<Class>, R>
  /**
   * Gives errors that a function throws their class. Data-first.
   *
   * @category errors
   * @since 0.1.0
   */
  <A, E, R, Class extends ErrorClass>(
    self: Effect.Effect<A, E, R>,
    classes: ReadonlyArray<Class>
  ): Effect.Effect<A, E | InstanceType<Class>, R>
} = dual(2, <A, E, R, Class extends ErrorClass>(
  self: Effect.Effect<A, E, R>,
  classes: ReadonlyArray<Class>
): Effect.Effect<A, E | InstanceType<Class>, R> =>
  Effect.mapError(self, (error) => {
    if (!(error instanceof BlockingError) || error.reason._tag !== "FunctionThrew") return error
    return instanceOf(classes, error.reason.error) ?? error
  }))

const instanceOf = <Class extends ErrorClass>(
  classes: ReadonlyArray<Class>,
  thrown: unknown
): InstanceType<Class> | undefined => {
  if (typeof thrown !== "object" || thrown === null || !("_tag" in thrown)) return undefined
  const { _tag, ...fields } = thrown
  const message = "message" in thrown ? thrown.message : undefined
  const cause = "cause" in thrown ? thrown.cause : undefined
  for (const Class of classes) {
    try {
      const failure = new Class({
        ...(message !== undefined && !wordsItself(Class) && { message }),
        ...(cause !== undefined && { cause }),
        ...fields
      } as never)
      if (failure._tag !== _tag) continue
      if (failure instanceof Error) {
        if ("stack" in thrown) failure.stack = String(thrown.stack)
        if (failure.message === "") keep(failure, "message", message)
        if (failure.cause === undefined) keep(failure, "cause", cause)
      }
      return failure as InstanceType<Class>
    } catch {
      // The fields are not those of the class, so it is another error that happens to have a tag.
    }
  }
  return undefined
}

/** Whether instances of a class work out their message. One that is given would hide it. */
const wordsItself = (Class: ErrorClass): boolean => {
  let at: unknown = Class.prototype
  while (typeof at === "object" && at !== null && at !== Error.prototype) {
    if (Object.getOwnPropertyDescriptor(at, "message")?.get !== undefined) return true
    at = Object.getPrototypeOf(at)
  }
  return false
}

const keep = (failure: Error, key: "message" | "cause", value: unknown): void => {
  if (value === undefined) return
  Object.defineProperty(failure, key, { value, configurable: true, enumerable: false, writable: true })
}

// -----------------------------------------------------------------------------
// Without threads
// -----------------------------------------------------------------------------

/**
 * Makes a pool that runs functions on the main thread, one at a time.
 *
 * @see `layerInline`
 * @category constructors
 * @since 0.1.0
 */
export const makeInline: Effect.Effect<Pool> = Effect.sync(inlinePool)

/**
 * Runs blocking functions on the main thread, one at a time.
 *
 * **When to use**
 *
 * Use in tests, where a function is quick and a thread would only cost time, and
 * the time is virtual.
 *
 * **Details**
 *
 * Arguments and results are cloned as on a thread, so that a test finds
 * what cannot be sent. Graces and timeouts count on Effect's `Clock`.
 *
 * **Gotchas**
 *
 * A synchronous function holds up the event loop, and nothing can end it.
 * `Thread.call` fails, because the main thread cannot wait for itself.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerInline: Layer.Layer<Blocking> = Layer.effect(Blocking, makeInline)
