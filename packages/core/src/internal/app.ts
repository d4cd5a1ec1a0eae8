/**
 * One app: its states, and how it starts, stops and starts again.
 *
 * Waiting → Starting → Ready → Stopping → Stopped | Failed → Starting → …; a
 * start that fails goes Starting → Stopping → Failed.
 *
 * A stop has one budget with deadlines in it, so that nothing in it can take the
 * time of what comes after:
 *
 *   since ── hooks, drain ── tasks ── resources ── deadline
 *
 * In the stop of a host, the hooks of its phases run around that. An app that
 * stops alone keeps time for those of the last two phases itself:
 *
 *   … ── resources ── final write ── closing ── deadline
 *
 * Invariants
 * - `move` is the only place that moves the state of an app.
 * - Once the layer of an app is closed, the app never starts again. (App.restart.test.ts)
 * - An app is bound to the newest services of what it depends on when it starts,
 *   and at no other time. (App.restart.test.ts)
 * - Hooks run while the tasks live, and resources are released after the tasks
 *   have ended or were given up. (App.test.ts)
 * - Everything that is user code runs in a fiber that a wait with a deadline
 *   stands beside, never around. (laws/close.test.ts)
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as EffectScope from "effect/Scope"
import { StartFailed, StartTimeout, StopTimeout } from "../AppError.ts"
import type { Limits } from "../Limits.ts"
import {
  type AppReport,
  type HookReport,
  makeLazily,
  roundMillis,
  type ShutdownReport,
  type StopPhase,
  stuckPaths,
  summary
} from "../ShutdownReport.ts"
import { moment, now, waitUntil, wallTimeOf } from "./clock.ts"
import { awaitStopOf, budgetOf, deadlineAround, interruptEarly, liveWithin, standstills, startClose } from "./close.ts"
import { countsOf } from "./counts.ts"
import type { Room } from "./duplicates.ts"
import { type CleanUpOf, CurrentCleanUp, type Hook, leftUntil, runHooks, runUntil, sayLateEnd } from "./hooks.ts"
import type { HostImpl } from "./host.ts"
import { awaitQuiet } from "./idle.ts"
import { makeScope } from "./makeScope.ts"
import { type AnyLayer, isBuiltBy } from "./memo.ts"
import { type Share, shares } from "./pace.ts"
import { phaseLimitOf } from "./phases.ts"
import { placeOf } from "./place.ts"
import type { Restarter } from "./restart.ts"
import { emit, endEvents, listened, say } from "./say.ts"
import { shownCause } from "./shown.ts"
import { spawnOwn } from "./spawn.ts"
import {
  CurrentScope,
  CurrentTask,
  isLive,
  isWithin,
  letGo,
  type ScopeImpl,
  TaskImpl,
  tasksOf,
  untilHolds
} from "./state.ts"

// -----------------------------------------------------------------------------
// State
// -----------------------------------------------------------------------------

/** One life of an app, from a start to the stop after it. */
export interface Life {
  readonly scope: ScopeImpl
  readonly resources: EffectScope.Closeable
  /** Those of `App.onStop`. */
  readonly hooks: Array<Hook>
  /** Those of `Shutdown.on`. */
  readonly phaseHooks: Array<Hook>
  /** Why its start failed, if it did. */
  failure: Cause.Cause<unknown> | undefined
  /** Whether somebody wants it to be the last one, until a start by hand. */
  last: boolean
}

/** One stop of an app, as far as it has come. */
export interface Stop {
  readonly reason: string
  readonly budget: Budget
  readonly hooks: Array<HookReport>
  /** The hooks that run beside the stop. */
  readonly beside: Array<Fiber.Fiber<void>>
  /** Whether it is no part of the stop of a host: then it goes through the phases by itself. */
  readonly alone: boolean
  /** Whether a virtual clock was seen standing still. */
  stalled: boolean
  readonly done: Deferred.Deferred<ShutdownReport>
}

export type AppPhase =
  /** Built, and what it depends on is starting again; or it has failed, and starts again after a while. */
  | { readonly _tag: "Waiting"; readonly since: number }
  | { readonly _tag: "Starting"; readonly since: number; readonly life: Life; readonly ended: Deferred.Deferred<void> }
  | { readonly _tag: "Ready"; readonly since: number; readonly life: Life }
  | { readonly _tag: "Stopping"; readonly life: Life; readonly stop: Stop }
  | {
    readonly _tag: "Stopped"
    readonly report: ShutdownReport
    /** Why, if it has failed; its policy says what comes of that. */
    readonly failure: Cause.Cause<unknown> | undefined
  }
  | { readonly _tag: "Failed"; readonly error: unknown; readonly report: ShutdownReport }

/** A restart of an app, with all that depend on it. */
export interface Restart {
  /** Those whose new start has not begun. */
  readonly waiting: Set<AppImpl>
  /** For each of its apps: done when the restart does nothing more for it, so that it runs, or stays down. */
  readonly settled: ReadonlyMap<AppImpl, Deferred.Deferred<void>>
  readonly failures: Array<StartFailed>
  /** Waits for the stop that comes first. */
  readonly stopped: Effect.Effect<ShutdownReport>
  readonly done: Deferred.Deferred<void>
}

/** What an app that has failed goes through until its next start. */
export interface Backoff {
  /** Ends the wait of its policy, to start as soon as it can. */
  readonly now: Deferred.Deferred<void>
  /** It is not to be started again. */
  readonly off: Deferred.Deferred<void>
}

/** What an app leaves in the context it provides. That is how the apps that depend on it are known. */
interface Provided {
  readonly app: AppImpl
  /** What this life of the app provides. */
  readonly services: Context.Context<never>
}

export const AppTypeId = "~@ambit/core/App"

export class AppImpl {
  readonly [AppTypeId] = AppTypeId
  readonly name: string
  readonly path: string
  readonly parent: ScopeImpl | undefined
  readonly host: HostImpl | undefined
  readonly clock: Clock.Clock
  readonly limits: Limits
  /** Its own limit for a stop, if it has one. */
  readonly ownStop: number | undefined
  /** How many tasks it may have at once, if that was said. */
  readonly room: Room | undefined
  /** The context of the layer build; replaced in part when an app it depends on has started anew. */
  context: Context.Context<never>
  /** What the layer provides, once started. */
  output: Context.Context<never> = Context.empty()
  /** Builds the app into the resources of a life. */
  readonly build: (life: Life) => Effect.Effect<Context.Context<never>, unknown>
  dependencies: ReadonlySet<AppImpl> = new Set()
  readonly dependents = new Set<AppImpl>()
  phase: AppPhase
  /** The stop that waits for the dependents to go first; nothing may start on the app any more. */
  leaving: Fiber.Fiber<ShutdownReport> | undefined = undefined
  /** The last one that has it. Of all restarts, only this one may start it. */
  restart: Restart | undefined = undefined
  /** What says whether it starts again when it has failed; nobody does without a policy. */
  readonly restarter: Restarter | undefined
  /** How often somebody has stopped it for good. */
  stops = 0
  /** How often its policy has started it again. */
  restarts = 0
  /** Its wait for that, while it lasts. */
  backoff: Backoff | undefined = undefined
  /** Stops it, since something in it has failed. It begins in the very call. */
  readonly fail: (app: AppImpl, reason: string, cause: Cause.Cause<unknown>) => void
  /** Whether its layer starts it, and sees to whatever becomes of that. */
  isFirst = false
  /** Whether its layer was closed. */
  gone = false

  constructor(options: {
    readonly name: string
    readonly path: string
    readonly parent: ScopeImpl | undefined
    readonly host: HostImpl | undefined
    readonly clock: Clock.Clock
    readonly limits: Limits
    readonly ownStop: number | undefined
    readonly room: Room | undefined
    readonly context: Context.Context<never>
    readonly build: (life: Life) => Effect.Effect<Context.Context<never>, unknown>
    readonly restarter: Restarter | undefined
    readonly fail: (app: AppImpl, reason: string, cause: Cause.Cause<unknown>) => void
  }) {
    this.name = options.name
    this.path = options.path
    this.parent = options.parent
    this.host = options.host
    this.clock = options.clock
    this.limits = options.limits
    this.ownStop = options.ownStop
    this.room = options.room
    this.context = options.context
    this.build = options.build
    this.restarter = options.restarter
    this.fail = options.fail
    this.phase = { _tag: "Waiting", since: now(options.clock) }
  }
}

export const CurrentApp = Context.Service<AppImpl>("@ambit/core/App/CurrentApp")

export const stateNames = {
  Waiting: "starting",
  Starting: "starting",
  Ready: "ready",
  Stopping: "stopping",
  Stopped: "stopped",
  Failed: "failed"
} as const

// The events of an app rise from the scope around it, so that they outlive its own.
export const move = (app: AppImpl, phase: AppPhase, scope: ScopeImpl | undefined): void => {
  if (app.phase._tag === "Starting") Deferred.doneUnsafe(app.phase.ended, Effect.void)
  app.phase = phase
  if (scope !== undefined && listened(scope)) {
    emit(scope, { _tag: "AppState", path: app.path, state: stateNames[phase._tag] })
  }
  app.host?.changed()
}

export const isAlive = (app: AppImpl): boolean => lifeOf(app) !== undefined

/** Whether other apps can start on it. */
const runs = (app: AppImpl): boolean => app.phase._tag === "Ready" && app.leaving === undefined

/** The hooks of a phase, in the order of their registration. */
export const hooksOf = (life: Life, phase: StopPhase): ReadonlyArray<Hook> =>
  life.phaseHooks.filter((hook) => hook.phase === phase)

/** The current life of an app that has begun to start and has not stopped. */
export const lifeOf = (app: AppImpl): Life | undefined => "life" in app.phase ? app.phase.life : undefined

// -----------------------------------------------------------------------------
// Who depends on whom
// -----------------------------------------------------------------------------

const providedPrefix = "@ambit/core/App/Provided/"

const withProvided = (app: AppImpl, services: Context.Context<never>): Context.Context<never> =>
  Context.addUnsafe(services, `${providedPrefix}${app.path}`, { app, services } satisfies Provided)

// Who holds the services of an earlier life gets those of the newest one. An app in another one is made anew with that.
const renew = (services: Map<string, unknown>, key: string, old: Provided): void => {
  const { app } = old
  const newest = app.gone ? app.host?.apps.get(app.path) ?? app : app
  const renewed = newest.output.mapUnsafe
  if (!renewed.has(key) || renewed.get(key) === old) return
  for (const [name, service] of old.services.mapUnsafe) {
    if (services.get(name) !== service) continue
    if (renewed.has(name)) services.set(name, renewed.get(name))
    else services.delete(name)
  }
  services.set(key, renewed.get(key))
}

/** Gives the app the newest services of the apps it depends on, and tells these that it does. */
export const bind = (app: AppImpl): void => {
  const services = new Map<string, unknown>(app.context.mapUnsafe)
  const dependencies = new Set<AppImpl>()
  const keys = [...services.keys()].filter((key) => key.startsWith(providedPrefix))
  for (const key of keys) {
    const provided = services.get(key)
    if (provided !== undefined) renew(services, key, provided as Provided)
  }
  app.context = Context.makeUnsafe(services)
  for (const key of keys) {
    const provided = services.get(key) as Provided | undefined
    // What the app around depends on stops and starts that one, and this one with it.
    if (provided !== undefined && !aroundDependsOn(app, provided.app)) dependencies.add(provided.app)
  }
  unbind(app)
  app.dependencies = dependencies
  for (const dependency of dependencies) dependency.dependents.add(app)
}

export const unbind = (app: AppImpl): void => {
  for (const dependency of app.dependencies) dependency.dependents.delete(app)
}

/** The app that this one is in. */
export const outerOf = (app: AppImpl): AppImpl | undefined => Context.getOrUndefined(app.context, CurrentApp)

const aroundDependsOn = (app: AppImpl, dependency: AppImpl): boolean => {
  for (let at = outerOf(app); at !== undefined; at = outerOf(at)) {
    if (at.dependencies.has(dependency)) return true
  }
  return false
}

/** An app and all that depend on it and live, or are such as is said, dependents first. */
export const withDependents = (
  app: AppImpl,
  takes: (dependent: AppImpl) => boolean = isAlive
): ReadonlyArray<AppImpl> => {
  const order = new Set<AppImpl>()
  const visit = (at: AppImpl) => {
    for (const dependent of at.dependents) {
      // Once: there may be as many ways to it as there are sets of apps.
      if (!order.has(dependent) && takes(dependent)) visit(dependent)
    }
    order.add(at)
  }
  visit(app)
  return [...order]
}

// -----------------------------------------------------------------------------
// Start
// -----------------------------------------------------------------------------

const makeLife = (app: AppImpl): Life => {
  const stopApp = (reason: string, cause: Cause.Cause<unknown>) => app.fail(app, reason, cause)
  const stopHost = (reason: string) => {
    if (app.host === undefined) Effect.runForkWith(app.context)(stop(app, reason))
    else app.host.requestStop({ reason, exitCode: undefined, failed: true })
  }
  const scope = makeScope({
    name: app.name,
    path: app.path,
    parent: app.parent,
    clock: app.clock,
    context: app.context,
    stopWithin: app.limits.taskStop,
    owner: { path: app.path, host: app.host !== undefined, stopApp, stopHost },
    defaultForeground: false,
    apart: false,
    room: app.room
  })
  scope.stop = (reason) => stopForGood(app, reason)
  return { scope, resources: EffectScope.makeUnsafe(), hooks: [], phaseHooks: [], failure: undefined, last: false }
}

/** The name of the task that runs the start effect. */
const startName = "(start)"

export const refuse = (app: AppImpl, problem: string): Effect.Effect<never, StartFailed> =>
  Effect.fail(new StartFailed({ app: app.path, problem }))

/** Whether a restart is going to start the app. */
export const awaitsStart = (app: AppImpl): boolean => app.restart?.waiting.has(app) === true

/** What is done when the restart that has an app does nothing more for it; `undefined` when none does. */
const settling = (app: AppImpl): Deferred.Deferred<void> | undefined => {
  const settled = app.restart?.settled.get(app)
  return settled === undefined || Deferred.isDoneUnsafe(settled) ? undefined : settled
}

/** Whether some restart has an app before it. */
const isRestarting = (app: AppImpl): boolean => settling(app) !== undefined

/** A restart does nothing more for an app. */
export const settle = (restart: Restart, app: AppImpl): void => {
  restart.waiting.delete(app)
  const settled = restart.settled.get(app)
  if (settled !== undefined) Deferred.doneUnsafe(settled, Effect.void)
}

/** Waits until no restart does anything more for an app. */
export const untilSettled = (app: AppImpl): Effect.Effect<void> =>
  Effect.suspend(() => {
    const settled = settling(app)
    return settled === undefined ? Effect.void : Effect.andThen(Deferred.await(settled), untilSettled(app))
  })

// When an app stops only to start again, who starts on it waits for that.
const dependenciesSettled = (app: AppImpl): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (isAlive(app)) return Effect.void
    bind(app)
    const restarting = [...app.dependencies].find(isRestarting)
    return restarting === undefined
      ? Effect.void
      : Effect.andThen(untilSettled(restarting), dependenciesSettled(app))
  })

/** Waits until nothing that the app depends on is about to start, or starts already. */
export const dependenciesStarted = (app: AppImpl): Effect.Effect<void> =>
  Effect.flatMap(dependenciesSettled(app), () => {
    for (const { phase } of app.dependencies) {
      if (phase._tag === "Starting") return Effect.andThen(Deferred.await(phase.ended), dependenciesStarted(app))
    }
    return Effect.void
  })

const needs = (dependency: AppImpl): string => `it depends on ${dependency.path}, which does not run. Start that first`

const startsAround = (app: AppImpl, scope: ScopeImpl | undefined, seen: Set<AppImpl>): boolean => {
  if (seen.has(app)) return false
  seen.add(app)
  return (app.phase._tag === "Starting" && isWithin(scope, app.phase.life.scope)) ||
    [...app.dependencies].some((dependency) => startsAround(dependency, scope, seen))
}

/** Whoever is part of the start of what an app depends on must not wait for a start of that app: it comes later. */
export const unlessWithin = <A>(
  app: AppImpl,
  waits: Effect.Effect<A, StartFailed>
): Effect.Effect<A, StartFailed> =>
  Effect.withFiber((fiber) => {
    const scope = fiber.getRef(CurrentTask)?.scope
    const seen = new Set<AppImpl>()
    const starting = [...app.dependencies].find((dependency) => startsAround(dependency, scope, seen))
    return starting === undefined ? waits : refuse(app, needs(starting))
  })

/** Why an app cannot start. */
export const obstacle = (app: AppImpl): string | undefined => {
  if (app.parent !== undefined && app.parent.state._tag !== "Open") {
    return `${app.parent.path} is stopping or closed, and nothing starts in it any more`
  }
  if (app.gone) return "its layer is closed. Build the layer again"
  const missing = [...app.dependencies].find((dependency) => !runs(dependency))
  return missing === undefined ? undefined : needs(missing)
}

// What becomes of a start that somebody else has begun or ended.
const otherStart = (app: AppImpl): Effect.Effect<Context.Context<never>, StartFailed> =>
  Effect.suspend(() => {
    const { phase } = app
    switch (phase._tag) {
      case "Starting":
        return Effect.andThen(Deferred.await(phase.ended), otherStart(app))
      case "Ready":
        return Effect.succeed(app.output)
      case "Waiting":
        return refuse(app, "it is about to start again by its policy. Wait for that")
      case "Stopping":
        // Who cleans up for it does not wait.
        return Effect.flatMap(stop(app, "its start failed"), () =>
          app.phase._tag === "Stopping"
            ? refuse(app, "it is stopping. Wait for that with App.stop")
            : otherStart(app))
      case "Stopped":
      case "Failed":
        return refuse(app, `it was stopped during its start (${phase.report.reason}). Start it again when it may run`)
    }
  })

/**
 * Starts an app that does not run; of two that start it, the second waits for
 * the first. When it cannot start, it is stopped first and fails afterwards.
 */
export const start = (app: AppImpl): Effect.Effect<Context.Context<never>, unknown> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const { phase, stops } = app
      yield* restore(dependenciesSettled(app))
      // While it waited, somebody else may have started it, or stopped it.
      const isStopped = app.stops !== stops || (app.phase !== phase && !awaitsStart(app))
      if (isAlive(app) || isStopped) return yield* restore(otherStart(app))
      const problem = obstacle(app)
      if (problem !== undefined) return yield* refuse(app, problem)
      const life = makeLife(app)
      const ended = Deferred.makeUnsafe<void>()
      move(app, { _tag: "Starting", since: now(app.clock), life, ended }, life.scope)
      const context = Context.empty().pipe(
        Context.merge(app.context),
        Context.add(CurrentApp, app),
        Context.add(CurrentScope, life.scope),
        Context.add(EffectScope.Scope, life.resources)
      )
      // Its failure is the failure of the start, and said by whoever starts the app.
      // In the background, since a stop does not wait for a start to complete.
      const task = spawnOwn(life.scope, context, app.build(life), startName)
      if (!(task instanceof TaskImpl)) return yield* Effect.die(task)
      const limit = app.limits.appStart
      const waited = yield* Effect.exit(restore(
        limit === undefined ? Effect.asSome(task.await) : Effect.timeoutOption(task.await, limit)
      ))

      if (Exit.isFailure(waited)) {
        app.host?.startInterrupted()
        yield* stopLife(app, life, "its start was interrupted")
        return yield* Effect.failCause(waited.cause)
      }
      if (Option.isNone(waited.value)) {
        const place = placeOf(task.fiber)
        const error = new StartTimeout({ app: app.path, within: limit!, ...(place === undefined ? {} : { place }) })
        return yield* startFailed(app, life, Cause.fail(error))
      }
      const exit = waited.value.value
      // By now somebody may have begun its next life, or be about to.
      const goesOn = lifeOf(app) !== life && (isAlive(app) || awaitsStart(app))
      if (!goesOn && Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
        return yield* startFailed(app, life, exit.cause)
      }
      if (goesOn || Exit.isFailure(exit) || app.phase._tag !== "Starting") {
        return yield* restore(startStopped(app, life))
      }
      app.output = withProvided(app, exit.value)
      move(app, { _tag: "Ready", since: now(app.clock), life }, life.scope)
      say(app.context, "Debug", `App ${app.path} is ready`, { app: app.path })
      return app.output
    })
  )

// For those that end with a life of it, which may be over.
const stopLife = (app: AppImpl, life: Life, reason: string): Effect.Effect<void> =>
  Effect.suspend(() => lifeOf(app) === life ? Effect.asVoid(stop(app, reason)) : Effect.void)

/** Stops an app whose start fails. */
const stopFailed = (app: AppImpl, life: Life, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (life.failure === undefined && !Cause.hasInterruptsOnly(cause)) {
      life.failure = cause
      // One that is to start again has not failed for good.
      if (app.restarter === undefined) app.host?.startFailed(cause, app)
    }
    return stopLife(app, life, "its start failed")
  })

/**
 * For the start itself, before it releases what it has acquired: stops the app,
 * and waits until the start is the last task of it that is left.
 */
export const stopOthers = (app: AppImpl, life: Life, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.andThen(stopFailed(app, life, cause), untilHolds(life.scope, () => liveWithin(life.scope) <= 1))

const startFailed = (app: AppImpl, life: Life, cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> =>
  Effect.andThen(stopFailed(app, life, cause), Effect.failCause(withoutInterrupts(cause)))

/** A start that fails is also interrupted, by the stop that follows; that is not its error. */
export const withoutInterrupts = <E>(cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.fromReasons(cause.reasons.filter((reason) => reason._tag !== "Interrupt"))

// Somebody stopped the app while it started; that is theirs to tell, and no failure of the app. When they did so only
// to start it again, this start waits for that one.
const startStopped = (app: AppImpl, life: Life): Effect.Effect<Context.Context<never>, StartFailed> =>
  Effect.gen(function*() {
    yield* stopLife(app, life, "its start was interrupted")
    if (awaitsStart(app)) yield* untilSettled(app)
    return yield* otherStart(app)
  })

/**
 * Ends what a layer of the app has spawned, before the layer releases what it
 * has acquired. When the app stops, nothing of that is left.
 */
export const endTasksOf = (life: Life, layer: AnyLayer): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const starting = fiber.getRef(CurrentTask)
    const tasks = ownTasks(life.scope)
      .filter((task) => task !== starting && isLive(task) && isBuiltBy(task.fiber.context, layer))
    return Effect.forEach(tasks, (task) => task.interrupt("its layer was released"), {
      concurrency: "unbounded",
      discard: true
    })
  })

// Without those of an app inside of the app, which has a stop of its own.
const ownTasks = (scope: ScopeImpl): Array<TaskImpl> => [
  ...tasksOf(scope),
  ...[...scope.children].filter((child) => child.stop === undefined).flatMap(ownTasks)
]

// -----------------------------------------------------------------------------
// Stop
// -----------------------------------------------------------------------------

export interface Budget {
  readonly since: number
  /** The begin on the clock of the deadlines, as those that follow. */
  readonly from: number
  /** Hooks and drain end here. */
  readonly announceUntil: number
  /** Tasks are given up here. */
  readonly tasksUntil: number
  readonly releasedUntil: number
  readonly writtenUntil: number
  readonly deadline: number
}

// A tenth is kept for the resources, and for each of the last two phases if it has hooks and the app stops alone, and up
// to half of the rest for the tasks, whatever the hooks do.
const planOf = (app: AppImpl, life: Life, alone: boolean): Budget => {
  const { limits } = app
  const since = now(app.clock)
  const from = life.scope.pace.moment(since)
  const deadline = Math.min(from + limits.appStop, deadlineAround(app.parent), app.host?.deadline ?? Infinity)
  const tenth = Math.max(0, deadline - from) / 10
  const kept = (phase: "finalWrite" | "closing") =>
    alone && hooksOf(life, phase).length > 0 ? Math.min(limits[phase], tenth) : 0
  const writtenUntil = deadline - kept("closing")
  const releasedUntil = writtenUntil - kept("finalWrite")
  const tasksUntil = releasedUntil - tenth
  return {
    since,
    from,
    announceUntil: tasksUntil - Math.min(limits.taskStop, (tasksUntil - from) / 2),
    tasksUntil,
    releasedUntil,
    writtenUntil,
    deadline
  }
}

const millisOf = (life: Life, { deadline, from, since }: Budget): number =>
  budgetOf(life.scope.pace, since, from, deadline)

/** `stop`, when somebody wants it to be stopped: then neither its policy starts it again, nor a restart that it waits in. */
export const stopForGood = (app: AppImpl, reason: string): Effect.Effect<ShutdownReport> => {
  const { backoff, phase, restart } = app
  app.stops++
  if (restart?.waiting.has(app) === true) settle(restart, app)
  if ("life" in phase) phase.life.last = true
  else if (phase._tag === "Stopped" && phase.failure !== undefined) {
    move(app, { ...phase, failure: undefined }, undefined)
  }
  const stopped = stop(app, reason)
  if (backoff !== undefined) Deferred.doneUnsafe(backoff.off, Effect.void)
  return stopped
}

/**
 * Begins the stop in this very call, and gives the wait for it. Apps that depend
 * on this one go first, while it still works for them.
 */
export const stop = (app: AppImpl, reason: string): Effect.Effect<ShutdownReport> => {
  const waiting = waitFor(app)
  return waiting(begin(app, reason))
}

const begin = (app: AppImpl, reason: string): Effect.Effect<ShutdownReport> => {
  const phase = app.phase
  switch (phase._tag) {
    case "Waiting": {
      const report = emptyReport(app, reason)
      move(app, { _tag: "Stopped", report, failure: undefined }, app.parent)
      return Effect.succeed(report)
    }
    case "Stopping":
      return Deferred.await(phase.stop.done)
    case "Stopped":
    case "Failed":
      return Effect.succeed(phase.report)
    case "Starting":
    case "Ready": {
      const dependents = [...app.dependents].filter(isAlive)
      if (dependents.length === 0) return beginAlone(app, reason)
      if (app.leaving === undefined) {
        const stops = dependents.map((dependent) => stop(dependent, `${app.path} stops`))
        // In a fiber of its own, so that no interruption of the caller leaves it half done.
        app.leaving = Effect.runForkWith(app.context)(Effect.andThen(
          Effect.all(stops, { concurrency: "unbounded", discard: true }),
          Effect.suspend(() => beginAlone(app, reason))
        ))
      }
      return Fiber.join(app.leaving)
    }
  }
}

const beginAlone = (app: AppImpl, reason: string): Effect.Effect<ShutdownReport> => {
  app.leaving = undefined
  const phase = app.phase
  if (phase._tag !== "Starting" && phase._tag !== "Ready") return begin(app, reason)
  const { life } = phase
  const alone = app.host === undefined || app.host.root.state._tag === "Open"
  const budget = planOf(app, life, alone)
  const stopping: Stop = { reason, budget, hooks: [], beside: [], alone, stalled: false, done: Deferred.makeUnsafe() }
  life.scope.hooks = stopping.hooks
  life.scope.stopsBy = budget.deadline
  life.scope.releasing = true
  life.scope.pace.stopBegins()
  move(app, { _tag: "Stopping", life, stop: stopping }, life.scope)
  Effect.runForkWith(app.context)(stopper(app, life, stopping))
  return Deferred.await(stopping.done)
}

/**
 * How to wait for a stop of the app, for a fiber that the stop itself may wait
 * for: a task of the app or of one that depends on it leaves with the others, a
 * hook or a finalizer gets what is known by now.
 */
export const waitFor = (app: AppImpl) => {
  const scopes = withDependents(app).flatMap((one) => lifeOf(one)?.scope ?? []).toReversed()
  return <E>(done: Effect.Effect<ShutdownReport, E>): Effect.Effect<ShutdownReport, E> =>
    Effect.withFiber((fiber) => {
      const around = (scope: ScopeImpl | undefined) => scopes.find((stopping) => isWithin(scope, stopping))
      if (around(fiber.getRef(CurrentCleanUp)) !== undefined) return Effect.sync(() => reportSoFar(app))
      const scope = around(fiber.getRef(CurrentTask)?.scope) ?? scopes[0]
      return scope === undefined ? done : Effect.map(
        awaitStopOf(scope, done),
        (report) => report.path === app.path ? report : reportSoFar(app)
      )
    })
}

const emptyReport = (app: AppImpl, reason: string): ShutdownReport =>
  makeLazily({
    path: app.path,
    reason,
    startedAt: wallTimeOf(app.clock, now(app.clock)),
    took: 0,
    budget: app.limits.appStop,
    hooks: [],
    apps: []
  }, () => [])

/** What can be said to those who cannot wait for the end of a stop. */
const reportSoFar = (app: AppImpl): ShutdownReport => {
  const phase = app.phase
  if ("report" in phase) return phase.report
  if (phase._tag !== "Stopping") return emptyReport(app, "an app that depends on it stops first")
  const { life, stop: { budget, hooks, reason } } = phase
  return makeLazily({
    path: app.path,
    reason,
    startedAt: wallTimeOf(app.clock, budget.since),
    took: roundMillis(now(app.clock) - budget.since),
    budget: millisOf(life, budget),
    hooks: [...hooks],
    apps: []
  }, () => [])
}

const cleanUpOf = (app: AppImpl, life: Life, stop: Stop): CleanUpOf => ({
  scope: life.scope,
  context: app.context,
  stop
})

/** The hooks of a phase, in a stop that is no part of the stop of a host. */
const runPhase = (
  app: AppImpl,
  life: Life,
  stopping: Stop,
  phase: StopPhase,
  deadline: number,
  share: Share
): Effect.Effect<void> =>
  Effect.suspend(() =>
    stopping.alone
      ? runHooks(
        cleanUpOf(app, life, stopping),
        hooksOf(life, phase),
        Math.min(moment(life.scope) + phaseLimitOf(app.limits, phase), deadline),
        share,
        (report) => stopping.hooks.push(report)
      )
      : Effect.void
  )

/** Runs the hooks of a phase while the stop of the app goes on. */
const runBeside = (app: AppImpl, life: Life, stopping: Stop, phase: StopPhase): void => {
  const run = runPhase(app, life, stopping, phase, stopping.budget.tasksUntil, shares.announce)
  stopping.beside.push(Effect.runForkWith(app.context)(run))
}

const stopper = (app: AppImpl, life: Life, stopping: Stop): Effect.Effect<void> => {
  const { budget, reason } = stopping
  const of = cleanUpOf(app, life, stopping)
  const tell = (report: HookReport): void => void stopping.hooks.push(report)
  // The scope refuses new work from here on.
  const closing = startClose(life.scope, {
    reason,
    within: budget.tasksUntil - budget.from,
    before: Effect.gen(function*() {
      if (stopping.alone) yield* interruptEarly(life.scope, reason)
      // Together, so that those of `App.onStop` get their share of the time.
      const hooks = [...life.hooks, ...(stopping.alone ? hooksOf(life, "stopping") : [])]
      yield* runHooks(of, hooks, budget.announceUntil, shares.announce, tell)
      runBeside(app, life, stopping, "draining")
      yield* drain(app, life, stopping)
      runBeside(app, life, stopping, "interrupting")
      app.host?.interrupting()
      return stopping.stalled ? moment(life.scope) : budget.tasksUntil
    })
  })
  return Effect.gen(function*() {
    const closed = yield* closing
    if (standstills.has(closed)) stopping.stalled = true
    const released = yield* release(app, life, stopping)
    yield* Effect.forEach(stopping.beside, Fiber.await, { discard: true })
    // What an app does alone must not take the time of its host.
    yield* runPhase(app, life, stopping, "finalWrite", budget.writtenUntil, shares.layers)
    yield* runPhase(app, life, stopping, "closing", budget.deadline, shares.layers)
    const report = reportOf(app, life, stopping, closed, released)
    if (stopping.stalled) standstills.add(report)
    finish(app, life, stopping, report)
  }).pipe(Effect.catchCause((cause) =>
    // Only a bug of ours gets here. Whoever waits for the stop must not wait for ever.
    Effect.sync(() => {
      const none = { path: app.path, took: 0, budget: 0 }
      const line = { ...none, outcome: "failed" as const, resources: "failed" as const, error: shownCause(cause) }
      const report = makeLazily({ ...none, reason, startedAt: 0, hooks: stopping.hooks, apps: [line] }, () => [])
      finish(app, life, stopping, report)
    })
  ))
}

const reportOf = (
  app: AppImpl,
  life: Life,
  { budget, hooks, reason }: Stop,
  closed: ShutdownReport,
  released: Pick<AppReport, "resources" | "place" | "error">
): ShutdownReport => {
  const took = roundMillis(now(app.clock) - budget.since)
  const whole = millisOf(life, budget)
  const restarts = app.restarts === 0 ? {} : { restarts: app.restarts }
  const own = (line: Pick<AppReport, "outcome" | "error">): ShutdownReport =>
    makeLazily(
      {
        path: app.path,
        reason,
        startedAt: wallTimeOf(app.clock, budget.since),
        took,
        budget: whole,
        hooks: [...hooks, ...closed.hooks],
        apps: [{ path: app.path, took, budget: whole, ...released, ...restarts, ...line }, ...closed.apps]
      },
      () => closed.tasks,
      countsOf(closed)
    )
  const stuck = stuckPaths(own({ outcome: "stopped" }))
  return stuck.length === 0
    ? own({ outcome: "stopped" })
    : own({ outcome: "failed", error: `gave up ${stuck.join(", ")}` })
}

// Why an app is failed, and not stopped.
const errorOf = (app: AppImpl, life: Life, report: ShutdownReport): unknown => {
  if (life.failure !== undefined) return Cause.squash(life.failure)
  const stuck = stuckPaths(report)
  if (stuck.length > 0) return new StopTimeout({ app: app.path, within: report.budget, stuck })
  return report.apps.find((line) => line.path === app.path && line.outcome === "failed")?.error
}

const finish = (app: AppImpl, life: Life, stopping: Stop, report: ShutdownReport): void => {
  const failure = app.restarter === undefined ? undefined : life.failure
  const error = failure === undefined ? errorOf(app, life, report) : undefined
  const ended = { _tag: "Stopped", report, failure: life.last ? undefined : failure } as const
  move(app, error === undefined ? ended : { _tag: "Failed", error, report }, life.scope)
  life.scope.releasing = false
  life.scope.pace.stopEnds()
  endEvents(life.scope)
  letGo(life.scope)
  app.host?.appStopped(app, life.scope, report)
  // A host that stops says it once for all its apps.
  const level = report.clean ? app.host?.root.state._tag === "Stopping" ? "Debug" : "Info" : "Warn"
  say(app.context, level, summary(report), { app: app.path })
  Deferred.doneUnsafe(stopping.done, Effect.succeed(report))
}

const drain = (app: AppImpl, life: Life, stopping: Stop): Effect.Effect<void> => {
  const limit = app.limits.drain
  if (limit === undefined) return Effect.void
  return Effect.gen(function*() {
    const { scope } = life
    const left = leftUntil(cleanUpOf(app, life, stopping), stopping.budget.announceUntil, shares.announce)
    const until = moment(scope) + Math.min(limit, left)
    const end = yield* waitUntil(awaitQuiet(scope, false), scope, until, shares.announce, () => scope.live)
    if (end === "standstill") stopping.stalled = true
  })
}

const release = (
  app: AppImpl,
  life: Life,
  stopping: Stop
): Effect.Effect<Pick<AppReport, "resources" | "place" | "error">> =>
  Effect.gen(function*() {
    const of = cleanUpOf(app, life, stopping)
    const deadline = moment(life.scope) + leftUntil(of, stopping.budget.releasedUntil, shares.resources)
    const { fiber } = yield* runUntil(of, EffectScope.close(life.resources, Exit.void), deadline, shares.resources)
    const exit = fiber.pollUnsafe()
    if (exit === undefined) {
      const place = placeOf(fiber)
      const where = place === undefined ? "" : ` at ${place}`
      const text = `The resources of app ${app.path} were not released in time; they are given up${where}`
      say(app.context, "Error", text, { app: app.path })
      sayLateEnd(fiber, app.clock, app.context, `The release of the resources of app ${app.path}`, { app: app.path })
      return { resources: "abandoned" as const, ...(place === undefined ? {} : { place }) }
    }
    if (Exit.isSuccess(exit)) return { resources: "released" as const }
    say(app.context, "Error", `A finalizer of app ${app.path} failed; the stop goes on`, { app: app.path }, exit.cause)
    return { resources: "failed" as const, error: shownCause(exit.cause) }
  })
