/**
 * What a pool says of itself, also while it stops: every call once, and what is
 * said to run, runs.
 */
import { Blocking } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { afterEach, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import type { PoolImpl } from "../../packages/node/src/internal/pool.ts"
import * as functions from "../fixtures/functions.ts"
import { closePools, makePool, until } from "../support/barePool.ts"
import { gate, reaches, set } from "../support/gate.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

afterEach(closePools)

const call = (pool: PoolImpl, reference: Blocking.Request["reference"], ...args: ReadonlyArray<unknown>) =>
  pool.submit({
    reference,
    args,
    options: { name: undefined, grace: undefined, timeout: undefined, transfer: [] },
    context: Context.empty(),
    task: "",
    app: "",
    progress: undefined,
    answered: () => {},
    ended: () => {}
  })

const statesOf = ({ calls }: Blocking.PoolStatus) => calls.map(({ state }) => state)

it("a thread that loads what it is sent is not busy yet, and its call is queued", async () => {
  const pool = await makePool({ min: 0, max: 2 })
  const memory = gate()
  call(pool, functions.deaf, memory)
  expect(pool.status()).toMatchObject({ threads: 1, busy: 0, queued: 1 })
  await until(() => Atomics.load(memory, 0) === 1)
  expect(pool.status()).toMatchObject({ threads: 1, busy: 1, queued: 0 })
  set(memory, 1, 1)
  await until(() => pool.status().completed === 1)
  expect(pool.status()).toMatchObject({ threads: 1, busy: 0, queued: 0 })
})

it("a pool that stops or restarts counts what runs on its old threads, once", async () => {
  const pool = await makePool({ grace: 5000 })
  const [first, second] = [gate(), gate()]
  call(pool, functions.deaf, first)
  await until(() => Atomics.load(first, 0) === 1)
  const restarting = pool.restart()
  expect(pool.status()).toMatchObject({ threads: 2, busy: 1, queued: 0 })
  call(pool, functions.deaf, second)
  await until(() => Atomics.load(second, 0) === 1)
  expect(pool.status()).toMatchObject({ threads: 2, busy: 2 })
  const closing = pool.close()
  expect(pool.status()).toMatchObject({ threads: 2, busy: 2, queued: 0 })
  expect(statesOf(pool.status())).toEqual([
    { _tag: "Running", thread: "kill-1" },
    { _tag: "Running", thread: "kill-2" }
  ])
  set(first, 1, 1)
  set(second, 1, 1)
  await closing
  await restarting
  expect(pool.status()).toMatchObject({ threads: 0, busy: 0, calls: [], completed: 2, killed: 0 })
})

it("a call of a thread that is being ended is told until it is over, and not longer", async () => {
  const pool = await makePool()
  const memory = gate()
  const job = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  job.cancel(0)
  expect(pool.status()).toMatchObject({ threads: 1, busy: 0, killed: 1 })
  expect(statesOf(pool.status())).toEqual([{ _tag: "Running", thread: "kill-1" }])
  await until(() => job.state()._tag === "Done")
  expect(pool.status()).toMatchObject({ threads: 1, busy: 0, calls: [] })
})

const read = (name: string) =>
  Effect.map(Metric.snapshot, (all) => {
    const state = all.find((metric) => metric.id === name)?.state
    return state !== undefined && "value" in state ? state.value : undefined
  })

it.live("a pool has its metrics until it has stopped, and warns of no saturation while it does", () =>
  Effect.gen(function*() {
    const recorder = makeRecorder()
    yield* Effect.gen(function*() {
      const memory = gate()
      const owner = yield* Scope.make()
      const options = { name: "metered", threads: 2, grace: "5 seconds", saturation: { every: "10 millis" } } as const
      const pool = yield* Scope.provide(BlockingPool.make(options), owner)
      const held = Effect.provideService(Blocking.run(functions.deaf, memory), Blocking.Blocking, pool)
      yield* Effect.forEach([1, 2], () => Effect.forkDetach(held, { startImmediately: true }))
      yield* reaches(memory, 0, 2)
      // Before, it may well have been saturated.
      recorder.records.length = 0
      const closing = yield* Effect.forkDetach(Scope.close(owner, Exit.void), { startImmediately: true })
      yield* Effect.sleep("300 millis")
      expect(yield* read("ambit_blocking_busy_threads")).toBe(2)
      set(memory, 1, 1)
      yield* Effect.promise(() => new Promise((resolve) => closing.addObserver(resolve)))
      expect(yield* read("ambit_blocking_busy_threads")).toBeUndefined()
    }).pipe(Effect.provide(recorder.layer))
    expect(linesAt(recorder.records, "Warn")).toEqual([])
  }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
