/**
 * What can go wrong with a whole app.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { formatMillis } from "./ShutdownReport.ts"

/**
 * The start effect of an app took longer than its limit. What it had started is
 * stopped.
 *
 * @category errors
 * @since 0.1.0
 */
export class StartTimeout extends Schema.TaggedError<StartTimeout>("@ambit/core/AppError/StartTimeout")(
  "StartTimeout",
  {
    app: Schema.String,
    /** Milliseconds. */
    within: Schema.Finite,
    /** The innermost span or `Effect.fn` frame it was in. */
    place: Schema.optionalKey(Schema.String)
  }
) {
  override get message(): string {
    const where = this.place === undefined ? "" : `; it is at ${this.place}`
    return `App ${this.app} did not start within ${formatMillis(this.within)}${where}. ` +
      "Move long work out of its start into a task, or raise startWithin"
  }
}

/**
 * Something in an app did not end within the limits of its stop.
 *
 * **Details**
 *
 * The state of such an app is `Failed` with this error. `stuck` holds the paths
 * of the tasks, hooks and resources that were given up.
 *
 * @category errors
 * @since 0.1.0
 */
export class StopTimeout extends Schema.TaggedError<StopTimeout>("@ambit/core/AppError/StopTimeout")("StopTimeout", {
  app: Schema.String,
  /** Milliseconds. */
  within: Schema.Finite,
  stuck: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `App ${this.app} did not stop within ${formatMillis(this.within)}; given up: ${this.stuck.join(", ")}. ` +
      "See the report for the places where they are stuck"
  }
}

/**
 * Two apps of the same name in one host, or in one layer graph.
 *
 * @category errors
 * @since 0.1.0
 */
export class DuplicateApp extends Schema.TaggedError<DuplicateApp>("@ambit/core/AppError/DuplicateApp")(
  "DuplicateApp",
  { app: Schema.String }
) {
  override get message(): string {
    return `There are two apps with the path ${this.app}. Give one of them another name; ` +
      "to use one app in several places, use one and the same layer value"
  }
}

/**
 * An app was built while it is being built: it depends on itself.
 *
 * @category errors
 * @since 0.1.0
 */
export class AppCycle extends Schema.TaggedError<AppCycle>("@ambit/core/AppError/AppCycle")("AppCycle", {
  app: Schema.String
}) {
  override get message(): string {
    return `App ${this.app} depends on itself. Take what both sides need into an app or a layer of its own`
  }
}

/**
 * An app could not be started, or not be started again.
 *
 * **Details**
 *
 * `problem` says why, and what to do about it. `cause` is what its start effect
 * ended with, when it was that.
 *
 * @category errors
 * @since 0.1.0
 */
export class StartFailed extends Schema.TaggedError<StartFailed>("@ambit/core/AppError/StartFailed")("StartFailed", {
  app: Schema.String,
  problem: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    return `App ${this.app} was not started: ${this.problem}`
  }
}
