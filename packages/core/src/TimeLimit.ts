/**
 * Limits whose clock can be stopped: time that is spent waiting for somebody else does not count.
 *
 * | limit | its clock stands while | when it is due |
 * | --- | --- | --- |
 * | `within(limit)` | something inside of it runs in `freeze()` | it waits for the zones that are at work inside of it, and then fires, if there is anything left |
 * | `within(limit, { zone })` | something inside of it runs in `freeze()`, or anything in its tree of scopes in `freeze(zone)` | it fires |
 *
 * A zone is at work inside of a limit while a limit with a zone, or a `freeze` of one, has begun inside of it and not
 * ended: in the same fiber, or in a task or fiber that was started there.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Result from "effect/Result"
import { checkLimit } from "./internal/limit.ts"
import { freezing, limited } from "./internal/timeLimit.ts"
import type { InvalidOption } from "./InvalidOption.ts"
import type { TimeLimitExceeded } from "./TimeLimitExceeded.ts"

/**
 * What belongs to a limit.
 *
 * **Details**
 *
 * `zone` is the part of the work that it limits, such as `"recorder"`. Who does that work may stop the clock by that
 * name, without knowing the limit.
 *
 * @category models
 * @since 0.1.0
 */
export interface WithinOptions {
  readonly zone?: string | undefined
}

/**
 * Limits the time that an effect may take.
 *
 * **When to use**
 *
 * Use where part of the time must not count, see `freeze`, or where who waits must be free when the time is over. For
 * anything else there is `Effect.timeout`.
 *
 * **Details**
 *
 * The effect runs in a fiber of its own, and inherits all from the fiber around. A limit with a `zone` fires when it is
 * due. One without waits for the zones that are at work inside of it: these have limits of their own, or have
 * said that they need the time. When the effect has ended by then, it was in time.
 *
 * **Interruption**
 *
 * When the limit has passed, the effect is interrupted, and who waits goes on at once. Clean-up that waits for
 * nothing has run by then. What takes longer, or cannot be interrupted, is from now on a task of the scope around: a
 * close waits for it within its limit, and reports it. Outside of any scope nobody waits for it. An interrupt of who waits
 * interrupts the effect, and waits for its clean-up as without a limit.
 *
 * **Failure**
 *
 * Fails as the effect does, with `TimeLimitExceeded` when the limit has passed, and with `InvalidOption`
 * for a limit that is zero, negative, without end or no duration; then nothing has run. What fails after the limit has
 * passed is logged as a warning.
 *
 * **Gotchas**
 *
 * Clean-up that waits runs beside what comes after the limit. Where the next attempt must not meet it,
 * use `Effect.timeout`, which waits for all of it, however long it takes.
 *
 * **Example** (In time, and not)
 *
 * ```ts import.meta.vitest
 * import { TimeLimit } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const one = yield* Effect.succeed(1).pipe(TimeLimit.within("1 second"))
 *   const late = yield* Effect.flip(Effect.never.pipe(TimeLimit.within("5 millis", { zone: "setup" })))
 *   return [one, late._tag]
 * })
 * await Effect.runPromise(program) // => [1, "TimeLimitExceeded"]
 * ```
 *
 * @category limiting
 * @since 0.1.0
 */
export const within: {
  /**
   * Limits the time that an effect may take. Data-last.
   *
   * @category limiting
   * @since 0.1.0
   */
  (limit: Duration.Input, options?: WithinOptions): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | TimeLimitExceeded | InvalidOption, R>
  /**
   * Limits the time that an effect may take. See `within`.
   *
   * @category limiting
   * @since 0.1.0
   */
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    limit: Duration.Input,
    options?: WithinOptions
  ): Effect.Effect<A, E | TimeLimitExceeded | InvalidOption, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    limit: Duration.Input,
    options?: WithinOptions
  ): Effect.Effect<A, E | TimeLimitExceeded | InvalidOption, R> => {
    const millis = checkLimit("the limit of TimeLimit.within", limit)
    return Result.isFailure(millis)
      ? Effect.fail(millis.failure)
      : limited(self, { millis: millis.success, zone: options?.zone })
  }
)

/**
 * Runs an effect while the clocks of limits stand: the time that it takes does not count.
 *
 * **When to use**
 *
 * Use around a wait that is nobody's fault, and that a limit further out cannot know of: a migration, a download of what is
 * missing, a question to a person.
 *
 * **Details**
 *
 * Without a zone, the limits around stand, all of them. With a zone, the limits of that zone stand: those around,
 * and every other one in the same tree of scopes, that of a host for instance, also when it begins later. Outside of any
 * scope it is those below the outermost limit around. In addition a limit around that has no zone waits for the end
 * of the effect before it fires.
 *
 * Freezes may overlap and nest. A clock runs when all of those that stop it have ended, however they end.
 *
 * A task that was spawned inside of a limit has it around, too, as long as it has not fired or ended.
 *
 * **Interruption**
 *
 * Ends with the effect, also when that is interrupted or fails.
 *
 * **Example** (The migration does not count)
 *
 * ```ts import.meta.vitest
 * import { TimeLimit } from "@ambit/core"
 * import { Effect, Fiber } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * const migrate = Effect.sleep("1 hour").pipe(TimeLimit.freeze("recorder"))
 * const setUp = Effect.andThen(migrate, Effect.as(Effect.sleep("5 seconds"), "set up"))
 *
 * const program = Effect.gen(function*() {
 *   const fiber = yield* Effect.forkChild(setUp.pipe(TimeLimit.within("10 seconds", { zone: "recorder" })))
 *   yield* TestClock.adjust("2 hours")
 *   return yield* Fiber.join(fiber)
 * })
 * await Effect.runPromise(Effect.provide(program, TestClock.layer())) // => "set up"
 * ```
 *
 * @category freezing
 * @since 0.1.0
 */
export const freeze: {
  /**
   * Runs an effect while the clocks of limits stand. Data-last.
   *
   * @category freezing
   * @since 0.1.0
   */
  (zone?: string): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /**
   * Runs an effect while the clocks of limits stand. See `freeze`.
   *
   * @category freezing
   * @since 0.1.0
   */
  <A, E, R>(self: Effect.Effect<A, E, R>, zone?: string): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, zone?: string): Effect.Effect<A, E, R> => freezing(self, zone)
)
