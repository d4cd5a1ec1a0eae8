/**
 * Tables of medians in Markdown. A column that has a base is followed by the
 * ratio to it: of the medians, and in brackets the least and the greatest of
 * the rounds, each against the base in the same round.
 */
import { type Candidate, closeBase, spawnBase } from "./candidates.ts"
import { ratioCell, render } from "./markdown.ts"
import type { Figures, Metric } from "./measure.ts"
import type { Measured } from "./rounds.ts"
import { median } from "./statistics.ts"

interface Column {
  readonly title: string
  readonly metric: Metric
  readonly digits: number
  readonly base?: Candidate
}

interface Table {
  readonly title: string
  readonly columns: ReadonlyArray<Column>
}

const tables: ReadonlyArray<Table> = [
  {
    title: `Spawning tasks that end at once, and tasks that wait for ever. ×: against ${spawnBase.name}`,
    columns: [
      { title: "complete, µs", metric: "complete", digits: 2, base: spawnBase },
      { title: "park, µs", metric: "park", digits: 2, base: spawnBase },
      { title: "bytes a parked task", metric: "bytes", digits: 0 }
    ]
  },
  {
    title: `Closing on tasks that wait for ever, and on tasks that sleep. ×: against ${closeBase.name}`,
    columns: [
      { title: "parked, µs", metric: "close", digits: 2, base: closeBase },
      { title: "longest stall, ms", metric: "closeStall", digits: 1 },
      { title: "sleeping, µs", metric: "closeSleeping", digits: 2, base: closeBase },
      { title: "longest stall, ms", metric: "closeSleepingStall", digits: 1 }
    ]
  },
  {
    title: "Waiting until all tasks have ended",
    columns: [
      { title: "end while awaited, µs a task", metric: "end", digits: 2 },
      { title: "last end to waiter, µs", metric: "wake", digits: 0 },
      { title: "wait for nothing, µs", metric: "idle", digits: 2 }
    ]
  }
]

const valuesOf = (rounds: ReadonlyArray<Figures>, metric: Metric): Array<number> =>
  rounds.flatMap((figures) => figures[metric] ?? [])

const cellsOf = (column: Column, rounds: ReadonlyArray<Figures>, all: ReadonlyArray<Measured>): Array<string> => {
  const values = valuesOf(rounds, column.metric)
  const base = all.find(({ candidate }) => candidate === column.base)
  const value = values.length === 0 ? "" : median(values).toFixed(column.digits)
  if (base === undefined) return [value]
  return [value, values.length === 0 ? "" : ratioCell(values, valuesOf(base.rounds, column.metric))]
}

/** All tables of one size. */
export const renderTables = (size: number, repetitions: number, all: ReadonlyArray<Measured>): string =>
  [
    `## ${size.toLocaleString("en")} tasks, ${repetitions} ${repetitions === 1 ? "round" : "rounds"}`,
    ...tables.map(({ columns, title }) => {
      const head = [
        "",
        ...columns.flatMap((column) => column.base === undefined ? [column.title] : [column.title, "×"])
      ]
      const rows = all.map(({ candidate, rounds }) => [
        candidate.most < size ? `${candidate.name} (${candidate.most.toLocaleString("en")} tasks)` : candidate.name,
        ...columns.flatMap((column) => cellsOf(column, rounds, all))
      ])
      return `${title}\n\n${render([head, ...rows.filter((row) => row.slice(1).some((cell) => cell !== ""))])}`
    })
  ].join("\n\n")
