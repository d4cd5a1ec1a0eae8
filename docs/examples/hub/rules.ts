/**
 * A small set of rules that says when something is out of the ordinary. All of it
 * is synchronous and runs in a thread of its own, so it loads no Effect.
 */
import * as Thread from "@ambit/node/Thread"

/** What the rules ask for. */
export const Readings = Thread.contract<{
  /** Shares of what the machine has, from 0 to 1, over the last minute. */
  lastMinute: () => { readonly cpu: number; readonly memory: number }
}>("readings")

export interface RulesConfig {
  /** From which share on a rule holds. */
  readonly limits: { readonly cpu: number; readonly memory: number }
  /** Milliseconds between two looks, or none. */
  readonly every?: number | undefined
}

interface State {
  readonly limits: RulesConfig["limits"]
  /** The rules that held at the last look. */
  holding: ReadonlySet<string>
}

/** Looks at the values, and gives what has changed since the last look. */
const look = (state: State): ReadonlyArray<string> => {
  const values = Thread.call(Readings, "lastMinute")
  const rules = ["cpu", "memory"] as const
  const holding = new Set<string>(rules.filter((rule) => values[rule] >= state.limits[rule]))
  const changes = rules.filter((rule) => holding.has(rule) !== state.holding.has(rule)).map((rule) =>
    holding.has(rule)
      ? `${rule} has been at ${Math.round(values[rule] * 100)}% for a minute`
      : `${rule} is back to ${Math.round(values[rule] * 100)}%`
  )
  state.holding = holding
  return changes
}

export const Rules = Thread.app(import.meta, "rules", {
  onStart: ({ every, limits }: RulesConfig): State => {
    const state: State = { limits, holding: new Set() }
    if (every !== undefined) {
      Thread.every(every, () => {
        for (const change of look(state)) Thread.log("Warn", change)
      })
    }
    return state
  },
  handlers: { look }
})
