/** Law 12: free when idle. */
import { App, Host, Task } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { makeRecorder } from "../support/recorder.ts"

const timers = () =>
  process.getActiveResourcesInfo().filter((kind) => kind === "Timeout" || kind === "Immediate").length

describe("an idle host", () => {
  it.live("holds no timer and takes no turn of the event loop: nothing polls", () =>
    Effect.gen(function*() {
      const ready = yield* Deferred.make<Host.Host>()
      const Idle = App.layer(
        "idle",
        Effect.gen(function*() {
          for (let i = 0; i < 100; i++) yield* Task.spawn(Effect.never, "wait")
          yield* Task.spawn(
            Effect.andThen(Host.awaitReady, Effect.flatMap(Host.Host, (host) => Deferred.succeed(ready, host))),
            "tell"
          )
        })
      )
      const before = timers()
      const fiber = yield* Effect.forkChild(Host.launch(Layer.mergeAll(Idle, App.layer("other", Effect.void))))
      const host = yield* Deferred.await(ready)
      // Two turns, so that what was scheduled by the start is over.
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.isAtMost(timers(), before)
      yield* Effect.provideService(Host.requestStop("seen"), Host.Host, host)
      assert.isTrue((yield* Fiber.join(fiber)).clean)
    }).pipe(Effect.provide(makeRecorder().layer)))
})
