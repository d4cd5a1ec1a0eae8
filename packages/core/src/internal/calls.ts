/**
 * The calls of blocking functions that the tasks of a scope have made.
 *
 * A fiber that waits for a thread, or for a promise, is free as soon as it is
 * interrupted, while the work may go on for a while. From then on the work is a task
 * of the scope by itself: a close waits for it, gives it up and reports it like any
 * other.
 *
 * A fiber that cannot be interrupted waits on when its scope stops. It has until
 * the grace of the call must begin; then the call is cut off, and when that is
 * over the fiber goes on as if it had been interrupted.
 *
 * Invariants
 * - A call is in the list of its scope until no code of it runs any more, or a
 *   thread that cannot be ended has it. (node/report.test.ts)
 * - It is a task only while no fiber waits for its result.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { CallEnd, Job } from "../Blocking.ts"
import type { TaskOutcome } from "../ShutdownReport.ts"
import { moment, now } from "./clock.ts"
import { observeLater } from "./spawn.ts"
import { callsOf, CurrentTask, defaultSettings, link, notify, running, type ScopeImpl, TaskImpl } from "./state.ts"
import { abandon } from "./stopTask.ts"

export class CallImpl {
  /**
   * V8 forgets the shape of objects once none of them is left, and with it the code that was compiled for it. Here one is
   * always left, or the first thousands of calls after a pause would be as slow as the first of all.
   */
  static readonly kept = new CallImpl(undefined as never, "", "", Context.empty(), () => {}, 0.5)
  readonly scope: ScopeImpl
  readonly taskPath: string
  readonly name: string
  readonly context: Context.Context<never>
  readonly startedAt: number
  job!: Job
  outcome: TaskOutcome = "interrupted"
  /** Where the thread was when it was ended, or given up. */
  stack: string | undefined = undefined
  over = false
  /** Whether its fiber has left, or is about to: the call is cancelled then. */
  left = false
  /** Whether its thread was given up. */
  stuck = false
  /** The call as a task of its own, and how that ends. */
  task: TaskImpl | undefined = undefined
  end: (() => void) | undefined = undefined
  /** Lets a fiber go on that still waits. */
  private readonly resume: (effect: Effect.Effect<never>) => void
  /** Waits for the moment in which the call is cut off. */
  private waiting: Fiber.Fiber<void> | undefined = undefined
  // The calls of a scope are a list through themselves: a set that lives for long keeps dead calls from young collections.
  previous: CallImpl | undefined = undefined
  next: CallImpl | undefined = undefined
  listed = false

  constructor(
    scope: ScopeImpl,
    taskPath: string,
    name: string,
    context: Context.Context<never>,
    resume: (effect: Effect.Effect<never>) => void,
    startedAt: number
  ) {
    this.scope = scope
    this.taskPath = taskPath
    this.name = name
    this.context = context
    this.resume = resume
    this.startedAt = startedAt
  }

  /** The pool has taken it in. One without threads may have run the function in that very call. */
  begin(job: Job): void {
    this.job = job
    if (this.over) return
    const { scope } = this
    this.previous = scope.lastCall
    if (scope.lastCall === undefined) scope.firstCall = this
    else scope.lastCall.next = this
    scope.lastCall = this
    this.listed = true
  }

  get place(): string | undefined {
    return this.stack?.split("\n")[0]
  }

  /**
   * Cuts the call off as late as its grace allows, if its fiber waits on while the scope stops. One whose fiber has left
   * before may have a grace that is longer than what the scope has.
   */
  endInTime(): void {
    const { clock, context } = this.scope
    if (this.over || this.waiting !== undefined || !asksToStop(this.scope)) return
    if (this.left) return this.job.cancel(timeLeftOf(this))
    const left = timeLeftOf(this)
    const until = clock.sleep(Duration.millis(Math.max(left / 2, left - this.job.grace)))
    this.waiting = Effect.runForkWith(context)(Effect.map(until, () => this.cutOff()))
  }

  cutOff(): void {
    leaveWithin(this, timeLeftOf(this))
  }

  /** Lets a fiber go on that still waits, as if it had been interrupted. */
  free(): void {
    this.resume(Effect.interrupt)
  }

  waitNoMore(): void {
    this.waiting?.interruptUnsafe()
    this.waiting = undefined
  }
}

/** A call that begins. */
export const enter = (
  scope: ScopeImpl,
  taskPath: string,
  name: string,
  context: Context.Context<never>,
  resume: (effect: Effect.Effect<never>) => void
): CallImpl => new CallImpl(scope, taskPath, name, context, resume, now(scope.clock))

const leaveList = (call: CallImpl): void => {
  if (!call.listed) return
  const { next, previous, scope } = call
  if (previous === undefined) scope.firstCall = next
  else previous.next = next
  if (next === undefined) scope.lastCall = previous
  else next.previous = previous
  call.previous = undefined
  call.next = undefined
}

/** The thread has answered. The fiber may have left in the meantime, while the pool had other things to do. */
export const answered = (call: CallImpl): void => {
  if (call.over) return
  call.over = true
  call.waitNoMore()
  leaveList(call)
  call.end?.()
}

/** The fiber does not wait any more. */
export const leave = (call: CallImpl): void => leaveWithin(call, timeLeft(call.scope))

const leaveWithin = (call: CallImpl, within: number): void => {
  // A pool may have an answer in the very call that cancels, and so may a fiber that goes on with it.
  if (call.over || call.left) return
  call.left = true
  call.waitNoMore()
  call.job.cancel(within)
  // What had not begun is over by now.
  if (!call.over) becomeTask(call)
}

/** Ends what runs on threads without its grace, also what a fiber waits for that cannot be interrupted. */
export const killCalls = (scope: ScopeImpl): void => {
  for (const call of callsOf(scope)) {
    if (call.left) call.job.cancel(0)
    else call.cutOff()
  }
  for (const child of scope.children) killCalls(child)
}

/** A scope that has to end keeps some of its time to end threads, and gives the rest to what runs there. */
const keptBack = 0.2

const timeLeft = (scope: ScopeImpl): number => {
  // Who has lost patience waits for no clean-up.
  if (scope.pace.haste !== undefined) return 0
  let left = Infinity
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) left = Math.min(left, timeLeftIn(at))
  return Math.max(0, left * (1 - keptBack))
}

const timeLeftIn = (scope: ScopeImpl): number => {
  const { releasing, state, stopsBy, stopWithin } = scope
  switch (state._tag) {
    case "Open":
      return Infinity
    case "Stopping":
      return (state.until ?? Math.min(state.deadline, moment(scope) + stopWithin)) - moment(scope)
    case "Closed":
      // Its app may still release resources.
      return releasing ? stopsBy - moment(scope) : Infinity
  }
}

/** The time left for a call whose task is still there, and may have a limit of its own. */
const timeLeftOf = ({ context, scope }: CallImpl): number => {
  const task = Context.get(context, CurrentTask)
  const within = task?.settings.stopWithin
  const left = timeLeft(scope)
  if (within === undefined || task?.phase._tag !== "Stopping") return left
  return Math.max(0, Math.min(left, (task.phase.from + within - moment(scope)) * (1 - keptBack)))
}

/** Whether the tasks of a scope are asked to stop, or its resources released. Before that, hooks may call as they like. */
const asksToStop = ({ releasing, state }: ScopeImpl): boolean =>
  state._tag === "Stopping" ? state.until !== undefined : state._tag === "Closed" && releasing

const becomeTask = (call: CallImpl): void => {
  if (call.task !== undefined) return
  const ending = Effect.callback<void>((resume) => {
    call.end = () => resume(Effect.void)
  })
  const task = leaveBehind(call, "nobody waits for the call any more", ending)
  if (task === undefined) return
  task.call = call
  call.task = task
  giveUp(call)
}

const giveUp = ({ scope, stuck, task }: CallImpl): void => {
  if (!stuck || task === undefined) return
  abandon(task, now(scope.clock))
  notify(scope)
}

/** What was begun in the name of a task, or of a scope where there is none, and may outlive the fiber that waits for it. */
export interface Work {
  readonly scope: ScopeImpl
  readonly taskPath: string
  readonly name: string
  readonly context: Context.Context<never>
  readonly startedAt: number
}

/**
 * Makes a task of work whose fiber has left. `ending` ends with the work. A closed
 * scope takes none: its report is out, and the pool says what becomes of a thread.
 */
export const leaveBehind = (work: Work, reason: string, ending: Effect.Effect<void>): TaskImpl | undefined => {
  const { scope, taskPath } = work
  if (scope.state._tag === "Closed") return undefined
  const name = taskPath === scope.path ? work.name : `${taskPath.slice(scope.path.length + 1)}/${work.name}`
  const task = new TaskImpl(scope, name, scope.names.take(name), false, defaultSettings, work.startedAt, running)
  const since = now(scope.clock)
  task.phase = { _tag: "Stopping", since, from: scope.pace.moment(since), reason, begun: true, lastEnd: undefined }
  link(scope, task)
  scope.gate?.leftBehind(Context.get(work.context, CurrentTask), task)
  scope.names.keep(name)
  task.fiber = Effect.runForkWith(work.context)(ending, { uninterruptible: true })
  observeLater(task)
  return task
}

const outcomes: Record<CallEnd["_tag"], TaskOutcome> = {
  NeverStarted: "neverStarted",
  Returned: "interrupted",
  Killed: "killed",
  Stuck: "abandoned"
}

/** What became of a call that was cancelled. */
export const ended = (call: CallImpl, end: CallEnd): void => {
  if (call.over) return
  if ("stack" in end && end.stack !== undefined) call.stack = end.stack
  if (end._tag === "Stuck") {
    call.stuck = true
    giveUp(call)
    // Before its fiber goes on, or nothing would be left of it in the meantime.
    if (call.left) becomeTask(call)
    return call.free()
  }
  call.outcome = outcomes[end._tag]
  call.over = true
  call.waitNoMore()
  leaveList(call)
  call.end?.()
  call.free()
}
