import { App, Blocking, BlockingFunction, Bus, Host, InvalidOption, Job, Restart, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { type BusImpl, channelOf, handlersOf } from "../../packages/core/src/internal/bus.ts"
import { awakeClock } from "../support/awakeClock.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const Numbers = Bus.topic("numbers", Schema.Finite)
const Words = Bus.topic("words", Schema.String)

const layers = Layer.merge(Bus.layer, TaskScope.layer("app"))

/** Runs with a bus, in a scope `app`. */
const provided = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.scoped(Effect.provide(effect, layers))

/** The same, and gives the log. */
const recorded = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const { layer, records } = makeRecorder()
    return Effect.map(Effect.provide(provided(effect), layer), (value) => ({ value, records }))
  })

const publishAll = (...numbers: ReadonlyArray<number>) =>
  Effect.forEach(numbers, (n) => Bus.publish(Numbers, n), { discard: true })

/** A handler that writes down what it gets. */
const noting = <Event>(name: string, log: Array<unknown>) =>
  Job.callback(name, (event: Event) => void log.push(`${name} ${String(event)}`))

/** A run that waits for its gate, by the number of its event, and writes down what happens to it. */
const gated = (log: Array<string>, ending: Effect.Effect<void> = Effect.void) => {
  const gates = new Map<number, Deferred.Deferred<void, string>>()
  const gateOf = (n: number) => {
    const gate = gates.get(n) ?? Deferred.makeUnsafe<void, string>()
    gates.set(n, gate)
    return gate
  }
  const job = Job.effect("work", (n: number) =>
    Effect.suspend(() => {
      log.push(`begin ${n}`)
      return Deferred.await(gateOf(n)).pipe(
        Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : ending),
        Effect.onExit((exit) => Effect.sync(() => log.push(Exit.isSuccess(exit) ? `end ${n}` : `stop ${n}`)))
      )
    }))
  return {
    job,
    release: (n: number) => Effect.andThen(Deferred.succeed(gateOf(n), undefined), turns),
    fail: (n: number) => Effect.andThen(Deferred.fail(gateOf(n), "no"), turns)
  }
}

/** Lets what is due happen. */
const turns = Effect.repeat(Effect.yieldNow, { times: 20 })

const refusal = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, InvalidOption)
    return error
  })

describe("Bus.topic", () => {
  it("refuses a name that cannot be a name, and what is no Schema", () => {
    assert.throws(() => Bus.topic("", Schema.String), InvalidOption)
    assert.throws(() => Bus.topic("a/b", Schema.String), InvalidOption)
    assert.throws(() => Bus.topic("a", "string" as never), InvalidOption)
  })

  it.effect("of the name of another one is refused on the same bus, by who publishes and by who registers", () =>
    Effect.gen(function*() {
      yield* Bus.publish(Numbers, 1)
      const other = Bus.topic("numbers", Schema.String)
      const exit = yield* Effect.exit(Bus.publish(other, "one"))
      assert.include(String(exit), "another topic on this bus has it")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Bus.on(other, noting("note", [])))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Bus.publisher(other))))
      const ended = Bus.topic("task-ended", Schema.String)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Bus.publish(ended, "mine"))))
    }).pipe(provided))
})

describe("an event", () => {
  it.effect("gets to callbacks before any task, each in the order of registration", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const effect = (name: string) => Job.effect(name, (n: number) => Effect.sync(() => log.push(`${name} ${n}`)))
      yield* Bus.on(Numbers, effect("effect-1"))
      yield* Bus.on(Numbers, noting("callback-1", log))
      yield* Bus.on(Numbers, effect("effect-2"))
      yield* Bus.on(Numbers, noting("callback-2", log))
      yield* Bus.publish(Numbers, 1)
      log.push("published")
      assert.deepStrictEqual(log, ["callback-1 1", "callback-2 1", "effect-1 1", "effect-2 1", "published"])
    }).pipe(provided))

  it.effect("starts a task of the scope that registered the handler, with the services from there", () =>
    Effect.gen(function*() {
      class Place extends Context.Service<Place, string>()("test/core/Bus/Place") {}
      const seen: Array<string> = []
      const job = Job.effect("look", function*(n: number) {
        const task = yield* Task.current
        seen.push(`${yield* Place} ${task._tag === "Some" ? task.value.path : ""} ${n}`)
      })
      const scope = yield* TaskScope.make("other")
      yield* Bus.on(Numbers, job).pipe(
        Effect.provideService(Place, "there"),
        Effect.provideService(TaskScope.TaskScope, scope)
      )
      yield* Effect.provideService(Bus.publish(Numbers, 1), Place, "here")
      assert.deepStrictEqual(seen, ["there app/other/look 1"])
    }).pipe(provided))

  it.effect("that nobody listens to is only counted", () =>
    Effect.gen(function*() {
      yield* Bus.publish(Numbers, 1)
      const status = yield* Bus.status
      assert.deepStrictEqual(status.find(({ topic }) => topic === "numbers"), {
        topic: "numbers",
        published: 1,
        dropped: 0,
        failed: 0,
        handlers: []
      })
    }).pipe(provided))

  it.effect("is published from a plain callback in its turn", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(Numbers, noting("note", log))
      const publish = yield* Bus.publisher(Numbers)
      publish(1)
      assert.deepStrictEqual(log, ["note 1"])
    }).pipe(provided))

  it.effect("gets only to the handlers whose filter lets it through", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const even = (n: number) => n % 2 === 0
      yield* Bus.on(Numbers, noting("callback", log), { filter: even })
      yield* Bus.on(Numbers, Job.effect("effect", (n: number) => Effect.sync(() => log.push(`effect ${n}`))), {
        filter: even
      })
      yield* publishAll(1, 2)
      assert.deepStrictEqual(log, ["callback 2", "effect 2"])
    }).pipe(provided))

  it.effect("runs a blocking handler on the pool", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      const keep = BlockingFunction.make({ url: import.meta.url }, "keep", (n: number) => seen.push(n))
      const subscription = yield* Bus.on(Numbers, Job.blocking(keep))
      assert.strictEqual(subscription.status.kind, "blocking")
      yield* Bus.publish(Numbers, 7)
      yield* turns
      assert.deepStrictEqual(seen, [7])
    }).pipe(provided, Effect.provide(Blocking.layerInline)))
})

describe("what is published while an event is handed over", () => {
  it.effect("comes after it, so that all handlers see all events in one order", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const publish = yield* Bus.publisher(Numbers)
      yield* Bus.on(
        Numbers,
        Job.callback("reply", (n: number) => {
          log.push(`reply ${n}`)
          if (n < 3) {
            publish(n + 1)
            log.push(`replied ${n}`)
          }
        })
      )
      yield* Bus.on(Numbers, noting("note", log))
      yield* Bus.on(Numbers, Job.effect("work", (n: number) => Effect.sync(() => log.push(`work ${n}`))))
      yield* Bus.publish(Numbers, 1)
      assert.deepStrictEqual(log, [
        "reply 1",
        "replied 1",
        "note 1",
        "work 1",
        "reply 2",
        "replied 2",
        "note 2",
        "work 2",
        "reply 3",
        "note 3",
        "work 3"
      ])
    }).pipe(provided))

  it.effect("by the first step of a task comes after it as well, also on another topic", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(
        Numbers,
        Job.effect("spell", function*(n: number) {
          yield* Bus.publish(Words, `w${n}`)
          log.push("spelt")
        })
      )
      yield* Bus.on(Words, noting("words", log))
      yield* Bus.on(Numbers, Job.effect("last", () => Effect.sync(() => log.push("last"))))
      yield* Bus.publish(Numbers, 1)
      assert.deepStrictEqual(log, ["spelt", "last", "words w1"])
    }).pipe(provided))

  it.effect("and leads to itself again and again, is cut off, counted, and said once", () =>
    Effect.gen(function*() {
      let calls = 0
      const publish = yield* Bus.publisher(Numbers)
      yield* Bus.on(
        Numbers,
        Job.callback("echo", (n: number) => {
          calls++
          publish(n)
          publish(n)
        }, { budget: "none" })
      )
      yield* Bus.publish(Numbers, 1)
      assert.strictEqual(calls, 10_001)
      const dropped = 2 * 10_001 - 10_000
      assert.strictEqual((yield* Bus.status).find(({ topic }) => topic === "numbers")?.dropped, dropped)
      // The bus works on.
      yield* Bus.publish(Words, "after")
      yield* Bus.publish(Numbers, 2)
      assert.strictEqual(calls, 20_002)
    }).pipe(
      recorded,
      Effect.map(({ records }) => {
        const errors = linesAt(records, "Error")
        assert.strictEqual(errors.length, 1)
        assert.include(errors[0], "10000 events followed from one")
        assert.include(errors[0], "topic numbers")
      })
    ))
})

describe("a handler that fails", () => {
  it.effect("as a callback leaves the others alone, and is logged once with its name and topic", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const fails = Job.callback("fails", () => {
        throw new Error("no")
      })
      const subscription = yield* Bus.on(Numbers, fails)
      yield* Bus.on(Numbers, noting("note", log))
      yield* Bus.on(Numbers, Job.effect("work", () => Effect.sync(() => log.push("work"))))
      yield* Bus.publish(Numbers, 1)
      assert.deepStrictEqual(log, ["note 1", "work"])
      assert.strictEqual(subscription.status.failed, 1)
    }).pipe(
      recorded,
      Effect.map(({ records }) => {
        assert.deepStrictEqual(linesAt(records, "Error"), [
          "Handler fails of app for topic numbers failed; the other handlers go on"
        ])
        assert.deepInclude(records[0]!.annotations, { topic: "numbers", job: "fails" })
      })
    ))

  const endings: ReadonlyArray<readonly [string, () => unknown]> = [
    ["throws", () => {
      throw new Error("no")
    }],
    ["rejects", () => Promise.reject(new Error("no"))],
    ["fails", () => Effect.fail("no")],
    ["dies", () => Effect.die("no")]
  ]
  it.effect.each(endings)(
    "as an effect that %s leaves the others alone, and the scope logs it once",
    ([name, f]) =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const subscription = yield* Bus.on(Numbers, Job.effect(name, f))
        yield* Bus.on(Numbers, Job.effect("work", () => Effect.sync(() => log.push("work"))))
        yield* Bus.publish(Numbers, 1)
        yield* turns
        yield* Effect.promise(() => Promise.resolve())
        yield* turns
        assert.deepStrictEqual(log, ["work"])
        assert.deepInclude(subscription.status, { failed: 1, running: 0 })
      }).pipe(
        recorded,
        Effect.map(({ records }) => {
          const errors = linesAt(records, "Error")
          assert.strictEqual(errors.length, 1)
          assert.include(errors[0], `Task app/${name} failed`)
        })
      )
  )

  it.effect("that is interrupted or hangs leaves the others alone, and is no failure", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const hangs = yield* Bus.on(Numbers, Job.effect("hangs", () => Effect.never), { overlap: Bus.single })
      const interrupts = yield* Bus.on(Numbers, Job.effect("interrupts", () => Effect.interrupt))
      yield* Bus.on(Numbers, Job.effect("work", (n: number) => Effect.sync(() => log.push(`work ${n}`))))
      yield* publishAll(1, 2)
      assert.deepStrictEqual(log, ["work 1", "work 2"])
      assert.deepInclude(hangs.status, { running: 1, dropped: 1, failed: 0 })
      assert.deepInclude(interrupts.status, { running: 0, failed: 0 })
    }).pipe(
      recorded,
      Effect.map(({ records }) => assert.deepStrictEqual(linesAt(records, "Error"), []))
    ))

  it.effect("by its filter does not run, and the others get the event", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const filter = () => {
        throw new Error("no")
      }
      const callback = yield* Bus.on(Numbers, noting("callback", log), { filter })
      const effect = yield* Bus.on(Numbers, Job.effect("effect", () => Effect.sync(() => log.push("effect"))), {
        filter
      })
      yield* Bus.on(Numbers, noting("note", log))
      yield* Bus.publish(Numbers, 1)
      assert.deepStrictEqual(log, ["note 1"])
      assert.strictEqual(callback.status.failed + effect.status.failed, 2)
    }).pipe(
      recorded,
      Effect.map(({ records }) => {
        assert.deepStrictEqual(linesAt(records, "Error"), [
          "The filter of Handler callback of app for topic numbers failed; the handler does not run",
          "The filter of Handler effect of app for topic numbers failed; the handler does not run"
        ])
      })
    ))

  it.effect("to keep within its budget is said with its own name only", () =>
    Effect.gen(function*() {
      let millis = 0
      const live = yield* Clock.Clock
      const clock: Clock.Clock = {
        ...live,
        monotonicTimeNanosUnsafe: () => BigInt(millis) * 1_000_000n,
        currentTimeMillisUnsafe: () => millis
      }
      const takes = (name: string, by: number, budget: "none" | undefined, error?: unknown) =>
        Job.callback(name, () => {
          millis += by
          if (error !== undefined) throw error
        }, { budget })
      const filter = () => {
        millis += 1000
        return true
      }
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        yield* Bus.on(Numbers, takes("first", 40, undefined))
        yield* Bus.on(Numbers, takes("slow", 60, undefined))
        yield* Bus.on(Numbers, takes("second", 40, undefined))
        yield* Bus.on(Numbers, takes("filtered", 40, undefined), { filter })
        yield* Bus.on(Numbers, takes("unlimited", 1000, "none"))
        yield* Bus.on(Numbers, takes("throws", 60, undefined, new Error("no")))
        yield* Bus.on(Numbers, takes("last", 50, undefined))
        yield* Bus.publish(Numbers, 1)
      }).pipe(Effect.provide(layers), Effect.provideService(Clock.Clock, clock), Effect.provide(layer))
      assert.deepStrictEqual(linesAt(records, "Warn").map((line) => line.split(",")[0]), [
        "Callback slow took 60 ms",
        "Callback throws took 60 ms"
      ])
    }))
})

describe("Bus.on", () => {
  it.effect("refuses an unknown mode with the list of the valid ones (K6)", () =>
    Effect.gen(function*() {
      const job = noting("note", [])
      for (const overlap of ["sometimes", { _tag: "Sometimes" }, null]) {
        const { message } = yield* refusal(Bus.on(Numbers, job, { overlap: overlap as never }))
        assert.include(message, "Bus.single, Bus.restart, Bus.queued(n), Bus.parallel(n)")
        assert.include(message, "handler \"note\" for topic \"numbers\"")
      }
    }).pipe(provided))

  it.effect("refuses a number of runs or of events that cannot be", () =>
    Effect.gen(function*() {
      const refused = [
        ...[0, -1, 1.5, NaN, Infinity].flatMap((n) => [Bus.queued(n), Bus.parallel(n)]),
        ...[-1, 0.5, NaN, Infinity].map((waiting) => Bus.parallel(1, { waiting }))
      ]
      for (const overlap of refused) {
        const { message } = yield* refusal(Bus.on(Numbers, noting("note", []), { overlap }))
        assert.include(message, "whole number")
      }
    }).pipe(provided))

  it.effect("refuses what is no topic, no job and no filter", () =>
    Effect.gen(function*() {
      const job = noting("note", [])
      assert.include((yield* refusal(Bus.on("numbers" as unknown as typeof Numbers, job))).message, "Bus.topic")
      assert.include((yield* refusal(Bus.on(Numbers, (() => {}) as unknown as typeof job))).message, "Job.from")
      assert.include((yield* refusal(Bus.on(Numbers, job, { filter: true as never }))).message, "function")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Bus.publish("numbers" as unknown as typeof Numbers, 1))))
    }).pipe(provided))

  it.effect("during an event gets the next one", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const scope = yield* TaskScope.TaskScope
      const bus = yield* Bus.Bus
      const late = Context.make(TaskScope.TaskScope, scope).pipe(Context.add(Bus.Bus, bus))
      yield* Bus.on(
        Numbers,
        Job.callback("more", (n: number) => {
          if (n > 1) return
          Effect.runSyncWith(late)(Bus.on(Numbers, noting("callback", log)))
          const effect = Job.effect("effect", (n: number) => Effect.sync(() => log.push(`effect ${n}`)))
          Effect.runSyncWith(late)(Bus.on(Numbers, effect))
        })
      )
      yield* Bus.publish(Numbers, 1)
      assert.deepStrictEqual(log, [])
      yield* Bus.publish(Numbers, 2)
      assert.deepStrictEqual(log, ["callback 2", "effect 2"])
    }).pipe(provided))
})

describe("cancel", () => {
  it.effect("takes a handler away in that very call", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const callback = yield* Bus.on(Numbers, noting("callback", log))
      const effect = yield* Bus.on(Numbers, Job.effect("effect", (n: number) => Effect.sync(() => log.push(`e ${n}`))))
      callback.cancel()
      callback.cancel()
      yield* Bus.publish(Numbers, 1)
      effect.cancel()
      yield* Bus.publish(Numbers, 2)
      assert.deepStrictEqual(log, ["e 1"])
      assert.deepStrictEqual((yield* Bus.status).find(({ topic }) => topic === "numbers")?.handlers, [])
    }).pipe(provided))

  it.effect("by a handler takes itself away, or another one that the event has not got to yet", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const others: Array<Bus.Subscription> = []
      const own: Bus.Subscription = yield* Bus.on(
        Numbers,
        Job.callback("cancels", (n: number) => {
          log.push(`cancels ${n}`)
          own.cancel()
          for (const other of others) other.cancel()
        })
      )
      others.push(
        yield* Bus.on(Numbers, noting("next", log)),
        yield* Bus.on(Numbers, noting("after", log)),
        yield* Bus.on(Numbers, Job.effect("effect", () => Effect.sync(() => log.push("effect"))))
      )
      yield* Bus.on(Numbers, noting("stays", log))
      yield* publishAll(1, 2)
      assert.deepStrictEqual(log, ["cancels 1", "stays 1", "stays 2"])
    }).pipe(provided))

  it.effect("by the first step of a task takes its own handler away, and the next one before it gets the event", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const cancels: Array<() => void> = []
      const cancelAll = Job.effect("cancels", () => Effect.sync(() => cancels.forEach((cancel) => cancel())))
      const next = Job.effect("next", () => Effect.sync(() => log.push("next")))
      cancels.push((yield* Bus.on(Numbers, cancelAll)).cancel, (yield* Bus.on(Numbers, next)).cancel)
      yield* Bus.on(Numbers, Job.effect("stays", (n: number) => Effect.sync(() => log.push(`stays ${n}`))))
      yield* publishAll(1, 2)
      assert.deepStrictEqual(log, ["stays 1", "stays 2"])
    }).pipe(provided))

  it.effect("lets what runs go on, and drops and counts what waits", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { job, release } = gated(log)
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.queued(5) })
      yield* publishAll(1, 2, 3)
      subscription.cancel()
      yield* release(1)
      assert.deepStrictEqual(log, ["begin 1", "end 1"])
      assert.deepInclude(subscription.status, { running: 0, waiting: 0, dropped: 2 })
      assert.strictEqual((yield* Bus.status).find(({ topic }) => topic === "numbers")?.dropped, 2)
    }).pipe(provided))
})

describe("overlap", () => {
  it.effect("single: an event during a run is dropped and counted, and after the run there is one again (K1)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { job, release } = gated(log)
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.single })
      yield* publishAll(1, 2, 3)
      assert.deepInclude(subscription.status, { running: 1, waiting: 0, dropped: 2 })
      yield* release(1)
      yield* publishAll(4)
      assert.deepStrictEqual(log, ["begin 1", "end 1", "begin 4"])
    }).pipe(
      recorded,
      Effect.map(({ records }) => assert.deepStrictEqual(linesAt(records, "Warn"), []))
    ))

  it.effect("restart: the old run has ended before the new one begins, and none ever overlap (K2)", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const log: Array<string> = []
      const { job, release } = gated(log, Effect.sleep("100 millis"))
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.restart })
      yield* publishAll(1, 2, 3)
      assert.deepStrictEqual(log, ["begin 1"])
      assert.deepInclude(subscription.status, { running: 1, waiting: 1, dropped: 1 })
      yield* TestClock.adjust("100 millis")
      yield* turns
      assert.deepStrictEqual(log, ["begin 1", "stop 1", "begin 3"])
      yield* release(3)
      yield* publishAll(4)
      assert.deepStrictEqual(log, ["begin 1", "stop 1", "begin 3", "end 3", "begin 4"])
      assert.deepInclude(subscription.status, { running: 1, waiting: 0, failed: 0 })
      yield* release(4)
    }).pipe(
      recorded,
      Effect.map(({ records }) => assert.deepStrictEqual(linesAt(records, "Error"), []))
    ))

  it.effect("restart: a run that ends at once makes room in the same turn (K2)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { job } = gated(log)
      yield* Bus.on(Numbers, job, { overlap: Bus.restart })
      yield* publishAll(1, 2, 3)
      assert.deepStrictEqual(log, ["begin 1", "stop 1", "begin 2", "stop 2", "begin 3"])
    }).pipe(provided))

  it.effect("restart: a run that publishes what ends itself is ended, and the newest event runs (K2)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const job = Job.effect("self", (n: number) =>
        Effect.gen(function*() {
          log.push(`begin ${n}`)
          yield* Effect.yieldNow
          if (n < 3) yield* Bus.publish(Numbers, n + 1)
          yield* Effect.yieldNow
          log.push(`end ${n}`)
        }))
      yield* Bus.on(Numbers, job, { overlap: Bus.restart })
      yield* publishAll(1)
      yield* turns
      assert.deepStrictEqual(log, ["begin 1", "begin 2", "begin 3", "end 3"])
    }).pipe(provided))

  it.effect("restart: the promise that a run has left behind settles before the new run begins (K2)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const promises: Array<PromiseWithResolvers<void>> = []
      const job = Job.effect("later", async (n: number) => {
        log.push(`begin ${n}`)
        const promise = Promise.withResolvers<void>()
        promises.push(promise)
        await promise.promise
        log.push(`settled ${n}`)
      })
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.restart })
      yield* publishAll(1, 2)
      yield* turns
      assert.deepStrictEqual(log, ["begin 1"])
      assert.deepInclude(subscription.status, { running: 1, waiting: 1 })
      promises[0]!.resolve()
      yield* Effect.promise(() => Promise.resolve())
      yield* turns
      assert.deepStrictEqual(log, ["begin 1", "settled 1", "begin 2"])
      promises[1]!.resolve()
    }).pipe(provided))

  it.effect("restart: a run that does not end is given up at its limit and named, and the newest event runs (K2)", () =>
    Effect.gen(function*() {
      const log: Array<number> = []
      const job = Job.effect("stuck", (n: number) =>
        Effect.suspend(() => {
          log.push(n)
          return n === 1 ? Effect.uninterruptible(Effect.sleep("1 minute")) : Effect.void
        }))
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.restart })
      yield* publishAll(1, 2)
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(log, [1])
      yield* TestClock.adjust("1 second")
      yield* turns
      assert.deepStrictEqual(log, [1, 2])
      assert.strictEqual(subscription.status.running, 0)
      yield* TestClock.adjust("1 minute")
    }).pipe(
      recorded,
      Effect.map(({ records }) =>
        assert.deepStrictEqual(linesAt(records, "Warn").map((line) => line.split(";")[0]), [
          "Task app/stuck did not stop within 5.0 s",
          "Task app/stuck ended after all, 55.0 s after it was abandoned"
        ])
      )
    ))

  it.effect("queued: runs come one at a time in the order of arrival, and the newest beyond n is dropped and counted (K3, L3)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { job, release } = gated(log)
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.queued(2) })
      yield* publishAll(1, 2, 3, 4, 5)
      assert.deepStrictEqual(log, ["begin 1"])
      assert.deepInclude(subscription.status, { running: 1, waiting: 2, dropped: 2 })
      yield* release(1)
      yield* publishAll(6)
      yield* release(2)
      yield* release(3)
      yield* release(6)
      assert.deepStrictEqual(log.filter((line) => line.startsWith("begin")), [
        "begin 1",
        "begin 2",
        "begin 3",
        "begin 6"
      ])
      assert.deepStrictEqual(log.slice(0, 4), ["begin 1", "end 1", "begin 2", "end 2"])
      assert.deepInclude(subscription.status, { running: 0, waiting: 0, dropped: 2 })
    }).pipe(provided))

  it.effect("queued: where starting a run fails, the next is started (K4)", () =>
    Effect.gen(function*() {
      const log: Array<number> = []
      const first = yield* Deferred.make<void>()
      const job = Job.effect("work", (n: number) => {
        log.push(n)
        if (n === 2) throw new Error("no")
        return n === 1 ? Deferred.await(first) : Effect.void
      })
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.queued(5) })
      yield* publishAll(1, 2, 3)
      yield* Deferred.succeed(first, undefined)
      yield* turns
      assert.deepStrictEqual(log, [1, 2, 3])
      assert.deepInclude(subscription.status, { failed: 1, running: 0, waiting: 0 })
    }).pipe(provided))

  it.effect("queued: runs that never wait and publish their next event let others live", () =>
    Effect.gen(function*() {
      let runs = 0
      const job = Job.effect("again", (n: number) =>
        Effect.suspend(() => {
          runs++
          return Bus.publish(Numbers, n + 1)
        }))
      const subscription = yield* Bus.on(Numbers, Job.effect("wait", () => Effect.yieldNow), {
        overlap: Bus.queued(1)
      })
      subscription.cancel()
      const first = yield* Deferred.make<void>()
      const slow = Job.effect("slow", (n: number) => n === 0 ? Deferred.await(first) : Job.run(job)(n))
      const line = yield* Bus.on(Numbers, slow, { overlap: Bus.queued(4) })
      yield* publishAll(0, 1)
      yield* Deferred.succeed(first, undefined)
      yield* turns
      // It goes on for ever, and this test is here.
      assert.isAbove(runs, 1)
      assert.isBelow(runs, 100)
      line.cancel()
    }).pipe(provided))

  it.effect("parallel: all run at once (K5)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { job } = gated(log)
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.parallel(5) })
      yield* publishAll(1, 2, 3, 4, 5)
      assert.deepStrictEqual(log, [1, 2, 3, 4, 5].map((n) => `begin ${n}`))
      assert.deepStrictEqual(subscription.tasks.map((task) => task.path), [
        "app/work",
        ...[2, 3, 4, 5].map((n) => `app/work#${n}`)
      ])
    }).pipe(provided))

  it.effect("parallel: beyond n a run waits until a slot is free, and below nobody waits (L1, L4)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { job, release } = gated(log)
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.parallel(2) })
      yield* publishAll(1, 2, 3)
      assert.deepStrictEqual(log, ["begin 1", "begin 2"])
      assert.deepInclude(subscription.status, { running: 2, waiting: 1 })
      yield* release(2)
      assert.deepStrictEqual(log, ["begin 1", "begin 2", "end 2", "begin 3"])
    }).pipe(provided))

  it.effect("parallel: the slot of a run that fails or is interrupted is free again (L2)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { fail, job } = gated(log)
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.parallel(2) })
      yield* publishAll(1, 2, 3, 4)
      yield* fail(1)
      yield* subscription.tasks[0]!.interrupt()
      yield* turns
      assert.deepStrictEqual(log, ["begin 1", "begin 2", "stop 1", "begin 3", "stop 2", "begin 4"])
      assert.deepInclude(subscription.status, { running: 2, waiting: 0, failed: 1 })
    }).pipe(provided))

  it.effect("parallel without waiting: when full, an event is dropped and counted, for one each (L3)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { job, release } = gated(log)
      const subscription = yield* Bus.on(Numbers, job, { overlap: Bus.parallel(1, { waiting: 0 }) })
      yield* publishAll(1, 2, 3)
      assert.deepInclude(subscription.status, { running: 1, waiting: 0, dropped: 2 })
      yield* release(1)
      yield* publishAll(4)
      assert.deepStrictEqual(log, ["begin 1", "end 1", "begin 4"])
    }).pipe(provided))

  it.effect("by default runs many at once and lets many wait, within bounds", () =>
    Effect.gen(function*() {
      const subscription = yield* Bus.on(Numbers, Job.effect("never", () => Effect.never))
      for (let n = 0; n < 64 + 1024 + 3; n++) yield* Bus.publish(Numbers, n)
      assert.deepInclude(subscription.status, { running: 64, waiting: 1024, dropped: 3 })
    }).pipe(provided))

  it.effect("a handler that is full for long says it at most once per window, with the count (L5)", () =>
    Effect.gen(function*() {
      yield* Bus.on(Numbers, Job.effect("slow", () => Effect.never), { overlap: Bus.queued(1) })
      yield* publishAll(1, 2, 3, 4)
      yield* TestClock.adjust("29 seconds")
      yield* publishAll(5)
      yield* TestClock.adjust("1 second")
      yield* publishAll(6, 7)
    }).pipe(
      recorded,
      Effect.map(({ records }) =>
        assert.deepStrictEqual(linesAt(records, "Warn").slice(0, 2), [
          "Handler slow of app for topic numbers is full, with 1 running and 1 waiting; an event is dropped",
          "Handler slow of app for topic numbers is full, with 1 running and 1 waiting; 3 events are dropped"
        ])
      )
    ))
})

describe("the app of a handler", () => {
  it.effect("takes its handlers with it as soon as it begins to stop, and what waits is said", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const scope = yield* TaskScope.make("other")
      const inOther = Effect.provideService(TaskScope.TaskScope, scope)
      yield* inOther(Bus.on(Numbers, noting("callback", log)))
      const slow = Job.effect("slow", (n: number) =>
        Effect.suspend(() => {
          log.push(`slow ${n}`)
          return Effect.ensuring(Effect.never, Effect.sleep("1 second"))
        }))
      const line = yield* inOther(Bus.on(Numbers, slow, { overlap: Bus.queued(5) }))
      yield* publishAll(1, 2, 3)
      log.length = 0
      const close = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* publishAll(4)
      assert.deepStrictEqual(log, [])
      assert.deepInclude(line.status, { running: 1, waiting: 0, dropped: 2 })
      assert.deepStrictEqual((yield* Bus.status).find(({ topic }) => topic === "numbers")?.handlers, [])
      const error = yield* Effect.flip(inOther(Bus.on(Numbers, noting("late", log))))
      assert.strictEqual(error._tag, "ScopeClosed")
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(close)
      assert.strictEqual((yield* Effect.flip(inOther(Bus.on(Numbers, slow))))._tag, "ScopeClosed")
    }).pipe(
      recorded,
      Effect.map(({ records }) =>
        assert.deepStrictEqual(linesAt(records, "Warn"), [
          "Handler slow of app/other for topic numbers stops, and 2 events that waited for it are dropped"
        ])
      )
    ))

  it.effect("that stops takes the handlers of the scopes inside of it along, before its hooks", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const scope = yield* Scope.make()
      const Inner = App.layer(
        "inner",
        Effect.gen(function*() {
          const child = yield* TaskScope.child(yield* TaskScope.TaskScope, "child")
          yield* Effect.provideService(Bus.on(Numbers, noting("child", log)), TaskScope.TaskScope, child)
          yield* Bus.on(Numbers, noting("app", log))
          yield* App.onStop("hook", publishAll(2))
        })
      )
      yield* Layer.buildWithScope(Inner, scope)
      yield* publishAll(1)
      yield* Scope.close(scope, Exit.void)
      yield* publishAll(3)
      assert.deepStrictEqual(log, ["child 1", "app 1"])
    }).pipe(Effect.provide(Bus.layer)))

  it.effect("may publish to the others while it stops, and is registered anew when it starts again", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Listener = App.layer("listener", Bus.on(Words, noting("listener", log)))
      const Speaker = App.layer(
        "speaker",
        Effect.gen(function*() {
          yield* Bus.on(Words, noting("speaker", log))
          yield* App.onStop("farewell", Bus.publish(Words, "bye"))
        })
      )
      const Admin = App.layer(
        "admin",
        Task.spawn(
          Effect.gen(function*() {
            yield* Host.awaitReady
            const speaker = (yield* Host.apps).find(({ name }) => name === "speaker")!
            yield* App.restart(speaker)
            yield* Bus.publish(Words, "hello")
            yield* Host.requestStop("done")
          }),
          "restart"
        )
      )
      const apps = Layer.mergeAll(Speaker, Admin).pipe(Layer.provideMerge(Listener), Layer.provide(Bus.layer))
      yield* Host.launch(apps)
      assert.deepStrictEqual(log, ["listener bye", "listener hello", "speaker hello", "listener bye"])
    }))

  it.effect("that a handler stops gets nothing more of the event that is being handed over", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const scope = yield* TaskScope.make("other")
      const run = Effect.runForkWith(yield* Effect.context())
      yield* Bus.on(Numbers, Job.callback("stop", () => void run(TaskScope.close(scope))))
      yield* Effect.provideService(Bus.on(Numbers, noting("callback", log)), TaskScope.TaskScope, scope)
      yield* publishAll(1)
      yield* TaskScope.close(scope)
      assert.deepStrictEqual(log, [])
    }).pipe(provided))
})

describe("Bus.taskEnded", () => {
  const endings = (log: Array<string>) =>
    Job.callback(
      "note",
      ({ error, outcome, path }: Bus.TaskEnded) =>
        void log.push([path, outcome, error?.split("\n")[0]].filter((part) => part !== undefined).join(" "))
    )

  it.effect("tells the end of each task with its outcome, for success and error alike (F3)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(Bus.taskEnded, endings(log))
      yield* Task.spawn(Effect.void, "good")
      yield* Task.spawn(Effect.fail(new Error("no")), "bad", { onFailure: "ignore" })
      const endless = yield* Task.spawn(Effect.never, "endless")
      yield* endless.interrupt()
      const slow = yield* Task.spawn(Effect.sleep("1 second"), "slow")
      yield* TestClock.adjust("1 second")
      yield* slow.await
      assert.deepStrictEqual(log, [
        "app/good completed",
        "app/bad failed Error: no",
        "app/endless interrupted",
        "app/slow completed"
      ])
    }).pipe(provided))

  it.effect("tells the error of a task, and not that of one of its runs", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(Bus.taskEnded, endings(log))
      let runs = 0
      const work = Effect.suspend(() => ++runs === 1 ? Effect.fail("no broker") : Effect.void)
      const poll = yield* Task.every(work, "poll", "1 second", { onFailure: "ignore" })
      yield* TestClock.adjust("10 seconds")
      yield* poll.interrupt()
      assert.deepStrictEqual(log, ["app/poll interrupted"])
    }).pipe(provided))

  it.effect("tells of the end of a task that was started again, without the error of a run before", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(Bus.taskEnded, endings(log))
      let runs = 0
      const work = Effect.suspend(() => ++runs === 1 ? Effect.fail("no broker") : Effect.void)
      yield* Task.spawn(work, "sync", { restart: Restart.transient({ schedule: Schedule.spaced("1 second") }) })
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(log, ["app/sync completed"])
    }).pipe(provided))

  it.effect("tells when each of several tasks ends, all of which have started (F1, F2)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(Bus.taskEnded, endings(log))
      const sleep = (millis: number) => Task.spawn(Effect.sleep(millis), `sleep-${millis}`)
      const tasks = yield* Effect.forEach([3000, 1000, 2000], sleep)
      assert.deepStrictEqual(tasks.map((task) => task.status._tag), ["Running", "Running", "Running"])
      const late = yield* Task.spawn(Effect.void, "late")
      assert.strictEqual(late.status._tag, "Ended")
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(log, [
        "app/late completed",
        "app/sleep-1000 completed",
        "app/sleep-2000 completed",
        "app/sleep-3000 completed"
      ])
    }).pipe(provided))

  it.effect("tells of all apps of the host", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const Watch = App.layer(
        "watch",
        Bus.on(Bus.taskEnded, endings(log), { filter: ({ path }) => !path.includes("(") })
      )
      const Work = App.layer(
        "work",
        Effect.gen(function*() {
          yield* Task.spawn(Effect.void, "quick")
          yield* Task.spawn(Effect.never, "endless")
          yield* Host.requestStop("done")
        })
      )
      yield* Host.launch(Work.pipe(Layer.provideMerge(Watch), Layer.provide(Bus.layer)))
      assert.deepStrictEqual(log, ["host/work/quick completed", "host/work/endless interrupted"])
    }))

  it.effect("does not tell of the runs of its own handlers, but of those of all others", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(Bus.taskEnded, endings(log))
      const wait = Job.effect("wait", () => Effect.sleep("1 second"))
      const quick = Job.effect("quick", () => Effect.fail("no"))
      yield* Bus.on(Bus.taskEnded, wait)
      yield* Bus.on(Bus.taskEnded, quick)
      yield* Bus.on(Numbers, Job.effect("number", () => Effect.void))
      yield* publishAll(1)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(log, ["app/number completed"])
    }).pipe(recorded))

  it.effect("tells of the tasks that a run of its own handlers starts, also in the first step", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(Bus.taskEnded, endings(log))
      const next = Job.effect("next", () => Task.spawn(Effect.void, "second"))
      yield* Bus.on(Bus.taskEnded, next, { filter: ({ path }) => path === "app/first" })
      yield* Task.spawn(Effect.void, "first")
      assert.deepStrictEqual(log, ["app/first completed", "app/second completed"])
    }).pipe(provided))

  it.effect("keeps no run that has ended when nobody listened: a task of its path is told", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const first = yield* Bus.on(Bus.taskEnded, Job.effect("work", () => Deferred.await(gate)))
      yield* Task.spawn(Effect.void, "quick")
      const [run] = first.tasks
      first.cancel()
      yield* Deferred.succeed(gate, undefined)
      yield* run!.await
      const log: Array<string> = []
      yield* Bus.on(Bus.taskEnded, endings(log))
      yield* Task.spawn(Effect.void, "work")
      assert.deepStrictEqual(log, ["app/work completed"])
    }).pipe(provided))

  it.effect("costs nothing when nobody listens any more: nobody reads the events of the scope", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const readers = () => (scope as unknown as { readonly readers: unknown }).readers
      const stops = () => (scope as unknown as { readonly atStop: unknown }).atStop
      assert.isUndefined(readers())
      const one = yield* Bus.on(Bus.taskEnded, endings([]))
      const two = yield* Bus.on(Bus.taskEnded, endings([]))
      assert.isDefined(readers())
      one.cancel()
      assert.isDefined(readers())
      two.cancel()
      assert.isUndefined(readers())
      assert.isUndefined(stops())
      yield* Task.spawn(Effect.void, "quick")
      assert.strictEqual((yield* Bus.status).find(({ topic }) => topic === "task-ended")?.published, 0)
    }).pipe(provided))
})

describe("what comes from outside", () => {
  const Readings = Bus.topic("readings", Schema.Struct({ celsius: Schema.FiniteFromString }))

  it.effect("is decoded, and refused with the name of the topic and the reason when it does not fit", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      yield* Bus.on(Readings, Job.callback("note", (reading) => void seen.push(reading)))
      yield* Bus.publishUnknown(Readings, { celsius: "21" })
      const error = yield* Effect.flip(Bus.publishUnknown(Readings, { celsius: "warm" }))
      assert.instanceOf(error, Bus.InvalidEvent)
      assert.include(error.message, "{\"celsius\":\"warm\"} is no event of topic readings")
      assert.deepStrictEqual(seen, [{ celsius: 21 }])
    }).pipe(provided))

  it.effect("is published by the calls of a contract", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      yield* Bus.on(Readings, Job.callback("note", (reading) => void seen.push(reading)))
      const { numbers, readings } = Bus.calls(Readings, Numbers)
      yield* readings({ celsius: "20" })
      assert.strictEqual((yield* Effect.flip(numbers("one" as never)))._tag, "InvalidEvent")
      assert.deepStrictEqual(seen, [{ celsius: 20 }])
    }).pipe(provided))
})

describe("the metrics of a bus", () => {
  it.effect("tell what it counts, for each topic, and are gone with it", () =>
    Effect.gen(function*() {
      const read = Effect.map(Metric.snapshot, (all) =>
        Object.fromEntries(
          all.filter(({ attributes, id }) => id.startsWith("ambit_bus") && attributes?.["topic"] === "numbers")
            .map((
              { id, state }
            ) => [id.slice("ambit_bus_".length), "count" in state ? state.count : Reflect.get(state, "value")])
        ))
      yield* Effect.gen(function*() {
        const slow = Job.effect("slow", (n: number) => n < 0 ? Effect.fail("no") : Effect.never)
        yield* Bus.on(Numbers, slow, { overlap: Bus.queued(1) })
        yield* publishAll(-1, 1, 2, 3)
        assert.deepStrictEqual(yield* read, {
          handlers: 1,
          running: 1,
          waiting: 1,
          published_total: 4,
          dropped_total: 1,
          failed_total: 1
        })
      }).pipe(provided)
      assert.deepStrictEqual(yield* read, {})
    }))
})

describe("a bus", () => {
  it.effect("is one for all that are given its layer, and another one when it is made by itself", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      yield* Bus.on(Numbers, noting("outer", log))
      const other = yield* Bus.make
      yield* Effect.provideService(Bus.on(Numbers, noting("other", log)), Bus.Bus, other)
      yield* publishAll(1)
      yield* Effect.provideService(publishAll(2), Bus.Bus, other)
      assert.deepStrictEqual(log, ["outer 1", "other 2"])
    }).pipe(provided))

  it.effect("keeps nothing of a handler that is gone, nor does that keep those that came after it", () =>
    Effect.gen(function*() {
      const bus = yield* Bus.Bus
      const channel = (bus as unknown as BusImpl).channels.get(Numbers) ?? channelOf(bus as unknown as BusImpl, Numbers)
      const scope = yield* TaskScope.TaskScope
      const cancels: Array<() => void> = []
      const cancelAll = Job.callback("cancel-all", () => {
        for (const cancel of cancels.splice(0)) cancel()
      })
      const { cancel } = yield* Bus.on(Numbers, cancelAll)
      cancels.push(cancel, (yield* Bus.on(Numbers, noting("next", []))).cancel)
      const [first, next] = handlersOf(channel)
      yield* publishAll(1)
      assert.deepStrictEqual([first?.next, next?.next, next?.previous], [undefined, undefined, undefined])
      assert.deepStrictEqual([channel.callbacks.first, channel.callbacks.last], [undefined, undefined])
      assert.isUndefined((scope as unknown as { readonly atStop: unknown }).atStop)
    }).pipe(provided))
})
