/**
 * The threads of this process that have not ended. `process.exit` waits for each
 * of them, so whoever ends the process wants to know.
 */
import { channel, subscribe } from "node:diagnostics_channel"
import type { Worker } from "node:worker_threads"

const live = new Set<Worker>()

export const trackThread = (worker: Worker): void => {
  if (live.has(worker)) return
  live.add(worker)
  worker.once("exit", () => live.delete(worker))
}

/** Those that are not in `except`. */
export const liveThreads = (except: Worker | undefined): ReadonlyArray<Worker> =>
  [...live].filter((worker) => worker !== except)

let watching = false

/** Tracks every thread that is made from now on, whoever makes it. */
export const watchThreads = (): void => {
  if (watching) return
  watching = true
  subscribe("worker_threads", (message) => {
    trackThread((message as { readonly worker: Worker }).worker)
  })
}

// Kept, since a channel that nobody refers to forgets its subscribers.
export const threadChannel = channel("worker_threads")
