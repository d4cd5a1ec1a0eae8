/**
 * The close of a scope.
 *
 * One fiber of its own walks it: refuse spawns, interrupt in batches, wait for
 * everything at once, give up what is left at the deadline, report. The
 * deadline is fixed before the first interrupt.
 *
 * Invariants
 * - `beginStop` and `finish` are the only places that move the state of a scope.
 * - A close waits for a task unless that task itself waits for this close and
 *   cannot be interrupted. (TaskScope.close.test.ts)
 * - A child never gets more time than its parent has left. (laws/close.test.ts)
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import { makeLazily, roundMillis, type ShutdownReport, type TaskReport } from "../ShutdownReport.ts"
import { now, type WaitEnd, waitUntil, wallTimeOf } from "./clock.ts"
import { addCounts, countsOf, noCounts } from "./counts.ts"
import { placeOf } from "./place.ts"
import { emit, listened, say } from "./say.ts"
import {
  countIdling,
  CurrentTask,
  isLive,
  isWithin,
  listOf,
  notify,
  type ScopeImpl,
  type Stopping,
  type TaskImpl,
  tasksOf,
  untilHolds
} from "./state.ts"
import { abandon, interruptAll, sayAbandoned } from "./stopTask.ts"

export interface CloseOptions {
  readonly reason?: string | undefined
  /** Milliseconds; the limit of the scope when absent. */
  readonly within?: number | undefined
  /**
   * Runs after new spawns are refused and before the first interrupt, and gives
   * the moment at which the tasks are given up. It must be bounded itself.
   */
  readonly before?: Effect.Effect<number> | undefined
}

/** The earliest deadline of the scopes around this one that are stopping. */
export const deadlineAround = (scope: ScopeImpl | undefined): number => {
  let deadline = Infinity
  for (let at = scope; at !== undefined; at = at.parent) {
    if (at.state._tag === "Stopping") deadline = Math.min(deadline, at.state.deadline)
  }
  return deadline
}

// Open → Stopping. From here on nothing enters.
export const beginStop = (scope: ScopeImpl, reason: string, within: number): Stopping => {
  const since = now(scope.clock)
  const state: Stopping = {
    _tag: "Stopping",
    reason,
    since,
    deadline: Math.min(since + within, deadlineAround(scope.parent)),
    counts: noCounts(),
    done: Deferred.makeUnsafe(),
    othersDone: Deferred.makeUnsafe()
  }
  scope.state = state
  notify(scope)
  if (listened(scope)) emit(scope, { _tag: "ScopeStopping", path: scope.path, reason })
  return state
}

// Stopping → Closed.
export const finish = (scope: ScopeImpl, state: Stopping, report: ShutdownReport): void => {
  scope.state = { _tag: "Closed", report }
  scope.names.clear()
  if (scope.parent?.children.delete(scope) === true) scope.parent.names.release(scope.name)
  if (listened(scope)) emit(scope, { _tag: "ScopeClosed", path: scope.path, report })
  if (scope.pubsub !== undefined) PubSub.endUnsafe(scope.pubsub, Exit.void)
  Deferred.doneUnsafe(state.othersDone, Effect.succeed(report))
  Deferred.doneUnsafe(state.done, Effect.succeed(report))
}

/**
 * Waits for a stop of `scope`, from outside or from a task inside.
 *
 * A task inside that can be interrupted is, and leaves. One that cannot, since it
 * waits in a finalizer, would wait for a close that waits for it. So it says that
 * it waits, and goes on when nobody else is left.
 */
export const awaitStopOf = (
  scope: ScopeImpl,
  done: Effect.Effect<ShutdownReport>
): Effect.Effect<ShutdownReport> =>
  Effect.withFiber((fiber) => {
    const task = fiber.getRef(CurrentTask)
    if (task === undefined || !isWithin(task.scope, scope)) return done
    return Effect.ensuring(
      Effect.suspend(() => {
        if (++task.closesAwaited === 1 && isLive(task)) task.scope.blocked++
        if (++task.idlesAwaited === 1 && isLive(task)) countIdling(task, 1)
        notify(task.scope)
        return Effect.raceFirst(done, othersDone(scope))
      }),
      Effect.sync(() => {
        if (--task.closesAwaited === 0 && isLive(task)) task.scope.blocked--
        if (--task.idlesAwaited === 0 && isLive(task)) countIdling(task, -1)
      })
    )
  })

// An app is stopping a moment before its scope is, so there may be nothing to look at yet.
const othersDone = (scope: ScopeImpl): Effect.Effect<ShutdownReport> =>
  Effect.suspend(() => {
    switch (scope.state._tag) {
      case "Open":
        return Effect.flatMap(untilHolds(scope, () => scope.state._tag !== "Open"), () => othersDone(scope))
      case "Stopping":
        return Deferred.await(scope.state.othersDone)
      case "Closed":
        return Effect.succeed(scope.state.report)
    }
  })

const allEnded = (scope: ScopeImpl): Effect.Effect<void> => untilHolds(scope, () => scope.live <= 0)

const othersEnded = (scope: ScopeImpl): Effect.Effect<void> => untilHolds(scope, () => scope.live - scope.blocked <= 0)

/** How many tasks in the scope and its children have neither ended nor been given up. */
export const liveWithin = (scope: ScopeImpl): number => {
  let live = scope.live
  for (const child of scope.children) live += liveWithin(child)
  return live
}

/** How many stragglers are logged one by one at a time; the report has them all. */
const loggedStragglers = 20

/** Gives up those of the tasks that are still live, and says so. */
const giveUp = (scope: ScopeImpl, tasks: ReadonlyArray<TaskImpl>): void => {
  const at = now(scope.clock)
  const stragglers = tasks.filter(isLive)
  for (const task of stragglers) abandon(task, at)
  for (const task of stragglers.slice(0, loggedStragglers)) sayAbandoned(task)
  const more = stragglers.length - loggedStragglers
  if (more > 0) {
    say(scope.context, "Warn", `${more} more tasks of ${scope.path} did not stop and are abandoned; see the report`, {
      scope: scope.path
    })
  }
  notify(scope)
}

// A parent whose time is over takes what is left of its children with it.
const giveUpTree = (scope: ScopeImpl, which: (task: TaskImpl) => boolean): void => {
  for (const child of scope.children) giveUpTree(child, which)
  if (scope.state._tag === "Stopping") giveUp(scope, tasksOf(scope).filter(which))
}

const waitsForClose = (task: TaskImpl): boolean => task.closesAwaited > 0

export const reportTask = (task: TaskImpl, since: number): TaskReport => {
  const phase = task.phase
  const identity = { path: task.path, kind: task.kind }
  if (phase._tag === "Ended") {
    const times = { age: roundMillis(phase.at - task.startedAt), took: roundMillis(phase.at - since) }
    const exit = task.fiber.pollUnsafe()
    if (phase.outcome !== "failed" || exit === undefined || Exit.isSuccess(exit)) {
      return { ...identity, outcome: phase.outcome, ...times }
    }
    return { ...identity, outcome: "failed", ...times, error: Cause.pretty(exit.cause) }
  }
  const at = phase._tag === "Abandoned" ? phase.at : now(task.scope.clock)
  const place = phase._tag === "Abandoned" ? phase.place : placeOf(task.fiber)
  return {
    ...identity,
    outcome: "abandoned",
    age: roundMillis(at - task.startedAt),
    took: roundMillis(at - since),
    ...(place === undefined ? {} : { place })
  }
}

// A child that belongs to an app is stopped as an app, with its hooks.
const stopChild = (child: ScopeImpl, reason: string): Effect.Effect<ShutdownReport> =>
  child.stop === undefined ? startClose(child, { reason }) : child.stop(reason)

// The list of a stopping scope does not change, so it can be walked while tasks end.
const inList = (scope: ScopeImpl): () => TaskImpl | undefined => {
  let next = scope.first
  return () => {
    const task = next
    next = task?.next
    return task
  }
}

const closer = (scope: ScopeImpl, state: Stopping, options: CloseOptions): Effect.Effect<void> =>
  Effect.gen(function*() {
    const { clock } = scope
    // A task that closes its own scope gets to wait for the report first, where the interrupt reaches it.
    yield* Effect.yieldNow
    const given = options.before === undefined ? Infinity : yield* options.before
    // Without a step before, the limit counts from the call, as the deadline does.
    const begin = options.before === undefined ? state.since : now(clock)
    const until = Math.min(state.deadline, begin + scope.stopWithin, given)

    const children = [...scope.children].toReversed()
    const closes = children.map((child) => stopChild(child, state.reason))
    yield* interruptAll(inList(scope), state.reason, begin)

    const ended = Effect.all([
      othersEnded(scope),
      ...children.map((child) => Effect.asVoid(othersDone(child))),
      Effect.sync(() => releaseBlocked(scope, state)),
      allEnded(scope),
      ...closes
    ], { discard: true })
    const stalled = yield* waitForAll(scope, until, ended)
    if (liveWithin(scope) > 0) {
      giveUpTree(scope, (task) => !waitsForClose(task))
      releaseBlocked(scope, state)
      // Those that only waited for this get a turn to end by themselves.
      yield* Effect.yieldNow
      giveUpTree(scope, () => true)
    }
    const reports = yield* Effect.all(closes)
    const report = makeReport(scope, state, reports)
    if (stalled) standstills.add(report)
    finish(scope, state, report)
  }).pipe(Effect.catchCause((cause) =>
    // Only a bug of ours gets here. Whoever waits for the close must not wait for ever.
    Effect.sync(() => {
      say(scope.context, "Error", `Ambit failed to close ${scope.path}; please report it`, { scope: scope.path }, cause)
      finish(scope, state, makeReport(scope, state, []))
    })
  ))

// Tells those that wait in a finalizer of a task inside, with the lines that stand by now.
const releaseBlocked = (scope: ScopeImpl, state: Stopping): void => {
  Deferred.doneUnsafe(
    state.othersDone,
    Effect.sync(() => {
      const standing = new Set(listOf(scope).filter((task) => !isLive(task)))
      return makeReport(scope, state, [], standing)
    })
  )
}

const makeReport = (
  scope: ScopeImpl,
  state: Stopping,
  children: ReadonlyArray<ShutdownReport>,
  standing?: ReadonlySet<TaskImpl>
): ShutdownReport => {
  const { clock } = scope
  const told = (task: TaskImpl) => standing === undefined || standing.has(task)
  // What has ended does not change any more, so its line can wait; a straggler is told as it is now.
  const stragglers = new Map<TaskImpl, TaskReport>()
  for (const task of tasksOf(scope).filter(told)) stragglers.set(task, reportTask(task, state.since))
  return makeLazily(
    {
      path: scope.path,
      reason: state.reason,
      startedAt: wallTimeOf(clock, state.since),
      took: roundMillis(now(clock) - state.since),
      budget: roundMillis(state.deadline - state.since),
      hooks: children.flatMap((child) => child.hooks),
      apps: children.flatMap((child) => child.apps)
    },
    () => [
      ...listOf(scope).filter(told).map((task) => stragglers.get(task) ?? reportTask(task, state.since)),
      ...children.flatMap((child) => child.tasks)
    ],
    standing === undefined
      ? addCounts({ ...state.counts, abandoned: stragglers.size }, countsOf(...children))
      : undefined
  )
}

// Waits in stages: to the earliest limit that a task has for itself, and at last to the deadline of the scope.
const waitForAll = (
  scope: ScopeImpl,
  until: number,
  ended: Effect.Effect<void>
): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const { clock } = scope
    const next = scope.ownLimits ? Math.min(until, nextOwnLimit(tasksOf(scope))) : until
    return Effect.flatMap(waitUntil(ended, clock, next, () => liveWithin(scope)), (end: WaitEnd) => {
      if (end === "done") return Effect.succeed(false)
      if (end === "standstill") return Effect.succeed(true)
      if (next >= until) return Effect.succeed(false)
      giveUp(scope, tasksOf(scope).filter((task) => ownLimitOf(task) <= next))
      return waitForAll(scope, until, ended)
    })
  })

// The moment at which a task with a limit of its own is given up; never, for one that has none, has ended, or only
// waits for the close.
const ownLimitOf = (task: TaskImpl): number =>
  task.settings.stopWithin !== undefined && task.phase._tag === "Stopping" && !waitsForClose(task)
    ? task.phase.since + task.settings.stopWithin
    : Infinity

const nextOwnLimit = (tasks: ReadonlyArray<TaskImpl>): number => {
  let next = Infinity
  for (const task of tasks) next = Math.min(next, ownLimitOf(task))
  return next
}

/** The reports of closes that ended because a virtual clock stood still. */
export const standstills = new WeakSet<ShutdownReport>()

export const endedByStandstill = (report: ShutdownReport): boolean => standstills.has(report)

/**
 * Begins the close in this very call and gives the wait for it. Nobody's
 * interruption stops a close: it runs in a fiber of its own.
 */
export const startClose = (scope: ScopeImpl, options: CloseOptions): Effect.Effect<ShutdownReport> => {
  const state = scope.state
  switch (state._tag) {
    case "Closed":
      return Effect.succeed(state.report)
    case "Stopping":
      return Deferred.await(state.done)
    case "Open": {
      const stopping = beginStop(scope, options.reason ?? "closed", options.within ?? scope.stopWithin)
      Effect.runForkWith(scope.context)(closer(scope, stopping, options))
      return Deferred.await(stopping.done)
    }
  }
}

export const close = (scope: ScopeImpl, options: CloseOptions): Effect.Effect<ShutdownReport> =>
  Effect.suspend(() =>
    // Closing the scope of an app is stopping the app. The app itself comes with `before`.
    scope.stop !== undefined && options.before === undefined
      ? scope.stop(options.reason ?? "closed")
      : awaitStopOf(scope, startClose(scope, options))
  )
