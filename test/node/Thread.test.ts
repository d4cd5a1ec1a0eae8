import { Blocking, TaskScope } from "@ambit/core"
import { BlockingPool, Thread } from "@ambit/node"
import { expect, it, layer, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as functions from "../fixtures/functions.ts"
import { gate, reaches } from "../support/gate.ts"
import { makeRecorder } from "../support/recorder.ts"

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

  it.effect("prints, and what it printed arrives though it blocks next and is ended", () =>
    Effect.gen(function*() {
      const written: Array<string> = []
      const spy = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
        written.push(String(chunk))
        return true
      })
      const fiber = yield* started(Blocking.run(functions.prints, 5))
      while (written.length < 5) yield* Effect.sleep("5 millis")
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
})

it("D11: what only a thread can do says so on the main thread, with the name of the operation", () => {
  expect(() => Thread.progress(1)).toThrow("Thread.progress needs a blocking function around it")
  expect(() => Thread.log("Info", "x")).toThrow("Thread.log needs a blocking function around it")
  expect(Thread.isCancelled()).toBe(false)
})
