/**
 * The host: starts its layers, waits for a reason to stop, and stops within one budget.
 *
 * Starting → Ready → Stopping → Stopped
 *
 * The layers stop the apps, since only they know who depends on whom. The host
 * stands beside with its deadline. When a tenth of the budget is left and the
 * layers still hang, it stops the remaining apps itself, out of order: better
 * than not at all.
 *
 * Invariants
 * - The first stop request wins; the others change nothing.
 * - The stop of a host ends at its deadline whatever the layers do. (Host.test.ts)
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as EffectScope from "effect/Scope"
import { HostFailed } from "../HostError.ts"
import * as Limits from "../Limits.ts"
import { type AppReport, makeLazily, roundMillis, type ShutdownReport, stuckPaths, summary } from "../ShutdownReport.ts"
import { StoodStill } from "../TaskScope.ts"
import { type AppImpl, withoutInterrupts } from "./app.ts"
import { now, waitUntil, wallTimeOf } from "./clock.ts"
import { beginStop, endedByStandstill, finish, standstills } from "./close.ts"
import { countsOf } from "./counts.ts"
import { awaitQuiet } from "./idle.ts"
import { makeScope } from "./makeScope.ts"
import { refuseCycles } from "./memo.ts"
import { placeOf } from "./place.ts"
import { say } from "./say.ts"
import { CurrentScope, type ScopeImpl, type Stopping } from "./state.ts"

export interface StopRequest {
  readonly reason: string
  readonly exitCode: number | undefined
  readonly failed: boolean
}

export const HostTypeId = "~@ambit/core/Host"

export class HostImpl {
  readonly [HostTypeId] = HostTypeId
  readonly name: string
  /** Has no tasks of its own; the scopes of the apps are its children, and its state is that of the stop. */
  readonly root: ScopeImpl
  readonly apps = new Map<string, AppImpl>()
  /** What the apps reported that stopped with the host. */
  readonly reports: Array<ShutdownReport> = []
  readonly request = Deferred.makeUnsafe<StopRequest>()
  readonly ready = Deferred.makeUnsafe<void>()

  /** Why the first app did not start: the build tells it no more once it is interrupted. */
  failedStart: Cause.Cause<unknown> | undefined = undefined

  constructor(root: ScopeImpl) {
    this.name = root.name
    this.root = root
  }

  /** Whether this request was the first. */
  requestStop(request: StopRequest): boolean {
    return Deferred.doneUnsafe(this.request, Effect.succeed(request))
  }

  /** The first start fails the start of the host; an app that is started again later does not. */
  startFailed(app: AppImpl, cause: Cause.Cause<unknown>): void {
    if (Deferred.isDoneUnsafe(this.ready)) return
    this.failedStart ??= cause
    this.requestStop({ reason: `app ${app.path} did not start`, exitCode: undefined, failed: true })
  }

  appStopped(app: AppImpl, report: ShutdownReport): void {
    // The report of an app inside of an app is part of that one's.
    if (app.parent === this.root && this.root.state._tag === "Stopping") this.reports.push(report)
  }
}

export const CurrentHost = Context.Service<HostImpl>("@ambit/core/Host")

export interface HostSettings {
  readonly name: string
  readonly limits: Limits.Limits
  readonly stopWhenIdle: boolean
  readonly onReport: (report: ShutdownReport) => Effect.Effect<void>
}

export const launch = (
  apps: Layer.Layer<never, unknown>,
  settings: HostSettings,
  clock: Clock.Clock,
  context: Context.Context<never>
): Effect.Effect<ShutdownReport, unknown> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const host = new HostImpl(makeScope({
        name: settings.name,
        parent: undefined,
        clock,
        context,
        stopWithin: settings.limits.hostStop,
        owner: undefined,
        defaultForeground: false,
        apart: false
      }))
      const layers = EffectScope.makeUnsafe()
      const memoMap = refuseCycles(Layer.makeMemoMapUnsafe())
      const build = Effect.runForkWith(context.pipe(
        Context.add(CurrentHost, host),
        Context.add(CurrentScope, host.root),
        Context.add(Limits.Limits, settings.limits)
      ))(Layer.buildWithMemoMap(apps, memoMap, layers))

      const waited = yield* Effect.exit(restore(Effect.raceFirst(
        Deferred.await(host.request),
        Effect.andThen(whenBuilt(host, build), untilStop(host, settings))
      )))
      const request = Exit.isSuccess(waited)
        ? waited.value
        : { reason: reasonOf(waited.cause), exitCode: undefined, failed: false }

      const report = yield* stop(host, request, build, layers, clock)
      say(context, report.clean ? "Info" : "Warn", summary(report), { host: host.name })
      yield* giveReport(host, report, settings, clock)
      if (endedByStandstill(report)) {
        return yield* Effect.die(new StoodStill({ scope: host.name, stuck: stuckPaths(report) }))
      }
      // The error of an app that did not start says more than that it did not.
      if (host.failedStart !== undefined) return yield* Effect.failCause(withoutInterrupts(host.failedStart))
      if (Exit.isFailure(waited)) return yield* Effect.failCause(waited.cause)
      if (!request.failed && (request.exitCode ?? 0) === 0) return report
      return yield* new HostFailed({ reason: request.reason, exitCode: request.exitCode ?? 1, report })
    })
  )

const reasonOf = (cause: Cause.Cause<unknown>): string =>
  Cause.hasInterruptsOnly(cause) ? "it was interrupted" : "its start failed"

const whenBuilt = (host: HostImpl, build: Fiber.Fiber<unknown, unknown>): Effect.Effect<void, unknown> =>
  Effect.map(Fiber.join(build), () => {
    Deferred.doneUnsafe(host.ready, Exit.void)
    const count = `${host.apps.size} ${host.apps.size === 1 ? "app" : "apps"}`
    say(host.root.context, "Info", `${host.name} is ready with ${count}`, { host: host.name })
  })

const untilStop = (host: HostImpl, settings: HostSettings): Effect.Effect<StopRequest> =>
  settings.stopWhenIdle
    ? Effect.as(awaitQuiet(host.root, false), {
      reason: "all foreground work is done",
      exitCode: undefined,
      failed: false
    })
    : Effect.never

const stop = (
  host: HostImpl,
  request: StopRequest,
  build: Fiber.Fiber<unknown, unknown>,
  layers: EffectScope.Closeable,
  clock: Clock.Clock
): Effect.Effect<ShutdownReport> =>
  Effect.gen(function*() {
    // From here on a late request changes nothing, and `requestStop` says so.
    host.requestStop(request)
    say(host.root.context, "Info", `${host.name} stops: ${request.reason}`, { host: host.name })
    const state = beginStop(host.root, request.reason, host.root.stopWithin)
    const closing = Effect.runForkWith(host.root.context)(
      Effect.ensuring(Fiber.interrupt(build), EffectScope.close(layers, Exit.void))
    )
    const kept = (state.deadline - state.since) / 10
    const progress = () => host.reports.length
    const end = yield* waitUntil(Fiber.await(closing), clock, state.deadline - kept, progress)
    if (end !== "done") {
      const remaining = Effect.forEach(
        [...host.root.children],
        (child) => child.stop === undefined ? Effect.void : child.stop(request.reason),
        { concurrency: "unbounded", discard: true }
      )
      yield* waitUntil(Effect.andThen(remaining, Fiber.await(closing)), clock, state.deadline, progress)
    }
    const report = makeReport(host, state, request, closing, clock)
    if (end === "standstill" || host.reports.some(endedByStandstill)) standstills.add(report)
    finish(host.root, state, report)
    return report
  })

const makeReport = (
  host: HostImpl,
  state: Stopping,
  request: StopRequest,
  closing: Fiber.Fiber<unknown, unknown>,
  clock: Clock.Clock
): ShutdownReport => {
  const took = roundMillis(now(clock) - state.since)
  const budget = roundMillis(state.deadline - state.since)
  const { reports } = host
  const layers = layersReport(host, closing, took, budget)
  return makeLazily(
    {
      path: host.name,
      reason: request.reason,
      ...(request.exitCode === undefined ? {} : { exitCode: request.exitCode }),
      startedAt: wallTimeOf(clock, state.since),
      took,
      budget,
      hooks: reports.flatMap((report) => report.hooks),
      apps: [...reports.flatMap((report) => report.apps), ...(layers === undefined ? [] : [layers])]
    },
    () => reports.flatMap((report) => report.tasks),
    countsOf(...reports)
  )
}

// What the layers around and below the apps did; a line of its own only when it went wrong.
const layersReport = (
  host: HostImpl,
  closing: Fiber.Fiber<unknown, unknown>,
  took: number,
  budget: number
): AppReport | undefined => {
  const exit = closing.pollUnsafe()
  if (exit !== undefined && Exit.isSuccess(exit)) return undefined
  const path = `${host.name}/(layers)`
  const times = { took, budget }
  if (exit !== undefined) {
    say(host.root.context, "Error", `A finalizer of a layer of ${host.name} failed; the stop went on`, {
      host: host.name
    }, exit.cause)
    return { path, outcome: "failed", resources: "failed", ...times, error: Cause.pretty(exit.cause) }
  }
  const place = placeOf(closing)
  const where = place === undefined ? "" : ` at ${place}`
  say(host.root.context, "Error", `The layers of ${host.name} did not close in time; they are given up${where}`, {
    host: host.name
  })
  return { path, outcome: "failed", resources: "abandoned", ...times, ...(place === undefined ? {} : { place }) }
}

/** Milliseconds that the reader of the report gets; the stop is over, and must not hang in here. */
const reportWithin = 1000

const giveReport = (
  host: HostImpl,
  report: ShutdownReport,
  settings: HostSettings,
  clock: Clock.Clock
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const fiber = Effect.runForkWith(host.root.context)(Effect.suspend(() => settings.onReport(report)))
    yield* waitUntil(Fiber.await(fiber), clock, now(clock) + reportWithin, () => 0)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined && Exit.isSuccess(exit)) return
    fiber.interruptUnsafe()
    const context = host.root.context
    if (exit === undefined) say(context, "Error", "onReport did not end within a second; it is given up", {})
    else say(context, "Error", "onReport failed", {}, exit.cause)
  })
