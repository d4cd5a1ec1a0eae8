// @effect-diagnostics globalTimers:off
/**
 * Real time. Threads know no other: a virtual clock does not stop them.
 */

/** Milliseconds that never jump. */
export const realNow = (): number => performance.now()

export type Timer = NodeJS.Timeout | undefined

/** Runs something later. */
export const after = (millis: number, run: () => void): Timer => setTimeout(run, millis)

/** Runs something later, if the process still runs then for other reasons. */
export const afterIfAlive = (millis: number, run: () => void): Timer => setTimeout(run, millis).unref()

export const cancelTimer = (timer: Timer): void => clearTimeout(timer)

/** What something gives within a limit, or `undefined`. */
export const within = <A>(done: Promise<A>, millis: number): Promise<A | undefined> =>
  new Promise((resolve) => {
    const timer = after(millis, () => resolve(undefined))
    void done.then((value) => {
      cancelTimer(timer)
      resolve(value)
    })
  })

/** Whether something is done within a limit. */
export const isDoneWithin = async (done: Promise<unknown>, millis: number): Promise<boolean> =>
  await within(done.then(() => true), millis) ?? false
