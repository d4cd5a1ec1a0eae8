/**
 * Restart policies as values: what becomes of a task, of a member of a group or of an app that has ended.
 *
 * | it has | `permanent` | `transient` | `temporary` |
 * | --- | --- | --- | --- |
 * | failed, with an error or a defect | starts again | starts again | stays down |
 * | returned, or interrupted itself | starts again | stays down | stays down |
 * | been stopped | stays down | stays down | stays down |
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import type * as Exit from "effect/Exit"
import { hasProperty } from "effect/Predicate"
import type * as Schedule from "effect/Schedule"
import { makeRestart, RestartTypeId } from "./internal/restart.ts"
import type { TimeLimitExceeded } from "./TimeLimitExceeded.ts"

/**
 * What is started again when it has ended.
 *
 * @category models
 * @since 0.1.0
 */
export type RestartKind = "permanent" | "transient" | "temporary"

/**
 * How many restarts there may be in any time of this length.
 *
 * @category models
 * @since 0.1.0
 */
export interface RestartBudget {
  readonly restarts: number
  readonly within: Duration.Input
}

/**
 * What becomes of a failure.
 *
 * **Details**
 *
 * - `restart`: what the policy says.
 * - `giveUp`: it is not started again, and fails; `onFailure` of the task says what comes of that.
 * - `stopApp`, `stopHost`: it is not started again, and its app or host stops at once.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = "restart" | "giveUp" | "stopApp" | "stopHost"

/**
 * A longer pause, after which the budget and the schedule begin anew. See `coolDown`.
 *
 * @category models
 * @since 0.1.0
 */
export interface CoolDown {
  readonly _tag: "CoolDown"
  readonly pause: Duration.Input
  readonly cycles: number
}

/**
 * What a policy is made with.
 *
 * **Details**
 *
 * - `schedule`: how long to wait before each restart; any `Schedule`. It gets the exit of the run, and no restart follows when it
 *   has ended. By default 1 second, doubled each time, jittered, and at most 1 minute.
 * - `budget`: how many restarts there may be in which time, or `"none"`. 5 in 5 minutes by default; in a group none, for there the
 *   budget of the group counts.
 * - `onExhausted`: what happens when budget or schedule are used up. `stopHost` by default for `permanent`, and `coolDown()` for
 *   `transient`. In a group the group gives up by default.
 * - `healthyAfter`: a run that has taken at least that long was healthy: budget and schedule begin anew after it. 1 minute by
 *   default. An app counts from when it is ready.
 * - `decide`: says of a failure whether it may be mended by a restart at all; it gets the typed error (`Fail`), also that of the
 *   limit of a run, or the defect (`Die`). Of several failures in one cause, the gravest verdict counts.
 *
 * @category models
 * @since 0.1.0
 */
export interface RestartOptions<in E = unknown> {
  readonly schedule?: Schedule.Schedule<unknown, Exit.Exit<unknown, E>> | undefined
  readonly budget?: RestartBudget | "none" | undefined
  readonly onExhausted?: "stopApp" | "stopHost" | "giveUp" | CoolDown | undefined
  readonly healthyAfter?: Duration.Input | undefined
  readonly decide?: ((failure: Cause.Fail<E | TimeLimitExceeded> | Cause.Die) => Verdict) | undefined
}

/**
 * A restart policy: a plain value that many tasks can share.
 *
 * @category models
 * @since 0.1.0
 */
export interface Restart<in E = unknown> {
  readonly [RestartTypeId]: typeof RestartTypeId
  readonly kind: RestartKind
  readonly options: RestartOptions<E>
}

/**
 * Tells whether a value is a restart policy. Nobody can tell for which errors it is.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRestart = (u: unknown): u is Restart<never> => hasProperty(u, RestartTypeId)

/**
 * The policy of what must always run: it is started again when it fails and also when it returns.
 *
 * **When to use**
 *
 * Use for what runs as long as its app does: a connection, a consumer, a watcher.
 *
 * **Details**
 *
 * It waits as the `schedule` says, which starts over after a run of `healthyAfter`. When the `budget` is used up the host stops
 * by default: a process that starts afresh may mend what a task that starts afresh has not.
 *
 * **Ordering**
 *
 * A run begins when the one before it has ended, with all that it has forked. Only one that its limit `within` has ended may
 * still clean up then; see `TimeLimit.within`. One that ends before its first wait leaves the event loop room before it runs again.
 *
 * **Interruption**
 *
 * A stop ends the run, or the wait for the next one. Once a stop has begun, nothing is started again.
 *
 * **Failure**
 *
 * Each failure is logged once, with what comes next, and a return as a warning. Options are checked when the task is spawned:
 * `InvalidOption` names what is wrong. What is used up fails with `RestartExhausted`.
 *
 * **Example** (After 1, 2 and 4 seconds)
 *
 * ```ts import.meta.vitest
 * import { Restart, Task, TaskScope } from "@ambit/core"
 * import { Clock, Effect, Schedule } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * const starts: Array<number> = []
 * const read = Effect.gen(function*() {
 *   starts.push(yield* Clock.currentTimeMillis)
 *   return yield* Effect.fail("no broker")
 * })
 * const program = Effect.gen(function*() {
 *   const task = yield* Task.spawn(read, "read", {
 *     restart: Restart.permanent({ schedule: Schedule.exponential("1 second") })
 *   })
 *   yield* TestClock.adjust("7 seconds")
 *   return task.restarts
 * })
 * await Effect.runPromise(
 *   program.pipe(Effect.provide(TaskScope.layer("app")), Effect.provide(TestClock.layer()))
 * ) // => 3
 * starts // => [0, 1000, 3000, 7000]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const permanent = <E = unknown>(options: RestartOptions<E> = {}): Restart<E> => makeRestart("permanent", options)

/**
 * The policy of what has an end, and is tried again until it gets there: it is started again when it fails.
 *
 * **When to use**
 *
 * Use for work that should be done once and may fail on the way: an import, a first synchronization.
 *
 * **Details**
 *
 * As `permanent`, but a run that returns is the last one, and one that interrupts itself too. When the `budget` is used up, it
 * waits for 5 minutes by default and begins anew, 3 times in a row at most.
 *
 * **Example** (Until it is done)
 *
 * ```ts import.meta.vitest
 * import { Restart, Task, TaskScope } from "@ambit/core"
 * import { Effect, Schedule } from "effect"
 *
 * let tries = 0
 * const sync = Effect.suspend(() => ++tries < 3 ? Effect.fail("busy") : Effect.succeed("done"))
 * const program = Effect.gen(function*() {
 *   const restart = Restart.transient({ schedule: Schedule.spaced("1 millis") })
 *   const task = yield* Task.spawn(sync, "sync", { restart })
 *   return [yield* task.join, task.restarts]
 * })
 * await Effect.runPromise(Effect.provide(program, TaskScope.layer("app"))) // => ["done", 2]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const transient = <E = unknown>(options: RestartOptions<E> = {}): Restart<E> => makeRestart("transient", options)

/**
 * The policy of what runs once. A task has it anyway; in a group it says so, where `permanent` is the default.
 *
 * @category constructors
 * @since 0.1.0
 */
export const temporary: Restart = makeRestart("temporary", {})

/**
 * What to do when the budget is used up: wait for longer, and begin anew.
 *
 * **Details**
 *
 * `pause` is 5 minutes by default. It happens at most `cycles` times, 3 by default, without a healthy run in between; after that
 * it is as `"giveUp"`.
 *
 * **Example** (An hour, and for ever)
 *
 * ```ts import.meta.vitest
 * import { Restart } from "@ambit/core"
 *
 * const restart = Restart.permanent({ onExhausted: Restart.coolDown({ pause: "1 hour", cycles: Infinity }) })
 * restart.kind // => "permanent"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const coolDown = (options: {
  readonly pause?: Duration.Input | undefined
  readonly cycles?: number | undefined
} = {}): CoolDown => ({ _tag: "CoolDown", pause: options.pause ?? "5 minutes", cycles: options.cycles ?? 3 })
