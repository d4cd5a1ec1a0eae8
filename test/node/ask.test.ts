/**
 * What a thread asks for just when its call, its pool or itself comes to an end.
 * The questions lie in shared memory, so a test sees them before the pool reads of them.
 */
import type { BlockingFunction } from "@ambit/core"
import { afterEach, expect, it, vi } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { type Handler, Offers } from "../../packages/node/src/internal/offers.ts"
import type { PoolImpl } from "../../packages/node/src/internal/pool.ts"
import { PoolThread } from "../../packages/node/src/internal/poolThread.ts"
import { mostMethods, words } from "../../packages/node/src/internal/protocol.ts"
import * as asks from "../fixtures/asks.ts"
import * as functions from "../fixtures/functions.ts"
import { call, callWith, closePools, makePool, until } from "../support/barePool.ts"
import { blockUntil, gate, set } from "../support/gate.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

afterEach(async () => {
  vi.restoreAllMocks()
  await closePools()
})

interface Wakes {
  readonly wake: () => void
}

type Desk = Readonly<Record<string, Handler["effect"]>>

const offering = (desk: Desk): Context.Context<never> => {
  const handlers = Object.entries(desk).map(([method, effect]) => [method, { effect, contextFor: identity }] as const)
  return Context.make(Offers, new Map([["desk", Object.fromEntries(handlers)]]))
}

/** A call that waits for the main thread, which has not read of it. */
const asking = async (desk: Desk) => {
  const pool = await makePool({ grace: 5000, stopWithin: 10_000 })
  const log = gate()
  const target = callWith(pool, { context: offering({ add: () => Effect.succeed(42), ...desk }) }, asks.waits, log)
  // From here on nothing is read of the thread.
  blockUntil(pool["threads"][0]!["memory"], words.question, 1)
  return { log, pool, target }
}

it("what a thread had asked for when its pool stopped, and nobody had taken up, never begins", async () => {
  let begun = 0
  const { log, pool } = await asking({ forever: () => Effect.sync(() => begun++) })
  await pool.close()
  // Refused, and the clean-up as well.
  expect([...log]).toEqual([1, 2, -1, 1])
  expect(begun).toBe(0)
})

it("what a thread had asked for when its call was cancelled, and nobody had taken up, never begins; its clean-up does", async () => {
  let begun = 0
  const { log, target } = await asking({ forever: () => Effect.sync(() => begun++) })
  target.job.cancel(Infinity)
  await until(() => target.ends.length === 1)
  expect([...log]).toEqual([1, 1, 42, 1])
  expect(begun).toBe(0)
})

it("an answer that has come before the stop of the pool is not lost in it", async () => {
  const pool = await makePool({ grace: 5000 })
  const log = gate()
  const context = offering({ add: () => Effect.succeed(0), forever: () => Effect.void })
  // The thread does not wake for the answer, but for the stop that comes in the same turn.
  const threads: Wakes = PoolThread.prototype as never
  vi.spyOn(threads, "wake").mockImplementationOnce(() => void pool.close())
  const target = callWith(pool, { context }, asks.waits, log)
  await until(() => target.answers.length === 1)
  // Neither told to stop nor refused, but for the clean-up.
  expect([...log]).toEqual([1, 0, -1, 1])
})

it("an answer that comes too late for its question is none to the next one", async () => {
  const pool = await makePool({ grace: 5000 })
  const answers: Array<() => void> = []
  const held = (value: number) => () =>
    Effect.uninterruptible(Effect.callback<number>((resume) => {
      answers.push(() => resume(Effect.succeed(value)))
    }))
  const context = offering({ nested: held(1), add: held(3) })
  const target = callWith(pool, { context }, asks.asksAfterGivingUp)
  await until(() => answers.length === 2)
  const thread: Wakes = pool["threads"][0] as never
  const wake = vi.spyOn(thread, "wake").mockImplementation(() => {})
  answers[1]!()
  answers[0]!()
  wake.mockRestore()
  thread.wake()
  await until(() => target.answers.length === 1)
  expect(target.answers).toEqual([["CallTimeout", 3]])
})

it("however many methods a thread asks for, each question gets to its own", async () => {
  const pool = await makePool()
  const count = mostMethods + 10
  const handlers = Array.from({ length: count }, (_, nth): [string, Handler] => [
    `number${nth}`,
    { effect: () => Effect.succeed(nth), contextFor: identity }
  ])
  const context = Context.make(Offers, new Map([["many", Object.fromEntries(handlers)]]))
  const target = callWith(pool, { context }, asks.asksMany, count)
  await until(() => target.answers.length === 1)
  expect(target.answers).toEqual([0])
  expect(pool["threads"][0]!.methods.length).toBe(mostMethods)
})

it("a method is known on both sides or on none, also when it is asked for where the stack is at its end", async () => {
  const pool = await makePool()
  const handlers = Array.from({ length: 50 }, (_, nth): [string, Handler] => [
    `number${nth}`,
    { effect: () => Effect.succeed(nth), contextFor: identity }
  ])
  const context = Context.make(Offers, new Map([["many", Object.fromEntries(handlers)]]))
  const target = callWith(pool, { context }, asks.asksAtTheEnd, 50)
  await until(() => target.answers.length === 1)
  expect(target.answers).toEqual([0])
})

it("a thread that waits to be heard at all hears that its call is cancelled", async () => {
  const pool = await makePool({ grace: 10_000 })
  const log = gate()
  vi.spyOn(PoolThread.prototype, "makeRoom").mockReturnValue(undefined)
  const target = callWith(pool, { context: offering({ note: () => Effect.void }) }, asks.saysTooMuch, log)
  await until(() => Atomics.load(log, 0) === 1)
  target.job.cancel(Infinity)
  await until(() => Atomics.load(log, 1) !== 0)
  expect(Atomics.load(log, 1)).toBe(1)
  expect(pool.counts.killed).toBe(0)
})

it("an effect whose call is cancelled in its first step is interrupted at once", async () => {
  const pool = await makePool({ grace: 10_000 })
  const log = gate()
  const slow = () => {
    target.job.cancel(Infinity)
    return Effect.onInterrupt(Effect.never, () => Effect.sync(() => set(log, 0, 1)))
  }
  const target = callWith(pool, { context: offering({ slow }) }, asks.holdsAfterAsking, log)
  await until(() => Atomics.load(log, 0) === 1)
  // Or it would have been ended after its grace.
  await until(() => pool.status().calls.length === 0)
  expect(pool.counts.killed).toBe(0)
})

it("a thread that has asked for a task hears that it was started, though its call is cancelled in that moment", async () => {
  const pool = await makePool({ grace: 5000 })
  const log = gate()
  const target = callWith(pool, { context: offering({ forever: () => Effect.never }) }, asks.spawnsAndTells, log)
  // oxlint-disable-next-line unbound-method
  const { takeQuestion } = PoolThread.prototype
  vi.spyOn(PoolThread.prototype, "takeQuestion").mockImplementationOnce(function(this: PoolThread, open, taken) {
    const took = takeQuestion.call(this, open, taken)
    target.job.cancel(Infinity)
    // It wakes, and looks.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    return took
  })
  await until(() => target.ends.length === 1)
  expect(Atomics.load(log, 0)).toBe(1)
})

const stubborn = Effect.uninterruptible(Effect.never)

/** A call that has returned, and one of whose effects does not let itself be interrupted. */
const stubbornCall = async (pool: PoolImpl, context: Context.Context<never>) => {
  const target = callWith(pool, { context }, asks.callsSlow, 1, 20)
  await until(() => pool.counts.completed === 1)
  return target
}

it("a call whose effect cannot be interrupted is told as done, and its caller hears of it at the end of the stop at last", async () => {
  const recorder = makeRecorder()
  const pool = await makePool({ stopWithin: 300 })
  const context = await Effect.runPromise(Effect.provide(Effect.context(), recorder.layer))
  const target = await stubbornCall(pool, Context.merge(context, offering({ slow: () => stubborn })))
  expect(target.answers).toEqual([])
  expect(pool.status().calls).toMatchObject([{ function: "callsSlow", state: { _tag: "Done" } }])
  const begin = performance.now()
  await pool.close()
  expect(performance.now() - begin).toBeGreaterThan(290)
  expect(target.answers).toMatchObject([{ error: { _tag: "CallTimeout", begun: true } }])
  expect(pool.status().calls).toEqual([])
  expect(linesAt(recorder.records, "Warn")).toEqual([
    "Pool kill stopped, but desk.slow of callsSlow cannot be interrupted and still runs"
  ])
})

it("a close waits for the effects of calls that have ended", async () => {
  const pool = await makePool()
  const slow = () => Effect.onInterrupt(Effect.never, () => Effect.sleep("200 millis"))
  const target = await stubbornCall(pool, offering({ slow }))
  await pool.close()
  expect(target.answers).toHaveLength(1)
})

it("a second close waits for the first one", async () => {
  const pool = await makePool({ grace: 100 })
  const memory = gate()
  const target = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  void pool.close()
  await pool.close()
  expect(target.answers).toHaveLength(1)
})

it("a pool with next to no time for its stop has told its callers when it is closed", async () => {
  const pool = await makePool({ stopWithin: 5 })
  const memory = gate()
  const target = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  await pool.close()
  expect(target.answers).toHaveLength(1)
})

it("annotations that cannot be shown keep no call from running", async () => {
  const pool = await makePool()
  const circular: Record<string, unknown> = Object.create(null)
  circular["self"] = circular
  const annotate = Effect.annotateLogs({ circular, plain: 1 })
  const context = await Effect.runPromise(annotate(Effect.context()))
  const target = callWith(pool, { context }, functions.context)
  await until(() => target.answers.length === 1)
  expect(target.answers).toMatchObject([{
    annotations: { circular: "a value that cannot be shown", plain: 1 }
  }])
})

it("a caller that differs from the one before it in one thing alone is another one", async () => {
  const pool = await makePool()
  const one = { task: "app/one", app: "app", context: Context.empty() }
  const span = Tracer.externalSpan({ traceId: "1".repeat(32), spanId: "2".repeat(16) })
  const others: ReadonlyArray<readonly [caller: Partial<typeof one>, seen: Partial<BlockingFunction.CallInfo>]> = [
    [{ task: "app/two" }, { task: "app/two" }],
    [{ app: "other", context: Context.make(References.CurrentLogSpans, []) }, { app: "other" }],
    [{ context: Context.make(References.MinimumLogLevel, "Error") }, { minimumLogLevel: "Error" }],
    [{ context: Context.make(References.CurrentLogAnnotations, { run: 1 }) }, { annotations: { run: 1 } }],
    [{ context: Context.make(Tracer.ParentSpan, span) as Context.Context<never> }, {
      traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01`
    }]
  ]
  const plain = { task: "app/one", app: "app", minimumLogLevel: "Info", annotations: {}, traceparent: "" }
  const calls = others.flatMap(([caller]) => [one, { ...one, ...caller }])
    .map((caller) => callWith(pool, caller, functions.context))
  await until(() => calls.every(({ answers }) => answers.length === 1))
  expect(calls.map(({ answers }) => answers[0])).toMatchObject(
    others.flatMap(([, seen]) => [plain, { ...plain, ...seen }])
  )
})
