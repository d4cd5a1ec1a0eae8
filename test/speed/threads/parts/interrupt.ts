/**
 * A pool of one thread, in which a function runs that never ends, and a call
 * that waits behind it. The function is interrupted: how long until the call is
 * served?
 */
import { Blocking } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { piscinaIn } from "../candidates/piscina.ts"
import { tinypoolIn } from "../candidates/tinypool.ts"
import { inRounds } from "../rounds.ts"
import { renderTable } from "../table.ts"
import { forever, polling, triple } from "../workers/ambitFunctions.ts"
import type { Part } from "./part.ts"

/** One pool. */
interface Interrupted {
  /** Lets a function run that never ends; `stop` is done when whoever waited for it is free. */
  readonly begin: (begun: Int32Array) => Effect.Effect<{ readonly stop: Effect.Effect<boolean, unknown> }, unknown>
  readonly next: Effect.Effect<unknown, unknown>
}

const ambit = (options: BlockingPool.BlockingPoolOptions, endless: typeof forever | typeof polling) =>
  Effect.map(BlockingPool.make({ threads: 1, ...options }), (pool): Interrupted => ({
    begin: (begun) =>
      Blocking.run(endless as typeof forever, begun).pipe(
        Effect.provideService(Blocking.Blocking, pool),
        Effect.forkDetach({ startImmediately: true }),
        Effect.map((fiber) => ({
          stop: Effect.andThen(Fiber.interrupt(fiber), Effect.map(Fiber.await(fiber), Exit.hasInterrupts))
        }))
      ),
    next: Effect.provideService(Blocking.run(triple, 14), Blocking.Blocking, pool)
  }))

interface WithSignals {
  readonly run: (input: unknown, options: { readonly name: string; readonly signal?: AbortSignal }) => Promise<unknown>
}

const aborting = (pool: WithSignals): Interrupted => ({
  begin: (begun) =>
    Effect.sync(() => {
      const controller = new AbortController()
      const ended = pool.run(begun, { name: "forever", signal: controller.signal }).then(() => false, () => true)
      return {
        stop: Effect.promise(() => {
          controller.abort()
          return ended
        })
      }
    }),
  next: Effect.promise(() => pool.run(14, { name: "triple" }))
})

const oneThread = (filename: string) => ({
  filename: new URL(`../workers/${filename}`, import.meta.url).href,
  minThreads: 1,
  maxThreads: 1
})

const patience = 5000

const untilBegun = (begun: Int32Array) =>
  Effect.promise(async () => {
    const waited = Atomics.waitAsync(begun, 0, 0, patience)
    if (waited.async) await waited.value
  })

const measure = (name: string, pool: Interrupted) =>
  Effect.gen(function*() {
    // Whoever keeps a spare one has it by then.
    yield* Effect.sleep(150)
    const begun = new Int32Array(new SharedArrayBuffer(4))
    const { stop } = yield* pool.begin(begun)
    yield* untilBegun(begun)
    // It is compiled by then, as a loop is that has gone wrong.
    yield* Effect.sleep(20)
    const next = yield* Effect.forkDetach(Effect.map(pool.next, (value) => [value, performance.now()] as const), {
      startImmediately: true
    })
    const begin = performance.now()
    const stopped = yield* stop
    const free = performance.now() - begin
    const [value, at] = yield* Fiber.join(next)
    if (!stopped || value !== 42) {
      return yield* Effect.die(new Error(`${name}: stopped ${stopped}, next is ${String(value)}`))
    }
    return { free, served: at - begin }
  })

const quiet = { grace: 0, saturation: "none" } as const

export const interrupt: Part = {
  rounds: 11,
  run: (rounds) =>
    Effect.scoped(Effect.gen(function*() {
      const all = [
        { name: "Ambit, thread ended, spare", pool: yield* ambit({ ...quiet, spare: true }, forever) },
        { name: "Ambit, thread ended", pool: yield* ambit(quiet, forever) },
        { name: "Ambit, function polls", pool: yield* ambit({}, polling) },
        { name: "piscina, abort signal", pool: aborting(yield* piscinaIn(oneThread("piscinaJobs.ts"))) },
        { name: "tinypool, abort signal", pool: aborting(yield* tinypoolIn(oneThread("tinypoolJobs.ts"))) }
      ]
      const rows = yield* inRounds(all, rounds, ({ name, pool }) => measure(name, pool))
      return [
        renderTable(
          "From the interrupt of an endless loop until who waited for it is free, and the next call is served",
          [
            { title: "free, ms", metric: "free", digits: 2, ratio: false },
            { title: "next served, ms", metric: "served", digits: 2, ratio: false }
          ],
          rows
        )
      ]
    }))
}
