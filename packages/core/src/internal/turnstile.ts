/**
 * Lets those through who go on at the same time, a few milliseconds' worth in each turn of the event loop. Ten thousand tasks
 * that fail together, or whose waits end together, would hold it up else.
 *
 * Invariants
 * - Who comes first goes first.
 * - Nobody waits while there is time left in this turn.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { isVirtual, realNow } from "./clock.ts"

/** Milliseconds of work in one turn; the pause between two lets timers and sockets have theirs. */
const turnMillis = 4

interface Entry {
  readonly pass: () => void
  gone: boolean
}

let waiting: Array<Entry> = []
/** When the first one passed in this turn. */
let begin: number | undefined

const isTime = (): boolean => realNow() - (begin ??= realNow()) < turnMillis

const nextTurn = (): void => {
  Effect.runFork(Effect.yieldNow).addObserver(() => {
    begin = undefined
    let passed = 0
    while (passed < waiting.length && isTime()) {
      const entry = waiting[passed++]!
      if (!entry.gone) entry.pass()
    }
    waiting = waiting.slice(passed)
    if (begin !== undefined) nextTurn()
  })
}

const pass: Effect.Effect<void> = Effect.callback<void>((resume) => {
  if (begin === undefined) nextTurn()
  if (waiting.length === 0 && isTime()) return resume(Effect.void)
  const entry: Entry = { pass: () => resume(Effect.void), gone: false }
  waiting.push(entry)
  return Effect.sync(() => {
    entry.gone = true
  })
})

/** Waits for its turn. A test on a virtual clock is not to depend on how long anything takes. */
export const turn = (clock: Clock.Clock): Effect.Effect<void> => isVirtual(clock) ? Effect.void : pass
