import * as Effect from "effect/Effect"
import { Piscina } from "piscina"
import type { Candidate } from "./candidate.ts"
import { overPromises } from "./loops.ts"

type Options = NonNullable<ConstructorParameters<typeof Piscina>[0]>

export const piscinaIn = (options: Options) =>
  Effect.acquireRelease(
    Effect.sync(() => new Piscina(options)),
    (pool) => Effect.promise(() => pool.destroy())
  )

const candidate = (name: string, options?: Options): Candidate => ({
  name,
  moves: true,
  open: (threads) =>
    Effect.map(
      piscinaIn({
        filename: new URL("../workers/piscinaJobs.ts", import.meta.url).href,
        minThreads: threads,
        maxThreads: threads,
        ...options
      }),
      (pool) => ({
        run: overPromises((job, input, moved) => pool.run(input, { name: job, transferList: moved as never }))
      })
    )
})

export const piscina = candidate("piscina")

export const piscinaBest = candidate("piscina, 1000 tasks a thread", { concurrentTasksPerWorker: 1000 })
