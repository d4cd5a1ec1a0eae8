/**
 * Threads that end by themselves, that do not get to their calls, or that cannot be
 * made: what that means for calls which had no part in it.
 */
import { afterEach, expect, it, vi } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { FunctionTable } from "../../packages/node/src/internal/functionTable.ts"
import type { PoolImpl } from "../../packages/node/src/internal/pool.ts"
import { PoolThread } from "../../packages/node/src/internal/poolThread.ts"
import { mostUnread, words } from "../../packages/node/src/internal/protocol.ts"
import * as functions from "../fixtures/functions.ts"
import { dies } from "../fixtures/modules/dies.ts"
import { hangs } from "../fixtures/modules/hangs.ts"
import { holdsUp } from "../fixtures/modules/holdsUp.ts"
import { poison } from "../fixtures/modules/poison.ts"
import { spins } from "../fixtures/modules/spins.ts"
import { call, type Called, callWith, closePools, makePool, until } from "../support/barePool.ts"
import { blockUntil, gate, set } from "../support/gate.ts"

afterEach(async () => {
  vi.restoreAllMocks()
  await closePools()
})

const reasonOf = ({ answers: [exit] }: Called): unknown => {
  if (!Exit.isExit(exit) || Exit.isSuccess(exit)) return exit
  return (Cause.squash(exit.cause) as { readonly reason: unknown }).reason
}

const answered = (...calls: ReadonlyArray<Called>) => until(() => calls.every(({ answers }) => answers.length === 1))

/** Its thread has loaded what most calls need. */
const warm = async (pool: PoolImpl) => {
  await answered(call(pool, functions.triple, 1))
  pool["threads"][0]!["average"] = 0.01
}

it("a call that waits behind others which end their threads runs", async () => {
  const pool = await makePool()
  await warm(pool)
  const bad = [1, 2, 3, 4].map((code) => call(pool, functions.exits, code))
  const good = call(pool, functions.triple, 2)
  await answered(good, ...bad)
  expect(good.answers).toEqual([6])
  expect(bad.map(reasonOf)).toMatchObject([1, 2, 3, 4].map((exitCode) => ({ exitCode, started: true })))
})

it("of the calls that a thread was sent, the one whose module ends it fails after three threads, and says that it has not run", async () => {
  const pool = await makePool()
  await warm(pool)
  const calls = [functions.triple, dies, functions.triple, functions.triple].map((reference) =>
    call(pool, reference, 2)
  )
  await answered(...calls)
  expect(calls.map(({ answers: [value] }) => value)).toEqual([6, expect.anything(), 6, 6])
  expect(reasonOf(calls[1]!)).toMatchObject({ _tag: "ThreadDied", exitCode: 7, started: false })
  expect((reasonOf(calls[1]!) as Error).message).toContain("ended before it began dies of")
})

it("a module that ends its threads late hurts no call after those that were there", async () => {
  const pool = await makePool()
  await warm(pool)
  await answered(call(pool, poison))
  await until(() => pool.counts.died === 1)
  // Longer than the module would let a thread live.
  const good = call(pool, functions.later, 300)
  await answered(good)
  expect(good.answers).toEqual(["after 300"])
  expect(pool.counts.died).toBe(1)
})

it("a thread that is held up by a module which never loads is ended, whatever was asked of it before", async () => {
  const pool = await makePool()
  await warm(pool)
  const memory = gate()
  const first = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  const second = call(pool, spins)
  const third = call(pool, functions.triple, 1)
  third.job.cancel(Infinity)
  // The time for a sign is over while the thread still runs the first.
  const begin = performance.now()
  await until(() => performance.now() - begin > 150)
  set(memory, 1, 1)
  await answered(first)
  second.job.cancel(Infinity)
  const next = call(pool, functions.triple, 2)
  await answered(next)
  expect(next.answers).toEqual([6])
})

it("a thread that was sent a module which never loads before it was ready is ended, too", async () => {
  const pool = await makePool({ min: 0, max: 1 })
  void pool.restart()
  const stuck = call(pool, spins)
  stuck.job.cancel(Infinity)
  const next = call(pool, functions.triple, 2)
  await answered(next)
  expect(next.answers).toEqual([6])
})

it("a call that is cancelled while its module loads costs no thread, and later ones find it loaded", async () => {
  const pool = await makePool({ signWithin: 5000 })
  call(pool, holdsUp).job.cancel(0)
  await answered(call(pool, holdsUp))
  expect(pool.counts).toMatchObject({ killed: 0, cancelled: 1 })
})

it("a call that is cancelled while its module waits for something holds up nobody", async () => {
  const pool = await makePool({ signWithin: 60_000 })
  const stuck = call(pool, hangs)
  const next = call(pool, functions.triple, 2)
  stuck.job.cancel(0)
  await answered(next)
  expect(next.answers).toEqual([6])
  expect(pool.counts.killed).toBe(0)
})

it("a call that begins just before the thread is ended, since it gave no sign, keeps it", async () => {
  const pool = await makePool()
  const [timer, memory] = [gate(), gate()]
  await answered(call(pool, functions.blocksLater, timer))
  await until(() => Atomics.load(timer, 0) === 1)
  call(pool, functions.triple, 1).job.cancel(Infinity)
  const target = call(pool, functions.deaf, memory)
  // oxlint-disable-next-line unbound-method
  const { revokeAll } = PoolThread.prototype
  vi.spyOn(PoolThread.prototype, "revokeAll").mockImplementationOnce(function(this: PoolThread) {
    set(timer, 1, 1)
    blockUntil(memory, 0, 1)
    return revokeAll.call(this)
  })
  await until(() => Atomics.load(memory, 0) === 1)
  set(memory, 1, 1)
  await answered(target)
  expect(target.answers).toEqual(["answered"])
  expect(pool.counts.killed).toBe(0)
})

it("what a call has moved to a thread is there when the pool restarts", async () => {
  const pool = await makePool()
  await warm(pool)
  const bytes = new Uint8Array(1000)
  const moved = callWith(pool, { transfer: [bytes.buffer] }, functions.sizeOf, bytes)
  await pool.restart()
  await answered(moved)
  expect(moved.answers).toEqual([1000])
})

it("a call that has not begun when a restart tells calls to stop never begins, and costs no thread", async () => {
  const pool = await makePool({ stopWithin: 300 })
  await warm(pool)
  const bytes = new Uint8Array(1000)
  const moved = callWith(pool, { transfer: [bytes.buffer] }, hangs, bytes)
  await pool.restart()
  expect(reasonOf(moved)).toMatchObject({ _tag: "PoolStopped", started: false })
  expect(pool.counts).toMatchObject({ killed: 0, died: 0 })
  expect(pool.status()).toMatchObject({ threads: 1, busy: 0 })
})

it("a new thread loads what has run before, and not what could not be loaded", async () => {
  const pool = await makePool()
  await warm(pool)
  const gone = { module: `${functions.triple.module}.gone`, name: "gone" } as typeof functions.triple
  const missing = { ...functions.triple, name: "missing" }
  const calls = [call(pool, gone), call(pool, missing)]
  await answered(...calls)
  expect(calls.map(reasonOf)).toMatchObject([{ _tag: "ModuleFailed" }, { _tag: "FunctionMissing" }])
  await pool.restart()
  const { defined, functions: table } = pool["threads"][0]! as unknown as {
    readonly defined: ReadonlySet<number>
    readonly functions: FunctionTable
  }
  expect([...defined].map((id) => table.all[id]!.name)).toEqual(["triple"])
})

it("a call whose thread ends before it began, with what it moved there, says so", async () => {
  const pool = await makePool()
  const [timer, bytes] = [gate(), new Uint8Array(1000)]
  await answered(call(pool, functions.blocksLater, timer))
  await until(() => Atomics.load(timer, 0) === 1)
  const moved = callWith(pool, { transfer: [bytes.buffer] }, functions.sizeOf, bytes)
  void pool["threads"][0]!["worker"].terminate()
  await answered(moved)
  expect(reasonOf(moved)).toMatchObject({ _tag: "ThreadDied", started: false })
  expect((reasonOf(moved) as Error).message).toContain("what it moved to the thread is lost")
})

it("a pool that cannot make a thread fails the calls that wait for one, and tries again for the next", async () => {
  const pool = await makePool({ min: 0, max: 1 })
  await pool.restart()
  const start = vi.spyOn(pool as unknown as { startThread: () => PoolThread }, "startThread")
  start.mockImplementation(() => {
    throw new Error("no more threads")
  })
  const none = call(pool, functions.triple, 1)
  expect(reasonOf(none)).toMatchObject({ _tag: "ThreadDied", started: false, error: { message: "no more threads" } })
  start.mockRestore()
  const next = call(pool, functions.triple, 2)
  await answered(next)
  expect(next.answers).toEqual([6])
})

/** Deeper than the main thread can read, and than a thread with a stack of a megabyte. Others can send it. */
const tooDeep = 6000
const tooDeepForThread = 2800

it("a result that is nested too deep to be read fails its call, and no other one", async () => {
  const pool = await makePool()
  await warm(pool)
  const calls = [
    call(pool, functions.triple, 1),
    call(pool, functions.nested, tooDeep),
    call(pool, functions.later, 1),
    call(pool, functions.nested, tooDeep),
    call(pool, functions.triple, 2)
  ]
  await answered(...calls)
  expect(calls.map(({ answers: [value] }) => value)).toEqual([3, expect.anything(), "after 1", expect.anything(), 6])
  for (const bad of [calls[1]!, calls[3]!]) {
    expect(reasonOf(bad)).toMatchObject({ _tag: "NotCloneable", value: "result", function: "nested" })
  }
  expect(pool.status()).toMatchObject({ busy: 0, killed: 0, died: 0 })
})

it("a result that cannot be read harms nothing either when it is read with others in one turn", async () => {
  const pool = await makePool()
  await warm(pool)
  const memory = gate()
  const calls = [
    call(pool, functions.triple, 1),
    call(pool, functions.nested, tooDeep),
    call(pool, functions.triple, 2),
    call(pool, functions.opensGate, memory)
  ]
  await Promise.resolve()
  blockUntil(memory, 0, 1)
  await answered(...calls)
  expect(calls.map(({ answers: [value] }) => value)).toEqual([3, expect.anything(), 6, undefined])
  expect(reasonOf(calls[1]!)).toMatchObject({ _tag: "NotCloneable", value: "result" })
})

it("a line of the log that cannot be read fails no call", async () => {
  const pool = await makePool()
  await warm(pool)
  const calls = [call(pool, functions.logsNested, tooDeep, 1), call(pool, functions.triple, 1)]
  await answered(...calls)
  await answered(call(pool, functions.triple, 1))
  expect(calls.map(({ answers }) => answers)).toEqual([["logged"], [3]])
})

it("what cannot be read takes no room from what comes later, however many of it lie before one look", async () => {
  const pool = await makePool()
  await warm(pool)
  const memory = gate()
  const bad = call(pool, functions.logsNested, tooDeep, mostUnread - 1)
  const good = call(pool, functions.opensGate, memory)
  await Promise.resolve()
  blockUntil(memory, 0, 1)
  await answered(bad, good)
  expect([bad.answers, good.answers]).toEqual([["logged"], [undefined]])
  const shared: Int32Array = pool["threads"][0]!["memory"]
  await until(() => Atomics.load(shared, words.unread) === 0)
})

it("arguments that a thread cannot read fail their call, and do not let it wait for ever", async () => {
  const pool = await makePool({ resourceLimits: { stackSizeMb: 1 } })
  await answered(call(pool, functions.echo, 1))
  const bad = call(pool, functions.echo, functions.nest(tooDeepForThread))
  const good = call(pool, functions.triple, 1)
  await answered(bad, good)
  expect(reasonOf(bad)).toMatchObject({ _tag: "ThreadDied", started: false })
  expect(good.answers).toEqual([3])
})
