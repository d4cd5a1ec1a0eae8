import * as NodeWorkerRunner from "@effect/platform-node/NodeWorkerRunner"
import * as Effect from "effect/Effect"
import { WorkerRunnerPlatform } from "effect/workers/WorkerRunner"
import { type JobName, runJob } from "./jobs.ts"

const serve = Effect.gen(function*() {
  const platform = yield* WorkerRunnerPlatform
  const runner = yield* platform.start<readonly [number, unknown], readonly [number, JobName, unknown]>()
  return yield* runner.run((portId, [id, job, input]) =>
    Effect.suspend(() => {
      const output = runJob(job, input)
      return runner.send(portId, [id, output], job === "move" ? [output] : undefined)
    })
  )
})

void Effect.runFork(Effect.provide(serve, NodeWorkerRunner.layer))
