/**
 * How many tasks of a stop ended how, known without a look at every line: a
 * summary of 100,000 tasks must not hold up the event loop.
 */
import type { ShutdownReport, TaskOutcome, TaskReport } from "../ShutdownReport.ts"
import type { TaskImpl } from "./state.ts"

export type Counts = Readonly<Record<TaskOutcome, number>>

/** In the order in which a summary tells them. */
export const noCounts = (): Record<TaskOutcome, number> => ({
  completed: 0,
  interrupted: 0,
  neverStarted: 0,
  abandoned: 0,
  failed: 0,
  timedOut: 0,
  killed: 0
})

export const addCounts = (a: Counts, b: Counts): Counts => ({
  completed: a.completed + b.completed,
  interrupted: a.interrupted + b.interrupted,
  neverStarted: a.neverStarted + b.neverStarted,
  abandoned: a.abandoned + b.abandoned,
  failed: a.failed + b.failed,
  timedOut: a.timedOut + b.timedOut,
  killed: a.killed + b.killed
})

const kept = new WeakMap<ShutdownReport, Counts>()

/** Keeps what `countsOf` would have to count. */
export const keepCounts = (report: ShutdownReport, counts: Counts): void => {
  kept.set(report, counts)
}

export const countLines = (lines: ReadonlyArray<TaskReport>): Counts => {
  const counts = noCounts()
  for (const { outcome } of lines) counts[outcome]++
  return counts
}

/** How many of some tasks have ended how. */
export const countTasks = (tasks: ReadonlyArray<TaskImpl>): Record<TaskOutcome, number> => {
  const counts = noCounts()
  for (const { phase } of tasks) if (phase._tag === "Ended") counts[phase.outcome]++
  return counts
}

/** How many tasks of some reports ended how. */
export const countsOf = (...reports: ReadonlyArray<ShutdownReport>): Counts =>
  reports.map((report) => kept.get(report) ?? countLines(report.tasks)).reduce(addCounts, noCounts())
