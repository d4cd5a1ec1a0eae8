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
 * - What is alive in the tree when a close begins is in its report. (laws/close.test.ts)
 */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import {
  type AppReport,
  makeLazily,
  roundMillis,
  type ShutdownReport,
  type TaskOutcome,
  type TaskReport
} from "../ShutdownReport.ts"
import { moment, now, timeLeft, type WaitEnd, waitUntil, wallTimeOf } from "./clock.ts"
import { addCounts, countLines, countsOf, countTasks, noCounts } from "./counts.ts"
import { type Pace, shares } from "./pace.ts"
import { emit, endEvents, listened, say } from "./say.ts"
import { shown, shownCause } from "./shown.ts"
import {
  allTasksOf,
  callsLeftIn,
  callsOf,
  countCloseWait,
  countIdleWait,
  CurrentTask,
  isListed,
  isLive,
  isOver,
  isWithin,
  letGo,
  listOf,
  notify,
  refusingScope,
  type ScopeImpl,
  type Stopping,
  type TaskImpl,
  tasksOf,
  untilHolds,
  waitCounted
} from "./state.ts"
import { abandon, interruptAll, sayAbandoned } from "./stopTask.ts"

export interface CloseOptions {
  readonly reason?: string | undefined
  /** Milliseconds; the limit of the scope when absent. */
  readonly within?: number | undefined
  /**
   * Runs after new spawns are refused and before the first interrupt, and gives
   * the deadline at which the tasks are given up. It must be bounded itself.
   */
  readonly before?: Effect.Effect<number> | undefined
  /** Children that are over, and of which somebody else tells. */
  readonly told?: Stopping["told"]
}

/** The earliest deadline of the scopes around this one that are stopping. */
export const deadlineAround = (scope: ScopeImpl | undefined): number => {
  let deadline = Infinity
  for (let at = scope; at !== undefined; at = at.parent) {
    if (at.state._tag === "Stopping") deadline = Math.min(deadline, at.state.deadline)
  }
  return deadline
}

// What has ended since a scope around began to stop is part of the report.
const countsSoFar = (scope: ScopeImpl): Record<TaskOutcome, number> =>
  refusingScope(scope) === undefined ? noCounts() : countTasks(listOf(scope))

// Open → Stopping. From here on nothing enters.
export const beginStop = (scope: ScopeImpl, reason: string, within: number, told: Stopping["told"]): Stopping => {
  const since = now(scope.clock)
  const from = scope.pace.moment(since)
  const children: Array<ScopeImpl> = []
  const leftovers: Array<TaskImpl> = []
  for (const child of scope.children) {
    if (!isOver(child)) {
      child.followed = true
      children.push(child)
    } else if (told?.has(child) !== true) { for (const task of allTasksOf(child)) leftovers.push(task) }
  }
  const state: Stopping = {
    _tag: "Stopping",
    reason,
    since,
    from,
    deadline: Math.min(from + within, deadlineAround(scope.parent)),
    until: undefined,
    over: false,
    counts: countsSoFar(scope),
    children: children.toReversed(),
    leftovers,
    told,
    done: Deferred.makeUnsafe(),
    othersDone: Deferred.makeUnsafe()
  }
  scope.state = state
  scope.pace.stopBegins()
  for (const leave of scope.atStop ?? []) leave()
  notify(scope)
  if (listened(scope)) emit(scope, { _tag: "ScopeStopping", path: scope.path, reason })
  return state
}

// Stopping → Closed.
export const finish = (scope: ScopeImpl, state: Stopping, report: ShutdownReport): void => {
  scope.state = { _tag: "Closed", report }
  scope.pace.stopEnds()
  scope.names.clear()
  letGo(scope)
  // Who owns the scope still wants to hear that it hung.
  if (!standstills.has(report)) scope.disown?.()
  if (listened(scope)) emit(scope, { _tag: "ScopeClosed", path: scope.path, report })
  if (!scope.releasing) endEvents(scope)
  Deferred.doneUnsafe(state.othersDone, Effect.void)
  Deferred.doneUnsafe(state.done, Effect.succeed(report))
  notify(scope)
}

/**
 * Waits for a stop of `scope`, from outside or from a task inside.
 *
 * A task inside that can be interrupted is, and leaves. One that cannot, since it
 * waits in a finalizer, would wait for a close that waits for it. So it says that
 * it waits, and goes on when nobody else is left.
 *
 * A task outside says so when all that is left in `scope` waits for a close that
 * the task itself is part of: then that close waits for the task, too.
 */
export const awaitStopOf = <E = never>(
  scope: ScopeImpl,
  done: Effect.Effect<ShutdownReport, E>
): Effect.Effect<ShutdownReport, E> =>
  Effect.withFiber((fiber) => {
    const task = fiber.getRef(CurrentTask)
    if (task === undefined) return done
    if (!isWithin(task.scope, scope)) {
      return Effect.flatMap(heldUpBy(scope, task), (outer) =>
        outer === undefined ? done : waitCounted(task, (by) => countCloseWait(task, outer, by), done))
    }
    const count = (by: 1 | -1) => {
      countCloseWait(task, scope, by)
      countIdleWait(task, by)
    }
    const standing = Effect.map(othersDone(scope), () =>
      standingReport(scope))
    return waitCounted(task, count, Effect.raceFirst(done, standing))
  })

// Until everything in the scope has ended, or waits for a stop of a scope around it. An app that has dependents
// begins to stop when these have, so there may be nothing to look at yet.
const othersDone = (scope: ScopeImpl): Effect.Effect<void> =>
  Effect.suspend(() => {
    switch (scope.state._tag) {
      case "Open":
        return Effect.flatMap(untilHolds(scope, () => scope.state._tag !== "Open"), () => othersDone(scope))
      case "Stopping":
        return Deferred.await(scope.state.othersDone)
      case "Closed":
        return Effect.void
    }
  })

// The scope that the task is part of and whose close all wait for that are left in `scope`.
const closeInCommon = (scope: ScopeImpl, task: TaskImpl): ScopeImpl | undefined => {
  if (scope.live > scope.blocked) return undefined
  let common: ScopeImpl | undefined
  for (const left of allTasksOf(scope).filter(isLive)) {
    common = left.closesAwaited.find((awaited) => isWithin(task.scope, awaited))
    if (common === undefined) return undefined
  }
  return common
}

// Until the scope is closed (`undefined`), or what it waits for is a close that the task is part of.
const heldUpBy = (scope: ScopeImpl, task: TaskImpl): Effect.Effect<ScopeImpl | undefined> =>
  Effect.flatMap(othersDone(scope), () => {
    let common: ScopeImpl | undefined
    const holds = () => scope.state._tag === "Closed" || (common = closeInCommon(scope, task)) !== undefined
    return Effect.map(untilHolds(scope, holds), () => common)
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
  giveUp(scope, tasksOf(scope).filter(which))
}

const waitsForClose = (task: TaskImpl): boolean => task.closesAwaited.length > 0

// Where the thread of a call was when it was ended.
const stackOf = ({ call }: TaskImpl): { readonly place?: string; readonly stack?: string } =>
  call?.stack === undefined ? {} : { place: call.place!, stack: call.stack }

/** The line of a task; a live one has none yet. */
const reportTask = (task: TaskImpl, since: number): TaskReport | undefined => {
  const { phase } = task
  if (phase._tag !== "Ended" && phase._tag !== "Abandoned") return undefined
  const restarted = task.restarts === 0 ? {} : { restarts: task.restarts }
  const identity = { path: task.path, kind: task.kind, ...stackOf(task), ...restarted }
  const times = { age: roundMillis(phase.at - task.startedAt), took: roundMillis(phase.at - since) }
  if (phase._tag === "Abandoned") {
    return { ...identity, outcome: "abandoned", ...times, ...(phase.place === undefined ? {} : { place: phase.place }) }
  }
  const exit = task.fiber.pollUnsafe()
  const told = phase.outcome === "failed" || phase.outcome === "timedOut"
  return !told || exit === undefined || Exit.isSuccess(exit)
    ? { ...identity, outcome: phase.outcome, ...times }
    : { ...identity, outcome: phase.outcome, ...times, error: shownCause(exit.cause) }
}

/** The lines of some tasks. */
const reportTasks = (tasks: ReadonlyArray<TaskImpl>, since: number): Array<TaskReport> =>
  tasks.flatMap((task) => reportTask(task, since) ?? [])

/** The stop of a child, as its parent follows it. */
interface ChildStop {
  readonly scope: ScopeImpl
  /** Waits, and keeps the report. */
  readonly done: Effect.Effect<void>
  report: ShutdownReport | undefined
}

// A child that belongs to an app is stopped as an app, with its hooks. Who waits is no task, in whatever task the scope
// was made.
const stopChild = (child: ScopeImpl, reason: string): ChildStop => {
  child.followed = true
  const wait = child.stop === undefined
    ? startClose(child, { reason })
    : Effect.provideService(child.stop(reason), CurrentTask, undefined)
  const stop: ChildStop = {
    scope: child,
    report: undefined,
    done: Effect.map(wait, (report) => {
      stop.report = report
    })
  }
  return stop
}

// Whether a scope that is given up ends by itself. An app that began to stop earlier may have more time than its parent;
// a tenth of a microsecond is what floating point makes of the same deadline.
const endsBy = (scope: ScopeImpl, deadline: number): boolean =>
  scope.stop === undefined
    ? [...scope.children].every((child) => endsBy(child, deadline))
    : scope.stopsBy - deadline < 1e-4

// Also those that began too late to end in time: what is given up is at least told.
const endCalls = (scope: ScopeImpl): void => {
  for (const child of scope.children) endCalls(child)
  for (const call of callsOf(scope)) call.cutOff()
}

// The list of a stopping scope does not change, so it can be walked while tasks end.
const inList = (scope: ScopeImpl): () => TaskImpl | undefined => {
  let next = scope.first
  return () => {
    const task = next
    next = task?.next
    return task
  }
}

// Interrupts tasks of which some are in scopes that have not begun to stop, and does not wait. The report of `scope`
// tells of those that live at the call and that nobody else tells of.
const interruptApart = (scope: ScopeImpl, tasks: ReadonlyArray<TaskImpl>, reason: string): Effect.Effect<void> => {
  const live = tasks.filter(isLive)
  if (live.length === 0) return Effect.void
  const asked = scope.asked ??= new Set()
  for (const task of live) {
    asked.add(task)
    // Nobody gets its path any more.
    task.scope.names.take(task.name)
  }
  return Effect.suspend(() => {
    const next = live.values()
    return Effect.map(interruptAll(() => next.next().value, scope, reason, now(scope.clock)), () => {
      for (const { task } of callsLeftIn(scope)) if (task !== undefined) asked.add(task)
    })
  })
}

/** Gives the interrupt of all tasks of a tree that live at this call. It does not wait for them. */
export const interruptTree = (scope: ScopeImpl, reason: string): Effect.Effect<void> =>
  interruptApart(scope, allTasksOf(scope), reason)

/** As `interruptTree`, of those that want to stop as soon as the stop is announced. */
export const interruptEarly = (scope: ScopeImpl, reason: string): Effect.Effect<void> =>
  interruptApart(scope, earlyTasksOf(scope), reason)

// What waits for a restart does not begin any more, and there is nothing to wait for.
const isEarly = (task: TaskImpl): boolean => task.settings.early || task.supervision?.waiting !== undefined

const earlyTasksOf = (scope: ScopeImpl): Array<TaskImpl> => [
  ...(scope.earlyTasks ? tasksOf(scope).filter(isEarly) : []),
  ...[...scope.children].flatMap(earlyTasksOf)
]

const closer = (scope: ScopeImpl, state: Stopping, options: CloseOptions): Effect.Effect<void> =>
  Effect.gen(function*() {
    const { clock } = scope
    // A task that closes its own scope gets to wait for the report first, where the interrupt reaches it.
    yield* Effect.yieldNow
    const given = options.before === undefined ? Infinity : yield* options.before
    // Without a step before, the limit counts from the call, as the deadline does.
    const begin = options.before === undefined ? state.from : moment(scope)
    const until = Math.min(state.deadline, begin + scope.stopWithin, given)
    state.until = until

    const stops = new Map<ScopeImpl, ChildStop>()
    const stopAll = (children: Iterable<ScopeImpl>) => {
      for (const child of children) stops.set(child, stopChild(child, state.reason))
    }
    // The clean-up of a task may make a scope, which is left to it until the tasks have ended.
    const lateChildren = () => [...scope.children].filter((child) => !isOver(child) && !stops.has(child))
    stopAll(state.children)
    yield* interruptAll(inList(scope), scope, state.reason, options.before === undefined ? state.since : now(clock))
    // Those that have not left with their fibers.
    for (const call of callsOf(scope)) call.endInTime()

    const others = Effect.all([othersEnded(scope), ...state.children.map(othersDone)], { discard: true })
    const rest = Effect.gen(function*() {
      yield* allEnded(scope)
      do {
        stopAll(lateChildren())
        yield* Effect.forEach(stops.values(), (stop) => stop.done, { discard: true })
      } while (lateChildren().length > 0)
    })
    let end = yield* waitForAll(scope, until, others, undefined)
    if (end === "done") {
      releaseBlocked(state)
      // Mostly nothing is left, and then there is no timer to start.
      if (scope.live > 0 || stops.size > 0 || scope.children.size > 0) {
        end = yield* waitForAll(scope, until, rest, moment(scope))
      }
    }
    if (end !== "done") {
      stopAll(lateChildren())
      // An app that is still at its hooks, or waits for its dependents, has not asked its tasks yet.
      yield* interruptTree(scope, state.reason)
      endCalls(scope)
      giveUpTree(scope, (task) => !waitsForClose(task))
      releaseBlocked(state)
      // Those that only waited for this get a turn to end by themselves.
      yield* Effect.yieldNow
      // With what they have made for that.
      state.over = true
      stopAll(lateChildren())
      yield* interruptTree(scope, state.reason)
      giveUpTree(scope, () => true)
      const left = [...stops.values()].filter((stop) => stop.report === undefined)
      const sure = left.filter((stop) => endsBy(stop.scope, state.deadline)).map((stop) => stop.done)
      yield* Effect.all(sure, { discard: true })
      const slow = left.filter((stop) => stop.report === undefined).map((stop) => stop.done)
      if (slow.length > 0) {
        yield* waitUntil(Effect.all(slow), scope, state.deadline, shares.all, () => liveWithin(scope))
      }
    }
    const reports = [...stops.values()].map((stop) => stop.report ?? unfinishedReport(stop.scope, state))
    const report = makeReport(scope, state, reports, leftIn(scope, stops))
    if (end === "standstill" || reports.some((child) => standstills.has(child))) standstills.add(report)
    finish(scope, state, report)
  }).pipe(Effect.catchCause((cause) => rescue(scope, state, cause)))

// Only a bug of ours gets here. Whoever waits for the close must not wait for ever, and nothing may run on unsaid.
const rescue = (scope: ScopeImpl, state: Stopping, cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const report = {
    path: scope.path,
    reason: shown(state.reason),
    startedAt: 0,
    took: 0,
    budget: 0,
    hooks: [],
    apps: []
  }
  say(scope.context, "Error", `Ambit failed to close ${scope.path}; please report it`, { scope: scope.path }, cause)
  return Effect.ensuring(
    Effect.andThen(
      Effect.suspend(() => interruptTree(scope, state.reason)),
      Effect.sync(() => giveUpTree(scope, () => true))
    ),
    Effect.sync(() => finish(scope, state, makeLazily(report, () => standingLines(scope, state.since))))
  )
}

// Tells those that wait in a finalizer of a task inside.
const releaseBlocked = (state: Stopping): void => {
  Deferred.doneUnsafe(state.othersDone, Effect.void)
}

/** How much time a stop had in all, with what was granted since its begin. */
export const budgetOf = (pace: Pace, since: number, from: number, deadline: number): number =>
  roundMillis(deadline - from + pace.grantedSince(since, from))

const identityOf = (scope: ScopeImpl, state: Stopping) => ({
  path: scope.path,
  reason: state.reason,
  startedAt: wallTimeOf(scope.clock, state.since),
  took: roundMillis(now(scope.clock) - state.since),
  budget: budgetOf(scope.pace, state.since, state.from, state.deadline)
})

const makeReport = (
  scope: ScopeImpl,
  state: Stopping,
  children: ReadonlyArray<ShutdownReport>,
  left: ReadonlyArray<TaskImpl>
): ShutdownReport => {
  // What has ended does not change any more, so its line can wait; a straggler is told as it is now.
  const stragglers = new Map(tasksOf(scope).map((task) => [task, reportTask(task, state.since)]))
  const earlier = reportTasks(left, state.since)
  for (const task of left) toldApart.add(task)
  const apart = untold(scope)
  for (const task of apart) toldApart.add(task)
  const counts = [{ ...state.counts, abandoned: stragglers.size }, countsOf(...children), countTasks(apart)]
  return makeLazily(
    {
      ...identityOf(scope, state),
      hooks: children.flatMap((child) => child.hooks),
      apps: children.flatMap((child) => child.apps)
    },
    () => [
      ...listOf(scope).flatMap((task) => stragglers.get(task) ?? reportTask(task, state.since) ?? []),
      ...children.flatMap((child) => child.tasks),
      ...reportTasks(apart, state.since),
      ...earlier
    ],
    [...counts, countLines(earlier)].reduce(addCounts)
  )
}

// The tasks that children have left behind which are not among those that have `reported`.
const leftIn = (scope: ScopeImpl, reported: Pick<ReadonlySet<ScopeImpl>, "has">): Array<TaskImpl> => {
  const { leftovers, told } = scope.state._tag === "Stopping" ? scope.state : { leftovers: [] }
  const over = [...scope.children].filter((child) => isOver(child) && !reported.has(child) && told?.has(child) !== true)
  return [...new Set([...leftovers, ...over.flatMap(allTasksOf)])]
}

/** The tasks that a scope around their own has told of. */
const toldApart = new WeakSet<TaskImpl>()

// The tasks that the stop of a scope has interrupted and that have ended before the stop of their own scope, which would
// tell of them.
const untold = (scope: ScopeImpl): Array<TaskImpl> =>
  [...scope.asked ?? []].filter((task) => task.phase._tag === "Ended" && !isTold(task, scope))

// Whether a task is in the report of `around`, by way of the scopes between.
const isTold = (task: TaskImpl, around: ScopeImpl): boolean => {
  if (toldApart.has(task)) return true
  for (let at: ScopeImpl | undefined = task.scope; at !== undefined && at !== around; at = at.parent) {
    if (!at.followed) return false
  }
  return isListed(task)
}

// The lines of a scope and of what is in it, as far as they are known.
const standingLines = (scope: ScopeImpl, since: number): Array<TaskReport> => {
  const children = new Set(scope.state._tag === "Stopping" ? scope.state.children : [])
  for (const child of scope.children) if (!isOver(child)) children.add(child)
  return [
    ...reportTasks(listOf(scope), since),
    ...[...children].flatMap((child) => childLines(child, since)),
    ...reportTasks(leftIn(scope, children), since)
  ]
}

const childLines = (child: ScopeImpl, since: number): ReadonlyArray<TaskReport> =>
  child.state._tag === "Closed" ? child.state.report.tasks : standingLines(child, since)

// What is known by now, for those that the end waits for.
const standingReport = (scope: ScopeImpl): ShutdownReport => {
  if (scope.state._tag === "Closed") return scope.state.report
  const state = scope.state as Stopping
  const lines = standingLines(scope, state.since)
  return makeLazily({ ...identityOf(scope, state), hooks: [], apps: [] }, () => lines)
}

// What a parent tells of a child that takes longer than the parent has.
const unfinishedReport = (child: ScopeImpl, state: Stopping): ShutdownReport => {
  const lines = childLines(child, state.since)
  const identity = identityOf(child, state)
  const app: AppReport = {
    path: child.path,
    outcome: "failed",
    resources: "abandoned",
    took: identity.took,
    budget: identity.budget,
    error: "its stop takes longer than the scope around it has"
  }
  return makeLazily({ ...identity, hooks: [...child.hooks], apps: child.stop === undefined ? [] : [app] }, () => lines)
}

// Waits in stages: to the earliest limit that a task has for itself, and at last to the deadline of the scope.
// `released` is the moment at which those went on that waited for this close.
const waitForAll = (
  scope: ScopeImpl,
  until: number,
  ended: Effect.Effect<void>,
  released: number | undefined
): Effect.Effect<WaitEnd> =>
  Effect.suspend(() => {
    const next = scope.ownLimits ? Math.min(until, nextOwnLimit(tasksOf(scope), released)) : until
    return Effect.flatMap(waitUntil(ended, scope, next, shares.tasks, () => liveWithin(scope)), (end) => {
      // With haste the time of the scope may be over before the limit of the task is.
      if (end !== "deadline" || next >= until || timeLeft(scope, until, shares.tasks) === 0) return Effect.succeed(end)
      giveUp(scope, tasksOf(scope).filter((task) => ownLimitOf(task, released) <= next))
      return waitForAll(scope, until, ended, released)
    })
  })

// The moment at which a task with a limit of its own is given up; never, for one that has none, has ended, or only
// waits for a close. The limit of one that waited for this close counts anew from when it went on.
const ownLimitOf = (task: TaskImpl, released: number | undefined): number => {
  const { phase, settings } = task
  if (settings.stopWithin === undefined || phase._tag !== "Stopping") return Infinity
  const waits = released === undefined
    ? waitsForClose(task)
    : task.closesAwaited.some((awaited) => awaited !== task.scope)
  return waits ? Infinity : Math.max(phase.from, released ?? phase.from) + settings.stopWithin
}

const nextOwnLimit = (tasks: ReadonlyArray<TaskImpl>, released: number | undefined): number => {
  let next = Infinity
  for (const task of tasks) next = Math.min(next, ownLimitOf(task, released))
  return next
}

/** The reports of closes that ended because a virtual clock stood still. */
export const standstills = new WeakSet<ShutdownReport>()

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
      const stopping = beginStop(scope, options.reason ?? "closed", options.within ?? scope.stopWithin, options.told)
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
