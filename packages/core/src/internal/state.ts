/**
 * What a scope and a task know, and the one list that holds the tasks of a scope.
 *
 * Invariants
 * - A task goes Pending → Running → Stopping → Abandoned → Ended, or takes a
 *   shortcut to the right. A scope goes Open → Stopping → Closed.
 * - A task is in the list from before its first step until it has ended, also
 *   while it is abandoned. `live` counts those that are neither abandoned nor
 *   ended, `blocked` and `idling` some of these. (TaskScope.close.test.ts, TaskScope.idle.test.ts)
 * - Nothing leaves the list once the scope refuses new tasks, because it or one around
 *   it has left Open, so it is then the list of the report. All that enters is what the
 *   tasks in it leave behind: calls on threads, promises. (laws/closed.test.ts)
 * - A scope stays among the children of its parent until it is closed and nothing
 *   in it runs any more: what was given up stays listed. (TaskScope.close.test.ts)
 */
import type * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { HookReport, ShutdownReport, TaskKind, TaskOutcome } from "../ShutdownReport.ts"
import type { OnFailure, TaskEvent, TaskFailure, TaskStatus } from "../Task.ts"
import type { CallImpl } from "./calls.ts"
import { wallTimeOf } from "./clock.ts"
import type { Gate } from "./duplicates.ts"
import { joinPath, Names } from "./names.ts"
import type { Pace } from "./pace.ts"
import { shown } from "./shown.ts"

// -----------------------------------------------------------------------------
// Task
// -----------------------------------------------------------------------------

/** Where a task is in its life. Its exit is in its fiber. */
export type Phase =
  /** Spawned deferred, and its first step has not come. */
  | { readonly _tag: "Pending" }
  | { readonly _tag: "Running" }
  | {
    readonly _tag: "Stopping"
    readonly since: number
    /** The same on the clock of the deadlines. */
    readonly from: number
    readonly reason: string
    readonly begun: boolean
    /** How the last of the tasks ended that were asked to stop with this one. */
    lastEnd: Ended | undefined
  }
  | {
    readonly _tag: "Abandoned"
    readonly since: number
    readonly from: number
    readonly reason: string
    readonly at: number
    readonly place: string | undefined
  }
  | Ended

export interface Ended {
  readonly _tag: "Ended"
  readonly outcome: TaskOutcome
  readonly at: number
}

export const pending: Phase = { _tag: "Pending" }
export const running: Phase = { _tag: "Running" }

/** What a task keeps of its options; most tasks share `defaultSettings`. */
export interface Settings {
  readonly onFailure: OnFailure
  /** Milliseconds, or `undefined` to follow the scope. */
  readonly stopWithin: number | undefined
  /** Whether a stop interrupts it as soon as it is announced, and not only after hooks and drain. */
  readonly early: boolean
}

export const defaultSettings: Settings = { onFailure: "report", stopWithin: undefined, early: false }

// One for all tasks, so that a task that waits for no close costs no array.
const none: ReadonlyArray<never> = []

/** The run after which a policy does not start a task again. */
interface LastRun {
  readonly onFailure: OnFailure
  readonly consequence: string | undefined
  /** How long it took, in milliseconds. */
  readonly age: number
  /** Why its policy does not, for the log. */
  readonly why: string | undefined
}

/** The restarts of a task. */
export interface Supervision {
  restarts: number
  /** Since when it waits for the next one and until when, while it does. */
  waiting: { readonly since: number; readonly until: number } | undefined
  /** What its policy wants when it has come to its end; otherwise its settings say it. */
  last: LastRun | undefined
}

export const TaskTypeId = "~@ambit/core/Task"

export class TaskImpl<A = unknown, E = unknown> {
  readonly scope: ScopeImpl
  readonly name: string
  readonly ordinal: number
  readonly foreground: boolean
  readonly settings: Settings
  readonly startedAt: number
  phase: Phase
  /** Set as soon as the fork has returned, so not yet in the first step of the task; see `fork` in `spawn.ts`. */
  fiber!: Fiber.Fiber<A, E>
  /** The closes that this task is part of and that its fibers wait for. */
  closesAwaited: ReadonlyArray<ScopeImpl> = none
  /** How many of the fibers of this task wait in `awaitIdle`. */
  idlesAwaited = 0
  /** The call of a blocking function that this is, when its fiber has left it to its thread. */
  call: CallImpl | undefined = undefined
  /** What is known of its restarts, if it has a policy for them. */
  supervision: Supervision | undefined = undefined
  // The registry is a list through the tasks themselves: no hashing, no entry to allocate.
  previous: TaskImpl | undefined = undefined
  next: TaskImpl | undefined = undefined

  constructor(
    scope: ScopeImpl,
    name: string,
    ordinal: number,
    foreground: boolean,
    settings: Settings,
    startedAt: number,
    phase: Phase
  ) {
    this.scope = scope
    this.name = name
    this.ordinal = ordinal
    this.foreground = foreground
    this.settings = settings
    this.startedAt = startedAt
    this.phase = phase
  }

  get [TaskTypeId](): typeof TaskTypeId {
    return TaskTypeId
  }

  get path(): string {
    return joinPath(this.scope.path, this.name, this.ordinal)
  }

  get kind(): TaskKind {
    if (this.call !== undefined) return "blocking"
    return this.foreground ? "foreground" : "background"
  }

  get status(): TaskStatus<A, E> {
    const { clock } = this.scope
    const phase = this.phase
    switch (phase._tag) {
      case "Pending":
        return { _tag: "Pending", since: wallTimeOf(clock, this.startedAt) }
      case "Running": {
        const waiting = this.supervision?.waiting
        return waiting === undefined
          ? { _tag: "Running", since: wallTimeOf(clock, this.startedAt) }
          : {
            _tag: "Restarting",
            since: wallTimeOf(clock, waiting.since),
            startsAt: wallTimeOf(clock, waiting.until)
          }
      }
      case "Stopping":
        return { _tag: "Stopping", since: wallTimeOf(clock, phase.since), reason: phase.reason }
      case "Abandoned":
        return {
          _tag: "Abandoned",
          since: wallTimeOf(clock, phase.at),
          reason: phase.reason,
          place: phase.place
        }
      case "Ended":
        return {
          _tag: "Ended",
          exit: this.fiber.pollUnsafe()!,
          outcome: phase.outcome,
          after: phase.at - this.startedAt
        }
    }
  }

  get restarts(): number {
    return this.supervision?.restarts ?? 0
  }

  get await(): Effect.Effect<Exit.Exit<A, E>> {
    return this.fiber === undefined ? Effect.flatMap(fiberOf(this), Fiber.await) : Fiber.await(this.fiber)
  }

  get join(): Effect.Effect<A, E> {
    return this.fiber === undefined ? Effect.flatMap(fiberOf(this), Fiber.join) : Fiber.join(this.fiber)
  }

  interrupt(reason?: string): Effect.Effect<boolean> {
    return this.scope.interruptTask(this, shown(reason ?? "interrupted through its handle"))
  }
}

declare const queueMicrotask: (callback: () => void) => void

/**
 * The fiber of a task, for those who may meet it in its first step. That step runs
 * in the stack of the fork, so once the stack is empty the fiber is there.
 */
export const fiberOf = <A, E>(task: TaskImpl<A, E>): Effect.Effect<Fiber.Fiber<A, E>> =>
  Effect.callback((resume) => {
    const found = () => resume(Effect.succeed(task.fiber))
    if (task.fiber === undefined) queueMicrotask(found)
    else found()
  })

// -----------------------------------------------------------------------------
// Scope
// -----------------------------------------------------------------------------

export interface Stopping {
  readonly _tag: "Stopping"
  readonly reason: string
  readonly since: number
  /** The begin and the latest end on the clock of the deadlines. */
  readonly from: number
  readonly deadline: number
  /** When those are given up that have not ended, once they are asked to; not while hooks run and tasks are drained. */
  until: number | undefined
  /** Whether that was done: nothing is made or begun in it any more, not even for clean-up. */
  over: boolean
  /** What has become of the tasks so far. */
  readonly counts: Record<TaskOutcome, number>
  /** The children that were not closed when the stop began, newest first: the report tells of each of them. */
  readonly children: ReadonlyArray<ScopeImpl>
  /** What earlier stops of other children had given up and still ran when the stop began. */
  readonly leftovers: ReadonlyArray<TaskImpl>
  /** Children that were over by then, and of which somebody else tells. */
  readonly told: Pick<ReadonlyMap<ScopeImpl, unknown>, "has"> | undefined
  readonly done: Deferred.Deferred<ShutdownReport>
  /**
   * Completes before `done`, when all tasks that are left wait for this very
   * close in a finalizer. They go on with what is known by then.
   */
  readonly othersDone: Deferred.Deferred<void>
}

export type ScopeState =
  | { readonly _tag: "Open" }
  | Stopping
  | { readonly _tag: "Closed"; readonly report: ShutdownReport }

const open: ScopeState = { _tag: "Open" }

/** Who acts when a failing task asks for more than a report. */
export interface Owner {
  readonly path: string
  /** Whether there is a host to stop. */
  readonly host: boolean
  readonly stopApp: (reason: string, cause: Cause.Cause<unknown>) => void
  readonly stopHost: (reason: string, cause: Cause.Cause<unknown>) => void
}

/** Who is told the events of a scope, in the very call, and its end. It never throws. */
export interface Reader {
  readonly tell: (event: TaskEvent) => void
  readonly end: () => void
}

export const ScopeTypeId = "~@ambit/core/TaskScope"

export class ScopeImpl {
  readonly [ScopeTypeId] = ScopeTypeId
  readonly name: string
  readonly path: string
  readonly parent: ScopeImpl | undefined
  readonly clock: Clock.Clock
  /** That of the scope around, if there is one. */
  readonly pace: Pace
  /** The context the scope was made in: the loggers of everything it says. */
  readonly context: Context.Context<never>
  /** Milliseconds from interrupt to abandon. */
  readonly stopWithin: number
  readonly owner: Owner | undefined
  readonly defaultForeground: boolean
  /** What the handle of a task does to interrupt it; it stands here because the close stands above the state. */
  readonly interruptTask: (task: TaskImpl, reason: string) => Effect.Effect<boolean>
  state: ScopeState = open
  first: TaskImpl | undefined = undefined
  last: TaskImpl | undefined = undefined
  live = 0
  liveForeground = 0
  /** Tasks that were given up and have not ended. */
  abandoned = 0
  /** Tasks that wait for a close they are part of, by themselves or by way of another close. */
  blocked = 0
  /** Tasks of this scope that wait in `awaitIdle`, and so are not busy. */
  idling = 0
  idlingForeground = 0
  /** What the tasks spawned from one context have in common; see `sharedContext` in `spawn.ts`. */
  lastShared: { readonly from: Context.Context<never>; readonly context: Context.Context<never> } | undefined =
    undefined
  /** Tasks with a limit of their own; while there is none, nobody looks for them. */
  ownLimits = false
  /** Whether there may be tasks that a stop interrupts when it is announced: early ones, and those that wait for a restart. */
  earlyTasks = false
  /** What its tasks run on threads, or have left there. */
  firstCall: CallImpl | undefined = undefined
  lastCall: CallImpl | undefined = undefined
  readonly names = new Names()
  /** Where tasks wait for each other; while nobody asks for that, there is none. */
  gate: Gate | undefined = undefined
  /** How many times over its tasks are being asked to stop, in batches. */
  asking = 0
  /** Those that are not closed, and closed ones in which something given up still runs. */
  readonly children = new Set<ScopeImpl>()
  readonly waiters = new Set<() => void>()
  readonly failureHooks: Array<(failure: TaskFailure) => void> = []
  /** Who reads the events; nobody is `undefined`. */
  readers: Set<Reader> | undefined = undefined
  /** What happens as soon as the scope begins to stop, in the very call; nothing is `undefined`. */
  atStop: Set<() => void> | undefined = undefined
  /** Whether the failure of one task stops the others, as in `TaskScope.use`. */
  nursery = false
  /** Takes the scope out of the hands of what would close it later. */
  disown: (() => void) | undefined = undefined
  /** Whether the scope around waits for the tasks of this one to be idle; what `make` and `use` make stands apart. */
  readonly apart: boolean
  /** Whether it was made when the scope around was stopping already: it serves that one's clean-up. */
  readonly forCleanUp: boolean
  /** How the app stops that this scope belongs to; it begins in the very call. */
  stop: ((reason: string) => Effect.Effect<ShutdownReport>) | undefined = undefined
  /** What the hooks of that app have come to, as far as its stop has got. */
  hooks: ReadonlyArray<HookReport> = []
  /** When the stop of that app ends at the latest, once it has begun. */
  stopsBy = Infinity
  /** The tasks in it and in its children that its stop has interrupted before the stop of their own scope. */
  asked: Set<TaskImpl> | undefined = undefined
  /** Whether a stop of the scope around follows the stop of this one, and tells of its tasks. */
  followed = false
  /** Whether that app is stopping, or the host of the scope; it goes on when the scope is closed, and so do its events. */
  releasing = false

  constructor(options: {
    readonly name: string
    readonly path: string
    readonly parent: ScopeImpl | undefined
    readonly clock: Clock.Clock
    readonly pace: Pace
    readonly context: Context.Context<never>
    readonly stopWithin: number
    readonly owner: Owner | undefined
    readonly defaultForeground: boolean
    readonly apart: boolean
    readonly forCleanUp: boolean
    readonly interruptTask: (task: TaskImpl, reason: string) => Effect.Effect<boolean>
  }) {
    this.name = options.name
    this.path = options.path
    this.parent = options.parent
    this.clock = options.clock
    this.pace = options.pace
    this.context = options.context
    this.stopWithin = options.stopWithin
    this.owner = options.owner
    this.defaultForeground = options.defaultForeground
    this.apart = options.apart
    this.forCleanUp = options.forCleanUp
    this.interruptTask = options.interruptTask
  }
}

export const CurrentTask = Context.Reference<TaskImpl | undefined>("@ambit/core/internal/scope/CurrentTask", {
  defaultValue: () => undefined
})

/** For whom a fiber does something, and those it forks. A task that it spawns is on its own. */
export const CurrentErrand = Context.Reference<unknown>("@ambit/core/internal/scope/CurrentErrand", {
  defaultValue: () => undefined
})

export const CurrentScope = Context.Service<ScopeImpl>("@ambit/core/TaskScope")

/** The scope that work with this context belongs to: that of its task, or the one around. */
export const scopeIn = (context: Context.Context<never>): ScopeImpl | undefined =>
  Context.get(context, CurrentTask)?.scope ??
    Context.getOrUndefined(context as Context.Context<ScopeImpl>, CurrentScope)

/**
 * The scope that keeps new work out: `scope` itself, or a stopping or closed one
 * around it. An app does not mind what stops around it, since it works for others
 * while they stop, nor does a scope that was made for clean-up. But a task that
 * would be stopped `early`, when that is announced, does not begin any more.
 */
export const refusingScope = (scope: ScopeImpl, early = false): ScopeImpl | undefined => {
  let works = false
  let inApp = false
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (isShut(at, inApp) || (at.state._tag === "Stopping" && !works)) return at
    inApp ||= at.stop !== undefined
    if ((at.stop !== undefined && !early) || at.forCleanUp) works = true
  }
  return undefined
}

// Whether nothing begins in a scope any more, for those in it: an app in it that has not stopped has a time of its own.
const isShut = ({ state }: ScopeImpl, inApp: boolean): boolean =>
  state._tag === "Closed" || (state._tag === "Stopping" && state.over && !inApp)

/** The scope among `scope` and those around it that is closed, or has only its report left to make. */
export const closedScope = (scope: ScopeImpl | undefined): ScopeImpl | undefined => {
  let inApp = false
  for (let at = scope; at !== undefined; at = at.parent) {
    if (isShut(at, inApp)) return at
    inApp ||= at.stop !== undefined
  }
  return undefined
}

/** Whether `scope` is `ancestor` or inside it. */
export const isWithin = (scope: ScopeImpl | undefined, ancestor: ScopeImpl): boolean => {
  for (let at = scope; at !== undefined; at = at.parent) {
    if (at === ancestor) return true
  }
  return false
}

// -----------------------------------------------------------------------------
// The list
// -----------------------------------------------------------------------------

export const link = (scope: ScopeImpl, task: TaskImpl): void => {
  task.previous = scope.last
  if (scope.last === undefined) scope.first = task
  else scope.last.next = task
  scope.last = task
  scope.live++
  if (task.foreground) scope.liveForeground++
}

export const unlink = (scope: ScopeImpl, task: TaskImpl): void => {
  if (task.previous === undefined) scope.first = task.next
  else task.previous.next = task.next
  if (task.next === undefined) scope.last = task.previous
  else task.next.previous = task.previous
  task.previous = undefined
  task.next = undefined
}

/** Whether a task is in the list of its scope. */
export const isListed = (task: TaskImpl): boolean => task.previous !== undefined || task.scope.first === task

export const isLive = (task: TaskImpl): boolean => task.phase._tag !== "Ended" && task.phase._tag !== "Abandoned"

// `blocked` and `idling` count live tasks only, so a task takes its share of them along. Called before the phase moves.
export const leaveLive = (scope: ScopeImpl, task: TaskImpl): void => {
  scope.live--
  if (task.foreground) scope.liveForeground--
  if (task.closesAwaited.length > 0) scope.blocked--
  if (task.idlesAwaited > 0) countIdling(task, -1)
}

const countIdling = (task: TaskImpl, by: 1 | -1): void => {
  task.scope.idling += by
  if (task.foreground) task.scope.idlingForeground += by
}

/** Counts one more or one less wait of a task in `awaitIdle`. */
export const countIdleWait = (task: TaskImpl, by: 1 | -1): void => {
  const before = task.idlesAwaited
  task.idlesAwaited += by
  if ((before === 0 || task.idlesAwaited === 0) && isLive(task)) countIdling(task, by)
}

/** Counts one more or one less wait of a task for a close that it is part of. */
export const countCloseWait = (task: TaskImpl, awaited: ScopeImpl, by: 1 | -1): void => {
  const before = task.closesAwaited
  task.closesAwaited = by === 1 ? [...before, awaited] : before.toSpliced(before.indexOf(awaited), 1)
  if ((before.length === 0 || task.closesAwaited.length === 0) && isLive(task)) task.scope.blocked += by
}

/**
 * Waits in the name of a task. `count` is told of the begin, with which others may
 * have to look again, and of the end, however the wait ends.
 */
export const waitCounted = <A, E>(
  task: TaskImpl,
  count: (by: 1 | -1) => void,
  wait: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      count(1)
      notify(task.scope)
    }),
    () => wait,
    () => Effect.sync(() => count(-1))
  )

/** All in the list, oldest first: in a scope that is not open, also the tasks that have ended since. */
export const listOf = (scope: ScopeImpl): Array<TaskImpl> => {
  const tasks: Array<TaskImpl> = []
  for (let task = scope.first; task !== undefined; task = task.next) tasks.push(task)
  return tasks
}

/** The tasks of a scope that have not ended, oldest first. */
export const tasksOf = (scope: ScopeImpl): Array<TaskImpl> =>
  scope.live + scope.abandoned === 0 ? [] : listOf(scope).filter((task) => task.phase._tag !== "Ended")

/** The tasks of a scope and of every scope in it. */
export const allTasksOf = (scope: ScopeImpl): Array<TaskImpl> => {
  const tasks = tasksOf(scope)
  for (const child of scope.children) {
    // One by one: as the arguments of one call, 100,000 tasks would overflow the stack.
    for (const task of allTasksOf(child)) tasks.push(task)
  }
  return tasks
}

/** The calls of a scope, oldest first. */
export const callsOf = (scope: ScopeImpl): Array<CallImpl> => {
  const calls: Array<CallImpl> = []
  for (let call = scope.firstCall; call !== undefined; call = call.next) calls.push(call)
  return calls
}

/** The calls in a tree that nobody waits for. */
export const callsLeftIn = (scope: ScopeImpl): Array<CallImpl> => [
  ...callsOf(scope).filter((call) => call.task !== undefined),
  ...[...scope.children].flatMap(callsLeftIn)
]

/** Whether a scope is closed, and its app has stopped, if it has one. */
export const isOver = (scope: ScopeImpl): boolean => scope.state._tag === "Closed" && !scope.releasing

/** Lets go of a closed scope in which nothing runs any more, and of those around it that only waited for that. */
export const letGo = (scope: ScopeImpl): void => {
  for (let at = scope; at.parent !== undefined; at = at.parent) {
    if (!isOver(at) || at.abandoned > 0 || at.children.size > 0) return
    if (!at.parent.children.delete(at)) return
    at.parent.names.release(at.name)
  }
}

// -----------------------------------------------------------------------------
// Waiting for a change
// -----------------------------------------------------------------------------

/** Lets everybody look again who waits for something in the scope or around it. */
export const notify = (scope: ScopeImpl): void => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (at.waiters.size > 0) { for (const look of at.waiters) look() }
  }
}

/** Completes when `holds` does; it is asked whenever a task in the scope ends, is given up or begins to wait. */
export const untilHolds = (scope: ScopeImpl, holds: () => boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (holds()) return resume(Effect.void)
    const look = () => {
      if (!holds()) return
      scope.waiters.delete(look)
      resume(Effect.void)
    }
    scope.waiters.add(look)
    return Effect.sync(() => {
      scope.waiters.delete(look)
    })
  })
