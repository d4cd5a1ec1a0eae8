/**
 * The error of what took longer than its limit.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { formatMillis } from "./ShutdownReport.ts"

/**
 * A time limit has passed: that of `TimeLimit.within`, or that of a task or of one of its runs.
 *
 * **Details**
 *
 * What it limits was interrupted. `limit` is milliseconds, of the time that counts: the clock of a limit can be
 * stopped with `TimeLimit.freeze`. `zone` is that of the limit, if it has one, and `task` the path of the task whose
 * option `within` it is.
 *
 * **Example** (A limit that has passed)
 *
 * ```ts import.meta.vitest
 * import { TimeLimit } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const error = await Effect.runPromise(Effect.flip(Effect.never.pipe(TimeLimit.within("5 millis"))))
 * error._tag // => "TimeLimitExceeded"
 * error.message // => "It had not ended after 5 ms, its time limit, and was interrupted. Give it more time, or stop the clock of the limit with TimeLimit.freeze"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TimeLimitExceeded
  extends Schema.TaggedError<TimeLimitExceeded>("@ambit/core/TimeLimitExceeded")("TimeLimitExceeded", {
    limit: Schema.Finite,
    zone: Schema.optionalKey(Schema.String),
    task: Schema.optionalKey(Schema.String)
  })
{
  override get message(): string {
    const what = this.task === undefined ? "It" : `Task ${this.task}`
    const whose = this.zone === undefined ? "its time limit" : `its time limit in zone "${this.zone}"`
    return `${what} had not ended after ${formatMillis(this.limit)}, ${whose}, and was interrupted. Give it more ` +
      "time, or stop the clock of the limit with TimeLimit.freeze"
  }
}
