import type { Pool } from "@ambit/core/Blocking"
import { threadGlobal } from "@ambit/core/BlockingFunction"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { PoolStartFailed } from "../PoolStartFailed.ts"
import { registerMetrics } from "./metrics.ts"
import { PoolImpl, type PoolSettings } from "./pool.ts"
import { isDoneWithin } from "./realTime.ts"

/** The names of the pools that are open: threads, metrics and log lines of two pools are to be told apart. */
const names = new Set<string>()

const takeName = (name: string): string => {
  let free = name
  for (let ordinal = 2; names.has(free); ordinal++) free = `${name}#${ordinal}`
  names.add(free)
  return free
}

/** How long the first thread may take. It takes milliseconds, and should it never come, whoever waits is to know. */
const startWithin = 20_000

/** Starts a pool, and gives the problem if that does not work. */
const start = async (pool: PoolImpl): Promise<string | undefined> => {
  const started = pool.start()
  return await isDoneWithin(started, startWithin) ? started : `none was ready within ${startWithin} ms`
}

/**
 * Makes a pool that is closed with the scope. `onLost` hears of each thread that was lost with what it had in memory.
 * Whoever gives none keeps nothing there.
 */
export const openPool = (
  settings: PoolSettings,
  onLost: (() => void) | undefined
): Effect.Effect<Pool, PoolStartFailed, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      if (threadGlobal().inThread) {
        return yield* new PoolStartFailed({ pool: settings.name, problem: "this is a thread of a pool already" })
      }
      const name = takeName(settings.name)
      const pool = new PoolImpl({ ...settings, name }, yield* Effect.context(), onLost)
      const close = Effect.andThen(Effect.promise(() => pool.close()), Effect.sync(() => names.delete(name)))
      const problem = yield* restore(Effect.promise(() => start(pool))).pipe(Effect.onInterrupt(() => close))
      if (problem !== undefined) {
        yield* close
        return yield* new PoolStartFailed({ pool: name, problem })
      }
      const removeMetrics = yield* registerMetrics(pool)
      yield* Effect.addFinalizer(() => Effect.andThen(close, removeMetrics))
      return {
        name,
        submit: (request) => pool.submit(request),
        status: Effect.sync(() => pool.status()),
        restart: Effect.promise(() => pool.restart())
      }
    })
  )
