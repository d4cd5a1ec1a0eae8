/**
 * Results whose buffers move to the main thread. Threads load this file, so it
 * imports no Effect.
 */
import type { Transferable } from "node:worker_threads"

const lists = new WeakMap<object, Array<Transferable>>()

/** Notes what of a result moves. */
export const keepTransfer = (value: object, list: ReadonlyArray<Transferable>): void => {
  lists.set(value, [...list])
}

export const transferOf = (value: unknown): Array<Transferable> | undefined =>
  typeof value === "object" && value !== null ? lists.get(value) : undefined
