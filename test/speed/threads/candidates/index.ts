import { ambit, ambitWithoutTask } from "./ambit.ts"
import type { Candidate } from "./candidate.ts"
import { effectRpc, effectRpcBest } from "./effectRpc.ts"
import { effectWorker } from "./effectWorker.ts"
import { piscina, piscinaBest } from "./piscina.ts"
import { poolifier, poolifierQueue } from "./poolifier.ts"
import { rawPort, rawWorker } from "./raw.ts"
import { tinypool, tinypoolBest } from "./tinypool.ts"
import { workerpool } from "./workerpool.ts"

/** What the others are compared with. */
export const base = rawWorker

export const candidates: ReadonlyArray<Candidate> = [
  rawWorker,
  rawPort,
  ambit,
  ambitWithoutTask,
  piscina,
  piscinaBest,
  tinypool,
  tinypoolBest,
  workerpool,
  poolifier,
  poolifierQueue,
  effectWorker,
  effectRpc,
  effectRpcBest
]
