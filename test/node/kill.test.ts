/**
 * The order in which a thread is ended, held step by step. The pool is opened
 * between two steps, and the thread gets to run there for as long as it likes.
 */
import { afterEach, expect, it, vi } from "@effect/vitest"
import { PoolThread } from "../../packages/node/src/internal/poolThread.ts"
import * as functions from "../fixtures/functions.ts"
import { call, callThen, closePools, makePool, settings, until } from "../support/barePool.ts"
import { blockUntil, gate, set } from "../support/gate.ts"

/** A pool of one thread, which runs a call that does not hear that it is cancelled. */
const running = async (grace: number = settings.grace) => {
  const pool = await makePool({ grace })
  const memory = gate()
  const target = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  return { memory, pool, target }
}

/** Lets a deaf call end, and its thread go on, while the pool stands still, and the grace of the call runs out. */
const letEnd = (memory: Int32Array): void => {
  set(memory, 1, 1)
  // A thread that wrongly begins with its next call never says so.
  blockUntil(memory, 3, 1, 2000)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60)
}

afterEach(async () => {
  vi.restoreAllMocks()
  await closePools()
})

it("what lies ready on a thread is taken back before anybody looks whether the call has ended, so it cannot die with it", async () => {
  const { memory, pool, target } = await running()
  const nextMemory = gate()
  const next = call(pool, functions.deaf, nextMemory)
  // Between the look and the end of the thread, the target ends, and the thread would begin with the next one.
  vi.spyOn(PoolThread.prototype, "stack").mockImplementation(() => {
    letEnd(memory)
    return Promise.resolve(undefined)
  })
  const terminate = vi.spyOn(PoolThread.prototype, "terminate")
  target.job.cancel(Infinity)
  await until(() => terminate.mock.results.length === 1)
  await terminate.mock.results[0]?.value
  await until(() => Atomics.load(nextMemory, 0) === 1)
  set(nextMemory, 1, 1)
  await until(() => next.answers.length === 1)
  expect(next.answers).toEqual(["answered"])
  expect(Atomics.load(nextMemory, 0)).toBe(1)
})

it("whoever cancels again can take the grace away, and what has had its end stays as it is", async () => {
  const { pool, target } = await running(60_000)
  target.job.cancel(Infinity)
  target.job.cancel(50_000)
  expect(target.job.state()._tag).toBe("Running")
  for (let times = 0; times < 3; times++) target.job.cancel(0)
  await until(() => target.ends.length === 1)
  target.job.cancel(0)
  const next = call(pool, functions.triple, 2)
  await until(() => next.answers.length === 1)
  expect(target.ends).toEqual(["Killed"])
  expect(next.answers).toEqual([6])
  expect(pool.counts).toMatchObject({ cancelled: 1, killed: 1 })
})

it("an answer that has come before the end of the grace saves its thread, though nobody has read it yet", async () => {
  const { memory, pool, target } = await running()
  const look = vi.spyOn(PoolThread.prototype, "look").mockImplementation(() => {})
  target.job.cancel(Infinity)
  await until(() => look.mock.calls.length === 1)
  // The grace runs out and the answer comes while the loop stands still; timers come first.
  letEnd(memory)
  await until(() => target.ends.length === 1)
  expect(target.ends).toEqual(["Returned"])
  expect(pool.counts.killed).toBe(0)
})

it("a thread that is to go and has answered before the end of the grace goes, though nobody has read it yet", async () => {
  const { memory, pool, target } = await running()
  const begin = performance.now()
  const restarting = pool.restart()
  const look = vi.spyOn(PoolThread.prototype, "look").mockImplementation(() => {})
  target.job.cancel(Infinity)
  await until(() => look.mock.calls.length === 1)
  letEnd(memory)
  await restarting
  expect(performance.now() - begin).toBeLessThan(settings.stopWithin / 2)
  expect(target.ends).toEqual(["Returned"])
})

it("an answer that has come is not lost with a thread that cannot be ended", async () => {
  const { memory, target } = await running()
  vi.spyOn(PoolThread.prototype, "stack").mockImplementation(() => {
    letEnd(memory)
    return Promise.resolve(undefined)
  })
  // oxlint-disable-next-line unbound-method
  const terminate = PoolThread.prototype.terminate
  vi.spyOn(PoolThread.prototype, "terminate").mockImplementationOnce(async function(this: PoolThread) {
    void terminate.call(this)
    return false
  })
  target.job.cancel(Infinity)
  await until(() => target.ends.length === 1)
  expect(target.ends).toEqual(["Returned"])
})

it("an answer that comes while the stack is taken is not told as a kill", async () => {
  const { memory, target } = await running()
  vi.spyOn(PoolThread.prototype, "stack").mockImplementation(() => {
    letEnd(memory)
    return Promise.resolve("at somewhere")
  })
  target.job.cancel(Infinity)
  await until(() => target.ends.length === 1)
  expect(target.ends).toEqual(["Returned"])
})

it("an answer that comes while the thread is ended is not told as a kill", async () => {
  const { memory, target } = await running()
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
  const { memory, pool, target } = await running()
  target.job.cancel(0)
  const next = call(pool, functions.triple, 2)
  await until(() => next.answers.length === 1 && target.ends.length === 1)
  expect(target.ends).toEqual(["Killed"])
  expect(Atomics.load(memory, 0)).toBe(1)
  expect(target.answers).toEqual([])
})

it("a thread that has nothing to do takes over what lies ready on one that is busy", async () => {
  const pool = await makePool({ min: 2, max: 2 })
  const [one, two] = [gate(), gate()]
  const held = [call(pool, functions.deaf, one), call(pool, functions.deaf, two)]
  await until(() => Atomics.load(one, 0) === 1 && Atomics.load(two, 0) === 1)
  const ready = [1, 2, 3, 4].map((n) => call(pool, functions.triple, n))
  set(two, 1, 1)
  await until(() => ready.every(({ answers }) => answers.length === 1))
  expect(held[0]!.answers).toEqual([])
  set(one, 1, 1)
  await until(() => held[0]!.answers.length === 1)
})

it("a thread is sent calls ahead again, however long one of them took before", async () => {
  const pool = await makePool()
  // The calls take as long as the test says, however busy the machine is.
  let time = performance.now()
  vi.spyOn(performance, "now").mockImplementation(() => time)
  const slow = call(pool, functions.triple, 1)
  time += 30
  await until(() => slow.answers.length === 1)
  // One call at a time, each made as soon as the one before it has its answer.
  let rounds = 0
  const again = (): void => {
    time += 0.05
    if (++rounds < 40) callThen(pool, again, functions.triple, rounds)
  }
  again()
  await until(() => rounds === 40)
  const memory = gate()
  const holder = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  const send = vi.spyOn(PoolThread.prototype, "send")
  const ready = [1, 2, 3].map((n) => call(pool, functions.triple, n))
  expect(send.mock.calls.length).toBeGreaterThan(1)
  set(memory, 1, 1)
  await until(() => ready.every(({ answers }) => answers.length === 1) && holder.answers.length === 1)
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

it("a restart hands waiting calls to the new threads in the order in which they were made", async () => {
  const pool = await makePool({ min: 2, max: 2 })
  // Calls have been quick, so the next ones are sent ahead to the threads.
  for (let n = 0; n < 400; n++) call(pool, functions.triple, n)
  await until(() => pool.status().completed === 400)
  const holders = [gate(), gate()]
  for (const memory of holders) call(pool, functions.deaf, memory)
  await until(() => holders.every((memory) => Atomics.load(memory, 0) === 1))
  const waiting = [1, 2, 3, 4, 5, 6]
  const calls = waiting.map((n) => call(pool, functions.echo, n))
  const send = vi.spyOn(PoolThread.prototype, "send")
  const restarting = pool.restart()
  expect(send.mock.calls.map(([job]) => job.request.args[0])).toEqual(waiting)
  send.mockRestore()
  for (const memory of holders) set(memory, 1, 1)
  await restarting
  await until(() => calls.every(({ answers }) => answers.length === 1))
})
