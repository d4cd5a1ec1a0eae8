import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import { joinPath, takeOrdinal } from "./names.ts"
import { type Owner, ScopeImpl } from "./state.ts"
import { interruptTask } from "./stopTask.ts"

/** Makes a scope that stands by itself. The caller has checked name and limit, and closes it. */
export const makeScope = (options: {
  readonly name: string
  readonly path: string
  readonly parent: ScopeImpl | undefined
  readonly clock: Clock.Clock
  readonly context: Context.Context<never>
  readonly stopWithin: number
  readonly owner: Owner | undefined
  readonly defaultForeground: boolean
}): ScopeImpl => new ScopeImpl({ ...options, interruptTask })

/** Makes a scope that its parent stops with itself. The caller has checked name, limit and the parent's state. */
export const makeChild = (
  parent: ScopeImpl,
  name: string,
  stopWithin: number,
  own?: { readonly owner: Owner; readonly context: Context.Context<never>; readonly clock: Clock.Clock }
): ScopeImpl => {
  const ordinal = takeOrdinal(parent.names, name)
  const child = makeScope({
    name,
    path: joinPath(parent.path, name, ordinal),
    parent,
    clock: own?.clock ?? parent.clock,
    context: own?.context ?? parent.context,
    stopWithin,
    owner: own?.owner ?? parent.owner,
    defaultForeground: own === undefined && parent.defaultForeground
  })
  parent.children.add(child)
  return child
}
