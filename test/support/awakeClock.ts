import { TestClock } from "effect/testing"

/**
 * For tests whose first sleep is in a finalizer: the first sleep on a fresh
 * `TestClock` of Effect 4.1.0 starts the warning about unused time, and that step
 * is interruptible, so in the finalizer of an interrupted fiber it ends the sleep
 * at once. A clock that was advanced once, by nothing, has no warning to start.
 */
export const awakeClock = TestClock.adjust(0)
