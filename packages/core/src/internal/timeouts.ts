import * as Cause from "effect/Cause"
import { BlockingError } from "../BlockingError.ts"
import { TimeLimitExceeded } from "../TimeLimitExceeded.ts"

/** Whether an error is a timeout; also one that a function threw on its thread, or that a promise was rejected with. */
export const isTimeout = (error: unknown): boolean => {
  try {
    if (!(error instanceof Error)) return false
    if (error instanceof TimeLimitExceeded) return true
    if (error instanceof BlockingError && error.reason._tag === "TimedOut") return true
    return error.name === "TimeoutError" ||
      ((error instanceof BlockingError || Cause.isUnknownError(error)) && isTimeout(error.cause))
  } catch {
    // What cannot be looked at has no such name.
    return false
  }
}
