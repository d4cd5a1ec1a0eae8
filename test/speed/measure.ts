/**
 * Measures one candidate once. Only what is between two looks at the clock
 * counts: garbage is collected before, and what a task did is checked after.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Candidate, Group } from "./candidates.ts"
import { watchLoop } from "./stall.ts"
import { release, tally, type Work } from "./work.ts"

/** What one round tells about one candidate; what it cannot do is missing. */
export interface Figures {
  /** Microseconds a task, from spawn to end. */
  readonly complete: number
  /** Microseconds a task. */
  readonly park: number
  readonly bytes: number
  readonly close?: number
  /** The longest stall of the event loop during that close, in milliseconds. */
  readonly closeStall?: number
  readonly closeSleeping?: number
  readonly closeSleepingStall?: number
  /** Microseconds a task, while somebody waits for all of them. */
  readonly end?: number
  /** Microseconds from before the last end to the waiter. It happens once a round, so much of it is cold code. */
  readonly wake?: number
  /** Microseconds for a wait when there is nothing to wait for. */
  readonly idle?: number
}

export type Metric = keyof Figures

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** A full collection, and the bytes that are left. */
const heapAfterCollection = Effect.andThen(
  turn,
  Effect.sync(() => {
    globalThis.gc?.()
    return process.memoryUsage().heapUsed
  })
)

/** The microseconds that an effect takes. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const begin = performance.now()
    return Effect.map(effect, () => (performance.now() - begin) * 1000)
  })

const spawnTimed = (group: Group, work: Work, names: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    tally.ran = 0
    const took = yield* timed(group.spawn(work, names))
    if (tally.ran !== names.length) return yield* Effect.die(`${tally.ran} of ${names.length} tasks ran`)
    return took / names.length
  })

const closeTimed = (group: Group, close: Effect.Effect<unknown, unknown>, count: number) =>
  Effect.gen(function*() {
    yield* heapAfterCollection
    const loop = watchLoop()
    yield* turn
    const took = yield* timed(close)
    const stall = loop.stop()
    const left = yield* (group.left ?? Effect.succeed(0))
    if (left > 0) return yield* Effect.die(`${left} of ${count} tasks were given up`)
    return { each: took / count, stall }
  })

const completing = (candidate: Candidate, names: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const group = yield* candidate.open
    yield* heapAfterCollection
    const complete = yield* spawnTimed(group, "complete", names)
    if (group.close !== undefined) yield* group.close
    return { complete }
  })

const parking = (candidate: Candidate, names: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const group = yield* candidate.open
    const before = yield* heapAfterCollection
    const park = yield* spawnTimed(group, "park", names)
    const bytes = ((yield* heapAfterCollection) - before) / names.length
    if (group.close === undefined) return { park, bytes }
    const { each, stall } = yield* closeTimed(group, group.close, names.length)
    return { park, bytes, close: each, closeStall: stall }
  })

const sleeping = (candidate: Candidate, names: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const group = yield* candidate.open
    if (group.close === undefined) return {}
    yield* heapAfterCollection
    yield* spawnTimed(group, "sleep", names)
    const { each, stall } = yield* closeTimed(group, group.close, names.length)
    return { closeSleeping: each, closeSleepingStall: stall }
  })

const idleWaits = 1000

const manyTimes = <E>(effect: Effect.Effect<unknown, E>, times: number): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    let left = times
    return Effect.whileLoop({ while: () => left-- > 0, body: () => effect, step: () => {} })
  })

const waiting = (candidate: Candidate, names: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const group = yield* candidate.open
    if (group.idle === undefined || names.length > candidate.mostAwaited) return {}
    const idle = yield* timed(manyTimes(group.idle, idleWaits))
    yield* spawnTimed(group, "hold", names)
    yield* heapAfterCollection

    const waiter = yield* Effect.forkChild(
      Effect.map(group.idle, () => performance.now()),
      { startImmediately: true }
    )
    const begin = performance.now()
    let beforeLast = begin
    release(() => {
      beforeLast = performance.now()
    })
    const end = performance.now() - begin
    const woken = yield* Fiber.join(waiter)
    if (group.close !== undefined) yield* group.close
    return { end: end * 1000 / names.length, wake: (woken - beforeLast) * 1000, idle: idle / idleWaits }
  })

export const measure = (candidate: Candidate, names: ReadonlyArray<string>): Effect.Effect<Figures, unknown> =>
  Effect.gen(function*() {
    return {
      ...yield* completing(candidate, names),
      ...yield* parking(candidate, names),
      ...yield* sleeping(candidate, names),
      ...yield* waiting(candidate, names)
    }
  })
