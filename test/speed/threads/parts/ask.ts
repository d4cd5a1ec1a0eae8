/**
 * A blocked thread asks an event loop for a value. With synckit it is the main
 * thread that is blocked, and a worker that answers.
 */
import { Blocking, TaskScope } from "@ambit/core"
import { BlockingPool, MainCalls } from "@ambit/node"
import * as Effect from "effect/Effect"
import { once } from "node:events"
import { MessageChannel, Worker } from "node:worker_threads"
import { createSyncFn } from "synckit"
import { timed } from "../measure.ts"
import { inRounds } from "../rounds.ts"
import { renderTable } from "../table.ts"
import { asks, Desk } from "../workers/ambitFunctions.ts"
import type { Part } from "./part.ts"

const count = 1000

interface Asked {
  readonly took: number
  readonly value: number
}

const prototype = Effect.gen(function*() {
  const { port1, port2 } = new MessageChannel()
  const wake = new Int32Array(new SharedArrayBuffer(4))
  const worker = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new Worker(new URL("../workers/askPrototype.ts", import.meta.url), {
        workerData: { port: port2, wake },
        transferList: [port2]
      })
    ),
    (worker) => Effect.promise(() => worker.terminate())
  )
  port1.on("message", (value: number) => {
    port1.postMessage(value + 1)
    Atomics.add(wake, 0, 1)
    Atomics.notify(wake, 0)
  })
  const loop = Effect.promise(async () => {
    worker.postMessage(count)
    const [asked] = await once(worker, "message")
    return asked as Asked
  })
  return { name: "message and futex by hand", loop }
})

const ambit = Effect.gen(function*() {
  const pool = yield* BlockingPool.make({ threads: 1 })
  const scope = yield* TaskScope.make("speed")
  const loop = Blocking.run(asks, count).pipe(
    MainCalls.offer(Desk, { next: (value: number) => Effect.succeed(value + 1) }),
    Effect.provideService(Blocking.Blocking, pool),
    Effect.provideService(TaskScope.TaskScope, scope)
  )
  return { name: "Ambit Thread.call", loop }
})

const synckit = Effect.sync(() => {
  const next = createSyncFn<(value: number) => Promise<number>>(new URL("../workers/synckit.mjs", import.meta.url))
  const loop = Effect.sync((): Asked => {
    const begin = performance.now()
    let value = 0
    for (let asked = 0; asked < count; asked++) value = next(value)
    return { took: performance.now() - begin, value }
  })
  return { name: "synckit, main thread blocked", loop }
})

export const ask: Part = {
  rounds: 15,
  run: (rounds) =>
    Effect.scoped(Effect.gen(function*() {
      const all = [yield* prototype, yield* ambit, yield* synckit]
      const rows = yield* inRounds(all, rounds, ({ loop, name }) =>
        Effect.gen(function*() {
          const { value: { took, value } } = yield* timed<Asked, unknown, never>(loop)
          if (value !== count) return yield* Effect.die(new Error(`${name}: ${value} of ${count} answers`))
          return { took: took * 1000 / count }
        }))
      return [
        renderTable(
          "A blocked thread asks an event loop, one question after the other",
          [{ title: "round trip, µs", metric: "took", digits: 1, ratio: true }],
          rows
        )
      ]
    }))
}
