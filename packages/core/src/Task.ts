/**
 * A task: a named piece of running work that belongs to one scope.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Cron from "effect/Cron"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import { hasProperty } from "effect/Predicate"
import * as Result from "effect/Result"
import { checkDelay, checkPeriod } from "./internal/limit.ts"
import { oneRun, runLimitOf } from "./internal/limitedTask.ts"
import { joinPath } from "./internal/names.ts"
import { checkCron, cronTick, everyTick, noRuns, repeating, runsOf, type Tick } from "./internal/runs.ts"
import { handed, spawn as spawnIn } from "./internal/spawn.ts"
import { type AnyOptions, spawnWith } from "./internal/spawnWith.ts"
import {
  CurrentErrand,
  CurrentScope,
  CurrentTask,
  type ScopeImpl,
  type TaskImpl,
  TaskTypeId
} from "./internal/state.ts"
import { CurrentLimit } from "./internal/timeLimit.ts"
import type { InvalidOption } from "./InvalidOption.ts"
import { around } from "./Limits.ts"
import type { Restart } from "./Restart.ts"
import type { RestartExhausted } from "./RestartExhausted.ts"
import type { ScopeClosed } from "./ScopeClosed.ts"
import type { ShutdownReport, StopPhase, TaskKind, TaskOutcome } from "./ShutdownReport.ts"
import type { TaskRefused } from "./TaskRefused.ts"
import type { TaskScope } from "./TaskScope.ts"
import type { TimeLimitExceeded } from "./TimeLimitExceeded.ts"

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
 * - `Pending`: spawned with `startImmediately: false`, with `after` or to wait for others, and its first step has not
 *   come.
 * - `Running`
 * - `Restarting`: a run has ended, and its `restart` policy waits before the next one, which `startsAt` that time.
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
  | { readonly _tag: "Restarting"; readonly since: number; readonly startsAt: number }
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
 * - `restarts` is how often its `restart` policy has started it again.
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
  readonly restarts: number
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
 * - `within`: how long it may run, or `"none"`. When it has not ended by then it is
 *   interrupted, it fails with `TimeLimitExceeded`, and its outcome is `timedOut`; see `TimeLimit`, which can
 *   also stop the clock. With `every`, `cron` and `restart` it is the limit of each run. `run` of the `Limits` is the default
 *   with `every`, `cron` and `after`; a plain task has none.
 * - `onDuplicate`: what happens when a task of that name lives in the scope; see `OnDuplicate`. `parallel` by default.
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
  readonly within?: Duration.Input | "none" | undefined
  readonly onDuplicate?: OnDuplicate | undefined
}

/**
 * What happens when a task is spawned while others of its name live in the scope, however those were spawned.
 *
 * **Details**
 *
 * - `parallel` (the default): it runs beside them.
 * - `skip`: it does not begin, and `spawn` gives the handle of the task that is there, the oldest that is not stopping.
 * - `replace`: the others are asked to stop. It begins when the last of them has ended, or was given up at the limit of
 *   its stop. A replacement that is replaced while it waits never begins.
 * - `fail`: it is refused with `TaskRefused`.
 * - `{ queue: n }`: it begins when all that were spawned before it have ended or were given up. At most `n` wait, and what
 *   comes then is refused with `TaskRefused`.
 *
 * What waits is `Pending`, of the kind that it was spawned with: `awaitIdle` and the drain of an app wait for it when it
 * is `foreground`. A stop ends it, and its outcome is `neverStarted`. Its limit `within` counts from its begin.
 *
 * A task that was interrupted while a thread or a promise worked for it has ended for this only when that has, too.
 * What was given up counts no more, though it may still run.
 *
 * **Gotchas**
 *
 * With `skip` the handle has the types of the effect that was not begun: let one name be one kind of work. A task that
 * spawns its own name with `{ queue: n }` and then waits for that task waits for itself.
 *
 * @see `TaskScope.drops` for how often it came to that
 * @category models
 * @since 0.1.0
 */
export type OnDuplicate = "parallel" | "skip" | "replace" | "fail" | { readonly queue: number }

/**
 * Why a task was not spawned.
 *
 * **Details**
 *
 * Every spawn can meet all three: what `TaskRefused` says of a scope that is full does not depend on the options of the
 * task, and no type tells of a scope whether it has a limit.
 *
 * @category errors
 * @since 0.1.0
 */
export type SpawnError = ScopeClosed | InvalidOption | TaskRefused

/**
 * Options without a limit, so that the task cannot fail with `TimeLimitExceeded`.
 *
 * @category models
 * @since 0.1.0
 */
export interface UnlimitedOptions extends SpawnOptions {
  readonly within?: "none" | undefined
}

/**
 * What a task is spawned with that may be started again.
 *
 * **Details**
 *
 * `restart` is the policy; see `Restart`. The task keeps its path, its handle and its place in the scope, and is a task that runs
 * also while it waits for its next run. `onFailure` says what comes of its last failure, when the policy has given up.
 *
 * @category models
 * @since 0.1.0
 */
export interface RestartedOptions<in E, out Within = Duration.Input | "none" | undefined>
  extends Omit<SpawnOptions, "within">
{
  readonly restart: Restart<E>
  readonly within?: Within
}

/**
 * What a limit adds to the errors of what has it.
 *
 * @category models
 * @since 0.1.0
 */
export type LimitError<Within> = [Within] extends ["none" | undefined] ? never : TimeLimitExceeded

/**
 * What a task with a schedule is spawned with.
 *
 * **Details**
 *
 * `timeZone` is that of the schedule, such as `"Europe/Oslo"`; that of the process by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface CronOptions extends SpawnOptions {
  readonly timeZone?: string | undefined
}

/**
 * How a run of a repeated task ended.
 *
 * @category models
 * @since 0.1.0
 */
export type RunOutcome = "completed" | "failed" | "timedOut" | "interrupted"

/**
 * How many runs a repeated task has had.
 *
 * **Details**
 *
 * Those that have ended are counted by their outcome. `skipped` are those that did not take place, since
 * their time passed before the run before them had ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Runs extends Readonly<Record<RunOutcome, number>> {
  readonly started: number
  readonly skipped: number
}

/**
 * A failure as a failure hook gets it, with what the task was spawned to do then. When its `restart` policy starts it again,
 * `restartsIn` is the milliseconds until then.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskFailure {
  readonly path: string
  readonly kind: TaskKind
  readonly cause: Cause.Cause<unknown>
  readonly onFailure: OnFailure
  readonly restartsIn: number | undefined
}

/**
 * Why a task is started again: how its run has ended, or that its group starts it again together with another one.
 *
 * @category models
 * @since 0.1.0
 */
export type RestartReason = "failed" | "timedOut" | "returned" | "interrupted" | "group"

/**
 * What happens in a scope, as `TaskScope.events` and `Host.events` tell it.
 *
 * **Details**
 *
 * - `Started`, then `Ended` with its outcome and the milliseconds it lived
 *   (`late` when it had been abandoned before).
 * - `Failed` comes before the `Ended` of a task that failed or timed out, or before the `RunEnded` of such a run,
 *   and carries the cause.
 * - `RunEnded`: a run of `every`, `cron` or a `Timer` is over, after `took` milliseconds.
 * - `Restarting`: a task is started again `delay` milliseconds later, for the `restart`-th time. After a failure, `Failed` comes
 *   before it.
 * - `Stopping`: a task was asked to stop. `Abandoned`: it did not in time.
 * - `ScopeStopping` and `ScopeClosed` tell the same of a scope.
 * - `AppState` tells every change of the state of an app, `AppRestarting` that its policy starts it again, `delay` milliseconds later.
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
  | {
    readonly _tag: "RunEnded"
    readonly path: string
    readonly kind: TaskKind
    readonly run: number
    readonly outcome: RunOutcome
    readonly took: number
  }
  | {
    readonly _tag: "Restarting"
    readonly path: string
    readonly kind: TaskKind
    readonly reason: RestartReason
    readonly restart: number
    readonly delay: number
  }
  | { readonly _tag: "ScopeStopping"; readonly path: string; readonly reason: string }
  | { readonly _tag: "ScopeClosed"; readonly path: string; readonly report: ShutdownReport }
  | {
    readonly _tag: "AppState"
    readonly path: string
    readonly state: "starting" | "ready" | "stopping" | "stopped" | "failed"
  }
  | { readonly _tag: "AppRestarting"; readonly path: string; readonly restart: number; readonly delay: number }
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
 * ends in `#` and a number, and for a limit that is not positive or above the scope's. Fails with `TaskRefused`
 * where `onDuplicate` or the `maxTasks` of the scope leave no room for it. A failure of
 * the task itself is logged once and handled as `onFailure` says. So is the end of its limit, as a warning, and at
 * most one a minute for tasks of one name: the others are at level Debug.
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
   * Starts an effect as a named task that may be started again. Data-last; see the data-first form.
   *
   * @category constructors
   * @since 0.1.0
   */
  <E2, const Within extends Duration.Input | "none" | undefined = undefined>(
    name: string,
    options: RestartedOptions<E2, Within>
  ): <A, E extends E2, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<
    Task<A, E | RestartExhausted | LimitError<Within>>,
    SpawnError,
    R | TaskScope
  >
  /**
   * Starts an effect as a named task of the scope around it, and gives its
   * handle. Data-last; see the data-first form for the whole contract.
   *
   * @category constructors
   * @since 0.1.0
   */
  (name: string, options?: UnlimitedOptions): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Task<A, E>, SpawnError, R | TaskScope>
  /**
   * Starts an effect as a named task with a limit. Data-last.
   *
   * @category constructors
   * @since 0.1.0
   */
  (name: string, options?: SpawnOptions): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Task<A, E | TimeLimitExceeded>, SpawnError, R | TaskScope>
  /**
   * Starts an effect as a named task that may be started again. See `spawn`, and `Restart`.
   *
   * @category constructors
   * @since 0.1.0
   */
  <A, E, R, const Within extends Duration.Input | "none" | undefined = undefined>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    options: RestartedOptions<E, Within>
  ): Effect.Effect<
    Task<A, E | RestartExhausted | LimitError<Within>>,
    SpawnError,
    R | TaskScope
  >
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
    options?: UnlimitedOptions
  ): Effect.Effect<Task<A, E>, SpawnError, R | TaskScope>
  /**
   * Starts an effect as a named task with a limit. See `spawn`.
   *
   * @category constructors
   * @since 0.1.0
   */
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    options?: SpawnOptions
  ): Effect.Effect<Task<A, E | TimeLimitExceeded>, SpawnError, R | TaskScope>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    options?: AnyOptions<E>
  ): Effect.Effect<Task<A, E>, SpawnError, R | TaskScope> =>
    Effect.withFiber((fiber) => {
      const context = fiber.context as Context.Context<any>
      const spawned = spawnWith(Context.getUnsafe(context, CurrentScope), context, effect, name, options)
      return handed(spawned) as Effect.Effect<Task<A, E>, SpawnError>
    })
)

type Spawned<A, E, R> = Effect.Effect<Task<A, E | TimeLimitExceeded>, SpawnError, R | TaskScope>

/**
 * Starts an effect as a named task, after a delay.
 *
 * **When to use**
 *
 * Use for work that is due later and belongs to the scope until then.
 *
 * **Details**
 *
 * Until the delay has passed, the task is `Pending`, and stopping it makes it `neverStarted`. With
 * `stopAt: "stopping"` it does not begin any more once a stop is announced. `within` is counted from its begin.
 *
 * For `onDuplicate` it is one of its name from its spawn on. So with `replace` the delay begins anew each time, as long as
 * it has not passed. A task that waits for others meanwhile lets its delay pass, too.
 *
 * **Interruption**
 *
 * As with `spawn`: its scope owns the task, also during the delay.
 *
 * **Failure**
 *
 * As `spawn`. Fails with `InvalidOption` as well for a delay below zero, without end, or that is none.
 *
 * **Example** (A reminder that a stop comes before)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.TaskScope
 *   const remind = yield* Effect.log("lunch").pipe(Task.after("remind", "1 hour", { stopAt: "stopping" }))
 *   const report = yield* TaskScope.close(scope)
 *   return [remind.path, report.tasks[0]?.outcome]
 * })
 * await Effect.runPromise(Effect.provide(program, TaskScope.layer("app"))) // => ["app/remind", "neverStarted"]
 * ```
 *
 * @category repeating
 * @since 0.1.0
 */
export const after: {
  /**
   * Starts an effect as a named task, after a delay. Data-last.
   *
   * @category repeating
   * @since 0.1.0
   */
  (name: string, delay: Duration.Input, options?: SpawnOptions): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Spawned<A, E, R>
  /**
   * Starts an effect as a named task, after a delay. See `after`.
   *
   * @category repeating
   * @since 0.1.0
   */
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    delay: Duration.Input,
    options?: SpawnOptions
  ): Spawned<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    delay: Duration.Input,
    options?: SpawnOptions
  ): Spawned<A, E, R> =>
    Effect.gen(function*() {
      const { context, scope } = yield* place<R>()
      const millis = yield* Effect.fromResult(checkDelay(`delay of task "${joinPath(scope.path, name, 1)}"`, delay))
      const limit = yield* Effect.fromResult(runLimitOf(scope, name, options, (yield* around).run))
      const run = oneRun(effect, limit, (task) => `Task ${task.path}`)
      return yield* handed(spawnIn(scope, context, run, name, options, Effect.sleep(millis)))
    })
)

/** Where a task is spawned, and with what. */
const place = <R>() =>
  Effect.withFiber((fiber) => {
    const context = fiber.context as Context.Context<R | TaskScope>
    return Effect.succeed({ context, scope: Context.getUnsafe(context as Context.Context<any>, CurrentScope) })
  })

/** Starts a task that runs at the ticks. */
const spawnRuns = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  name: string,
  options: SpawnOptions | undefined,
  tickIn: (scope: ScopeImpl, clock: Clock.Clock) => Result.Result<Tick, InvalidOption>
): Spawned<never, E, R> =>
  Effect.gen(function*() {
    const { context, scope } = yield* place<R>()
    const tick = yield* Effect.fromResult(tickIn(scope, Context.get(context, Clock.Clock)))
    const limit = yield* Effect.fromResult(runLimitOf(scope, name, options, (yield* around).run))
    const counts = noRuns()
    const task = yield* handed(spawnIn(scope, context, repeating(effect, tick, counts, limit), name, options))
    return task as TaskImpl<never, E | TimeLimitExceeded>
  })

/**
 * Starts a named task that runs an effect again and again, after each period.
 *
 * **When to use**
 *
 * Use for what is done regularly as long as the scope is open: poll, sweep, flush.
 *
 * **Details**
 *
 * The n-th time is exactly n periods after the begin, however long the runs take. A run begins when the one before
 * it has ended: two never overlap. A time that comes during a run is skipped, and `runs` counts it. A run that
 * fails is logged and told to the failure hooks, and the next one comes at its time; with
 * `onFailure: "stopApp"` or `"stopHost"` it ends the task.
 *
 * **Ordering**
 *
 * The first run is one period after the begin.
 *
 * **Interruption**
 *
 * A stop ends the task, with the run that is going on.
 *
 * **Failure**
 *
 * As `spawn`; `onDuplicate` is about the task with all its runs. Fails with `InvalidOption` as well for a period that is
 * not above zero. A run without a limit that
 * takes more than a minute is named in a warning; `within: "none"` says that it may.
 *
 * **Gotchas**
 *
 * A run that always takes a little longer than the period takes place at every other time. One that its limit has ended
 * counts as ended: what it leaves behind, since it cannot be interrupted, may meet the next one; see `TimeLimit.within`.
 *
 * **Example** (Never late)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Clock, Effect, Option } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * const seen: Array<number> = []
 * const note = Effect.map(Clock.currentTimeMillis, (now) => seen.push(now))
 *
 * const program = Effect.gen(function*() {
 *   const poll = yield* Effect.andThen(note, Effect.sleep("300 millis")).pipe(Task.every("poll", "1 second"))
 *   yield* TestClock.adjust("3500 millis")
 *   return Option.map(Task.runs(poll), ({ completed, skipped }) => [completed, skipped])
 * })
 * await Effect.runPromise(
 *   program.pipe(Effect.provide(TaskScope.layer("app")), Effect.provide(TestClock.layer()))
 * ) // => Option.some([3, 0])
 * seen // => [1000, 2000, 3000]
 * ```
 *
 * @see `Timer` for one that is started, restarted and stopped at will
 * @category repeating
 * @since 0.1.0
 */
export const every: {
  /**
   * Starts a named task that runs an effect after each period. Data-last.
   *
   * @category repeating
   * @since 0.1.0
   */
  (name: string, period: Duration.Input, options?: SpawnOptions): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Spawned<never, E, R>
  /**
   * Starts a named task that runs an effect after each period. See `every`.
   *
   * @category repeating
   * @since 0.1.0
   */
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    period: Duration.Input,
    options?: SpawnOptions
  ): Spawned<never, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    period: Duration.Input,
    options?: SpawnOptions
  ): Spawned<never, E, R> =>
    spawnRuns(
      effect,
      name,
      options,
      (scope) => Result.map(checkPeriod(`period of task "${joinPath(scope.path, name, 1)}"`, period), everyTick)
    )
)

/**
 * Starts a named task that runs an effect at the times of a schedule.
 *
 * **When to use**
 *
 * Use for what belongs to a time of the day or a day of the week.
 *
 * **Details**
 *
 * The schedule is a cron expression of five fields, or of six with seconds in front, or a `Cron` of Effect. Without
 * `timeZone` it is in the time zone of the process. Runs are as with `every`: never two at once, and a time that comes
 * during a run is skipped and counted.
 *
 * When clocks go forward, a time in the missing hour is taken an hour later. When they go back, a time in the
 * repeated hour is taken once, the first time; a `Cron` with `onDstOverlap` says otherwise.
 *
 * **Interruption**
 *
 * A stop ends the task, with the run that is going on.
 *
 * **Failure**
 *
 * As `every`. Fails with `InvalidOption` for a schedule or time zone that cannot be read, and for a
 * schedule that no day meets, such as the 30th of February.
 *
 * **Gotchas**
 *
 * Nothing looks at the wall clock while the task waits. When somebody has set the clock forward, or the machine has
 * slept, a time that has passed in between is taken once, when the wait ends. When somebody has set it back, the wait
 * goes on, and by more than a minute, to the next time from there.
 *
 * **Example** (At half past eight on working days)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Clock, Effect } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * const seen: Array<string> = []
 * const report = Effect.map(Clock.currentTimeMillis, (now) => seen.push(new Date(now).toISOString()))
 *
 * const program = Effect.gen(function*() {
 *   yield* TestClock.setTime(Date.parse("2026-03-27T00:00:00Z"))
 *   yield* report.pipe(Task.cron("report", "30 8 * * mon-fri", { timeZone: "Europe/Oslo" }))
 *   yield* TestClock.adjust("4 days")
 * })
 * await Effect.runPromise(program.pipe(Effect.provide(TaskScope.layer("app")), Effect.provide(TestClock.layer())))
 * seen // => ["2026-03-27T07:30:00.000Z", "2026-03-30T06:30:00.000Z"]
 * ```
 *
 * @category repeating
 * @since 0.1.0
 */
export const cron: {
  /**
   * Starts a named task that runs an effect at the times of a schedule. Data-last.
   *
   * @category repeating
   * @since 0.1.0
   */
  (name: string, schedule: string | Cron.Cron, options?: CronOptions): <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Spawned<never, E, R>
  /**
   * Starts a named task that runs an effect at the times of a schedule. See `cron`.
   *
   * @category repeating
   * @since 0.1.0
   */
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    schedule: string | Cron.Cron,
    options?: CronOptions
  ): Spawned<never, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    name: string,
    schedule: string | Cron.Cron,
    options?: CronOptions
  ): Spawned<never, E, R> =>
    spawnRuns(effect, name, options, (scope, clock) => {
      const task = `task "${joinPath(scope.path, name, 1)}"`
      return Result.map(checkCron(task, schedule, options?.timeZone, clock.currentTimeMillisUnsafe()), cronTick)
    })
)

/**
 * How many runs a repeated task has had so far; `None` for another task, and for one that has not begun.
 *
 * @category getters
 * @since 0.1.0
 */
export const runs = (self: Task): Option.Option<Runs> => Option.fromUndefinedOr(runsOf(self))

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
 * For whom a fiber does something, as long as somebody waits for it. Fibers that it
 * forks have it too, tasks that it spawns do not: they are on their own.
 *
 * @internal
 */
export const errand: Context.Reference<unknown> = CurrentErrand

/**
 * Gives a context the owner of work that another one has: its scope, its task or
 * none, and its time limit. Without a scope there, scope and task stay.
 *
 * @internal
 */
export const ownedBy = <R>(
  context: Context.Context<R>,
  other: Context.Context<never>
): Context.Context<R> => {
  const limited = Context.add(context, CurrentLimit, Context.get(other, CurrentLimit))
  const scope = Context.getOrUndefined(other as Context.Context<TaskScope>, CurrentScope)
  return scope === undefined ? limited : limited.pipe(
    Context.add(CurrentScope, scope),
    Context.add(CurrentTask, Context.get(other, CurrentTask))
  )
}
