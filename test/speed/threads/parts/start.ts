/**
 * From nothing to the first result: a pool of one thread is made and called
 * once. The functions are in a TypeScript module, which Node strips of its
 * types, and in a JavaScript one.
 */
import { Blocking } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import { effectWorkersIn } from "../candidates/effectWorker.ts"
import { piscinaIn } from "../candidates/piscina.ts"
import { poolifierIn } from "../candidates/poolifier.ts"
import { tinypoolIn } from "../candidates/tinypool.ts"
import { workerpoolIn } from "../candidates/workerpool.ts"
import { timed } from "../measure.ts"
import { inRounds } from "../rounds.ts"
import * as javaScript from "../start/ambit.mjs"
import * as typeScript from "../start/ambit.ts"
import { renderTable } from "../table.ts"
import { tiny } from "../work.ts"
import type { Part } from "./part.ts"

type Ending = "ts" | "mjs"

interface Starting {
  readonly name: string
  /** Makes a pool and triples 14 in it. */
  readonly first: (ending: Ending) => Effect.Effect<unknown, unknown, Scope.Scope>
}

const moduleOf = (name: string, ending: Ending): URL => new URL(`../start/${name}.${ending}`, import.meta.url)

const oneThread = (ending: Ending) => ({
  filename: moduleOf("exported", ending).href,
  minThreads: 1,
  maxThreads: 1
})

const all: ReadonlyArray<Starting> = [
  {
    name: "raw worker.postMessage",
    first: (ending) =>
      Effect.acquireRelease(
        Effect.sync(() => new Worker(moduleOf("raw", ending))),
        (worker) => Effect.promise(() => worker.terminate())
      ).pipe(Effect.flatMap((worker) =>
        Effect.promise(async () => {
          worker.postMessage(14)
          const [value] = await once(worker, "message")
          return value
        })
      ))
  },
  {
    name: "Ambit Blocking.run",
    first: (ending) => {
      const { triple } = ending === "ts" ? typeScript : javaScript
      return Effect.flatMap(
        BlockingPool.make({ threads: 1 }),
        (pool) => Effect.provideService(Blocking.run(triple, 14), Blocking.Blocking, pool)
      )
    }
  },
  {
    name: "piscina",
    first: (ending) =>
      Effect.flatMap(piscinaIn(oneThread(ending)), (pool) => Effect.promise(() => pool.run(14, { name: "triple" })))
  },
  {
    name: "tinypool",
    first: (ending) =>
      Effect.flatMap(tinypoolIn(oneThread(ending)), (pool) => Effect.promise(() => pool.run(14, { name: "triple" })))
  },
  {
    name: "workerpool",
    first: (ending) =>
      Effect.flatMap(
        workerpoolIn(moduleOf("workerpool", ending), 1),
        (pool) => Effect.promise(() => Promise.resolve(pool.exec("triple", [14])))
      )
  },
  {
    name: "poolifier, fixed",
    first: (ending) =>
      Effect.flatMap(
        poolifierIn(moduleOf("poolifier", ending), 1),
        (pool) => Effect.promise(() => pool.execute(14, "triple"))
      )
  },
  {
    name: "Effect Worker",
    first: (ending) => Effect.flatMap(effectWorkersIn(moduleOf("effect", ending), 1), (call) => call(tiny, 14))
  }
]

const firstTimed = ({ first, name }: Starting, ending: Ending) =>
  Effect.scoped(Effect.gen(function*() {
    const { took, value } = yield* timed(first(ending))
    if (value !== 42) return yield* Effect.die(new Error(`${name}: the first result is ${String(value)}`))
    return took
  }))

export const start: Part = {
  rounds: 11,
  run: (rounds) =>
    Effect.gen(function*() {
      const rows = yield* inRounds(all, rounds, (starting) =>
        Effect.gen(function*() {
          return { ts: yield* firstTimed(starting, "ts"), mjs: yield* firstTimed(starting, "mjs") }
        }))
      return [
        renderTable(
          "A new pool of one thread, until its first result",
          [
            { title: "functions in .ts, ms", metric: "ts", digits: 1, ratio: true },
            { title: "in .mjs, ms", metric: "mjs", digits: 1, ratio: true }
          ],
          rows
        )
      ]
    })
}
