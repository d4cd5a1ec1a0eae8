/**
 * The host: starts its layers, waits for a reason to stop, and stops within one budget.
 *
 * Starting → Ready → Stopping → Stopped
 *
 * The layers stop the apps, since only they know who depends on whom. The host
 * stands beside with its deadline. When a tenth of the budget is left and the
 * layers still hang, it stops the remaining apps itself, out of order: better
 * than not at all. The scope around all apps closes at the end, with everything
 * that was spawned or made in the host outside of any app.
 *
 * A layer that fails while the host starts may be replaced by whoever built it,
 * so the start fails when the build does, and not before. But what has failed is
 * released meanwhile: it unwinds, and so the budget of the stop counts from the
 * first failure. Layers that are built at the same time change nothing in that.
 *
 * Invariants
 * - The first stop request wins; the others change nothing.
 * - The stop of a host ends at its deadline whatever the layers do. (Host.test.ts)
 * - An app is reported by the unwinding if it had stopped before the host did, and
 *   by the close of the root if not: each task has one line. (Host.test.ts)
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
import { now, type WaitEnd, waitUntil, wallTimeOf } from "./clock.ts"
import { standstills, startClose } from "./close.ts"
import { countsOf } from "./counts.ts"
import { awaitQuiet } from "./idle.ts"
import { makeScope } from "./makeScope.ts"
import { refuseCycles, watched } from "./memo.ts"
import { placeOf } from "./place.ts"
import { say } from "./say.ts"
import { shownCause } from "./shown.ts"
import { CurrentScope, isOver, type ScopeImpl, tasksOf } from "./state.ts"
import { interruptAll } from "./stopTask.ts"

export interface StopRequest {
  readonly reason: string
  readonly exitCode: number | undefined
  readonly failed: boolean
  /** The failed start that does not come to its end. */
  readonly start?: Failure | undefined
  readonly unwinding?: Unwinding | undefined
}

export const HostTypeId = "~@ambit/core/Host"

/** A layer that failed while the host started. */
interface Failure {
  readonly cause: Cause.Cause<unknown>
  /** The path of the app, if the layer is one. */
  readonly app: string | undefined
  /** What unwinds since then; nothing, if the failure came to the host much later. */
  readonly unwinding: Unwinding | undefined
}

/** What a failure in the start leads to, and whatever fails in the midst of it. All of it has one budget. */
interface Unwinding {
  readonly since: number
  /** When the host stops at the latest, if it comes to that. */
  readonly deadline: number
  /** One for each error, at the layer where it was first seen. */
  readonly failures: Array<Failure>
  /** The apps that it has stopped, by the scopes of their lives. */
  readonly stopped: Map<ScopeImpl, ShutdownReport>
  /** Whether somebody has recovered, as far as it is known. */
  over: boolean
}

export class HostImpl {
  readonly [HostTypeId] = HostTypeId
  readonly name: string
  /** The scopes of the apps are its children, and its state is that of the stop. */
  readonly root: ScopeImpl
  readonly apps = new Map<string, AppImpl>()
  readonly request = Deferred.makeUnsafe<StopRequest>()
  readonly ready = Deferred.makeUnsafe<void>()
  /** The build of the layers has ended, well or not. */
  readonly built = Deferred.makeUnsafe<void>()
  /** The last one, also when it is over. */
  unwinding: Unwinding | undefined = undefined
  /** How many layers are releasing what they had acquired. */
  releasing = 0
  /** Whether an app stopped because a virtual clock stood still. */
  stalled = false

  constructor(root: ScopeImpl) {
    this.name = root.name
    this.root = root
  }

  /** Whether this request was the first. */
  requestStop(request: StopRequest): boolean {
    return Deferred.doneUnsafe(this.request, Effect.succeed(request))
  }

  startFailed(cause: Cause.Cause<unknown>, app: AppImpl | undefined): void {
    if (!this.starting) return
    // Apps that fail with the same error may have nothing to do with each other.
    const unwinding = unwind(this, app === undefined && firstOf(this, cause) !== undefined)
    if (firstOf(this, cause) === undefined) unwinding.failures.push({ cause, app: app?.path, unwinding })
    settle(this)
  }

  /** A start is interrupted because of something that failed. */
  startInterrupted(): void {
    if (this.starting) unwind(this, true)
  }

  appStopped(app: AppImpl, scope: ScopeImpl, report: ShutdownReport): void {
    if (standstills.has(report)) this.stalled = true
    // The report of an app inside of an app is part of that one's.
    if (app.parent === this.root && this.starting) this.unwinding?.stopped.set(scope, report)
    settle(this)
  }

  /** When a stop that begins now must have ended, if the start fails. */
  get deadline(): number {
    return unwindingOf(this, false)?.deadline ?? Infinity
  }

  get starting(): boolean {
    return !Deferred.isDoneUnsafe(this.built) && this.root.state._tag === "Open"
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
      const memoMap = watched(refuseCycles(Layer.makeMemoMapUnsafe()), watchOf(host))
      const build = Effect.runForkWith(context.pipe(
        Context.add(CurrentHost, host),
        Context.add(CurrentScope, host.root),
        Context.add(Limits.Limits, settings.limits)
      ))(Effect.onExit(
        Layer.buildWithMemoMap(apps, memoMap, layers),
        () => Effect.sync(() => Deferred.doneUnsafe(host.built, Exit.void))
      ))

      const waited = yield* Effect.exit(restore(Effect.raceFirst(
        Deferred.await(host.request),
        Effect.andThen(whenBuilt(host, build), untilStop(host, settings))
      )))
      const failed = failureOf(host, waited)
      const request = Exit.isSuccess(waited)
        ? waited.value
        : {
          reason: Cause.hasInterruptsOnly(waited.cause) ? "it was interrupted" : reasonOf(failed),
          exitCode: undefined,
          failed: false
        }

      const report = yield* stop(host, request, build, layers, failed)
      say(context, report.clean ? "Info" : "Warn", summary(report), { host: host.name })
      yield* giveReport(host, report, settings, clock)
      if (standstills.has(report)) {
        return yield* Effect.die(new StoodStill({ scope: host.name, stuck: stuckPaths(report) }))
      }
      // The error of what did not start says more than what became of the others, or that somebody asked for a stop.
      const failure = failed ?? failureOfBuild(host, build)
      if (failure !== undefined) return yield* Effect.failCause(withoutInterrupts(failure.cause))
      if (Exit.isFailure(waited)) return yield* Effect.failCause(waited.cause)
      if (!request.failed && (request.exitCode ?? 0) === 0) return report
      return yield* new HostFailed({ reason: request.reason, exitCode: request.exitCode ?? 1, report })
    })
  )

// What unwinds at this moment. What is known to follow from an earlier failure may come after a while in which nothing
// of it was seen, and shares its budget all the same.
const unwindingOf = (host: HostImpl, follows: boolean): Unwinding | undefined => {
  const { root, unwinding } = host
  if (unwinding?.over !== true) return unwinding
  return follows && now(root.clock) < unwinding.deadline - keptOf(root.stopWithin) ? unwinding : undefined
}

// Begins an unwinding, or takes part in the one that goes on.
const unwind = (host: HostImpl, follows: boolean): Unwinding => {
  const last = unwindingOf(host, follows)
  if (last !== undefined) {
    last.over = false
    return last
  }
  const { clock, stopWithin } = host.root
  const since = now(clock)
  const unwinding = { since, deadline: since + stopWithin, failures: [], stopped: new Map(), over: false }
  host.unwinding = unwinding
  bound(host, unwinding)
  return unwinding
}

// What has failed is released before anybody hears of it, so the host sees to it that this ends.
const bound = (host: HostImpl, unwinding: Unwinding): void => {
  const { clock, context, stopWithin } = host.root
  const until = unwinding.deadline - keptOf(stopWithin)
  Effect.runForkWith(context)(Effect.map(
    waitUntil(Deferred.await(host.built), clock, until, () => unwinding.stopped.size),
    (end) => {
      if (end === "done" || unwinding.over) return
      unwinding.over = !isBusy(host)
      if (unwinding.over) return
      const start = unwinding.failures.at(-1)
      host.requestStop({ reason: reasonOf(start), exitCode: undefined, failed: true, start, unwinding })
    }
  ))
}

// A failure goes on in the same turn when what it had to wait for is gone. When it does not, somebody has recovered, and
// what fails later has a budget of its own.
const settle = (host: HostImpl): void => {
  const unwinding = unwindingOf(host, false)
  if (unwinding === undefined || isBusy(host)) return
  Effect.runForkWith(host.root.context)(Effect.andThen(
    Effect.yieldNow,
    Effect.sync(() => {
      if (host.starting && !isBusy(host)) unwinding.over = true
    })
  ))
}

const isBusy = (host: HostImpl): boolean =>
  host.releasing > 0 ||
  [...host.apps.values()].some((app) => app.phase._tag === "Stopping" || app.leaving !== undefined)

const watchOf = (host: HostImpl) => ({
  failed: (cause: Cause.Cause<unknown>) => host.startFailed(cause, undefined),
  releasing: () => {
    host.releasing++
    if (host.starting) unwind(host, true)
  },
  released: () => {
    host.releasing--
    settle(host)
  }
})

// What the host stops for, if it is a start that failed: the build tells it, but not of which app, nor since when.
const failureOf = (host: HostImpl, waited: Exit.Exit<StopRequest, unknown>): Failure | undefined => {
  if (Exit.isSuccess(waited)) return waited.value.start
  if (Cause.hasInterruptsOnly(waited.cause)) return undefined
  return originOf(host, waited.cause)
}

// A start may have failed in the moment in which somebody asked for the stop.
const failureOfBuild = (host: HostImpl, build: Fiber.Fiber<unknown, unknown>): Failure | undefined => {
  const exit = build.pollUnsafe()
  return exit === undefined || Exit.isSuccess(exit) || firstOf(host, exit.cause) === undefined
    ? undefined
    : originOf(host, exit.cause)
}

// A failure comes by every layer around the one that failed, on its way to the build of the host.
const firstOf = (host: HostImpl, cause: Cause.Cause<unknown>): Failure | undefined => {
  const error = Cause.squash(cause)
  return host.unwinding?.failures.find((failure) => Cause.squash(failure.cause) === error)
}

const originOf = (host: HostImpl, cause: Cause.Cause<unknown>): Failure => {
  const first = firstOf(host, cause)
  const unwinding = unwindingOf(host, first !== undefined)
  return { cause, app: (first ?? unwinding?.failures.at(-1))?.app, unwinding }
}

const reasonOf = (failure: Failure | undefined): string =>
  failure?.app === undefined ? "its start failed" : `app ${failure.app} did not start`

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

/** What is kept of the budget to stop by force what the layers leave behind. */
const keptOf = (budget: number): number => budget / 10

const stop = (
  host: HostImpl,
  request: StopRequest,
  build: Fiber.Fiber<unknown, unknown>,
  layers: EffectScope.Closeable,
  failure: Failure | undefined
): Effect.Effect<ShutdownReport> =>
  Effect.gen(function*() {
    const { root } = host
    const { clock } = root
    // From here on a late request changes nothing, and `requestStop` says so.
    host.requestStop(request)
    say(root.context, "Info", `${host.name} stops: ${request.reason}`, { host: host.name })
    const unwinding = failure?.unwinding ?? request.unwinding
    const since = unwinding?.since ?? now(clock)
    const kept = keptOf(root.stopWithin)
    const deadline = since + root.stopWithin
    const progress = () => [...root.children].filter((child) => !isOver(child)).length
    let end = "done" as WaitEnd
    const ended = startClose(root, {
      reason: request.reason,
      within: Math.max(0, deadline - now(clock)),
      told: unwinding?.stopped,
      before: Effect.gen(function*() {
        const own = tasksOf(root).values()
        yield* interruptAll(() => own.next().value, request.reason, since)
        end = yield* waitUntil(Fiber.await(closing), clock, deadline - kept, progress)
        return end === "standstill" ? now(clock) : deadline
      })
    })
    const closing = Effect.runForkWith(root.context)(
      Effect.ensuring(Fiber.interrupt(build), EffectScope.close(layers, Exit.void))
    )
    const closed = yield* ended
    if (end === "deadline") yield* waitUntil(Fiber.await(closing), clock, deadline, progress)
    const earlier = [...unwinding?.stopped.values() ?? []]
    const report = makeReport(host, request, since, deadline, [...earlier, closed], closing)
    if (end === "standstill" || host.stalled || standstills.has(closed)) standstills.add(report)
    return report
  })

const makeReport = (
  host: HostImpl,
  request: StopRequest,
  since: number,
  deadline: number,
  reports: ReadonlyArray<ShutdownReport>,
  closing: Fiber.Fiber<unknown, unknown>
): ShutdownReport => {
  const { clock } = host.root
  const took = roundMillis(now(clock) - since)
  const budget = roundMillis(deadline - since)
  const layers = layersReport(host, closing, took, budget)
  return makeLazily(
    {
      path: host.name,
      reason: request.reason,
      ...(request.exitCode === undefined ? {} : { exitCode: request.exitCode }),
      startedAt: wallTimeOf(clock, since),
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
    return { path, outcome: "failed", resources: "failed", ...times, error: shownCause(exit.cause) }
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
