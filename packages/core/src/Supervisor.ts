/**
 * Groups of tasks that are started again by one strategy.
 *
 * | strategy | when a member fails, these end and start again |
 * | --- | --- |
 * | `oneForOne` | that member |
 * | `oneForAll` | all members |
 * | `restForOne` | that member, and those after it in the list |
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { beginGroup, ChildTypeId, placeOfGroup } from "./internal/group.ts"
import type { InvalidOption } from "./InvalidOption.ts"
import type { Restart, RestartBudget } from "./Restart.ts"
import type { RestartExhausted } from "./RestartExhausted.ts"
import type { SpawnOptions } from "./Task.ts"
import { finalize, type TaskScope } from "./TaskScope.ts"

/**
 * Which members start again when one of them does.
 *
 * @category models
 * @since 0.1.0
 */
export type Strategy = "oneForOne" | "oneForAll" | "restForOne"

/**
 * How a member of a group runs.
 *
 * **Details**
 *
 * `restart` is its policy, `Restart.permanent()` by default. Its `schedule` and `healthyAfter` are those of the member. A budget it
 * has only when it is given one; that of the group counts anyway. The other options are those of a task; `within` limits each run.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChildOptions<in E = unknown>
  extends Omit<SpawnOptions, "startImmediately" | "onDuplicate" | "within">
{
  readonly restart?: Restart<E> | undefined
  readonly within?: Duration.Input | "none" | undefined
}

/**
 * A member of a group, before it runs: its name, its effect and its options.
 *
 * @category models
 * @since 0.1.0
 */
export interface Child<out R = never> {
  readonly [ChildTypeId]: typeof ChildTypeId
  readonly name: string
  readonly effect: Effect.Effect<unknown, unknown, R>
  readonly options: ChildOptions<never>
}

/**
 * How a group is run.
 *
 * **Details**
 *
 * - `strategy`: `oneForOne` by default.
 * - `budget`: how many restarts of its members there may be in which time, or `"none"`; 5 in 5 minutes by default. Members that
 *   start again with another one count once, together. It comes back with time alone, not with a healthy run.
 *
 * @category models
 * @since 0.1.0
 */
export interface GroupOptions {
  readonly strategy?: Strategy | undefined
  readonly budget?: RestartBudget | "none" | undefined
}

/**
 * Names a member of a group.
 *
 * @see {@link group}
 * @category constructors
 * @since 0.1.0
 */
export const child = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  options: ChildOptions<E> = {}
): Child<R> => ({ [ChildTypeId]: ChildTypeId, name, effect, options })

/**
 * What a member needs.
 *
 * @category models
 * @since 0.1.0
 */
export type ChildServices<Member> = Member extends Child<infer R> ? R : never

/**
 * Runs members as tasks, and starts them again by one strategy. It is an effect: spawn it as a task, or as a member of another group.
 *
 * **When to use**
 *
 * Use for tasks that cannot do without each other: a connection and those who use it, the stages of a pipeline. A task that stands
 * alone needs no group, only `restart`.
 *
 * **Details**
 *
 * Spawned as `pipeline` in the app `hub/etl`, its members are `hub/etl/pipeline/read` and so on. All begin, one after the
 * other, before `group` waits. When a member is to start again, the strategy says who does with it: these are asked to end, all at
 * the same time, the wait of the policy passes, and they start in the order of the list. Who fails meanwhile joins them. A member
 * that has ended for good starts again with others too. One that is `Restart.temporary` does not, and ends with them if it runs.
 *
 * **Ordering**
 *
 * A member runs up to its first wait before the next one begins. None starts again before all that start with it have
 * ended. One that does not end within its `stopWithin` is left as the task `(old run)`, and the others do not wait for it.
 *
 * **Interruption**
 *
 * Interrupting the group, or stopping the scope around, ends all members at the same time. Nothing starts again after that.
 *
 * **Failure**
 *
 * `RestartExhausted` when the budget of the group is used up, or that of a member which does not say otherwise in
 * `onExhausted`. Then all members are ended, and the group fails: a group around it starts it again as it would any
 * member, a task with `onFailure: "stopApp"` stops its app. `InvalidOption` for a bad or double name and for bad options, before any member has begun. The group ends when all members have
 * ended for good.
 *
 * **Gotchas**
 *
 * A member is a task of its own: its value is dropped. Members talk to each other through what is made before the group.
 *
 * **Example** (A reader that needs its connection)
 *
 * ```ts import.meta.vitest
 * import { Restart, Supervisor, Task, TaskScope } from "@ambit/core"
 * import { Effect, Schedule } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * const log: Array<string> = []
 * const begin = (name: string) => Effect.sync(() => log.push(name))
 * const restart = Restart.permanent({ schedule: Schedule.spaced("1 second") })
 *
 * const pipeline = Supervisor.group([
 *   Supervisor.child("connect", Effect.andThen(begin("connect"), Effect.sleep("1 minute")), { restart }),
 *   Supervisor.child("read", Effect.andThen(begin("read"), Effect.never))
 * ], { strategy: "restForOne" })
 *
 * const program = Effect.gen(function*() {
 *   yield* Task.spawn(pipeline, "pipeline", { onFailure: "stopApp" })
 *   yield* TestClock.adjust("61 seconds")
 * })
 * await Effect.runPromise(program.pipe(Effect.provide(TaskScope.layer("app")), Effect.provide(TestClock.layer())))
 * log // => ["connect", "read", "connect", "read"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const group = <const Children extends ReadonlyArray<Child<unknown>>>(
  children: Children,
  options: GroupOptions = {}
): Effect.Effect<void, RestartExhausted | InvalidOption, ChildServices<Children[number]> | TaskScope> =>
  Effect.acquireUseRelease(
    Effect.withFiber((fiber) =>
      Effect.fromResult(
        beginGroup(placeOfGroup(fiber.context), children, options)
      )
    ),
    ({ done }) => Deferred.await(done),
    ({ scope }) => finalize(scope, "its group has ended")
  )
