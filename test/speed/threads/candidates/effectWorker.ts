/**
 * Effect's own worker. It sends and receives messages; which answer belongs to
 * which call is for its user to say.
 */
import * as NodeWorker from "@effect/platform-node/NodeWorker"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EffectWorker from "effect/workers/Worker"
import { Worker } from "node:worker_threads"
import { movedBy, type Work } from "../work.ts"
import type { JobName } from "../workers/jobs.ts"
import type { Candidate } from "./candidate.ts"
import { overEffects } from "./loops.ts"

type Send = EffectWorker.Worker<readonly [number, unknown], readonly [number, JobName, unknown]>

export const effectWorkersIn = (file: URL, threads: number) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(NodeWorker.layer(() => new Worker(file)))
    return yield* Effect.provideContext(
      Effect.gen(function*() {
        const platform = yield* EffectWorker.WorkerPlatform
        const workers: Array<Send> = []
        const waiting = new Map<number, (output: unknown) => void>()
        for (let id = 0; id < threads; id++) {
          const worker: Send = yield* platform.spawn<readonly [number, unknown], readonly [number, JobName, unknown]>(
            id
          )
          yield* Effect.forkScoped(
            worker.run(([id, output]) =>
              Effect.sync(() => {
                waiting.get(id)!(output)
                waiting.delete(id)
              })
            )
          )
          workers.push(worker)
        }
        let last = 0
        return (work: Work, input: unknown) =>
          Effect.suspend(() => {
            const id = ++last
            const answer = Effect.callback<unknown>((resume) => {
              waiting.set(id, (output) => resume(Effect.succeed(output)))
            })
            const moved = movedBy(work, input)
            return Effect.andThen(workers[id % threads]!.send([id, work.job, input], moved), answer)
          })
      }),
      context
    )
  })

export const effectWorker: Candidate = {
  name: "Effect Worker",
  moves: true,
  open: (threads) =>
    Effect.map(effectWorkersIn(new URL("../workers/effectWorker.ts", import.meta.url), threads), (call) => ({
      run: overEffects(call)
    }))
}
