/**
 * The error of what was restarted too often.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { formatMillis } from "./ShutdownReport.ts"

/**
 * A task, a group or an app has used up its restarts, and is not started again.
 *
 * **Details**
 *
 * `path` is who was to be started once more, and `group` the path of the group whose budget it was, if it was that of a group.
 * There were `restarts` of them within `within` milliseconds; both are absent where it was the schedule that has ended. `cause`
 * is what the last run ended with, absent when it has returned.
 *
 * **Example** (A task that fails again and again)
 *
 * ```ts import.meta.vitest
 * import { Restart, RestartExhausted, Task, TaskScope } from "@ambit/core"
 * import { Effect, Schedule } from "effect"
 *
 * const restart = Restart.transient({
 *   schedule: Schedule.spaced("1 millis"),
 *   budget: { restarts: 2, within: "1 minute" },
 *   onExhausted: "giveUp"
 * })
 * const program = Effect.gen(function*() {
 *   const task = yield* Effect.fail("no broker").pipe(Task.spawn("poll", { restart }))
 *   return yield* Effect.flip(task.join)
 * })
 * const error = await Effect.runPromise(Effect.provide(program, TaskScope.layer("app")))
 * error instanceof RestartExhausted && error.message
 * // => "app/poll is not started again: it has used up its 2 restarts in 1m. See its cause, or give it another budget or schedule"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class RestartExhausted
  extends Schema.TaggedError<RestartExhausted>("@ambit/core/RestartExhausted")("RestartExhausted", {
    path: Schema.String,
    group: Schema.optionalKey(Schema.String),
    restarts: Schema.optionalKey(Schema.Finite),
    within: Schema.optionalKey(Schema.Finite),
    cause: Schema.optionalKey(Schema.Defect())
  })
{
  override get message(): string {
    const { group, path, restarts, within } = this
    const whose = group === undefined ? "" : ` of group ${group}`
    const what = restarts === undefined || within === undefined
      ? `the schedule of its restarts has ended${whose}`
      : `it has used up its ${restarts} ${restarts === 1 ? "restart" : "restarts"} in ${formatMillis(within)}${whose}`
    return `${path} is not started again: ${what}. See its cause, or give it another budget or schedule`
  }
}
