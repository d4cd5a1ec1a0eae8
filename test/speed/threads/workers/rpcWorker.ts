import * as NodeWorkerRunner from "@effect/platform-node/NodeWorkerRunner"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcServer from "effect/rpc/RpcServer"
import { spin, triple } from "./jobs.ts"
import { RpcJobs } from "./rpcJobs.ts"

const handlers = RpcJobs.toLayer({
  triple: (n) => Effect.sync(() => triple(n)),
  spin: (steps) => Effect.sync(() => spin(steps)),
  echo: (value) => Effect.succeed(value)
})

const server = RpcServer.layer(RpcJobs).pipe(
  Layer.provide(handlers),
  Layer.provide(RpcServer.layerProtocolWorkerRunner),
  Layer.provide(NodeWorkerRunner.layer)
)

void Effect.runFork(Layer.launch(server))
