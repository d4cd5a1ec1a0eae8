/**
 * What tasks are spawned into: the scope that owns them, ends them in time and
 * says what it took.
 *
 * A scope is open, then stopping, then closed. What each operation does in each
 * state:
 *
 * | operation | open | stopping | closed |
 * | --- | --- | --- | --- |
 * | `spawn`, `runtime` | the task starts | refused with `ScopeClosed` | refused with `ScopeClosed` |
 * | `child` | a scope inside | refused with `ScopeClosed` | refused with `ScopeClosed` |
 * | `make`, `use` inside | a scope inside | one for clean-up, which closes with this one | refused with `InvalidOption` |
 * | `close` | closes | waits for the running close, same report | the same report, at once |
 * | `cancelAll` | asks every task to stop | as when open; who was asked is not asked again | does nothing |
 * | `tasks` | the live tasks, and the abandoned ones that still run | the same | the abandoned ones that still run |
 * | `awaitIdle` | waits | waits | returns at once |
 * | `events` | what happens from now on | the same | nothing, and the stream is over; in that of an app, once the app has stopped |
 * | `onFailure` | called from now on | the same | called for abandoned tasks that fail late |
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { hasProperty } from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { now } from "./internal/clock.ts"
import { close as closeImpl, standstills } from "./internal/close.ts"
import { checkMaxTasks, isAnswer } from "./internal/duplicates.ts"
import { awaitQuiet, busyPaths } from "./internal/idle.ts"
import { checkLimit } from "./internal/limit.ts"
import { makeScope } from "./internal/makeScope.ts"
import { checkName, joinPath } from "./internal/names.ts"
import { say } from "./internal/say.ts"
import { shown } from "./internal/shown.ts"
import { handed, refusal, spawnOwn } from "./internal/spawn.ts"
import { type AnyOptions, spawnWith } from "./internal/spawnWith.ts"
import {
  allTasksOf,
  closedScope,
  CurrentErrand,
  CurrentScope,
  isOver,
  type Reader,
  refusingScope,
  type ScopeImpl,
  ScopeTypeId,
  TaskImpl
} from "./internal/state.ts"
import { interruptAll } from "./internal/stopTask.ts"
import { InvalidOption } from "./InvalidOption.ts"
import { Limits } from "./Limits.ts"
import type { RestartExhausted } from "./RestartExhausted.ts"
import type { ScopeClosed } from "./ScopeClosed.ts"
import { formatMillis, type ShutdownReport, stuckPaths } from "./ShutdownReport.ts"
import type {
  LimitError,
  RestartedOptions,
  SpawnError,
  SpawnOptions,
  Task,
  TaskEvent,
  TaskFailure,
  UnlimitedOptions
} from "./Task.ts"
import type { TimeLimitExceeded } from "./TimeLimitExceeded.ts"

/**
 * A scope that owns tasks.
 *
 * **When to use**
 *
 * Use an `App` for the parts of a service. Use a scope directly where something
 * smaller owns background work: a connection, a session, a test.
 *
 * **Details**
 *
 * Whatever its tasks do, `close` ends within `stopWithin`: it interrupts all of
 * them, waits for all at the same time, and at the deadline gives up the rest
 * and names them. See the table at the top of the module for what each
 * operation does in each state.
 *
 * **Gotchas**
 *
 * A task that is given up is not gone: JavaScript offers no way to end a fiber
 * that refuses. It stays listed, and its end is logged when it comes.
 *
 * @see `FiberSet` of Effect for fibers without names, limits or a report
 * @category models
 * @since 0.1.0
 */
export interface TaskScope {
  readonly [ScopeTypeId]: typeof ScopeTypeId
  readonly name: string
  readonly path: string
  /** Milliseconds from interrupt to giving up. */
  readonly stopWithin: number
  readonly state: TaskScopeState
}

/**
 * The state of a scope. `reason` is why it stops.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskScopeState =
  | { readonly _tag: "Open" }
  | { readonly _tag: "Stopping"; readonly reason: string }
  | { readonly _tag: "Closed"; readonly report: ShutdownReport }

/**
 * The scope that `Task.spawn` spawns into. Apps, `layer` and `use` provide it.
 *
 * @category services
 * @since 0.1.0
 */
export const TaskScope: Context.Service<TaskScope, TaskScope> = CurrentScope as unknown as Context.Service<
  TaskScope,
  TaskScope
>

/**
 * How a scope is made.
 *
 * **Details**
 *
 * - `stopWithin`: how long tasks may take from interrupt to end: `taskStop` of
 *   the `Limits`, 5 seconds, by default.
 * - `maxTasks`: how many tasks it may have at once; without it, any number. What is spawned then is refused with
 *   `TaskRefused`. With `{ atOnce, queue }`, so many more wait as `queue` says, in order of spawning.
 *
 * A task counts for `maxTasks` from its spawn until it has ended or was given up, also during a delay. One that waits for
 * others of its name counts when these are gone. Tasks of child scopes do not count, and neither do the body of `use`, the start of an app, and what
 * a task leaves behind on a thread or as a promise. A task that replaces another one takes over its place.
 *
 * What waits for a place is `Pending`, of the kind that it was spawned with: `awaitIdle` and the drain of an app wait for
 * it when it is `foreground`. A stop ends it, and its outcome is `neverStarted`.
 *
 * **Gotchas**
 *
 * Tasks that wait for tasks of the same scope keep their places meanwhile. When all places are taken by such, nothing
 * begins any more: give what they wait for a scope of its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskScopeOptions {
  readonly stopWithin?: Duration.Input | undefined
  readonly maxTasks?: number | { readonly atOnce: number; readonly queue: number } | undefined
}

/**
 * The wait for an idle scope took longer than its limit.
 *
 * **Details**
 *
 * `busy` holds the paths of the tasks that still ran.
 *
 * @category errors
 * @since 0.1.0
 */
export class IdleTimeout extends Schema.TaggedError<IdleTimeout>("@ambit/core/TaskScope/IdleTimeout")("IdleTimeout", {
  scope: Schema.String,
  /** Milliseconds. */
  within: Schema.Finite,
  busy: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `${this.scope} is not idle after ${formatMillis(this.within)}; still busy: ${this.busy.join(", ")}. ` +
      "Wait longer, or look at what these tasks wait for"
  }
}

/**
 * A task of `TaskScope.use` failed, and the others were stopped.
 *
 * @category errors
 * @since 0.1.0
 */
export class TaskFailed extends Schema.TaggedError<TaskFailed>("@ambit/core/TaskScope/TaskFailed")("TaskFailed", {
  path: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `Task ${this.path} failed, and the other tasks of its scope were stopped. See its cause`
  }
}

/**
 * A close under a virtual clock that nobody advanced.
 *
 * **Details**
 *
 * A test's own scope closes after the test has ended, when nobody is left to
 * call `TestClock.adjust`. So a close gives up when, for a second of real time,
 * the virtual clock has not moved and no task has ended, and the test dies with
 * this error, which holds the report.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoodStill extends Schema.TaggedError<StoodStill>("@ambit/core/TaskScope/StoodStill")("StoodStill", {
  scope: Schema.String,
  stuck: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `${this.scope} could not close: the virtual clock stood still, and these did not stop: ${
      this.stuck.join(", ")
    }. Let them end, or close the scope in the test and advance the TestClock`
  }
}

/**
 * Tells whether a value is a task scope.
 *
 * @category guards
 * @since 0.1.0
 */
export const isTaskScope = (u: unknown): u is TaskScope => hasProperty(u, ScopeTypeId)

// The public face and what is behind it are one object; this is the only door between them.
const impl = (self: TaskScope): ScopeImpl => self as unknown as ScopeImpl

const face = (self: ScopeImpl): TaskScope => self

const pathOf = (parent: ScopeImpl | undefined, name: string): string => joinPath(parent?.path ?? "", name, 1)

/**
 * What a task of that name would be refused with, if the scope takes none any more.
 *
 * @internal
 */
export const refusalOf = (self: TaskScope, name: string): ScopeClosed | undefined =>
  refusingScope(impl(self)) === undefined ? undefined : refusal(impl(self), name)

// Checks what a scope is made with, and gives what makes it in one step, with the context around it.
const checked = (
  name: string,
  options: TaskScopeOptions | undefined,
  defaultForeground: boolean
): Effect.Effect<() => ScopeImpl | InvalidOption, InvalidOption> =>
  Effect.gen(function*() {
    yield* Effect.fromResult(checkName("a scope", name))
    const context = yield* Effect.context()
    const limits = yield* Limits
    const parent = Context.getOrUndefined(context, CurrentScope)
    const path = pathOf(parent, name)
    const around = parent && { name: `stopWithin of scope "${parent.path}"`, millis: parent.stopWithin }
    const stopWithin = options?.stopWithin === undefined
      // A service can be given anything.
      ? Math.min(
        yield* Effect.fromResult(checkLimit("taskStop of the Limits", limits.taskStop)),
        around?.millis ?? Infinity
      )
      : yield* Effect.fromResult(checkLimit(`stopWithin of scope "${path}"`, options.stopWithin, around))
    const room = yield* Effect.fromResult(checkMaxTasks(`scope "${path}"`, options?.maxTasks))
    const clock = yield* Clock.Clock
    return () => {
      const closed = closedScope(parent)
      return closed === undefined
        ? makeScope({
          name,
          parent,
          clock,
          context,
          stopWithin,
          owner: parent?.owner,
          defaultForeground,
          apart: true,
          room
        })
        : new InvalidOption({
          option: `the scope around scope "${path}"`,
          value: closed.path,
          problem: "it is closed, so nothing in it would ever be stopped",
          remedy: "Make it while that one is open, or outside of it"
        })
    }
  })

/**
 * What the owner of a scope does at its end: close, and let a test fail that would else have hung.
 *
 * @internal
 */
export const finalize = (scope: ScopeImpl, reason: string): Effect.Effect<void> =>
  Effect.flatMap(closeImpl(scope, { reason }), (report) =>
    standstills.has(report)
      ? Effect.die(new StoodStill({ scope: scope.path, stuck: stuckPaths(report) }))
      : Effect.void)

/**
 * Makes a scope that closes together with the Effect scope around it.
 *
 * **Details**
 *
 * Inside an app or another scope it is part of that one: its path starts with
 * that one's, which lists its tasks, stops it with itself at the latest, and
 * reports on it. It never gets more time to stop than that one has left. Only
 * `awaitIdle` and the drain of the scope around do not wait for it.
 *
 * Made by the clean-up of a task while the scope around stops, it is open for the
 * work of that clean-up. The scope around closes it when its own tasks have ended,
 * and at its deadline at the latest.
 *
 * **Ordering**
 *
 * The Effect scope runs finalizers in reverse: what was acquired before the
 * task scope is released after its tasks have ended.
 *
 * **Interruption**
 *
 * Interrupting the fiber that waits for the close does not stop the close.
 *
 * **Failure**
 *
 * `InvalidOption` for a bad name or limit, and in a scope that is closed.
 *
 * **Example** (A scope of its own)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("connection", { stopWithin: "1 second" })
 *   yield* TaskScope.spawn(scope, Effect.never, "reader")
 *   return (yield* TaskScope.tasks(scope)).map((task) => task.path)
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["connection/reader"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  name: string,
  options?: TaskScopeOptions
): Effect.Effect<TaskScope, InvalidOption, Scope.Scope> =>
  Effect.flatMap(
    checked(name, options, false),
    (makes) =>
      Effect.uninterruptible(Effect.flatMap(Effect.scope, (owner) =>
        Effect.suspend(() => {
          const scope = makes()
          if (scope instanceof InvalidOption) return Effect.fail(scope)
          // A link of its own, so that a scope which is closed leaves nothing with its owner.
          const link = Scope.forkUnsafe(owner)
          scope.disown = () => void Scope.closeUnsafe(link, Exit.void)
          return Effect.as(Scope.addFinalizer(link, finalize(scope, "the owning scope closed")), face(scope))
        })))
  )

/**
 * Provides a scope to everything below, so that `Task.spawn` works there.
 *
 * **Example** (A scope as a layer)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.map(Task.spawn(Effect.never, "poll"), (task) => task.path)
 * await Effect.runPromise(program.pipe(Effect.provide(TaskScope.layer("app")))) // => "app/poll"
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (name: string, options?: TaskScopeOptions): Layer.Layer<TaskScope, InvalidOption> =>
  Layer.effect(TaskScope)(make(name, options))

/**
 * Makes a scope inside another one. It closes by itself or with its parent.
 *
 * **Details**
 *
 * `stopWithin` follows the parent's when it is not given, and must fit into it. `maxTasks` does not follow: its tasks are
 * not counted with those of the parent.
 *
 * **Ordering**
 *
 * When the parent closes, its children begin to close in reverse order of their
 * making, and all at the same time as its own tasks.
 *
 * **Failure**
 *
 * `ScopeClosed` when the parent is stopping or closed, `InvalidOption` for a bad
 * name or limit.
 *
 * **Example** (A scope a session)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = TaskScope.use("server", (server) => Effect.gen(function*() {
 *   const session = yield* TaskScope.child(server, "session")
 *   const task = yield* TaskScope.spawn(session, Effect.never, "reader")
 *   yield* TaskScope.close(session)
 *   return [task.path, task.status._tag]
 * }))
 * await Effect.runPromise(program) // => ["server/session/reader", "Ended"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const child: {
  /**
   * Makes a scope inside another one. Data-last; see the data-first form.
   *
   * @category constructors
   * @since 0.1.0
   */
  (
    name: string,
    options?: TaskScopeOptions
  ): (self: TaskScope) => Effect.Effect<TaskScope, ScopeClosed | InvalidOption>
  /**
   * Makes a scope inside another one. See `child`.
   *
   * @category constructors
   * @since 0.1.0
   */
  (
    self: TaskScope,
    name: string,
    options?: TaskScopeOptions
  ): Effect.Effect<TaskScope, ScopeClosed | InvalidOption>
} = dual(
  (args) => isTaskScope(args[0]),
  (self: TaskScope, name: string, options?: TaskScopeOptions): Effect.Effect<TaskScope, ScopeClosed | InvalidOption> =>
    Effect.gen(function*() {
      const parent = impl(self)
      yield* Effect.fromResult(checkName(`a scope in "${parent.path}"`, name))
      const stopWithin = options?.stopWithin === undefined
        ? parent.stopWithin
        : yield* Effect.fromResult(checkLimit(`stopWithin of scope "${pathOf(parent, name)}"`, options.stopWithin, {
          name: `stopWithin of scope "${parent.path}"`,
          millis: parent.stopWithin
        }))
      const room = yield* Effect.fromResult(checkMaxTasks(`scope "${pathOf(parent, name)}"`, options?.maxTasks))
      if (refusingScope(parent) !== undefined) return yield* refusal(parent, name)
      return face(makeScope({
        name,
        parent,
        clock: parent.clock,
        context: parent.context,
        stopWithin,
        owner: parent.owner,
        defaultForeground: parent.defaultForeground,
        apart: false,
        room
      }))
    })
)

/**
 * Starts an effect as a named task of this scope. `Task.spawn` for a scope at
 * hand; see there for the whole contract.
 *
 * **Details**
 *
 * Inside the task this scope is the scope around, so `Task.spawn` in there
 * spawns into it as well.
 *
 * **Example** (Data-first and data-last)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   const one = yield* TaskScope.spawn(scope, Effect.never, "poll")
 *   const two = yield* Effect.never.pipe(TaskScope.spawn(scope, "poll"))
 *   return [one.path, two.path]
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["app/poll", "app/poll#2"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const spawn: {
  /**
   * Starts an effect as a named task that may be started again. Data-last, on the effect.
   *
   * @category operations
   * @since 0.1.0
   */
  <E2, const Within extends Duration.Input | "none" | undefined = undefined>(
    self: TaskScope,
    name: string,
    options: RestartedOptions<E2, Within>
  ): <A, E extends E2, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<
    Task<A, E | RestartExhausted | LimitError<Within>>,
    SpawnError,
    Exclude<R, TaskScope>
  >
  /**
   * Starts an effect as a named task of this scope. Data-last, on the effect.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: TaskScope, name: string, options?: UnlimitedOptions): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Task<A, E>, SpawnError, Exclude<R, TaskScope>>
  /**
   * Starts an effect as a named task with a limit. Data-last, on the effect.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: TaskScope, name: string, options?: SpawnOptions): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Task<A, E | TimeLimitExceeded>, SpawnError, Exclude<R, TaskScope>>
  /**
   * Starts an effect as a named task that may be started again. See `spawn`, and `Restart`.
   *
   * @category operations
   * @since 0.1.0
   */
  <A, E, R, const Within extends Duration.Input | "none" | undefined = undefined>(
    self: TaskScope,
    effect: Effect.Effect<A, E, R>,
    name: string,
    options: RestartedOptions<E, Within>
  ): Effect.Effect<
    Task<A, E | RestartExhausted | LimitError<Within>>,
    SpawnError,
    Exclude<R, TaskScope>
  >
  /**
   * Starts an effect as a named task of this scope. See `spawn`.
   *
   * @category operations
   * @since 0.1.0
   */
  <A, E, R>(
    self: TaskScope,
    effect: Effect.Effect<A, E, R>,
    name: string,
    options?: UnlimitedOptions
  ): Effect.Effect<Task<A, E>, SpawnError, Exclude<R, TaskScope>>
  /**
   * Starts an effect as a named task with a limit. See `spawn`.
   *
   * @category operations
   * @since 0.1.0
   */
  <A, E, R>(
    self: TaskScope,
    effect: Effect.Effect<A, E, R>,
    name: string,
    options?: SpawnOptions
  ): Effect.Effect<Task<A, E | TimeLimitExceeded>, SpawnError, Exclude<R, TaskScope>>
} = dual(
  (args) => Effect.isEffect(args[1]) || Effect.isEffect(args[0]),
  <A, E, R>(
    ...args: [TaskScope, Effect.Effect<A, E, R>, string, AnyOptions<E>?] | [
      Effect.Effect<A, E, R>,
      TaskScope,
      string,
      AnyOptions<E>?
    ]
  ): Effect.Effect<Task<A, E>, SpawnError, Exclude<R, TaskScope>> => {
    const [self, effect] = isTaskScope(args[0])
      ? [args[0], args[1] as Effect.Effect<A, E, R>]
      : [args[1] as TaskScope, args[0]]
    return Effect.withFiber((fiber) => {
      const spawned = spawnWith(impl(self), fiber.context as Context.Context<any>, effect, args[2], args[3])
      return handed(spawned) as Effect.Effect<Task<A, E>, SpawnError>
    })
  }
)

/**
 * Spawns from plain callbacks; see `runtime`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Spawner<in R = never> {
  <A, E, const Within extends Duration.Input | "none" | undefined = undefined>(
    effect: Effect.Effect<A, E, R | TaskScope>,
    name: string,
    options: RestartedOptions<E, Within>
  ): Result.Result<Task<A, E | RestartExhausted | LimitError<Within>>, SpawnError>
  <A, E>(
    effect: Effect.Effect<A, E, R | TaskScope>,
    name: string,
    options?: UnlimitedOptions
  ): Result.Result<Task<A, E>, SpawnError>
  <A, E>(
    effect: Effect.Effect<A, E, R | TaskScope>,
    name: string,
    options?: SpawnOptions
  ): Result.Result<Task<A, E | TimeLimitExceeded>, SpawnError>
}

/**
 * Gives a plain function that spawns into this scope, for callbacks from outside
 * of Effect: event emitters, sockets, timers of libraries.
 *
 * **Details**
 *
 * The function runs the task up to its first wait before it returns, with the
 * services of the fiber that made it. It never throws.
 *
 * **Failure**
 *
 * The `Result` says why a task was refused. Callbacks tend to drop it, so a
 * refusal is also logged as a warning. That of a queue or a scope that is full is warned of at most once a minute for
 * tasks of one name.
 *
 * **Example** (From an emitter)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect, Result } from "effect"
 *
 * const seen: Array<string> = []
 * const program = TaskScope.use("app", (scope) => Effect.gen(function*() {
 *   const spawn = yield* TaskScope.runtime(scope)
 *   const onMessage = (text: string) => spawn(Effect.sync(() => seen.push(text)), "message")
 *   return Result.isSuccess(onMessage("hello"))
 * }))
 * await Effect.runPromise(program) // => true
 * seen // => ["hello"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const runtime = <R = never>(self: TaskScope): Effect.Effect<Spawner<R>, never, R> =>
  Effect.map(
    Effect.context<R>(),
    (context): Spawner<R> =>
    <A, E>(
      effect: Effect.Effect<A, E, R | TaskScope>,
      name: string,
      options?: AnyOptions<E>
    ) => {
      const scope = impl(self)
      const spawned = spawnWith(scope, context as Context.Context<any>, effect, name, options)
      if (spawned instanceof TaskImpl) return Result.succeed(spawned as Task<A, E>)
      if (spawned._tag !== "TaskRefused" || isAnswer(spawned)) {
        say(context, "Warn", spawned.message, {
          scope: scope.path
        })
      }
      return Result.fail(spawned)
    }
  )

/**
 * Runs a body with a scope of its own, and returns its value when all tasks are
 * done: the nursery of other libraries.
 *
 * **Details**
 *
 * Tasks are `foreground` here unless they say otherwise. The body and all
 * foreground tasks are waited for; then background tasks are interrupted. The
 * body is a task itself, named `(body)`.
 *
 * **Ordering**
 *
 * `use` returns after the last task has ended.
 *
 * **Interruption**
 *
 * Interrupting `use` closes the scope, within its limit.
 *
 * **Failure**
 *
 * When a task fails, the body and the other tasks are stopped, and `use` fails
 * with `TaskFailed`, which holds the path and the cause of the first failure. A
 * failure of the body stops the tasks and comes through as it is; one of its
 * clean-up comes through beside what `use` fails with. Tasks with
 * `onFailure: "ignore"` do not count. `InvalidOption` for a bad name or limit, and
 * in a scope that is closed.
 *
 * **Gotchas**
 *
 * A body that closes the scope, or cancels its tasks, is interrupted with them, and
 * `use` ends as interrupted. A background task that fails in its clean-up, when the
 * work is done, is logged and does not count.
 *
 * **Example** (All or nothing)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = TaskScope.use("copy", () => Effect.gen(function*() {
 *   yield* Task.spawn(Effect.never, "slow")
 *   yield* Task.spawn(Effect.fail("disk full"), "write")
 * }))
 * const error = await Effect.runPromise(Effect.flip(program))
 * error._tag === "TaskFailed" && [error.path, error.cause] // => ["copy/write", "disk full"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const use = <A, E, R>(
  name: string,
  body: (scope: TaskScope) => Effect.Effect<A, E, R>,
  options?: TaskScopeOptions
): Effect.Effect<A, E | TaskFailed | InvalidOption, Exclude<R, TaskScope>> =>
  Effect.flatMap(checked(name, options, true), (makes) =>
    Effect.acquireUseRelease(
      // In one step, so that the scope around cannot begin to stop before the body has begun.
      Effect.withFiber((fiber) => {
        const scope = makes()
        return scope instanceof InvalidOption
          ? Effect.fail(scope)
          : Effect.succeed(beginNursery(scope, fiber.context as Context.Context<any>, body))
      }),
      ({ done }) => done,
      ({ bodyTask, scope }, exit) =>
        Effect.andThen(finalize(scope, "its body is done"), Effect.suspend(() => lostFailure(bodyTask, exit)))
    ))

const beginNursery = <A, E, R>(
  scope: ScopeImpl,
  context: Context.Context<R>,
  body: (scope: TaskScope) => Effect.Effect<A, E, R>
): {
  readonly scope: ScopeImpl
  readonly bodyTask: TaskImpl<A, E>
  readonly done: Effect.Effect<A, E | TaskFailed>
} => {
  const failed = Deferred.makeUnsafe<never, TaskFailed>()
  scope.nursery = true
  scope.failureHooks.push(({ cause, onFailure, path, restartsIn }) => {
    if (onFailure === "ignore" || restartsIn !== undefined) return
    Deferred.doneUnsafe(failed, Exit.fail(new TaskFailed({ path, cause: Cause.squash(cause) })))
  })
  // The body fails to the caller, so its failure is neither logged as an error nor counted as one of a task.
  // Who waits for `use` waits for its body.
  const work = Effect.provideService(
    Effect.suspend(() => body(face(scope))),
    CurrentErrand,
    Context.get(context, CurrentErrand)
  )
  const bodyTask = spawnOwn(scope, context, work, "(body)")
  if (!(bodyTask instanceof TaskImpl)) throw bodyTask
  const done = Effect.flatMap(bodyTask.join, (value) => Effect.as(awaitQuiet(scope, false), value))
  // The failure first: when both are there, it counts.
  return { scope, bodyTask, done: Effect.raceFirst(Deferred.await(failed), done) }
}

// What went wrong in the clean-up of a body that nobody waited for any more.
const lostFailure = <E>(
  bodyTask: TaskImpl<unknown, E>,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void, E> => {
  const ended = bodyTask.fiber.pollUnsafe()
  if (ended === undefined || Exit.isSuccess(ended) || Exit.isSuccess(exit)) return Effect.void
  const known: ReadonlyArray<unknown> = exit.cause.reasons
  const lost = ended.cause.reasons.filter((reason) => reason._tag !== "Interrupt" && !known.includes(reason))
  return lost.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons(lost))
}

/**
 * How a scope is closed.
 *
 * **Details**
 *
 * - `within`: how long the close may take; the limit of the scope by default,
 *   and never longer.
 * - `reason`: why, for the report, the tasks and the log; `"closed"` by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface CloseOptions {
  readonly within?: Duration.Input | undefined
  readonly reason?: string | undefined
}

/**
 * Ends everything in the scope, within its limit, and says what it took.
 *
 * **Details**
 *
 * From the moment of the call nothing can be spawned. The deadline is fixed,
 * then all tasks are interrupted, in batches that leave the event loop room, and
 * waited for at the same time; child scopes as well. What has not ended at the
 * deadline is abandoned: a warning names it with the place where it is stuck,
 * the report lists it, and when it ends after all that is logged too.
 *
 * **Ordering**
 *
 * The close costs what the slowest task costs, not the sum. No order between
 * the tasks is promised.
 *
 * **Interruption**
 *
 * The close goes on when the fiber that waits for it is interrupted. A task that
 * closes its own scope is interrupted as every other: nothing after its call
 * runs except its finalizers. Called from a finalizer of a task in the scope, it
 * returns when only such callers are left, with the lines of all others.
 *
 * **Failure**
 *
 * `InvalidOption` when `within` is not positive or above the limit of the scope,
 * and when `reason` is no string.
 * The close itself cannot fail. Two closers get the same report.
 *
 * **Gotchas**
 *
 * To close the scope of an app is to stop the app, with its hooks and limits.
 *
 * **Example** (A task that does not stop)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app", { stopWithin: "20 millis" })
 *   yield* TaskScope.spawn(scope, Effect.uninterruptible(Effect.never), "stubborn")
 *   return yield* TaskScope.close(scope)
 * })
 * const report = await Effect.runPromise(Effect.scoped(program))
 * report.clean // => false
 * report.tasks.map((task) => [task.path, task.outcome]) // => [["app/stubborn", "abandoned"]]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const close: {
  /**
   * Ends everything in the scope, within its limit. Data-last; see the
   * data-first form.
   *
   * @category operations
   * @since 0.1.0
   */
  (options: CloseOptions): (self: TaskScope) => Effect.Effect<ShutdownReport, InvalidOption>
  /**
   * Ends everything in the scope, within its limit. See `close`.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: TaskScope): Effect.Effect<ShutdownReport>
  /**
   * Ends everything in the scope, within its limit. See `close`.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: TaskScope, options: CloseOptions): Effect.Effect<ShutdownReport, InvalidOption>
} = dual(
  (args) => isTaskScope(args[0]),
  (self: TaskScope, options?: CloseOptions): Effect.Effect<ShutdownReport, InvalidOption> =>
    Effect.suspend(() => {
      const scope = impl(self)
      const reason = options?.reason ?? "closed"
      if (typeof reason !== "string") {
        return Effect.fail(
          new InvalidOption({
            option: `reason of the close of scope "${scope.path}"`,
            value: shown(reason),
            problem: "a reason must be a string",
            remedy: "Say in a few words why the scope is closed"
          })
        )
      }
      if (options?.within === undefined) return closeImpl(scope, { reason })
      const within = checkLimit(`within of the close of scope "${scope.path}"`, options.within, {
        name: "its stopWithin",
        millis: scope.stopWithin
      })
      return Result.isFailure(within)
        ? Effect.fail(within.failure)
        : closeImpl(scope, { reason, within: within.success })
    })
) as never

/**
 * Asks every task of the scope and of its children to stop, and does not wait
 * for any. The scope stays open.
 *
 * **Ordering**
 *
 * When it returns, every task that was alive at the call has been asked.
 *
 * **Example** (Asking without waiting)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   const task = yield* TaskScope.spawn(scope, Effect.never, "poll")
 *   yield* TaskScope.cancelAll(scope, "new configuration")
 *   return [task.status._tag, scope.state._tag]
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["Ended", "Open"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const cancelAll: {
  /**
   * Asks every task of the scope to stop. Data-last; see the data-first form.
   *
   * @category operations
   * @since 0.1.0
   */
  (reason?: string): (self: TaskScope) => Effect.Effect<void>
  /**
   * Asks every task of the scope to stop. See `cancelAll`.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: TaskScope, reason?: string): Effect.Effect<void>
} = dual(
  (args) => isTaskScope(args[0]),
  (self: TaskScope, reason?: string): Effect.Effect<void> =>
    // Whoever is asked may be the caller: then it ends at the next step, with all the others asked.
    Effect.uninterruptible(
      Effect.suspend(() => {
        const scope = impl(self)
        const tasks = allTasksOf(scope).values()
        return interruptAll(
          () => tasks.next().value,
          scope,
          shown(reason ?? "all tasks of the scope were cancelled"),
          now(scope.clock)
        )
      })
    )
)

/**
 * The tasks that have not ended, of the scope and of its children, the oldest
 * of each scope first.
 *
 * **Details**
 *
 * Those that were given up are among them until they end, also when the scope, or
 * the child that they are in, has closed.
 *
 * The array is a snapshot: it neither follows the scope nor changes it. The
 * handles in it are live.
 *
 * **Example** (Who is alive)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   yield* TaskScope.spawn(scope, Effect.never, "poll")
 *   yield* TaskScope.spawn(scope, Effect.void, "hello")
 *   return (yield* TaskScope.tasks(scope)).map((task) => task.path)
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["app/poll"]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const tasks = (self: TaskScope): Effect.Effect<ReadonlyArray<Task>> => Effect.sync(() => allTasksOf(impl(self)))

/**
 * What came of spawns that met others, since the scope was made.
 *
 * **Details**
 *
 * - `skipped`: spawns with `onDuplicate: "skip"` that were given the task that was there.
 * - `replaced`: tasks that were stopped for a newer one, also those that had not begun.
 * - `refused`: tasks that were refused with `TaskRefused`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Drops {
  readonly skipped: number
  readonly replaced: number
  readonly refused: number
}

/**
 * How many spawns into the scope came to nothing, or ended another task.
 *
 * **Details**
 *
 * Those of child scopes are counted there. While the scope is open, and once one of its tasks has used `onDuplicate` or it
 * has `maxTasks`, the same is in the metrics `ambit_tasks_skipped_total`, `ambit_tasks_replaced_total` and
 * `ambit_tasks_refused_total`, beside `ambit_tasks_waiting`, with its path as `scope`.
 *
 * **Example** (One of two)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   yield* TaskScope.spawn(scope, Effect.never, "sync", { onDuplicate: "skip" })
 *   yield* TaskScope.spawn(scope, Effect.never, "sync", { onDuplicate: "skip" })
 *   return yield* TaskScope.drops(scope)
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => { skipped: 1, replaced: 0, refused: 0 }
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const drops = (self: TaskScope): Effect.Effect<Drops> =>
  Effect.sync(() => ({ skipped: 0, replaced: 0, refused: 0, ...impl(self).gate?.drops }))

/**
 * How `awaitIdle` waits.
 *
 * **Details**
 *
 * - `within`: the limit; without one the wait has none.
 * - `background`: also wait for background tasks; `false` by default.
 * - `warnAfter`: after this time a warning names who is busy; 10 seconds by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface AwaitIdleOptions {
  readonly within?: Duration.Input | undefined
  readonly background?: boolean | undefined
  readonly warnAfter?: Duration.Input | undefined
}

/**
 * Waits until no foreground task of the scope or its children runs.
 *
 * **When to use**
 *
 * Use in tests, or before a step that needs all running work done.
 *
 * **Details**
 *
 * It waits for chains too: a task that was started by a task counts. A task that
 * is itself waiting in `awaitIdle` of the scope does not, so tasks can call it
 * and never wait for themselves or for each other. Abandoned tasks do not count.
 *
 * **Interruption**
 *
 * Interrupting it ends the wait and touches no task.
 *
 * **Failure**
 *
 * `IdleTimeout` names who is busy after `within`. `InvalidOption` for a limit
 * that is not positive.
 *
 * **Example** (Waiting for work)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   yield* TaskScope.spawn(scope, Effect.sleep("5 millis"), "quick", { kind: "foreground" })
 *   yield* TaskScope.awaitIdle(scope)
 *   yield* TaskScope.spawn(scope, Effect.never, "import", { kind: "foreground" })
 *   return yield* Effect.flip(TaskScope.awaitIdle(scope, { within: "10 millis" }))
 * })
 * const error = await Effect.runPromise(Effect.scoped(program))
 * error._tag === "IdleTimeout" && error.busy // => ["app/import"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const awaitIdle: {
  /**
   * Waits until no foreground task runs. Data-last; see the data-first form.
   *
   * @category operations
   * @since 0.1.0
   */
  (options: AwaitIdleOptions): (self: TaskScope) => Effect.Effect<void, IdleTimeout | InvalidOption>
  /**
   * Waits until no foreground task runs. See `awaitIdle`.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: TaskScope): Effect.Effect<void>
  /**
   * Waits until no foreground task runs. See `awaitIdle`.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: TaskScope, options: AwaitIdleOptions): Effect.Effect<void, IdleTimeout | InvalidOption>
} = dual(
  (args) => isTaskScope(args[0]),
  (self: TaskScope, options?: AwaitIdleOptions): Effect.Effect<void, IdleTimeout | InvalidOption> =>
    Effect.gen(function*() {
      const scope = impl(self)
      const background = options?.background ?? false
      const of = `of awaitIdle of scope "${scope.path}"`
      const within = options?.within === undefined
        ? undefined
        : yield* Effect.fromResult(checkLimit(`within ${of}`, options.within))
      const warnAfter = yield* Effect.fromResult(checkLimit(`warnAfter ${of}`, options?.warnAfter ?? 10_000))
      const wait = Effect.raceFirst(awaitQuiet(scope, background), warnBusy(scope, background, warnAfter))
      if (within === undefined) return yield* wait
      const done = yield* Effect.timeoutOption(wait, within)
      if (Option.isNone(done)) {
        return yield* new IdleTimeout({ scope: scope.path, within, busy: busyPaths(scope, background) })
      }
    })
) as never

const warnBusy = (scope: ScopeImpl, background: boolean, after: number): Effect.Effect<never> =>
  Effect.sleep(after).pipe(
    Effect.andThen(Effect.suspend(() => {
      const busy = busyPaths(scope, background).join(", ")
      return Effect.logWarning(`${scope.path} is not idle after ${formatMillis(after)}; still busy: ${busy}`)
    })),
    Effect.andThen(Effect.never)
  )

/** A slow reader loses the oldest events beyond this. */
const eventBuffer = 4096

/**
 * What happens in the scope and its children from now on, until it has closed: if it is that of an app, until the app
 * has stopped.
 *
 * **Details**
 *
 * Events cost nothing while nobody listens, also when the last reader has left. A
 * reader that falls more than 4,096 events behind loses the oldest ones. What
 * happens to what the close has given up comes after the end of the stream.
 *
 * **Ordering**
 *
 * `Started` comes before the first step of a task and `Ended` after its last;
 * `Failed` and `Abandoned` come before `Ended`.
 *
 * **Example** (A life in events)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect, Fiber, Stream } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   const events = yield* Effect.forkChild(Stream.runCollect(TaskScope.events(scope)), { startImmediately: true })
 *   yield* TaskScope.spawn(scope, Effect.never, "poll")
 *   yield* TaskScope.close(scope)
 *   return (yield* Fiber.join(events)).map((event) => event._tag)
 * })
 * await Effect.runPromise(Effect.scoped(program)) // => ["Started", "ScopeStopping", "Stopping", "Ended", "ScopeClosed"]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const events = (self: TaskScope): Stream.Stream<TaskEvent> =>
  Stream.unwrap(Effect.gen(function*() {
    const scope = impl(self)
    const queue = yield* Queue.sliding<TaskEvent, Cause.Done>(eventBuffer)
    const reader: Reader = {
      tell: (event) => {
        Queue.offerUnsafe(queue, event)
        // Now, not a turn later: the reader may be about to be stopped.
        Queue.flushUnsafe(queue)
      },
      end: () => Queue.endUnsafe(queue)
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        if (isOver(scope)) reader.end()
        else (scope.readers ??= new Set()).add(reader)
      }),
      () =>
        Effect.sync(() => {
          scope.readers?.delete(reader)
          if (scope.readers?.size === 0) scope.readers = undefined
        })
    )
    return Stream.fromQueue(queue)
  }))

/**
 * Calls a function on every failure of a task in the scope or its children.
 *
 * **When to use**
 *
 * Use to count failures or to tell another system about them. To act on a
 * failure with an effect, read `events`.
 *
 * **Details**
 *
 * The hook is a short synchronous function. It stays for the life of the scope.
 *
 * **Ordering**
 *
 * Hooks are called in the order of their installation, once a failure, after the
 * failure has been logged.
 *
 * **Failure**
 *
 * A hook that throws is logged, and the next one is called. Something that is no
 * function is a defect, with `InvalidOption`.
 *
 * **Example** (Counting failures)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const failed: Array<string> = []
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   yield* TaskScope.onFailure(scope, ({ path }) => failed.push(path))
 *   yield* TaskScope.spawn(scope, Effect.fail("no"), "poll", { onFailure: "ignore" })
 * })
 * await Effect.runPromise(Effect.scoped(program))
 * failed // => ["app/poll"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const onFailure: {
  /**
   * Calls a function on every failure of a task. Data-last; see the data-first
   * form.
   *
   * @category operations
   * @since 0.1.0
   */
  (hook: (failure: TaskFailure) => void): (self: TaskScope) => Effect.Effect<void>
  /**
   * Calls a function on every failure of a task. See `onFailure`.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: TaskScope, hook: (failure: TaskFailure) => void): Effect.Effect<void>
} = dual(2, (self: TaskScope, hook: (failure: TaskFailure) => void): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (typeof hook !== "function") {
      return Effect.die(
        new InvalidOption({
          option: `a failure hook of scope "${self.path}"`,
          value: shown(hook),
          problem: "a failure hook is a function",
          remedy: "Give it a function of the failure"
        })
      )
    }
    impl(self).failureHooks.push(hook)
    return Effect.void
  }))
