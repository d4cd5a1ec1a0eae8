import type { Pool } from "@ambit/core/Blocking"
import { threadGlobal } from "@ambit/core/BlockingFunction"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { PoolStartFailed } from "../PoolStartFailed.ts"
import { registerMetrics } from "./metrics.ts"
import { PoolImpl, type PoolSettings } from "./pool.ts"

const start = (
  settings: PoolSettings,
  context: Context.Context<never>,
  onLost: () => void
): Effect.Effect<PoolImpl, PoolStartFailed> =>
  Effect.gen(function*() {
    const { name } = settings
    if (threadGlobal().inThread) {
      return yield* new PoolStartFailed({ pool: name, problem: "this is a thread of a pool already" })
    }
    const pool = new PoolImpl(settings, context, onLost)
    const problem = yield* Effect.promise(() => pool.start())
    if (problem === undefined) return pool
    yield* Effect.promise(() => pool.close())
    return yield* new PoolStartFailed({ pool: name, problem })
  })

/** The names of the pools that are open: threads, metrics and log lines of two pools are to be told apart. */
const names = new Set<string>()

const takeName = (name: string): string => {
  let free = name
  for (let ordinal = 2; names.has(free); ordinal++) free = `${name}#${ordinal}`
  names.add(free)
  return free
}

/** Makes a pool that is closed with the scope. `onLost` hears of each thread that was lost with what it had in memory. */
export const openPool = (
  settings: PoolSettings,
  onLost: () => void
): Effect.Effect<Pool, PoolStartFailed, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context()
    const name = yield* Effect.acquireRelease(
      Effect.sync(() => takeName(settings.name)),
      (name) => Effect.sync(() => names.delete(name))
    )
    const [pool] = yield* Effect.acquireRelease(
      Effect.flatMap(start({ ...settings, name }, context, onLost), (pool) =>
        Effect.map(registerMetrics(pool), (removeMetrics) => [pool, removeMetrics] as const)),
      ([pool, removeMetrics]) =>
        Effect.andThen(Effect.promise(() => pool.close()), removeMetrics)
    )
    return {
      name,
      submit: (request) => pool.submit(request),
      status: Effect.sync(() => pool.status()),
      restart: Effect.promise(() => pool.restart())
    }
  })
