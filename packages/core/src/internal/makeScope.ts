import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import { Limits } from "../Limits.ts"
import { Gate, type Room } from "./duplicates.ts"
import { joinPath } from "./names.ts"
import { Pace } from "./pace.ts"
import { type Owner, refusingScope, ScopeImpl } from "./state.ts"
import { interruptTask } from "./stopTask.ts"

/**
 * Makes a scope, inside another one if there is one around: that one lists its
 * tasks and closes it with itself. The caller has checked name and limit, and that
 * nothing around is closed.
 */
export const makeScope = (options: {
  readonly name: string
  /** Where it is not simply the path of the parent and the name. */
  readonly path?: string
  readonly parent: ScopeImpl | undefined
  readonly clock: Clock.Clock
  /** Where it is neither that of the parent nor one of its own. */
  readonly pace?: Pace
  readonly context: Context.Context<never>
  readonly stopWithin: number
  readonly owner: Owner | undefined
  readonly defaultForeground: boolean
  readonly apart: boolean
  readonly room: Room | undefined
}): ScopeImpl => {
  const { name, parent } = options
  const forCleanUp = parent !== undefined && refusingScope(parent) !== undefined
  const ordinal = parent === undefined ? 1 : parent.names.take(name)
  const scope = new ScopeImpl({
    ...options,
    pace: options.pace ?? parent?.pace ?? new Pace(Context.get(options.context, Limits).extension ?? 0, true),
    path: options.path ?? joinPath(parent?.path ?? "", name, ordinal),
    forCleanUp,
    interruptTask
  })
  if (options.room !== undefined) scope.gate = new Gate(scope, options.room)
  parent?.names.keep(name)
  parent?.children.add(scope)
  return scope
}
