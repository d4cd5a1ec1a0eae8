/**
 * Waiting until a scope and everything in it is idle.
 */
import * as Effect from "effect/Effect"
import { allTasksOf, countIdling, CurrentTask, isLive, isWithin, notify, type ScopeImpl, untilHolds } from "./state.ts"

/** Whether nothing in the tree is busy; a task that itself waits in `awaitIdle` is not. */
const isIdle = (scope: ScopeImpl, background: boolean): boolean => {
  if (background ? scope.live > scope.idling : scope.liveForeground > scope.idlingForeground) return false
  for (const child of scope.children) {
    if (!isIdle(child, background)) return false
  }
  return true
}

/** Waits until nothing in the tree is busy, also not what was started by what ended last. */
const quiet = (scope: ScopeImpl, background: boolean): Effect.Effect<void> =>
  Effect.flatMap(
    untilHolds(scope, () => isIdle(scope, background)),
    () => isIdle(scope, background) ? Effect.void : quiet(scope, background)
  )

/** `quiet`, from outside or from a task inside, which then does not wait for itself. */
export const awaitQuiet = (scope: ScopeImpl, background: boolean): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const task = fiber.getRef(CurrentTask)
    if (task === undefined || !isWithin(task.scope, scope)) return quiet(scope, background)
    return Effect.ensuring(
      Effect.suspend(() => {
        if (++task.idlesAwaited === 1 && isLive(task)) countIdling(task, 1)
        notify(task.scope)
        return quiet(scope, background)
      }),
      Effect.sync(() => {
        if (--task.idlesAwaited === 0 && isLive(task)) countIdling(task, -1)
      })
    )
  })

/** The paths of what `awaitQuiet` waits for. */
export const busyPaths = (scope: ScopeImpl, background: boolean): Array<string> =>
  allTasksOf(scope)
    .filter((task) => (background || task.foreground) && task.phase._tag !== "Abandoned")
    .map((task) => task.path)
