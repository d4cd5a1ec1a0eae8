/**
 * Threads that say more than anybody can read: the main thread goes on with
 * everything else, nothing piles up, and nothing that was said is lost.
 */
import { Blocking } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { PoolThread } from "../../packages/node/src/internal/poolThread.ts"
import { mostUnread } from "../../packages/node/src/internal/protocol.ts"
import * as functions from "../fixtures/functions.ts"
import { makeRecorder } from "../support/recorder.ts"

const pool = Effect.provide(BlockingPool.layer({ threads: 1, grace: 50, saturation: "none" }))

/** Counts what a thread was read of in one turn of the event loop, at most. */
const watchTurns = () => {
  const { prototype } = PoolThread
  // oxlint-disable-next-line unbound-method
  const { makeRoom } = prototype
  const seen = { most: 0, turns: 0 }
  let inTurn = 0
  prototype.makeRoom = function(this: PoolThread) {
    seen.most = Math.max(seen.most, ++inTurn)
    return makeRoom.call(this)
  }
  let watching = true
  const next = (): void => {
    seen.turns++
    inTurn = 0
    if (watching) setImmediate(next)
  }
  next()
  return Effect.sync(() => {
    watching = false
    prototype.makeRoom = makeRoom
    return seen
  })
}

it.live.each(["log", "output", "progress", "post", "ask"] as const)(
  "a function that says something without end (%s) holds up neither the main thread nor its own end",
  (how) =>
    Effect.gen(function*() {
      yield* Blocking.run(functions.triple, 1)
      const seen = watchTurns()
      const begin = performance.now()
      const result = yield* Effect.timeoutOption(Blocking.run(functions.chatters, how), "200 millis")
      expect(Option.isNone(result)).toBe(true)
      // It is told, and the next call gets its turn; a post hears of it, and all others lose their thread.
      expect(yield* Blocking.run(functions.triple, 2)).toBe(6)
      expect(performance.now() - begin).toBeLessThan(3000)
      const { most, turns } = yield* seen
      expect(turns).toBeGreaterThan(20)
      expect(most).toBeLessThanOrEqual(2 * mostUnread)
      expect(yield* Effect.flatMap(Blocking.Blocking, ({ status }) => status)).toMatchObject({
        killed: how === "post" ? 0 : 1
      })
    }).pipe(pool, Effect.provide(makeRecorder().layer))
)

it.live("all that a function says arrives, however much it is", () =>
  Effect.gen(function*() {
    const recorder = makeRecorder()
    yield* Effect.provide(Blocking.run(functions.logsLines, 5000), recorder.layer)
    expect(recorder.records.map(({ message }) => message)).toEqual(
      Array.from({ length: 5000 }, (_, line) => `line ${line}`)
    )
  }).pipe(pool))

it.live("a main thread that stands still holds up what a function says for a while, and not for ever", () =>
  Effect.gen(function*() {
    const recorder = makeRecorder()
    const call = Effect.provide(Blocking.run(functions.logsLines, mostUnread + 1), recorder.layer)
    yield* Blocking.run(functions.triple, 1)
    const fiber = yield* Effect.forkChild(call, { startImmediately: true })
    yield* Effect.promise(() => Promise.resolve())
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500)
    const took = yield* Fiber.join(fiber)
    expect(took).toBeGreaterThan(900)
    expect(took).toBeLessThan(1450)
    expect(recorder.records).toHaveLength(mostUnread + 1)
  }).pipe(pool))
