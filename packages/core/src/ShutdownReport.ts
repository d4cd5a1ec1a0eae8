/**
 * What a stop took: every task that was alive, every hook and every app, with
 * the time it needed and, for a straggler, the place where it is stuck.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import { markdownTable } from "markdown-table"
import { type Counts, countsOf, keepCounts } from "./internal/counts.ts"

/**
 * How a task ended.
 *
 * **Details**
 *
 * | outcome | meaning |
 * | --- | --- |
 * | `completed` | it ended by itself while the scope was stopping |
 * | `interrupted` | it was interrupted, and its clean-up has run |
 * | `failed` | it failed, or its clean-up did |
 * | `timedOut` | it was interrupted by its own limit, `within` |
 * | `killed` | its thread was ended |
 * | `abandoned` | it did not end within its limit, and may still run |
 * | `neverStarted` | it was spawned deferred or delayed, and stopped before its first step |
 *
 * @category models
 * @since 0.1.0
 */
export const TaskOutcome = Schema.Literals([
  "completed",
  "interrupted",
  "failed",
  "timedOut",
  "killed",
  "abandoned",
  "neverStarted"
])

/**
 * The type of `TaskOutcome`.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskOutcome = typeof TaskOutcome.Type

/**
 * Whether a task is waited for (`foreground`) or not (`background`), or is a call
 * of a blocking function that a thread still runs (`blocking`).
 *
 * @category models
 * @since 0.1.0
 */
export const TaskKind = Schema.Literals(["foreground", "background", "blocking"])

/**
 * The type of `TaskKind`.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskKind = typeof TaskKind.Type

/**
 * One task that was alive when the stop began, or one call of a blocking
 * function (`kind` is `blocking`).
 *
 * **Details**
 *
 * `age` and `took` are milliseconds: from its spawn to its end, and from the
 * begin of the stop to its end. For an abandoned task both run to the moment
 * it was given up. `place` is the innermost span or `Effect.fn` frame of an
 * abandoned task, or where a thread was when it was ended; then `stack` is the
 * whole stack. `restarts` is how often it was started again, if ever.
 *
 * @category models
 * @since 0.1.0
 */
export const TaskReport = Schema.Struct({
  path: Schema.String,
  kind: TaskKind,
  outcome: TaskOutcome,
  age: Schema.Finite,
  took: Schema.Finite,
  place: Schema.optionalKey(Schema.String),
  stack: Schema.optionalKey(Schema.String),
  error: Schema.optionalKey(Schema.String),
  restarts: Schema.optionalKey(Schema.Int)
})

/**
 * The type of `TaskReport`.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskReport extends Schema.Schema.Type<typeof TaskReport> {}

/**
 * A phase of a stop; see `Shutdown` for what happens in each.
 *
 * @category models
 * @since 0.1.0
 */
export const StopPhase = Schema.Literals(["stopping", "draining", "interrupting", "finalWrite", "closing"])

/**
 * The type of `StopPhase`.
 *
 * @category models
 * @since 0.1.0
 */
export type StopPhase = typeof StopPhase.Type

/**
 * A phase that the stop of a host went through, and the milliseconds it took.
 *
 * @category models
 * @since 0.1.0
 */
export const PhaseReport = Schema.Struct({ phase: StopPhase, took: Schema.Finite })

/**
 * The type of `PhaseReport`.
 *
 * @category models
 * @since 0.1.0
 */
export interface PhaseReport extends Schema.Schema.Type<typeof PhaseReport> {}

/**
 * One hook (`App.onStop` or `Shutdown.on`) of an app.
 *
 * **Details**
 *
 * `took` and `within` are milliseconds: what it needed and what it was given.
 * A hook whose turn never came within the limits of its app is `neverStarted`.
 * `phase` is that of `Shutdown.on`.
 *
 * @category models
 * @since 0.1.0
 */
export const HookReport = Schema.Struct({
  path: Schema.String,
  outcome: Schema.Literals(["completed", "failed", "abandoned", "neverStarted"]),
  took: Schema.Finite,
  within: Schema.Finite,
  phase: Schema.optionalKey(StopPhase),
  place: Schema.optionalKey(Schema.String),
  error: Schema.optionalKey(Schema.String)
})

/**
 * The type of `HookReport`.
 *
 * @category models
 * @since 0.1.0
 */
export interface HookReport extends Schema.Schema.Type<typeof HookReport> {}

/**
 * One app.
 *
 * **Details**
 *
 * `resources` tells what became of the finalizers of the app's own resources.
 * `stopped` means that everything ended in time, whether or not a finalizer failed. `restarts` is how often its policy has
 * started it again, if ever. `took` and `budget` are
 * milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export const AppReport = Schema.Struct({
  path: Schema.String,
  outcome: Schema.Literals(["stopped", "failed"]),
  resources: Schema.Literals(["released", "failed", "abandoned"]),
  took: Schema.Finite,
  budget: Schema.Finite,
  place: Schema.optionalKey(Schema.String),
  error: Schema.optionalKey(Schema.String),
  restarts: Schema.optionalKey(Schema.Int)
})

/**
 * The type of `AppReport`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AppReport extends Schema.Schema.Type<typeof AppReport> {}

/**
 * The report of one stop: of a task scope, an app or a host.
 *
 * **When to use**
 *
 * Use to see what a stop took and what is to blame, to decide on an exit code,
 * or to assert in a test that everything ended.
 *
 * **Details**
 *
 * `took` and `budget` are milliseconds, `startedAt` is the time of the begin in
 * milliseconds since 1970. The report of a host has its `phases`; `extended` is how much more
 * time was granted, in milliseconds, `hurried` is set when somebody lost patience, and
 * `leftOpen` names what keeps the process alive, as far as the owner of the process
 * (`NodeHost`) can tell. It is a `Schema.Class`, so `Schema.encodeSync(ShutdownReport.ShutdownReport)`
 * gives plain JSON. `ShutdownReport.format` gives a table for people.
 *
 * **Example** (A clean stop)
 *
 * ```ts import.meta.vitest
 * import { TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   yield* TaskScope.spawn(scope, Effect.never, "poll")
 *   return yield* TaskScope.close(scope)
 * })
 * const report = await Effect.runPromise(Effect.scoped(program))
 * report.clean // => true
 * report.tasks.map((task) => [task.path, task.outcome]) // => [["app/poll", "interrupted"]]
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class ShutdownReport extends Schema.Class<ShutdownReport>("@ambit/core/ShutdownReport")({
  path: Schema.String,
  reason: Schema.String,
  exitCode: Schema.optionalKey(Schema.Int),
  startedAt: Schema.Finite,
  took: Schema.Finite,
  budget: Schema.Finite,
  tasks: Schema.Array(TaskReport),
  hooks: Schema.Array(HookReport),
  apps: Schema.Array(AppReport),
  phases: Schema.optionalKey(Schema.Array(PhaseReport)),
  extended: Schema.optionalKey(Schema.Finite),
  hurried: Schema.optionalKey(Schema.Literal(true)),
  leftOpen: Schema.optionalKey(Schema.Array(Schema.String))
}) {
  /**
   * Whether everything ended in time and nothing failed: no task `failed`,
   * `timedOut`, `killed` or `abandoned`, every hook `completed`, every app `stopped` with
   * its resources `released`.
   */
  get clean(): boolean {
    const { abandoned, failed, killed, timedOut } = countsOf(this)
    return abandoned + failed + killed + timedOut === 0 &&
      this.hooks.every((hook) => hook.outcome === "completed") &&
      this.apps.every((app) => app.outcome === "stopped" && app.resources === "released")
  }
}

/**
 * Makes a report whose task lines are made when they are first read: the close
 * of 100,000 tasks must not hold up the event loop to describe them. They come
 * from `TaskReport` values, so they need no check either. With `counts`, neither
 * `clean` nor `summary` reads them.
 *
 * @internal
 */
export const makeLazily = (
  fields: Omit<ConstructorParameters<typeof ShutdownReport>[0], "tasks">,
  tasks: () => ReadonlyArray<TaskReport>,
  counts?: Counts
): ShutdownReport => {
  let made: ReadonlyArray<TaskReport> | undefined
  const report = Object.defineProperty(new ShutdownReport({ ...fields, tasks: [] }), "tasks", {
    enumerable: true,
    get: () => made ??= tasks()
  })
  if (counts !== undefined) keepCounts(report, counts)
  return report
}

/**
 * The paths of everything that was given up.
 *
 * @internal
 */
export const stuckPaths = (self: ShutdownReport): Array<string> => [
  ...(countsOf(self).abandoned === 0 ? [] : self.tasks)
    .filter((task) => task.outcome === "abandoned")
    .map((task) => task.path),
  ...self.hooks.filter((hook) => hook.outcome === "abandoned").map((hook) => hook.path),
  ...self.apps.filter((app) => app.resources === "abandoned").map((app) => `${app.path}/(resources)`)
]

/**
 * Milliseconds as people say them: `0 ms`, `12 ms`, `3.2 s`, `2m 5s`.
 *
 * @internal
 */
export const formatMillis = (millis: number): string => {
  if (millis < 999.5) return `${Math.round(millis)} ms`
  if (millis < 60_000) return `${(millis / 1000).toFixed(1)} s`
  return Duration.format(Duration.seconds(Math.round(millis / 1000)))
}

/**
 * Milliseconds down to the microsecond, for a report.
 *
 * @internal
 */
export const roundMillis = (millis: number): number => Math.max(0, Math.round(millis * 1000) / 1000)

/**
 * Says in one line what a stop took.
 *
 * **Example** (One line)
 *
 * ```ts import.meta.vitest
 * import { ShutdownReport, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   return yield* TaskScope.close(scope, { reason: "enough" })
 * })
 * const report = await Effect.runPromise(Effect.scoped(program))
 * ShutdownReport.summary(report).startsWith("app stopped cleanly in") // => true
 * ```
 *
 * @category rendering
 * @since 0.1.0
 */
export const summary = (self: ShutdownReport): string => {
  const counts = Object.entries(countsOf(self)).filter(([, count]) => count > 0)
  const all = counts.reduce((sum, [, count]) => sum + count, 0)
  const tasks = all === 0
    ? "no tasks"
    : `${all} ${all === 1 ? "task" : "tasks"}: ${counts.map(([outcome, count]) => `${count} ${outcome}`).join(", ")}`
  const hooks = self.hooks.filter((hook) => hook.outcome !== "completed").length
  return `${self.path} stopped ${self.clean ? "cleanly" : "NOT cleanly"} in ${formatMillis(self.took)} of ${
    formatMillis(self.budget)
  } (${tasks}${hooks === 0 ? "" : `; ${hooks} ${hooks === 1 ? "hook" : "hooks"} went wrong`}; reason: ${self.reason})`
}

interface Row {
  readonly what: string
  readonly path: string
  readonly outcome: string
  readonly took: number
  readonly where: string | undefined
}

const rowsOf = (self: ShutdownReport): Array<Row> => [
  ...self.apps.map((app) => ({ what: "app", ...app, where: whereOf(app) })),
  ...self.hooks.map((hook) => ({ what: "hook", ...hook, where: hook.error ?? hook.place })),
  ...self.tasks.map((task) => ({ what: task.kind, ...task, where: whereOf(task) }))
]

const whereOf = ({ error, place, restarts }: TaskReport | AppReport): string | undefined => {
  if (restarts === undefined) return error ?? place
  const times = `${restarts} ${restarts === 1 ? "restart" : "restarts"}`
  return [times, error ?? place ?? []].flat().join("; ")
}

// One line, and short enough for a terminal: the whole text stands in the log and in the JSON.
const cell = (text: string): string => {
  const line = text.split("\n", 1)[0]!.trim().replaceAll("|", "\\|")
  return line.length <= 100 ? line : `${line.slice(0, 99)}…`
}

/**
 * Renders a report as a table that a person reads at three in the morning: the
 * summary first, then one row an app, hook and task, the slowest first.
 *
 * **Details**
 *
 * `rows` limits the table, 100 by default and for what is no number from zero up;
 * a line says how many rows are left out. The table is Markdown, so it can be pasted into an issue. Below it stands what
 * no row can tell: that the stop was hurried, that it got more time, and what it has left open.
 *
 * **Example** (The table of a stop)
 *
 * ```ts import.meta.vitest
 * import { ShutdownReport, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   const scope = yield* TaskScope.make("app")
 *   yield* TaskScope.spawn(scope, Effect.never, "poll")
 *   return yield* TaskScope.close(scope)
 * })
 * const report = await Effect.runPromise(Effect.scoped(program))
 * ShutdownReport.format(report).includes("| app/poll | background | interrupted |") // => true
 * ```
 *
 * @category rendering
 * @since 0.1.0
 */
export const format = (self: ShutdownReport, options?: { readonly rows?: number | undefined }): string => {
  const limit = options?.rows !== undefined && options.rows >= 0 ? Math.floor(options.rows) : 100
  const rows = rowsOf(self).toSorted((a, b) => b.took - a.took)
  const notes = notesOf(self)
  if (rows.length === 0) return [summary(self), ...notes].join("\n")
  const table = markdownTable([
    ["path", "what", "outcome", "took", "where or why"],
    ...rows.slice(0, limit).map((row) => [
      cell(row.path),
      row.what,
      row.outcome,
      formatMillis(row.took),
      cell(row.where ?? "")
    ])
  ], { align: ["l", "l", "l", "r", "l"] })
  const left = rows.length - limit
  return [summary(self), table, ...(left > 0 ? [`… and ${left} more`] : []), ...notes].join("\n")
}

// What no row can tell.
const notesOf = ({ extended, hurried, leftOpen }: ShutdownReport): ReadonlyArray<string> => [
  ...(hurried === true ? ["Hooks and waits were cut short, since somebody lost patience."] : []),
  ...(extended === undefined ? [] : [`${formatMillis(extended)} more than its limit were granted.`]),
  ...(leftOpen === undefined ? [] : [`Still open: ${leftOpen.join(", ")}.`])
]
