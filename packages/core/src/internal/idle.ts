/**
 * Waiting until a scope and everything in it is idle.
 */
import * as Effect from "effect/Effect"
import {
  countIdleWait,
  CurrentTask,
  isLive,
  isWithin,
  type ScopeImpl,
  type TaskImpl,
  tasksOf,
  untilHolds,
  waitCounted
} from "./state.ts"

/** Whether nothing in the tree is busy; a task that itself waits in `awaitIdle` is not. */
const isIdle = (scope: ScopeImpl, background: boolean): boolean => {
  if (background ? scope.live > scope.idling : scope.liveForeground > scope.idlingForeground) return false
  for (const child of scope.children) {
    if (!child.apart && !isIdle(child, background)) return false
  }
  return true
}

/**
 * Waits until nothing in the tree is busy, and still is not a turn later: who
 * waited for the last task may start the next one.
 */
const quiet = (scope: ScopeImpl, background: boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    const holds = () => isIdle(scope, background)
    if (holds()) return Effect.void
    return Effect.andThen(Effect.andThen(untilHolds(scope, holds), Effect.yieldNow), quiet(scope, background))
  })

/** `quiet`, from outside or from a task inside, which then does not wait for itself. */
export const awaitQuiet = (scope: ScopeImpl, background: boolean): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const task = fiber.getRef(CurrentTask)
    if (task === undefined || !isWithin(task.scope, scope)) return quiet(scope, background)
    return waitCounted(task, (by) => countIdleWait(task, by), quiet(scope, background))
  })

const isBusy = (task: TaskImpl, background: boolean): boolean =>
  isLive(task) && task.idlesAwaited === 0 && (background || task.foreground)

/** The paths of what `awaitQuiet` waits for. */
export const busyPaths = (scope: ScopeImpl, background: boolean): Array<string> => [
  ...tasksOf(scope).filter((task) => isBusy(task, background)).map((task) => task.path),
  ...[...scope.children].filter((child) => !child.apart).flatMap((child) => busyPaths(child, background))
]
