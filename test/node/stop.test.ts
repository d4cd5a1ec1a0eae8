/**
 * How calls are told to stop, and their threads are ended: whoever says so, whenever
 * it comes, and also where the answer of a call before has not been read yet.
 */
import { afterEach, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { PoolImpl } from "../../packages/node/src/internal/pool.ts"
import * as functions from "../fixtures/functions.ts"
import { call, type Called, callWith, closePools, makePool, until } from "../support/barePool.ts"
import { blockUntil, gate, set } from "../support/gate.ts"

afterEach(closePools)

/** Holds up the main thread, so that its timers are due before it reads what came in the meantime. */
const block = (millis: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)

/** Two calls that a thread was sent at once. The first has ended and the second begun, and nobody has read of it. */
const unread = async (pool: PoolImpl, second: Parameters<typeof callWith>[2], ...args: ReadonlyArray<unknown>) => {
  const [one, two] = [gate(), gate()]
  const first = callWith(pool, { grace: 60_000 }, functions.deaf, one)
  const next = callWith(pool, { grace: 60_000 }, second, two, ...args)
  await until(() => Atomics.load(one, 0) === 1)
  set(one, 1, 1)
  blockUntil(two, 0, 1)
  return { first, next, memory: two }
}

const reasonOf = ({ answers: [exit] }: Called): unknown => {
  if (!Exit.isExit(exit) || Exit.isSuccess(exit)) return exit
  return (Cause.squash(exit.cause) as { readonly reason: unknown }).reason
}

it("a cancel that comes once more can shorten the grace of a call", async () => {
  const pool = await makePool()
  const memory = gate()
  const target = callWith(pool, { grace: 60_000 }, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  target.job.cancel(Infinity)
  target.job.cancel(0)
  await until(() => target.ends.length === 1)
  expect(target.ends).toEqual(["Killed"])
  expect(pool.counts).toMatchObject({ cancelled: 1, killed: 1 })
})

it("a cancel that comes once more makes no grace longer", async () => {
  const pool = await makePool()
  const memory = gate()
  const target = callWith(pool, { grace: 60_000 }, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  target.job.cancel(20)
  target.job.cancel(Infinity)
  await until(() => target.ends.length === 1)
  expect(target.ends).toEqual(["Killed"])
})

it("a restart ends what runs on its old threads, though nobody has read the answer of the call before", async () => {
  const pool = await makePool({ stopWithin: 200 })
  const { first, next } = await unread(pool, functions.deaf)
  void pool.restart()
  block(150)
  await until(() => next.answers.length === 1)
  expect(first.answers).toEqual(["answered"])
  expect(reasonOf(next)).toMatchObject({ _tag: "PoolStopped", started: true })
})

it("two calls of one thread that are cancelled together are both told", async () => {
  const pool = await makePool()
  const { first, next, memory } = await unread(pool, functions.cleansUp, 0)
  next.job.cancel(Infinity)
  first.job.cancel(Infinity)
  await until(() => next.ends.length === 1)
  expect([first.ends, next.ends]).toEqual([["Returned"], ["Returned"]])
  expect(Atomics.load(memory, 0)).toBe(2)
  expect(pool.counts.killed).toBe(0)
})

it("a restart tells what runs to stop while there is time for its grace, and it cleans up", async () => {
  const pool = await makePool({ stopWithin: 1000 })
  const memory = gate()
  const target = callWith(pool, { grace: 200 }, functions.cleansUp, memory, 0)
  await until(() => Atomics.load(memory, 0) === 1)
  const begin = performance.now()
  await pool.restart()
  // Of its 600 milliseconds, the last 200.
  expect(performance.now() - begin).toBeGreaterThan(390)
  expect(Atomics.load(memory, 0)).toBe(2)
  expect(reasonOf(target)).toMatchObject({ _tag: "PoolStopped", started: true })
  expect(pool.counts.killed).toBe(0)
})

it("a function that ends itself since its pool stops fails with that, and not with what it threw", async () => {
  const pool = await makePool({ grace: 60_000 })
  const memory = gate()
  const target = call(pool, functions.cleansUp, memory, 0)
  await until(() => Atomics.load(memory, 0) === 1)
  await pool.close()
  expect(reasonOf(target)).toMatchObject({ _tag: "PoolStopped", started: true })
})
