/**
 * What a scope and a task know, and the one list that holds the tasks of a scope.
 *
 * Invariants
 * - A task goes Pending → Running → Stopping → Abandoned → Ended, or takes a
 *   shortcut to the right. A scope goes Open → Stopping → Closed.
 * - A task is in the list from before its first step until it has ended, also
 *   while it is abandoned. `live` counts those that are neither abandoned nor
 *   ended, `blocked` and `idling` some of these. (TaskScope.close.test.ts, TaskScope.idle.test.ts)
 * - Nothing enters or leaves the list once the scope has left Open, so it is then
 *   the list of the report. (laws/closed.test.ts)
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as PubSub from "effect/PubSub"
import type * as Take from "effect/Take"
import type { ShutdownReport, TaskOutcome } from "../ShutdownReport.ts"
import type { OnFailure, TaskEvent, TaskFailure, TaskStatus } from "../Task.ts"
import { wallTimeOf } from "./clock.ts"
import { joinPath, Names } from "./names.ts"

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
    readonly reason: string
    readonly begun: boolean
    /** How the last of the tasks ended that were asked to stop with this one. */
    lastEnd: Ended | undefined
  }
  | {
    readonly _tag: "Abandoned"
    readonly since: number
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
}

export const defaultSettings: Settings = { onFailure: "report", stopWithin: undefined }

export const TaskTypeId = "~@ambit/core/Task"

export class TaskImpl<A = unknown, E = unknown> {
  readonly scope: ScopeImpl
  readonly name: string
  readonly ordinal: number
  readonly foreground: boolean
  readonly settings: Settings
  readonly startedAt: number
  phase: Phase
  /** Set as soon as the fork has returned; see `fork` in `spawn.ts`. */
  fiber!: Fiber.Fiber<A, E>
  /** How many of the fibers of this task wait for a close that this task is part of. */
  closesAwaited = 0
  /** How many of the fibers of this task wait in `awaitIdle`. */
  idlesAwaited = 0
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

  get kind(): "foreground" | "background" {
    return this.foreground ? "foreground" : "background"
  }

  get status(): TaskStatus<A, E> {
    const { clock } = this.scope
    const phase = this.phase
    switch (phase._tag) {
      case "Pending":
        return { _tag: "Pending", since: wallTimeOf(clock, this.startedAt) }
      case "Running":
        return { _tag: "Running", since: wallTimeOf(clock, this.startedAt) }
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

  get await(): Effect.Effect<Exit.Exit<A, E>> {
    return Fiber.await(this.fiber)
  }

  get join(): Effect.Effect<A, E> {
    return Fiber.join(this.fiber)
  }

  interrupt(reason?: string): Effect.Effect<boolean> {
    return this.scope.interruptTask(this, reason ?? "interrupted through its handle")
  }
}

// -----------------------------------------------------------------------------
// Scope
// -----------------------------------------------------------------------------

export interface Stopping {
  readonly _tag: "Stopping"
  readonly reason: string
  readonly since: number
  readonly deadline: number
  /** What has become of the tasks so far. */
  readonly counts: Record<TaskOutcome, number>
  readonly done: Deferred.Deferred<ShutdownReport>
  /**
   * Completes before `done`, when all tasks that are left wait for this very
   * close in a finalizer. They go on with what is known by then.
   */
  readonly othersDone: Deferred.Deferred<ShutdownReport>
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
  readonly stopApp: (reason: string) => void
  readonly stopHost: (reason: string) => void
}

export const ScopeTypeId = "~@ambit/core/TaskScope"

export class ScopeImpl {
  readonly [ScopeTypeId] = ScopeTypeId
  readonly name: string
  readonly path: string
  readonly parent: ScopeImpl | undefined
  readonly clock: Clock.Clock
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
  /** Tasks that wait for a close they are part of. */
  blocked = 0
  /** Tasks of this scope that wait in `awaitIdle`, and so are not busy. */
  idling = 0
  idlingForeground = 0
  /** What the tasks spawned from one context have in common; see `sharedContext` in `spawn.ts`. */
  lastShared: { readonly from: Context.Context<never>; readonly context: Context.Context<never> } | undefined =
    undefined
  /** Tasks with a limit of their own; while there is none, nobody looks for them. */
  ownLimits = false
  readonly names = new Names()
  readonly children = new Set<ScopeImpl>()
  readonly waiters = new Set<() => void>()
  readonly failureHooks: Array<(failure: TaskFailure, task: TaskImpl) => void> = []
  pubsub: PubSub.PubSub<Take.Take<TaskEvent>> | undefined = undefined
  /** Whether the scope around waits for the tasks of this one to be idle; what `make` and `use` make stands apart. */
  readonly apart: boolean
  /** Whether it was made when the scope around was stopping already: it serves that one's clean-up. */
  readonly forCleanUp: boolean
  /** How the app stops that this scope belongs to; it begins in the very call. */
  stop: ((reason: string) => Effect.Effect<ShutdownReport>) | undefined = undefined

  constructor(options: {
    readonly name: string
    readonly path: string
    readonly parent: ScopeImpl | undefined
    readonly clock: Clock.Clock
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

export const CurrentScope = Context.Service<ScopeImpl>("@ambit/core/TaskScope")

/**
 * The scope that keeps new work out: `scope` itself, or a stopping one around it.
 * An app looks no further than itself, since it works for others while they stop,
 * and so does a scope that was made for clean-up.
 */
export const refusingScope = (scope: ScopeImpl): ScopeImpl | undefined => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (at.state._tag !== "Open") return at
    if (at.stop !== undefined || at.forCleanUp) return undefined
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

export const isLive = (task: TaskImpl): boolean => task.phase._tag !== "Ended" && task.phase._tag !== "Abandoned"

// `blocked` and `idling` count live tasks only, so a task takes its share of them along. Called before the phase moves.
export const leaveLive = (scope: ScopeImpl, task: TaskImpl): void => {
  scope.live--
  if (task.foreground) scope.liveForeground--
  if (task.closesAwaited > 0) scope.blocked--
  if (task.idlesAwaited > 0) countIdling(task, -1)
}

export const countIdling = (task: TaskImpl, by: 1 | -1): void => {
  task.scope.idling += by
  if (task.foreground) task.scope.idlingForeground += by
}

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
