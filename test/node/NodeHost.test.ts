/**
 * The process as `NodeHost.layer` finds it and leaves it.
 */
import { App, Host, Task } from "@ambit/core"
import { NodeHost } from "@ambit/node"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { channel } from "node:diagnostics_channel"
import type { Worker } from "node:worker_threads"
import { aliveText } from "../../packages/node/src/internal/alive.ts"

const signals = ["SIGINT", "SIGTERM", "SIGHUP", "uncaughtException", "exit"] as const

const processNow = () => ({
  listeners: signals.map((signal) => process.listeners(signal).length),
  errors: [process.stdout, process.stderr].map((stream) => stream.listeners("error").length),
  end: (process as unknown as { readonly reallyExit: unknown }).reallyExit
})

/** The ends of the threads that are made from now on. */
const threadsMade = Effect.acquireRelease(
  Effect.sync(() => {
    const ends: Array<Promise<unknown>> = []
    const made = (message: unknown) => {
      const { worker } = message as { readonly worker: Worker }
      ends.push(new Promise((resolve) => worker.once("exit", resolve)))
    }
    channel("worker_threads").subscribe(made)
    return { ends, made }
  }),
  ({ made }) => Effect.sync(() => channel("worker_threads").unsubscribe(made))
).pipe(Effect.map(({ ends }) => ends))

const once = Host.launch(App.layer("once", Host.requestStop("done")))

describe("NodeHost.layer", () => {
  it.live("leaves the process as it was, also after stops and around each other", () =>
    Effect.gen(function*() {
      const threads = yield* threadsMade
      const before = processNow()
      for (let round = 0; round < 3; round++) {
        yield* Effect.provide(Effect.provide(once, NodeHost.layer()), NodeHost.layer())
        assert.deepStrictEqual(processNow(), before)
      }
      // Each stop had a guardian, and none of them is left.
      assert.isAbove(threads.length, 0)
      yield* Effect.promise(() => Promise.all(threads))
    }))

  it.live("has nothing to do with a host that outlives it", () =>
    Effect.gen(function*() {
      const go = yield* Deferred.make<void>()
      const stays = App.layer("stays", Task.spawn(Effect.andThen(Deferred.await(go), Host.requestStop("done")), "wait"))
      const host = yield* Effect.provide(Effect.forkDetach(Host.launch(stays)), NodeHost.layer())
      const threads = yield* threadsMade
      yield* Deferred.succeed(go, void 0)
      yield* Fiber.join(host)
      assert.strictEqual(threads.length, 0)
    }))

  it.effect("refuses limits that are no durations, and a stop that does not fit", () =>
    Effect.gen(function*() {
      for (const forceWithin of [0, -1, Number.NaN, Infinity, "soon" as never]) {
        const error = yield* Effect.flip(Effect.scoped(Effect.provide(once, NodeHost.layer({ forceWithin }))))
        assert.include(String(error), "forceWithin of the process")
      }
      const error = yield* Effect.flip(Effect.provide(once, NodeHost.layer({ killAfter: "30 seconds" })))
      assert.include(String(error), "the process may need 31s")
    }))
})

describe("what is said to be alive", () => {
  it("are the tasks and calls of apps, and those of no app", () => {
    const task = (path: string) =>
      ({ path, kind: "background", status: "Stopping", age: 1200, restarts: 0, place: undefined }) as const
    const call = { task: "hub/cache/sweep", name: "read", thread: "blocking-1", age: 300 }
    const text = aliveText([{
      path: "hub",
      tasks: [task("hub/cache/sweep")],
      calls: [call],
      apps: [{ path: "hub/a", state: "stopping", restarts: 0, dependsOn: [], tasks: [task("hub/a/poll")], calls: [] }]
    }])
    assert.deepStrictEqual(text?.trimEnd().split("\n"), [
      "  hub/a/poll (background, stopping, 1.2 s)",
      "  hub/a (app, stopping)",
      "  hub/cache/sweep (background, stopping, 1.2 s)",
      "  hub/cache/sweep/read (on blocking-1, 0.3 s)"
    ])
  })
})
