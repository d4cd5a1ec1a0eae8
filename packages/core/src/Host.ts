/**
 * The host: the owner of one process. It starts the apps, waits for a reason to
 * stop, and stops all of them within one budget, with one report.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { App, AppState } from "./App.ts"
import type { HostFailed, LayerCycle } from "./HostError.ts"
import { HostOwner, type HostState } from "./HostOwner.ts"
import { CurrentHost, type HostImpl, type HostTypeId, isExitCode, launch as launchImpl } from "./internal/host.ts"
import { resolveLimits } from "./internal/limit.ts"
import { checkName } from "./internal/names.ts"
import { shown } from "./internal/shown.ts"
import type { ScopeImpl } from "./internal/state.ts"
import { healthOf, treeOf } from "./internal/tree.ts"
import { InvalidOption } from "./InvalidOption.ts"
import * as Limits from "./Limits.ts"
import { type ShutdownReport, type TaskKind } from "./ShutdownReport.ts"
import type { TaskEvent, TaskStatus } from "./Task.ts"
import * as TaskScope from "./TaskScope.ts"

export { HostFailed, LayerCycle } from "./HostError.ts"

/**
 * The host around an app.
 *
 * **When to use**
 *
 * Apps that need one declare it by using the functions of this module; they then
 * start under `launch` only. An app that does not works without a host, too.
 *
 * @category models
 * @since 0.1.0
 */
export interface Host {
  readonly [HostTypeId]: typeof HostTypeId
  readonly name: string
}

/**
 * The host around, as a service. `launch` provides it.
 *
 * @category services
 * @since 0.1.0
 */
export const Host: Context.Service<Host, Host> = CurrentHost as unknown as Context.Service<Host, Host>

const current: Effect.Effect<HostImpl, never, Host> = Effect.map(Host, (host) => host as unknown as HostImpl)

/**
 * How a host is launched.
 *
 * **Details**
 *
 * - `name`: the first part of every path; `"host"` by default.
 * - `stopWithin`: for the whole stop, `hostStop` of the `Limits`, 30 seconds, by default.
 * - `stopWhenIdle`: stop when no foreground task is left, and no app is about to
 *   start again; `false` by default, and the host runs until it is told to stop.
 * - `onReport`: gets the report of every stop, also when the host was interrupted
 *   and `launch` has nobody to return it to. It has half a second, which comes on top of `stopWithin`; what it has not
 *   done by then is given up, and one record says so.
 *
 * @category models
 * @since 0.1.0
 */
export interface HostOptions<out R = never> {
  readonly name?: string | undefined
  readonly stopWithin?: Duration.Input | undefined
  readonly stopWhenIdle?: boolean | undefined
  readonly onReport?: ((report: ShutdownReport) => Effect.Effect<void, never, R>) | undefined
}

/**
 * Starts apps, waits for a reason to stop, stops them within one budget, and
 * gives the report.
 *
 * **Details**
 *
 * It stops when its fiber is interrupted (as `NodeRuntime.runMain` does on
 * Ctrl-C), on `requestStop`, when a task with `onFailure: "stopHost"` fails, and
 * with `stopWhenIdle` when all foreground work is done. One line in the log says
 * what the stop took.
 *
 * **Ordering**
 *
 * Apps stop before the apps they depend on, others at the same time. When a layer
 * hangs in between, the remaining apps are stopped out of order for the last
 * tenth of the budget.
 *
 * **Interruption**
 *
 * Interrupting it stops the apps first, within the budget; `onReport` gets the
 * report.
 *
 * **Failure**
 *
 * With the error of the app that does not start, after all others were stopped;
 * when somebody recovers from it, as `Layer.catchCause` does, the host goes on. With `HostFailed` after an escalated failure or a requested exit code
 * other than zero. With `InvalidOption` for a bad name or limit or for
 * something that is not a layer, and with `LayerCycle` for a layer that is built from itself. A bad stop is no failure:
 * see `clean` of the report.
 *
 * **Example** (A host that stops when its work is done)
 *
 * ```ts import.meta.vitest
 * import { App, Host, Task } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const Import = App.layer("import", Task.spawn(Effect.sleep("5 millis"), "copy", { kind: "foreground" }))
 * const report = await Effect.runPromise(Host.launch(Import, { name: "hub", stopWhenIdle: true }))
 * report.reason // => "all foreground work is done"
 * report.apps.map((app) => app.path) // => ["hub/import"]
 * ```
 *
 * @see `Layer.launch` for apps without a host
 * @category running
 * @since 0.1.0
 */
export const launch = <ROut, E, R, R2 = never>(
  apps: Layer.Layer<ROut, E, R>,
  options?: HostOptions<R2>
): Effect.Effect<ShutdownReport, E | HostFailed | LayerCycle | InvalidOption, Exclude<R | R2, Host>> =>
  Effect.gen(function*() {
    const name = options?.name === undefined ? "host" : options.name
    yield* Effect.fromResult(checkName("a host", name))
    if (!Layer.isLayer(apps)) return yield* noLayer(name, apps)
    // What the limits of the apps default to follows a shorter host.
    const limits = yield* Effect.fromResult(
      resolveLimits({ hostStop: options?.stopWithin }, yield* Limits.around, {
        ...Limits.names,
        hostStop: `stopWithin of host "${name}"`
      })
    )
    return yield* launchImpl(
      apps as unknown as Layer.Layer<never, unknown>,
      {
        name,
        limits,
        owner: yield* HostOwner,
        stopWhenIdle: options?.stopWhenIdle ?? false,
        onReport: (options?.onReport ?? (() => Effect.void)) as (report: ShutdownReport) => Effect.Effect<void>
      },
      yield* Clock.Clock,
      yield* Effect.context()
    )
  }) as Effect.Effect<ShutdownReport, E | HostFailed | LayerCycle | InvalidOption, Exclude<R | R2, Host>>

const noLayer = (name: string, apps: unknown): InvalidOption =>
  new InvalidOption({
    option: `the apps of host "${name}"`,
    value: shown(apps),
    problem: "a host is launched with one Layer",
    remedy: "Make an app of an Effect with App.layer, and one layer of several with Layer.mergeAll"
  })

/**
 * Asks the host to stop, and does not wait.
 *
 * **Details**
 *
 * The first request wins: `true` says that this one did. With an `exitCode`
 * other than zero `launch` fails with `HostFailed`, and `NodeRuntime.runMain`
 * exits with that code.
 *
 * **Example** (An app that ends the program)
 *
 * ```ts import.meta.vitest
 * import { App, Host } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const Once = App.layer("once", Host.requestStop("done"))
 * const report = await Effect.runPromise(Host.launch(Once))
 * report.reason // => "done"
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const requestStop: {
  /**
   * Asks the host to stop, and does not wait. See `requestStop`.
   *
   * @category operations
   * @since 0.1.0
   */
  (reason: string): Effect.Effect<boolean, never, Host>
  /**
   * Asks the host to stop with an exit code, and does not wait. Fails with
   * `InvalidOption` for a code that is no whole number from 0 to 255.
   *
   * @category operations
   * @since 0.1.0
   */
  (reason: string, exitCode: number): Effect.Effect<boolean, InvalidOption, Host>
} = (reason: string, exitCode?: number): Effect.Effect<boolean, never, Host> =>
  Effect.flatMap(
    current,
    (host) =>
      exitCode !== undefined && !isExitCode(exitCode)
        ? Effect.fail(badExitCode(exitCode)) as Effect.Effect<never>
        : Effect.sync(() => host.requestStop({ reason: shown(reason), exitCode, failed: false }))
  )

const badExitCode = (exitCode: number): InvalidOption =>
  new InvalidOption({
    option: "the exit code of requestStop",
    value: String(exitCode),
    problem: "an exit code is a whole number from 0 to 255",
    remedy: "Use 0 for a good end and 1 for a bad one"
  })

/**
 * The apps of the host, in the order of their start.
 *
 * @category getters
 * @since 0.1.0
 */
export const apps: Effect.Effect<ReadonlyArray<App>, never, Host> = Effect.map(
  current,
  (host) => [...host.apps.values()] as ReadonlyArray<unknown> as ReadonlyArray<App>
)

/**
 * Waits until all apps have started.
 *
 * **Details**
 *
 * When the start fails, it waits until its own fiber is interrupted by the stop.
 *
 * @category operations
 * @since 0.1.0
 */
export const awaitReady: Effect.Effect<void, never, Host> = Effect.flatMap(
  current,
  (host) => Deferred.await(host.ready)
)

/**
 * Waits until no foreground task of any app runs; see `TaskScope.awaitIdle`.
 *
 * @category operations
 * @since 0.1.0
 */
export const awaitIdle = (
  options: TaskScope.AwaitIdleOptions = {}
): Effect.Effect<void, TaskScope.IdleTimeout | InvalidOption, Host> =>
  Effect.flatMap(current, (host) => TaskScope.awaitIdle(asScope(host.root), options))

const asScope = (scope: ScopeImpl): TaskScope.TaskScope => scope

/**
 * What happens in all apps from now on; see `TaskScope.events`.
 *
 * @category getters
 * @since 0.1.0
 */
export const events: Stream.Stream<TaskEvent, never, Host> = Stream.unwrap(
  Effect.map(current, (host) => TaskScope.events(asScope(host.root)))
)

/**
 * One live task in a `Tree`. `age` is milliseconds; `place` is its innermost span
 * or `Effect.fn` frame at this moment. `restarts` is how often its policy has started it again.
 *
 * @category models
 * @since 0.1.0
 */
export interface TreeTask {
  readonly path: string
  readonly kind: TaskKind
  readonly status: TaskStatus["_tag"]
  readonly age: number
  readonly restarts: number
  readonly place: string | undefined
}

/**
 * One call of a blocking function in a `Tree`. `task` is the path of the task that
 * made it, `thread` the thread that runs it, once one does, and `age` is
 * milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface TreeCall {
  readonly task: string
  readonly name: string
  readonly thread: string | undefined
  readonly age: number
}

/**
 * One app in a `Tree`, with its live tasks and calls.
 *
 * @category models
 * @since 0.1.0
 */
export interface TreeApp {
  readonly path: string
  readonly state: Lowercase<AppState["_tag"]>
  /** How often its policy has started it again. */
  readonly restarts: number
  readonly dependsOn: ReadonlyArray<string>
  readonly tasks: ReadonlyArray<TreeTask>
  readonly calls: ReadonlyArray<TreeCall>
}

/**
 * Everything alive in a host, as plain data. `tasks` and `calls` are those of no app:
 * what layers of the host have spawned.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tree {
  readonly path: string
  readonly tasks: ReadonlyArray<TreeTask>
  readonly calls: ReadonlyArray<TreeCall>
  readonly apps: ReadonlyArray<TreeApp>
}

/**
 * A snapshot of everything alive: the apps with their states and dependencies,
 * and every task with its age and place.
 *
 * **Example** (Looking around)
 *
 * ```ts import.meta.vitest
 * import { App, Host, Task } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const seen: Array<string> = []
 * const Sensor = App.layer("sensor", Effect.gen(function*() {
 *   yield* Task.spawn(Effect.never, "poll")
 *   yield* Task.spawn(Effect.gen(function*() {
 *     yield* Host.awaitReady
 *     const tree = yield* Host.tree
 *     seen.push(...tree.apps.flatMap((app) => app.tasks.map((task) => task.path)))
 *     yield* Host.requestStop("seen")
 *   }), "look")
 * }))
 * await Effect.runPromise(Host.launch(Sensor))
 * seen // => ["host/sensor/poll", "host/sensor/look"]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const tree: Effect.Effect<Tree, never, Host> = Effect.map(current, (host) => treeOf(host))

/**
 * What orchestrators ask a process, answered from the states of the apps.
 *
 * **Details**
 *
 * - `ready`: every app is ready, and the host is not stopping. Traffic may come.
 * - `live`: no app is `failed`. One that is did not start, or could not be stopped, and only a new process mends that.
 * - `state`: where the host is.
 * - `apps`: the state of each app, by its path.
 *
 * @category models
 * @since 0.1.0
 */
export interface Health {
  readonly ready: boolean
  readonly live: boolean
  readonly state: HostState
  readonly apps: { readonly [path: string]: Lowercase<AppState["_tag"]> }
}

/**
 * Whether the host is ready and live at this moment.
 *
 * **When to use**
 *
 * Use for the readiness and liveness probes of an orchestrator: answer with status
 * 200 or 503 in an HTTP server of your own, or let `NodeHost.healthFile` write it to a file.
 *
 * **Example** (Ready when all apps are)
 *
 * ```ts import.meta.vitest
 * import { App, Host, Task } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const seen: Array<Host.Health> = []
 * const look = Effect.map(Host.health, (health) => void seen.push(health))
 * const Probe = App.layer("probe", Effect.gen(function*() {
 *   yield* look
 *   yield* Task.spawn(Effect.gen(function*() {
 *     yield* Host.awaitReady
 *     yield* look
 *     yield* Host.requestStop("seen")
 *   }), "watch")
 * }))
 * await Effect.runPromise(Host.launch(Probe))
 * seen[0] // => { ready: false, live: true, state: "starting", apps: { "host/probe": "starting" } }
 * seen[1] // => { ready: true, live: true, state: "running", apps: { "host/probe": "ready" } }
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const health: Effect.Effect<Health, never, Host> = Effect.map(current, healthOf)
