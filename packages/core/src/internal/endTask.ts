/**
 * What the end of a task brings about: it leaves the list, a failure is said
 * and handled, waiters look again.
 *
 * Invariant: the exit observer never throws. A throwing observer would stop the
 * interrupts of the tasks after it.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import { RestartExhausted } from "../RestartExhausted.ts"
import { formatMillis, type TaskOutcome } from "../ShutdownReport.ts"
import type { OnFailure } from "../Task.ts"
import { now } from "./clock.ts"
import { startClose } from "./close.ts"
import { emit, listened, say } from "./say.ts"
import {
  type Ended,
  leaveLive,
  letGo,
  notify,
  type Phase,
  refusingScope,
  type ScopeImpl,
  type TaskImpl,
  unlink
} from "./state.ts"
import { keptBack, Throttle } from "./throttle.ts"
import { type TimedOut, timedOutIn } from "./timedOut.ts"
import { isTimeout } from "./timeouts.ts"
import { errorOf, failuresOf, wasToldIn } from "./told.ts"

const outcomeOf = (task: TaskImpl, exit: Exit.Exit<unknown, unknown>): TaskOutcome => {
  if (task.call !== undefined) return task.call.outcome
  if (Exit.isSuccess(exit)) return "completed"
  if (!Cause.hasInterruptsOnly(exit.cause)) return timedOutIn(task, exit.cause) === undefined ? "failed" : "timedOut"
  const phase = task.phase
  return phase._tag === "Pending" || (phase._tag === "Stopping" && !phase.begun) ? "neverStarted" : "interrupted"
}

/** Ends that are less than this many milliseconds apart are told as one moment. */
const momentMillis = 0.1

// A stop ends tasks by the thousand. If each of them kept an end of its own until the report is gone, the collector would
// take as long as the interrupts do.
const endOf = (before: Phase, outcome: TaskOutcome, at: number): Ended => {
  if (before._tag !== "Stopping") return { _tag: "Ended", outcome, at }
  const last = before.lastEnd
  if (last?.outcome === outcome && at - last.at < momentMillis) return last
  return before.lastEnd = { _tag: "Ended", outcome, at }
}

/** The one place that hears of the end of a task. */
export const observe = <A, E>(task: TaskImpl<A, E>, exit: Exit.Exit<A, E>, context: Context.Context<never>): void => {
  try {
    const scope = task.scope
    const before = task.phase
    const at = now(scope.clock)
    const outcome = outcomeOf(task, exit)
    if (before._tag === "Abandoned") scope.abandoned--
    else leaveLive(scope, task)
    task.phase = endOf(before, outcome, at)
    // After that no task takes a name any more, and the list is the report's.
    if (refusingScope(scope) === undefined) {
      unlink(scope, task)
      scope.names.release(task.name)
    } else if (scope.state._tag === "Stopping") {
      scope.state.counts[outcome]++
    }
    scope.gate?.left(task)
    if (before._tag === "Abandoned") {
      letGo(scope)
      sayLate(task, before.at, at, outcome, context)
    }
    if (Exit.isFailure(exit) && (outcome === "failed" || outcome === "timedOut")) {
      onFailure(task, exit.cause, at, context)
    }
    if (listened(scope)) {
      emit(scope, {
        _tag: "Ended",
        path: task.path,
        kind: task.kind,
        outcome,
        after: at - task.startedAt,
        late: before._tag === "Abandoned"
      })
    }
    notify(scope)
  } catch (defect) {
    // Only a bug of ours gets here. Throwing would stop the interrupts of the tasks after this one.
    say(task.scope.context, "Error", "Ambit failed to book the end of a task; please report it", {
      task: task.name
    }, Cause.die(defect))
  }
}

const sayLate = (
  task: TaskImpl,
  abandonedAt: number,
  at: number,
  outcome: TaskOutcome,
  context: Context.Context<never>
): void => {
  const late = formatMillis(at - abandonedAt)
  say(context, "Warn", `Task ${task.path} ended after all, ${late} after it was abandoned`, {
    task: task.path,
    late,
    outcome
  })
}

export const nurseryOf = (scope: ScopeImpl): ScopeImpl | undefined => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (at.nursery) return at
  }
  return undefined
}

/** What its restart policy wants counts, once that has spoken. */
const onFailureOf = ({ settings, supervision }: TaskImpl): OnFailure =>
  supervision?.last?.onFailure ?? settings.onFailure

const consequenceOf = (task: TaskImpl): string => {
  const { owner, state } = task.scope
  if (state._tag !== "Open") return "its scope is stopping anyway"
  const told = task.supervision?.last?.consequence
  if (told !== undefined) return told
  const onFailure = onFailureOf(task)
  switch (onFailure) {
    case "report": {
      const nursery = nurseryOf(task.scope)
      return nursery === undefined ? "everything else goes on" : `the body and the other tasks of ${nursery.path} stop`
    }
    case "ignore":
      return "everything else goes on"
    case "stopApp":
    case "stopHost":
      if (owner === undefined) return `scope ${task.scope.path} stops`
      return onFailure === "stopHost" && owner.host ? "the host stops" : `app ${owner.path} stops`
  }
}

/** Says what failed in a task, and what comes of it: the task itself, or one of its runs. */
export const sayFailure = (
  task: TaskImpl,
  what: string,
  cause: Cause.Cause<unknown>,
  millis: number,
  consequence: string,
  context: Context.Context<never>,
  /** Whether the consequence is news, too. */
  news = false
): void => {
  const path = task.path
  const age = formatMillis(millis)
  const ignored = onFailureOf(task) === "ignore"
  const timedOut = timedOutIn(task, cause)
  if (timedOut !== undefined) {
    const kept = said.turn(task.scope, task.name, now(task.scope.clock))
    const limit = formatMillis(timedOut.limit)
    return say(
      context,
      ignored || kept === undefined ? "Debug" : "Warn",
      `${what} timed out: it had not ended after ${limit}, its limit${stillBusy(task, timedOut)}; ` +
        `${consequence}${keptBack(kept ?? 0)}`,
      { task: path, limit, age, outcome: "timedOut", consequence }
    )
  }
  const failures = failuresOf(cause)
  // What a job of the task has said is not said twice, but what comes of it may be.
  const told = failures.every((failure) => wasToldIn(task, failure))
  const quiet = ignored || (told && !news)
  const whose = failures.some((failure) => isTimeout(errorOf(failure)))
    ? " by a timeout of its own code, not by a limit of the task"
    : ""
  say(
    context,
    quiet ? "Debug" : task.scope.state._tag === "Open" && !told ? "Error" : "Warn",
    `${what} failed after ${age}${whose}; ${consequence}`,
    { task: path, age, consequence },
    told && news ? undefined : cause
  )
}

const said = new Throttle<ScopeImpl>()

const stillBusy = (task: TaskImpl, { left }: TimedOut): string => {
  for (let call = task.scope.firstCall; call !== undefined; call = call.next) {
    if (call.task !== undefined && call.taskPath === task.path) return ", and a thread is still busy with it"
  }
  return left ? ", and it still cleans up" : ""
}

/** Tells the failure hooks and those who read the events; `restartsIn` is milliseconds. */
export const tellFailure = (
  task: TaskImpl,
  cause: Cause.Cause<unknown>,
  context: Context.Context<never>,
  restartsIn?: number
): void => {
  const { kind, path, scope } = task
  for (let of: ScopeImpl | undefined = scope; of !== undefined; of = of.parent) {
    for (const hook of of.failureHooks) {
      try {
        hook({ path, kind, cause, onFailure: onFailureOf(task), restartsIn })
      } catch (defect) {
        say(context, "Error", `A failure hook of ${of.path} threw on task ${path}; the next hook is still called`, {
          task: path
        }, Cause.die(defect))
      }
    }
  }
  if (listened(scope)) emit(scope, { _tag: "Failed", path, kind, cause })
}

const onFailure = (
  task: TaskImpl,
  cause: Cause.Cause<unknown>,
  at: number,
  context: Context.Context<never>
): void => {
  const { scope } = task
  const stopping = scope.state._tag !== "Open"
  const { age, why } = task.supervision?.last ?? { age: at - task.startedAt, why: undefined }
  const consequence = why === undefined || stopping ? consequenceOf(task) : `${why}, and ${consequenceOf(task)}`
  sayFailure(task, `Task ${task.path}`, cause, age, consequence, context)
  tellFailure(task, cause, context)
  if (stopping) return
  const policy = onFailureOf(task)
  switch (policy) {
    case "report":
    case "ignore":
      return
    case "stopApp":
    case "stopHost": {
      const reason = `task ${task.path} ${whatOf(task, cause)}`
      if (scope.owner === undefined) void startClose(scope, { reason })
      else scope.owner[policy](reason, cause)
    }
  }
}

const whatOf = (task: TaskImpl, cause: Cause.Cause<unknown>): string => {
  if (failuresOf(cause).some((failure) => errorOf(failure) instanceof RestartExhausted)) {
    return "has used up its restarts"
  }
  return timedOutIn(task, cause) === undefined ? "failed" : "timed out"
}
