/**
 * Jobs: callables of a known kind.
 *
 * A job is an `effect`, a short synchronous `callback`, or `blocking`. Who is
 * handed one need not know which: `run` makes an effect of any, and `dispatch`
 * starts each the cheapest way.
 *
 * | kind | `run` | `dispatch` |
 * | --- | --- | --- |
 * | callback | calls the function in the fiber that runs it | calls it at once, without a fiber |
 * | effect | runs in the fiber that runs it | a task of the scope around |
 * | blocking | waits for a thread of the pool | a task that waits for a thread of the pool |
 *
 * | when | `run` | `dispatch` of a callback | `dispatch` of the others |
 * | --- | --- | --- | --- |
 * | the scope is open | runs | runs | the task starts |
 * | the scope is stopping or closed | runs, for it is part of who runs it | runs | refused with `ScopeClosed`; nothing has run |
 * | nobody provides a pool, for a blocking job | dies with `InvalidOption` | | the task dies with it |
 * | the pool is stopping or has stopped | fails with `PoolStopped` | | the task fails with it |
 *
 * | what fails | who hears of it | who logs it, once |
 * | --- | --- | --- |
 * | `run` | who runs it | `run`, with the name of the job; the task that ends with the very failure only at level Debug |
 * | `run`, by a timeout | who runs it | nobody here: who has set the limit knows what to do |
 * | a dispatched callback | who dispatched it | nobody here |
 * | another dispatched job | its task | the scope, as with every task |
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { hasProperty, isPromiseLike } from "effect/Predicate"
import * as Result from "effect/Result"
import * as Blocking from "./Blocking.ts"
import { type BlockingError } from "./BlockingError.ts"
import { type BlockingFunction, isBlockingFunction } from "./BlockingFunction.ts"
import { liveClock, now } from "./internal/clock.ts"
import { type Effectful, type JobImpl, JobTypeId as TypeId, sayOverBudget } from "./internal/job.ts"
import { checkOptionalLimit } from "./internal/limit.ts"
import { checkName } from "./internal/names.ts"
import { awaitPromise } from "./internal/promised.ts"
import { say } from "./internal/say.ts"
import { shown } from "./internal/shown.ts"
import { CurrentTask } from "./internal/state.ts"
import { isTimeout } from "./internal/timeouts.ts"
import { errorOf, failuresOf, tell, wasTold } from "./internal/told.ts"
import { InvalidOption } from "./InvalidOption.ts"
import * as Task from "./Task.ts"
import type { TaskScope } from "./TaskScope.ts"

declare global {
  // Its members come from the platform. Without this, the type of a signal would be `any` where no platform is named.
  interface AbortSignal {}
}

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What kind of job a job is; see the top of the module.
 *
 * @category models
 * @since 0.1.0
 */
export type JobKind = "effect" | "callback" | "blocking"

/**
 * A job of one kind, where `F` is the function that `run` gives for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobOf<out Kind extends JobKind, out F extends Effectful> {
  readonly [TypeId]: F
  readonly kind: Kind
  readonly name: string
}

/**
 * A job of any kind. `kind` tells which.
 *
 * @category models
 * @since 0.1.0
 */
export type Job<Args extends ReadonlyArray<unknown>, A, E = never, R = never> =
  | JobOf<"effect", (...args: Args) => Effect.Effect<A, E, R>>
  | JobOf<"callback", (...args: Args) => Effect.Effect<A, E, R>>
  | JobOf<"blocking", (...args: Args) => Effect.Effect<A, E, R>>

/**
 * A job that is an effect.
 *
 * @category models
 * @since 0.1.0
 */
export type EffectJob<Args extends ReadonlyArray<unknown>, A, E = never, R = never> = JobOf<
  "effect",
  (...args: Args) => Effect.Effect<A, E, R>
>

/**
 * A job that is a short synchronous function.
 *
 * @category models
 * @since 0.1.0
 */
export type CallbackJob<Args extends ReadonlyArray<unknown>, A> = JobOf<
  "callback",
  (...args: Args) => Effect.Effect<A>
>

/**
 * A job that runs on a thread.
 *
 * @category models
 * @since 0.1.0
 */
export type BlockingJob<Args extends ReadonlyArray<unknown>, A> = JobOf<
  "blocking",
  (...args: Args) => Effect.Effect<A, BlockingError, Blocking.Blocking>
>

// The effect that comes of what a function returns; see `effect`.

type SuccessOf<Returned> = Returned extends Effect.Effect<infer A, infer _E, infer _R> ? A
  : Returned extends Generator<infer _Yielded, infer A, never> ? A
  : Returned extends PromiseLike<infer A> ? A
  : Returned

type ErrorOf<Returned> = Returned extends Effect.Effect<infer _A, infer E, infer _R> ? E
  : Returned extends Generator<infer Yielded, infer _A, never> ? Effect.Error<Extract<Yielded, AnyEffect>>
  : Returned extends PromiseLike<infer _A> ? Cause.UnknownError
  : never

type ServicesOf<Returned> = Returned extends Effect.Effect<infer _A, infer _E, infer R> ? R
  : Returned extends Generator<infer Yielded, infer _A, never> ? Effect.Services<Extract<Yielded, AnyEffect>>
  : never

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

type EffectJobOf<Args extends ReadonlyArray<unknown>, Returned> = EffectJob<
  Args,
  SuccessOf<Returned>,
  ErrorOf<Returned>,
  ServicesOf<Returned>
>

/**
 * Options for callbacks.
 *
 * **Details**
 *
 * `budget` is how long a call may take before a warning names it, or `"none"`; 50
 * milliseconds by default. From there on, browsers call a task long.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallbackOptions {
  readonly budget?: Duration.Input | "none" | undefined
}

/**
 * Tells whether a value is a job.
 *
 * @category guards
 * @since 0.1.0
 */
export const isJob = (u: unknown): u is JobOf<JobKind, Effectful> => hasProperty(u, TypeId)

// -----------------------------------------------------------------------------
// Declaring
// -----------------------------------------------------------------------------

const make = (
  kind: JobKind,
  name: string,
  run: (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown, unknown, unknown>,
  called?: JobImpl["called"]
): JobImpl => {
  const checked = checkName("a job", name)
  if (Result.isFailure(checked)) throw checked.failure
  return { [TypeId]: run, kind, name, called }
}

const refusal = (value: string, problem: string, remedy: string) =>
  new InvalidOption({ option: "the callable of a job", value, problem, remedy })

/**
 * Declares a job that is an effect: a function that returns an effect, a generator
 * function as for `Effect.gen`, a function that returns a promise, or one that
 * returns a plain value.
 *
 * **When to use**
 *
 * Use to give a name to what is written in place, and wherever the kind shall not
 * be a matter of detection.
 *
 * **Details**
 *
 * What a function throws is a defect, as in `Effect.suspend`. What a promise is
 * rejected with is the `cause` of an `UnknownError`.
 *
 * **Interruption**
 *
 * Nobody can end a promise. Interrupting the job frees its fiber at once. Until the
 * promise settles it is a task of the scope, named after the job: a close waits
 * for it, within its limit, and reports it. When it is rejected after that, a
 * warning says so. To let it end early, see `promise`.
 *
 * **Failure**
 *
 * Throws `InvalidOption` for a name that no task could have, and for what cannot be
 * called; see `from`.
 *
 * **Example** (A generator function)
 *
 * ```ts import.meta.vitest
 * import { Job } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const double = Job.effect("double", function*(n: number) {
 *   const same = yield* Effect.succeed(n)
 *   return same * 2
 * })
 * await Effect.runPromise(Job.run(double)(21)) // => 42
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const effect = <Args extends ReadonlyArray<unknown>, Returned>(
  name: string,
  f: (...args: Args) => Returned
): EffectJobOf<Args, Returned> => effectJob(name, f) as never

const effectJob = (name: string, callable: unknown): JobImpl => {
  const f = functionOf(callable)
  return make("effect", name, (...args) =>
    // The function is called in here, so that no interrupt can come between it and those who wait for its promise.
    Effect.callback((resume) => {
      const returned = f(...args)
      if (Effect.isEffect(returned)) return resume(returned)
      if (isPromiseLike(returned)) return awaitPromise(name, returned, resume)
      resume(isGenerator(returned) ? Effect.gen(() => returned) : Effect.succeed(returned))
    }))
}

const isGenerator = (value: unknown): value is Generator<AnyEffect, unknown, never> =>
  typeof value === "object" && Object.prototype.toString.call(value) === "[object Generator]"

/**
 * Declares a job that is an effect by a function that returns a promise, and that
 * is told when nobody waits any more.
 *
 * **Details**
 *
 * The signal comes first, before the arguments of the job. What the function
 * throws counts as a rejection.
 *
 * **Interruption**
 *
 * The signal is aborted. Everything else is as with `effect`: the fiber is free at
 * once, and the promise is a task until it settles.
 *
 * **Failure**
 *
 * Throws `InvalidOption` for a name that no task could have, and for what cannot be
 * called; see `from`.
 *
 * **Example** (What is told, can end)
 *
 * ```ts import.meta.vitest
 * import { Job } from "@ambit/core"
 * import { Effect, Fiber } from "effect"
 *
 * const log: Array<string> = []
 * const listen = Job.promise("listen", (signal, topic: string) => {
 *   const aborted = Promise.withResolvers<never>()
 *   signal.addEventListener("abort", () => {
 *     log.push(`no more ${topic}`)
 *     aborted.reject(signal.reason)
 *   })
 *   return aborted.promise
 * })
 *
 * const program = Effect.gen(function*() {
 *   const fiber = yield* Effect.forkChild(Job.run(listen)("news"), { startImmediately: true })
 *   yield* Fiber.interrupt(fiber)
 * })
 * await Effect.runPromise(program)
 * log // => ["no more news"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const promise = <Args extends ReadonlyArray<unknown>, A>(
  name: string,
  f: (signal: AbortSignal, ...args: Args) => PromiseLike<A>
): EffectJob<Args, A, Cause.UnknownError> => {
  const begin = functionOf(f) as (...args: ReadonlyArray<unknown>) => PromiseLike<unknown>
  return make("effect", name, (...args) =>
    // What is thrown in here is a rejection, too.
    Effect.callback((resume, signal) =>
      awaitPromise(name, new Promise((resolve) => resolve(begin(signal, ...args))), resume)
    )) as never
}

/** Chosen, not measured; see `CallbackOptions`. */
const defaultBudget = 50

/**
 * Declares a job that is a short synchronous function.
 *
 * **When to use**
 *
 * Use for what counts a value, sets a flag or starts a task: for what costs less
 * than a fiber, and must have happened before the next thing happens.
 *
 * **Details**
 *
 * Whatever the function is, it is called, and what it returns is handed on as it is.
 * While it runs nothing else does, so a call that takes longer than its `budget` is
 * logged as a warning, with the name of the job. The time is that of the `Clock`
 * around the call.
 *
 * **Failure**
 *
 * Throws `InvalidOption` for a name that no task could have, for a budget that is not
 * positive, and for what cannot be called; see `from`.
 *
 * **Gotchas**
 *
 * Nobody runs an effect that a callback returns, nor waits for its promise, other
 * than who gets them.
 *
 * **Example** (Run before the call returns)
 *
 * ```ts import.meta.vitest
 * import { Job } from "@ambit/core"
 *
 * const seen: Array<string> = []
 * const note = Job.callback("note", (line: string) => seen.push(line), { budget: "5 millis" })
 *
 * Job.dispatch(note)("hello") // => 1
 * seen // => ["hello"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const callback = <Args extends ReadonlyArray<unknown>, A>(
  name: string,
  f: (...args: Args) => A,
  options?: CallbackOptions
): CallbackJob<Args, A> => {
  const budget = checkOptionalLimit(`budget of callback ${JSON.stringify(name)}`, options?.budget ?? defaultBudget)
  if (Result.isFailure(budget)) throw budget.failure
  const plain = functionOf(f)
  const watched = budget.success === undefined ? plain : withBudget(name, plain, budget.success)
  const called = { plain, watched, budget: budget.success }
  return make("callback", name, (...args) => Effect.sync(() => watched(...args)), called) as never
}

const withBudget =
  (name: string, f: (...args: ReadonlyArray<unknown>) => unknown, budget: number) =>
  (...args: ReadonlyArray<unknown>): unknown => {
    const fiber = Fiber.getCurrent()
    const clock = fiber === undefined ? liveClock : fiber.getRef(Clock.Clock)
    const begin = now(clock)
    try {
      return f(...args)
    } finally {
      const took = now(clock) - begin
      if (took > budget) sayOverBudget(name, took, budget, fiber?.context ?? Context.empty())
    }
  }

/**
 * Declares a job that runs on a thread, from the reference of a blocking function.
 *
 * **Details**
 *
 * The job has the name of the function. `Blocking.withOptions`, `Blocking.on` and
 * `Blocking.throws` work on what `run` gives.
 *
 * **Failure**
 *
 * Throws `InvalidOption` for what is no such reference, and for a name that no task
 * could have.
 *
 * **Example** (On a thread)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction, Job } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const sum = BlockingFunction.make(import.meta, "sum", (a: number, b: number) => a + b)
 *
 * const program = Job.run(Job.blocking(sum))(20, 22)
 * await Effect.runPromise(Effect.provide(program, Blocking.layerInline)) // => 42
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const blocking = <Args extends ReadonlyArray<unknown>, A>(
  reference: BlockingFunction<Args, A>
): BlockingJob<Args, A> => {
  if (!isBlockingFunction(reference)) {
    throw refusal(
      describe(reference),
      "this is not a blocking function",
      "Declare it with BlockingFunction.make(import.meta, \"name\", f) in a module that threads can load"
    )
  }
  return make("blocking", reference.name, (...args) => Blocking.run(reference, ...args as never)) as never
}

/** An object that is called through its method `call`. */
interface WithCall<Args extends ReadonlyArray<unknown>, Returned> {
  readonly name?: string | undefined
  readonly call: (...args: Args) => Returned
  /** A class has a method `call` too. */
  readonly prototype?: never
}

/**
 * Makes a job of anything that can be called.
 *
 * **Details**
 *
 * | what it is given | the kind | the name |
 * | --- | --- | --- |
 * | a job | its own: what was declared wins | its own |
 * | the reference of a blocking function | blocking | that of the function |
 * | a function, also one of `bind`, and one with fields or in a `Proxy` | effect | that of the function |
 * | an object with a method `call` | effect | its `name`, or that of its class |
 *
 * What a function is made of shows when it returns; see `effect`. So every way to
 * apply it in part leads to the same. It is never taken for a callback: that a
 * function is short and synchronous, only its author can say.
 *
 * **Failure**
 *
 * Throws `InvalidOption` for what cannot be called, with what to hand over instead:
 * a fiber, a task, a promise and an effect are not the work but a run of it or its
 * plan.
 *
 * **Gotchas**
 *
 * What has no name, such as an arrow function written in place or what `Effect.fn`
 * returns, is called `(anonymous)`. `effect` gives it a name.
 *
 * **Example** (Whatever it is, it can be awaited)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction, Job } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const plain = (n: number) => n + 1
 * const later = async (n: number) => n + 1
 * const blocks = BlockingFunction.make(import.meta, "blocks", (n: number) => n + 1)
 *
 * const program = Effect.all([
 *   Job.run(Job.from(plain))(1),
 *   Job.run(Job.from(later.bind(undefined, 2)))(),
 *   Job.run(Job.from(blocks))(3)
 * ])
 * await Effect.runPromise(Effect.provide(program, Blocking.layerInline)) // => [2, 3, 4]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const from: {
  /**
   * A job stays what it is. See `from`.
   *
   * @category constructors
   * @since 0.1.0
   */
  <J extends JobOf<JobKind, Effectful>>(job: J): J
  /**
   * Makes a blocking job of the reference of a blocking function. See `from`.
   *
   * @category constructors
   * @since 0.1.0
   */
  <Args extends ReadonlyArray<unknown>, A>(reference: BlockingFunction<Args, A>): BlockingJob<Args, A>
  /**
   * Makes a job of a function.
   *
   * @category constructors
   * @since 0.1.0
   */
  <Args extends ReadonlyArray<unknown>, Returned>(
    f: (...args: Args) => Returned
  ): EffectJobOf<Args, Returned>
  /**
   * Makes a job of an object with a method `call`. See `from`.
   *
   * @category constructors
   * @since 0.1.0
   */
  <Args extends ReadonlyArray<unknown>, Returned>(
    callable: WithCall<Args, Returned>
  ): EffectJobOf<Args, Returned>
} = (callable: unknown) => {
  if (isJob(callable)) return callable as never
  if (isBlockingFunction(callable)) return blocking(callable) as never
  return effectJob(nameOf(callable), callable) as never
}

/** The function to call, or the reason why there is none. */
const functionOf = (callable: unknown): (...args: ReadonlyArray<unknown>) => unknown => {
  const reason = whyNot(callable)
  if (reason !== undefined) throw reason
  return typeof callable === "function"
    ? callable as () => unknown
    : (...args) => (callable as WithCall<ReadonlyArray<unknown>, unknown>).call(...args)
}

const anonymous = "(anonymous)"

const nameOf = (callable: unknown): string => {
  const named = hasProperty(callable, "name") ? callable.name : undefined
  const own = typeof named === "string" ? named.replace(/^(?:bound )+/, "") : ""
  if (own.trim() !== "") return own
  const ofClass = typeof callable === "object" ? callable?.constructor?.name : undefined
  return ofClass === undefined || ofClass === "Object" ? anonymous : ofClass
}

/** Why something can be no job. */
const whyNot = (value: unknown): InvalidOption | undefined => {
  if (Fiber.isFiber(value) || Task.isTask(value)) {
    return refusal(describe(value), "it runs already", "Give it the function that begins it, () => effect")
  }
  if (isPromiseLike(value)) {
    return refusal("a promise", "it runs already", "Give it the function that begins it, () => promise")
  }
  if (Effect.isEffect(value)) {
    return refusal("an effect", "an effect is not called", "Give it a function that returns it, () => effect")
  }
  if (isGenerator(value)) {
    return refusal("a generator", "it has been called already", "Give it the generator function itself")
  }
  if (typeof value === "function") {
    return /^class\b/.test(Function.prototype.toString.call(value))
      ? refusal(describe(value), "a class is not called", "Give it a function, or an object with a method \"call\"")
      : undefined
  }
  return hasProperty(value, "call") && typeof value.call === "function" ? undefined : refusal(
    describe(value),
    "it cannot be called",
    "Give it a function, a blocking function, a job, or an object with a method \"call\""
  )
}

const describe = (value: unknown): string => {
  if (Fiber.isFiber(value)) return "a running fiber"
  if (Task.isTask(value)) return `task ${value.path}`
  if (typeof value === "function") return nameOf(value)
  return shown(value)
}

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

// Of several jobs at once these are one function, with all that any of them may give.

type Run<F extends Effectful> = [F] extends [(...args: infer Args) => Effect.Effect<infer A, infer E, infer R>]
  ? (...args: Args) => Effect.Effect<A, E, R>
  : never

type Called<F extends Effectful> = [F] extends [(...args: infer Args) => Effect.Effect<infer A, infer _E, infer _R>]
  ? (...args: Args) => A
  : never

type Spawned<F extends Effectful> = [F] extends [(...args: infer Args) => Effect.Effect<infer A, infer E, infer R>]
  ? (...args: Args) => Effect.Effect<Task.Task<A, E>, Task.SpawnError, R | TaskScope>
  : never

const implOf = (job: JobOf<JobKind, Effectful>, operation: string): JobImpl => {
  if (isJob(job)) return job as JobImpl
  throw new InvalidOption({
    option: `the job of ${operation}`,
    value: describe(job),
    problem: "this is not a job",
    remedy: "Make one of it with Job.from"
  })
}

/**
 * Gives the function that runs a job as an effect, whatever its kind.
 *
 * **When to use**
 *
 * Use where the result is wanted, or the work belongs to who runs it.
 *
 * **Details**
 *
 * Nothing happens before the effect is run. It needs no scope.
 *
 * **Interruption**
 *
 * As with the effect itself; see `effect` for promises and `Blocking.run` for
 * threads.
 *
 * **Failure**
 *
 * Fails as the job does, and logs the failure once, with the name of the job,
 * whether somebody handles it or not. A task that ends with that very failure
 * repeats it at level Debug only. A timeout (a `TimeLimitExceeded`, an error named `TimeoutError`, or a
 * `BlockingError` with the reason `TimedOut`) is not logged here.
 *
 * **Example** (What fails is logged with its name)
 *
 * ```ts import.meta.vitest
 * import { Job } from "@ambit/core"
 * import { Effect, Logger } from "effect"
 *
 * const lines: Array<unknown> = []
 * const logger = Logger.make<unknown, void>(({ message }) => void lines.push([message].flat()[0]))
 *
 * const print = Job.effect("print", (text: string) => Effect.fail(`no paper for ${text}`))
 * const program = Effect.flip(Job.run(print)("letter"))
 * await Effect.runPromise(Effect.provide(program, Logger.layer([logger]))) // => "no paper for letter"
 * lines // => ["Job print failed"]
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = <J extends JobOf<JobKind, Effectful>>(job: J): Run<J[typeof TypeId]> => {
  const { [TypeId]: begin, name } = implOf(job, "Job.run")
  return ((...args: ReadonlyArray<never>) =>
    Effect.catchCause(
      begin(...args as never),
      (cause) => Effect.withFiber((fiber) => Effect.failCause(said(name, fiber, cause)))
    )) as never
}

/** Says a failure, unless that is for somebody else, and gives it for the others to see that it was said. */
const said = (
  name: string,
  fiber: Fiber.Fiber<unknown, unknown>,
  cause: Cause.Cause<unknown>
): Cause.Cause<unknown> => {
  if (failuresOf(cause).every((failure) => wasTold(failure) || isTimeout(errorOf(failure)))) return cause
  const task = fiber.getRef(CurrentTask)
  if (task === undefined) say(fiber.context, "Error", `Job ${name} failed`, { job: name }, cause)
  else say(fiber.context, "Error", `Job ${name} failed in task ${task.path}`, { job: name, task: task.path }, cause)
  return tell(task, cause)
}

/**
 * Gives the function that starts a job the cheapest way.
 *
 * **When to use**
 *
 * Use where the work is to be done and nobody waits for its result: the handler of
 * an event, of a message, of a timer.
 *
 * **Details**
 *
 * - A callback is called at once, as a plain function. No effect is needed, nor a
 *   fiber.
 * - An effect becomes a task of the scope around, with the name of the job.
 * - A blocking job becomes a task as well, which waits for its thread.
 *
 * **Ordering**
 *
 * A callback has run when the call returns, and nothing else has run meanwhile. A
 * task has run up to its first wait, as with `Task.spawn`.
 *
 * **Failure**
 *
 * A callback throws to its caller, and nothing is logged. A task that fails is
 * logged by its scope, once. `ScopeClosed` when the scope is stopping or closed, and `TaskRefused` when it has as many
 * tasks as it may have; the job has not run then. Its tasks run beside each other: to say what shall happen when one is
 * there, spawn `run` with `onDuplicate`.
 *
 * **Example** (A callback and an effect)
 *
 * ```ts import.meta.vitest
 * import { Job, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const count = Job.callback("count", (by: number) => by + 1)
 * const store = Job.effect("store", (by: number) => Effect.succeed(by))
 *
 * Job.dispatch(count)(1) // => 2
 *
 * const program = TaskScope.use("app", () => Effect.gen(function*() {
 *   const task = yield* Job.dispatch(store)(1)
 *   return [task.path, yield* task.join]
 * }))
 * await Effect.runPromise(program) // => ["app/store", 1]
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const dispatch: {
  /**
   * Gives the function itself, within its budget. See `dispatch`.
   *
   * @category running
   * @since 0.1.0
   */
  <J extends JobOf<"callback", Effectful>>(job: J): Called<J[typeof TypeId]>
  /**
   * Gives the function that starts the job as a task.
   *
   * @category running
   * @since 0.1.0
   */
  <J extends JobOf<"effect" | "blocking", Effectful>>(job: J): Spawned<J[typeof TypeId]>
} = (job: JobOf<JobKind, Effectful>) => {
  const { [TypeId]: begin, called, name } = implOf(job, "Job.dispatch")
  return (called?.watched ?? ((...args: ReadonlyArray<unknown>) => Task.spawn(begin(...args as never), name))) as never
}
