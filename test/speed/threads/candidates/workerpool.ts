import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import pools from "workerpool"
import type { Candidate } from "./candidate.ts"
import { overPromises } from "./loops.ts"

export const workerpoolIn = (file: URL, threads: number) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      pools.pool(fileURLToPath(file), { minWorkers: threads, maxWorkers: threads, workerType: "thread" })
    ),
    (pool) => Effect.promise(() => Promise.resolve(pool.terminate(true)))
  )

export const workerpool: Candidate = {
  name: "workerpool",
  moves: true,
  open: (threads) =>
    Effect.map(workerpoolIn(new URL("../workers/workerpoolJobs.ts", import.meta.url), threads), (pool) => ({
      run: overPromises((job, input, transfer) => pool.exec(job, [input], { transfer }))
    }))
}
