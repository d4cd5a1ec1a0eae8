/**
 * What happens when a pool is in the middle of something: a caller goes on in
 * the very call that answers it, and may cancel, call and close.
 */
import { Blocking, TaskScope } from "@ambit/core"
import { BlockingPool, MainCalls } from "@ambit/node"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as asks from "../fixtures/asks.ts"
import * as functions from "../fixtures/functions.ts"
import { dies } from "../fixtures/modules/dies.ts"
import { hangs } from "../fixtures/modules/hangs.ts"
import { eventually } from "../support/eventually.ts"
import { gate, reaches } from "../support/gate.ts"

const pool = (options?: BlockingPool.BlockingPoolOptions) =>
  Effect.provide(BlockingPool.layer({ threads: 1, saturation: "none", ...options }))

const status = Effect.flatMap(Blocking.Blocking, (pool) => pool.status)

/** Waits until a scope has no task any more. */
const isEmpty = (scope: TaskScope.TaskScope) =>
  eventually(Effect.map(TaskScope.tasks(scope), (tasks) => tasks.length === 0))

it.live("calls that are cancelled because the thread of another one died never run", () =>
  Effect.gen(function*() {
    const memory = gate()
    const group = Effect.all(
      [Blocking.run(functions.exits, 1), ...[1, 2, 3].map((word) => Blocking.run(functions.counts, memory, word))],
      { concurrency: "unbounded" }
    )
    // Calls have been quick, so all of these lie ready on the thread.
    yield* Effect.forEach([...Array(200).keys()], (n) => Blocking.run(functions.triple, n), { concurrency: 64 })
    expect(Exit.isFailure(yield* Effect.exit(group))).toBe(true)
    yield* Effect.forEach([1, 2, 3], (n) => Blocking.run(functions.triple, n))
    expect([...memory]).toEqual([0, 0, 0, 0])
    expect(yield* status).toMatchObject({ queued: 0, busy: 0, threads: 1 })
  }).pipe(pool()))

it.live("a close whose first answer cancels the others leaves no task behind", () =>
  Effect.gen(function*() {
    const scope = yield* TaskScope.make("app", { stopWithin: "4 seconds" })
    const owner = yield* Scope.make()
    const pool = yield* Scope.provide(BlockingPool.make({ threads: 1, grace: 50, saturation: "none" }), owner)
    const group = Effect.forEach([1, 2, 3, 4, 5], () => Blocking.run(functions.block, 300), { concurrency: 5 })
    yield* TaskScope.spawn(scope, Effect.provideService(group, Blocking.Blocking, pool), "group", {
      onFailure: "ignore"
    })
    yield* eventually(Effect.map(pool.status, ({ busy }) => busy === 1))
    yield* Scope.close(owner, Exit.void)
    yield* isEmpty(scope)
    expect(yield* pool.status).toMatchObject({ queued: 0, calls: [] })
    expect((yield* TaskScope.close(scope)).took).toBeLessThan(1000)
  }).pipe(Effect.scoped))

it.live("a module that never loads costs its caller a timeout, and nobody else the thread", () =>
  Effect.gen(function*() {
    const late = Blocking.run(hangs).pipe(Blocking.withOptions({ timeout: "200 millis", grace: 0 }), Effect.flip)
    expect(yield* late).toMatchObject({ reason: { _tag: "TimedOut" } })
    expect(yield* Blocking.run(functions.triple, 2)).toBe(6)
  }).pipe(pool()))

it.live("a module that ends its threads fails its call after some of them, and hurts no other", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Blocking.run(dies))
    expect(error.reason).toMatchObject({ _tag: "ThreadDied", exitCode: 7 })
    expect(yield* Blocking.run(functions.triple, 2)).toBe(6)
    const { died } = yield* status
    yield* Effect.sleep("200 millis")
    expect((yield* status).died).toBe(died)
  }).pipe(pool({ threads: 2 })))

it.live("a close in the middle of a restart waits for what runs on the old threads, and a closed pool starts none", () =>
  Effect.gen(function*() {
    const memory = gate()
    const owner = yield* Scope.make()
    const pool = yield* Scope.provide(BlockingPool.make({ threads: 1, grace: 50, saturation: "none" }), owner)
    const call = Effect.provideService(Blocking.run(functions.hold, memory), Blocking.Blocking, pool)
    const fiber = yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
    yield* reaches(memory, 0, 1)
    yield* Effect.forkChild(pool.restart, { startImmediately: true })
    yield* Scope.close(owner, Exit.void)
    expect(fiber.pollUnsafe()).toBeDefined()
    expect(Exit.isFailure(yield* Fiber.join(fiber))).toBe(true)
    yield* pool.restart
    expect(yield* pool.status).toMatchObject({ threads: 0, calls: [] })
  }))

it.effect("a call that has returned while its effect still cleans up leaves no task behind when it times out", () =>
  Effect.gen(function*() {
    const scope = yield* TaskScope.make("app", { stopWithin: "4 seconds" })
    const cleanUp = yield* Latch.make()
    const offer = MainCalls.offer(asks.Desk, {
      add: () => Effect.succeed(0),
      slow: () => Effect.onInterrupt(Effect.never, () => cleanUp.await),
      fail: () => Effect.fail("no"),
      nested: () => Effect.succeed(0),
      note: () => Effect.void,
      forever: () => Effect.never
    })
    const call = Blocking.run(asks.callsSlow, 1, 20).pipe(Blocking.withOptions({ timeout: "400 millis" }))
    // The thread is there, and has loaded the module.
    yield* offer(Blocking.run(asks.adds, 1, 2))
    const caller = yield* TaskScope.spawn(scope, offer(Effect.flip(call)), "caller")
    yield* eventually(Effect.map(status, ({ completed }) => completed === 2))
    yield* TestClock.adjust("400 millis")
    expect(yield* caller.join).toMatchObject({ reason: { _tag: "TimedOut", state: "ended" } })
    yield* cleanUp.open
    yield* isEmpty(scope)
    expect((yield* TaskScope.close(scope)).clean).toBe(true)
  }).pipe(Effect.scoped, pool()))
