/**
 * Answers that need no frame: they arrive as they were given, in the order in
 * which they were given, and whatever becomes of their thread.
 */
import { Blocking } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { expect, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as v8 from "node:v8"
import { CallImpl } from "../../packages/core/src/internal/calls.ts"
import { PoolJob } from "../../packages/node/src/internal/job.ts"
import { slotCount, words } from "../../packages/node/src/internal/protocol.ts"
import { endTransfer, keepTransfer, transferOf } from "../../packages/node/src/internal/transfer.ts"
import * as functions from "../fixtures/functions.ts"
import { callThen, closePools, makePool, until } from "../support/barePool.ts"
import { blockUntil, gate, set } from "../support/gate.ts"
import { makeRecorder } from "../support/recorder.ts"

const pool = Effect.provide(BlockingPool.layer({ threads: 1, grace: 50, saturation: "none" }))

it.live("what a call returns arrives as it was", () =>
  Effect.gen(function*() {
    const values = [0, -0, 1.5, -1, 2 ** 53, Infinity, NaN, true, false, null, undefined, "", "text", 10n, { a: 1 }]
    const arrived = yield* Effect.forEach(values, (value) => Blocking.run(functions.echo, value), {
      concurrency: "unbounded"
    })
    for (const [index, value] of values.entries()) {
      if (typeof value === "object") expect(arrived[index]).toEqual(value)
      else expect(Object.is(arrived[index], value), String(value)).toBe(true)
    }
  }).pipe(pool))

/** Keeps the main thread busy, as those do who have waited for an answer. */
const work = (millis: number): void => {
  for (const begin = performance.now(); performance.now() - begin < millis;);
}

/** Has the pool learn that calls are quick, so that many are sent ahead. */
const warmUp = Effect.all(Array.from({ length: 5000 }, () => Blocking.run(functions.triple, 1)), {
  concurrency: 500,
  discard: true
})

const kinds = [
  Blocking.run(functions.triple, 1),
  Blocking.run(functions.echo, { plain: "data" }),
  Blocking.run(functions.triple, 2),
  Effect.exit(Blocking.run(functions.throwsError)),
  Blocking.run(functions.logsLines, 1),
  Blocking.run(functions.later, 1),
  Blocking.run(functions.triple, 3)
]

it.live("answers come in the order in which the calls ran, whether a call has sent something or not", () =>
  Effect.gen(function*() {
    yield* warmUp
    const order: Array<number> = []
    const calls = Array.from({ length: 140 }, (_, index) =>
      Effect.map(kinds[index % kinds.length]!, () => {
        work(0.5)
        order.push(index)
      }))
    yield* Effect.all(calls, { concurrency: "unbounded" })
    expect(order).toEqual(calls.map((_, index) => index))
  }).pipe(pool, Effect.provide(makeRecorder().layer)))

/** Counts what happens in one turn of the event loop, at most. */
const perTurn = () => {
  let inTurn = 0
  const turn = (): void => {
    inTurn = 0
    immediate = setImmediate(turn)
  }
  let immediate = setImmediate(turn)
  const seen = {
    most: 0,
    count: () => {
      seen.most = Math.max(seen.most, ++inTurn)
    },
    stop: () => clearImmediate(immediate)
  }
  return seen
}

it.live("answers that somebody takes long with leave the event loop its turns, and all of them come", () =>
  Effect.gen(function*() {
    yield* warmUp
    const answers = perTurn()
    const call = Effect.map(Blocking.run(functions.triple, 1), () => {
      work(1)
      answers.count()
    })
    yield* Effect.all(Array.from({ length: slotCount }, () => call), { concurrency: "unbounded" })
    answers.stop()
    expect(answers.most).toBeLessThan(slotCount)
  }).pipe(pool))

it("so do answers that come a few at a time, each few while the turn goes on", async () => {
  const bare = await makePool()
  const thread = bare["threads"][0]!
  const [groups, each] = [6, 10]
  const memory = gate()
  let opened = 0
  // Each group answers when the one before it is read, before the turn ends.
  const { drained } = bare
  vi.spyOn(bare, "drained").mockImplementation((of) => {
    drained(of)
    if (opened === groups) return
    set(memory, 0, ++opened)
    blockUntil(memory, 1, opened * each)
    blockUntil(thread["memory"], words.news, 1)
  })
  const answers = perTurn()
  // So quick that all are sent at once.
  thread["average"] = 1e-4
  const calls = Array.from({ length: groups * each }, (_, nth) =>
    callThen(
      bare,
      () => {
        work(1)
        answers.count()
      },
      functions.inGroup,
      memory,
      Math.floor(nth / each) + 1
    ))
  set(memory, 0, ++opened)
  await until(() => calls.every(({ answers }) => answers.length === 1))
  answers.stop()
  expect(answers.most).toBeLessThan(40)
  await closePools()
})

it.live("an answer that is there when its thread ends is not lost", () =>
  Effect.gen(function*() {
    yield* Blocking.run(functions.triple, 1)
    for (let round = 0; round < 20; round++) {
      const [answered, exited] = yield* Effect.all([
        Effect.exit(Blocking.run(functions.triple, round)),
        Effect.exit(Blocking.run(functions.exits, 1))
      ], { concurrency: "unbounded" })
      expect(answered).toEqual(Exit.succeed(3 * round))
      expect(Exit.isFailure(exited)).toBe(true)
    }
  }).pipe(pool))

it.live("one of each object of a call is always left, so that the code compiled for them is kept", () =>
  Effect.gen(function*() {
    yield* Blocking.run(functions.triple, 1)
    expect(v8.queryObjects(PoolJob, { format: "count" })).toBeGreaterThan(0)
    expect(v8.queryObjects(CallImpl, { format: "count" })).toBeGreaterThan(0)
  }).pipe(pool))

it("what moves with a value is known as long as the value lives, also after other calls", () => {
  const [one, other] = [{}, {}]
  const { port1, port2 } = new MessageChannel()
  keepTransfer(one, [port1])
  keepTransfer(other, [port2])
  expect(transferOf(one)).toEqual([port1])
  expect(transferOf(other)).toEqual([port2])
  endTransfer(undefined)
  expect(transferOf(other)).toEqual([port2])
  expect(transferOf({})).toBe(undefined)
  port1.close()
})

it("what has moved with its value is not held any longer", () => {
  const value = {}
  const { port1, port2 } = new MessageChannel()
  keepTransfer(value, [port1])
  endTransfer(value)
  expect(transferOf(value)).toBe(undefined)
  port2.close()
})
