import { InvalidOption, Task, TaskScope, TimeLimit, TimeLimitExceeded } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const inScope = TaskScope.layer("app")

/** How something ended, and after how many milliseconds. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const begin = yield* Clock.currentTimeMillis
    const fiber = yield* Effect.forkChild(
      Effect.flatMap(
        Effect.result(effect),
        (result) => Effect.map(Clock.currentTimeMillis, (now) => ({ result, now }))
      ),
      { startImmediately: true }
    )
    yield* TestClock.adjust("10 seconds")
    const { now, result } = yield* Fiber.join(fiber)
    return [shown(result), now - begin]
  })

const shown = <A, E>(result: Result.Result<A, E>): unknown => {
  if (Result.isSuccess(result)) return result.success
  const error: unknown = result.failure
  return error instanceof TimeLimitExceeded ? ["timeout", error.limit, error.zone ?? "no zone"] : error
}

const sleep = (millis: number) => Effect.as(Effect.sleep(millis), "done")
const timeout = (limit: number, zone = "no zone") => ["timeout", limit, zone]

describe("a limit", () => {
  it.effect("J1: of 100 ms ends 300 ms of work after 100 ms", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* timed(TimeLimit.within(sleep(300), 100)), [timeout(100), 100])
      assert.deepStrictEqual(yield* timed(sleep(300).pipe(TimeLimit.within(100))), [timeout(100), 100])
    }))

  it.effect("lets work that ends in time be, down to the last millisecond, with its value or failure", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* timed(TimeLimit.within(sleep(99), 100)), ["done", 99])
      assert.deepStrictEqual(yield* timed(TimeLimit.within(sleep(100), 100)), ["done", 100])
      assert.deepStrictEqual(yield* timed(TimeLimit.within(Effect.succeed(1), 100)), [1, 0])
      assert.deepStrictEqual(yield* timed(TimeLimit.within(Effect.fail("no"), 100)), ["no", 0])
      assert.deepStrictEqual(yield* timed(TimeLimit.within(Effect.andThen(sleep(5), Effect.fail("no")), 100)), [
        "no",
        5
      ])
    }))

  it.effect("J2: of 200 ms that is frozen for 300 ms does not end it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* timed(TimeLimit.within(TimeLimit.freeze(sleep(300)), 200)), ["done", 300])
      const zone = sleep(300).pipe(TimeLimit.freeze("test"), TimeLimit.within(200, { zone: "test" }))
      assert.deepStrictEqual(yield* timed(zone), ["done", 300])
    }))

  it.effect("J2: counts the time before and after a freeze, and not the time in it", () =>
    Effect.gen(function*() {
      const parts = (after: number) =>
        TimeLimit.within(Effect.andThen(Effect.andThen(sleep(50), TimeLimit.freeze(sleep(300))), sleep(after)), 200)
      assert.deepStrictEqual(yield* timed(parts(149)), ["done", 499])
      assert.deepStrictEqual(yield* timed(parts(151)), [timeout(200), 500])
    }))

  it.effect("J2: stands while any of several freezes lasts, in whatever order they end", () =>
    Effect.gen(function*() {
      const overlapping = (first: number, second: number) =>
        TimeLimit.within(
          Effect.gen(function*() {
            yield* Effect.forkChild(TimeLimit.freeze(sleep(first)), { startImmediately: true })
            yield* TimeLimit.freeze(sleep(second))
            yield* sleep(150)
          }),
          100
        )
      assert.deepStrictEqual(yield* timed(overlapping(200, 50)), [undefined, 200])
      assert.deepStrictEqual(yield* timed(overlapping(50, 200)), [timeout(100), 300])
    }))

  it.effect("J3: of a zone fires, and a longer one inside, of the same or another zone, does not delay it", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* timed(TimeLimit.within(sleep(300), 100, { zone: "test" })),
        [timeout(100, "test"), 100]
      )
      for (const zone of ["test", "other"]) {
        const nested = sleep(300).pipe(TimeLimit.within(500, { zone }), TimeLimit.within(100, { zone: "test" }))
        assert.deepStrictEqual(yield* timed(nested), [timeout(100, "test"), 100])
      }
    }))

  it.effect("J4: that is due while a zone is at work does not fire when nothing comes after the zone", () =>
    Effect.gen(function*() {
      const caught = sleep(400).pipe(
        TimeLimit.within(200, { zone: "test" }),
        Effect.catchTag("TimeLimitExceeded", () => Effect.succeed("caught"))
      )
      assert.deepStrictEqual(yield* timed(TimeLimit.within(caught, 100)), ["caught", 200])
      const joined = Effect.flatMap(Effect.forkChild(caught), Fiber.join)
      assert.deepStrictEqual(yield* timed(TimeLimit.within(joined, 100)), ["caught", 200])
    }))

  it.effect("J4: that is due while a zone is at work fires after it when something does come", () =>
    Effect.gen(function*() {
      const caught = Effect.ignore(TimeLimit.within(sleep(400), 200, { zone: "test" }))
      assert.deepStrictEqual(yield* timed(TimeLimit.within(Effect.andThen(caught, sleep(300)), 100)), [
        timeout(100),
        200
      ])
    }))

  it.effect("J5: of a zone fires while another zone is frozen, and so does the one around that waits for them", () =>
    Effect.gen(function*() {
      const inZones = sleep(300).pipe(
        TimeLimit.freeze("other"),
        TimeLimit.within(200, { zone: "other" }),
        TimeLimit.within(200, { zone: "test" })
      )
      assert.deepStrictEqual(yield* timed(TimeLimit.within(inZones, 100)), [timeout(200, "test"), 200])
      const goesOn = Effect.andThen(Effect.ignore(inZones), sleep(300))
      assert.deepStrictEqual(yield* timed(TimeLimit.within(goesOn, 100)), [timeout(100), 200])
    }))

  it.effect("J5: does not wait for a zone that is at work outside of it", () =>
    Effect.gen(function*() {
      const outside = yield* Effect.forkChild(
        Effect.all([TimeLimit.freeze(sleep(500), "test"), TimeLimit.within(sleep(500), 900, { zone: "test" })], {
          concurrency: 2
        }),
        { startImmediately: true }
      )
      assert.deepStrictEqual(yield* timed(TimeLimit.within(sleep(300), 100)), [timeout(100), 100])
      yield* Fiber.interrupt(outside)
    }).pipe(Effect.provide(inScope)))

  it.effect("J6: runs again after a freeze that failed, died or was interrupted", () =>
    Effect.gen(function*() {
      for (const end of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        for (const zone of [undefined, "test"]) {
          const frozen = Effect.exit(TimeLimit.freeze(Effect.andThen(sleep(50), end), zone))
          const work = Effect.andThen(frozen, sleep(400))
          const late = zone === undefined ? 150 : 100
          assert.deepStrictEqual(yield* timed(TimeLimit.within(work, 100)), [timeout(100), late])
        }
      }
    }))

  it.effect("J6: is not held by a zone that failed", () =>
    Effect.gen(function*() {
      const failed = Effect.ignore(TimeLimit.within(Effect.fail("no"), 300, { zone: "test" }))
      assert.deepStrictEqual(yield* timed(TimeLimit.within(Effect.andThen(failed, sleep(300)), 100)), [
        timeout(100),
        100
      ])
    }))

  const inBackground = (frozen: number, body: number) =>
    TimeLimit.within(
      Effect.andThen(Task.spawn(TimeLimit.freeze(sleep(frozen), "test"), "background"), sleep(body)),
      100
    )

  it.effect("J7: does not fire while a task that was started inside of it freezes a zone", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* timed(inBackground(400, 200)), ["done", 200])
    }).pipe(Effect.provide(inScope)))

  it.effect("J7: fires when that freeze ends before its body", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* timed(inBackground(200, 300)), [timeout(100), 200])
    }).pipe(Effect.provide(inScope)))

  it.effect("J7: of a zone stands while any task of the same tree of scopes freezes that zone, also from before", () =>
    Effect.gen(function*() {
      yield* Task.spawn(TimeLimit.freeze(sleep(400), "test"), "before")
      assert.deepStrictEqual(yield* timed(TimeLimit.within(sleep(300), 100, { zone: "test" })), ["done", 300])
    }).pipe(Effect.provide(inScope)))

  it.effect("of a zone stands while a fiber beside it in the same outer limit freezes that zone", () =>
    Effect.gen(function*() {
      const work = Effect.gen(function*() {
        yield* Effect.forkChild(TimeLimit.freeze(sleep(400), "test"), { startImmediately: true })
        return yield* TimeLimit.within(sleep(300), 200, { zone: "test" })
      })
      assert.deepStrictEqual(yield* timed(TimeLimit.within(work, 100)), ["done", 300])
    }))

  it.effect("of a zone does not care for a freeze in another tree of scopes", () =>
    Effect.gen(function*() {
      const other = yield* TaskScope.make("other")
      yield* TaskScope.spawn(other, TimeLimit.freeze(sleep(400), "test"), "freezes")
      const elsewhere = TimeLimit.within(sleep(300), 100, { zone: "test" })
      assert.deepStrictEqual(yield* timed(elsewhere), [timeout(100, "test"), 100])
    }))

  it.effect("does not stand for a freeze of all limits that is beside it and not inside", () =>
    Effect.gen(function*() {
      const work = Effect.gen(function*() {
        yield* Effect.forkChild(TimeLimit.freeze(sleep(400)), { startImmediately: true })
        return yield* TimeLimit.within(sleep(300), 200)
      })
      assert.deepStrictEqual(yield* timed(TimeLimit.within(work, 100)), [timeout(200), 200])
    }))

  it.effect("that is over is not around what began inside of it, and keeps nothing of it", () =>
    Effect.gen(function*() {
      const task = yield* TimeLimit.within(
        Task.spawn(Effect.andThen(sleep(50), TimeLimit.freeze(sleep(400), "test")), "outlives"),
        10
      )
      const inside = yield* Effect.forkChild(task.join, { startImmediately: true })
      assert.deepStrictEqual(yield* timed(TimeLimit.within(sleep(300), 100)), [timeout(100), 100])
      yield* Fiber.join(inside)
    }).pipe(Effect.provide(inScope)))

  it.effect("that passes before the first wait of its body fires there, also in the midst of a thaw", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      for (const freezes of [false, true]) {
        let offset = 0n
        const hurried: Clock.Clock = {
          ...clock,
          monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + offset
        }
        const log: Array<string> = []
        const work = Effect.gen(function*() {
          offset += 200_000_000n
          if (freezes) yield* TimeLimit.freeze(Effect.void)
          log.push("first step")
          return yield* Effect.never
        }).pipe(Effect.ensuring(Effect.sync(() => log.push("cleaned up"))))
        const limited = TimeLimit.within(work, 100).pipe(Effect.provideService(Clock.Clock, hurried))
        assert.strictEqual((yield* Effect.flip(limited))._tag, "TimeLimitExceeded")
        assert.deepStrictEqual(log, ["first step", "cleaned up"])
      }
    }))

  it.effect("of zero, below zero, without end or of no sense is refused, and nothing has run", () =>
    Effect.gen(function*() {
      let ran = false
      const work = Effect.sync(() => {
        ran = true
      })
      for (const limit of [0, -5, Number.NaN, Infinity, "soon", null] as Array<never>) {
        const error = yield* Effect.flip(TimeLimit.within(work, limit))
        assert.instanceOf(error, InvalidOption)
        assert.match(error.message, /^the limit of TimeLimit\.within is /)
      }
      assert.isFalse(ran)
    }))

  it.effect("says what it was and what to do", () =>
    Effect.gen(function*() {
      const errorOf = (zone?: string) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(Effect.flip(TimeLimit.within(Effect.never, "2 seconds", { zone })))
          yield* TestClock.adjust("2 seconds")
          return yield* Fiber.join(fiber)
        })
      assert.strictEqual(
        (yield* errorOf()).message,
        "It had not ended after 2.0 s, its time limit, and was interrupted. Give it more time, or stop the clock of " +
          "the limit with TimeLimit.freeze"
      )
      assert.include((yield* errorOf("recorder")).message, "its time limit in zone \"recorder\"")
    }))
})

describe("what a limit has interrupted", () => {
  const stuck = Effect.fn("stuck")(function*() {
    return yield* Effect.uninterruptible(Effect.never)
  })

  it.effect("has run its clean-up when that waits for nothing", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const work = Effect.never.pipe(Effect.ensuring(Effect.sync(() => log.push("cleaned up"))))
      yield* timed(Effect.ensuring(TimeLimit.within(work, 100), Effect.sync(() => log.push("goes on"))))
      assert.deepStrictEqual(log, ["cleaned up", "goes on"])
    }))

  it.effect("is not waited for when it cannot be interrupted, also in an uninterruptible region", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* timed(TimeLimit.within(stuck(), 100)), [timeout(100), 100])
      const cleanUp = Effect.result(TimeLimit.within(stuck(), 100)).pipe(Effect.uninterruptible)
      assert.deepStrictEqual((yield* timed(Effect.ensuring(Effect.void, cleanUp)))[1], 100)
    }))

  it.effect("is a task of the scope until it has ended: a close waits for it, gives it up and says where it is", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "5 seconds" })
      const work = Effect.all([
        Effect.result(TimeLimit.within(Effect.never.pipe(Effect.ensuring(Effect.sleep("15 seconds"))), 100)),
        Effect.result(TimeLimit.within(stuck(), 100))
      ], { concurrency: 2 })
      const task = yield* TaskScope.spawn(scope, work, "work")
      yield* TestClock.adjust(100)
      assert.strictEqual(task.status._tag, "Ended")
      assert.deepStrictEqual((yield* TaskScope.tasks(scope)).map(({ path }) => path), [
        "app/work/(past its limit)",
        "app/work/(past its limit)#2"
      ])
      yield* TestClock.adjust("14 seconds")
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      const report = yield* Fiber.join(closing)
      assert.deepStrictEqual(report.tasks.map(({ outcome, took }) => [outcome, took]), [
        ["interrupted", 1000],
        ["abandoned", 5000]
      ])
      assert.match(report.tasks[1]?.place ?? "", /^stuck \(.*TimeLimit\.test\.ts:\d+:\d+\)$/)
    }))

  it.effect("is found in the place of the task that waits for it", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
      yield* TaskScope.spawn(scope, TimeLimit.within(stuck(), "1 hour"), "work")
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const { tasks } = yield* Fiber.join(closing)
      assert.deepStrictEqual(tasks.map(({ outcome }) => outcome), ["abandoned"])
      assert.match(tasks[0]?.place ?? "", /^stuck /)
    }))

  it.effect("is said once when it fails after that, in whatever time", () => {
    const { layer, records } = makeRecorder()
    return Effect.gen(function*() {
      const atOnce = Effect.never.pipe(Effect.ensuring(Effect.die("at once")))
      const later = Effect.never.pipe(Effect.ensuring(Effect.andThen(Effect.sleep(50), Effect.die("later"))))
      yield* timed(TimeLimit.within(atOnce, 100))
      yield* timed(TimeLimit.within(later, 100))
      const message = "What was interrupted by its time limit has failed, and nobody waits for it any more"
      assert.deepStrictEqual(linesAt(records, "Warn"), [message, message])
      assert.deepStrictEqual(records.map(({ cause }) => Cause.squash(cause)), ["at once", "later"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("by an interrupt from outside is waited for, and what its clean-up fails with is not lost", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const work = Effect.never.pipe(
        Effect.ensuring(Effect.andThen(Effect.sleep(50), Effect.sync(() => log.push("cleaned up"))))
      )
      const one = yield* Effect.forkChild(TimeLimit.within(work, 100), { startImmediately: true })
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(one), { startImmediately: true })
      yield* TestClock.adjust(49)
      assert.isUndefined(one.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(interrupting)
      assert.deepStrictEqual(log, ["cleaned up"])

      const broken = Effect.never.pipe(Effect.ensuring(Effect.die("broken")))
      const two = yield* Effect.forkChild(TimeLimit.within(broken, 100), { startImmediately: true })
      yield* Fiber.interrupt(two)
      const exit = yield* Fiber.await(two)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    }))
})

describe("a limit that is over", () => {
  it.live("is held on to by no task that began inside of it, however deep the chain", () =>
    Effect.gen(function*() {
      setFlagsFromString("--expose-gc")
      const collect = runInNewContext("gc") as () => void
      const ends: Array<WeakRef<object>> = []
      const chain = (depth: number): Effect.Effect<
        void,
        TimeLimitExceeded | Task.SpawnError,
        TaskScope.TaskScope
      > => {
        if (depth === 0) return Effect.never
        const held = { depth }
        ends.push(new WeakRef(held))
        const next = Effect.andThen(Effect.yieldNow, Effect.suspend(() => chain(depth - 1)))
        const body = Effect.tap(Task.spawn(next, "link"), () => Effect.sync(() => held.depth))
        return Effect.asVoid(TimeLimit.within(body, "1 hour"))
      }
      yield* chain(5)
      for (let i = 0; i < 20; i++) {
        yield* Effect.sleep("1 millis")
        collect()
      }
      assert.strictEqual(ends.length, 5)
      assert.deepStrictEqual(ends.filter((end) => end.deref() !== undefined), [])
    }).pipe(Effect.provide(inScope)))
})
