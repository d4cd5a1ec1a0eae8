/**
 * Promises of which nobody loses sight.
 *
 * Nobody can end a promise. So an interrupt frees the fiber at once, and what has
 * not settled by then is a task of the scope by itself: a close waits for it,
 * gives it up and reports it like any other. (core/Job.test.ts)
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { leaveBehind } from "./calls.ts"
import { now } from "./clock.ts"
import { say } from "./say.ts"
import { shown } from "./shown.ts"
import { CurrentTask, scopeIn } from "./state.ts"

/**
 * Waits for a promise that the job `name` has begun, in the registration of an
 * `Effect.callback`. Gives what is to be done when nobody waits any more.
 */
export const awaitPromise = <A>(
  name: string,
  promise: PromiseLike<A>,
  resume: (effect: Effect.Effect<A, Cause.UnknownError>) => void
): Effect.Effect<void> => {
  const { context } = Fiber.getCurrent()!
  const scope = scopeIn(context)
  const startedAt = scope === undefined ? 0 : now(scope.clock)
  let state: "awaited" | "left" | "settled" = "awaited"
  let end = () => {}

  const settle = (): boolean => {
    const awaited = state === "awaited"
    state = "settled"
    end()
    return awaited
  }

  // A thenable of somebody else may answer twice, or in this very stack. A promise does neither.
  Promise.resolve(promise).then(
    (value) => {
      if (settle()) resume(Effect.succeed(value))
    },
    (error: unknown) => {
      if (settle()) {
        resume(Effect.fail(new Cause.UnknownError(error, `The promise of job ${name} was rejected: ${shown(error)}`)))
      } else if (!isAbort(error)) {
        say(context, "Warn", `Job ${name} failed when nobody waited for it any more`, { job: name }, Cause.fail(error))
      }
    }
  )

  return Effect.sync(() => {
    if (state === "settled") return
    state = "left"
    if (scope === undefined) return
    const taskPath = Context.get(context, CurrentTask)?.path ?? scope.path
    const settling = Effect.callback<void>((resume) => {
      end = () => resume(Effect.interrupt)
    })
    leaveBehind({ scope, taskPath, name, context, startedAt }, "nobody waits for the promise any more", settling)
  })
}

// How a promise ends that did as its signal told it.
const isAbort = (error: unknown): boolean => error instanceof Error && error.name === "AbortError"
