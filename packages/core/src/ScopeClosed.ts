/**
 * The error of a scope that takes nothing in any more.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A task, a child scope or a hook came too late: its scope is stopping or closed.
 *
 * **Details**
 *
 * What was refused has not run. `reason` is why the scope stops.
 *
 * **Example** (Spawning into a closed scope)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   yield* TaskScope.close(scope)
 *   return yield* Effect.flip(TaskScope.spawn(scope, Effect.void, "late"))
 * })
 * const error = await Effect.runPromise(Effect.scoped(program))
 * error._tag // => "ScopeClosed"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class ScopeClosed extends Schema.TaggedError<ScopeClosed>("@ambit/core/ScopeClosed")("ScopeClosed", {
  /** The path that was refused. */
  path: Schema.String,
  /** The scope that refused it. */
  scope: Schema.String,
  state: Schema.Literals(["stopping", "closed"]),
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.path} was refused and has not run: scope ${this.scope} is ${this.state} (${this.reason}). ` +
      "Start it before the stop, or let the work end with what is running"
  }
}
