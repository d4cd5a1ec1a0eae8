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
  bind,
  CurrentApp as CurrentAppKey,
  endTasksOf,
  outerOf,
  stopForGood,
  stopOthers,
  unbind
} from "./internal/app.ts"
import { fail, restart as restartImpl, startAgain, startFirst } from "./internal/appRestart.ts"
import { wallTimeOf } from "./internal/clock.ts"
import { standstills } from "./internal/close.ts"
import { checkMaxTasks } from "./internal/duplicates.ts"
import { CurrentHost } from "./internal/host.ts"
import { resolveLimits } from "./internal/limit.ts"
import { ownMemoMap } from "./internal/memo.ts"
import { checkName, joinPath } from "./internal/names.ts"
import { outsideOfTasks, registerHook } from "./internal/registerHook.ts"
import { alone, checkRestart, Restarter } from "./internal/restart.ts"
import { shown } from "./internal/shown.ts"
import { CurrentScope } from "./internal/state.ts"
import { InvalidOption } from "./InvalidOption.ts"
import { around, type Limits, names } from "./Limits.ts"
import type { Restart } from "./Restart.ts"
import type { ScopeClosed } from "./ScopeClosed.ts"
import { type ShutdownReport, stuckPaths } from "./ShutdownReport.ts"
import { StoodStill, type TaskScope, type TaskScopeOptions } from "./TaskScope.ts"

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
 * in it did not stop in time (with a `StopTimeout`). Otherwise it is `Stopped`. One with a `restart` policy is `Failed` only when
 * that has given up; until then it is `Stopped`, and `Starting` while it waits for its next start.
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
 * The limits of one app, and its restart policy. Limits that are not given follow the `Limits`.
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
 * - `restart`: what becomes of the app when its start fails, or when a failure in it stops it (`stopApp`): its policy may start it
 *   again, with all that depend on it. None by default. An app that somebody stops by hand stays down. An app does not return, so
 *   `permanent` and `transient` differ only in what they do by default when the budget is used up; `stopApp` is `giveUp`, and the
 *   app stays down as `Failed`. See `Restart`.
 * - `maxTasks`: how many tasks the app may have at once, and how many more may wait, as for every scope; see
 *   `TaskScopeOptions`. Its start is none of them.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppOptions {
  readonly startWithin?: Duration.Input | "none" | undefined
  readonly stopWithin?: Duration.Input | undefined
  readonly drain?: Duration.Input | "none" | undefined
  readonly taskStopWithin?: Duration.Input | undefined
  readonly restart?: Restart | undefined
  readonly maxTasks?: TaskScopeOptions["maxTasks"]
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
 * Its layers are built for this app, and again when it is started again, also when
 * another app uses the same layer values. What apps share is provided around them.
 *
 * Apps with a host around (`Host.launch`) have the path `host/app`, and without
 * one `app`. They work the same under `Layer.launch`.
 *
 * **Ordering**
 *
 * A stop runs the hooks in reverse order while the tasks live, waits for
 * foreground tasks (`drain`), interrupts all tasks, and releases the resources
 * when the tasks have ended. Apps stop before the apps they depend on; others at
 * the same time. A layer inside that fails and is replaced by another one releases
 * its resources at once, after the tasks it has spawned.
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
 * does not run any more. `InvalidOption` for a bad name or limit or for a start that
 * is neither an effect nor a layer, `DuplicateApp` for a second app of the same
 * path, `AppCycle` for an app that builds itself. A stop never fails: what goes
 * wrong in it is logged and reported.
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
      return (yield* startFirst(made)) as Context.Context<any>
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
      ...names,
      hostStop: "the stop of its host (stopWithin of Host.launch, or hostStop of the Limits)",
      appStart: `startWithin of app "${path}"`,
      appStop: `stopWithin of app "${path}"`,
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
    const context = outsideOfTasks(yield* Effect.context())
    const parent = Context.getOrUndefined(context, CurrentScope)
    const path = joinPath(parent?.path ?? "", name, 1)
    if (!Layer.isLayer(start) && !Effect.isEffect(start)) {
      return yield* new InvalidOption({
        option: `the start of app "${path}"`,
        value: shown(start),
        problem: "an app starts from an Effect or a Layer",
        remedy: "Wrap a function in Effect.sync, Effect.gen or Effect.promise"
      })
    }
    const limits = yield* Effect.fromResult(limitsOf(path, options ?? {}, yield* around))
    const clock = yield* Clock.Clock
    const policy = options?.restart === undefined
      ? undefined
      : yield* Effect.fromResult(checkRestart(`app "${path}"`, options.restart, alone))
    const room = yield* Effect.fromResult(checkMaxTasks(`app "${path}"`, options?.maxTasks))
    const app: AppImpl = new AppImpl({
      name,
      path,
      parent,
      host: Context.getOrUndefined(context, CurrentHost),
      clock,
      restarter: policy && new Restarter(policy, path, clock),
      fail,
      limits,
      ownStop: options?.stopWithin === undefined ? undefined : limits.appStop,
      room,
      context,
      build: (life) =>
        Layer.isLayer(start)
          ? Layer.buildWithMemoMap(
            start,
            ownMemoMap(memoMap, {
              failed: (layer, cause) => layer === start ? stopOthers(app, life, cause) : Effect.void,
              released: (layer) => endTasksOf(life, layer)
            }),
            life.resources
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
    const namesake = apps.get(app.path)
    // One inside of an earlier life of the app around may never have been released.
    if (namesake !== undefined && namesake.parent?.state._tag !== "Closed") {
      return yield* new DuplicateApp({ app: app.path })
    }
    apps.set(app.path, app)
    bind(app)
    yield* Scope.addFinalizer(
      scope,
      Effect.ensuring(
        Effect.suspend(() => {
          app.gone = true
          return Effect.andThen(stopAtLast(app), app.host?.whenGone ?? Effect.void)
        }),
        Effect.sync(() => {
          if (apps.get(app.path) === app) apps.delete(app.path)
          unbind(app)
        })
      )
    )
  })

const reasonAround = (app: AppImpl): string | undefined =>
  app.parent?.state._tag === "Stopping" ? app.parent.state.reason : undefined

const stopAtLast = (app: AppImpl): Effect.Effect<void> =>
  Effect.flatMap(stopForGood(app, reasonAround(app) ?? "its layer was closed"), (report) =>
    // A host tells the standstill of all its apps itself.
    standstills.has(report) && app.host === undefined
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
): Effect.Effect<void, ScopeClosed | InvalidOption, R | App> => registerHook(name, hook, options?.within, undefined)

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
    const { phase } = app
    switch (phase._tag) {
      case "Waiting":
        return { _tag: "Starting", since: wallTimeOf(app.clock, phase.since) }
      case "Starting":
      case "Ready":
        return { _tag: phase._tag, since: wallTimeOf(app.clock, phase.since) }
      case "Stopping": {
        const { budget, reason } = phase.stop
        return { _tag: "Stopping", since: wallTimeOf(app.clock, budget.since), reason }
      }
      case "Stopped":
        return { _tag: "Stopped", report: phase.report }
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
 * stops its own app is interrupted as the others. A hook or a finalizer that stops
 * its own app, or one that this app depends on, does not wait: it gets the report
 * as far as it has come.
 *
 * **Failure**
 *
 * Never fails. Stopping an app that is stopped gives the report of that stop;
 * two callers get the same one. While it stops, nothing can be started on it. It
 * stays down until somebody starts it: its `restart` policy does not, nor does a
 * restart of what it depends on that is under way.
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
  (self: App, reason?: string): Effect.Effect<ShutdownReport> =>
    Effect.suspend(() => stopForGood(impl(self), shown(reason ?? "stopped by hand")))
)

// What is no app may come out of a look-up that found none.
const appOf = (self: App): Effect.Effect<AppImpl, StartFailed> =>
  isApp(self) ? Effect.succeed(impl(self)) : Effect.fail(
    new StartFailed({ app: shown(self), problem: "it is not the handle of an app. Take one from Host.apps" })
  )

/**
 * Starts an app again that was stopped, with a fresh scope.
 *
 * **Details**
 *
 * Its start effect runs again, with new resources and with the newest services
 * of the apps it depends on. What depends on it gets the new services when it is
 * started next. While an app it depends on is being restarted, it waits for that.
 *
 * **Gotchas**
 *
 * What was built on its old services outside of any app keeps the old ones.
 *
 * **Interruption**
 *
 * Interrupting it stops what has been started.
 *
 * **Failure**
 *
 * `StartFailed`, whatever the reason: the app runs, an app it depends on does
 * not, its layer is closed, its host stops, or its start effect fails, throws or
 * takes too long. Its `cause` is what the start effect ended with. When an app with a `restart` policy has failed to
 * start, the policy has it tried again all the same.
 *
 * @see {@link restart} for an app and those that depend on it
 * @category operations
 * @since 0.1.0
 */
export const start = (self: App): Effect.Effect<void, StartFailed> => Effect.flatMap(appOf(self), startAgain)

/**
 * Stops an app and starts it again, together with the apps that depend on it.
 *
 * **Details**
 *
 * The apps that depend on it start after it and get its new services, each as
 * soon as all that it depends on runs. Gives the report of the stop. Two who
 * restart an app at the same time get the same restart; an app that somebody else
 * starts first is left alone.
 *
 * An app with a `restart` policy that waits for its next start gets it now. When
 * that fails, the policy goes on, and so does the wait for this restart.
 *
 * **Gotchas**
 *
 * A plain layer between two apps is not built again. What it made of the old
 * services is what the apps above it get.
 *
 * **Ordering**
 *
 * Dependents stop first and start last.
 *
 * **Interruption**
 *
 * The restart goes on when the fiber that waits for it is interrupted. So a task
 * of the app, or of one that depends on it, may restart it; it is stopped with
 * the others.
 *
 * **Failure**
 *
 * `StartFailed` when an app does not start again. All others are started that
 * can be; the message names each one that stays down, and each is logged.
 *
 * @category operations
 * @since 0.1.0
 */
export const restart = (self: App): Effect.Effect<ShutdownReport, StartFailed> =>
  Effect.flatMap(appOf(self), restartImpl)
