/**
 * The limits that everything falls back to, in one place.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { checkLimit, resolveLimits } from "./internal/limit.ts"
import type { InvalidOption } from "./InvalidOption.ts"

/**
 * What can be set. All are optional.
 *
 * **Details**
 *
 * | option | default | limits |
 * | --- | --- | --- |
 * | `hostStop` | 30 s | the whole stop of a host: what orchestrators grant before they kill |
 * | `announce` | 2 s | the hooks of the phase `stopping`, before anything is interrupted |
 * | `appStart` | 20 s | the start effect of an app; `"none"` for no limit |
 * | `appStop` | 10 s | the whole stop of an app, so that three apps in a row fit into a host |
 * | `hookStop` | 5 s | one hook, of `App.onStop` or `Shutdown.on` |
 * | `drain` | 2 s | the wait for foreground tasks before they are interrupted; `"none"` for no wait |
 * | `taskStop` | 5 s | from the interrupt of a task to its being given up |
 * | `finalWrite` | 3 s | the hooks of the phase `finalWrite`, when the tasks are gone |
 * | `closing` | 1 s | the hooks of the phase `closing`, the last of all |
 * | `extension` | `"none"` | how much more time a stop may be given in all with `Shutdown.extend` |
 * | `run` | `"none"` | one run of `Task.after`, `Task.every`, `Task.cron` or a `Timer` |
 *
 * `hookStop`, `drain` and `taskStop` lie inside `appStop`, and `appStop` inside
 * `hostStop`. `announce`, `appStop`, `finalWrite` and `closing` come one after the
 * other, so those that are set must fit into `hostStop` together. A limit that is
 * not set follows the one around it when that is shorter; a phase gets a tenth of
 * a short host at most, and one that was set further out keeps its share of it. A limit that is set and does not
 * fit is refused.
 *
 * @category models
 * @since 0.1.0
 */
export interface LimitOptions {
  readonly hostStop?: Duration.Input | undefined
  readonly announce?: Duration.Input | undefined
  readonly appStart?: Duration.Input | "none" | undefined
  readonly appStop?: Duration.Input | undefined
  readonly hookStop?: Duration.Input | undefined
  readonly drain?: Duration.Input | "none" | undefined
  readonly taskStop?: Duration.Input | undefined
  readonly finalWrite?: Duration.Input | undefined
  readonly closing?: Duration.Input | undefined
  readonly extension?: Duration.Input | "none" | undefined
  readonly run?: Duration.Input | "none" | undefined
}

/**
 * The limits in force, in milliseconds. `undefined` means no limit (`appStart`, `run`),
 * no wait (`drain`) or no more time (`extension`).
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  readonly hostStop: number
  readonly announce: number
  readonly appStart: number | undefined
  readonly appStop: number
  readonly hookStop: number
  readonly drain: number | undefined
  readonly taskStop: number
  readonly finalWrite: number
  readonly closing: number
  readonly extension: number | undefined
  readonly run: number | undefined
}

/**
 * The limits where nobody sets any.
 *
 * **Example** (The defaults)
 *
 * ```ts import.meta.vitest
 * import { Limits } from "@ambit/core"
 *
 * const { announce, appStart, appStop, closing, drain, finalWrite, hookStop, hostStop, taskStop } = Limits.defaults
 * ;[hostStop, appStart, appStop, hookStop, drain, taskStop] // => [30000, 20000, 10000, 5000, 2000, 5000]
 * ;[announce, finalWrite, closing] // => [2000, 3000, 1000]
 * ;[Limits.defaults.extension, Limits.defaults.run] // => [undefined, undefined]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const defaults: Limits = {
  hostStop: 30_000,
  announce: 2000,
  appStart: 20_000,
  appStop: 10_000,
  hookStop: 5000,
  drain: 2000,
  taskStop: 5000,
  finalWrite: 3000,
  closing: 1000,
  extension: undefined,
  run: undefined
}

/**
 * The limits of the program around. Options of a host, an app, a scope or a task
 * win over them.
 *
 * @category services
 * @since 0.1.0
 */
export const Limits: Context.Reference<Limits> = Context.Reference<Limits>("@ambit/core/Limits", {
  defaultValue: () => defaults
})

/**
 * What the limits are called where they have no better name.
 *
 * @internal
 */
export const names = {
  hostStop: "hostStop",
  announce: "announce",
  appStart: "appStart",
  appStop: "appStop",
  hookStop: "hookStop",
  drain: "drain",
  taskStop: "taskStop",
  finalWrite: "finalWrite",
  closing: "closing",
  extension: "extension",
  run: "run"
} as const

const optional: ReadonlySet<keyof Limits> = new Set(["appStart", "drain", "extension", "run"])

/**
 * The limits around. A service can be given anything, so they are checked.
 *
 * @internal
 */
export const around: Effect.Effect<Limits, InvalidOption> = Effect.flatMap(
  Limits,
  (limits): Effect.Effect<Limits, InvalidOption> => {
    const bad = Object.values(names)
      .filter((name) => limits[name] !== undefined || !optional.has(name))
      .map((name) => checkLimit(`${name} of the Limits`, limits[name]!))
      .find(Result.isFailure)
    return bad === undefined ? Effect.succeed(limits) : Effect.fail(bad.failure)
  }
)

/**
 * Checks options and fills in what is not given.
 *
 * **Failure**
 *
 * `InvalidOption` for a limit that is zero, negative, not a number or not
 * finite, and for two that do not fit into each other; it names both.
 *
 * **Example** (Limits that do not fit)
 *
 * ```ts import.meta.vitest
 * import { Limits } from "@ambit/core"
 * import { Result } from "effect"
 *
 * const refused = Limits.resolve({ hostStop: "5 seconds", appStop: "1 minute" })
 * Result.isFailure(refused) && refused.failure.message // => "appStop is \"1 minute\": it does not fit into hostStop, which is 5.0 s. Lower the one or raise the other."
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const resolve = (options: LimitOptions): Result.Result<Limits, InvalidOption> =>
  resolveLimits(options, defaults, names)

/**
 * Sets limits for everything below.
 *
 * **Failure**
 *
 * Fails as `resolve` does.
 *
 * **Example** (Shorter limits for a whole program)
 *
 * ```ts import.meta.vitest
 * import { Limits } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.map(Limits.Limits, (limits) => [limits.appStop, limits.taskStop])
 * await Effect.runPromise(program.pipe(Effect.provide(Limits.layer({ appStop: "3 seconds" })))) // => [3000, 3000]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: LimitOptions): Layer.Layer<never, InvalidOption> =>
  Layer.effect(Limits)(Effect.suspend(() => Effect.fromResult(resolve(options))))

const limit = (name: string) => Config.option(Config.Duration(name)).pipe(Config.map(Option.getOrUndefined))

const limitOrNone = (name: string) =>
  Config.option(
    Config.schema(Schema.Literal("none"), name).pipe(
      Config.orElse((): Config.Config<Duration.Duration | "none"> => Config.Duration(name))
    )
  ).pipe(Config.map(Option.getOrUndefined))

/**
 * The limits as configuration: each by its name under `ambit`, as a duration such
 * as `5 seconds`.
 *
 * @category config
 * @since 0.1.0
 */
export const config: Config.Config<LimitOptions> = Config.all({
  hostStop: limit("hostStop"),
  announce: limit("announce"),
  appStart: limitOrNone("appStart"),
  appStop: limit("appStop"),
  hookStop: limit("hookStop"),
  drain: limitOrNone("drain"),
  taskStop: limit("taskStop"),
  finalWrite: limit("finalWrite"),
  closing: limit("closing"),
  extension: limitOrNone("extension"),
  run: limitOrNone("run")
}).pipe(Config.nested("ambit"))

/**
 * Sets limits from environment variables: `AMBIT_HOST_STOP`, `AMBIT_ANNOUNCE`,
 * `AMBIT_APP_START`, `AMBIT_APP_STOP`, `AMBIT_HOOK_STOP`, `AMBIT_DRAIN`,
 * `AMBIT_TASK_STOP`, `AMBIT_FINAL_WRITE`, `AMBIT_CLOSING`, `AMBIT_EXTENSION`, `AMBIT_RUN`.
 *
 * **Details**
 *
 * `options` are the program's own values; a variable that is set wins over them.
 *
 * **Failure**
 *
 * `ConfigError` for a variable that is no duration, and as `resolve` does.
 *
 * **Example** (An operator's wish)
 *
 * ```ts import.meta.vitest
 * import { Limits } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.map(Limits.Limits, (limits) => limits.hostStop)
 * await Effect.runPromise(program.pipe(Effect.provide(Limits.layerFromEnv({ hostStop: "25 seconds" })))) // => 25000
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFromEnv = (
  options?: LimitOptions
): Layer.Layer<never, Config.ConfigError | InvalidOption> =>
  Layer.effect(Limits)(
    config.pipe(
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromEnv().pipe(ConfigProvider.constantCase)
      ),
      Effect.flatMap((fromEnv) => Effect.fromResult(resolve({ ...options, ...withoutUndefined(fromEnv) })))
    )
  )

const withoutUndefined = (options: LimitOptions): LimitOptions =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
