import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Gate } from "./duplicates.ts"

/** Read when somebody looks. */
const counters: ReadonlyArray<readonly [name: string, description: string, read: (gate: Gate) => number]> = [
  ["ambit_tasks_skipped_total", "Spawns that were given the task of that name", ({ drops }) => drops.skipped],
  ["ambit_tasks_replaced_total", "Tasks that were stopped for a newer one", ({ drops }) => drops.replaced],
  ["ambit_tasks_refused_total", "Tasks for which there was no room", ({ drops }) => drops.refused]
]

const unused = () => {}

/** Registers the metrics of a scope, and gives what takes them away. */
export const registerMetrics = (gate: Gate, context: Context.Context<never>): () => void => {
  const attributes = { scope: gate.scope.path }
  const waiting = Metric.gauge("ambit_tasks_waiting", {
    description: "Tasks that wait for others of their name or for a place in their scope",
    attributes
  })
  const registrations = [
    Metric.registerUnsafe(waiting, context, {
      get: () => ({ value: gate.waiting }),
      update: unused,
      modify: unused
    }),
    ...counters.map(([name, description, read]) =>
      Metric.registerUnsafe(Metric.counter(name, { description, attributes, incremental: true }), context, {
        get: () => ({ count: read(gate), incremental: true }),
        update: unused,
        modify: unused
      })
    )
  ]
  return () => {
    for (const registration of registrations) registration.remove()
  }
}
