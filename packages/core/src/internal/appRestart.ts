/**
 * Starting an app again: by hand, with what depends on it, or since it has failed and its policy says so.
 *
 * An app that has failed goes Stopping → Waiting (the pause of its policy) → Starting. What ends the pause is its end, a start
 * by hand, or a stop.
 *
 * Invariants
 * - An app is in one restart at a time. Who asks for one before it starts gets the same, and a later one takes it over.
 *   (App.restart.test.ts)
 * - A stop that somebody asks for is undone by no policy, and by no restart that was under way. (App.policy.test.ts)
 * - In a restart an app waits for what it depends on, and for nothing else; so no two restarts wait for each other.
 *   (App.policy.test.ts)
 * - Who waits to start does start, or is down and says so; two restarts of one app at once lose nobody. (laws/appPolicies.test.ts)
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import { StartFailed, StartTimeout } from "../AppError.ts"
import { formatMillis, type ShutdownReport } from "../ShutdownReport.ts"
import {
  type AppImpl,
  awaitsStart,
  type Backoff,
  dependenciesStarted,
  isAlive,
  lifeOf,
  move,
  obstacle,
  refuse,
  type Restart,
  settle,
  start,
  stop,
  unlessWithin,
  untilSettled,
  waitFor,
  withDependents,
  withoutInterrupts
} from "./app.ts"
import { now } from "./clock.ts"
import { broken, type Next, type Restarter } from "./restart.ts"
import { until } from "./runs.ts"
import { emit, listened, say } from "./say.ts"
import { shown } from "./shown.ts"

const startFailure = (app: AppImpl, cause: Cause.Cause<unknown>): StartFailed => {
  const error = Cause.squash(cause)
  if (error instanceof StartFailed) return error
  const problem = error instanceof StartTimeout ? error.message : `its start failed with ${shown(error)}. See its cause`
  return new StartFailed({ app: app.path, problem, cause: error })
}

// Whatever keeps an app from starting is a typed error, so that a supervisor can go on.
const startTyped = (app: AppImpl): Effect.Effect<void, StartFailed> =>
  Effect.asVoid(Effect.catchCause(start(app), (cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.failCause(cause as Cause.Cause<never>)
      : Effect.fail(startFailure(app, cause))))

/** Starts an app that was stopped. One that waits for its next start gets it now. */
export const startAgain = (app: AppImpl): Effect.Effect<void, StartFailed> =>
  unlessWithin(
    app,
    Effect.suspend(() => {
      const { backoff, phase } = app
      if (phase._tag === "Stopping") return refuse(app, "it is stopping. Wait for that with App.stop")
      if (isAlive(app)) return refuse(app, "it runs already. Stop it first")
      if (backoff === undefined || app.restart === undefined) {
        return Effect.tapCause(startTyped(app), (cause) => Effect.sync(() => void triesAgain(app, cause)))
      }
      startNow(backoff)
      return Effect.flatMap(untilSettled(app), () =>
        isAlive(app) ? Effect.void : refuse(app, hasFailed(app) ? "it failed again. See the log" : whyDown(app)))
    })
  )

/** Stops an app and starts it again, with all that depend on it. Two who ask before it starts get the same restart. */
export const restart = (app: AppImpl): Effect.Effect<ShutdownReport, StartFailed> =>
  unlessWithin(
    app,
    Effect.suspend(() => {
      const order = orderOf(app)
      const waiting = waitFor(app)
      const { backoff } = app
      const current = awaitsStart(app) ? app.restart! : restartNow(app, order)
      const stopped = backoff === undefined ? stop(app, "restart") : current.stopped
      if (backoff !== undefined) startNow(backoff)
      return waiting(Effect.gen(function*() {
        const report = yield* stopped
        yield* Deferred.await(current.done)
        // Somebody may have restarted it once more.
        yield* untilSettled(app)
        const failure = firstOf(failuresOf(current, app), order)
        return failure === undefined ? report : yield* failure
      }))
    })
  )

/** What a restart of an app has to start: with it those that live, and those that wait for it in the restart that it is in. */
const orderOf = (app: AppImpl): ReadonlyArray<AppImpl> =>
  withDependents(app, (one) => isAlive(one) || (awaitsStart(one) && one.restart === app.restart))

/** Of those that a restart was to start, with the app that it is about first. */
const failuresOf = ({ failures }: Restart, app: AppImpl): ReadonlyArray<StartFailed> =>
  isAlive(app) || failures.some((failure) => failure.app === app.path)
    ? failures
    : [new StartFailed({ app: app.path, problem: whyDown(app) }), ...failures]

// Its policy may have had it fail again, what it depends on may not have come back, and somebody may have stopped it.
const whyDown = (app: AppImpl): string =>
  app.phase._tag === "Failed"
    ? "it does not run now. See the log"
    : obstacle(app) ?? "somebody has stopped it meanwhile. Start it again when it may run"

/** The failures of some of the apps as one. */
const firstOf = (failures: ReadonlyArray<StartFailed>, apps: ReadonlyArray<AppImpl>): StartFailed | undefined => {
  const [first, ...others] = failures.filter((failure) => apps.some((one) => one.path === failure.app))
  if (first === undefined || others.length === 0) return first
  return new StartFailed({
    app: first.app,
    problem: [first.problem, ...others.map((other) => other.message)].join("; "),
    ...(first.cause === undefined ? {} : { cause: first.cause })
  })
}

const restartNow = (app: AppImpl, order: ReadonlyArray<AppImpl>): Restart => begin(app, order, "restart", startWaiting)

/** Begins a restart: the stop in this very call, and then what starts them. */
const begin = (
  app: AppImpl,
  order: ReadonlyArray<AppImpl>,
  reason: string,
  startThem: (current: Restart) => Effect.Effect<unknown>
): Restart => {
  const report = Deferred.makeUnsafe<ShutdownReport>()
  // Before the stop, so that who starts on them meanwhile waits. What somebody is stopping for good stays down.
  const current = enter(order.filter((one) => one === app || lifeOf(one)?.last !== true), Deferred.await(report))
  const stopped = stop(app, reason)
  // In a fiber of its own: once the apps are stopped, no interruption of whoever asked leaves them so.
  Effect.runForkWith(app.context)(
    Effect.flatMap(stopped, (ended) => {
      Deferred.doneUnsafe(report, Effect.succeed(ended))
      return startThem(current)
    }).pipe(Effect.ensuring(leave(current)))
  )
  return current
}

/** An app is in one restart at a time: an earlier one that has not started it yet leaves it to the later one. */
const enter = (apps: ReadonlyArray<AppImpl>, stopped: Effect.Effect<ShutdownReport>): Restart => {
  const current: Restart = {
    waiting: new Set(apps),
    settled: new Map(apps.map((app) => [app, Deferred.makeUnsafe<void>()])),
    failures: [],
    stopped,
    done: Deferred.makeUnsafe()
  }
  for (const app of apps) {
    const earlier = app.restart
    app.restart = current
    app.backoff = undefined
    if (earlier !== undefined) settle(earlier, app)
  }
  return current
}

const leave = (current: Restart): Effect.Effect<void> =>
  Effect.sync(() => {
    for (const app of current.settled.keys()) {
      if (app.restart === current) app.restart = undefined
      settle(current, app)
    }
    Deferred.doneUnsafe(current.done, Effect.void)
  })

/** Why it was stopped, if it has failed and was not stopped by hand. */
const failureOf = ({ phase }: AppImpl): Cause.Cause<unknown> | undefined =>
  phase._tag === "Stopped" ? phase.failure : undefined

const hasFailed = (app: AppImpl): boolean => failureOf(app) !== undefined

/** What the end of its host or layer overtakes is not missed. */
const isOvertaken = (app: AppImpl): boolean =>
  app.gone || (app.parent !== undefined && app.parent.state._tag !== "Open")

/** Whether the policy of an app has it now, whose start has failed. */
const triesAgain = (app: AppImpl, cause: Cause.Cause<unknown>): boolean => {
  if (app.restarter === undefined || !hasFailed(app) || isOvertaken(app)) return false
  if (!app.isFirst && !awaitsStart(app)) {
    Effect.runForkWith(app.context)(recoverAlone(app, app.restarter, Exit.failCause(cause)))
  }
  return true
}

/** Starts what waits in a restart: each as soon as what it depends on has settled. */
const startWaiting = (current: Restart): Effect.Effect<void> =>
  Effect.suspend(() =>
    // Dependents are the first in its order.
    Effect.forEach([...current.waiting].toReversed(), (app) => startOne(current, app), {
      concurrency: "unbounded",
      discard: true
    })
  )

const startOne = (current: Restart, app: AppImpl): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* dependenciesStarted(app)
    // Somebody may have stopped it for good meanwhile, or restarts it by now.
    if (!current.waiting.delete(app)) return
    const exit = yield* Effect.exit(startTyped(app))
    if (Exit.isSuccess(exit)) return
    const failure = startFailure(app, exit.cause)
    current.failures.push(failure)
    // Of two that have started it, the other one may have seen to it by now.
    if (isOvertaken(app) || app.restart !== current || triesAgain(app, exit.cause)) return
    say(app.context, "Error", `${failure.message}; it stays down`, { app: app.path }, exit.cause)
  }).pipe(Effect.ensuring(Effect.sync(() => settle(current, app))))

// -----------------------------------------------------------------------------
// By policy
// -----------------------------------------------------------------------------

/** Stops an app since something in it has failed. With a policy it starts again, and so do those that depend on it. */
export const fail = (app: AppImpl, reason: string, cause: Cause.Cause<unknown>): void => {
  const { phase, restarter } = app
  if (restarter === undefined || isOvertaken(app) || !("life" in phase)) {
    Effect.runForkWith(app.context)(stop(app, reason))
    return
  }
  if (phase._tag === "Stopping") return
  phase.life.failure ??= cause
  // Whoever starts it sees that it has failed.
  if (phase._tag === "Starting" || awaitsStart(app) || app.leaving !== undefined) {
    Effect.runForkWith(app.context)(stop(app, reason))
    return
  }
  const took = now(app.clock) - phase.since
  begin(
    app,
    orderOf(app),
    reason,
    (current) =>
      Effect.flatMap(
        recover(app, restarter, { exit: Exit.failCause(cause), took, reason }, current),
        () => {
          settle(current, app)
          return startWaiting(current)
        }
      )
  )
  app.backoff ??= makeBackoff()
}

/** Starts an app for the first time. One with a policy is tried again. */
export const startFirst = (app: AppImpl): Effect.Effect<Context.Context<never>, unknown> => {
  const { restarter } = app
  if (restarter === undefined) return start(app)
  return Effect.suspend(() => {
    app.isFirst = true
    return Effect.ensuring(
      tryFirst(app, restarter),
      Effect.sync(() => {
        app.isFirst = false
      })
    )
  })
}

const tryFirst = (app: AppImpl, restarter: Restarter): Effect.Effect<Context.Context<never>, unknown> =>
  Effect.gen(function*() {
    const exit = yield* Effect.exit(start(app))
    const failure = failureOf(app)
    if (Exit.isSuccess(exit) || failure === undefined) return yield* exit
    const last = yield* recoverAlone(app, restarter, Exit.failCause(withoutInterrupts(failure)))
    if (Exit.isFailure(last)) app.host?.startFailed(last.cause, app)
    return yield* last
  })

const recoverAlone = (app: AppImpl, restarter: Restarter, exit: Started): Effect.Effect<Started> =>
  Effect.suspend(() => {
    const current = enter([app], stop(app, "its start failed"))
    const failed = { exit, took: 0, reason: undefined }
    return Effect.ensuring(recover(app, restarter, failed, current), leave(current))
  })

const makeBackoff = (): Backoff => ({ now: Deferred.makeUnsafe(), off: Deferred.makeUnsafe() })

const startNow = ({ now }: Backoff): void => void Deferred.doneUnsafe(now, Effect.void)

type Started = Exit.Exit<Context.Context<never>, unknown>

/** The end of an app: with which cause, how long it had been ready, and for which reason it was stopped, if it had started. */
interface Failed {
  readonly exit: Started
  readonly took: number
  readonly reason: string | undefined
}

/**
 * Starts an app that has failed, as late and as often as its policy says. Gives how its last start has ended; when another
 * restart has it by then, how that has ended.
 */
const recover = (
  app: AppImpl,
  restarter: Restarter,
  failed: Failed,
  current: Restart
): Effect.Effect<Started> =>
  Effect.gen(function*() {
    let last = failed
    while (!isOvertaken(app)) {
      if (app.restart !== current) {
        yield* untilSettled(app)
        return app.phase._tag === "Ready" ? Exit.succeed(app.output) : last.exit
      }
      const backoff = app.backoff ??= makeBackoff()
      // Somebody may have stopped it for good while it stopped, and while its schedule took its time.
      if (!hasFailed(app)) break
      const next = yield* nextOf(app, restarter, last)
      if (!hasFailed(app)) break
      if (next._tag !== "Again") {
        giveUp(app, next, last, current)
        break
      }
      tellRestart(app, next, last)
      // Nobody hears of that as a start: `AppRestarting` has told it.
      move(app, { _tag: "Waiting", since: now(app.clock) }, undefined)
      const waiting = app.phase
      const wait = Effect.andThen(
        Effect.raceFirst(pause(app, next.delay), Deferred.await(backoff.now)),
        dependenciesStarted(app)
      )
      yield* Effect.raceFirst(wait, Deferred.await(backoff.off))
      if (isOvertaken(app)) break
      if (app.phase !== waiting) {
        // Somebody else has stopped or started it meanwhile. That may have failed, too.
        app.backoff = undefined
        last = { exit: last.exit, took: 0, reason: undefined }
        continue
      }
      app.backoff = undefined
      app.restarts++
      restartsOf(app).updateUnsafe(1, app.context)
      current.waiting.delete(app)
      last = { exit: yield* Effect.exit(start(app)), took: 0, reason: undefined }
      if (Exit.isSuccess(last.exit)) break
      if (app.restart !== current) continue
      if (!hasFailed(app)) {
        sayStays(app, last.exit.cause, current)
        break
      }
      current.waiting.add(app)
    }
    if (app.restart === current) app.backoff = undefined
    return last.exit
  })

/** Where its start was refused, such as by what it depends on, it waits for nothing any more. */
const sayStays = (app: AppImpl, cause: Cause.Cause<unknown>, current: Restart): void => {
  if (app.phase._tag !== "Waiting") return
  const { message } = startFailure(app, cause)
  void stop(app, message)
  if (isOvertaken(app)) return
  say(app.context, "Error", `${message}; ${stayDown(app, current)}`, { app: app.path }, cause)
}

/** What was stopped with it does not start without it. Gives that in words. */
const stayDown = (app: AppImpl, current: Restart): string => {
  const others = [...current.waiting].filter((one) => one !== app && !isAlive(one)).toReversed()
  for (const { path } of others) {
    current.failures.push(new StartFailed({ app: path, problem: `it depends on ${app.path}, which stays down` }))
  }
  leaveDown(current)
  return others.length === 0
    ? "it stays down"
    : `it stays down, and with it ${others.map(({ path }) => path).join(", ")}`
}

const leaveDown = (current: Restart): void => {
  for (const app of current.waiting) settle(current, app)
}

/** What its policy says; one that throws is one that gives up. */
const nextOf = (app: AppImpl, restarter: Restarter, { exit, took }: Failed): Effect.Effect<Next> => {
  // A start that one of its tasks has stopped tells of the stop alone.
  const cause = failureOf(app)
  const failed = cause === undefined ? exit : Exit.failCause(withoutInterrupts(cause))
  return Effect.catchCause(restarter.next(failed, took), (defect) => {
    say(app.context, "Error", `The restart policy of app ${app.path} failed`, { app: app.path }, defect)
    return Effect.succeed(broken)
  })
}

/** Waits, and gives others their turn where there is nothing to wait for. */
const pause = ({ clock }: AppImpl, delay: number): Effect.Effect<void> =>
  delay === 0 ? Effect.yieldNow : until(clock, delay)

const restartsOf = ({ path }: AppImpl) =>
  Metric.counter("ambit_app_restarts_total", {
    description: "Restarts of an app by its policy",
    attributes: { app: path },
    incremental: true
  })

/** What has failed in a start; what has failed in a task is in the log by now. */
const untoldOf = ({ exit, reason }: Failed): Cause.Cause<unknown> | undefined =>
  reason === undefined && Exit.isFailure(exit) ? exit.cause : undefined

const tellRestart = (
  app: AppImpl,
  { cycle, delay }: Extract<Next, { readonly _tag: "Again" }>,
  failed: Failed
): void => {
  const { reason, took } = failed
  const { context, parent, path } = app
  const restart = app.restarts + 1
  const what = reason === undefined ? "failed to start" : `failed ${formatMillis(took)} after it was ready (${reason})`
  const when = delay === 0 ? "at once" : `in ${formatMillis(delay)}`
  const which = cycle === undefined ? `restart ${restart}` : `restart ${restart}, after cool-down ${cycle}`
  const used = cycle === undefined ? "" : "it has used up its restarts, and "
  say(
    context,
    "Error",
    `App ${path} ${what}; ${used}it starts again ${when} (${which})`,
    { app: path },
    untoldOf(failed)
  )
  if (parent !== undefined && listened(parent)) emit(parent, { _tag: "AppRestarting", path, restart, delay })
}

/** Its policy does not start it again. */
const giveUp = (
  app: AppImpl,
  next: Exclude<Next, { readonly _tag: "Again" }>,
  failed: Failed,
  current: Restart
): void => {
  const { host, isFirst, path, phase } = app
  if (next._tag === "Done" || phase._tag !== "Stopped" || phase.failure === undefined) return
  move(app, { _tag: "Failed", error: Cause.squash(phase.failure), report: phase.report }, app.parent)
  // The layer of one that has never been ready fails, and stops what it is part of.
  const stopsHost = next.last === "stopHost" && host !== undefined && !isFirst
  const problem = next.exhausted?.message ?? `${path} is not started again: ${next.why ?? "its policy is temporary"}`
  const consequence = isFirst ? "its layer fails" : stopsHost ? "the host stops" : stayDown(app, current)
  say(app.context, "Error", `App ${problem}; ${consequence}`, { app: path }, isFirst ? undefined : untoldOf(failed))
  if (!stopsHost) return
  leaveDown(current)
  const reason = `app ${path} ${next.exhausted === undefined ? "failed" : "has used up its restarts"}`
  host.requestStop({ reason, exitCode: undefined, failed: true })
}
