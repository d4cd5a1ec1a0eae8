/**
 * An app: a named unit of a service with its own task scope, its own resources
 * and its own limits. It is an Effect `Layer`.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { hasProperty } from "effect/Predicate"
import type * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { AppCycle, DuplicateApp, StartFailed, type StartTimeout } from "./AppError.ts"
import {
  AppImpl,
  AppTypeId,
  CurrentApp as CurrentAppKey,
  isAlive,
  lifeOf,
  start as startImpl,
  startAgain,
  stop as stopImpl,
  stopOthers,
  withDependents
} from "./internal/app.ts"
import { wallTimeOf } from "./internal/clock.ts"
import { endedByStandstill } from "./internal/close.ts"
import { CurrentHost } from "./internal/host.ts"
import { checkLimit, resolveLimits } from "./internal/limit.ts"
import { beforeRelease } from "./internal/memo.ts"
import { checkName, joinPath } from "./internal/names.ts"
import { refusal } from "./internal/spawn.ts"
import { CurrentScope, CurrentTask, refusingScope } from "./internal/state.ts"
import { InvalidOption } from "./InvalidOption.ts"
import { Limits } from "./Limits.ts"
import type { ScopeClosed } from "./ScopeClosed.ts"
import { type ShutdownReport, stuckPaths } from "./ShutdownReport.ts"
import { StoodStill, type TaskScope } from "./TaskScope.ts"

export { AppCycle, DuplicateApp, StartFailed, StartTimeout, StopTimeout } from "./AppError.ts"

/**
 * The handle of an app.
 *
 * @see {@link layer} for how apps are made
 * @category models
 * @since 0.1.0
 */
export interface App {
  readonly [AppTypeId]: typeof AppTypeId
  readonly name: string
  readonly path: string
}

/**
 * The state of an app. `since` is milliseconds since 1970.
 *
 * **Details**
 *
 * An app is `Failed` when its start failed (with that error), or when something
 * in it did not stop in time (with a `StopTimeout`). Otherwise it is `Stopped`.
 *
 * @category models
 * @since 0.1.0
 */
export type AppState =
  | { readonly _tag: "Starting"; readonly since: number }
  | { readonly _tag: "Ready"; readonly since: number }
  | { readonly _tag: "Stopping"; readonly since: number; readonly reason: string }
  | { readonly _tag: "Stopped"; readonly report: ShutdownReport }
  | { readonly _tag: "Failed"; readonly error: unknown; readonly report: ShutdownReport }

/**
 * The app around, for code that only makes sense inside of one.
 *
 * @see {@link current} for code that works outside as well
 * @category services
 * @since 0.1.0
 */
export const CurrentApp: Context.Service<App, App> = CurrentAppKey as unknown as Context.Service<App, App>

/**
 * The limits of one app. What is not given follows the `Limits`.
 *
 * **Details**
 *
 * - `startWithin`: for the start effect, 20 seconds by default; `"none"` for no limit.
 * - `stopWithin`: for the whole stop, 10 seconds by default: hooks, drain, tasks
 *   and resources. A tenth of it is kept for the resources and up to half of the
 *   rest for the tasks, whatever the hooks do.
 * - `drain`: the wait for foreground tasks, 2 seconds by default; `"none"` for no wait.
 * - `taskStopWithin`: from the interrupt of the tasks to giving them up, 5 seconds
 *   by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppOptions {
  readonly startWithin?: Duration.Input | "none" | undefined
  readonly stopWithin?: Duration.Input | undefined
  readonly drain?: Duration.Input | "none" | undefined
  readonly taskStopWithin?: Duration.Input | undefined
}

/**
 * The errors that an app adds to those of its own start.
 *
 * @category errors
 * @since 0.1.0
 */
export type AppError = InvalidOption | StartTimeout | StartFailed | DuplicateApp | AppCycle

/**
 * Tells whether a value is the handle of an app.
 *
 * @category guards
 * @since 0.1.0
 */
export const isApp = (u: unknown): u is App => hasProperty(u, AppTypeId)

const impl = (self: App): AppImpl => self as unknown as AppImpl

const face = (self: AppImpl): App => self

/**
 * What the start effect of an app gets from the app.
 *
 * @category models
 * @since 0.1.0
 */
export type Provided = App | TaskScope | Scope.Scope

/**
 * Makes an app from an effect that starts it, or from a layer.
 *
 * **Details**
 *
 * The effect runs when the layer is built. In it, `Task.spawn` spawns into the
 * app, `Effect.acquireRelease` acquires for it, and `onStop` registers hooks. An
 * app made from a layer provides what that layer provides, so other apps can
 * depend on it with `Layer.provide`; one made from an effect provides nothing.
 *
 * Apps with a host around (`Host.launch`) have the path `host/app`, and without
 * one `app`. They work the same under `Layer.launch`.
 *
 * **Ordering**
 *
 * A stop runs the hooks in reverse order while the tasks live, waits for
 * foreground tasks (`drain`), interrupts all tasks, and releases the resources
 * when the tasks have ended. Apps stop before the apps they depend on; others at
 * the same time.
 *
 * **Interruption**
 *
 * Interrupting the build stops what has been started. The stop itself goes on
 * whoever is interrupted.
 *
 * **Failure**
 *
 * When the start effect fails or takes longer than `startWithin`, all it has
 * started is stopped, and the layer fails with its error or `StartTimeout`.
 * `StartFailed` when it is stopped during its start, or when an app it depends on
 * does not run any more. `InvalidOption` for a bad name or limit, `DuplicateApp`
 * for a second app of the same path, `AppCycle` for an app that builds itself. A stop never fails: what
 * goes wrong in it is logged and reported.
 *
 * **Gotchas**
 *
 * The start effect is a task of its own, `(start)`. What it forks with
 * `Effect.forkChild` ends with it; use `Task.spawn`.
 *
 * **Example** (An app under bare Effect)
 *
 * ```ts import.meta.vitest
 * import { App, Task } from "@ambit/core"
 * import { Effect, Layer } from "effect"
 *
 * const log: Array<string> = []
 * const Greeter = App.layer("greeter", Effect.gen(function*() {
 *   yield* Task.spawn(Effect.sync(() => log.push("hello")), "greet")
 *   yield* App.onStop("farewell", Effect.sync(() => log.push("bye")))
 * }), { stopWithin: "5 seconds" })
 * await Effect.runPromise(Effect.scoped(Layer.build(Greeter)))
 * log // => ["hello", "bye"]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: {
  /**
   * Makes an app from a layer; it provides what the layer provides. See `layer`.
   *
   * @category layers
   * @since 0.1.0
   */
  <ROut, E, R>(
    name: string,
    start: Layer.Layer<ROut, E, R>,
    options?: AppOptions
  ): Layer.Layer<ROut, E | AppError, Exclude<R, Provided>>
  /**
   * Makes an app from the effect that starts it. See `layer`.
   *
   * @category layers
   * @since 0.1.0
   */
  <A, E, R>(
    name: string,
    start: Effect.Effect<A, E, R>,
    options?: AppOptions
  ): Layer.Layer<never, E | AppError, Exclude<R, Provided>>
} = (
  name: string,
  start: Layer.Layer<any, any, any> | Effect.Effect<any, any, any>,
  options?: AppOptions
): Layer.Layer<any, any, any> => {
  const app: Layer.Layer<any, any, any> = Layer.fromBuildMemo((memoMap, scope) =>
    Effect.gen(function*() {
      const made = yield* make(name, start as Layer.Layer<any>, options, app, memoMap)
      yield* register(made, memoMap, scope)
      yield* startImpl(made)
      return Context.addUnsafe(made.output, dependencyKey(made), made)
    })
  )
  // The look for a cycle comes before the memo map, where a layer that builds itself would wait for itself.
  return Layer.fromBuild((memoMap, scope) =>
    Effect.withFiber((fiber) => {
      for (let at = Context.getOrUndefined(fiber.context, CurrentAppKey); at !== undefined; at = outerOf(at)) {
        if (definitions.get(at) === app) return Effect.fail(new AppCycle({ app: at.path }))
      }
      return Layer.buildWithMemoMap(app, memoMap, scope)
    })
  )
}

/** Which layer an app was made from. */
const definitions = new WeakMap<AppImpl, Layer.Layer<any, any, any>>()

const outerOf = (app: AppImpl): AppImpl | undefined => Context.getOrUndefined(app.context, CurrentAppKey)

// An app leaves its handle in the context it provides. That is how the apps that depend on it are known.
const dependencyPrefix = "@ambit/core/App/Dependency/"

const dependencyKey = (app: AppImpl): string => `${dependencyPrefix}${app.path}`

const dependenciesIn = (context: Context.Context<never>): ReadonlySet<AppImpl> => {
  const dependencies = new Set<AppImpl>()
  for (const [key, app] of context.mapUnsafe) {
    if (key.startsWith(dependencyPrefix)) dependencies.add(app)
  }
  return dependencies
}

const limitsOf = (path: string, options: AppOptions, around: Limits): Result.Result<Limits, InvalidOption> =>
  resolveLimits(
    {
      appStart: options.startWithin,
      appStop: options.stopWithin,
      drain: options.drain,
      taskStop: options.taskStopWithin
    },
    around,
    {
      hostStop: "the stop of its host (stopWithin of Host.launch, or hostStop of the Limits)",
      appStart: `startWithin of app "${path}"`,
      appStop: `stopWithin of app "${path}"`,
      hookStop: `hookStop of app "${path}"`,
      drain: `drain of app "${path}"`,
      taskStop: `taskStopWithin of app "${path}"`
    }
  )

const make = (
  name: string,
  start: Layer.Layer<any, unknown> | Effect.Effect<unknown, unknown>,
  options: AppOptions | undefined,
  definition: Layer.Layer<any, any, any>,
  memoMap: Layer.MemoMap
): Effect.Effect<AppImpl, InvalidOption> =>
  Effect.gen(function*() {
    yield* Effect.fromResult(checkName("an app", name))
    const context = yield* Effect.context()
    const parent = Context.getOrUndefined(context, CurrentScope)
    const path = joinPath(parent?.path ?? "", name, 1)
    const app: AppImpl = new AppImpl({
      name,
      path,
      parent,
      host: Context.getOrUndefined(context, CurrentHost),
      clock: yield* Clock.Clock,
      limits: yield* Effect.fromResult(limitsOf(path, options ?? {}, yield* Limits)),
      context,
      dependencies: dependenciesIn(context),
      build: (resources) =>
        Layer.isLayer(start)
          // When it fails, the layers release at once what they had acquired; the tasks that use it end before.
          ? Layer.buildWithMemoMap(
            start,
            beforeRelease(memoMap, (exit) => stopOthers(app, exit.cause)),
            resources
          )
          : Effect.as(start, Context.empty())
    })
    definitions.set(app, definition)
    return app
  })

// Without a host, the memo map is what all the layers of one program share.
const bareApps = new WeakMap<Layer.MemoMap, Map<string, AppImpl>>()

const appsOf = (app: AppImpl, memoMap: Layer.MemoMap): Map<string, AppImpl> => {
  const host = Context.getOrUndefined(app.context, CurrentHost)
  if (host !== undefined) return host.apps
  const apps = bareApps.get(memoMap) ?? new Map<string, AppImpl>()
  bareApps.set(memoMap, apps)
  return apps
}

// The app belongs to the scope of its layer from here: that scope stops it, at last.
const register = (
  app: AppImpl,
  memoMap: Layer.MemoMap,
  scope: Scope.Scope
): Effect.Effect<void, DuplicateApp> =>
  Effect.gen(function*() {
    const apps = appsOf(app, memoMap)
    if (apps.has(app.path)) return yield* new DuplicateApp({ app: app.path })
    apps.set(app.path, app)
    for (const dependency of app.dependencies) dependency.dependents.add(app)
    yield* Scope.addFinalizer(
      scope,
      Effect.ensuring(
        Effect.suspend(() => app.phase === undefined ? Effect.void : stopAtLast(app)),
        Effect.sync(() => {
          apps.delete(app.path)
          for (const dependency of app.dependencies) dependency.dependents.delete(app)
        })
      )
    )
  })

const reasonAround = (app: AppImpl): string | undefined =>
  app.parent?.state._tag === "Stopping" ? app.parent.state.reason : undefined

const stopAtLast = (app: AppImpl): Effect.Effect<void> =>
  Effect.flatMap(stopImpl(app, reasonAround(app) ?? "its layer was closed"), (report) =>
    // A host tells the standstill of all its apps itself.
    endedByStandstill(report) && app.host === undefined
      ? Effect.die(new StoodStill({ scope: app.path, stuck: stuckPaths(report) }))
      : Effect.void)

/**
 * How a hook is registered.
 *
 * **Details**
 *
 * `within` is the limit of the hook: `hookStop` of the `Limits`, 5 seconds, by
 * default, and never more than the stop of the app leaves for hooks.
 *
 * @category models
 * @since 0.1.0
 */
export interface HookOptions {
  readonly within?: Duration.Input | undefined
}

/**
 * Registers clean-up that runs when the app begins to stop, while its tasks
 * still live.
 *
 * **When to use**
 *
 * Use for what needs the tasks or the services of the app: to say goodbye, to
 * flush, to stop taking work in. Use `Effect.acquireRelease` to give back a
 * resource; that runs after the tasks have ended.
 *
 * **Ordering**
 *
 * Hooks run one after the other, the last registered first.
 *
 * **Interruption**
 *
 * A hook that takes longer than its limit is interrupted and left alone. What the
 * later hooks need is kept for them, up to an equal share of the time.
 *
 * **Failure**
 *
 * A hook that fails or overruns is logged and reported, and the next one runs.
 * Registering fails with `ScopeClosed` when the app is stopping, and with
 * `InvalidOption` for a bad name or limit or for something that is not an effect.
 *
 * **Example** (Hooks in reverse order)
 *
 * ```ts import.meta.vitest
 * import { App } from "@ambit/core"
 * import { Effect, Layer } from "effect"
 *
 * const log: Array<string> = []
 * const Sensor = App.layer("sensor", Effect.gen(function*() {
 *   yield* App.onStop("disconnect", Effect.sync(() => log.push("disconnect")))
 *   yield* App.onStop("flush", Effect.sync(() => log.push("flush")), { within: "2 seconds" })
 * }))
 * await Effect.runPromise(Effect.scoped(Layer.build(Sensor)))
 * log // => ["flush", "disconnect"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const onStop = <A, E, R>(
  name: string,
  hook: Effect.Effect<A, E, R>,
  options?: HookOptions
): Effect.Effect<void, ScopeClosed | InvalidOption, R | App> =>
  Effect.gen(function*() {
    const app = impl(yield* CurrentApp)
    yield* Effect.fromResult(checkName(`a hook of app "${app.path}"`, name))
    const option = `hook "${name}" of app "${app.path}"`
    if (!Effect.isEffect(hook)) {
      return yield* new InvalidOption({
        option,
        value: String(hook),
        problem: "a hook is an Effect",
        remedy: "Wrap a function in Effect.sync, or a promise in Effect.promise"
      })
    }
    const within = options?.within === undefined
      ? app.limits.hookStop
      : yield* Effect.fromResult(checkLimit(`within of ${option}`, options.within, {
        name: "stopWithin of its app",
        millis: app.limits.appStop
      }))
    const life = lifeOf(app)
    if (life === undefined || refusingScope(life.scope) !== undefined) {
      return yield* refusal(life?.scope ?? (yield* CurrentScope), name)
    }
    // A hook runs for the app, not for the task that registered it.
    const context = Context.add(yield* Effect.context<R>(), CurrentTask, undefined)
    life.hooks.push({ name, within, run: Effect.provideContext(hook, context) })
  }) as Effect.Effect<void, ScopeClosed | InvalidOption, R | App>

/**
 * The app that the current fiber belongs to, if any.
 *
 * @see {@link CurrentApp} to require one
 * @category getters
 * @since 0.1.0
 */
export const current: Effect.Effect<Option.Option<App>> = Effect.map(
  Effect.context(),
  (context) => Option.map(Context.getOption(context, CurrentAppKey), face)
)

/**
 * The state of an app.
 *
 * **Example** (From inside)
 *
 * ```ts import.meta.vitest
 * import { App } from "@ambit/core"
 * import { Effect, Layer } from "effect"
 *
 * const seen: Array<string> = []
 * const Sensor = App.layer("sensor", Effect.gen(function*() {
 *   const app = yield* App.CurrentApp
 *   seen.push((yield* App.state(app))._tag)
 *   yield* App.onStop("look", Effect.map(App.state(app), (state) => seen.push(state._tag)))
 * }))
 * await Effect.runPromise(Effect.scoped(Layer.build(Sensor)))
 * seen // => ["Starting", "Stopping"]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const state = (self: App): Effect.Effect<AppState> =>
  Effect.sync(() => {
    const app = impl(self)
    const phase = app.phase!
    switch (phase._tag) {
      case "Starting":
      case "Ready":
        return { _tag: phase._tag, since: wallTimeOf(app.clock, phase.since) }
      case "Stopping":
        return { _tag: "Stopping", since: wallTimeOf(app.clock, phase.since), reason: phase.reason }
      case "Stopped":
      case "Failed":
        return phase
    }
  })

/**
 * Stops one app while the others run, and says what it took.
 *
 * **Ordering**
 *
 * Apps that depend on it stop first. What it depends on goes on.
 *
 * **Interruption**
 *
 * The stop goes on when the fiber that waits for it is interrupted. A task that
 * stops its own app is interrupted as the others.
 *
 * **Failure**
 *
 * Never fails. Stopping an app that is stopped gives the report of that stop;
 * two callers get the same one.
 *
 * **Example** (Stopping one app)
 *
 * ```ts import.meta.vitest
 * import { App, Host, Task } from "@ambit/core"
 * import { Effect, Layer } from "effect"
 *
 * const Sensor = App.layer("sensor", Effect.void)
 * const maintain = Effect.gen(function*() {
 *   yield* Host.awaitReady
 *   const [sensor] = yield* Host.apps
 *   const report = yield* App.stop(sensor!, "for maintenance")
 *   yield* Host.requestStop(`${report.path} is down`)
 * })
 * const Admin = App.layer("admin", Task.spawn(maintain, "maintain"))
 * const report = await Effect.runPromise(Host.launch(Layer.mergeAll(Sensor, Admin)))
 * report.reason // => "host/sensor is down"
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const stop: {
  /**
   * Stops one app while the others run. Data-last; see the data-first form.
   *
   * @category operations
   * @since 0.1.0
   */
  (reason?: string): (self: App) => Effect.Effect<ShutdownReport>
  /**
   * Stops one app while the others run. See `stop`.
   *
   * @category operations
   * @since 0.1.0
   */
  (self: App, reason?: string): Effect.Effect<ShutdownReport>
} = dual(
  (args) => isApp(args[0]),
  (self: App, reason?: string): Effect.Effect<ShutdownReport> => stopImpl(impl(self), reason ?? "stopped by hand")
)

const startFailure = (app: AppImpl) => (cause: unknown): StartFailed =>
  cause instanceof StartFailed
    ? cause
    : new StartFailed({
      app: app.path,
      problem: cause instanceof Error ? cause.message : "its start effect failed; see the cause",
      cause
    })

/**
 * Starts an app again that was stopped, with a fresh scope.
 *
 * **Details**
 *
 * Its start effect runs again, with new resources. Apps that depend on it get
 * the new services when they are started next.
 *
 * **Gotchas**
 *
 * What was built on its old services outside of any app keeps the old ones.
 *
 * **Failure**
 *
 * `StartFailed` when the app runs, when an app it depends on does not, when its
 * host stops, or when its start effect fails.
 *
 * @see {@link restart} for an app and those that depend on it
 * @category operations
 * @since 0.1.0
 */
export const start = (self: App): Effect.Effect<void, StartFailed> =>
  Effect.suspend(() => {
    const app = impl(self)
    if (isAlive(app)) return Effect.fail(new StartFailed({ app: app.path, problem: "it runs already. Stop it first" }))
    return Effect.mapError(startAgain(app), startFailure(app))
  })

/**
 * Stops an app and starts it again, together with the apps that depend on it.
 *
 * **Details**
 *
 * The apps that depend on it start after it and get its new services. Gives the
 * report of the stop.
 *
 * **Ordering**
 *
 * Dependents stop first and start last.
 *
 * **Failure**
 *
 * `StartFailed` of the first app that does not start again.
 *
 * @category operations
 * @since 0.1.0
 */
export const restart = (self: App): Effect.Effect<ShutdownReport, StartFailed> =>
  Effect.gen(function*() {
    const app = impl(self)
    const order = withDependents(app)
    const report = yield* stopImpl(app, "restart")
    for (const next of [...order].toReversed()) yield* start(face(next))
    return report
  })
