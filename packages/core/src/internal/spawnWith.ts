/**
 * Spawning with what the options put around an effect: a limit, and restarts.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { RestartExhausted } from "../RestartExhausted.ts"
import type { RestartedOptions, SpawnError, SpawnOptions } from "../Task.ts"
import type { TimeLimitExceeded } from "../TimeLimitExceeded.ts"
import { runLimitOf, withinLimit } from "./limitedTask.ts"
import { joinPath } from "./names.ts"
import { alone, checkRestart, type Policy, Restarter } from "./restart.ts"
import { spawn } from "./spawn.ts"
import type { ScopeImpl, TaskImpl } from "./state.ts"
import { type Governor, pause, supervised } from "./supervised.ts"

export type AnyOptions<E> = SpawnOptions | RestartedOptions<E>

const governorOf = (policy: Policy) => ({ path, scope }: TaskImpl): Governor => {
  const restarter = new Restarter(policy, path, scope.clock)
  return {
    began: () => {},
    after: (exit, took) => restarter.next(exit, took),
    wait: pause,
    consequence: () => undefined
  }
}

export const spawnWith = <A, E, R>(
  scope: ScopeImpl,
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  name: string,
  options: AnyOptions<E> | undefined
): TaskImpl<A, E | TimeLimitExceeded | RestartExhausted> | SpawnError => {
  const within = runLimitOf(scope, name, options, undefined)
  if (Result.isFailure(within)) return within.failure
  const run = withinLimit(effect, within.success)
  if (options === undefined || options === null || !("restart" in options) || options.restart === undefined) {
    return spawn(scope, context, run, name, options)
  }
  const policy = checkRestart(`task "${joinPath(scope.path, name, 1)}"`, options.restart, alone)
  if (Result.isFailure(policy)) return policy.failure
  return spawn(scope, context, supervised(run, governorOf(policy.success)), name, options)
}
