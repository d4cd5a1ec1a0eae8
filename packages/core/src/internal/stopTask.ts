/**
 * Stopping single tasks: ask, wait up to a limit, give up.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { formatMillis } from "../ShutdownReport.ts"
import { moment, now, realNow, waitUntil } from "./clock.ts"
import { shares } from "./pace.ts"
import { placeOf } from "./place.ts"
import { emit, listened, say } from "./say.ts"
import { CurrentTask, fiberOf, leaveLive, notify, type Phase, type ScopeImpl, type TaskImpl } from "./state.ts"

/** The phases of all tasks that are asked in one go, so that asking 100,000 allocates two. */
interface StopPhases {
  readonly reason: string
  readonly begun: Phase
  readonly unbegun: Phase
}

const stopPhases = (reason: string, since: number, from: number): StopPhases => ({
  reason,
  begun: { _tag: "Stopping", since, from, reason, begun: true, lastEnd: undefined },
  unbegun: { _tag: "Stopping", since, from, reason, begun: false, lastEnd: undefined }
})

/**
 * Interrupts the fiber of a task. An exit observer that somebody else has put on it
 * may throw right here; that must not keep the tasks after it from being asked.
 */
export const interruptFiber = (task: TaskImpl, by: number | undefined): void => {
  try {
    task.fiber.interruptUnsafe(by)
  } catch (defect) {
    say(task.scope.context, "Error", `An exit observer on the fiber of task ${task.path} threw; the stop goes on`, {
      task: task.path
    }, Cause.die(defect))
  }
}

/** Interrupts a task, once. The fiber's finalizers begin in this very stack. */
const requestStop = (task: TaskImpl, phases: StopPhases, by: number | undefined): void => {
  const phase = task.phase
  if (phase._tag !== "Pending" && phase._tag !== "Running") return
  task.phase = phase._tag === "Running" ? phases.begun : phases.unbegun
  if (listened(task.scope)) {
    emit(task.scope, { _tag: "Stopping", path: task.path, kind: task.kind, reason: phases.reason })
  }
  // A task that is asked before its fork has returned has no fiber yet; `fork` then interrupts it.
  if (task.fiber !== undefined) interruptFiber(task, by)
}

/** Gives a task up: it is not waited for any more, but stays listed until it has ended. */
export const abandon = (task: TaskImpl, at: number): void => {
  const phase = task.phase
  if (phase._tag === "Ended" || phase._tag === "Abandoned") return
  leaveLive(task.scope, task)
  task.scope.abandoned++
  task.phase = {
    _tag: "Abandoned",
    since: phase._tag === "Stopping" ? phase.since : at,
    from: phase._tag === "Stopping" ? phase.from : task.scope.pace.moment(at),
    reason: phase._tag === "Stopping" ? phase.reason : "",
    at,
    place: task.call === undefined ? placeOf(task.fiber) : task.call.place
  }
  task.scope.gate?.left(task)
  if (listened(task.scope)) {
    emit(task.scope, { _tag: "Abandoned", path: task.path, kind: task.kind, place: task.phase.place })
  }
}

const limitOf = (task: TaskImpl): number => task.settings.stopWithin ?? task.scope.stopWithin

export const sayAbandoned = (task: TaskImpl): void => {
  const phase = task.phase
  if (phase._tag !== "Abandoned") return
  // What it was given, where a timer came a moment late.
  const given = limitOf(task) + task.scope.pace.grantedSince(phase.since, phase.from)
  const within = formatMillis(Math.min(phase.at - phase.since, given))
  const where = phase.place === undefined ? "" : ` at ${phase.place}`
  say(
    task.fiber.context,
    "Warn",
    `Task ${task.path} did not stop within ${within}; it is abandoned and may still run${where}`,
    { task: task.path, within, ...(phase.place === undefined ? {} : { place: phase.place }) }
  )
}

export const interruptTask = (task: TaskImpl, reason: string): Effect.Effect<boolean> =>
  Effect.withFiber((fiber) => {
    requestStop(task, stopPhases(reason, now(task.scope.clock), moment(task.scope)), fiber.id)
    // A task that interrupts itself must not wait for its own end.
    if (task.phase._tag === "Ended") return Effect.succeed(true)
    if (fiber.getRef(CurrentTask) === task) return Effect.as(Effect.yieldNow, false)
    const { clock } = task.scope
    const deadline = moment(task.scope) + limitOf(task)
    return Effect.map(
      waitUntil(Effect.flatMap(fiberOf(task), Fiber.await), task.scope, deadline, shares.tasks, () => 0),
      (end) => {
        if (end === "done" || task.fiber.pollUnsafe() !== undefined) return true
        if (task.phase._tag !== "Abandoned") {
          abandon(task, now(clock))
          sayAbandoned(task)
          notify(task.scope)
        }
        return false
      }
    )
  })

const batchCount = 256
const batchMillis = 4

const countAsking = (scope: ScopeImpl, by: 1 | -1): Effect.Effect<void> =>
  Effect.sync(() => {
    scope.asking += by
  })

/**
 * Interrupts many tasks without holding up the event loop: finalizers run in
 * the interrupting stack, so after 256 tasks or 4 real milliseconds the timers
 * and sockets get a turn.
 */
export const interruptAll = (
  next: () => TaskImpl | undefined,
  scope: ScopeImpl,
  reason: string,
  since: number
): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const phases = stopPhases(reason, since, scope.pace.moment(since))
    const batch: Effect.Effect<void> = Effect.suspend(() => {
      const begin = realNow()
      for (let count = 1; count <= batchCount; count++) {
        const task = next()
        if (task === undefined) return Effect.void
        requestStop(task, phases, fiber.id)
        if ((count & 7) === 0 && realNow() - begin > batchMillis) break
      }
      return Effect.flatMap(Effect.yieldNow, () => batch)
    })
    return Effect.acquireUseRelease(countAsking(scope, 1), () => batch, () => countAsking(scope, -1))
  })
