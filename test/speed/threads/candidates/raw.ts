/**
 * `worker_threads` without a library: what everything is built on.
 */
import * as Effect from "effect/Effect"
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads"
import type { JobName } from "../workers/jobs.ts"
import type { Candidate } from "./candidate.ts"
import { overCallbacks } from "./loops.ts"

interface Line {
  readonly post: (message: unknown, moved: Array<ArrayBuffer>) => void
  readonly worker: Worker
}

type Receive = (message: readonly [number, unknown]) => void

const onWorker = (receive: Receive): Line => {
  const worker = new Worker(new URL("../workers/rawWorker.ts", import.meta.url))
  worker.on("message", receive)
  return { worker, post: (message, moved) => worker.postMessage(message, moved) }
}

const drain = (port: MessagePort, receive: Receive): void => {
  for (let more = receiveMessageOnPort(port); more !== undefined; more = receiveMessageOnPort(port)) {
    receive(more.message)
  }
}

const onPort = (receive: Receive): Line => {
  const { port1, port2 } = new MessageChannel()
  const worker = new Worker(new URL("../workers/rawPort.ts", import.meta.url), {
    workerData: { port: port2 },
    transferList: [port2]
  })
  port1.on("message", (message) => {
    receive(message)
    drain(port1, receive)
  })
  return { worker, post: (message, moved) => port1.postMessage(message, moved) }
}

const raw = (name: string, connect: (receive: Receive) => Line): Candidate => ({
  name,
  moves: true,
  open: (threads) =>
    Effect.gen(function*() {
      const waiting = new Map<number, (output: unknown) => void>()
      const receive: Receive = ([id, output]) => {
        const done = waiting.get(id)!
        waiting.delete(id)
        done(output)
      }
      const lines = yield* Effect.acquireRelease(
        Effect.sync(() => Array.from({ length: threads }, () => connect(receive))),
        (lines) => Effect.promise(() => Promise.all(lines.map(({ worker }) => worker.terminate())))
      )
      let last = 0
      const send = (job: JobName, input: unknown, moved: Array<ArrayBuffer>, done: (output: unknown) => void) => {
        const id = ++last
        waiting.set(id, done)
        lines[id % threads]!.post([id, job, input], moved)
      }
      return { run: overCallbacks(send) }
    })
})

export const rawWorker = raw("raw worker.postMessage", onWorker)

export const rawPort = raw("raw port, drained", onPort)
