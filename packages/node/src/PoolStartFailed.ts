/**
 * The error of a pool that does not start.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The first thread of a pool did not start.
 *
 * @category errors
 * @since 0.1.0
 */
export class PoolStartFailed extends Schema.TaggedError<PoolStartFailed>("@ambit/node/PoolStartFailed")(
  "PoolStartFailed",
  { pool: Schema.String, problem: Schema.String }
) {
  override get message(): string {
    return `No thread of pool ${this.pool} starts: ${this.problem}. In a bundle, make @ambit/node/threadMain an input ` +
      "of its own that ends up beside the code; in a thread, do not build a pool: its module must have no side effects"
  }
}
