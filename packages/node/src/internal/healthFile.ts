import * as Host from "@ambit/core/Host"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { rename, writeFile } from "node:fs/promises"

/**
 * The file of `NodeHost.healthFile` could not be written.
 *
 * @category errors
 * @since 0.1.0
 */
export class HealthFileFailed extends Schema.TaggedError<HealthFileFailed>("@ambit/node/NodeHost/HealthFileFailed")(
  "HealthFileFailed",
  { path: Schema.String, cause: Schema.Defect() }
) {
  override get message(): string {
    return `The health of the host cannot be written to ${this.path}: ${String(this.cause)}. ` +
      "Give it a path in a folder that this process may write to"
  }
}

const write = (path: string): Effect.Effect<void, HealthFileFailed, Host.Host> =>
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
    const writeOrSay = Effect.catch(write(path), (error) => Effect.logWarning(error.message))
    yield* write(path)
    yield* Effect.addFinalizer(() => writeOrSay)
    yield* Host.events.pipe(
      Stream.filter((event) => event._tag === "AppState" || event._tag === "StopPhase"),
      Stream.runForEach(() => writeOrSay),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* Effect.forkScoped(Effect.andThen(Host.awaitReady, writeOrSay))
  })
