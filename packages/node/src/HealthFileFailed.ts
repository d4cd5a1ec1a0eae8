/**
 * The error of a health file that cannot be written.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The file of `NodeHost.healthFile` could not be written when the host started.
 *
 * @category errors
 * @since 0.1.0
 */
export class HealthFileFailed extends Schema.TaggedError<HealthFileFailed>("@ambit/node/HealthFileFailed")(
  "HealthFileFailed",
  { path: Schema.String, cause: Schema.Defect() }
) {
  override get message(): string {
    return `The health of the host cannot be written to ${this.path}: ${String(this.cause)}. ` +
      "Give it a path in a folder that this process may write to"
  }
}
