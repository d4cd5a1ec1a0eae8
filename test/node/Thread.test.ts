import { Blocking, Task, TaskScope } from "@ambit/core"
import { BlockingPool, MainCalls, Thread } from "@ambit/node"
import { expect, it, layer, vi } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as asks from "../fixtures/asks.ts"
import * as functions from "../fixtures/functions.ts"
import { eventually } from "../support/eventually.ts"
import { gate, reaches } from "../support/gate.ts"
import { makeRecorder } from "../support/recorder.ts"

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { path: Schema.String }) {}

class Extra extends Context.Service<Extra, number>()("test/Extra") {}

const handlers = {
  add: (a: number, b: number) => Effect.succeed(a + b),
  slow: () => Effect.succeed("slow"),
  fail: () => Effect.fail("no"),
  nested: (n: number) => Effect.succeed(n),
  note: () => Effect.void,
  forever: () => Effect.void
}

const offered = MainCalls.offer(asks.Desk, handlers)

const started = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

layer(BlockingPool.layer({ threads: 2, grace: 20 }), { excludeTestServices: true })("a function on a thread", (it) => {
  it.effect("logs with the loggers and annotations of its caller, and keeps what is too quiet", () =>
    Effect.gen(function*() {
      const recorder = makeRecorder()
      yield* TaskScope.use("sensor", () => Blocking.run(functions.logs)).pipe(
        Effect.annotateLogs({ run: "17" }),
        Effect.provideService(References.MinimumLogLevel, "Info"),
        Effect.provide(recorder.layer),
        Effect.provideService(References.MinimumLogLevel, "Info")
      )
      const line = recorder.records.find(({ message }) => message === "from a thread")
      expect(line).toMatchObject({ level: "Info", annotations: { run: "17", size: 3 } })
      expect(String(line?.annotations["thread"])).toMatch(/^blocking-\d$/)
    }))

  it.effect("logs annotations of any name", () =>
    Effect.gen(function*() {
      const recorder = makeRecorder()
      yield* Effect.provide(Blocking.run(functions.logsNames), recorder.layer)
      const line = recorder.records.find(({ message }) => message === "names")
      expect(line?.annotations).toMatchObject({ name: "sda", message: "hello", cause: "heat", stack: "top" })
    }))

  it.effect("prints, and what it printed arrives though it blocks next and is ended", () =>
    Effect.gen(function*() {
      const written: Array<string> = []
      const spy = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
        written.push(String(chunk))
        return true
      })
      const fiber = yield* started(Blocking.run(functions.prints, 5))
      yield* eventually(Effect.sync(() => written.length >= 5))
      yield* Fiber.interrupt(fiber)
      spy.mockRestore()
      expect(written.slice(0, 5).join("")).toBe("line 0\nline 1\nline 2\nline 3\nline 4\n")
    }))

  it.effect("tells its progress as a stream that ends with the result", () =>
    Effect.gen(function*() {
      expect(yield* Stream.runCollect(Blocking.stream(functions.reports, 3))).toEqual([
        { _tag: "Progress", value: { step: 1 } },
        { _tag: "Progress", value: { step: 2 } },
        { _tag: "Progress", value: { step: 3 } },
        { _tag: "Result", value: "done" }
      ])
    }))

  it.effect("never makes a slow reader miss the result, only older progress", () =>
    Effect.gen(function*() {
      const events = yield* Blocking.stream(functions.reports, 200).pipe(
        Stream.tap(() => Effect.sleep("1 millis")),
        Stream.runCollect
      )
      expect(events.at(-1)).toEqual({ _tag: "Result", value: "done" })
      expect(events.length).toBeLessThanOrEqual(201)
    }))

  it.effect("says its progress to nobody once its call has ended, least of all as that of another call", () =>
    Effect.gen(function*() {
      const both = Effect.gen(function*() {
        const events = yield* Stream.runCollect(Blocking.stream(functions.reportsLate, 20))
        return [events, yield* Stream.runCollect(Blocking.stream(functions.later, 100))] as const
      })
      const [own, others] = yield* Effect.provide(both, BlockingPool.layer({ threads: 1 }), { local: true })
      expect(own).toEqual([{ _tag: "Progress", value: "in time" }, { _tag: "Result", value: undefined }])
      expect(others).toEqual([{ _tag: "Result", value: "after 100" }])
    }))

  it.effect("is cancelled when the reader of its progress goes away", () =>
    Effect.gen(function*() {
      const pool = yield* Blocking.Blocking
      const before = (yield* pool.status).cancelled
      yield* Blocking.stream(functions.reportsForever).pipe(Stream.take(2), Stream.runDrain)
      expect((yield* pool.status).cancelled).toBe(before + 1)
    }))

  it.effect("has the grace for its clean-up, which runs to its end", () =>
    Effect.gen(function*() {
      const memory = gate()
      const fiber = yield* started(
        Blocking.run(functions.cleansUp, memory, 150).pipe(Blocking.withOptions({ grace: "5 seconds" }))
      )
      yield* reaches(memory, 0, 1)
      yield* Fiber.interrupt(fiber)
      yield* reaches(memory, 0, 2)
      const pool = yield* Blocking.Blocking
      expect((yield* pool.status).stuck).toBe(0)
    }))

  it.effect("whose result throws what cannot be shown is answered, and the thread goes on", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Blocking.run(functions.returnsSpiteful))
      expect(error.reason).toMatchObject({ _tag: "NotCloneable", value: "result" })
      expect(yield* Blocking.run(functions.triple, 2)).toBe(6)
    }))

  it.effect("that throws what cannot be looked at is answered, and the thread goes on", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Blocking.run(functions.throwsSpiteful))
      expect(error.reason._tag).toBe("FunctionThrew")
      expect(yield* Blocking.run(functions.triple, 2)).toBe(6)
    }))

  it.effect("that writes to a stream what is no text gets the error itself", () =>
    Effect.gen(function*() {
      expect(yield* Blocking.run(functions.writesNumber)).toBe("TypeError ERR_INVALID_ARG_TYPE")
    }))

  it.effect("that throws a plain object keeps its tag and fields, though one cannot be cloned", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Blocking.throws(Blocking.run(functions.throwsPlain, "a.txt"), [NotFound]))
      expect(error).toBeInstanceOf(NotFound)
      expect(error).toMatchObject({ path: "a.txt" })
    }))

  it.effect("sees no call in a timer that runs after it", () =>
    Effect.gen(function*() {
      const memory = gate()
      expect(yield* Blocking.run(functions.looksLater, memory)).toBe("looksLater")
      yield* reaches(memory, 0, 1)
      expect(memory[0]).toBe(1)
    }))

  it.effect("that logs at a level which there is none of is told the levels", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Blocking.run(functions.logsAt, "info"))
      expect(error.message).toContain("TypeError: Thread.log knows no level info: give it one of Trace, Debug, Info")
    }))

  it.effect("that has thrown because it was cancelled asks the main thread in its clean-up", () =>
    Effect.gen(function*() {
      const memory = gate()
      const fiber = yield* started(
        offered(Blocking.run(asks.asksAfterThrow, memory)).pipe(
          Blocking.withOptions({ grace: "5 seconds" })
        )
      )
      yield* reaches(memory, 0, 1)
      yield* Fiber.interrupt(fiber)
      yield* reaches(memory, 2, 1)
      expect(memory[1]).toBe(42)
    }))

  it.effect("that is cancelled is told once by an error, which no timer takes away, and its clean-up is not disturbed", () =>
    Effect.gen(function*() {
      const memory = gate()
      const call = Blocking.withOptions(offered(Blocking.run(asks.looksAgain, memory)), { grace: "5 seconds" })
      const fiber = yield* started(call)
      yield* reaches(memory, 0, 1)
      yield* Fiber.interrupt(fiber)
      yield* reaches(memory, 0, 2)
      expect([...memory]).toEqual([2, 2, 1, 0])
    }))

  it.effect.each([Number.NaN, -1, "soon", Infinity])(
    "is told that it cannot wait within %s",
    (within) =>
      Effect.gen(function*() {
        const { error } = yield* offered(Blocking.run(asks.callsWithin, within))
        expect(error).toMatchObject({ name: "RangeError" })
        expect(error?.["message"]).toContain(String(within))
      })
  )

  it.effect("finds only the calls that are offered", () =>
    Effect.gen(function*() {
      const { error } = yield* offered(Blocking.run(asks.asksInherited))
      expect(error).toMatchObject({ _tag: "CallRefused", why: "notOffered" })
    }))

  it.effect("gets a handler with the services of the offer, and the annotations and scope of the call", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const add = (a: number, b: number) =>
        Effect.gen(function*() {
          const scope = yield* TaskScope.TaskScope
          seen.push(scope.path, yield* References.CurrentLogAnnotations)
          return a + b + (yield* Extra)
        })
      const here = MainCalls.offer(asks.Desk, { ...handlers, add })
      const there = TaskScope.use("there", () => Blocking.run(asks.adds, 1, 2)).pipe(
        Effect.annotateLogs({ run: "17" }),
        Effect.provideService(Extra, 1000)
      )
      const sum = yield* TaskScope.use("here", () => here(there)).pipe(Effect.provideService(Extra, 10))
      expect(sum).toBe(13)
      expect(seen).toMatchObject(["here/there", { run: "17" }])
    }))
})

it.live("a handler is in scope and task of the call, wherever it was offered", () =>
  Effect.gen(function*() {
    const seen: Array<readonly [scope: string, task: string | undefined]> = []
    const add = () =>
      Effect.gen(function*() {
        const task = yield* Task.current
        const scope = yield* TaskScope.TaskScope
        seen.push([scope.path, Option.getOrUndefined(task)?.path])
        return 0
      })
    const offers = yield* TaskScope.use("offer", () => Layer.build(MainCalls.layer(asks.Desk, { ...handlers, add })))
    const call = Effect.provide(Blocking.run(asks.adds, 1, 2), offers)
    const there = yield* TaskScope.make("there")
    const task = yield* TaskScope.spawn(there, call, "call")
    yield* task.join
    // In a scope, but in no task.
    yield* Effect.provideService(call, TaskScope.TaskScope, there)
    expect(seen).toEqual([["there", "there/call"], ["there", undefined]])
  }).pipe(Effect.scoped, Effect.provide(BlockingPool.layer({ threads: 1 }))))

it("D11: what only a thread can do says so on the main thread, with the name of the operation", () => {
  expect(() => Thread.log("Info", "x")).toThrow("Thread.log needs a blocking function around it")
  expect(Thread.isCancelled()).toBe(false)
})

it("a timer of a call that is over does not crash the main thread when it throws", async () => {
  const warned: Array<string> = []
  const spy = vi.spyOn(process, "emitWarning").mockImplementation((warning) => {
    warned.push(String(warning))
  })
  Thread.after(0, () => {
    throw new Error("nobody is there")
  })
  await vi.waitFor(() => expect(warned).toHaveLength(1))
  spy.mockRestore()
  expect(warned[0]).toContain("A timer threw: Error: nobody is there")
})

it.effect.each<[string, unknown, string]>([
  ["no options", null, "options of a pool"],
  ["no threads", { threads: null }, "threads of pool"],
  ["threads in words", { threads: "many" }, "threads of pool"],
  ["a saturation that there is none of", { saturation: "off" }, "saturation of pool"],
  ["limits that are none", { resourceLimits: 64 }, "resourceLimits of pool"],
  ["a limit that is no number", { resourceLimits: { maxOldGenerationSizeMb: "64" } }, "maxOldGenerationSizeMb of pool"],
  ["a limit that nobody knows", { resourceLimits: { maxOldSpace: 64 } }, "maxOldSpace of pool"],
  ["a grace that is nothing", { grace: null }, "grace of pool"],
  ["a name without text", { name: Object.create(null) }, "name of a pool"]
])("a pool is refused %s", ([, options, option]) =>
  Effect.gen(function*() {
    const error = yield* Effect.flip(BlockingPool.make(options as never))
    expect(error).toMatchObject({ _tag: "InvalidOption" })
    expect(error.message).toContain(option)
  }).pipe(Effect.scoped))
