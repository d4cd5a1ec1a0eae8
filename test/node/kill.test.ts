/**
 * The order in which a thread is ended, held step by step. The pool is opened
 * between two steps, and the thread gets to run there for as long as it likes.
 */
import type { Blocking } from "@ambit/core"
import { afterEach, expect, it, vi } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import { PoolImpl } from "../../packages/node/src/internal/pool.ts"
import { PoolThread } from "../../packages/node/src/internal/poolThread.ts"
import * as functions from "../fixtures/functions.ts"
import { blockUntil, gate, set } from "../support/gate.ts"

const settings = {
  name: "kill",
  min: 1,
  max: 1,
  spare: false,
  capacity: 100,
  whenFull: "wait",
  grace: 20,
  idleAfter: 1000,
  stopWithin: 2000,
  resourceLimits: undefined,
  saturation: undefined,
  stalledAfter: 60_000
} as const

interface Called {
  readonly job: Blocking.Job
  readonly answers: Array<unknown>
  readonly ends: Array<Blocking.CallEnd["_tag"]>
}

const call = (pool: PoolImpl, reference: Blocking.Request["reference"], ...args: ReadonlyArray<unknown>): Called => {
  const answers: Array<unknown> = []
  const ends: Array<Blocking.CallEnd["_tag"]> = []
  const job = pool.submit({
    reference,
    args,
    options: { name: undefined, grace: undefined, timeout: undefined, transfer: [] },
    context: Context.empty(),
    task: "",
    app: "",
    progress: undefined,
    answered: (exit) => answers.push(Exit.isSuccess(exit) ? exit.value : exit),
    ended: (end) => ends.push(end._tag)
  })
  return { job, answers, ends }
}

const until = async (holds: () => boolean): Promise<void> => {
  // oxlint-disable-next-line no-await-in-loop
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

const made: Array<PoolImpl> = []

const makePool = async (): Promise<PoolImpl> => {
  const pool = new PoolImpl(settings, Context.empty(), () => {})
  made.push(pool)
  expect(await pool.start()).toBeUndefined()
  return pool
}

/** Lets a deaf call end, and its thread go on, while the pool stands still. */
const letEnd = (memory: Int32Array): void => {
  set(memory, 1, 1)
  blockUntil(memory, 3, 1)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60)
}

afterEach(async () => {
  vi.restoreAllMocks()
  await Promise.all(made.splice(0).map((pool) => pool.close()))
})

it("what lies ready on a thread is taken back before anybody looks whether the call has ended, so it cannot die with it", async () => {
  const pool = await makePool()
  const memory = gate()
  const target = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  const next = call(pool, functions.counts, memory, 2)
  // Between the look and the end of the thread, the target ends and the thread is free for the next one.
  // oxlint-disable-next-line unbound-method
  const stack = PoolThread.prototype.stack
  vi.spyOn(PoolThread.prototype, "stack").mockImplementation(function(this: PoolThread) {
    letEnd(memory)
    return stack.call(this)
  })
  target.job.cancel(Infinity)
  await until(() => next.answers.length === 1)
  expect(next.answers).toEqual([1])
  expect(Atomics.load(memory, 2)).toBe(1)
})

it("an answer that has come before the end of the grace saves its thread, though nobody has read it yet", async () => {
  const pool = await makePool()
  const memory = gate()
  const target = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  target.job.cancel(Infinity)
  // The grace runs out and the answer comes while the loop stands still; timers come first.
  letEnd(memory)
  await until(() => target.ends.length === 1)
  expect(target.ends).toEqual(["Returned"])
  expect(pool.counts.killed).toBe(0)
})

it("an answer that comes while the stack is taken is not told as a kill", async () => {
  const pool = await makePool()
  const memory = gate()
  const target = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  vi.spyOn(PoolThread.prototype, "stack").mockImplementation(() => {
    letEnd(memory)
    return Promise.resolve("at somewhere")
  })
  target.job.cancel(Infinity)
  await until(() => target.ends.length === 1)
  expect(target.ends).toEqual(["Returned"])
})

it("an answer that comes while the thread is ended is not told as a kill", async () => {
  const pool = await makePool()
  const memory = gate()
  const target = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  // oxlint-disable-next-line unbound-method
  const terminate = PoolThread.prototype.terminate
  vi.spyOn(PoolThread.prototype, "terminate").mockImplementation(function(this: PoolThread) {
    letEnd(memory)
    return terminate.call(this)
  })
  target.job.cancel(Infinity)
  await until(() => target.ends.length === 1)
  expect(target.ends).toEqual(["Returned"])
})

it("a call that has begun is never run again", async () => {
  const pool = await makePool()
  const memory = gate()
  const target = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  target.job.cancel(0)
  const next = call(pool, functions.triple, 2)
  await until(() => next.answers.length === 1 && target.ends.length === 1)
  expect(target.ends).toEqual(["Killed"])
  expect(Atomics.load(memory, 0)).toBe(1)
  expect(target.answers).toEqual([])
})

it("a slot that is used again is not mistaken for the call before it", async () => {
  const pool = await makePool()
  const memory = gate()
  const holder = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  // Each takes the slot that the one before it has left, while the thread has not looked at any of them.
  for (let round = 0; round < 200; round++) call(pool, functions.counts, memory, 2).job.cancel(Infinity)
  const other = gate()
  const last = call(pool, functions.counts, other, 3)
  set(memory, 1, 1)
  await until(() => last.answers.length === 1)
  expect(holder.answers).toEqual(["answered"])
  expect(last.answers).toEqual([1])
  expect(Atomics.load(memory, 2)).toBe(0)
})
