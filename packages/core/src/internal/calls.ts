/**
 * The calls of blocking functions that the tasks of a scope have made.
 *
 * A fiber that waits for a thread is free as soon as it is interrupted, while
 * the thread may go on for a while. A scope waits for that too, so the call is
 * a member of the scope until no code of it runs any more.
 *
 * Invariants
 * - A call goes Waiting → Leaving → Abandoned → Ended, or takes a shortcut to
 *   the right. `moveTo` is the only place that moves it.
 * - `leaving` of a scope counts its calls that are Leaving: those that a close
 *   waits for beyond the tasks. (node/report.test.ts)
 */
import type * as Context from "effect/Context"
import { type CallEnd, type CallState, type Job } from "../Blocking.ts"
import { formatMillis, type TaskOutcome, type TaskReport } from "../ShutdownReport.ts"
import { now } from "./clock.ts"
import { say } from "./say.ts"
import { notify, type ScopeImpl } from "./state.ts"

export type CallPhase =
  | { readonly _tag: "Waiting" }
  | { readonly _tag: "Leaving" }
  | { readonly _tag: "Abandoned"; readonly at: number }
  | { readonly _tag: "Ended"; readonly at: number; readonly outcome: TaskOutcome }

const waiting: CallPhase = { _tag: "Waiting" }
const leaving: CallPhase = { _tag: "Leaving" }

export class CallImpl {
  readonly scope: ScopeImpl
  /** The path of the task that made the call, and the name of the call. */
  readonly taskPath: string
  readonly name: string
  readonly context: Context.Context<never>
  readonly startedAt: number
  job!: Job
  phase: CallPhase = waiting
  stack: string | undefined = undefined

  constructor(scope: ScopeImpl, taskPath: string, name: string, context: Context.Context<never>) {
    this.scope = scope
    this.taskPath = taskPath
    this.name = name
    this.context = context
    this.startedAt = now(scope.clock)
    scope.calls.add(this)
  }

  get path(): string {
    return `${this.taskPath}/${this.name}`
  }
}

const moveTo = (call: CallImpl, phase: CallPhase): void => {
  const { scope } = call
  if (call.phase._tag === "Leaving") scope.leaving--
  if (phase._tag === "Leaving") scope.leaving++
  call.phase = phase
  // The calls of a scope that stops are lines of its report.
  if (phase._tag === "Ended" && scope.state._tag === "Open") scope.calls.delete(call)
  if (phase._tag !== "Leaving") notify(scope)
}

/** The thread has answered the fiber that waits. */
export const answered = (call: CallImpl, well: boolean): void => {
  if (call.phase._tag !== "Waiting") return
  moveTo(call, { _tag: "Ended", at: now(call.scope.clock), outcome: well ? "completed" : "failed" })
}

/** The fiber does not wait any more; the thread gets at most as long as the scope has. */
export const leave = (call: CallImpl): void => {
  if (call.phase._tag !== "Waiting") return
  moveTo(call, leaving)
  call.job.cancel(timeLeft(call.scope))
}

/** A scope that has to end gives its threads the most of what it has left, and keeps some to end them. */
const keptBack = 0.2

const timeLeft = (scope: ScopeImpl): number => {
  let left = Infinity
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (at.state._tag === "Stopping") left = Math.min(left, at.state.deadline - now(at.clock), at.stopWithin)
  }
  return Math.max(0, left * (1 - keptBack))
}

const outcomes: Record<CallEnd["_tag"], TaskOutcome> = {
  NeverStarted: "neverStarted",
  Returned: "interrupted",
  Killed: "killed",
  Stuck: "abandoned"
}

/** What became of a call that nobody waits for. */
export const ended = (call: CallImpl, end: CallEnd): void => {
  const at = now(call.scope.clock)
  const before = call.phase
  if (before._tag === "Ended") return
  if ("stack" in end && end.stack !== undefined) call.stack = end.stack
  if (end._tag === "Stuck") {
    if (before._tag === "Leaving") moveTo(call, { _tag: "Abandoned", at })
    return
  }
  moveTo(call, { _tag: "Ended", at, outcome: outcomes[end._tag] })
  if (before._tag === "Abandoned") {
    say(
      call.context,
      "Warn",
      `Call ${call.path} ended after all, ${formatMillis(at - before.at)} after it was abandoned`,
      {
        call: call.path
      }
    )
  }
}

/** Gives up what the threads still run of a scope. */
export const giveUpCalls = (scope: ScopeImpl): void => {
  const at = now(scope.clock)
  for (const call of scope.calls) {
    if (call.phase._tag === "Leaving") moveTo(call, { _tag: "Abandoned", at })
  }
}

/** The line of a call in a report. */
export const reportCall = (call: CallImpl, since: number, round: (millis: number) => number): TaskReport => {
  const { phase, stack } = call
  const at = phase._tag === "Ended" || phase._tag === "Abandoned" ? phase.at : now(call.scope.clock)
  const place = stack?.split("\n")[0]?.trim()
  return {
    path: call.path,
    kind: "blocking",
    outcome: phase._tag === "Ended" ? phase.outcome : "abandoned",
    age: round(at - call.startedAt),
    took: round(at - since),
    ...(place === undefined ? {} : { place }),
    ...(stack === undefined ? {} : { stack })
  }
}

/** What a call is doing, for a look at everything alive. */
export const callState = (call: CallImpl): CallState => call.job.state()
