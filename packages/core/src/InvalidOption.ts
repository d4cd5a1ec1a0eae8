/**
 * The error for input that can never work: an empty name, a limit of zero, two
 * limits that do not fit into each other.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * An option, a limit or a name that was refused, with the value that was given
 * and what to do about it.
 *
 * **Details**
 *
 * The check happens where the option is handed over (`Task.spawn`,
 * `TaskScope.make`, the start of an app or a host), before anything runs.
 *
 * **Example** (A name with a slash)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.scoped(TaskScope.make("sensor/poll"))
 * const error = await Effect.runPromise(Effect.flip(program))
 * error._tag // => "InvalidOption"
 * error.value // => "sensor/poll"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidOption extends Schema.TaggedError<InvalidOption>("@ambit/core/InvalidOption")("InvalidOption", {
  /** What was being set, such as `stopWithin of app "sensor"`. */
  option: Schema.String,
  /** The value as it was given. */
  value: Schema.String,
  /** What is wrong with it. */
  problem: Schema.String,
  /** What to do instead. */
  remedy: Schema.String
}) {
  override get message(): string {
    return `${this.option} is ${JSON.stringify(this.value)}: ${this.problem}. ${this.remedy}.`
  }
}
