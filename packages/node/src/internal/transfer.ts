/**
 * Results whose buffers move to the main thread. Threads load this file, so it
 * imports no Effect.
 */
import type { Transferable } from "node:worker_threads"

/** By the values that move, for as long as they live. */
const lists = new WeakMap<object, Array<Transferable>>()

/** The latest, which mostly is returned at once: a weak map costs more than the rest of a call. */
let latest: { readonly value: object; readonly list: Array<Transferable> } | undefined

/** Notes what of a result moves. */
export const keepTransfer = (value: object, list: ReadonlyArray<Transferable>): void => {
  weaken()
  latest = { value, list: [...list] }
}

export const transferOf = (value: unknown): Array<Transferable> | undefined => {
  if (typeof value !== "object" || value === null) return undefined
  return latest?.value === value ? latest.list : lists.get(value)
}

/** The call has ended: what it has noted is held no longer than the value lives. */
export const endTransfer = (answered: unknown): void => {
  if (latest?.value !== answered) weaken()
  latest = undefined
}

const weaken = (): void => {
  if (latest !== undefined) lists.set(latest.value, latest.list)
}
