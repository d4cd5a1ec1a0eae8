/**
 * Waiting until a scope and everything in it is idle.
 */
import * as Effect from "effect/Effect"
import { allTasksOf, countIdling, CurrentTask, isLive, isWithin, notify, type ScopeImpl, untilHolds } from "./state.ts"

/** Whether anything in the scope itself is busy; a task that waits in `awaitIdle` is not. */
const isBusy = (scope: ScopeImpl, background: boolean): boolean =>
  background ? scope.live > scope.idling : scope.liveForeground > scope.idlingForeground

const busyScope = (scope: ScopeImpl, background: boolean): ScopeImpl | undefined => {
  if (isBusy(scope, background)) return scope
  for (const child of scope.children) {
    const busy = busyScope(child, background)
    if (busy !== undefined) return busy
  }
  return undefined
}

/** Waits until nothing in the tree is busy, also not what the last tasks started. */
const quiet = (scope: ScopeImpl, background: boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    const busy = busyScope(scope, background)
    if (busy === undefined) return Effect.void
    return Effect.flatMap(untilHolds(busy, () => !isBusy(busy, background)), () => quiet(scope, background))
  })

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
