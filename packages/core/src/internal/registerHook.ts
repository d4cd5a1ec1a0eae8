/**
 * How clean-up is registered with the app around.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { InvalidOption } from "../InvalidOption.ts"
import type { Limits } from "../Limits.ts"
import type { ScopeClosed } from "../ScopeClosed.ts"
import type { StopPhase } from "../ShutdownReport.ts"
import { type AppImpl, CurrentApp, lifeOf } from "./app.ts"
import { type Bound, checkLimit } from "./limit.ts"
import { checkName } from "./names.ts"
import { shown } from "./shown.ts"
import { refusalBy } from "./spawn.ts"
import { closedScope, CurrentScope, CurrentTask, refusingScope, type ScopeImpl } from "./state.ts"

// What an app does and says is its own, whatever task it was told in.
export const outsideOfTasks = (context: Context.Context<never>): Context.Context<never> => {
  if (Context.get(context, CurrentTask) === undefined) return context
  const { task: _, ...annotations } = Context.get(context, References.CurrentLogAnnotations)
  return context.pipe(
    Context.add(CurrentTask, undefined),
    Context.add(References.CurrentLogAnnotations, annotations)
  )
}

const appStop = ({ appStop }: Limits): Bound => ({ name: "stopWithin of its app", millis: appStop })

/** What a hook must fit into. */
const bounds: Record<StopPhase, (limits: Limits) => Bound> = {
  stopping: ({ announce }) => ({ name: "announce of the Limits", millis: announce }),
  draining: appStop,
  interrupting: appStop,
  finalWrite: ({ finalWrite }) => ({ name: "finalWrite of the Limits", millis: finalWrite }),
  closing: ({ closing }) => ({ name: "closing of the Limits", millis: closing })
}

/** The scope that keeps a new hook out. */
const refusing = (
  app: AppImpl,
  context: Context.Context<never>,
  phase: StopPhase | undefined
): ScopeImpl | undefined => {
  const life = lifeOf(app)
  // A start that was given up may run on when the app has started again; then its scope is closed.
  const closed = (life && refusingScope(life.scope)) ?? closedScope(Context.getOrUndefined(context, CurrentScope))
  if (closed !== undefined) return closed
  if (life === undefined) return Context.getOrUndefined(context, CurrentScope)
  // The phase has begun without it.
  const begun = phase !== undefined && app.host?.stopping?.phases.hasBegun(phase) === true
  return begun ? app.host?.root : undefined
}

/** Registers a hook with the app around: with its stop, or with a phase of it. */
export const registerHook = (
  name: string,
  hook: Effect.Effect<unknown, unknown, unknown>,
  within: Duration.Input | undefined,
  phase: StopPhase | undefined
): Effect.Effect<void, ScopeClosed | InvalidOption, AppImpl> =>
  Effect.gen(function*() {
    const app = yield* CurrentApp
    yield* Effect.fromResult(checkName(`a hook of app "${app.path}"`, name))
    const option = `hook "${name}" of app "${app.path}"`
    if (!Effect.isEffect(hook)) {
      return yield* new InvalidOption({
        option,
        value: shown(hook),
        problem: "a hook is an Effect",
        remedy: "Wrap a function in Effect.sync, or a promise in Effect.promise"
      })
    }
    const bound = (phase === undefined ? appStop : bounds[phase])(app.limits)
    const limit = within === undefined
      ? Math.min(app.limits.hookStop, bound.millis)
      : yield* Effect.fromResult(checkLimit(`within of ${option}`, within, bound))
    const context = yield* Effect.context()
    const path = `${app.path}/${name}`
    const closed = refusing(app, context, phase)
    if (closed !== undefined) return yield* refusalBy(closed, path)
    // A hook runs for the app, not for the task that registered it.
    const run = Effect.provideContext(
      Effect.annotateLogs(hook as Effect.Effect<unknown, unknown>, { hook: path }),
      outsideOfTasks(context)
    )
    const life = lifeOf(app)!
    ;(phase === undefined ? life.hooks : life.phaseHooks).push({ path, within: limit, run, phase })
  })
