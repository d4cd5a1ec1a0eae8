import { Blocking, Job, TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { describe, expect, it, layer } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { threadId } from "node:worker_threads"
import * as functions from "../fixtures/functions.ts"
import { gate, reaches, set } from "../support/gate.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const recorded = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const recorder = makeRecorder()
    return Effect.map(Effect.exit(Effect.provide(effect, recorder.layer)), (exit) => ({
      error: Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined,
      errors: linesAt(recorder.records, "Error"),
      records: recorder.records
    }))
  })

layer(BlockingPool.layer({ threads: 2, grace: "100 millis", saturation: "none" }), { excludeTestServices: true })(
  "jobs with a real pool",
  (it) => {
    it.effect("E1: an asynchronous, a plain and a blocking function give their results when they are awaited", () =>
      Effect.gen(function*() {
        const later = async (n: number) => {
          await new Promise((resolve) => setImmediate(resolve))
          return n * 3
        }
        const plain = (n: number) => n * 3
        expect(yield* Job.run(Job.from(later))(14)).toBe(42)
        expect(yield* Job.run(Job.from(plain))(14)).toBe(42)
        expect(yield* Job.run(Job.from(functions.triple))(14)).toBe(42)
        const { threadId: where } = yield* Job.run(Job.from(functions.where))()
        expect(where).not.toBe(threadId)
      }))

    it.effect("E2: an error that a blocking function throws is logged once with its name, and thrown again", () =>
      Effect.gen(function*() {
        const { error, errors, records } = yield* recorded(Job.run(Job.from(functions.throwsError))())
        expect(errors).toEqual(["Job throwsError failed"])
        expect(records.map((record) => record.annotations["job"])).toEqual(["throwsError"])
        expect(Cause.pretty(records[0]!.cause)).toContain("too far")
        expect(error).toMatchObject({
          _tag: "BlockingError",
          reason: { _tag: "FunctionThrew", error: { name: "RangeError", message: "too far" } }
        })
      }))

    it.effect("E2: in a task that ends with the error, it is logged once as well", () =>
      Effect.gen(function*() {
        const program = TaskScope.use("app", () => Effect.ignore(Job.run(Job.from(functions.throwsError))()))
        expect((yield* recorded(program)).errors).toEqual(["Job throwsError failed in task app/(body)"])
        const ending = Effect.gen(function*() {
          const scope = yield* TaskScope.make("app")
          const task = yield* TaskScope.spawn(scope, Job.run(Job.from(functions.throwsError))(), "poll")
          yield* task.await
        })
        expect((yield* recorded(Effect.scoped(ending))).errors).toEqual(["Job throwsError failed in task app/poll"])
      }))

    it.effect("E3: a timeout, of the call or in the function, is thrown again and not logged", () =>
      Effect.gen(function*() {
        const late = yield* recorded(
          Blocking.withOptions(Job.run(Job.from(functions.block))(5_000), { timeout: "50 millis" })
        )
        expect(late.error).toMatchObject({ reason: { _tag: "TimedOut" } })
        const inside = yield* recorded(Job.run(Job.from(functions.throwsTimeout))())
        expect(inside.error).toMatchObject({ reason: { _tag: "FunctionThrew", error: { name: "TimeoutError" } } })
        const around = yield* recorded(Effect.timeout(Job.run(Job.from(functions.block))(5_000), "50 millis"))
        expect(Cause.isTimeoutError(around.error)).toBe(true)
        // The pool may warn of a limit that was missed. Nobody logs an error, nor anything in the name of the job.
        const records = [...late.records, ...inside.records, ...around.records]
        expect(records.filter(({ annotations, level }) => level === "Error" || "job" in annotations)).toEqual([])
      }))

    it.effect("a blocking job that is dispatched is a task on a thread, and its call is given up with the task", () =>
      Effect.gen(function*() {
        const memory = gate()
        const scope = yield* TaskScope.make("app")
        const inScope = Effect.provideService(TaskScope.TaskScope, scope)
        const task = yield* inScope(Job.dispatch(Job.from(functions.hold))(memory))
        expect([task.path, task.status._tag]).toEqual(["app/hold", "Running"])
        yield* reaches(memory, 0, 1)
        expect(yield* task.interrupt()).toBe(true)
        set(memory, 1, 1)
        yield* TaskScope.close(scope)
        const { errors } = yield* recorded(Effect.provide(
          Effect.flatMap(Job.dispatch(Job.from(functions.throwsError))(), (task) => task.await),
          TaskScope.layer("other")
        ))
        expect(errors).toEqual([expect.stringContaining("Task other/throwsError failed")])
      }).pipe(Effect.scoped))

    it.effect("a callback that is dispatched while a thread works has run when the call returns", () =>
      Effect.gen(function*() {
        const memory = gate()
        const holding = yield* Effect.forkChild(Job.run(Job.from(functions.hold))(memory), { startImmediately: true })
        yield* reaches(memory, 0, 1)
        const letGo = Job.callback("let-go", () => set(memory, 1, 1))
        Job.dispatch(letGo)()
        expect(yield* Fiber.join(holding)).toBe("let go")
      }))
  }
)

describe("jobs with a pool that has stopped", () => {
  it.live("fail with what has happened, once in the log, by run as by dispatch", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const pool = yield* Layer.buildWithScope(BlockingPool.layer({ threads: 1 }), scope)
      yield* Scope.close(scope, Exit.void)
      const triple = Job.from(functions.triple)
      const provided = <A, E>(effect: Effect.Effect<A, E, Blocking.Blocking>) => Effect.provideContext(effect, pool)

      const ran = yield* recorded(provided(Job.run(triple)(1)))
      expect(ran.error).toMatchObject({ reason: { _tag: "PoolStopped" } })
      expect(ran.errors).toEqual(["Job triple failed"])

      const dispatched = yield* recorded(provided(Effect.provide(
        Effect.flatMap(Job.dispatch(triple)(1), (task) => task.join),
        TaskScope.layer("app")
      )))
      expect(dispatched.error).toMatchObject({ reason: { _tag: "PoolStopped" } })
      expect(dispatched.errors).toEqual([expect.stringContaining("Task app/triple failed")])
    }))
})
