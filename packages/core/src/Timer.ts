/**
 * Timers that are started, restarted and stopped at will.
 *
 * | when | `start` | `restart` | `stop` |
 * | --- | --- | --- | --- |
 * | it is idle | starts it | starts it | nothing, `false` |
 * | it is started | fails with `TimerStarted` | gives it a new time | it is idle, `true` |
 * | it is idle, and the scope is stopping or closed | fails with `ScopeClosed` | fails with `ScopeClosed` | nothing, `false` |
 *
 * One that is started goes on, and can be given a new time, until the stop interrupts its task.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { checkPeriod } from "./internal/limit.ts"
import { runLimitOf } from "./internal/limitedTask.ts"
import { checkName, joinPath } from "./internal/names.ts"
import { settingsOf } from "./internal/spawn.ts"
import { CurrentScope } from "./internal/state.ts"
import { TimerImpl } from "./internal/timer.ts"
import { InvalidOption } from "./InvalidOption.ts"
import { around } from "./Limits.ts"
import { formatMillis } from "./ShutdownReport.ts"
import type { Runs, SpawnError, SpawnOptions } from "./Task.ts"
import type { TaskScope } from "./TaskScope.ts"

/**
 * A timer was started that is started already.
 *
 * @category errors
 * @since 0.1.0
 */
export class TimerStarted extends Schema.TaggedError<TimerStarted>("@ambit/core/Timer/TimerStarted")("TimerStarted", {
  path: Schema.String,
  /** Milliseconds until it fires. */
  left: Schema.Finite
}) {
  override get message(): string {
    return `Timer ${this.path} is started already and fires in ${formatMillis(this.left)}. Give it a new time with ` +
      "restart, or stop it first"
  }
}

/**
 * Where a timer is. `firesAt` is milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export type TimerStatus =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Started"; readonly firesAt: number }

/**
 * A timer of a scope.
 *
 * **Details**
 *
 * - `start` and `restart` take the time until it fires. With `repeat` it fires again after each such time.
 * - `stop` makes it idle, and gives whether it was started. What it has begun goes on.
 * - `status` is where it is now, `runs` what it has done so far.
 *
 * @category models
 * @since 0.1.0
 */
export interface Timer {
  readonly path: string
  readonly status: TimerStatus
  readonly runs: Runs
  readonly stop: Effect.Effect<boolean>
  start(after: Duration.Input): Effect.Effect<void, TimerStarted | SpawnError>
  restart(after: Duration.Input): Effect.Effect<void, SpawnError>
}

/**
 * What a timer is made with.
 *
 * **Details**
 *
 * `repeat` lets it fire again and again until it is stopped; `false` by default. The other options are those of the
 * task that it has while it is started, and `within` is the limit of each run. A timer has one task at most, so it has no
 * `onDuplicate`.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimerOptions extends Omit<SpawnOptions, "onDuplicate"> {
  readonly repeat?: boolean | undefined
}

/**
 * Makes an idle timer in the scope around, for an effect that it runs when it fires.
 *
 * **When to use**
 *
 * Use for what is put off as long as something goes on: a flush after the last write, a light that goes out after the
 * last movement. For what happens regularly, `Task.every` is enough.
 *
 * **Details**
 *
 * While it is started or runs, it is one task of the scope, of its name. Its runs are like those of `Task.every`: never two at
 * once, drift-free, and a failing one is logged, told to the failure hooks, and changes nothing for the next. A time that
 * comes during a run is skipped and counted when it repeats; otherwise it fires when the run has ended. Only a run that
 * somebody has interrupted, and that still cleans up, is not waited for.
 *
 * **Interruption**
 *
 * A stop of the scope ends it, with the run that is going on.
 *
 * **Failure**
 *
 * `make` fails with `InvalidOption` for a name or an option that no task could have, `start` and `restart`
 * for a time that is not above zero; then nothing has changed.
 *
 * **Example** (Put off, and once)
 *
 * ```ts import.meta.vitest
 * import { TaskScope, Timer } from "@ambit/core"
 * import { Clock, Effect } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * const seen: Array<number> = []
 * const program = Effect.gen(function*() {
 *   const flush = yield* Timer.make(Effect.map(Clock.currentTimeMillis, (now) => seen.push(now)), "flush")
 *   yield* flush.start("1 second")
 *   yield* TestClock.adjust("600 millis")
 *   yield* flush.restart("1 second")
 *   yield* TestClock.adjust("5 seconds")
 *   return flush.status._tag
 * })
 * await Effect.runPromise(
 *   program.pipe(Effect.provide(TaskScope.layer("app")), Effect.provide(TestClock.layer()))
 * ) // => "Idle"
 * seen // => [1600]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  name: string,
  options?: TimerOptions
): Effect.Effect<Timer, InvalidOption, R | TaskScope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<R | TaskScope>()
    const scope = Context.getUnsafe(context as Context.Context<any>, CurrentScope)
    yield* Effect.fromResult(checkName(`a timer of "${scope.path}"`, name))
    const settings = settingsOf(scope, name, options ?? {})
    if (settings instanceof InvalidOption) return yield* settings
    const limit = yield* Effect.fromResult(runLimitOf(scope, name, options, (yield* around).run))
    const clock = Context.get(context, Clock.Clock)
    const timer = new TimerImpl({
      scope,
      clock,
      name,
      context,
      effect,
      limit,
      options,
      repeat: options?.repeat === true
    })
    const path = joinPath(scope.path, name, 1)

    const restart = (after: Duration.Input): Effect.Effect<void, SpawnError> => {
      const millis = checkPeriod(`time of timer "${path}"`, after)
      return Result.isFailure(millis) ? Effect.fail(millis.failure) : timer.restart(millis.success)
    }
    return {
      path,
      get status() {
        return timer.status
      },
      get runs() {
        return { ...timer.runs }
      },
      stop: Effect.sync(() => timer.stop()),
      start: (after) =>
        Effect.suspend((): Effect.Effect<void, TimerStarted | SpawnError> => {
          const left = timer.left
          return left === undefined ? restart(after) : Effect.fail(new TimerStarted({ path, left }))
        }),
      restart: (after) => Effect.suspend(() => restart(after))
    }
  })
