import { Blocking, TaskScope, TimeLimit } from "@ambit/core"
import { BlockingPool, MainCalls } from "@ambit/node"
import { expect, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as freezes from "../fixtures/freezes.ts"
import * as functions from "../fixtures/functions.ts"
import { gate, reaches, set } from "../support/gate.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const begin = performance.now()
    const end = yield* Effect.match(effect, {
      onFailure: (error) => error,
      onSuccess: (value) => value
    })
    return { end, took: performance.now() - begin }
  })

const inScope = <A, E, R>(effect: Effect.Effect<A, E, R>) => TaskScope.use("app", () => effect)

/** Offers threads to stop the clocks of the limits that they are called in. */
const withClocks = (zone?: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Latch.make(), (runs) =>
    MainCalls.offer(effect, freezes.Clocks, {
      stop: () => zone === undefined ? TimeLimit.freeze(runs.await) : TimeLimit.freeze(runs.await, zone),
      run: () => Effect.asVoid(runs.open)
    }))

layer(BlockingPool.layer({ threads: 2, grace: "1 second", saturation: "none" }), { excludeTestServices: true })(
  "a limit of work on a thread",
  (it) => {
    it.effect("J1: of 100 ms ends a blocking job of 3 s after 100 ms", () =>
      Effect.gen(function*() {
        const job = Blocking.run(functions.block, 3000).pipe(TimeLimit.within("100 millis"), timed)
        const { end, took } = yield* inScope(job)
        expect(end).toMatchObject({ _tag: "TimeLimitExceeded", limit: 100 })
        expect(took).toBeGreaterThanOrEqual(99)
        expect(took).toBeLessThan(2000)
      }))

    it.effect("J2: of 1 s that is frozen for 1.5 s from inside of a blocking job does not end it", () =>
      Effect.gen(function*() {
        // Until the job stops the clock, the limit runs: a busy machine takes its time to start it.
        const job = Blocking.run(freezes.migrate, 1500)
        const inside = job.pipe(withClocks("recorder"), TimeLimit.within("1 second", { zone: "recorder" }))
        expect((yield* timed(inScope(inside))).end).toBe("migrated")
        const offeredOutside = job.pipe(TimeLimit.within("1 second"), withClocks(), TimeLimit.within("1 minute"))
        expect((yield* timed(inScope(offeredOutside))).end).toBe("migrated")
      }))

    it.effect("J2: counts the time after such a freeze", () =>
      Effect.gen(function*() {
        const job = Blocking.run(freezes.migrate, 50)
        const late = Effect.andThen(job, Effect.never).pipe(withClocks("recorder"), TimeLimit.within("100 millis"))
        const { end, took } = yield* timed(inScope(Effect.result(late)))
        expect(end).toMatchObject({ failure: { _tag: "TimeLimitExceeded" } })
        expect(took).toBeGreaterThanOrEqual(99)
      }))

    it.effect("M3: of a task releases it in time, and the record says that a thread is still busy, where one is", () => {
      const { layer: recording, records } = makeRecorder()
      return Effect.gen(function*() {
        const memory = gate()
        const scope = yield* TaskScope.make("app")
        const limit = { within: "1 second" } as const
        const tasks = [
          yield* TaskScope.spawn(scope, Blocking.run(functions.hold, memory), "busy", limit),
          yield* TaskScope.spawn(scope, Effect.never, "waits", limit)
        ]
        yield* reaches(memory, 0, 1)
        for (const task of tasks) yield* task.await
        set(memory, 1, 1)
        expect(linesAt(records, "Warn").map((line) => line.split(";")[0])).toEqual([
          "Task app/busy timed out: it had not ended after 1.0 s, its limit, and a thread is still busy with it",
          "Task app/waits timed out: it had not ended after 1.0 s, its limit"
        ])
      }).pipe(Effect.scoped, Effect.provide(recording))
    })
  }
)
