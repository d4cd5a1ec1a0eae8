import * as Effect from "effect/Effect"
import { type Options, Tinypool } from "tinypool"
import type { Candidate } from "./candidate.ts"
import { overPromises } from "./loops.ts"

export const tinypoolIn = (options: Options) =>
  Effect.acquireRelease(
    Effect.sync(() => new Tinypool(options)),
    (pool) => Effect.promise(() => pool.destroy())
  )

const candidate = (name: string, options?: Options): Candidate => ({
  name,
  moves: true,
  open: (threads) =>
    Effect.map(
      tinypoolIn({
        filename: new URL("../workers/tinypoolJobs.ts", import.meta.url).href,
        minThreads: threads,
        maxThreads: threads,
        ...options
      }),
      (pool) => ({
        run: overPromises((job, input, moved) => pool.run(input, { name: job, transferList: moved as never }))
      })
    )
})

export const tinypool = candidate("tinypool")

export const tinypoolBest = candidate("tinypool, 1000 tasks a thread", { concurrentTasksPerWorker: 1000 })
