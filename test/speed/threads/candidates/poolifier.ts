import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import type { Worker } from "node:worker_threads"
import { FixedThreadPool, type PoolOptions } from "poolifier"
import type { Candidate } from "./candidate.ts"
import { overPromises } from "./loops.ts"

export const poolifierIn = (file: URL, threads: number, options: PoolOptions<Worker> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => new FixedThreadPool(threads, fileURLToPath(file), options)),
    // Its end may not come.
    (pool) =>
      Effect.timeoutOrElse(Effect.promise(() => pool.destroy()), { duration: "1 second", orElse: () => Effect.void })
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

// Idle threads that look for tasks to steal do so on timers that get ever longer, until they are too long for Node and
// fire each millisecond, in everybody's measurements.
export const poolifierQueue = candidate("poolifier, fixed with queue", {
  enableTasksQueue: true,
  tasksQueueOptions: { taskStealing: false }
})
