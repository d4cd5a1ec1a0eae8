import { Blocking, Bus, Job, TaskScope } from "@ambit/core"
import { BlockingPool, MainCalls } from "@ambit/node"
import { expect, layer } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as functions from "../fixtures/functions.ts"
import * as publishes from "../fixtures/publishes.ts"
import { Counts, Readings } from "../fixtures/topics.ts"
import { gate, reaches, set } from "../support/gate.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const offered = MainCalls.offer(publishes.Events, Bus.calls(Counts, Readings))

const inScope = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.provide(Effect.provide(effect, TaskScope.layer("app")), Bus.layer))

layer(BlockingPool.layer({ threads: 2, saturation: "none" }), { excludeTestServices: true })(
  "a bus and threads",
  (it) => {
    it.effect("D1, D2: what a thread posts is published, decoded and in its order", () =>
      Effect.gen(function*() {
        const seen: Array<number> = []
        const done = yield* Deferred.make<void>()
        yield* Bus.on(
          Counts,
          Job.callback("note", (n: number) => {
            seen.push(n)
            if (n === 1000) Deferred.doneUnsafe(done, Effect.void)
          })
        )
        yield* offered(Blocking.run(publishes.counts, 1000))
        yield* Deferred.await(done)
        expect(seen).toEqual(Array.from({ length: 1000 }, (_, index) => index + 1))

        const reading = yield* Deferred.make<unknown>()
        yield* Bus.on(Readings, Job.effect("keep", (event) => Deferred.succeed(reading, event)))
        yield* offered(Blocking.run(publishes.postsReading, "21.5"))
        expect(yield* Deferred.await(reading)).toEqual({ celsius: 21.5 })
      }).pipe(inScope))

    it.effect("D6, D16: what does not fit its Schema is thrown in a thread that waits, and logged for one that does not", () =>
      Effect.gen(function*() {
        const recorder = makeRecorder()
        yield* Effect.gen(function*() {
          yield* Bus.on(Readings, Job.effect("keep", () => Effect.die("called")))
          const thrown = yield* offered(Blocking.run(publishes.callsReading, "warm"))
          expect(thrown).toMatchObject({ _tag: "InvalidEvent", topic: "readings" })
          const ended = yield* Deferred.make<string>()
          yield* Bus.on(Bus.taskEnded, Job.effect("note", ({ path }: Bus.TaskEnded) => Deferred.succeed(ended, path)))
          yield* offered(Blocking.run(publishes.postsReading, "warm"))
          expect(yield* Deferred.await(ended)).toBe("app/events.readings")
        }).pipe(inScope, Effect.provide(recorder.layer))
        const errors = linesAt(recorder.records, "Error")
        expect(errors).toHaveLength(1)
        expect(errors[0]).toContain("Task app/events.readings failed")
      }))

    it.effect("restart: a run on a thread has ended before the new one begins (K2)", () =>
      Effect.gen(function*() {
        const Gates = Bus.topic("gates", Schema.declare((u): u is Int32Array => u instanceof Int32Array))
        const [one, two] = [gate(), gate()]
        const subscription = yield* Bus.on(Gates, Job.blocking(functions.hold), { overlap: Bus.restart })
        yield* Bus.publish(Gates, one)
        yield* reaches(one, 0, 1)
        yield* Bus.publish(Gates, two)
        expect(subscription.status).toMatchObject({ running: 1, waiting: 1 })
        expect(two[0]).toBe(0)
        set(one, 1, 1)
        yield* reaches(two, 0, 1)
        set(two, 1, 1)
      }).pipe(inScope))
  }
)
