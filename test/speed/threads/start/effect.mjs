import * as NodeWorkerRunner from "@effect/platform-node/NodeWorkerRunner"
import * as Effect from "effect/Effect"
import { WorkerRunnerPlatform } from "effect/workers/WorkerRunner"

const serve = Effect.gen(function*() {
  const platform = yield* WorkerRunnerPlatform
  const runner = yield* platform.start()
  return yield* runner.run((portId, [id, , n]) => runner.send(portId, [id, n * 3]))
})

void Effect.runFork(Effect.provide(serve, NodeWorkerRunner.layer))
