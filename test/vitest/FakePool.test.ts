import { App, Blocking, BlockingFunction, Task } from "@ambit/core"
import { FakePool, TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { readFile } from "node:fs/promises"

const here = { url: import.meta.url }

const hash = BlockingFunction.make(here, "hash", (path: string): string => `real ${path}`)
const size = BlockingFunction.make(here, "size", (value: unknown): number => String(value).length)

const lengthOf = BlockingFunction.make(here, "lengthOf", async (path: string) => (await readFile(path)).length)

const indexer = (effect: Effect.Effect<unknown, any, any>, options?: App.AppOptions) =>
  App.layer("indexer", Task.spawn(effect, "index"), options)

const after = <A>(time: number, value: A) => Effect.as(Effect.sleep(time), value)

describe("a fake", () => {
  it.effect("answers for the function of its reference, with its arguments", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Blocking.run(hash, "a"), "fake a")
      assert.strictEqual(yield* Blocking.run(size, "four"), 4)
    }).pipe(Effect.provide(FakePool.layer([
      FakePool.fake(hash, (path) => `fake ${path}`),
      FakePool.fake(size, (value) => Effect.succeed(String(value).length))
    ]))))

  it.effect("takes as much virtual time as it is told", () =>
    Effect.gen(function*() {
      const call = yield* Effect.forkChild(Blocking.run(hash, "a"))
      yield* TestClock.adjust("59999 millis")
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(call.pollUnsafe(), Exit.succeed("late"))
    }).pipe(Effect.provide(FakePool.layer([FakePool.fake(hash, () => after(60_000, "late"))]))))

  it.effect("that throws or fails is a function that threw, and may have a type", () =>
    Effect.gen(function*() {
      class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { path: Schema.String }) {}
      const thrown = yield* Effect.flip(Blocking.run(hash, "a"))
      assert.deepInclude(thrown.reason, { _tag: "FunctionThrew", function: "hash" })
      assert.strictEqual((thrown.cause as Error).message, "no disk")
      const typed = yield* Effect.flip(Blocking.throws(Blocking.run(size, "a"), [NotFound]))
      assert.deepInclude(typed, { _tag: "NotFound", path: "a" })
    }).pipe(Effect.provide(FakePool.layer([
      FakePool.fake(hash, () => {
        throw new Error("no disk")
      }),
      FakePool.fake(size, (path) => Effect.fail({ _tag: "NotFound", path }))
    ]))))

  it.effect("gets and gives clones, and what cannot be cloned is found", () =>
    Effect.gen(function*() {
      const given = { a: [1] }
      yield* Blocking.run(size, given)
      const error = yield* Effect.flip(Blocking.run(size, () => 1))
      assert.deepInclude(error.reason, { _tag: "NotCloneable", value: "arguments" })
      const back = yield* Effect.flip(Blocking.run(hash, "a"))
      assert.deepInclude(back.reason, { _tag: "NotCloneable", value: "result" })
      assert.deepStrictEqual(given, { a: [1] })
    }).pipe(Effect.provide(FakePool.layer([
      FakePool.fake(size, (value) => {
        ;(value as { a: Array<number> }).a.push(2)
        return 0
      }),
      FakePool.fake(hash, () => (() => "no text") as never)
    ]))))

  it.effect("tells how far it is", () =>
    Effect.gen(function*() {
      const events = yield* Stream.runCollect(Blocking.stream(hash, "a"))
      assert.deepStrictEqual(events, [
        { _tag: "Progress", value: 1 },
        { _tag: "Progress", value: 2 },
        { _tag: "Result", value: "done" }
      ])
      yield* FakePool.progress("outside of a call it says nothing")
    }).pipe(Effect.provide(FakePool.layer([
      FakePool.fake(hash, () => Effect.as(Effect.forEach([1, 2], FakePool.progress), "done"))
    ]))))

  it.effect("may look around before its call is taken in", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const looks = FakePool.fake(hash, () => {
        seen.push(...host.control.tree().apps.map(({ calls }) => calls.length))
        return "looked"
      })
      const job = Effect.delay(Blocking.run(hash, "a"), "1 second").pipe(
        Effect.map((text) => seen.push(text)),
        Effect.provide(FakePool.layer([looks]))
      )
      const host = yield* TestHost.launch(indexer(job))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, [0, "looked"])
    }))

  it.effect("that is missing is a defect that names the function", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Blocking.run(hash, "a"))
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.match(String(error), /the fakes of FakePool is "none for hash of file:.*FakePool\.test\.ts"/)
    }).pipe(Effect.provide(FakePool.layer([]))))
})

describe("a pool of fakes", () => {
  it.effect("runs as many calls at a time as it has threads, in the order of the calls", () =>
    Effect.gen(function*() {
      const pool = yield* Blocking.Blocking
      const order: Array<string> = []
      const calls = yield* Effect.forEach(["a", "b", "c"], (path) =>
        Effect.forkChild(
          Effect.flatMap(
            Blocking.run(hash, path),
            (value) => Effect.map(Clock.currentTimeMillis, (now) => order.push(`${now} ${value}`))
          ),
          { startImmediately: true }
        ))
      const status = yield* pool.status
      assert.deepInclude(status, { name: "fake", size: 2, threads: 2, busy: 2, queued: 1 })
      assert.deepStrictEqual(status.calls.map(({ state }) => state), [
        { _tag: "Running", thread: "fake-1" },
        { _tag: "Running", thread: "fake-2" },
        { _tag: "Queued" }
      ])
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.joinAll(calls)
      assert.deepStrictEqual(order, ["1000 a", "1000 b", "2000 c"])
      assert.deepInclude(yield* pool.status, { busy: 0, queued: 0, completed: 3 })
    }).pipe(Effect.provide(FakePool.layer([FakePool.fake(hash, (path) => after(1000, path))]))))

  it.effect("with one thread makes calls wait for each other, and never runs what was cancelled before its turn", () =>
    Effect.gen(function*() {
      const pool = yield* Blocking.Blocking
      const one = yield* Effect.forkChild(Blocking.run(hash, "a"), { startImmediately: true })
      const two = yield* Effect.forkChild(Blocking.run(hash, "b"), { startImmediately: true })
      yield* Fiber.interrupt(two)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(one), "a")
      assert.deepInclude(yield* pool.status, { completed: 1, cancelled: 1, busy: 0, queued: 0 })
    }).pipe(Effect.provide(FakePool.layer([FakePool.fake(hash, (path) => after(1000, path))], { threads: 1 }))))

  it.effect("runs twenty thousand calls that wait, without filling the stack", () =>
    Effect.gen(function*() {
      const first = yield* Effect.forkChild(Blocking.run(hash, "first"), { startImmediately: true })
      const others = yield* Effect.forEach(
        Array.from({ length: 20_000 }),
        () => Effect.forkChild(Blocking.run(size, "x"), { startImmediately: true })
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(first)
      yield* Fiber.joinAll(others)
    }).pipe(Effect.provide(FakePool.layer([
      FakePool.fake(hash, () => after(1000, "first")),
      FakePool.fake(size, () => 1)
    ], { threads: 1 }))))

  it.effect("refuses a number of threads that is none (U4)", () =>
    Effect.gen(function*() {
      for (const threads of [0, -1, 1.5, Number.NaN, Infinity]) {
        const { message } = yield* Effect.flip(FakePool.make([], { threads }))
        assert.match(message, new RegExp(`^threads of FakePool is "${threads}": `))
      }
    }))
})

describe("a cancelled fake", () => {
  const reportOf = (fake: Effect.Effect<string>, options?: Blocking.CallOptionsInput) =>
    Effect.gen(function*() {
      const call = Blocking.run(hash, "a")
      const host = yield* TestHost.launch(indexer(options === undefined ? call : Blocking.withOptions(call, options)))
      const report = yield* host.stop
      const pool = yield* Blocking.Blocking
      const status = yield* pool.status
      yield* Effect.forEach([1, 2], () => Effect.forkChild(call, { startImmediately: true }))
      const { calls } = yield* pool.status
      return { host, report, status, next: calls.map(({ state }) => state._tag === "Running" ? state.thread : "none") }
    }).pipe(Effect.provide(FakePool.layer([FakePool.fake(hash, () => fake)])))

  const lines = (report: { readonly tasks: ReadonlyArray<{ path: string; outcome: string; took: number }> }) =>
    report.tasks.map(({ outcome, path, took }) => [path.replace("host/indexer/", ""), outcome, took])

  it.effect("that looks ends at once, and costs no thread (C11)", () =>
    Effect.gen(function*() {
      const { report, status } = yield* reportOf(Effect.never)
      assert.deepStrictEqual(lines(report), [["index", "interrupted", 0], ["index/hash", "interrupted", 0]])
      assert.deepInclude(status, { cancelled: 1, killed: 0, stuck: 0, busy: 0 })
    }))

  it.effect("that cleans up is waited for, within the grace", () =>
    Effect.gen(function*() {
      const { report } = yield* reportOf(Effect.ensuring(Effect.never, Effect.sleep("400 millis")))
      assert.deepStrictEqual(lines(report), [["index", "interrupted", 0], ["index/hash", "interrupted", 400]])
    }))

  it.effect("that never looks loses its thread after the grace, and the thread is replaced (C12)", () =>
    Effect.gen(function*() {
      const { next, report, status } = yield* reportOf(Effect.uninterruptible(Effect.never), { grace: "3 seconds" })
      assert.deepStrictEqual(lines(report), [["index", "interrupted", 0], ["index/hash", "killed", 3000]])
      assert.deepInclude(status, { killed: 1, stuck: 0, busy: 0, threads: 2 })
      assert.deepStrictEqual(next, ["fake-2", "fake-3"])
    }))

  it.effect("whose thread is gone leaves nothing behind, also when it would have slept for an hour", () =>
    Effect.gen(function*() {
      const { report } = yield* reportOf(Effect.uninterruptible(after(3_600_000, "late")))
      assert.deepStrictEqual(lines(report).at(-1), ["index/hash", "killed", 1000])
    }))

  it.effect("that is stuck is given up, counted, and left behind (C14)", () =>
    Effect.gen(function*() {
      const { host, report, status } = yield* reportOf(Effect.andThen(Effect.sleep(0), FakePool.stuck))
      assert.deepStrictEqual(lines(report), [["index", "interrupted", 0], ["index/hash", "abandoned", 1000]])
      assert.deepInclude(status, { killed: 0, stuck: 1, busy: 0 })
      assert.deepInclude(yield* host.expectLeak("indexer/index/hash"), { kind: "task", place: "hash (fake-1)" })
    }))

  it.effect("that took too long is a timeout, which says whether a thread was busy", () =>
    Effect.gen(function*() {
      const limited = (timeout: number) =>
        Effect.forkChild(Effect.flip(Blocking.withOptions(Blocking.run(hash, "a"), { timeout })), {
          startImmediately: true
        })
      const calls = [yield* limited(10_000), yield* limited(5000)]
      yield* TestClock.adjust("10 seconds")
      const reasons = (yield* Fiber.joinAll(calls)).map((error) => error._tag === "BlockingError" && error.reason)
      assert.deepInclude(reasons[0], { _tag: "TimedOut", within: 10_000, state: "running" })
      assert.deepInclude(reasons[1], { _tag: "TimedOut", within: 5000, state: "queued" })
      const pool = yield* Blocking.Blocking
      assert.deepInclude(yield* pool.status, { timedOut: 2, cancelled: 2 })
    }).pipe(Effect.provide(FakePool.layer([FakePool.fake(hash, () => Effect.never)], { threads: 1 }))))
})

it.effect("functions themselves run in a test with the inline pool, and what they wait for is waited for", () =>
  Effect.gen(function*() {
    const reads = Effect.all([Blocking.run(hash, "a"), Blocking.run(lengthOf, import.meta.filename)])
    const host = yield* TestHost.launch(indexer(Effect.tap(reads, ([value, length]) =>
      Effect.sync(() => {
        assert.strictEqual(value, "real a")
        assert.isAbove(length, 1000)
      }))))
    yield* host.awaitIdle({ background: true })
    assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    assert.isTrue((yield* host.stop).clean)
  }).pipe(Effect.provide(Blocking.layerInline)))
