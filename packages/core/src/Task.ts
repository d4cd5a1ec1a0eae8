/**
 * A task: a named piece of running work that belongs to one scope.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import { hasProperty } from "effect/Predicate"
import { handed, spawn as spawnIn } from "./internal/spawn.ts"
import { CurrentScope, CurrentTask, TaskTypeId } from "./internal/state.ts"
import type { InvalidOption } from "./InvalidOption.ts"
import type { ScopeClosed } from "./ScopeClosed.ts"
import type { ShutdownReport, StopPhase, TaskKind, TaskOutcome } from "./ShutdownReport.ts"
import type { TaskScope } from "./TaskScope.ts"

/**
 * What happens when a task fails.
 *
 * **Details**
 *
 * - `report` (the default): one error record; everything else goes on.
 * - `stopApp`: the record, and the app of the task stops.
 * - `stopHost`: the record, and the whole host stops; `Host.launch` then fails.
 * - `ignore`: a record at level Debug. Failure hooks and events still get it.
 *
 * Where `Job.run` has logged the failure already, in the name of the task, the record is at level Debug as well.
 *
 * **Gotchas**
 *
 * In a scope without an app, both `stop…` close that scope. In an app without a
 * host, `stopHost` stops the app.
 *
 * @category models
 * @since 0.1.0
 */
export type OnFailure = "report" | "stopApp" | "stopHost" | "ignore"

/**
 * Where a task is in its life. `since` is milliseconds since 1970, `after` the
 * milliseconds from spawn to end.
 *
 * **Details**
 *
 * - `Pending`: spawned with `startImmediately: false`, and its first step has not come.
 * - `Running`
 * - `Stopping`: it was asked to stop, for `reason`.
 * - `Abandoned`: it did not stop within its limit. It may still run.
 * - `Ended`, with its `exit` and what that counts as.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskStatus<A = unknown, E = unknown> =
  | { readonly _tag: "Pending"; readonly since: number }
  | { readonly _tag: "Running"; readonly since: number }
  | { readonly _tag: "Stopping"; readonly since: number; readonly reason: string }
  | {
    readonly _tag: "Abandoned"
    readonly since: number
    readonly reason: string
    readonly place: string | undefined
  }
  | {
    readonly _tag: "Ended"
    readonly exit: Exit.Exit<A, E>
    readonly outcome: TaskOutcome
    readonly after: number
  }

/**
 * The handle of a task.
 *
 * **Details**
 *
 * - `path` names it everywhere: in logs, errors, events and reports.
 * - `status` is where it is now.
 * - `await` gives its exit and never fails; `join` gives its value or fails as it did.
 * - `interrupt(reason)` asks it to stop and waits: `true` when it has ended,
 *   `false` when it did not within its limit and is abandoned, or when a task
 *   interrupts itself.
 * - `fiber` is the fiber underneath, for everything that takes one. It is there as
 *   soon as `spawn` has returned, and so not yet in the first step of the task.
 *
 * Nothing has to keep the handle: the scope keeps the task.
 *
 * **Interruption**
 *
 * Interrupting the fiber that waits in `await`, `join` or `interrupt` ends the
 * wait and leaves the task alone.
 *
 * **Example** (Waiting, and asking to stop)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = TaskScope.use("demo", () => Effect.gen(function*() {
 *   const answer = yield* Task.spawn(Effect.succeed(42), "answer")
 *   const endless = yield* Task.spawn(Effect.never, "endless")
 *   return [yield* answer.join, yield* endless.interrupt("seen enough"), endless.status._tag]
 * }))
 * await Effect.runPromise(program) // => [42, true, "Ended"]
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Task<out A = unknown, out E = unknown> {
  readonly [TaskTypeId]: typeof TaskTypeId
  readonly name: string
  readonly path: string
  readonly kind: TaskKind
  readonly status: TaskStatus<A, E>
  readonly fiber: Fiber.Fiber<A, E>
  readonly await: Effect.Effect<Exit.Exit<A, E>>
  readonly join: Effect.Effect<A, E>
  interrupt(reason?: string): Effect.Effect<boolean>
}

/**
 * What a task is spawned with.
 *
 * **Details**
 *
 * - `kind`: `background` (the default) is interrupted when its scope stops;
 *   `foreground` is waited for by `TaskScope.awaitIdle` and by the drain of an app.
 *   Inside `TaskScope.use` the default is `foreground`.
 * - `startImmediately`: `true` (the default) runs the task up to its first wait
 *   before `spawn` returns; `false` starts it a turn of the event loop later.
 * - `onFailure`: `report` by default.
 * - `stopWithin`: how long the task may take from interrupt to end. The limit of
 *   its scope by default, and never longer.
 * - `stopAt`: in which phase of a stop of its app or host it is interrupted.
 *   `interrupting` (the default) is after hooks and drain; `stopping` is at once, for
 *   what takes work in, and for delayed work that should not begin any more. After
 *   the announcement, one of these is refused with `ScopeClosed`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SpawnOptions {
  readonly kind?: "foreground" | "background" | undefined
  readonly startImmediately?: boolean | undefined
  readonly onFailure?: OnFailure | undefined
  readonly stopWithin?: Duration.Input | undefined
  readonly stopAt?: "stopping" | "interrupting" | undefined
}

/**
 * A failure as a failure hook gets it, with what the task was spawned to do then.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskFailure {
  readonly path: string
  readonly kind: TaskKind
  readonly cause: Cause.Cause<unknown>
  readonly onFailure: OnFailure
}

/**
 * What happens in a scope, as `TaskScope.events` and `Host.events` tell it.
 *
 * **Details**
 *
 * - `Started`, then `Ended` with its outcome and the milliseconds it lived
 *   (`late` when it had been abandoned before).
 * - `Failed` comes before the `Ended` of a failed task and carries the cause.
 * - `Stopping`: a task was asked to stop. `Abandoned`: it did not in time.
 * - `ScopeStopping` and `ScopeClosed` tell the same of a scope.
 * - `AppState` tells every change of the state of an app.
 * - `StopPhase` tells that the stop of a host has reached a phase; see `Shutdown`.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskEvent =
  | { readonly _tag: "Started"; readonly path: string; readonly kind: TaskKind }
  | { readonly _tag: "Stopping"; readonly path: string; readonly kind: TaskKind; readonly reason: string }
  | {
    readonly _tag: "Abandoned"
    readonly path: string
    readonly kind: TaskKind
    readonly place: string | undefined
  }
  | { readonly _tag: "Failed"; readonly path: string; readonly kind: TaskKind; readonly cause: Cause.Cause<unknown> }
  | {
    readonly _tag: "Ended"
    readonly path: string
    readonly kind: TaskKind
    readonly outcome: TaskOutcome
    readonly after: number
    readonly late: boolean
  }
  | { readonly _tag: "ScopeStopping"; readonly path: string; readonly reason: string }
  | { readonly _tag: "ScopeClosed"; readonly path: string; readonly report: ShutdownReport }
  | {
    readonly _tag: "AppState"
    readonly path: string
    readonly state: "starting" | "ready" | "stopping" | "stopped" | "failed"
  }
  | { readonly _tag: "StopPhase"; readonly path: string; readonly phase: StopPhase }

/**
 * Tells whether a value is a task handle.
 *
 * @category guards
 * @since 0.1.0
 */
export const isTask = (u: unknown): u is Task => hasProperty(u, TaskTypeId)

/**
 * Starts an effect as a named task of the scope around it, and gives its handle.
 *
 * **When to use**
 *
 * Use to start background work in an app, or in anything else that provides a
 * `TaskScope`.
 *
 * **Details**
 *
 * The task gets the path `scope/name`. While another task of that name lives in
 * the scope it is `scope/name#2`, and so on. It inherits the services, log
 * annotations, span and references of the fiber that spawns it. What it forks
 * with `Effect.forkChild` ends with it.
 *
 * **Ordering**
 *
 * A task runs up to its first wait before `spawn` returns, unless
 * `startImmediately` is `false`. More than 256 tasks that spawn one inside the
 * other start deferred, so that the stack does not overflow.
 *
 * **Interruption**
 *
 * The end or interruption of the spawning fiber does not touch the task: its
 * scope owns it.
 *
 * **Failure**
 *
 * Fails with `ScopeClosed` when the scope is stopping or closed, and the effect
 * never runs. Fails with `InvalidOption` for a name that is empty, contains `/` or
 * ends in `#` and a number, and for a limit that is not positive or above the scope's. A failure of
 * the task itself is logged once and handled as `onFailure` says.
 *
 * **Gotchas**
 *
 * Interrupting `Effect.promise` ends the task while the promise runs on unseen.
 *
 * **Example** (A task in a scope)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const task = yield* Effect.never.pipe(Task.spawn("poll", { stopWithin: "1 second" }))
 *   return [task.path, task.status._tag]
 * })
 * await Effect.runPromise(program.pipe(Effect.provide(TaskScope.layer("app")))) // => ["app/poll", "Running"]
 * ```
 *
 * @see `TaskScope.spawn` for a scope at hand, and `TaskScope.runtime` for plain callbacks
 * @category constructors
 * @since 0.1.0
 */
export const spawn: {
  /**
   * Starts an effect as a named task of the scope around it, and gives its
   * handle. Data-last; see the data-first form for the whole contract.
   *
   * @category constructors
   * @since 0.1.0
   */
  (name: string, options?: SpawnOptions): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Task<A, E>, ScopeClosed | InvalidOption, R | TaskScope>
  /**
   * Starts an effect as a named task of the scope around it, and gives its
   * handle. See `spawn`.
   *
   * @category constructors
   * @since 0.1.0
   */
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    options?: SpawnOptions
  ): Effect.Effect<Task<A, E>, ScopeClosed | InvalidOption, R | TaskScope>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    options?: SpawnOptions
  ): Effect.Effect<Task<A, E>, ScopeClosed | InvalidOption, R | TaskScope> =>
    Effect.withFiber((fiber) => {
      const context = fiber.context as Context.Context<any>
      return handed(spawnIn(Context.getUnsafe(context, CurrentScope), context, effect, name, options))
    })
)

/**
 * The task that the current fiber belongs to, if any.
 *
 * **Details**
 *
 * Fibers that a task forks belong to it as well.
 *
 * **Example** (Inside and outside of a task)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Effect, Option } from "effect"
 *
 * const path = Task.current.pipe(Effect.map(Option.map((task) => task.path)))
 * const program = TaskScope.use("demo", () =>
 *   Task.spawn(path, "inner").pipe(Effect.flatMap((task) => task.join)))
 * await Effect.runPromise(program) // => Option.some("demo/inner")
 * await Effect.runPromise(path) // => Option.none()
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const current: Effect.Effect<Option.Option<Task>> = Effect.map(CurrentTask, Option.fromUndefinedOr)

/**
 * Gives a context the owner of work that another one has: its scope, and its
 * task or none. Without a scope there, the owner stays.
 *
 * @internal
 */
export const ownedBy = <R>(
  context: Context.Context<R>,
  other: Context.Context<never>
): Context.Context<R> => {
  const scope = Context.getOrUndefined(other as Context.Context<TaskScope>, CurrentScope)
  return scope === undefined ? context : context.pipe(
    Context.add(CurrentScope, scope),
    Context.add(CurrentTask, Context.get(other, CurrentTask))
  )
}
