/**
 * The host: starts its layers, waits for a reason to stop, and stops within one budget.
 *
 * Starting → Ready → Stopping → Stopped
 *
 * A stop goes through phases; see `phases.ts`. It is announced to all apps first,
 * while all of them work. Then the layers unwind. When the last app has stopped,
 * and what was provided around all of them is still there, comes the final write,
 * and after the layers the closing. What these two may take is kept for them, if
 * anybody has a hook there.
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
 * - The final write runs once, whoever gets there first: the last app or the host. (Shutdown.test.ts)
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
import type { HostControl, Owner, StopStatus } from "../HostOwner.ts"
import * as Limits from "../Limits.ts"
import {
  type AppReport,
  formatMillis,
  makeLazily,
  roundMillis,
  type ShutdownReport,
  type StopPhase,
  stuckPaths,
  summary
} from "../ShutdownReport.ts"
import { StoodStill } from "../TaskScope.ts"
import { type AppImpl, hooksOf, type Life, lifeOf, withoutInterrupts } from "./app.ts"
import { killCalls } from "./calls.ts"
import { isVirtual, moment, now, type WaitEnd, waitUntil, wallTimeOf } from "./clock.ts"
import { budgetOf, interruptEarly, interruptTree, standstills, startClose } from "./close.ts"
import { countsOf } from "./counts.ts"
import { runHooks, sayLateEnd } from "./hooks.ts"
import { awaitQuiet } from "./idle.ts"
import { makeScope } from "./makeScope.ts"
import { refuseCycles, watched } from "./memo.ts"
import { Pace, type Share, shares } from "./pace.ts"
import { phaseLimitOf, Phases } from "./phases.ts"
import { placeOf } from "./place.ts"
import { emit, endEvents, listened, say } from "./say.ts"
import { shown, shownCause } from "./shown.ts"
import { CurrentScope, isOver, type ScopeImpl, tasksOf } from "./state.ts"
import { interruptAll } from "./stopTask.ts"
import { healthOf, treeOf } from "./tree.ts"

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
  /** The same on the clock of the deadlines. */
  readonly from: number
  /** When the host stops at the latest, if it comes to that. */
  readonly deadline: number
  /** One for each error, at the layer where it was first seen. */
  readonly failures: Array<Failure>
  /** The apps that it has stopped, by the scopes of their lives. */
  readonly stopped: Map<ScopeImpl, ShutdownReport>
  /** Whether somebody has recovered, as far as it is known. */
  over: boolean
}

/** The stop of a host, as far as it has come. */
interface HostStop {
  readonly request: StopRequest
  readonly since: number
  /** The begin and the latest end on the clock of the deadlines. */
  readonly from: number
  readonly deadline: number
  /** When the apps must have stopped, and when all but the closing must be over. */
  readonly appsUntil: number
  readonly writtenUntil: number
  readonly phases: Phases
  /** The lives of the apps that ran when it began. */
  readonly lives: ReadonlyArray<{ readonly app: AppImpl; readonly life: Life }>
  /** The hooks that run beside the stop. */
  readonly beside: Array<Fiber.Fiber<void>>
  /** The final write, once it has begun. */
  written: Fiber.Fiber<void> | undefined
  /** Whether a virtual clock was seen standing still. */
  stalled: boolean
}

export class HostImpl {
  readonly [HostTypeId] = HostTypeId
  readonly name: string
  /** The scopes of the apps are its children, and its state is that of the stop. */
  readonly root: ScopeImpl
  readonly limits: Limits.Limits
  readonly owner: Owner
  /** What the owner gets to see of it. */
  readonly control: HostControl
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
  stopping: HostStop | undefined = undefined
  /** When its stop has ended. */
  endedAt: number | undefined = undefined

  constructor(root: ScopeImpl, limits: Limits.Limits, owner: Owner) {
    this.name = root.name
    this.root = root
    this.limits = limits
    this.owner = owner
    this.control = controlOf(this)
    root.pace.watch(() => this.changed())
  }

  /** Whether its stop has ended. */
  get over(): boolean {
    return this.endedAt !== undefined
  }

  /** Tells the owner that something has changed. The end is the last that it hears of. */
  changed(): void {
    if (!this.over) tell(this, "changed", () => this.owner.changed(this.control))
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

  /** An app begins to interrupt its tasks; before all are told, it does so by itself. */
  interrupting(): void {
    if (this.stopping?.phases.hasBegun("draining") === true) enter(this, this.stopping, "interrupting")
  }

  /** The layer of an app is being closed; what is below it stays for the final write, if it was the last app. */
  readonly whenGone: Effect.Effect<void> = Effect.suspend(() => {
    const { stopping } = this
    return stopping?.phases.hasBegun("draining") === true && !someAlive(this)
      ? finalWrite(this, stopping)
      : Effect.void
  })

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
  readonly owner: Owner
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
      const { limits, owner } = settings
      const root = makeScope({
        name: settings.name,
        parent: undefined,
        clock,
        pace: new Pace(limits.extension ?? 0, false),
        context,
        stopWithin: settings.limits.hostStop,
        owner: undefined,
        defaultForeground: false,
        apart: false,
        room: undefined
      })
      const host = new HostImpl(root, limits, owner)
      tell(host, "launched", () => owner.launched(host.control))
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
      const request = Exit.isSuccess(waited) ? waited.value : yield* requestOf(host, waited.cause, failed)

      const report = yield* stop(host, request, build, layers, failed)
      host.endedAt = now(clock)
      root.releasing = false
      root.pace.stopEnds()
      endEvents(root)
      say(context, report.clean ? "Info" : "Warn", summary(report), { host: host.name })
      tell(host, "stopped", () => owner.stopped(host.control, report))
      yield* giveReport(host, report, settings)
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

// Who asks for a stop may interrupt the host in the same moment, as the handlers of a signal do. The request says more.
const requestOf = (
  host: HostImpl,
  cause: Cause.Cause<unknown>,
  failed: Failure | undefined
): Effect.Effect<StopRequest> =>
  Cause.hasInterruptsOnly(cause) && Deferred.isDoneUnsafe(host.request)
    ? Deferred.await(host.request)
    : Effect.succeed({
      reason: Cause.hasInterruptsOnly(cause) ? "it was interrupted" : reasonOf(failed),
      exitCode: undefined,
      failed: false
    })

// What unwinds at this moment. What is known to follow from an earlier failure may come after a while in which nothing
// of it was seen, and shares its budget all the same.
const unwindingOf = (host: HostImpl, follows: boolean): Unwinding | undefined => {
  const { root, unwinding } = host
  if (unwinding?.over !== true) return unwinding
  return follows && moment(root) < unwinding.deadline - keptOf(root.stopWithin) ? unwinding : undefined
}

// Begins an unwinding, or takes part in the one that goes on.
const unwind = (host: HostImpl, follows: boolean): Unwinding => {
  const last = unwindingOf(host, follows)
  if (last !== undefined) {
    setOver(host, last, false)
    return last
  }
  const { clock, stopWithin } = host.root
  const since = now(clock)
  const from = host.root.pace.moment(since)
  const unwinding = {
    since,
    from,
    deadline: from + stopWithin,
    failures: [],
    stopped: new Map(),
    over: false
  }
  host.unwinding = unwinding
  host.root.pace.stopBegins()
  bound(host, unwinding)
  host.changed()
  return unwinding
}

// All that unwinds is one stop, also for the time that may be granted to it.
const setOver = (host: HostImpl, unwinding: Unwinding, over: boolean): void => {
  if (unwinding.over === over) return
  unwinding.over = over
  if (over) host.root.pace.stopEnds()
  else host.root.pace.stopBegins()
  host.changed()
}

// What has failed is released before anybody hears of it, so the host sees to it that this ends.
const bound = (host: HostImpl, unwinding: Unwinding): void => {
  const { context, stopWithin } = host.root
  const until = unwinding.deadline - keptOf(stopWithin)
  Effect.runForkWith(context)(Effect.map(
    waitUntil(Deferred.await(host.built), host.root, until, shares.layers, () => unwinding.stopped.size),
    (end) => {
      if (end === "done" || unwinding.over) return
      setOver(host, unwinding, !isBusy(host))
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
      if (host.starting && !isBusy(host)) setOver(host, unwinding, true)
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
    sayTightLimits(host)
    host.changed()
  })

/** An app that is about to start again has its foreground work before it. */
const untilIdle = (host: HostImpl): Effect.Effect<void> =>
  Effect.flatMap(awaitQuiet(host.root, false), () => {
    for (const { restart } of host.apps.values()) {
      if (restart !== undefined) return Effect.andThen(Deferred.await(restart.done), untilIdle(host))
    }
    return Effect.void
  })

const untilStop = (host: HostImpl, settings: HostSettings): Effect.Effect<StopRequest> =>
  settings.stopWhenIdle
    ? Effect.as(untilIdle(host), {
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
    // From here on a late request changes nothing, and `requestStop` says so.
    host.requestStop(request)
    say(root.context, "Info", `${host.name} stops: ${request.reason}`, { host: host.name })
    const unwinding = failure?.unwinding ?? request.unwinding
    const stopping = host.stopping = beginStop(host, request, unwinding)
    root.releasing = true
    root.pace.stopBegins()
    const { appsUntil, writtenUntil } = stopping
    const kept = keptOf(root.stopWithin)
    for (const scope of unwinding?.stopped.keys() ?? []) scope.followed = true
    const progress = () => [...root.children].filter((child) => !isOver(child)).length
    let end = "done" as WaitEnd
    const ended = startClose(root, {
      reason: request.reason,
      within: Math.max(0, appsUntil - moment(root)),
      told: unwinding?.stopped,
      before: Effect.gen(function*() {
        const closing = yield* Fiber.join(unwound)
        const own = tasksOf(root).values()
        yield* interruptAll(() => own.next().value, root, request.reason, now(root.clock))
        end = yield* waitUntil(Fiber.await(closing), root, appsUntil - kept, shares.layers, progress)
        return end === "standstill" ? moment(root) : appsUntil
      })
    })
    // Begins at once, so that a stop with nothing to announce is under way when this call returns.
    const unwound = Effect.runForkWith(root.context)(Effect.map(announce(host, stopping), () => {
      enter(host, stopping, "draining")
      return Effect.runForkWith(root.context)(
        Effect.ensuring(Fiber.interrupt(build), EffectScope.close(layers, Exit.void))
      )
    }))
    const closed = yield* ended
    const closing = yield* Fiber.join(unwound)
    if (end === "deadline") yield* waitUntil(Fiber.await(closing), root, appsUntil, shares.layers, progress)
    yield* finalWrite(host, stopping)
    // The layers around the apps had to wait for that.
    if (end === "deadline") yield* waitUntil(Fiber.await(closing), root, writtenUntil, shares.around, progress)
    enter(host, stopping, "closing")
    yield* runPhase(host, stopping, "closing", stopping.deadline, shares.all)
    const earlier = [...unwinding?.stopped.values() ?? []]
    // The timer that ended the last wait is over a turn later, and would be told as left open.
    if (!isVirtual(root.clock)) yield* Effect.yieldNow
    const report = makeReport(host, stopping, [...earlier, closed], closing)
    if (end === "standstill" || stopping.stalled || host.stalled || standstills.has(closed)) standstills.add(report)
    return report
  })

const beginStop = (host: HostImpl, request: StopRequest, unwinding: Unwinding | undefined): HostStop => {
  const { limits, root } = host
  const since = unwinding?.since ?? now(root.clock)
  const from = unwinding?.from ?? root.pace.moment(since)
  const deadline = from + root.stopWithin
  const lives = [...host.apps.values()].flatMap((app) => {
    const life = lifeOf(app)
    // One that is stopping by now does so alone, with its hooks.
    return life === undefined || app.phase._tag === "Stopping" ? [] : { app, life }
  })
  const kept = (phase: "finalWrite" | "closing") =>
    lives.some(({ life }) => hooksOf(life, phase).length > 0) ? limits[phase] : 0
  const writtenUntil = deadline - kept("closing")
  return {
    request,
    since,
    from,
    deadline,
    appsUntil: writtenUntil - kept("finalWrite"),
    writtenUntil,
    phases: new Phases(),
    lives,
    beside: [],
    written: undefined,
    stalled: false
  }
}

const enter = (host: HostImpl, stopping: HostStop, phase: StopPhase): void =>
  stopping.phases.enter(phase, now(host.root.clock), (entered) => {
    const { root } = host
    say(root.context, "Debug", `${host.name} is ${phaseTexts[entered]}`, { host: host.name, phase: entered })
    if (listened(root)) emit(root, { _tag: "StopPhase", path: root.path, phase: entered })
    host.changed()
    if (entered !== "draining" && entered !== "interrupting") return
    stopping.beside.push(
      Effect.runForkWith(root.context)(runPhase(host, stopping, entered, stopping.appsUntil, shares.announce))
    )
  })

const phaseTexts: Record<StopPhase, string> = {
  stopping: "stopping",
  draining: "draining",
  interrupting: "interrupting its tasks",
  finalWrite: "at its final write",
  closing: "closing"
}

/** Runs the hooks of a phase: those of different apps at the same time. */
const runPhase = (
  { limits, root }: HostImpl,
  stopping: HostStop,
  phase: StopPhase,
  until: number,
  share: Share
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const deadline = Math.min(moment(root) + phaseLimitOf(limits, phase), until)
    return Effect.forEach(
      stopping.lives,
      ({ app, life }) =>
        runHooks(
          { scope: life.scope, context: app.context, stop: stopping },
          hooksOf(life, phase),
          deadline,
          share,
          (report) => stopping.phases.reports.push(report)
        ),
      { concurrency: "unbounded", discard: true }
    )
  })

/** Tells all apps, while all of them still work. */
const announce = (host: HostImpl, stopping: HostStop): Effect.Effect<void> =>
  Effect.suspend(() => {
    enter(host, stopping, "stopping")
    return Effect.andThen(
      interruptEarly(host.root, stopping.request.reason),
      runPhase(host, stopping, "stopping", stopping.appsUntil, shares.announce)
    )
  })

const someAlive = (host: HostImpl): boolean => [...host.apps.values()].some((app) => lifeOf(app) !== undefined)

/** The tasks are gone, and state may be saved. */
const finalWrite = (host: HostImpl, stopping: HostStop): Effect.Effect<void> =>
  Effect.suspend(() => {
    // In a fiber of its own, for it belongs to the stop and not to the app that came last.
    stopping.written ??= Effect.runForkWith(host.root.context)(Effect.gen(function*() {
      // Whoever gets here while this turn lasts finds that it has begun.
      yield* Effect.yieldNow
      enter(host, stopping, "interrupting")
      yield* Effect.forEach(stopping.beside, Fiber.await, { discard: true })
      enter(host, stopping, "finalWrite")
      yield* runPhase(host, stopping, "finalWrite", stopping.writtenUntil, shares.finalWrite)
    }))
    return Effect.asVoid(Fiber.await(stopping.written))
  })

/** Nobody waits for hooks and drains any more, and everything is interrupted. */
const hurry = (host: HostImpl, reason: string, millis: number): void => {
  const { root } = host
  if (host.over || root.pace.haste !== undefined) return
  host.requestStop({ reason, exitCode: undefined, failed: false })
  const since = now(root.clock)
  // Also what is no number means that somebody is in a hurry.
  const within = millis >= 0 ? Math.min(millis, root.stopWithin) : 0
  const text = `${host.name} is in a hurry (${reason}): everything is interrupted, and what is left has ${
    formatMillis(within)
  }`
  say(root.context, "Warn", text, { host: host.name, reason })
  // What waits for its time ends in this moment, and what lives by now is told all the same.
  const interrupted = interruptTree(root, reason)
  root.pace.hurry(since, within)
  Effect.runForkWith(root.context)(Effect.andThen(interrupted, Effect.sync(() => killCalls(root))))
}

/** Where the stop of a host is, and what it has left. */
export const stopStatusOf = (host: HostImpl): StopStatus | undefined => {
  const { root, stopping } = host
  const phase = stopping?.phases.phase
  if (stopping === undefined || phase === undefined) return undefined
  return {
    phase,
    reason: stopping.request.reason,
    exitCode: stopping.request.exitCode,
    left: Math.max(0, root.pace.left(stopping.deadline, host.endedAt ?? now(root.clock), shares.all)),
    extended: root.pace.grantedSince(stopping.since, stopping.from)
  }
}

// Whoever wants an end gets it, with a code that says that something is wrong.
const codeOf = (host: HostImpl, exitCode: number | undefined): number | undefined => {
  if (exitCode === undefined || isExitCode(exitCode)) return exitCode
  const text = `The exit code of a stop of ${host.name} is ${shown(exitCode)}: ` +
    "an exit code is a whole number from 0 to 255. It stops with 1"
  say(host.root.context, "Error", text, { host: host.name })
  return 1
}

export const isExitCode = (exitCode: number): boolean => Number.isInteger(exitCode) && exitCode >= 0 && exitCode <= 255

/** Calls the owner, who must not disturb the host. */
const tell = <A>(host: HostImpl, what: keyof Owner, call: () => A): A | undefined => {
  try {
    return call()
  } catch (defect) {
    const text = `The owner of ${host.name} threw in ${what}; the host goes on`
    say(host.root.context, "Error", text, { host: host.name }, Cause.die(defect))
    return undefined
  }
}

const controlOf = (host: HostImpl): HostControl => ({
  name: host.name,
  limits: host.limits,
  requestStop: ({ exitCode, failed, reason }) =>
    host.requestStop({ reason: shown(reason), exitCode: codeOf(host, exitCode), failed: failed ?? false }),
  hurry: (reason, within) => hurry(host, shown(reason), within),
  tree: (most) => treeOf(host, most),
  health: () => healthOf(host),
  stop: () => stopStatusOf(host),
  left: () => leftOf(host)
})

/** How much time the host has until it has ended, if it stops, or if it will unless somebody recovers. */
const leftOf = (host: HostImpl): number | undefined => {
  const { root, stopping } = host
  const deadline = stopping?.deadline ?? unwindingOf(host, false)?.deadline
  return deadline === undefined ? undefined : Math.max(0, root.pace.left(deadline, now(root.clock), shares.all))
}

/** The stops of apps that depend on each other come one after the other, and after and before the phases around them. */
const sayTightLimits = (host: HostImpl): void => {
  const { hostStop } = host.limits
  const chain = longestChain([...host.apps.values()].map((app) => chainOf(app, new Map())))
  const lives = [...host.apps.values()].flatMap((app) => lifeOf(app) ?? [])
  const left = hostStop - (["stopping", "finalWrite", "closing"] as const)
    .filter((phase) => lives.some((life) => hooksOf(life, phase).length > 0))
    .reduce((sum, phase) => sum + phaseLimitOf(host.limits, phase), 0)
  if (chain.millis <= left) return
  const has = left === hostStop ? formatMillis(left) : `${formatMillis(left)} of its ${formatMillis(hostStop)}`
  say(
    host.root.context,
    "Warn",
    `The stops of ${chain.paths.join(" → ")} come one after the other and may take ${formatMillis(chain.millis)}, ` +
      `and ${host.name} has ${has} for them. Lower their stopWithin or raise that of the host`,
    { host: host.name }
  )
}

interface Chain {
  readonly paths: ReadonlyArray<string>
  readonly millis: number
}

const longestChain = (chains: ReadonlyArray<Chain>): Chain =>
  chains.reduce((a, b) => b.millis > a.millis ? b : a, { paths: [], millis: 0 })

// Only limits that somebody has set: the others follow what is left.
const chainOf = (app: AppImpl, known: Map<AppImpl, Chain>): Chain => {
  const found = known.get(app)
  if (found !== undefined) return found
  const rest = longestChain([...app.dependencies].map((dependency) => chainOf(dependency, known)))
  const chain = app.ownStop === undefined
    ? rest
    : { paths: [app.path, ...rest.paths], millis: app.ownStop + rest.millis }
  known.set(app, chain)
  return chain
}

const makeReport = (
  host: HostImpl,
  { deadline, from, phases, request, since }: HostStop,
  reports: ReadonlyArray<ShutdownReport>,
  closing: Fiber.Fiber<unknown, unknown>
): ShutdownReport => {
  const { clock, pace } = host.root
  const end = now(clock)
  const took = roundMillis(end - since)
  const budget = budgetOf(pace, since, from, deadline)
  const extended = roundMillis(pace.grantedSince(since, from))
  const layers = layersReport(host, closing, took, budget)
  const leftOpen = tell(host, "leftOpen", () => host.owner.leftOpen()) ?? []
  return makeLazily(
    {
      path: host.name,
      reason: request.reason,
      ...(request.exitCode === undefined ? {} : { exitCode: request.exitCode }),
      startedAt: wallTimeOf(clock, since),
      took,
      budget,
      hooks: [...phases.reports, ...reports.flatMap((report) => report.hooks)],
      apps: [...reports.flatMap((report) => report.apps), ...(layers === undefined ? [] : [layers])],
      phases: phases.told(end),
      ...(extended === 0 ? {} : { extended }),
      ...(pace.haste === undefined ? {} : { hurried: true as const }),
      ...(leftOpen.length === 0 ? {} : { leftOpen })
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
  const { clock, context } = host.root
  say(context, "Error", `The layers of ${host.name} did not close in time; they are given up${where}`, {
    host: host.name
  })
  sayLateEnd(closing, clock, context, `The close of the layers of ${host.name}`, { host: host.name })
  return { path, outcome: "failed", resources: "abandoned", ...times, ...(place === undefined ? {} : { place }) }
}

/**
 * Milliseconds that the reader of the report gets, beyond the budget of the stop. So it is short: `NodeHost` has promised
 * that the process is gone a second after that, and ends it by force before.
 */
const reportWithin = 500

const giveReport = (
  host: HostImpl,
  report: ShutdownReport,
  settings: HostSettings
): Effect.Effect<void> =>
  Effect.gen(function*() {
    const fiber = Effect.runForkWith(host.root.context)(Effect.suspend(() => settings.onReport(report)))
    const { root } = host
    // Haste is over with the stop.
    const timing = { clock: root.clock, pace: new Pace(0, true) }
    yield* waitUntil(Fiber.await(fiber), timing, now(root.clock) + reportWithin, shares.all, () => 0)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined && Exit.isSuccess(exit)) return
    const { context } = root
    if (exit !== undefined) return say(context, "Error", "onReport failed", {}, exit.cause)
    fiber.interruptUnsafe()
    say(context, "Error", "onReport did not end within half a second; it is given up", {})
    if (fiber.pollUnsafe() === undefined) sayLateEnd(fiber, root.clock, context, "onReport", {})
  })
