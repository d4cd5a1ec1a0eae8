import * as Host from "@ambit/core/Host"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { rename, writeFile } from "node:fs/promises"
import { HealthFileFailed } from "../HealthFileFailed.ts"

const replaceFile = (path: string): Effect.Effect<void, HealthFileFailed, Host.Host> =>
  Effect.flatMap(Host.health, (health) =>
    Effect.tryPromise({
      try: async () => {
        const next = `${path}.next`
        await writeFile(next, `${JSON.stringify(health)}\n`)
        await rename(next, path)
      },
      catch: (cause) => new HealthFileFailed({ path, cause })
    }))

/** Writes the file now, at every change, and once more when the layer is released. */
export const writeHealth = (path: string): Effect.Effect<void, HealthFileFailed, Host.Host | Scope.Scope> =>
  Effect.gen(function*() {
    // One after the other, and each to its end, since nothing stops a promise: or an older answer would stay.
    const write = (yield* Semaphore.make(1)).withPermit(Effect.uninterruptible(replaceFile(path)))
    const writeOrSay = Effect.catchTag(write, "HealthFileFailed", (error) => Effect.logWarning(error.message))
    // Before the first write, during which an app may get ready.
    yield* Host.events.pipe(
      Stream.filter((event) => event._tag === "AppState" || event._tag === "StopPhase"),
      Stream.runForEach(() => writeOrSay),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* Effect.acquireRelease(write, () => writeOrSay)
    yield* Effect.forkScoped(Effect.andThen(Host.awaitReady, writeOrSay))
  })
