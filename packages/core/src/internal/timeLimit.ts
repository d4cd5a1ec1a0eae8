/**
 * Limits whose clock can stand.
 *
 * Running ⇄ Frozen, and → Held when it is due while a zone is at work inside of it, → Over when its body has ended or
 * it has fired.
 *
 * Invariants
 * - The clock of a limit runs exactly while nothing freezes it. (TimeLimit.test.ts, J2 and J6)
 * - A limit fires once, and never after its body has ended. (TimeLimit.test.ts, J4)
 * - Only a limit without a zone is ever held, and a zone elsewhere does not hold it. (TimeLimit.test.ts, J5 and J7)
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TimeLimitExceeded } from "../TimeLimitExceeded.ts"
import { leaveBehind } from "./calls.ts"
import { now } from "./clock.ts"
import { standsFor } from "./place.ts"
import { say } from "./say.ts"
import { CurrentTask, type ScopeImpl, scopeIn, type TaskImpl } from "./state.ts"
import { keepTimedOut } from "./timedOut.ts"
import { failuresOf } from "./told.ts"

type Phase =
  | { readonly _tag: "Running"; readonly since: number; readonly timer: Fiber.Fiber<void> | undefined }
  | { readonly _tag: "Frozen" }
  /** Due, and it fires when no zone is at work inside of it any more. */
  | { readonly _tag: "Held" }
  | { readonly _tag: "Over" }

/** The zones that some limits have in common: those of one tree of scopes, or without a scope those in one limit. */
interface Zones {
  /** How often each is frozen. */
  readonly frozen: Map<string, number>
  readonly limits: Set<LimitImpl>
}

const makeZones = (): Zones => ({ frozen: new Map(), limits: new Set() })

const zonesOfTree = new WeakMap<ScopeImpl, Zones>()

const zonesIn = (context: Context.Context<never>): Zones | undefined => {
  const limit = Context.get(context, CurrentLimit)
  if (limit !== undefined) return limit.zones
  let root = scopeIn(context)
  if (root === undefined) return undefined
  while (root.parent !== undefined) root = root.parent
  const zones = zonesOfTree.get(root) ?? makeZones()
  zonesOfTree.set(root, zones)
  return zones
}

class LimitImpl {
  readonly zone: string | undefined
  /** The nearest limit around that was not over when this one began, so that a chain of them does not grow for ever. */
  readonly around: LimitImpl | undefined
  readonly zones: Zones
  readonly clock: Clock.Clock
  onDue: () => void
  phase: Phase
  left: number
  /** How many stop its clock. */
  freezes: number
  /** How many zones are at work inside of it: limits with a zone and freezes of one. */
  working = 0

  constructor(context: Context.Context<never>, millis: number, zone: string | undefined, onDue: () => void) {
    this.zone = zone
    this.around = unfinished(Context.get(context, CurrentLimit))
    this.zones = zonesIn(context) ?? makeZones()
    this.clock = Context.get(context, Clock.Clock)
    this.onDue = onDue
    this.left = millis
    this.freezes = zone === undefined ? 0 : this.zones.frozen.get(zone) ?? 0
    this.phase = this.freezes > 0 ? frozen : { _tag: "Running", since: now(this.clock), timer: undefined }
  }
}

const frozen: Phase = { _tag: "Frozen" }
const held: Phase = { _tag: "Held" }
const over: Phase = { _tag: "Over" }

/** The limit that work belongs to, if any. `@ambit/node` knows it by its key. */
export const CurrentLimit = Context.Reference<LimitImpl | undefined>("@ambit/core/internal/timeLimit/CurrentLimit", {
  defaultValue: () => undefined
})

const unfinished = (limit: LimitImpl | undefined): LimitImpl | undefined => {
  let at = limit
  while (at?.phase._tag === "Over") at = at.around
  return at
}

// -----------------------------------------------------------------------------
// What moves a limit
// -----------------------------------------------------------------------------

const stopTimer = (limit: LimitImpl): void => {
  if (limit.phase._tag === "Running") limit.phase.timer?.interruptUnsafe()
}

const runClock = (limit: LimitImpl): void => {
  if (limit.left <= 0) return comeDue(limit)
  const since = now(limit.clock)
  // As in `waitUntil`: a limit is never cut short.
  const timer = Effect.runFork(limit.clock.sleep(Duration.millis(Math.ceil(limit.left - 1e-4))))
  limit.phase = { _tag: "Running", since, timer }
  timer.addObserver((exit) => {
    if (Exit.isFailure(exit)) return
    limit.left = 0
    comeDue(limit)
  })
}

const standStill = (limit: LimitImpl): void => {
  if (limit.phase._tag === "Running") limit.left -= now(limit.clock) - limit.phase.since
  stopTimer(limit)
  limit.phase = frozen
}

const comeDue = (limit: LimitImpl): void => {
  if (limit.working > 0 && limit.zone === undefined) limit.phase = held
  else fire(limit)
}

const fire = (limit: LimitImpl): void => {
  const { onDue } = limit
  end(limit)
  onDue()
}

/** Counts one more or one less who stops the clock of a limit. */
const countFreeze = (limit: LimitImpl, by: 1 | -1): void => {
  limit.freezes += by
  if (limit.phase._tag === "Over") return
  if (limit.freezes > 0) { if (limit.phase._tag !== "Frozen") standStill(limit) }
  else if (limit.phase._tag === "Frozen") runClock(limit)
}

/** Counts one more or one less zone that is at work in the limits from here on outwards. */
const countZone = (inner: LimitImpl | undefined, by: 1 | -1): void => {
  for (let at = inner; at !== undefined; at = at.around) {
    at.working += by
    if (at.working === 0 && at.phase._tag === "Held") fireNextTurn(at)
  }
}

// What comes after the zone has its turn first. When that is nothing, the body has ended by then, within its limit.
const fireNextTurn = (limit: LimitImpl): void => {
  Effect.runFork(Effect.yieldNow).addObserver(() => {
    if (limit.working === 0 && limit.phase._tag === "Held") fire(limit)
  })
}

const begin = (limit: LimitImpl): void => {
  if (limit.zone === undefined) return
  limit.zones.limits.add(limit)
  countZone(limit.around, 1)
}

const end = (limit: LimitImpl): void => {
  if (limit.phase._tag === "Over") return
  stopTimer(limit)
  limit.phase = over
  // A task that was spawned inside of it may live on, and has it in its context.
  limit.onDue = () => {}
  if (limit.zone === undefined) return
  limit.zones.limits.delete(limit)
  countZone(limit.around, -1)
}

// -----------------------------------------------------------------------------
// Freezing
// -----------------------------------------------------------------------------

const freezeAround = (inner: LimitImpl | undefined): () => void => {
  const limits: Array<LimitImpl> = []
  for (let at = inner; at !== undefined; at = at.around) limits.push(at)
  for (const limit of limits) countFreeze(limit, 1)
  return () => {
    for (const limit of limits) countFreeze(limit, -1)
  }
}

const freezeZone = (inner: LimitImpl | undefined, zones: Zones, zone: string): () => void => {
  const count = (by: 1 | -1) => {
    const times = (zones.frozen.get(zone) ?? 0) + by
    if (times === 0) zones.frozen.delete(zone)
    else zones.frozen.set(zone, times)
    for (const limit of Array.from(zones.limits)) if (limit.zone === zone) countFreeze(limit, by)
    countZone(inner, by)
  }
  count(1)
  return () => count(-1)
}

/** Runs an effect while the clocks of limits stand: of those of a zone, or of all around. */
export const freezing = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  zone: string | undefined
): Effect.Effect<A, E, R> =>
  Effect.withFiber(({ context }) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const inner = unfinished(Context.get(context, CurrentLimit))
        if (zone === undefined) return freezeAround(inner)
        const zones = zonesIn(context)
        return zones === undefined ? () => {} : freezeZone(inner, zones, zone)
      }),
      () => effect,
      (thaw) => Effect.sync(thaw)
    )
  )

// -----------------------------------------------------------------------------
// Limiting
// -----------------------------------------------------------------------------

/** What is limited, beside the effect. */
export interface Limited {
  readonly millis: number
  readonly zone?: string | undefined
  /** The task whose own limit it is. */
  readonly task?: TaskImpl | undefined
}

const exceeded = ({ millis, task, zone }: Limited): TimeLimitExceeded =>
  new TimeLimitExceeded({
    limit: millis,
    ...(zone === undefined ? {} : { zone }),
    ...(task === undefined ? {} : { task: task.path })
  })

/**
 * Runs an effect in a fiber of its own, and fails when it has not ended in time. It is interrupted then, and nobody
 * waits for what does not end at once: that is a task of the scope.
 */
export const limited = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  what: Limited
): Effect.Effect<A, E | TimeLimitExceeded, R> =>
  Effect.callback<A, E | TimeLimitExceeded, R>((resume) => {
    const caller = Fiber.getCurrent()!
    const context = caller.context as Context.Context<R>
    const startedAt = now(Context.get(context, Clock.Clock))

    let body: Fiber.Fiber<A, E> | undefined
    const limit = new LimitImpl(context, what.millis, what.zone, () => {
      // Due in its first step, by the thaw of a limit that is due already: there is no fiber to interrupt yet.
      if (body !== undefined) giveUp(body)
    })
    const giveUp = (running: Fiber.Fiber<A, E>): void => {
      if (standsFor.get(caller) === running) standsFor.delete(caller)
      interruptQuietly(running, caller.id)
      const left = running.pollUnsafe() === undefined
      if (left) leaveBody(running, context, startedAt, "(past its limit)", "its time limit has passed")
      sayLost(running, context, "its time limit")
      const error = exceeded(what)
      if (what.task !== undefined) keepTimedOut(error, what.task, left)
      resume(Effect.fail(error))
    }

    begin(limit)
    body = Effect.runForkWith(Context.add(context, CurrentLimit, limit))(effect)
    const exit = body.pollUnsafe()
    if (exit !== undefined) {
      end(limit)
      return resume(exit)
    }
    if (limit.phase._tag === "Over") return giveUp(body)
    standsFor.set(caller, body)
    body.addObserver((ended) => {
      if (standsFor.get(caller) === body) standsFor.delete(caller)
      if (limit.phase._tag === "Over") return
      end(limit)
      resume(ended)
    })
    if (limit.phase._tag === "Running" && limit.phase.timer === undefined) {
      standStill(limit)
      runClock(limit)
    }
    const running = body
    return Effect.suspend(() => {
      end(limit)
      return Effect.flatMap(Effect.andThen(Fiber.interrupt(running), Fiber.await(running)), cleanUpOf)
    })
  })

// An exit observer that somebody has put on the fiber may throw right here.
export const interruptQuietly = (body: Fiber.Fiber<unknown, unknown>, by: number | undefined): void => {
  try {
    body.interruptUnsafe(by)
  } catch (defect) {
    say(body.context, "Error", "An exit observer on a fiber that was interrupted threw", {}, Cause.die(defect))
  }
}

/** Makes a task of what was interrupted and has not ended. */
export const leaveBody = (
  body: Fiber.Fiber<unknown, unknown>,
  context: Context.Context<never>,
  startedAt: number,
  name: string,
  reason: string
): void => {
  const scope = scopeIn(context)
  if (scope === undefined) return
  const taskPath = Context.get(context, CurrentTask)?.path ?? scope.path
  const ending = Effect.andThen(Fiber.await(body), Effect.interrupt)
  const task = leaveBehind({ scope, taskPath, name, context, startedAt }, reason, ending)
  if (task !== undefined) standsFor.set(task.fiber, body)
}

// Nobody gets what fails from here on.
export const sayLost = (body: Fiber.Fiber<unknown, unknown>, context: Context.Context<never>, by: string): void => {
  body.addObserver((exit) => {
    if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return
    const task = Context.get(context, CurrentTask)?.path
    const where = task === undefined ? "" : ` in task ${task}`
    const message = `What was interrupted by ${by}${where} has failed, and nobody waits for it any more`
    say(context, "Warn", message, task === undefined ? {} : { task }, exit.cause)
  })
}

/** What failed in the clean-up of a body that was interrupted with its caller. */
export const cleanUpOf = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
  if (Exit.isSuccess(exit)) return Effect.void
  const lost = failuresOf(exit.cause)
  return lost.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons(lost) as Cause.Cause<never>)
}
