// @effect-diagnostics globalTimers:off
/**
 * Real time. Threads know no other: a virtual clock does not stop them.
 */

/** Milliseconds that never jump. */
export const realNow = (): number => performance.now()

export type Timer = { handle: NodeJS.Timeout } | undefined

/** The longest time that Node counts; it takes a longer one for 1 millisecond. */
const longest = 2_147_483_647

const arm = (millis: number, run: () => void): NodeJS.Timeout => setTimeout(run, Math.min(millis, longest))

const armed = (millis: number, run: () => void, keep: (handle: NodeJS.Timeout) => NodeJS.Timeout): Timer => {
  let left = millis
  const again = (): void => {
    left -= longest
    if (left > 0) timer.handle = keep(arm(left, again))
    else run()
  }
  const timer = { handle: keep(arm(left, again)) }
  return timer
}

/** Runs something later. */
export const after = (millis: number, run: () => void): Timer => armed(millis, run, (handle) => handle)

/** Runs something later, if the process still runs then for other reasons. */
export const afterIfAlive = (millis: number, run: () => void): Timer => armed(millis, run, (handle) => handle.unref())

/** Runs something in the next turn of the event loop. */
export const nextTurn = (run: () => void): void => void setImmediate(run)

export const cancelTimer = (timer: Timer): void => clearTimeout(timer?.handle)

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
