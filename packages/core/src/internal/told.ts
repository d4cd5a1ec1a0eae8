/**
 * Which failures are in the log already, so that neither a job around the one that
 * failed says them again, nor the task that ends with them. (core/Job.test.ts)
 *
 * Effects that fail are values: one error, or even one reason of a cause, can fail
 * a hundred times, and each time is news. So a failure that was told goes on with
 * reasons of its own. A task ends only once, and knows its failures by their
 * error too, which survives a retry and a rethrow.
 */
import * as Cause from "effect/Cause"
import type { TaskImpl } from "./state.ts"

type Failure<E = unknown> = Cause.Fail<E> | Cause.Die

const told = new WeakSet<Failure>()
const toldIn = new WeakMap<TaskImpl, WeakSet<object>>()

/** What has failed in a cause; interruption is no failure. */
export const failuresOf = <E>(cause: Cause.Cause<E>): ReadonlyArray<Failure<E>> =>
  cause.reasons.filter((reason) => reason._tag !== "Interrupt")

/** The error that a reason holds. */
export const errorOf = (failure: Failure): unknown => failure._tag === "Fail" ? failure.error : failure.defect

const keyOf = (failure: Failure): object => {
  const error = errorOf(failure)
  return typeof error === "object" && error !== null ? error : failure
}

export const wasTold = (failure: Failure): boolean => told.has(failure)

export const wasToldIn = (task: TaskImpl, failure: Failure): boolean => toldIn.get(task)?.has(keyOf(failure)) === true

/** The cause with reasons of its own, which count as told, also in the task they may end. */
export const tell = <E>(task: TaskImpl | undefined, cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.fromReasons(cause.reasons.map((reason) => {
    if (reason._tag === "Interrupt") return reason
    const own = again(reason)
    told.add(own)
    if (task !== undefined) {
      const inTask = toldIn.get(task) ?? new WeakSet()
      toldIn.set(task, inTask)
      inTask.add(keyOf(own))
    }
    return own
  }))

const again = <E>(failure: Failure<E>): Failure<E> =>
  (failure._tag === "Fail" ? Cause.makeFailReason(failure.error) : Cause.makeDieReason(failure.defect))
    .annotate(Cause.reasonAnnotations(failure))
