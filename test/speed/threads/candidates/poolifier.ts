import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { FixedThreadPool, type PoolOptions, type ThreadPoolOptions } from "poolifier"
import type { Worker } from "node:worker_threads"
import type { Candidate } from "./candidate.ts"
import { overPromises } from "./loops.ts"

export const poolifierIn = (file: URL, threads: number, options: PoolOptions<Worker> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => new FixedThreadPool<unknown, unknown>(threads, fileURLToPath(file), options as ThreadPoolOptions)),
    (pool) => Effect.promise(() => pool.destroy())
  )

// What a thread returns cannot be moved.
const candidate = (name: string, options?: PoolOptions<Worker>): Candidate => ({
  name,
  moves: false,
  open: (threads) =>
    Effect.map(poolifierIn(new URL("../workers/poolifierJobs.ts", import.meta.url), threads, options), (pool) => ({
      run: overPromises((job, input, moved) => pool.execute(input, job, undefined, moved))
    }))
})

export const poolifier = candidate("poolifier, fixed")

export const poolifierQueue = candidate("poolifier, fixed with queue", { enableTasksQueue: true })
