/**
 * A task whose effect is run again: run → turn → decision → wait → turn → run.
 *
 * Invariants
 * - Each run has a fiber of its own, and the next one begins when it has ended with all that it has forked. What its limit has
 *   ended is left behind by it. (Restart.test.ts)
 * - Once a stop has begun, nothing is run again. (Restart.test.ts, R5)
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import type { RestartExhausted } from "../RestartExhausted.ts"
import { formatMillis } from "../ShutdownReport.ts"
import type { OnFailure, RestartReason } from "../Task.ts"
import { now } from "./clock.ts"
import { sayFailure, tellFailure } from "./endTask.ts"
import { standsFor } from "./place.ts"
import { causeOf, endOf, type Last, type Next } from "./restart.ts"
import { until } from "./runs.ts"
import { emit, listened, say } from "./say.ts"
import { CurrentTask, refusingScope, type ScopeImpl, type Supervision, type TaskImpl } from "./state.ts"
import { timedOutIn } from "./timedOut.ts"
import { cleanUpOf, leaveBody, sayLost } from "./timeLimit.ts"
import { inTurn, turn } from "./turnstile.ts"

/** A group has asked the run to end, so that it can start again with others. */
export type Decision = Next | { readonly _tag: "Recalled"; readonly delay: number }

type Again = Extract<Decision, { readonly _tag: "Again" | "Recalled" }>

/** A run that has begun and not ended. */
export interface Run {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** Waits no longer for one that was interrupted. It is a task of its own from here on. */
  readonly leave: () => void
}

/** Who says what comes after a run. */
export interface Governor {
  /** For those who may have to end the run. */
  readonly began: (run: Run) => void
  readonly after: (exit: Exit.Exit<unknown, unknown>, took: number) => Effect.Effect<Decision>
  /** Waits until the next run may begin. */
  readonly wait: (task: TaskImpl, decision: Again) => Effect.Effect<void>
  /** What is said of a task that is not started again, where its settings do not say it. */
  readonly consequence: (last: Last) => string | undefined
}

/** A run that has ended, and how long it took. */
interface Ended<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly took: number
}

/**
 * Runs an effect in a fiber of its own, which ends with the one around. Gives how it has ended when it is time for what comes
 * next: of many that end together, only the fiber of the run goes on in the same moment.
 */
const ownRun = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  clock: Clock.Clock,
  { began }: Governor
): Effect.Effect<Ended<A, E>, never, R> =>
  Effect.callback<Ended<A, E>, never, R>((resume) => {
    const caller = Fiber.getCurrent()!
    const startedAt = now(clock)
    const run = Effect.runForkWith(caller.context as Context.Context<R>)(effect)
    let took = 0
    let left: Exit.Exit<A, E> | undefined
    // Made when the run begins, so that many that end in the same moment make nothing then.
    const goOn = () => {
      // A run that was left behind may end when the next one has begun.
      if (standsFor.get(caller) === run) standsFor.delete(caller)
      resume(Effect.succeed({ exit: left ?? run.pollUnsafe()!, took }))
    }
    const end = () => {
      took = now(clock) - startedAt
      inTurn(clock, goOn)
    }
    if (run.pollUnsafe() !== undefined) return end()
    standsFor.set(caller, run)
    run.addObserver(end)
    began({
      fiber: run,
      leave: () => {
        if (run.pollUnsafe() !== undefined) return
        leaveBody(run, caller.context, startedAt, "(old run)", "its group starts again")
        sayLost(run, caller.context, "its group")
        left = Exit.interrupt(caller.id)
        end()
      }
    })
    return Effect.flatMap(Effect.andThen(Fiber.interrupt(run), Fiber.await(run)), cleanUpOf)
  })

/** Runs an effect as long as its governor says so, and ends as the last run has, or with what was used up. */
export const supervised = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  governorOf: (task: TaskImpl) => Governor
): Effect.Effect<A, E | RestartExhausted, R> =>
  Effect.withFiber((fiber) => {
    const task = fiber.getRef(CurrentTask)!
    const { context } = fiber
    const { clock } = task.scope
    const governor = governorOf(task)
    const supervision: Supervision = task.supervision ??= { restarts: 0, waiting: undefined, last: undefined }
    task.scope.earlyTasks = true

    const refused = () => refusingScope(task.scope, true) !== undefined

    const run: Effect.Effect<A, E | RestartExhausted, R> = Effect.flatMap(
      ownRun(effect, clock, governor),
      ({ exit, took }) => Effect.flatMap(decide(exit, took), (decision) => act(decision, exit, took))
    )

    const decide = (exit: Exit.Exit<A, E>, took: number): Effect.Effect<Decision> =>
      Effect.suspend(() =>
        refused() ? Effect.succeed<Decision>({ _tag: "Done" }) : Effect.catchCause(
          governor.after(exit, took),
          // Its schedule or its verdict has failed. What the run has failed with is not lost by that.
          (cause) => Effect.failCause(Exit.isSuccess(exit) ? cause : Cause.combine(exit.cause as never, cause))
        )
      )

    const act = (
      decision: Decision,
      exit: Exit.Exit<A, E>,
      took: number
    ): Effect.Effect<A, E | RestartExhausted, R> => {
      switch (decision._tag) {
        case "Done":
          return exit
        case "Last": {
          const { exhausted, last, why } = decision
          supervision.last = {
            onFailure: policyOf(task, last),
            consequence: governor.consequence(last),
            age: took,
            why
          }
          return exhausted === undefined ? exit : Effect.failCause(causeOf(exhausted, exit))
        }
        case "Again":
          tellRestart(task, decision, exit, took, context)
          return again(decision)
        case "Recalled":
          tellRecall(task, decision.delay, exit, took, context)
          return again(decision)
      }
    }

    const again = (decision: Again): Effect.Effect<A, E | RestartExhausted, R> => {
      const since = now(clock)
      supervision.waiting = { since, until: since + decision.delay }
      return Effect.flatMap(Effect.andThen(governor.wait(task, decision), turn(clock)), () => {
        // A stop that has begun meanwhile has this task among those it interrupts.
        if (refused()) return Effect.interrupt
        countRestart(task.scope, supervision)
        return run
      })
    }

    return run
  })

const policyOf = (task: TaskImpl, last: Last): OnFailure => {
  switch (last) {
    case "giveUp":
      return task.settings.onFailure
    case "stopApp":
    case "stopHost":
      return last
    case "escalate":
      // The group fails with it, and is told.
      return "ignore"
  }
}

/** Waits as the schedule says. Where there is nothing to wait for, others have their turn all the same. */
export const pause = ({ scope }: TaskImpl, { delay }: Again): Effect.Effect<void> =>
  delay === 0 ? Effect.yieldNow : until(scope.clock, delay)

export const countRestart = (scope: ScopeImpl, supervision: Supervision): void => {
  supervision.waiting = undefined
  supervision.restarts++
  restartsIn(scope).updateUnsafe(1, scope.context)
}

// Not of each task: names may come and go, and a series stays.
const restartsIn = ({ path }: ScopeImpl) =>
  Metric.counter("ambit_task_restarts_total", {
    description: "Restarts of the tasks of a scope",
    attributes: { scope: path },
    incremental: true
  })

const tellRestart = (
  task: TaskImpl,
  { cycle, delay, end }: Extract<Next, { readonly _tag: "Again" }>,
  exit: Exit.Exit<unknown, unknown>,
  took: number,
  context: Context.Context<never>
): void => {
  const { kind, path, scope } = task
  const restart = task.restarts + 1
  const when = delay === 0 ? "at once" : `in ${formatMillis(delay)}`
  const which = cycle === undefined ? `restart ${restart}` : `restart ${restart}, after cool-down ${cycle}`
  const used = cycle === undefined ? "" : "it has used up its restarts, and "
  const consequence = `${used}it starts again ${when} (${which})`
  if (Exit.isFailure(exit) && end === "failed") {
    sayFailure(task, `Task ${path}`, exit.cause, took, consequence, context, true)
    tellFailure(task, exit.cause, context, delay)
  } else {
    const what = end === "returned" ? "returned" : "interrupted itself"
    say(
      context,
      "Warn",
      `Task ${path} ${what} after ${formatMillis(took)}, but it is permanent; ${consequence}`,
      { task: path, consequence }
    )
  }
  if (listened(scope)) emit(scope, { _tag: "Restarting", path, kind, reason: reasonOf(task, exit), restart, delay })
}

/** Of a task that starts again with its group. What it may have failed with on the way is not lost. */
const tellRecall = (
  task: TaskImpl,
  delay: number,
  exit: Exit.Exit<unknown, unknown>,
  took: number,
  context: Context.Context<never>
): void => {
  const { kind, path, scope } = task
  if (Exit.isFailure(exit) && endOf(exit) === "failed") {
    sayFailure(task, `Task ${path}`, exit.cause, took, "it starts again with its group", context)
    tellFailure(task, exit.cause, context, delay)
  }
  if (listened(scope)) {
    emit(scope, { _tag: "Restarting", path, kind, reason: "group", restart: task.restarts + 1, delay })
  }
}

const reasonOf = (task: TaskImpl, exit: Exit.Exit<unknown, unknown>): RestartReason =>
  Exit.isFailure(exit) && timedOutIn(task, exit.cause) !== undefined ? "timedOut" : endOf(exit)
