import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { PoolImpl } from "./pool.ts"

type Status = ReturnType<PoolImpl["status"]>

/** Read when somebody looks, so that a call costs nothing for them. */
const gauges: ReadonlyArray<readonly [name: string, description: string, read: (status: Status) => number]> = [
  ["ambit_blocking_threads", "Threads that are up", ({ threads }) => threads],
  ["ambit_blocking_busy_threads", "Threads that run calls", ({ busy }) => busy],
  ["ambit_blocking_stuck_threads", "Threads that were ended and cannot be", ({ stuck }) => stuck],
  ["ambit_blocking_queued_calls", "Calls that have not begun", ({ queued }) => queued]
]

const counters: ReadonlyArray<readonly [name: string, description: string, read: (status: Status) => number]> = [
  ["ambit_blocking_completed_total", "Calls that returned", ({ completed }) => completed],
  ["ambit_blocking_failed_total", "Calls that failed", ({ failed }) => failed],
  ["ambit_blocking_cancelled_total", "Calls that nobody waited for any more", ({ cancelled }) => cancelled],
  ["ambit_blocking_timed_out_total", "Calls that took longer than their limit", ({ timedOut }) => timedOut],
  ["ambit_blocking_rejected_total", "Calls that found the queue full", ({ rejected }) => rejected],
  ["ambit_blocking_killed_threads_total", "Threads ended since a call did not stop", ({ killed }) => killed],
  ["ambit_blocking_died_threads_total", "Threads that ended by themselves", ({ died }) => died]
]

const unused = () => {}

/** Registers the metrics of a pool, and gives what removes them. */
export const registerMetrics = (pool: PoolImpl): Effect.Effect<Effect.Effect<void>> =>
  Effect.contextWith((context) =>
    Effect.sync(() => {
      const attributes = { pool: pool.settings.name }
      const registrations = [
        ...gauges.map(([name, description, read]) =>
          Metric.registerUnsafe(Metric.gauge(name, { description, attributes }), context, {
            get: () => ({ value: read(pool.status()) }),
            update: unused,
            modify: unused
          })
        ),
        ...counters.map(([name, description, read]) =>
          Metric.registerUnsafe(Metric.counter(name, { description, attributes, incremental: true }), context, {
            get: () => ({ count: read(pool.status()), incremental: true }),
            update: unused,
            modify: unused
          })
        )
      ]
      return Effect.sync(() => {
        for (const registration of registrations) registration.remove()
      })
    })
  )
