/**
 * What can go wrong with a whole host.
 *
 * @since 0.1.0
 */
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { ShutdownReport } from "./ShutdownReport.ts"

/**
 * The host stopped because a task failed that had asked for it, or with an exit
 * code other than zero.
 *
 * **Details**
 *
 * It comes after the stop, with the report of it. Under `NodeRuntime.runMain`
 * the process exits with `exitCode`, 1 unless one was requested. What failed was
 * logged when it failed, so `runMain` does not log it again.
 *
 * @category errors
 * @since 0.1.0
 */
export class HostFailed extends Schema.TaggedError<HostFailed>("@ambit/core/HostError/HostFailed")("HostFailed", {
  reason: Schema.String,
  exitCode: Schema.Int,
  report: ShutdownReport
}) {
  override get [Runtime.errorExitCode](): number {
    return this.exitCode
  }
  override get [Runtime.errorReported](): boolean {
    return false
  }
  override get message(): string {
    return `The host stopped: ${this.reason}. See the log for the failure, and the report for the stop`
  }
}

/**
 * A layer is built from itself, so it could never be built.
 *
 * @category errors
 * @since 0.1.0
 */
export class LayerCycle extends Schema.TaggedError<LayerCycle>("@ambit/core/HostError/LayerCycle")("LayerCycle", {}) {
  override get message(): string {
    return "A layer is built from itself: somewhere below an app, Layer.provide or Layer.suspend leads back to it. " +
      "Take what both sides need into a layer of its own"
  }
}
