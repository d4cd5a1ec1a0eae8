/**
 * What Ambit does not wrap, for Effect does it: limited concurrency and waiting for several. The guide shows these very
 * lines (docs/guide/time.md).
 */
import { TimeLimit } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"

/** Work that knows how much of it runs at once. */
const makeWork = () => {
  const seen = { now: 0, most: 0, ended: 0 }
  const work = (n: number) =>
    Effect.gen(function*() {
      seen.most = Math.max(seen.most, ++seen.now)
      yield* Effect.sleep((5 - n) * 100)
      return n * 10
    }).pipe(Effect.ensuring(Effect.sync(() => {
      seen.now--
      seen.ended++
    })))
  return { seen, work }
}

const soon = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* TestClock.adjust("10 seconds")
    return yield* Fiber.join(fiber)
  })

describe("limited concurrency", () => {
  it.effect("I1: runs no more than the limit at once, and the results are in the order of the input", () =>
    Effect.gen(function*() {
      const { seen, work } = makeWork()
      assert.deepStrictEqual(yield* soon(Effect.forEach([1, 2, 3, 4], work, { concurrency: 2 })), [10, 20, 30, 40])
      assert.strictEqual(seen.most, 2)
    }))

  it.effect("I2: with collected errors completes all others, and the error stands in its place", () =>
    Effect.gen(function*() {
      const { work } = makeWork()
      const some = (n: number) => n === 2 ? Effect.fail("no") : work(n)
      const results = yield* soon(
        Effect.forEach([1, 2, 3, 4], (n) => Effect.result(some(n)), { concurrency: 2 })
      )
      assert.deepStrictEqual(results, [
        Result.succeed(10),
        Result.fail("no"),
        Result.succeed(30),
        Result.succeed(40)
      ])
    }))

  const Concurrency = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

  it.effect("I3: of zero, below zero, or no number fails at once where it is read, and nothing has run", () =>
    Effect.gen(function*() {
      const { seen, work } = makeWork()
      const copyAll = (limit: unknown) =>
        Schema.decodeUnknownEffect(Concurrency)(limit).pipe(
          Effect.flatMap((concurrency) => Effect.forEach([1, 2, 3, 4], work, { concurrency }))
        )
      for (const limit of [0, -1, Number.NaN, 1.5, Infinity, "2", undefined]) {
        assert.strictEqual((yield* Effect.flip(copyAll(limit)))._tag, "SchemaError")
      }
      assert.deepStrictEqual(seen, { now: 0, most: 0, ended: 0 })
      assert.strictEqual((yield* soon(copyAll(2))).length, 4)
    }))

  it.effect("I3: by itself, Effect takes zero, below zero and no number for one at a time", () =>
    Effect.gen(function*() {
      for (const concurrency of [0, -1, Number.NaN]) {
        const { seen, work } = makeWork()
        yield* soon(Effect.forEach([1, 2, 3, 4], work, { concurrency }))
        assert.deepStrictEqual([concurrency, seen.most], [concurrency, 1])
      }
    }))
})

describe("waiting for several", () => {
  it.effect("stops the others when one fails, and goes on when they have ended", () =>
    Effect.gen(function*() {
      const { seen, work } = makeWork()
      const all = Effect.all([work(1), work(2), Effect.delay(Effect.fail("no"), 150)], { concurrency: "unbounded" })
      assert.strictEqual(yield* soon(Effect.flip(all)), "no")
      assert.deepStrictEqual(seen, { now: 0, most: 2, ended: 2 })
    }))

  it.effect("with a limit stops all when it has passed", () =>
    Effect.gen(function*() {
      const { seen, work } = makeWork()
      const all = Effect.all([work(1), work(2)], { concurrency: "unbounded" }).pipe(TimeLimit.within("100 millis"))
      assert.strictEqual((yield* soon(Effect.flip(all)))._tag, "TimeLimitExceeded")
      assert.deepStrictEqual(seen, { now: 0, most: 2, ended: 2 })
    }))
})
