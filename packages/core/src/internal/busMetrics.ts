import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { HandlerStatus, TopicStatus } from "../Bus.ts"

const sum = ({ handlers }: TopicStatus, read: (handler: HandlerStatus) => number): number =>
  handlers.reduce((all, handler) => all + read(handler), 0)

/** Read when somebody looks, so that an event costs nothing for them. */
const gauges: ReadonlyArray<readonly [name: string, description: string, read: (status: TopicStatus) => number]> = [
  ["ambit_bus_handlers", "Handlers of a topic", ({ handlers }) => handlers.length],
  ["ambit_bus_running", "Runs of handlers", (status) => sum(status, ({ running }) => running)],
  ["ambit_bus_waiting", "Events that wait for a handler", (status) => sum(status, ({ waiting }) => waiting)]
]

const counters: ReadonlyArray<readonly [name: string, description: string, read: (status: TopicStatus) => number]> = [
  ["ambit_bus_published_total", "Events that were published", ({ published }) => published],
  ["ambit_bus_dropped_total", "Events that led to no run of a handler, counted for each", ({ dropped }) => dropped],
  ["ambit_bus_failed_total", "Runs of handlers that failed", ({ failed }) => failed]
]

const unused = () => {}

/** Registers the metrics of a topic, and gives what takes them away. */
export const registerMetrics = (
  topic: string,
  status: () => TopicStatus,
  context: Context.Context<never>
): () => void => {
  const attributes = { topic }
  const registrations = [
    ...gauges.map(([name, description, read]) =>
      Metric.registerUnsafe(Metric.gauge(name, { description, attributes }), context, {
        get: () => ({ value: read(status()) }),
        update: unused,
        modify: unused
      })
    ),
    ...counters.map(([name, description, read]) =>
      Metric.registerUnsafe(Metric.counter(name, { description, attributes, incremental: true }), context, {
        get: () => ({ count: read(status()), incremental: true }),
        update: unused,
        modify: unused
      })
    )
  ]
  return () => {
    for (const registration of registrations) registration.remove()
  }
}
