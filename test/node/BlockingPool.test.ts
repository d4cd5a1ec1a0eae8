import { Blocking, BlockingFunction, Limits, Task, TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { describe, expect, it, layer, vi } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { availableParallelism } from "node:os"
import { PoolImpl } from "../../packages/node/src/internal/pool.ts"
import { settingsOf } from "../../packages/node/src/internal/settings.ts"
import * as functions from "../fixtures/functions.ts"
import { holdsUp } from "../fixtures/modules/holdsUp.ts"
import { NoDisk, throwsNoDisk } from "../fixtures/modules/tagged.ts"
import * as twice from "../fixtures/modules/twice.ts"
import { eventually } from "../support/eventually.ts"
import { blockUntil, gate, reaches, set } from "../support/gate.ts"
import { nativeCall } from "../support/nativeCall.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const reasonOf = <A, E, R>(effect: Effect.Effect<A, E | Blocking.BlockingError, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    if (!(error instanceof Blocking.BlockingError)) throw error
    return error.reason
  })

const status = Effect.flatMap(Blocking.Blocking, (pool) => pool.status)

/** Waits until the pool is in a state. */
const becomes = (expected: Partial<Blocking.PoolStatus>) =>
  eventually(Effect.map(
    status,
    (now) => Object.entries(expected).every(([key, value]) => now[key as keyof Blocking.PoolStatus] === value)
  ))

/** Runs something with a pool of its own, and then looks at what was logged. */
const withPool = <A, E>(
  options: BlockingPool.BlockingPoolOptions,
  effect: Effect.Effect<A, E, Blocking.Blocking>
) => watchingPool(options, () => effect)

/** The same for what looks at the warnings while it runs. */
const watchingPool = <A, E>(
  options: BlockingPool.BlockingPoolOptions,
  effect: (warnings: () => ReadonlyArray<string>) => Effect.Effect<A, E, Blocking.Blocking>
) =>
  Effect.suspend(() => {
    const { layer, records } = makeRecorder()
    const warnings = () => linesAt(records, "Warn")
    return Effect.map(
      effect(warnings).pipe(Effect.provide(BlockingPool.layer(options)), Effect.provide(layer)),
      (value) => ({ value, warnings: warnings(), records })
    )
  })

const started = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** Calls that hold two threads until they are let go. */
const holdingBoth = Effect.gen(function*() {
  const memory = gate()
  const holders = [
    yield* started(Blocking.run(functions.hold, memory)),
    yield* started(Blocking.run(functions.hold, memory))
  ]
  yield* reaches(memory, 0, 2)
  const letGo = Effect.suspend(() => {
    set(memory, 1, 1)
    return Effect.forEach(holders, Fiber.join, { discard: true })
  })
  return { letGo, memory }
})

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const begin = performance.now()
    return Effect.map(effect, (value) => ({ value, took: performance.now() - begin }))
  })

layer(BlockingPool.layer({ threads: 2, grace: "100 millis" }), { excludeTestServices: true })(
  "a blocking function",
  (it) => {
    it.effect("C1: leaves the event loop free", () =>
      Effect.gen(function*() {
        const memory = gate()
        const fiber = yield* started(Blocking.run(functions.hold, memory))
        yield* reaches(memory, 0, 1)
        for (let ticks = 0; ticks < 10; ticks++) yield* Effect.sleep("10 millis")
        expect(fiber.pollUnsafe()).toBeUndefined()
        set(memory, 1, 1)
        expect(yield* Fiber.join(fiber)).toBe("let go")
      }))

    it.effect("C2: gives its result, synchronous or not, with imports and constants of its module", () =>
      Effect.gen(function*() {
        expect(yield* Blocking.run(functions.triple, 14)).toBe(42)
        expect(yield* Blocking.run(functions.later, 5)).toBe("after 5")
        expect(yield* Blocking.run(functions.sha256, "")).toMatch(/^e3b0c442/)
        expect(yield* Blocking.run(functions.where)).toMatchObject({ isMainThread: false })
      }))

    it.effect("C3: that throws fails the call with message, name, stack, fields and cause", () =>
      Effect.gen(function*() {
        const reason = yield* reasonOf(Blocking.run(functions.throwsError))
        expect(reason).toBeInstanceOf(Blocking.FunctionThrew)
        const { error } = reason as Blocking.FunctionThrew
        expect(error).toBeInstanceOf(RangeError)
        expect(error).toMatchObject({ name: "RangeError", message: "too far", code: "E_FAR", at: { x: 1 } })
        expect((error as Error).stack).toContain("functions.ts")
        expect((error as Error).cause).toBeInstanceOf(TypeError)
        expect((error as Error).cause).toMatchObject({ message: "not a number" })
      }))

    it.effect("that throws no error at all fails the call with what it threw", () =>
      Effect.gen(function*() {
        expect(yield* reasonOf(Blocking.run(functions.throwsText))).toMatchObject({
          _tag: "FunctionThrew",
          error: "just text"
        })
      }))

    it.effect("that throws what cannot be cloned still says what it can", () =>
      Effect.gen(function*() {
        const reason = yield* reasonOf(Blocking.run(functions.throwsStrange))
        expect((reason as Blocking.FunctionThrew).error).toMatchObject({ message: "strange", f: "() => 1" })
      }))

    it.effect("M5: that throws a timeout of its own is told to have thrown it", () =>
      Effect.gen(function*() {
        const reason = yield* reasonOf(Blocking.run(functions.throwsTimeout))
        expect(reason._tag).toBe("FunctionThrew")
        expect(reason.message).toContain("throwsTimeout")
        expect(reason.message).toContain("threw TimeoutError: the disk took too long")
      }))

    it.effect("gives its tagged errors their class", () =>
      Effect.gen(function*() {
        class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { path: Schema.String }) {}
        class Other extends Schema.TaggedError<Other>()("Other", { path: Schema.String }) {}
        const error = yield* Effect.flip(
          Blocking.run(functions.throwsTagged, "a.txt").pipe(Blocking.throws([Other, NotFound]))
        )
        expect(error).toBeInstanceOf(NotFound)
        expect(error).toMatchObject({ path: "a.txt" })
        const other = yield* Effect.flip(Blocking.run(functions.throwsTagged, "a.txt").pipe(Blocking.throws([Other])))
        expect(other).toBeInstanceOf(Blocking.BlockingError)
      }))

    it.effect("whose arguments or result cannot be cloned fails with a reason that names them", () =>
      Effect.gen(function*() {
        const there = yield* reasonOf(Blocking.run(functions.echo, () => 1))
        expect(there).toMatchObject({ _tag: "NotCloneable", value: "arguments", function: "echo" })
        const back = yield* reasonOf(Blocking.run(functions.returnsFunction))
        expect(back).toMatchObject({ _tag: "NotCloneable", value: "result", function: "returnsFunction" })
      }))

    it.effect("of a module that does not load fails with a reason that names module and function", () =>
      Effect.gen(function*() {
        const nowhere = BlockingFunction.make({ url: "file:///nowhere/functions.ts" }, "f", () => 1)
        expect(yield* reasonOf(Blocking.run(nowhere))).toMatchObject({
          _tag: "ModuleFailed",
          module: "file:///nowhere/functions.ts",
          function: "f"
        })
      }))

    it.effect("whose name its module has given to another one as well never runs, nor does the other one", () =>
      Effect.gen(function*() {
        const reasons = [yield* reasonOf(Blocking.run(twice.first)), yield* reasonOf(Blocking.run(twice.second))]
        for (const reason of reasons) {
          expect(reason._tag).toBe("ModuleFailed")
          expect(reason.message).toContain("declares a function of this name already")
        }
      }))

    it.effect("that its module does not declare fails with what the module does declare", () =>
      Effect.gen(function*() {
        const missing = BlockingFunction.make({ url: functions.triple.module }, "nothing", () => 1)
        const reason = yield* reasonOf(Blocking.run(missing))
        expect(reason).toMatchObject({ _tag: "FunctionMissing", function: "nothing" })
        expect((reason as Blocking.FunctionMissing).declared).toContain("triple")
      }))

    it.effect("C10: changes nothing that the caller has", () =>
      Effect.gen(function*() {
        const counter = { n: 1 }
        expect(yield* Blocking.run(functions.mutates, counter)).toBe(2)
        expect(counter).toEqual({ n: 1 })
      }))

    it.effect("shares no object with a call that was made with the same one", () =>
      Effect.gen(function*() {
        const counter = { n: 1 }
        const calls = Effect.forEach([1, 2, 3, 4], () => Blocking.run(functions.mutates, counter), { concurrency: 4 })
        expect(yield* calls).toEqual([2, 2, 2, 2])
      }))

    it.effect("gets buffers moved, and moves them back", () =>
      Effect.gen(function*() {
        const bytes = new Uint8Array(1000)
        const size = Blocking.run(functions.sizeOf, bytes).pipe(Blocking.withOptions({ transfer: [bytes.buffer] }))
        expect(yield* size).toBe(1000)
        expect(bytes.length).toBe(0)
        expect(yield* Blocking.run(functions.zeros, 500)).toHaveLength(500)
      }))

    it.effect("C11, C12: frees its fiber at once when it is interrupted, and its thread within the grace", () =>
      Effect.gen(function*() {
        const { killed } = yield* status
        const fibers = [
          yield* started(Blocking.run(functions.forever)),
          yield* started(Blocking.run(functions.forever))
        ]
        yield* becomes({ busy: 2 })
        const { took } = yield* timed(Fiber.interruptAll(fibers))
        expect(took).toBeLessThan(500)
        const next = yield* timed(Blocking.run(functions.triple, 1))
        expect(next.value).toBe(3)
        expect(next.took).toBeLessThan(5000)
        yield* becomes({ killed: killed + 2 })
      }))

    it.effect("sees in a loop that it is cancelled, and then its thread goes on", () =>
      Effect.gen(function*() {
        const before = (yield* status).killed
        const call = Blocking.run(functions.untilCancelled).pipe(Blocking.withOptions({ grace: "20 seconds" }))
        const fiber = yield* started(call)
        yield* becomes({ busy: 1 })
        yield* Fiber.interrupt(fiber)
        yield* becomes({ busy: 0 })
        expect(yield* status).toMatchObject({ killed: before, threads: 2 })
      }))

    it.effect("that was cancelled before it began never begins", () =>
      Effect.gen(function*() {
        const { letGo, memory } = yield* holdingBoth
        const waiting = yield* started(Blocking.run(functions.counts, memory, 2))
        yield* Fiber.interrupt(waiting)
        yield* letGo
        yield* Blocking.run(functions.triple, 1)
        yield* Blocking.run(functions.triple, 1)
        expect(Atomics.load(memory, 2)).toBe(0)
      }))

    it.effect("C21: whose thread exits or throws where nobody catches fails, and later calls run on a new thread", () =>
      Effect.gen(function*() {
        expect(yield* reasonOf(Blocking.run(functions.exits, 3))).toMatchObject({ _tag: "ThreadDied", exitCode: 3 })
        const late = yield* reasonOf(Blocking.run(functions.throwsLate))
        expect(late).toMatchObject({ _tag: "ThreadDied", error: { message: "nobody catches this" } })
        expect(yield* Blocking.run(functions.triple, 2)).toBe(6)
      }))

    it.effect("M1, M3: that takes longer than its limit fails with a reason of its own, and says whether a thread is busy", () =>
      Effect.gen(function*() {
        const { took, value } = yield* timed(
          reasonOf(Blocking.run(functions.block, 4000).pipe(Blocking.withOptions({ timeout: "500 millis" })))
        )
        expect(value).toMatchObject({ _tag: "TimedOut", within: 500, state: "running" })
        expect(value.message).toContain("a thread is still busy with it")
        expect(took).toBeLessThan(2000)
      }))

    it.effect("M3: whose limit is over before it began says that it never will", () =>
      Effect.gen(function*() {
        const { letGo, memory } = yield* holdingBoth
        const reason = yield* reasonOf(
          Blocking.run(functions.counts, memory, 2).pipe(Blocking.withOptions({ timeout: "30 millis" }))
        )
        expect(reason).toMatchObject({ _tag: "TimedOut", state: "queued" })
        expect(reason.message).toContain("it had not begun and never will")
        yield* letGo
        yield* Blocking.run(functions.triple, 1)
        expect(Atomics.load(memory, 2)).toBe(0)
      }))

    it.effect("M3: that has ended in the moment in which its limit is over is not told to be busy", () =>
      Effect.gen(function*() {
        const memory = gate()
        const begin = performance.now()
        const fiber = yield* started(
          reasonOf(Blocking.run(functions.deaf, memory).pipe(Blocking.withOptions({ timeout: "500 millis" })))
        )
        yield* reaches(memory, 0, 1)
        // In a turn after which the timers come first. The answer comes while the loop stands still.
        yield* Effect.yieldNow
        set(memory, 1, 1)
        blockUntil(memory, 3, 1)
        Atomics.wait(memory, 2, 0, 550 - (performance.now() - begin))
        const reason = yield* Fiber.join(fiber)
        expect(reason).toMatchObject({ _tag: "TimedOut", state: "ended" })
        expect(reason.message).toContain("its function had ended")
        expect((yield* status).calls).toEqual([])
      }))

    it.effect("M2: takes the limit nearest to the call, and none when that says so", () =>
      Effect.gen(function*() {
        const value = yield* Blocking.run(functions.block, 60).pipe(
          Blocking.withOptions({ timeout: "none" }),
          Blocking.withOptions({ timeout: "10 millis" })
        )
        expect(value).toBe(60)
      }))

    it.effect("is refused when it is no blocking function", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Blocking.run((() => 1) as never))
        expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({ _tag: "InvalidOption" })
      }))

    it.effect("C4, C9: knows task, app, annotations, level and trace of its caller", () =>
      Effect.gen(function*() {
        const info = yield* TaskScope.use("sensor", () => Blocking.run(functions.context)).pipe(
          Effect.annotateLogs({ run: "17" }),
          Effect.withSpan("reading")
        )
        expect(info).toMatchObject({
          pool: "blocking",
          task: "sensor/(body)",
          function: "context",
          minimumLogLevel: "Info"
        })
        expect(info.annotations).toMatchObject({ run: "17" })
        expect(info.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
      }))

    it.effect("knows its own caller, whoever has called before and after it", () =>
      Effect.gen(function*() {
        // Of all kinds, in an order in which neighbours differ in one thing, in some, or in nothing but the task.
        const calls = Array.from({ length: 120 }, (_, nth) => {
          const [run, level] = [nth % 3, nth % 4 === 0 ? "Error" as const : "Info" as const]
          const value = nth % 2 === 0 ? nth : { nth }
          const plain = Effect.provideService(
            Blocking.run(functions.contextWith, value),
            References.MinimumLogLevel,
            level
          )
          const annotated = run === 0 ? plain : Effect.annotateLogs(plain, { run })
          const traced = nth % 5 === 0 ? Effect.withSpan(annotated, "reading") : annotated
          return Effect.gen(function*() {
            const task = yield* Task.spawn(traced, `task${nth % 7}`)
            const { annotations, minimumLogLevel, task: path, traceparent } = yield* task.join
            const seen = { path, run: annotations["run"] ?? 0, level: minimumLogLevel, traced: traceparent !== "" }
            expect(seen).toEqual({ path: task.path, run, level, traced: nth % 5 === 0 })
          })
        })
        yield* TaskScope.use("sensor", () => Effect.all(calls, { concurrency: "unbounded" }))
      }))
  }
)

it.live("a function that throws an error of Effect gives it all of its fields, also those that every error has", () =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(Blocking.run(throwsNoDisk, "sda").pipe(Blocking.throws([NoDisk])))
    expect(error).toBeInstanceOf(NoDisk)
    expect(error).toMatchObject({ message: "the disk is gone", name: "sda", cause: { message: "no such device" } })
  }).pipe(Effect.provide(BlockingPool.layer({ threads: 1 }))))

describe("a pool", () => {
  it.live("C5, C6: that nobody provides, or that is not there yet, is named in the error", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Blocking.run(functions.triple, 1) as Effect.Effect<number>)
      expect(Exit.isFailure(exit) && String(Cause.squash(exit.cause))).toContain("BlockingPool.layer")
    }))

  it.live("C7: that has stopped refuses calls with a reason", () =>
    Effect.gen(function*() {
      const pool = yield* Effect.scoped(BlockingPool.make({ threads: 1 }))
      const reason = yield* reasonOf(Effect.provideService(Blocking.run(functions.triple, 1), Blocking.Blocking, pool))
      expect(reason).toMatchObject({ _tag: "PoolStopped", started: false })
    }))

  it.live("C8, L1, L4: of n lets the call n + 1 wait until one has ended", () =>
    withPool(
      { threads: 2 },
      Effect.gen(function*() {
        const { letGo } = yield* holdingBoth
        const third = yield* started(Blocking.run(functions.triple, 3))
        yield* Effect.sleep("30 millis")
        expect(third.pollUnsafe()).toBeUndefined()
        expect(yield* status).toMatchObject({ busy: 2, queued: 1 })
        yield* letGo
        expect(yield* Fiber.join(third)).toBe(9)
      })
    ))

  it.live("L2: has a place again after a call that threw", () =>
    withPool(
      { threads: 1 },
      Effect.gen(function*() {
        yield* Effect.flip(Blocking.run(functions.throwsError))
        expect(yield* status).toMatchObject({ busy: 0, failed: 1 })
        expect(yield* Blocking.run(functions.triple, 1)).toBe(3)
      })
    ))

  it.live("L3: whose queue is full fails calls with a reason, and counts each", () =>
    withPool(
      { threads: 1, capacity: 0, whenFull: "fail" },
      Effect.gen(function*() {
        const memory = gate()
        const holder = yield* started(Blocking.run(functions.hold, memory))
        yield* reaches(memory, 0, 1)
        // One more call lies ready on the thread as long as it is not known how long calls take.
        const calls = yield* Effect.forEach(
          Array.from({ length: 70 }),
          () => started(Effect.exit(Blocking.run(functions.triple, 1)))
        )
        const rejected = (yield* status).rejected
        expect(rejected).toBeGreaterThan(0)
        set(memory, 1, 1)
        yield* Fiber.join(holder)
        const exits = yield* Effect.forEach(calls, Fiber.join)
        expect(exits.filter(Exit.isFailure)).toHaveLength(rejected)
      })
    ))

  it.live("C13: with an endless loop stops within its limit, and says which thread it was and where", () =>
    Effect.gen(function*() {
      const { took, value } = yield* timed(
        withPool(
          { threads: 1, stopWithin: "1 second" },
          Effect.gen(function*() {
            yield* Effect.forkDetach(Blocking.run(functions.forever), { startImmediately: true })
            yield* becomes({ busy: 1 })
          })
        )
      )
      expect(took).toBeLessThan(1500)
      expect(value.warnings.join("\n")).toMatch(/Thread blocking-1 was ended: forever .* at .*functions\.ts:\d+/)
    }))

  /** A call that runs, and hears of no cancel. */
  const deafCall = (options: Blocking.CallOptionsInput = {}) =>
    Effect.gen(function*() {
      const memory = gate()
      const call = Effect.exit(Blocking.run(functions.deaf, memory).pipe(Blocking.withOptions(options)))
      const fiber = yield* Effect.forkDetach(call, { startImmediately: true })
      yield* reaches(memory, 0, 1)
      return fiber
    })

  const toldGrace = (warnings: ReadonlyArray<string>): number =>
    Number(
      /^Thread \S+ was ended: deaf did not stop within (\d+) ms after it was told to, /m.exec(warnings.join("\n"))?.[1]
    )

  it.live("says which grace the function of an ended thread really had", () =>
    Effect.gen(function*() {
      const cancelled = yield* withPool(
        { threads: 1, grace: 120 },
        Effect.gen(function*() {
          yield* Fiber.interrupt(yield* deafCall())
          yield* becomes({ killed: 1 })
        })
      )
      expect(toldGrace(cancelled.warnings)).toBe(120)
      // The stop of the pool cuts it short, whether the call is cancelled by then or not.
      const options = { threads: 1, grace: "1 minute", stopWithin: "1 second" } as const
      const stopped = yield* withPool(options, deafCall())
      expect(toldGrace(stopped.warnings)).toBe(600)
      const both = yield* withPool(
        options,
        Effect.gen(function*() {
          yield* Fiber.interrupt(yield* deafCall())
          yield* Effect.sleep("150 millis")
        })
      )
      expect(toldGrace(both.warnings)).toBeGreaterThanOrEqual(749)
      expect(toldGrace(both.warnings)).toBeLessThan(5000)
    }))

  it.live("that stops makes no grace longer than the call was given", () =>
    Effect.gen(function*() {
      const { took, value } = yield* timed(withPool(
        { threads: 1, grace: "4 seconds" },
        Effect.flatMap(deafCall({ grace: 300 }), Fiber.interrupt)
      ))
      expect(took).toBeLessThan(4000)
      expect(toldGrace(value.warnings)).toBe(300)
    }))

  it.live("that stops gives a call the grace that is its own", () =>
    Effect.gen(function*() {
      const memory = gate()
      yield* withPool(
        { threads: 1, grace: 0 },
        Effect.gen(function*() {
          const call = Blocking.run(functions.cleansUp, memory, 150).pipe(Blocking.withOptions({ grace: "4 seconds" }))
          yield* Effect.forkDetach(Effect.exit(call), { startImmediately: true })
          yield* reaches(memory, 0, 1)
        })
      )
      expect(memory[0]).toBe(2)
    }))

  it.live("whose restart takes too long ends the thread, and says why", () =>
    Effect.gen(function*() {
      const { value, warnings } = yield* withPool(
        { threads: 1, stopWithin: "1 second" },
        Effect.gen(function*() {
          const pool = yield* Blocking.Blocking
          const fiber = yield* deafCall()
          yield* pool.restart
          return [yield* Effect.flip(yield* Fiber.join(fiber)), yield* pool.status] as const
        })
      )
      expect(value[0]).toMatchObject({ reason: { _tag: "PoolStopped", started: true } })
      expect(value[1]).toMatchObject({ killed: 1, threads: 1, busy: 0 })
      // The limit is counted from the begin of the restart, and on a busy machine the thread is told a moment later.
      expect(warnings[0]).toMatch(
        /was ended: deaf did not stop within (?:300|2\d\d) ms after it was told to because of the restart of its pool, /
      )
    }))

  it.live("C14, C17: with a thread in native code does not wait for it, and says once more what is left behind", () =>
    Effect.gen(function*() {
      const native = yield* nativeCall(6)
      const { took, value } = yield* timed(
        withPool(
          { threads: 1, stopWithin: "20 seconds", grace: 0 },
          Effect.gen(function*() {
            yield* Effect.forkDetach(Effect.exit(native.call), { startImmediately: true })
            yield* native.begun
          })
        )
      )
      // A second until it counts as stuck, and not the six that it sleeps.
      expect(took).toBeLessThan(4500)
      const told = value.warnings.filter((line) => line.includes("blocking-1"))
      expect(told[0]).toContain("in nativeSleep (file://")
      expect(told).toHaveLength(2)
    }))

  it.live("C15: that stops fails what waits, which never runs", () =>
    Effect.gen(function*() {
      const memory = gate()
      const fibers = yield* Effect.scoped(Effect.gen(function*() {
        const pool = yield* BlockingPool.make({ threads: 1, grace: 0 })
        const on = Effect.provideService(Blocking.Blocking, pool)
        const holder = yield* Effect.forkDetach(on(Effect.exit(Blocking.run(functions.hold, memory))), {
          startImmediately: true
        })
        yield* reaches(memory, 0, 1)
        const waiting = yield* Effect.forEach([1, 2, 3], () =>
          Effect.forkDetach(on(reasonOf(Blocking.run(functions.counts, memory, 2))), { startImmediately: true }))
        return { holder, waiting }
      }))
      for (const reason of yield* Effect.forEach(fibers.waiting, Fiber.join)) {
        expect(reason).toMatchObject({ _tag: "PoolStopped", started: false })
      }
      expect(Exit.isFailure(yield* Fiber.join(fibers.holder))).toBe(true)
      expect(Atomics.load(memory, 2)).toBe(0)
    }))

  it.live("C16, C18: whose threads are idle stops at once and logs nothing", () =>
    Effect.gen(function*() {
      const { took, value } = yield* timed(withPool({ threads: 2 }, Blocking.run(functions.triple, 1)))
      expect(took).toBeLessThan(1000)
      expect(value.warnings).toEqual([])
    }))

  it.live("C19: can be restarted ten times, with calls on fresh threads each time and none lost", () =>
    withPool(
      { threads: 2 },
      Effect.gen(function*() {
        const pool = yield* Blocking.Blocking
        const threads = new Set<string>()
        for (let round = 0; round < 10; round++) {
          const running = yield* started(
            Effect.forEach([1, 2, 3, 4], (n) => Blocking.run(functions.triple, n), { concurrency: 4 })
          )
          yield* pool.restart
          expect(yield* Fiber.join(running)).toEqual([3, 6, 9, 12])
          threads.add((yield* Blocking.run(functions.context)).thread)
        }
        expect(threads.size).toBe(10)
        expect(yield* status).toMatchObject({ threads: 2, stuck: 0, died: 0, killed: 0 })
      })
    ))

  it.live("grows when all threads are busy, and shrinks when they have been idle", () =>
    withPool(
      { threads: { min: 1, max: 3 }, idleAfter: "1 second" },
      Effect.gen(function*() {
        expect((yield* status).threads).toBe(1)
        yield* Effect.forEach([1, 2, 3], () => Blocking.run(functions.block, 100), { concurrency: 3 })
        expect((yield* status).threads).toBe(3)
        yield* becomes({ threads: 1 })
        expect(yield* Blocking.run(functions.triple, 1)).toBe(3)
      })
    ))

  it.live("ends a thread that is out of memory, and only its call fails", () =>
    withPool(
      { threads: 2, resourceLimits: { maxOldGenerationSizeMb: 24 } },
      Effect.gen(function*() {
        const eating = yield* started(reasonOf(Blocking.run(functions.eatsMemory)))
        const other = yield* started(Blocking.run(functions.block, 300))
        expect(yield* Fiber.join(eating)).toMatchObject({ _tag: "ThreadDied" })
        expect(yield* Fiber.join(other)).toBe(300)
        expect(yield* Blocking.run(functions.triple, 1)).toBe(3)
        expect(yield* status).toMatchObject({ died: 1, threads: 2 })
      })
    ))

  it.live("L5, L6, L7: that is saturated warns once in each window, with its numbers, also without new calls", () =>
    Effect.gen(function*() {
      const whileBusy = (threads: number, enough: (warnings: () => ReadonlyArray<string>) => Effect.Effect<void>) =>
        watchingPool(
          { threads: 4, saturation: { threshold: 0.75, every: "250 millis" } },
          (warnings) =>
            Effect.gen(function*() {
              const memory = gate()
              const begin = performance.now()
              const holding = Array.from({ length: threads }, () => started(Blocking.run(functions.hold, memory)))
              const fibers = yield* Effect.all(holding)
              yield* reaches(memory, 0, threads)
              yield* enough(warnings)
              const took = performance.now() - begin
              set(memory, 1, 1)
              yield* Effect.forEach(fibers, Fiber.join)
              return took
            })
        )
      const saturated = yield* whileBusy(3, (warnings) => eventually(Effect.sync(() => warnings().length >= 3)))
      expect(new Set(saturated.warnings)).toEqual(
        new Set(["Pool blocking is saturated: 3 of 4 threads are busy, 0 calls wait"])
      )
      // The first of three comes after 100 milliseconds, and a window lies before each of the others.
      expect(saturated.value).toBeGreaterThan(590)
      const calm = yield* whileBusy(2, () => Effect.sleep("400 millis"))
      expect(calm.warnings).toEqual([])
    }))

  it.live("M4: tells the timeouts of one function once a minute", () =>
    Effect.gen(function*() {
      const late = Effect.flip(
        Blocking.run(functions.untilCancelled).pipe(Blocking.withOptions({ timeout: "10 millis" }))
      )
      const { value, warnings } = yield* withPool(
        { threads: 1 },
        Effect.andThen(Effect.replicateEffect(late, 3), status)
      )
      expect(value.timedOut).toBe(3)
      expect(warnings).toEqual(["untilCancelled did not end within its limit of 10 ms"])
    }))

  it.live("M6: tells once that a call without a limit runs for long, and lets it run", () =>
    Effect.gen(function*() {
      const memory = gate()
      const { value, warnings } = yield* watchingPool(
        { threads: 1, stalledAfter: "1 second", saturation: "none" },
        (warnings) =>
          Effect.gen(function*() {
            const fiber = yield* started(Blocking.run(functions.hold, memory))
            yield* eventually(Effect.sync(() => warnings().length > 0))
            // As long again, in which nothing is told.
            yield* Effect.sleep("1100 millis")
            set(memory, 1, 1)
            return yield* Fiber.join(fiber)
          })
      )
      expect(value).toBe("let go")
      expect(warnings).toEqual(["hold has been running on blocking-1 for more than 1000 ms without a limit"])
    }))

  it.live("M6: tells once that a call has waited on a thread for long, when a module holds it up", () =>
    Effect.gen(function*() {
      const { value, warnings } = yield* withPool(
        { threads: 1, stalledAfter: "50 millis", saturation: "none" },
        Blocking.run(holdsUp)
      )
      expect(value).toBe(1)
      expect(warnings).toEqual([
        "holdsUp has been waiting on blocking-1 for more than 50 ms, held up by a module that loads or by a timer"
      ])
    }))

  it.live("tells of a call that runs for long when it does, also when it began long after the others", () =>
    Effect.gen(function*() {
      const [one, two] = [gate(), gate()]
      const { warnings } = yield* watchingPool(
        { threads: 2, stalledAfter: "1 second", saturation: "none" },
        (warnings) =>
          Effect.gen(function*() {
            const first = yield* started(Blocking.run(functions.hold, one))
            yield* reaches(one, 0, 1)
            yield* Effect.sleep("300 millis")
            const second = yield* started(Blocking.run(functions.hold, two))
            yield* reaches(two, 0, 1)
            set(one, 1, 1)
            yield* Fiber.join(first)
            yield* eventually(Effect.sync(() => warnings().length > 0))
            set(two, 1, 1)
            yield* Fiber.join(second)
          })
      )
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toMatch(/^hold has been running on blocking-\d for more than 1000 ms without a limit$/)
    }))

  it.live("counts busy threads in its metrics, not open promises", () =>
    Effect.gen(function*() {
      const read = (name: string) =>
        Effect.map(Metric.snapshot, (all) => {
          const found = all.find((metric) => metric.id === name)
          return found === undefined
            ? undefined
            : "value" in found.state
            ? found.state.value
            : (found.state as { count: number }).count
        })
      yield* withPool(
        { threads: 2, name: "metered" },
        Effect.gen(function*() {
          const memory = gate()
          const calls = yield* Effect.forEach([1, 2, 3, 4], () => started(Blocking.run(functions.hold, memory)))
          yield* reaches(memory, 0, 2)
          expect(yield* read("ambit_blocking_busy_threads")).toBe(2)
          expect(yield* read("ambit_blocking_queued_calls")).toBe(2)
          set(memory, 1, 1)
          yield* Effect.forEach(calls, Fiber.join)
          expect(yield* read("ambit_blocking_completed_total")).toBe(4)
        })
      )
      expect(yield* read("ambit_blocking_busy_threads")).toBeUndefined()
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.live("whose name another one has gets a number, so that metrics and threads of the two can be told apart", () =>
    Effect.gen(function*() {
      const completed = Effect.map(
        Metric.snapshot,
        (metrics) =>
          metrics.flatMap(({ attributes, id, state }) =>
            id === "ambit_blocking_completed_total" ? [[attributes?.["pool"], "count" in state && state.count]] : []
          )
      )
      const run = (pool: Blocking.Pool) =>
        Effect.provideService(Blocking.run(functions.context), Blocking.Blocking, pool)
      const one = yield* BlockingPool.make({ name: "twin", threads: 1 })
      const both = yield* Effect.scoped(Effect.gen(function*() {
        const two = yield* BlockingPool.make({ name: "twin", threads: 1 })
        expect([two.name, (yield* run(two)).thread]).toEqual(["twin#2", "twin#2-1"])
        return yield* completed
      }))
      expect(both).toEqual([["twin", 0], ["twin#2", 1]])
      expect((yield* run(one)).thread).toBe("twin-1")
      expect(yield* completed).toEqual([["twin", 1]])
      expect((yield* BlockingPool.make({ name: "twin", threads: 1 })).name).toBe("twin#2")
    }).pipe(Effect.scoped))

  it.live("whose threads do not come can be interrupted in its start, and leaves nothing behind", () =>
    Effect.gen(function*() {
      const start = vi.spyOn(PoolImpl.prototype, "start").mockReturnValueOnce(new Promise(() => {}))
      const close = vi.spyOn(PoolImpl.prototype, "close")
      const fiber = yield* started(Effect.scoped(BlockingPool.make({ name: "late", threads: 1 })))
      expect(start).toHaveBeenCalledOnce()
      yield* Fiber.interrupt(fiber)
      expect(close).toHaveBeenCalledOnce()
      expect((yield* BlockingPool.make({ name: "late", threads: 1 })).name).toBe("late")
    }).pipe(Effect.scoped, Effect.ensuring(Effect.sync(() => vi.restoreAllMocks()))))

  it.live("that is closed before its first thread is ready waits for that no longer, and keeps no process", () =>
    Effect.gen(function*() {
      const start = vi.spyOn(PoolImpl.prototype, "start")
      const fiber = yield* started(Effect.scoped(BlockingPool.make({ threads: 1 })))
      yield* Fiber.interrupt(fiber)
      expect(yield* Effect.promise(() => start.mock.results[0]!.value)).toBe("it was closed")
    }).pipe(Effect.ensuring(Effect.sync(() => vi.restoreAllMocks()))))

  it.live("whose threads do not come in time fails in its start, and leaves nothing behind", () =>
    Effect.gen(function*() {
      vi.spyOn(PoolImpl.prototype, "start").mockReturnValueOnce(new Promise(() => {}))
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
      const fiber = yield* started(Effect.flip(Effect.scoped(BlockingPool.make({ name: "late", threads: 1 }))))
      yield* Effect.promise(() => vi.advanceTimersByTimeAsync(20_000))
      const error = yield* Fiber.join(fiber)
      expect(error.message).toContain("No thread of pool late starts: none was ready within 20000 ms")
      vi.useRealTimers()
      expect((yield* BlockingPool.make({ name: "late", threads: 1 })).name).toBe("late")
    }).pipe(
      Effect.scoped,
      Effect.ensuring(Effect.sync(() => vi.useRealTimers())),
      Effect.ensuring(Effect.sync(() => vi.restoreAllMocks()))
    ))

  it.live("of its own keeps quick calls from waiting for slow ones", () =>
    withPool(
      { threads: 1 },
      Effect.gen(function*() {
        class Slow extends Context.Service<Slow, Blocking.Pool>()("test/Slow") {}
        const slow = yield* BlockingPool.make({ name: "slow", threads: 1 })
        const blocked = yield* started(
          Blocking.run(functions.block, 400).pipe(Blocking.on(Slow), Effect.provideService(Slow, slow))
        )
        const { took } = yield* timed(Blocking.run(functions.triple, 1))
        expect(took).toBeLessThan(200)
        yield* Fiber.interrupt(blocked)
      }).pipe(Effect.scoped)
    ))

  it("U1: has documented defaults", () => {
    expect(Result.getOrThrow(settingsOf({}, Limits.defaults))).toEqual({
      name: "blocking",
      min: Math.max(2, availableParallelism()),
      max: Math.max(2, availableParallelism()),
      spare: false,
      capacity: 1000,
      whenFull: "wait",
      grace: 1000,
      idleAfter: 30_000,
      stopWithin: 10_000,
      resourceLimits: undefined,
      saturation: { threshold: 0.75, every: 30_000 },
      stalledAfter: 60_000,
      signWithin: 5000
    })
  })

  it.live.each<[Duration.Input]>([["5 seconds"], ["1 minute"]])(
    "U2: whose stop (%s) is not shorter than that of the host is refused, with both values",
    ([stopWithin]) =>
      Effect.gen(function*() {
        const made = Effect.scoped(BlockingPool.make({ name: "files", threads: 1, stopWithin }))
        const error = yield* Effect.flip(Effect.provide(made, Limits.layer({ hostStop: "5 seconds" })))
        expect(error.message).toBe(
          `stopWithin of pool "files" is ${
            JSON.stringify(stopWithin)
          }: it is not shorter than hostStop, which is 5.0 s. ` +
            "Lower the one or raise the other."
        )
      })
  )

  it.live("U2: takes as long as the host to stop at most, when nobody says otherwise", () =>
    Effect.gen(function*() {
      const { took } = yield* timed(Effect.scoped(Effect.gen(function*() {
        const pool = yield* BlockingPool.make({ threads: 1, grace: "8 seconds" })
        const on = Effect.provideService(Blocking.Blocking, pool)
        yield* Effect.forkDetach(Effect.exit(on(Blocking.run(functions.forever))), { startImmediately: true })
        yield* on(becomes({ busy: 1 }))
      })))
      expect(took).toBeLessThan(2000)
    }).pipe(Effect.provide(Limits.layer({ hostStop: "1 second" })), Effect.provide(makeRecorder().layer)))

  it.live("U2: is refused where the limits around it make no sense", () =>
    Effect.gen(function*() {
      const made = Effect.scoped(BlockingPool.make({ threads: 1 }))
      const error = yield* Effect.flip(Effect.provideService(made, Limits.Limits, { ...Limits.defaults, hostStop: 0 }))
      expect(error.message).toContain("hostStop of the Limits is \"0\"")
    }))

  const badOptions: ReadonlyArray<readonly [string, BlockingPool.BlockingPoolOptions]> = [
    ["threads", { threads: 0 }],
    ["threads", { threads: -1 }],
    ["threads", { threads: 1.5 }],
    ["threads", { threads: Number.NaN }],
    ["threads.min", { threads: { min: -1, max: 2 } }],
    ["threads.min", { threads: { min: 3, max: 2 } }],
    ["threads.max", { threads: { min: 0, max: 0 } }],
    ["capacity", { capacity: -1 }],
    ["whenFull", { whenFull: "drop" as never }],
    ["grace", { grace: -1 }],
    ["from zero on", { grace: -1 }],
    ["stopWithin", { stopWithin: 0 }],
    ["idleAfter", { idleAfter: Number.NaN }],
    ["saturation.threshold", { saturation: { threshold: 1.5 } }],
    ["saturation.every", { saturation: { every: 0 } }],
    ["name", { name: "a/b" }],
    ["spare", { spare: "yes" as never }],
    ["saturation.threshold", { saturation: { threshold: "0.9" as never } }]
  ]
  it.live.each(badOptions)(
    "U4, L8: with a bad option %s is refused before a thread starts",
    ([option, options]) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(BlockingPool.make(options)))
        expect(error).toMatchObject({ _tag: "InvalidOption" })
        expect(error.message).toContain(option)
      })
  )
})
