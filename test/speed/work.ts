/**
 * What the spawned tasks do. Every piece of work counts its runs, so that a
 * candidate which did not run a task is found out and no work is dead code.
 */
import * as Effect from "effect/Effect"
import * as Effection from "effection"

/**
 * - `complete`: ends at once.
 * - `park`: one step, then waits for ever.
 * - `sleep`: one step, then an hour on a timer.
 * - `hold`: one step, then waits until `release` ends it.
 */
export type Work = "complete" | "park" | "sleep" | "hold"

export const tally = { ran: 0 }

const held: Array<() => void> = []

/** Ends the tasks that hold, oldest first; `last` is called before the last of them. */
export const release = (last: () => void): void => {
  const releases = held.splice(0)
  const final = releases.pop()
  for (const end of releases) end()
  last()
  final?.()
}

const step = Effect.sync(() => {
  tally.ran++
})

export const effects: Record<Work, Effect.Effect<void>> = {
  complete: step,
  park: Effect.andThen(step, Effect.never),
  sleep: Effect.andThen(step, Effect.sleep("1 hour")),
  hold: Effect.andThen(
    step,
    Effect.callback<void>((resume) => {
      held.push(() => resume(Effect.void))
    })
  )
}

export const operations: Record<Work, () => Effection.Operation<void>> = {
  complete: () =>
    Effection.call(() => {
      tally.ran++
    }),
  park: function*() {
    tally.ran++
    yield* Effection.suspend()
  },
  sleep: function*() {
    tally.ran++
    yield* Effection.sleep(3_600_000)
  },
  hold: function*() {
    tally.ran++
    yield* Effection.action<void>((resolve) => {
      held.push(resolve)
      return () => {}
    })
  }
}

const never = async (): Promise<void> => {
  tally.ran++
  await new Promise(() => {})
}

/** A sleeping promise cannot be stopped and would keep the process, so it parks too. */
export const promises: Record<Work, () => Promise<void>> = {
  complete: async () => {
    tally.ran++
  },
  park: never,
  sleep: never,
  hold: async () => {
    tally.ran++
    await new Promise<void>((resolve) => {
      held.push(resolve)
    })
  }
}
