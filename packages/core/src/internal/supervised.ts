/**
 * A task whose effect is run again: run → turn → decision → wait → turn → run.
 *
 * Invariants
 * - Each run has a fiber of its own, and the next one begins when it has ended with all that it has forked. (Restart.test.ts)
 * - Once a stop has begun, nothing is run again. (Restart.test.ts, R5)
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import type { RestartExhausted } from "../RestartExhausted.ts"
import { formatMillis } from "../ShutdownReport.ts"
import type { RestartReason } from "../Task.ts"
import { now } from "./clock.ts"
import { sayFailure, tellFailure } from "./endTask.ts"
import { standsFor } from "./place.ts"
import { endOf, type Last, type Next } from "./restart.ts"
import { until } from "./runs.ts"
import { emit, listened, say } from "./say.ts"
import { CurrentTask, refusingScope, type Supervision, type TaskImpl } from "./state.ts"
import { timedOutIn } from "./timedOut.ts"
import { cleanUpOf } from "./timeLimit.ts"
import { turn } from "./turnstile.ts"

/** A group has asked the run to end, so that it can start again with others. */
export type Decision = Next | { readonly _tag: "Recalled" }

type Again = Extract<Decision, { readonly _tag: "Again" | "Recalled" }>

/** Who says what comes after a run. */
export interface Governor {
  /** The run that has begun, for those who may have to end it. */
  readonly began: (run: Fiber.Fiber<unknown, unknown>) => void
  readonly after: (exit: Exit.Exit<unknown, unknown>, took: number) => Effect.Effect<Decision>
  /** Waits until the next run may begin. */
  readonly wait: (task: TaskImpl, decision: Again) => Effect.Effect<void>
  /** What is said of a task that is not started again, where its settings do not say it. */
  readonly consequence: (last: Last) => string | undefined
}

/** Runs an effect in a fiber of its own, which ends with the one around. */
const ownRun = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { began }: Governor
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.callback<Exit.Exit<A, E>, never, R>((resume) => {
    const caller = Fiber.getCurrent()!
    const run = Effect.runForkWith(caller.context as Context.Context<R>)(effect)
    const exit = run.pollUnsafe()
    if (exit !== undefined) return resume(Effect.succeed(exit))
    began(run)
    standsFor.set(caller, run)
    run.addObserver((ended) => {
      standsFor.delete(caller)
      resume(Effect.succeed(ended))
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

    const run: Effect.Effect<A, E | RestartExhausted, R> = Effect.suspend(() => {
      const from = now(clock)
      return Effect.flatMap(ownRun(effect, governor), (exit) => {
        const took = now(clock) - from
        return Effect.flatMap(Effect.andThen(turn, decide(exit, took)), (decision) => act(decision, exit, took))
      })
    })

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
          const { exhausted, last } = decision
          supervision.last = {
            onFailure: last === "stopApp" || last === "stopHost" ? last : task.settings.onFailure,
            consequence: governor.consequence(last)
          }
          return exhausted === undefined ? exit : Effect.fail(exhausted)
        }
        case "Again":
          tellRestart(task, decision, exit, took, context)
          return again(decision)
        case "Recalled":
          return again(decision)
      }
    }

    const again = (decision: Again): Effect.Effect<A, E | RestartExhausted, R> => {
      const since = now(clock)
      const delay = decision._tag === "Again" ? decision.delay : 0
      supervision.waiting = { since, until: since + delay }
      return Effect.flatMap(Effect.andThen(governor.wait(task, decision), turn), () => {
        supervision.waiting = undefined
        // A stop that has begun meanwhile has this task among those it interrupts.
        if (refused()) return Effect.interrupt
        supervision.restarts++
        restartsOf(task).updateUnsafe(1, context)
        return run
      })
    }

    return run
  })

/** Waits as the schedule says. */
export const pause = (task: TaskImpl, decision: Again): Effect.Effect<void> =>
  decision._tag === "Recalled" ? Effect.void : until(task.scope.clock, decision.delay)

const restartsOf = ({ name, scope }: TaskImpl) =>
  Metric.counter("ambit_task_restarts_total", {
    description: "Restarts of the tasks of one name",
    attributes: { scope: scope.path, task: name },
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
    sayFailure(task, `Task ${path}`, exit.cause, took, consequence, context)
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

const reasonOf = (task: TaskImpl, exit: Exit.Exit<unknown, unknown>): RestartReason =>
  Exit.isFailure(exit) && timedOutIn(task, exit.cause) !== undefined ? "timedOut" : endOf(exit)
