// @effect-diagnostics globalTimers:off globalTimersInEffect:off
import { App, Blocking, type Host, Task } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { TestClock } from "effect/testing"
import { EventEmitter } from "node:events"
import { setInterval as every } from "node:timers/promises"
import { Worker } from "node:worker_threads"
import { block, forever } from "../fixtures/functions.ts"
import { asTest, errorsOf, reported } from "../support/asTest.ts"

const refuse = Effect.fn("refuse")(function*() {
  return yield* Effect.uninterruptible(Effect.never)
})

const sensor = <R>(start: Effect.Effect<unknown, unknown, R>) => App.layer("sensor", start)

const make = (run: () => unknown) => sensor(Effect.sync(run))

/** What the test of an app is told of at its end. */
const leaksOf = (app: Layer.Layer<never, unknown, Host.Host>, options?: TestHost.LaunchOptions) =>
  Effect.map(asTest(TestHost.launch(app, options)), (exit): ReadonlyArray<TestHost.Leak> => {
    if (Exit.isSuccess(exit)) return []
    const error = reported(exit)
    assert.instanceOf(error, TestHost.TestHostFailed)
    return error.leaks
  })

const here = /TestHost\.leaks\.test\.ts:\d+:\d+/

const sole = (leaks: ReadonlyArray<TestHost.Leak>): TestHost.Leak => {
  assert.lengthOf(leaks, 1)
  return leaks[0]!
}

describe("what a host leaves behind fails its test:", () => {
  it.live("a task that was abandoned and still runs, with its place", () =>
    Effect.gen(function*() {
      const leak = sole(yield* leaksOf(sensor(Task.spawn(refuse(), "sulk"))))
      assert.deepInclude(leak, { kind: "task", name: "host/sensor/sulk" })
      assert.match(leak.place ?? "", /^refuse \(.*TestHost\.leaks\.test\.ts:\d+:\d+\)$/)
    }))

  it.live("a task that still sleeps, told of once", () =>
    Effect.gen(function*() {
      const sleeping = sensor(Task.spawn(Effect.uninterruptible(Effect.sleep("1 hour")), "sleep"))
      assert.deepInclude(sole(yield* leaksOf(sleeping)), { kind: "task", name: "host/sensor/sleep" })
    }))

  it.live("a fiber that was detached and still sleeps, with the task that it came from", () =>
    Effect.gen(function*() {
      const detaching = Task.spawn(Effect.forkDetach(Effect.sleep("1 hour"), { startImmediately: true }), "poll")
      assert.deepStrictEqual(yield* leaksOf(sensor(detaching)), [{ kind: "sleep", name: "host/sensor/poll" }])
    }))

  it.live("a timer that was not cleared, with the place where it was set", () =>
    Effect.gen(function*() {
      let timer: NodeJS.Timeout | undefined
      const interval = sole(yield* leaksOf(make(() => (timer = setInterval(() => {}, 1000)))))
      clearInterval(timer)
      assert.deepInclude(interval, { kind: "timer", name: "setInterval" })
      assert.match(interval.place ?? "", here)

      const timeout = sole(yield* leaksOf(make(() => (timer = setTimeout(() => {}, 10_000).unref()))))
      clearTimeout(timer)
      assert.deepInclude(timeout, { kind: "timer", name: "setTimeout" })

      const controller = new AbortController()
      const leak = sole(
        yield* leaksOf(make(() => {
          void (async () => {
            for await (const _ of every(5, undefined, controller)) { /* until it is aborted */ }
          })().catch(() => {})
        }))
      )
      controller.abort()
      assert.deepInclude(leak, { kind: "timer", name: "setInterval" })
    }))

  it.live("a thread that was not ended, with its name", () =>
    Effect.gen(function*() {
      let thread: Worker | undefined
      const app = make(() => (thread = new Worker("setInterval(() => {}, 1000)", { eval: true, name: "indexer" })))
      assert.deepStrictEqual(sole(yield* leaksOf(app)), { kind: "thread", name: "indexer" })
      yield* Effect.promise(() => thread!.terminate())
    }))

  it.live("a listener of the process that was not removed, with the place where it was added", () =>
    Effect.gen(function*() {
      const listener = () => {}
      const on = sole(yield* leaksOf(make(() => process.on("SIGHUP", listener))))
      process.off("SIGHUP", listener)
      assert.deepInclude(on, { kind: "listener", name: "process \"SIGHUP\"" })
      assert.match(on.place ?? "", here)
      const once = sole(yield* leaksOf(make(() => process.once("beforeExit", listener))))
      process.off("beforeExit", listener)
      assert.deepInclude(once, { kind: "listener", name: "process \"beforeExit\"" })
    }))

  it.live("a listener of what two hosts watch at the same time, once, also when the other one has stopped", () =>
    Effect.gen(function*() {
      const controller = new AbortController()
      const emitter = new EventEmitter()
      const options = { watch: [controller.signal, emitter] }
      const listen = Effect.sync(() => {
        controller.signal.addEventListener("abort", () => {})
        emitter.on("data", () => {})
      })
      const exit = yield* asTest(Effect.gen(function*() {
        const host = yield* TestHost.launch(sensor(Effect.void), { name: "one", ...options })
        yield* Effect.scoped(Effect.gen(function*() {
          yield* TestHost.launch(sensor(Effect.void), { name: "two", ...options })
          yield* host.run(Effect.sync(() => emitter.on("more", () => {})))
        }))
        yield* host.run(listen)
      }))
      const error = reported(exit)
      assert.instanceOf(error, TestHost.TestHostFailed)
      assert.deepStrictEqual(error.leaks.map(({ name }) => name), [
        "EventEmitter \"more\"",
        "AbortSignal \"abort\"",
        "EventEmitter \"data\""
      ])
      assert.isFalse(Object.hasOwn(controller.signal, "addEventListener"))
      assert.deepStrictEqual(emitter.listenerCount("newListener"), 0)
    }))

  it.live("a listener of an emitter or event target that the test has it watch", () =>
    Effect.gen(function*() {
      const controller = new AbortController()
      const emitter = new EventEmitter()
      const own = Object.hasOwn(controller.signal, "addEventListener")
      const leaks = yield* leaksOf(
        make(() => {
          controller.signal.addEventListener("abort", () => {})
          emitter.on("data", () => {})
        }),
        { watch: [controller.signal, emitter] }
      )
      assert.deepStrictEqual(leaks.map(({ kind, name }) => [kind, name]), [
        ["listener", "AbortSignal \"abort\""],
        ["listener", "EventEmitter \"data\""]
      ])
      for (const { place } of leaks) assert.match(place ?? "", here)
      assert.strictEqual(Object.hasOwn(controller.signal, "addEventListener"), own)
      assert.deepStrictEqual(emitter.listenerCount("newListener"), 0)
    }))

  it.live("all of it in one error, after the failures of tasks", () =>
    Effect.gen(function*() {
      let timer: NodeJS.Timeout | undefined
      const start = Effect.gen(function*() {
        timer = setInterval(() => {}, 1000)
        yield* Task.spawn(refuse(), "sulk")
        yield* Task.spawn(Effect.fail(new Error("no broker")), "poll")
      })
      const exit = yield* asTest(TestHost.launch(sensor(start), { name: "hub" }))
      clearInterval(timer)
      const error = reported(exit)
      assert.instanceOf(error, TestHost.TestHostFailed)
      assert.lengthOf(errorsOf(exit), 1)
      assert.match(error.message, /^1 task of hub failed, and the test did not expect it:\n {2}hub\/sensor\/poll: /)
      assert.match(error.message, /\n\nhub has left 2 things behind:\n/)
      assert.match(error.message, /\n {2}task hub\/sensor\/sulk was abandoned and still runs: refuse \(/)
      assert.match(error.message, /\n {2}a timer of setInterval was not cleared: .*leaks\.test\.ts/)
      assert.match(error.message, /\nWhat is meant to be left is taken with host\.expectLeak\.$/)
    }))
})

describe("no leak is", () => {
  it.effect("what was there before, or was taken away again", () =>
    Effect.gen(function*() {
      const before = setInterval(() => {}, 1000)
      const listener = () => {}
      process.on("SIGHUP", listener)
      const start = Effect.gen(function*() {
        yield* Effect.acquireRelease(
          Effect.sync(() => setInterval(() => {}, 1000)),
          (timer) => Effect.sync(() => clearInterval(timer))
        )
        yield* Effect.acquireRelease(
          Effect.sync(() => process.on("SIGUSR2", listener)),
          () => Effect.sync(() => process.off("SIGUSR2", listener))
        )
        yield* App.onStop("bye", Effect.sync(() => clearTimeout(setTimeout(() => {}, 1000))))
      })
      const host = yield* TestHost.launch(sensor(start))
      assert.isTrue((yield* host.stop).clean)
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          clearInterval(before)
          process.off("SIGHUP", listener)
        })
      )
    }))

  it.effect("a timer or a thread that ends in a moment", () =>
    Effect.gen(function*() {
      const start = Effect.sync(() => {
        setTimeout(() => {}, 30)
        void new Worker("", { eval: true })
      })
      const host = yield* TestHost.launch(sensor(start))
      yield* host.stop
    }))

  it.live("what another test makes at the same time", () =>
    Effect.gen(function*() {
      const over = Promise.withResolvers<void>()
      const clean = asTest(Effect.gen(function*() {
        const host = yield* TestHost.launch(sensor(Task.spawn(Effect.never, "poll")))
        yield* host.settle(() => over.promise)
      }))
      let timer: NodeJS.Timeout | undefined
      const leaking = Effect.ensuring(
        leaksOf(make(() => (timer = setInterval(() => {}, 1000)))),
        Effect.sync(() => over.resolve())
      )
      const [first, second] = yield* Effect.all([clean, leaking], { concurrency: "unbounded" })
      clearInterval(timer)
      assert.isTrue(Exit.isSuccess(first))
      assert.deepInclude(sole(second), { kind: "timer", name: "setInterval" })
    }))

  it.live("a thread or a timer of a pool that the test has given, also of a new thread in place of one that was ended", () =>
    Effect.gen(function*() {
      const pools = yield* Layer.build(BlockingPool.layer({ threads: { min: 1, max: 2 }, grace: "50 millis" }))
      const pool = Context.get(pools, Blocking.Blocking)
      const start = Effect.gen(function*() {
        yield* Task.spawn(Blocking.run(forever), "search")
        yield* Blocking.run(block, 50)
      })
      const launched = TestHost.launch(sensor(start)).pipe(Effect.provideContext(pools), Effect.scoped)
      yield* Effect.provide(launched, Logger.layer([]))
      assert.strictEqual((yield* pool.status).killed, 1)
    }))

  it.live("a thread of a pool inside of the host, which ends with it", () =>
    Effect.gen(function*() {
      const start = Blocking.run(block, 10)
      const own = Layer.provide(sensor(start), BlockingPool.layer({ threads: 1, saturation: "none" }))
      const host = yield* TestHost.launch(own)
      yield* host.stop
    }).pipe(Effect.provide(Logger.layer([]))))
})

describe("a leak that is expected", () => {
  it.effect("is given, and is off the list", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(sensor(Task.spawn(refuse(), "sulk")))
      yield* host.stop
      const leak = yield* host.expectLeak("sensor/sulk")
      assert.deepInclude(leak, { kind: "task", name: "host/sensor/sulk" })
      const again = yield* Effect.flip(host.expectLeak("sensor/sulk"))
      assert.strictEqual(
        again.message,
        "host has no leak sensor/sulk: nothing of it is left. There is none at all"
      )
    }))

  it.effect("is there only when the host has stopped", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(sensor(Task.spawn(Effect.never, "poll")))
      const error = yield* Effect.flip(host.expectLeak(({ kind }) => kind === "timer"))
      assert.strictEqual(
        error.message,
        "host has no leak that fits the function: the host has not stopped. Stop it first. There is none at all"
      )
    }))

  it.effect("is told of once, however often it is the same", () =>
    Effect.gen(function*() {
      const timers: Array<NodeJS.Timeout> = []
      const host = yield* TestHost.launch(make(() => timers.push(setInterval(() => {}, 1000))))
      yield* host.stop
      yield* host.expectLeak(({ kind, place }) => kind === "timer" && place?.includes("leaks.test") === true)
      yield* Effect.addFinalizer(() => Effect.sync(() => timers.forEach(clearInterval)))
    }))
})

describe("the watch", () => {
  it.effect("is over with the last host: nothing of it is left at the process", () =>
    Effect.gen(function*() {
      const counts = () => ["newListener", "worker"].map((event) => process.listenerCount(event))
      const before = counts()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* TestHost.launch(sensor(Effect.void), { name: "one" })
        yield* Effect.scoped(TestHost.launch(sensor(Effect.void), { name: "two" }))
        assert.notDeepEqual(counts(), before)
      }))
      assert.deepStrictEqual(counts(), before)
      yield* TestClock.adjust(0)
    }))
})
