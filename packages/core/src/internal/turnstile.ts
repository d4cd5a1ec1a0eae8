/**
 * Lets those through who go on at the same time, a few milliseconds' worth in each turn of the event loop. Ten thousand tasks
 * that fail together, or whose waits end together, would hold it up else.
 *
 * Invariants
 * - Who comes first goes first.
 * - Nobody waits while there is time left in this turn.
 * - Who throws keeps nobody from going on.
 * (turnstile.test.ts)
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { isVirtual, realNow } from "./clock.ts"
import { say } from "./say.ts"

/** Milliseconds of work in one turn; the pause between two lets timers and sockets have theirs. */
const turnMillis = 4

/** Of these, what is for those who need not wait: they add to the turn of whoever made them come. */
const atOnceMillis = 1

let waiting: Array<() => void> = []
/** When the first one passed in this turn. */
let begin: number | undefined

const isTime = (millis: number): boolean => realNow() - (begin ??= realNow()) < millis

// A task that goes on may end, and an exit observer that somebody has put on its fiber may throw. The others go on.
const letThrough = (pass: () => void): void => {
  try {
    pass()
  } catch (defect) {
    say(Context.empty(), "Error", "An exit observer on the fiber of a task threw", {}, Cause.die(defect))
  }
}

const nextTurn = (): void => {
  Effect.runFork(Effect.yieldNow).addObserver(() => {
    begin = undefined
    let passed = 0
    while (passed < waiting.length && isTime(turnMillis)) letThrough(waiting[passed++]!)
    waiting = waiting.slice(passed)
    if (begin !== undefined) nextTurn()
  })
}

/**
 * Calls back when it is the caller's turn: at once, if there is time. A test on a virtual clock is not to depend on how long
 * anything takes.
 */
export const inTurn = (clock: Clock.Clock, pass: () => void): void => {
  if (isVirtual(clock)) return pass()
  if (begin === undefined) nextTurn()
  if (waiting.length === 0 && isTime(atOnceMillis)) pass()
  else waiting.push(pass)
}

/** Waits for its turn. */
export const turn = (clock: Clock.Clock): Effect.Effect<void> =>
  Effect.callback<void>((resume) => inTurn(clock, () => resume(Effect.void)))
