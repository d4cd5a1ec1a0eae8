import { Blocking, BlockingFunction, TaskScope } from "@ambit/core"
import { describe, expect, it, layer } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

const here = { url: import.meta.url }

const square = BlockingFunction.make(here, "square", (n: number) => n * n)
const identity = BlockingFunction.make(here, "identity", (value: unknown) => value)
const never = BlockingFunction.make(here, "never", () => new Promise<never>(() => {}))
const soon = BlockingFunction.make(here, "soon", async (n: number) => {
  await Promise.resolve()
  return n
})
const throwing = BlockingFunction.make(here, "throwing", (): never => {
  throw Object.assign(new Error("no such file"), { _tag: "NotFound", path: "a.txt" })
})

const throwingBroken = BlockingFunction.make(here, "throwingBroken", (): never => {
  throw Object.assign(new Error("no such file", { cause: new Error("no disk") }), { _tag: "Broken", path: "a.txt" })
})

class Broken extends Schema.TaggedError<Broken>()("Broken", {
  message: Schema.String,
  path: Schema.String,
  cause: Schema.Unknown
}) {}

class Plain extends Schema.TaggedError<Plain>()("Broken", { path: Schema.String }) {}

class Worded extends Schema.TaggedError<Worded>()("Broken", { path: Schema.String }) {
  override get message(): string {
    return `nothing at ${this.path}`
  }
}

class WordedData extends Data.TaggedError("Broken")<{ readonly path: string }> {
  override get message(): string {
    return `nothing at ${this.path}`
  }
}

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { path: Schema.String }) {}

layer(Blocking.layerInline)("the inline pool", (it) => {
  it.effect("E1: runs synchronous and asynchronous functions", () =>
    Effect.gen(function*() {
      expect(yield* Blocking.run(square, 12)).toBe(144)
      expect(yield* Blocking.run(soon, 7)).toBe(7)
    }))

  it.effect("clones arguments and results, as a thread does", () =>
    Effect.gen(function*() {
      const given = { a: [1] }
      const back = yield* Blocking.run(identity, given)
      expect(back).toEqual(given)
      expect(back).not.toBe(given)
      const error = yield* Effect.flip(Blocking.run(identity, () => 1))
      expect(error.reason).toMatchObject({ _tag: "NotCloneable", value: "arguments" })
    }))

  it.effect("gives what was thrown, and its class on request", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Blocking.run(throwing))
      expect(error.reason).toMatchObject({ _tag: "FunctionThrew", error: { message: "no such file" } })
      expect(error.cause).toMatchObject({ message: "no such file" })
      const typed = yield* Effect.flip(Blocking.throws(Blocking.run(throwing), [NotFound]))
      expect(typed).toBeInstanceOf(NotFound)
    }))

  it.effect("fills the fields of a class with the message and the cause of what was thrown", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Blocking.throws(Blocking.run(throwingBroken), [NotFound, Broken]))
      expect(error).toBeInstanceOf(Broken)
      expect(error).toMatchObject({ message: "no such file", path: "a.txt", cause: { message: "no disk" } })
    }))

  it.effect.each<[string, Blocking.ErrorClass, string]>([
    ["has neither", Plain, "no such file"],
    ["words its message by itself", Worded, "nothing at a.txt"],
    ["takes any fields, and words its message by itself", WordedData, "nothing at a.txt"]
  ])(
    "keeps the cause, and the message where there is no other, in a class that %s",
    ([, Class, message]) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Blocking.throws(Blocking.run(throwingBroken), [Class]))
        expect(error).toBeInstanceOf(Class)
        expect(error).toMatchObject({ message, path: "a.txt", cause: { message: "no disk" } })
        expect(Object.keys(error)).not.toContain("message")
      })
  )

  it.effect("counts timeouts and graces on the clock of the test", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(
        Effect.flip(Blocking.withOptions(Blocking.run(never), { timeout: "1 minute" })),
        { startImmediately: true }
      )
      yield* TestClock.adjust("59 seconds")
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 second")
      expect((yield* Fiber.join(fiber)) as Blocking.BlockingError).toMatchObject({
        reason: { _tag: "TimedOut", within: 60_000, state: "running" }
      })
      const waiting = Blocking.run(square, 3).pipe(Blocking.withOptions({ timeout: 500 }), Effect.flip)
      const late = yield* Effect.forkChild(waiting, { startImmediately: true })
      yield* TestClock.adjust(500)
      expect(yield* Fiber.join(late)).toMatchObject({ reason: { _tag: "TimedOut", state: "queued" } })
      // What does not settle within the grace is left to itself, and the next one runs.
      const next = yield* Effect.forkChild(Blocking.run(square, 2), { startImmediately: true })
      expect(next.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust(500)
      expect(yield* Fiber.join(next)).toBe(4)
    }))

  it.effect("runs one at a time, in the order of the calls, and never what was cancelled before its turn", () =>
    Effect.gen(function*() {
      const order: Array<number> = []
      const noting = (n: number) => Effect.map(Blocking.run(soon, n), (value) => order.push(value))
      const one = yield* Effect.forkChild(noting(1), { startImmediately: true })
      const two = yield* Effect.forkChild(noting(2), { startImmediately: true })
      const three = yield* Effect.forkChild(noting(3), { startImmediately: true })
      yield* Fiber.interrupt(two)
      yield* Fiber.joinAll([one, three])
      expect(order).toEqual([1, 3])
    }))

  it.effect("runs twenty thousand calls that wait, without filling the stack", () =>
    Effect.gen(function*() {
      const pool = yield* Blocking.Blocking
      const context = yield* Effect.context()
      const answers: Array<unknown> = []
      const submit = (reference: BlockingFunction.BlockingFunction<never, unknown>) =>
        pool.submit({
          reference,
          args: [2],
          options: { name: undefined, grace: undefined, timeout: undefined, transfer: [] },
          context,
          task: "",
          app: "",
          progress: undefined,
          answered: (exit) => answers.push(Exit.isSuccess(exit) ? exit.value : exit.cause),
          ended: () => {}
        })
      // In one turn, so that all of them wait for the first one.
      submit(soon)
      for (let n = 0; n < 20_000; n++) submit(square)
      expect(answers).toEqual([])
      yield* Blocking.run(square, 2)
      expect(answers).toEqual([2, ...Array.from({ length: 20_000 }, () => 4)])
    }))

  it.effect("leaves no timer of a grace behind when the call has ended", () =>
    Effect.gen(function*() {
      const sleeps = { begun: 0, ended: 0 }
      const clock = yield* Clock.Clock
      const counting: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        sleep: (duration) =>
          Effect.suspend(() => {
            sleeps.begun++
            return Effect.onExit(clock.sleep(duration), () => Effect.sync(() => sleeps.ended++))
          })
      }
      const fiber = yield* Effect.forkChild(Effect.provideService(Blocking.run(soon, 1), Clock.Clock, counting), {
        startImmediately: true
      })
      yield* Fiber.interrupt(fiber)
      yield* Blocking.run(soon, 2)
      expect(sleeps).toEqual({ begun: 1, ended: 1 })
    }))

  it.effect("says what was thrown, whatever it was", () =>
    Effect.gen(function*() {
      const around: Record<string, unknown> = {}
      around["itself"] = around
      for (const value of [1n, { n: 1n }, around, Symbol("s"), Object.create(null), undefined]) {
        const throws = BlockingFunction.make(here, "throws", () => {
          throw value
        })
        expect((yield* Effect.flip(Blocking.run(throws))).message).toContain("threw ")
      }
    }))

  it.effect("ends a stream of a call with its result", () =>
    Effect.gen(function*() {
      expect(yield* Stream.runCollect(Blocking.stream(square, 3))).toEqual([{ _tag: "Result", value: 9 }])
    }))

  it.effect("tells of a call that was left to itself until it has settled", () =>
    Effect.gen(function*() {
      const pool = yield* Blocking.makeInline
      const status = Effect.map(pool.status, ({ busy, calls, stuck }) => ({
        busy,
        stuck,
        calls: calls.map((call) => call.function)
      }))
      let settle = () => {}
      const slow = BlockingFunction.make(here, "slow", () => new Promise<void>((resolve) => settle = resolve))
      const call = Effect.provideService(Blocking.run(slow), Blocking.Blocking, pool)
      const fiber = yield* Effect.forkChild(call, { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      expect(yield* status).toEqual({ busy: 1, stuck: 0, calls: ["slow"] })
      yield* TestClock.adjust("1 second")
      expect(yield* status).toEqual({ busy: 0, stuck: 1, calls: ["slow"] })
      settle()
      yield* Effect.promise(() => Promise.resolve())
      expect(yield* status).toEqual({ busy: 0, stuck: 0, calls: [] })
    }))

  it.effect("a call that cannot be interrupted is left to itself before its scope is closed, and its fiber goes on", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: "10 seconds" })
      const log: Array<string> = []
      const call = Effect.onExit(Blocking.run(never), (exit) => Effect.sync(() => log.push(exit._tag)))
      yield* TaskScope.spawn(scope, Effect.uninterruptible(call), "work")
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("7 seconds")
      expect(log).toEqual([])
      yield* TestClock.adjust("1 second")
      expect(log).toEqual(["Failure"])
      const report = yield* Fiber.join(closing)
      expect(report.tasks.map(({ kind, outcome, path }) => `${path} ${kind} ${outcome}`)).toEqual([
        "app/work background interrupted",
        "app/work/never blocking abandoned"
      ])
    }))

  it.effect("a call without a grace is left to itself in the moment in which its fiber leaves, and nobody waits for it", () =>
    Effect.gen(function*() {
      for (const within of [Effect.interruptible, Effect.uninterruptible]) {
        const scope = yield* TaskScope.make("app", { stopWithin: "10 seconds" })
        const call = Blocking.withOptions(Blocking.run(never), { grace: 0 })
        const task = yield* TaskScope.spawn(scope, within(call), "work")
        const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
        yield* TestClock.adjust("8 seconds")
        expect(task.status._tag).toBe("Ended")
        const report = yield* Fiber.join(closing)
        expect(report.took).toBe(within === Effect.interruptible ? 0 : 8000)
        expect(report.tasks.map(({ outcome, path }) => `${path} ${outcome}`)).toEqual([
          "app/work interrupted",
          "app/work/never abandoned"
        ])
      }
    }))

  it.effect("a call that outlives its fiber is in the report of its scope", () =>
    Effect.gen(function*() {
      const running = yield* Deferred.make<void>()
      const scope = yield* TaskScope.make("app", { stopWithin: "2 seconds" })
      yield* TaskScope.spawn(scope, Effect.andThen(Deferred.succeed(running, undefined), Blocking.run(never)), "work")
      yield* Deferred.await(running)
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      const report = yield* Fiber.join(closing)
      expect(report.tasks.map(({ kind, outcome, path }) => `${path} ${kind} ${outcome}`)).toEqual([
        "app/work background interrupted",
        "app/work/never blocking abandoned"
      ])
    }))
})

it.effect("a function that is cancelled in the inline pool is told once by an error, which no timer takes away", () =>
  Effect.gen(function*() {
    const seen: Array<boolean> = []
    const gate = Promise.withResolvers<void>()
    const looks = BlockingFunction.make(here, "looks", async () => {
      await gate.promise
      const call = BlockingFunction.threadGlobal().current
      const look = () => void seen.push(call?.takeCancel() === true)
      call?.runTimer(look)
      look()
      look()
      call?.runTimer(look)
    })
    const fiber = yield* Effect.forkChild(Blocking.run(looks), { startImmediately: true })
    yield* Fiber.interrupt(fiber)
    gate.resolve()
    const pool = yield* Blocking.Blocking
    while ((yield* pool.status).busy > 0) yield* Effect.promise(() => Promise.resolve())
    expect(seen).toEqual([true, true, false, false])
  }).pipe(Effect.provide(Blocking.layerInline)))

it.effect("a function in one inline pool knows its call, whatever runs in another one meanwhile", () =>
  Effect.gen(function*() {
    const other = yield* Blocking.makeInline
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
    const waits = (name: string, gate: Promise<void>) =>
      BlockingFunction.make(here, name, async () => {
        await gate
        return BlockingFunction.threadGlobal().current?.info()?.function
      })
    const started = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })
    const elsewhere = Effect.provideService(Blocking.Blocking, other)
    const early = yield* started(Blocking.run(waits("early", gates[0].promise)))
    expect(yield* elsewhere(Blocking.run(square, 2))).toBe(4)
    const late = yield* started(elsewhere(Blocking.run(waits("late", gates[1].promise))))
    gates[1].resolve()
    expect(yield* Fiber.join(late)).toBe("late")
    gates[0].resolve()
    expect(yield* Fiber.join(early)).toBe("early")
    yield* Effect.yieldNow
    expect(BlockingFunction.threadGlobal().current).toBeUndefined()
  }).pipe(Effect.provide(Blocking.layerInline)))

describe("an option of a call", () => {
  it.effect.each([
    ["timeout", { timeout: 0 }],
    ["timeout", { timeout: Number.NaN }],
    ["timeout", { timeout: "soon" as never }],
    ["grace", { grace: -1 }],
    ["grace", { grace: Number.NaN }],
    ["options", null],
    ["options", "fast"],
    ["name", { name: 1 as never }],
    ["name", { name: " " }],
    ["name", { name: "photos/resize" }],
    ["name", { name: "resize#2" }],
    ["transfer", { transfer: {} as never }]
  ])("that makes no sense is refused before anything runs: %s", ([option, options]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Blocking.withOptions(Blocking.run(square, 1), options as Blocking.CallOptionsInput)
      )
      expect(error).toMatchObject({ _tag: "InvalidOption" })
      expect(error.message).toContain(option as string)
    }).pipe(Effect.provide(Blocking.layerInline)))
})

describe("the declaration of a blocking function", () => {
  it.each([
    ["without import.meta", () => BlockingFunction.make(undefined as never, "f", () => 1), "import.meta"],
    ["without a name", () => BlockingFunction.make(here, "", () => 1), "the name is empty"],
    ["with a name that is no part of a path", () => BlockingFunction.make(here, "a/b", () => 1), "one part of a path"],
    ["with the name of a namesake", () => BlockingFunction.make(here, "f#2", () => 1), "one part of a path"],
    ["without a function", () => BlockingFunction.make(here, "f", 1 as never), "not a function"]
  ])("%s is refused at once", (_, declare, message) => {
    expect(declare).toThrow(message)
  })
})
