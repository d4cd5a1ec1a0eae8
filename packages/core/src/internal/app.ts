/**
 * One app: its states, and how it starts and stops.
 *
 * Starting → Ready → Stopping → Stopped | Failed → Starting → …; a start that
 * fails goes Starting → Stopping → Failed.
 *
 * A stop has one budget with three deadlines in it, so that nothing in it can
 * take the time of what comes after:
 *
 *   since ── hooks, drain ── tasks ── resources ── deadline
 *
 * Invariants
 * - `move` is the only place that moves the state of an app.
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
  abandonedPaths,
  type AppReport,
  type HookReport,
  makeLazily,
  roundMillis,
  type ShutdownReport,
  summary
} from "../ShutdownReport.ts"
import { now, waitUntil, wallTimeOf } from "./clock.ts"
import { awaitStopOf, deadlineAround, endedByStandstill, liveWithin, standstills, startClose } from "./close.ts"
import { countsOf } from "./counts.ts"
import type { StopRequest } from "./host.ts"
import { awaitQuiet } from "./idle.ts"
import { makeScope } from "./makeScope.ts"
import { placeOf } from "./place.ts"
import { emit, listened, say } from "./say.ts"
import { spawn } from "./spawn.ts"
import { CurrentScope, CurrentTask, type ScopeImpl, TaskImpl, untilHolds } from "./state.ts"

// -----------------------------------------------------------------------------
// State
// -----------------------------------------------------------------------------

export interface Hook {
  readonly name: string
  readonly run: Effect.Effect<unknown, unknown>
  /** Milliseconds. */
  readonly within: number
}

/** One life of an app, from a start to the stop after it. */
export interface Life {
  readonly scope: ScopeImpl
  readonly resources: EffectScope.Closeable
  readonly hooks: Array<Hook>
}

export type AppPhase =
  | { readonly _tag: "Starting"; readonly since: number; readonly life: Life }
  | { readonly _tag: "Ready"; readonly since: number; readonly life: Life }
  | {
    readonly _tag: "Stopping"
    readonly since: number
    readonly reason: string
    readonly life: Life
    readonly done: Deferred.Deferred<ShutdownReport>
  }
  | { readonly _tag: "Stopped"; readonly report: ShutdownReport }
  | { readonly _tag: "Failed"; readonly error: unknown; readonly report: ShutdownReport }

/** What an app needs from the host around it, if there is one. */
export interface AppHost {
  readonly root: ScopeImpl
  readonly requestStop: (request: StopRequest) => boolean
  readonly startFailed: (app: AppImpl, cause: Cause.Cause<unknown>) => void
  readonly appStopped: (app: AppImpl, report: ShutdownReport) => void
}

export const AppTypeId = "~@ambit/core/App"

export class AppImpl {
  readonly [AppTypeId] = AppTypeId
  readonly name: string
  readonly path: string
  readonly parent: ScopeImpl | undefined
  readonly host: AppHost | undefined
  readonly clock: Clock.Clock
  readonly limits: Limits
  /** The context of the layer build; replaced in part when an app it depends on starts anew. */
  context: Context.Context<never>
  /** What the layer provides, once started. */
  output: Context.Context<never> = Context.empty()
  /** Builds the app into the resources of a life. */
  readonly build: (resources: EffectScope.Scope) => Effect.Effect<Context.Context<never>, unknown>
  readonly dependencies: ReadonlySet<AppImpl>
  readonly dependents = new Set<AppImpl>()
  phase: AppPhase | undefined = undefined

  constructor(options: {
    readonly name: string
    readonly path: string
    readonly parent: ScopeImpl | undefined
    readonly host: AppHost | undefined
    readonly clock: Clock.Clock
    readonly limits: Limits
    readonly context: Context.Context<never>
    readonly build: (resources: EffectScope.Scope) => Effect.Effect<Context.Context<never>, unknown>
    readonly dependencies: ReadonlySet<AppImpl>
  }) {
    this.name = options.name
    this.path = options.path
    this.parent = options.parent
    this.host = options.host
    this.clock = options.clock
    this.limits = options.limits
    this.context = options.context
    this.build = options.build
    this.dependencies = options.dependencies
  }
}

export const CurrentApp = Context.Service<AppImpl>("@ambit/core/App/CurrentApp")

export const stateNames = {
  Starting: "starting",
  Ready: "ready",
  Stopping: "stopping",
  Stopped: "stopped",
  Failed: "failed"
} as const

// The events of an app rise from the scope around it, so that they outlive its own.
const move = (app: AppImpl, phase: AppPhase, scope: ScopeImpl): void => {
  app.phase = phase
  if (listened(scope)) emit(scope, { _tag: "AppState", path: app.path, state: stateNames[phase._tag] })
}

export const isAlive = (app: AppImpl): boolean =>
  app.phase?._tag === "Starting" || app.phase?._tag === "Ready" || app.phase?._tag === "Stopping"

/** The current or last life; an app that is in nobody's hands yet has none. */
export const lifeOf = (app: AppImpl): Life | undefined =>
  app.phase !== undefined && "life" in app.phase ? app.phase.life : undefined

// -----------------------------------------------------------------------------
// Start
// -----------------------------------------------------------------------------

const makeLife = (app: AppImpl): Life => {
  const stopApp = (reason: string) => {
    Effect.runForkWith(app.context)(stop(app, reason))
  }
  const stopHost = (reason: string) => {
    if (app.host === undefined) stopApp(reason)
    else app.host.requestStop({ reason, exitCode: undefined, failed: true })
  }
  const own = {
    context: app.context,
    clock: app.clock,
    owner: { path: app.path, host: app.host !== undefined, stopApp, stopHost }
  }
  const { taskStop } = app.limits
  const scope = makeScope({
    ...own,
    name: app.name,
    path: app.path,
    parent: app.parent,
    stopWithin: taskStop,
    defaultForeground: false,
    apart: false
  })
  scope.stop = (reason) => stop(app, reason)
  return { scope, resources: EffectScope.makeUnsafe(), hooks: [] }
}

/** The name of the task that runs the start effect. */
const startName = "(start)"

/**
 * Starts an app that does not run. When it cannot start, it is stopped first
 * and fails afterwards.
 */
export const start = (app: AppImpl): Effect.Effect<Context.Context<never>, unknown> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      if (app.parent !== undefined && app.parent.state._tag !== "Open") {
        return yield* new StartFailed({ app: app.path, problem: `${app.parent.path} is stopping or closed` })
      }
      const missing = [...app.dependencies].find((dependency) => dependency.phase?._tag !== "Ready")
      if (missing !== undefined) {
        const problem = `it depends on ${missing.path}, which does not run. Start that first`
        return yield* new StartFailed({ app: app.path, problem })
      }
      const life = makeLife(app)
      const begin = now(app.clock)
      move(app, { _tag: "Starting", since: begin, life }, life.scope)
      const context = Context.empty().pipe(
        Context.merge(app.context),
        Context.add(CurrentApp, app),
        Context.add(CurrentScope, life.scope),
        Context.add(EffectScope.Scope, life.resources)
      )
      // Its failure is the failure of the start, and said by whoever starts the app.
      // In the background, since a stop does not wait for a start to complete.
      const task = spawn(life.scope, context, app.build(life.resources), startName, { onFailure: "ignore" })
      if (!(task instanceof TaskImpl)) return yield* Effect.die(task)
      const limit = app.limits.appStart
      const ended = yield* Effect.exit(restore(
        limit === undefined ? Effect.asSome(task.await) : Effect.timeoutOption(task.await, limit)
      ))

      if (Exit.isFailure(ended)) {
        yield* stop(app, "its start was interrupted")
        return yield* Effect.failCause(ended.cause)
      }
      if (Option.isNone(ended.value)) {
        const place = placeOf(task.fiber)
        const error = new StartTimeout({ app: app.path, within: limit!, ...(place === undefined ? {} : { place }) })
        return yield* startFailed(app, life, Cause.fail(error))
      }
      const exit = ended.value.value
      if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) return yield* startFailed(app, life, exit.cause)
      if (Exit.isFailure(exit) || app.phase?._tag !== "Starting") return yield* startStopped(app)
      app.output = exit.value
      move(app, { _tag: "Ready", since: now(app.clock), life }, life.scope)
      say(app.context, "Debug", `App ${app.path} is ready`, { app: app.path })
      return exit.value
    })
  )

/** Stops an app whose start is failing, and has the host stop with it. */
const startFails = (app: AppImpl, cause: Cause.Cause<unknown>): Effect.Effect<ShutdownReport> =>
  Effect.suspend(() => {
    if (app.phase?._tag === "Starting" && !Cause.hasInterruptsOnly(cause)) app.host?.startFailed(app, cause)
    return stop(app, "its start failed")
  })

/**
 * For the start itself, before it releases what it has acquired: waits until it
 * is the last task of the app that is left.
 */
export const stopOthers = (app: AppImpl, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const life = lifeOf(app)
    return life === undefined
      ? Effect.void
      : Effect.andThen(startFails(app, cause), untilHolds(life.scope, () => liveWithin(life.scope) <= 1))
  })

const startFailed = (app: AppImpl, life: Life, cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> =>
  Effect.flatMap(startFails(app, cause), (report) => {
    move(app, { _tag: "Failed", error: Cause.squash(cause), report }, life.scope)
    return Effect.failCause(withoutInterrupts(cause))
  })

/** A start that fails is also interrupted, by the stop that follows; that is not its error. */
export const withoutInterrupts = <E>(cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.fromReasons(cause.reasons.filter((reason) => reason._tag !== "Interrupt"))

// Somebody stopped the app while it started; that is theirs to tell, and no failure of the app.
const startStopped = (app: AppImpl): Effect.Effect<never, unknown> =>
  Effect.flatMap(stop(app, "its start was interrupted"), (report) =>
    Effect.fail(
      new StartFailed({ app: app.path, problem: `it was stopped during its start (${report.reason})` })
    ))

// -----------------------------------------------------------------------------
// Stop
// -----------------------------------------------------------------------------

interface Budget {
  readonly since: number
  /** Hooks and drain end here. */
  readonly announceUntil: number
  /** Tasks are given up here. */
  readonly tasksUntil: number
  readonly deadline: number
}

// A tenth is kept for the resources, and up to half of the rest for the tasks, whatever the hooks do.
const budgetOf = (app: AppImpl, since: number): Budget => {
  const deadline = Math.min(since + app.limits.appStop, deadlineAround(app.parent))
  const whole = Math.max(0, deadline - since)
  const tasksUntil = deadline - whole / 10
  return {
    since,
    announceUntil: tasksUntil - Math.min(app.limits.taskStop, (tasksUntil - since) / 2),
    tasksUntil,
    deadline
  }
}

/**
 * Begins the stop in this very call, and gives the wait for it. Apps that depend
 * on this one go first, while it still works for them.
 */
export const stop = (app: AppImpl, reason: string): Effect.Effect<ShutdownReport> =>
  Effect.suspend(() => {
    const dependents = [...app.dependents].filter(isAlive)
    if (dependents.length === 0) return stopAlone(app, reason)
    // In a fiber of its own, so that no interruption of the caller leaves it half done.
    const fiber = Effect.runForkWith(app.context)(Effect.andThen(
      Effect.forEach(dependents, (dependent) => stop(dependent, `${app.path} stops`), {
        concurrency: "unbounded",
        discard: true
      }),
      // Another app may have been started on this one meanwhile.
      stop(app, reason)
    ))
    const life = lifeOf(app)
    return life === undefined ? Fiber.join(fiber) : awaitStopOf(life.scope, Fiber.join(fiber))
  })

const stopAlone = (app: AppImpl, reason: string): Effect.Effect<ShutdownReport> =>
  Effect.suspend(() => {
    const phase = app.phase
    switch (phase?._tag) {
      case undefined:
        return Effect.die(new Error(`app ${app.path} was stopped before it was started; this is a bug of Ambit`))
      case "Stopping":
        return awaitStopOf(phase.life.scope, Deferred.await(phase.done))
      case "Stopped":
      case "Failed":
        return Effect.succeed(phase.report)
      case "Starting":
      case "Ready": {
        const { life } = phase
        const done = Deferred.makeUnsafe<ShutdownReport>()
        const budget = budgetOf(app, now(app.clock))
        move(app, { _tag: "Stopping", since: budget.since, reason, life, done }, life.scope)
        Effect.runForkWith(app.context)(stopper(app, life, reason, budget, done))
        return awaitStopOf(life.scope, Deferred.await(done))
      }
    }
  })

const stopper = (
  app: AppImpl,
  life: Life,
  reason: string,
  budget: Budget,
  done: Deferred.Deferred<ShutdownReport>
): Effect.Effect<void> => {
  const { clock } = app
  const stall: Stall = { seen: false }
  const hooks: Array<HookReport> = []
  // The scope refuses new work from here on.
  const closing = startClose(life.scope, {
    reason,
    within: budget.tasksUntil - budget.since,
    before: Effect.gen(function*() {
      yield* runHooks(app, life, budget, stall, hooks)
      yield* drain(app, life, budget, stall)
      return stall.seen ? now(clock) : budget.tasksUntil
    })
  })
  return Effect.gen(function*() {
    const closed = yield* closing
    if (endedByStandstill(closed)) stall.seen = true
    const released = yield* release(app, life, budget, stall)

    const stuck = [
      ...abandonedPaths(closed),
      ...hooks.filter((hook) => hook.outcome === "abandoned").map((hook) => hook.path),
      ...(released.resources === "abandoned" ? [`${app.path}/(resources)`] : [])
    ]
    const took = roundMillis(now(clock) - budget.since)
    const whole = roundMillis(budget.deadline - budget.since)
    const error = stuck.length === 0 ? undefined : new StopTimeout({ app: app.path, within: whole, stuck })
    const ended = error === undefined
      ? { outcome: "stopped" as const }
      : { outcome: "failed" as const, error: `gave up ${stuck.join(", ")}` }
    const report = makeLazily(
      {
        path: app.path,
        reason,
        startedAt: wallTimeOf(clock, budget.since),
        took,
        budget: whole,
        hooks: [...hooks, ...closed.hooks],
        apps: [{ path: app.path, took, budget: whole, ...released, ...ended }, ...closed.apps]
      },
      () => closed.tasks,
      countsOf(closed)
    )
    if (stall.seen) standstills.add(report)
    finish(app, life, report, error, done)
  }).pipe(Effect.catchCause((cause) =>
    // Only a bug of ours gets here. Whoever waits for the stop must not wait for ever.
    Effect.sync(() => {
      const error = Cause.pretty(cause)
      const report = makeLazily({
        path: app.path,
        reason,
        startedAt: wallTimeOf(clock, budget.since),
        took: now(clock) - budget.since,
        budget: budget.deadline - budget.since,
        hooks,
        apps: [{ path: app.path, outcome: "failed", resources: "failed", took: 0, budget: 0, error }]
      }, () => [])
      finish(app, life, report, cause, done)
    })
  ))
}

const finish = (
  app: AppImpl,
  life: Life,
  report: ShutdownReport,
  error: unknown,
  done: Deferred.Deferred<ShutdownReport>
): void => {
  move(
    app,
    error === undefined
      ? { _tag: "Stopped", report }
      : { _tag: "Failed", error, report },
    life.scope
  )
  app.host?.appStopped(app, report)
  // A host that stops says it once for all its apps.
  const level = report.clean ? app.host?.root.state._tag === "Stopping" ? "Debug" : "Info" : "Warn"
  say(app.context, level, summary(report), { app: app.path })
  Deferred.doneUnsafe(done, Effect.succeed(report))
}

interface Stall {
  seen: boolean
}

/** What is left until `until`; nothing once a virtual clock was seen standing still. */
const left = (app: AppImpl, until: number, stall: Stall): number => stall.seen ? 0 : Math.max(0, until - now(app.clock))

/**
 * Runs foreign clean-up in a fiber of its own and waits for it up to a limit.
 * Past the limit it is interrupted and left alone.
 */
const runWithin = (
  app: AppImpl,
  effect: Effect.Effect<unknown, unknown>,
  limit: number,
  stall: Stall
): Effect.Effect<Fiber.Fiber<unknown, unknown>> =>
  Effect.gen(function*() {
    const fiber = Effect.runForkWith(Context.add(app.context, CurrentTask, undefined))(effect)
    const end = yield* waitUntil(Fiber.await(fiber), app.clock, now(app.clock) + limit, () => 0)
    if (end === "standstill") stall.seen = true
    if (fiber.pollUnsafe() === undefined) fiber.interruptUnsafe()
    return fiber
  })

const runHooks = (
  app: AppImpl,
  life: Life,
  budget: Budget,
  stall: Stall,
  reports: Array<HookReport>
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const hooks = [...life.hooks].toReversed()
    for (let index = 0; index < hooks.length; index++) {
      const hook = hooks[index]!
      const path = `${app.path}/${hook.name}`
      const remaining = left(app, budget.announceUntil, stall)
      // What the later hooks need is kept for them, up to an equal share of what is left.
      const share = remaining / (hooks.length - index)
      const kept = hooks.slice(index + 1).reduce((sum, later) => sum + Math.min(later.within, share), 0)
      const limit = roundMillis(Math.min(hook.within, remaining - kept))
      if (limit <= 0) {
        reports.push({ path, outcome: "neverStarted", took: 0, within: 0 })
        say(app.context, "Error", `Hook ${path} did not run: no time was left for it; the stop goes on`, { hook: path })
        continue
      }
      const begin = now(app.clock)
      const fiber = yield* runWithin(app, hook.run, limit, stall)
      const took = roundMillis(now(app.clock) - begin)
      const exit = fiber.pollUnsafe()
      const report = hookReport(path, fiber, exit, took, limit)
      reports.push(report)
      if (report.outcome !== "completed") sayHook(app, report, exit)
    }
  })

const hookReport = (
  path: string,
  fiber: Fiber.Fiber<unknown, unknown>,
  exit: Exit.Exit<unknown, unknown> | undefined,
  took: number,
  within: number
): HookReport => {
  if (exit !== undefined && Exit.isSuccess(exit)) return { path, outcome: "completed", took, within }
  // Interrupted by us, at its limit: it overran, also if it has ended since.
  if (exit !== undefined && !Cause.hasInterruptsOnly(exit.cause)) {
    return { path, outcome: "failed", took, within, error: Cause.pretty(exit.cause) }
  }
  const place = exit === undefined ? placeOf(fiber) : undefined
  return { path, outcome: "abandoned", took, within, ...(place === undefined ? {} : { place }) }
}

const sayHook = (app: AppImpl, report: HookReport, exit: Exit.Exit<unknown, unknown> | undefined): void => {
  if (report.outcome === "failed" && exit !== undefined && Exit.isFailure(exit)) {
    say(app.context, "Error", `Hook ${report.path} failed; the stop goes on`, { hook: report.path }, exit.cause)
  } else {
    const where = report.place === undefined ? "" : ` at ${report.place}`
    say(
      app.context,
      "Error",
      `Hook ${report.path} did not end within ${
        Math.round(report.within)
      } ms; it is given up${where}, and the stop goes on`,
      { hook: report.path }
    )
  }
}

const drain = (app: AppImpl, life: Life, budget: Budget, stall: Stall): Effect.Effect<void> => {
  const limit = app.limits.drain
  if (limit === undefined) return Effect.void
  return Effect.gen(function*() {
    const until = Math.min(now(app.clock) + limit, now(app.clock) + left(app, budget.announceUntil, stall))
    const end = yield* waitUntil(awaitQuiet(life.scope, false), app.clock, until, () => life.scope.live)
    if (end === "standstill") stall.seen = true
  })
}

const release = (
  app: AppImpl,
  life: Life,
  budget: Budget,
  stall: Stall
): Effect.Effect<Pick<AppReport, "resources" | "place" | "error">> =>
  Effect.gen(function*() {
    const fiber = yield* runWithin(
      app,
      EffectScope.close(life.resources, Exit.void),
      left(app, budget.deadline, stall),
      stall
    )
    const exit = fiber.pollUnsafe()
    if (exit === undefined) {
      const place = placeOf(fiber)
      const where = place === undefined ? "" : ` at ${place}`
      say(
        app.context,
        "Error",
        `The resources of app ${app.path} were not released in time; they are given up${where}`,
        {
          app: app.path
        }
      )
      return { resources: "abandoned" as const, ...(place === undefined ? {} : { place }) }
    }
    if (Exit.isSuccess(exit)) return { resources: "released" as const }
    say(app.context, "Error", `A finalizer of app ${app.path} failed; the stop goes on`, { app: app.path }, exit.cause)
    return { resources: "failed" as const, error: Cause.pretty(exit.cause) }
  })

// -----------------------------------------------------------------------------
// Again
// -----------------------------------------------------------------------------

/** An app and all that depend on it, dependents first. */
export const withDependents = (app: AppImpl): ReadonlyArray<AppImpl> => {
  const order = new Set<AppImpl>()
  const visit = (at: AppImpl) => {
    for (const dependent of at.dependents) {
      if (isAlive(dependent)) visit(dependent)
    }
    order.add(at)
  }
  visit(app)
  return [...order]
}

// An app that starts anew provides new services; who held the old ones gets the new ones before it starts.
const rebind = (app: AppImpl, old: Context.Context<never>, renewed: Context.Context<never>): void => {
  const services = new Map(app.context.mapUnsafe)
  for (const [key, service] of renewed.mapUnsafe) {
    if (old.mapUnsafe.has(key) && services.get(key) === old.mapUnsafe.get(key)) services.set(key, service)
  }
  app.context = Context.makeUnsafe(services)
}

/** Starts an app again and hands its new services to the apps that depend on it. */
export const startAgain = (app: AppImpl): Effect.Effect<void, unknown> =>
  Effect.gen(function*() {
    const old = app.output
    const renewed = yield* start(app)
    for (const dependent of app.dependents) rebind(dependent, old, renewed)
  })
