import * as NodeWorker from "@effect/platform-node/NodeWorker"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import { Worker } from "node:worker_threads"
import { RpcJobs } from "../workers/rpcJobs.ts"
import type { Candidate } from "./candidate.ts"
import { overEffects } from "./loops.ts"

const candidate = (name: string, concurrency: number): Candidate => ({
  name,
  moves: false,
  open: (threads) =>
    Effect.gen(function*() {
      const protocol = RpcClient.layerProtocolWorker({ size: threads, concurrency }).pipe(
        Layer.provide(NodeWorker.layer(() => new Worker(new URL("../workers/rpcWorker.ts", import.meta.url))))
      )
      const client = yield* Effect.provideContext(RpcClient.make(RpcJobs), yield* Layer.build(protocol))
      return {
        run: overEffects(({ job }, input) => {
          if (job === "move") return Effect.die("nothing moves here")
          return client[job](input as never)
        })
      }
    })
})

export const effectRpc = candidate("Effect RpcClient", 1)

export const effectRpcBest = candidate("Effect RpcClient, 1000 calls a thread", 1000)
