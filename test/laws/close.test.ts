/**
 * The laws 1-7 over random programs, on virtual time. `AMBIT_LAWS` sets how many
 * programs run (1,000 here, more by hand), `AMBIT_SEED` runs a single one.
 */
import { Host, type ShutdownReport } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { makeRandom, type Random } from "../support/random.ts"
import { type LogRecord, makeRecorder } from "../support/recorder.ts"
import { randomApps, type TrackedTask, Tracker } from "./programs.ts"

interface Run {
  readonly tracker: Tracker
  readonly records: ReadonlyArray<LogRecord>
  /** Virtual milliseconds from the begin of the stop to the end of the program. */
  readonly took: number
  readonly stoppedAt: number
  readonly report: ShutdownReport.ShutdownReport | undefined
  readonly bound: number
}

// Advances the clock until the fiber has ended; a program that needs more than two virtual minutes hangs.
const drive = (fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> =>
  Effect.gen(function*() {
    for (let second = 0; second < 1200 && fiber.pollUnsafe() === undefined; second++) {
      yield* TestClock.adjust(100)
    }
  })

const runProgram = (seed: number, withHost: boolean): Effect.Effect<Run> => {
  const recorder = makeRecorder()
  return Effect.gen(function*() {
    const random = makeRandom(seed)
    const clock = yield* Clock.Clock
    const tracker = new Tracker(() => clock.currentTimeMillisUnsafe())
    const apps = randomApps(tracker, random)
    const hostStop = random.between(30, 80) * 100
    let report: ShutdownReport.ShutdownReport | undefined
    let endedAt = 0
    let askedAt = Infinity
    const program: Effect.Effect<unknown, unknown> = withHost
      ? Host.launch(Layer.provideMerge(stopper(random, tracker, (at) => (askedAt = at)), apps), {
        name: "hub",
        stopWithin: hostStop,
        onReport: (given) =>
          Effect.sync(() => {
            report = given
          })
      })
      : Layer.launch(apps)
    const fiber = yield* Effect.forkChild(
      Effect.onExit(program, () =>
        Effect.sync(() => {
          endedAt = tracker.now()
        }))
    )
    const interruptAt = random.between(0, 40) * 50
    for (let at = 0; at < interruptAt && fiber.pollUnsafe() === undefined; at += 50) yield* TestClock.adjust(50)
    if (!withHost || random.chance(0.5)) {
      askedAt = Math.min(askedAt, tracker.now())
      fiber.interruptUnsafe()
    }
    yield* drive(fiber)
    assert.isDefined(fiber.pollUnsafe(), `program ${seed} did not end`)
    const stoppedAt = endedAt
    // Whatever runs on now was given up, and is in the report.
    yield* TestClock.adjust("1 minute")
    return {
      tracker,
      records: recorder.records,
      took: report === undefined ? endedAt - Math.min(askedAt, endedAt) : report.took,
      stoppedAt,
      report,
      bound: withHost ? hostStop : tracker.apps.reduce((sum, app) => sum + app.stopWithin, 0)
    }
  }).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(TestClock.layer(), recorder.layer)))
}

// Asks the host to stop at a random moment, from inside.
const stopper = (random: Random, tracker: Tracker, asked: (at: number) => void) => {
  const after = random.between(0, 60) * 50
  return Layer.effectDiscard(
    Effect.forkScoped(Effect.andThen(
      Effect.sleep(after),
      Effect.andThen(Effect.sync(() => asked(tracker.now())), Host.requestStop("the test is over"))
    ))
  )
}

const outcomeOf = (task: TrackedTask): string => {
  if (task.exit === undefined) return "abandoned"
  if (Exit.isSuccess(task.exit)) return "completed"
  if (!Cause.hasInterruptsOnly(task.exit.cause)) return "failed"
  return task.startedAt === undefined ? "neverStarted" : "interrupted"
}

const givenUp = (run: Run): ReadonlySet<string> => {
  const paths = new Set<string>()
  for (const { annotations, message } of run.records) {
    if (message.includes("is abandoned") && typeof annotations.task === "string") paths.add(annotations.task)
  }
  return paths
}

/** Timers count whole milliseconds, so a limit of 157.5 ms ends at 158 ms. */
const timer = 1

/** Everything that is wrong with a run, in words. */
const faults = (run: Run): Array<string> => {
  const { bound, records, report, stoppedAt, tracker } = run
  const found = [...tracker.violations]
  const abandoned = givenUp(run)
  const endedBy = (task: TrackedTask) => task.endedAt !== undefined && task.endedAt <= stoppedAt

  // Law 2: bounded.
  if (run.took > bound + timer) found.push(`the stop took ${run.took} ms of ${bound} ms`)
  for (const app of report?.apps ?? []) {
    if (app.took > app.budget + timer) found.push(`${app.path} took ${app.took} ms of ${app.budget} ms`)
  }

  // Laws 1 and 7: what is alive after the stop was given up by name, and everybody else was asked.
  for (const task of tracker.tasks) {
    if (!endedBy(task) && !abandoned.has(task.path)) {
      found.push(`${task.path} (${task.behaviour}) ran on, and nobody said so`)
    }
    if (endedBy(task) && task.lastRanAt > stoppedAt) found.push(`${task.path} ran after the stop`)
  }

  // Law 3: the report is complete, and every line of it is true.
  if (report !== undefined) {
    const lines = new Map(report.tasks.map((line) => [line.path, line]))
    for (const task of tracker.tasks) {
      if (!endedBy(task) && lines.get(task.path)?.outcome !== "abandoned") {
        found.push(`${task.path} ran on and is not in the report as abandoned`)
      }
    }
    if (lines.size < report.tasks.length) {
      const paths = report.tasks.map((line) => line.path)
      found.push(`${paths.filter((path, index) => paths.indexOf(path) !== index).join(", ")} is reported twice`)
    }
    for (const line of report.tasks) {
      const candidates = tracker.tasks.filter((task) => task.path === line.path)
      if (/\/\((start|body)\)$/.test(line.path) || line.path.includes("/late")) continue
      const truths = candidates.map((task) => line.outcome === "abandoned" ? "abandoned" : outcomeOf(task))
      if (!truths.includes(line.outcome)) {
        found.push(`${line.path} is reported ${line.outcome}, but is ${truths.join(" or ") || "unknown"}`)
      }
      if (line.took < 0 || line.age < line.took - 0.001 && line.age < 0) found.push(`${line.path} took ${line.took} ms`)
    }
    for (const app of tracker.apps) {
      for (const hook of app.hooks) {
        const line = report.hooks.find((line) => line.path === hook.path)
        if (line === undefined) continue
        const ran = hook.beganAt !== undefined
        if (ran === (line.outcome === "neverStarted")) found.push(`${hook.path} is reported ${line.outcome}`)
        if (line.outcome === "completed" && hook.ended !== "completed") found.push(`${hook.path} did not complete`)
        if (line.took > line.within + timer) found.push(`${hook.path} took ${line.took} ms of ${line.within} ms`)
      }
    }
  }

  // Law 4: each failure is said exactly once.
  for (const task of tracker.tasks) {
    if (task.exit === undefined || Exit.isSuccess(task.exit) || Cause.hasInterruptsOnly(task.exit.cause)) continue
    const said = records.filter((record) =>
      record.annotations.task === task.path && record.message.startsWith(`Task ${task.path} failed`)
    ).length
    const namesakes = tracker.tasks.filter((other) =>
      other.path === task.path && other.exit !== undefined && outcomeOf(other) === "failed"
    ).length
    if (said !== namesakes) {
      found.push(`${namesakes} failures of ${task.path} were said ${said} times`)
    }
  }
  if (records.some((record) => record.message.includes("please report it"))) found.push("a bug of ours was logged")

  // Law 6: tasks end before resources are released, and dependents stop before what they depend on.
  for (const app of tracker.apps) {
    for (const task of app.aliveAtRelease) {
      if (!abandoned.has(task.path)) found.push(`${task.path} lived when the resource of ${app.name} was released`)
    }
  }
  // A host whose budget is nearly over stops what is left out of order.
  const inOrder = report === undefined || report.took < report.budget * 0.9
  for (const app of tracker.apps) {
    for (const name of app.dependsOn) {
      const dependency = tracker.apps.find((other) => other.name === name)!
      const began = dependency.hooks.map((hook) => hook.beganAt ?? Infinity)
      if (inOrder && app.releasedAt !== undefined && Math.min(...began) < app.releasedAt) {
        found.push(`${name} began to stop before ${app.name}, which depends on it, had released its resource`)
      }
    }
  }
  return found
}

const count = Number(process.env.AMBIT_LAWS ?? 1000)
const only = process.env.AMBIT_SEED

describe("the laws hold for random programs", () => {
  const batch = 50
  const batches = only === undefined ? Math.ceil(count / batch) : 1
  for (let index = 0; index < batches; index++) {
    const first = only === undefined ? index * batch : Number(only)
    const last = only === undefined ? Math.min(count, first + batch) - 1 : first
    it.live(`programs ${first} to ${last}: a stop is bounded, complete and true`, () =>
      Effect.gen(function*() {
        for (let seed = first; seed <= last; seed++) {
          const run = yield* runProgram(seed, seed % 4 !== 3)
          assert.deepStrictEqual(faults(run), [], `program ${seed}; run it alone with AMBIT_SEED=${seed}`)
        }
      }), { timeout: 60_000 })
  }
})
