/**
 * The laws 1-7 over random programs, on virtual time. `AMBIT_LAWS` sets how many
 * programs run (1,000 here, more by hand), `AMBIT_SEED` runs a single one.
 */
import { Host, HostOwner, Limits, Shutdown, type ShutdownReport } from "@ambit/core"
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
  /** The phases that the owner of the host was told of. */
  readonly phases: ReadonlyArray<Shutdown.StopPhase>
  /** What the host itself must tell of: early tasks at the announcement, and all tasks when somebody lost patience. */
  readonly asked: ReadonlySet<TrackedTask>
  /** When that was, how much time was given, and what was left then by itself. */
  readonly haste: { readonly at: number; readonly within: number } | undefined
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
    const extension = random.chance(0.4) ? random.between(1, 30) * 100 : undefined
    const { asked, owner, phases, watched } = watcher(tracker)
    const hurry = withHost && random.chance(0.25)
      ? { after: random.between(0, 80) * 50, within: random.between(0, 20) * 100 }
      : undefined
    let haste: Run["haste"]
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
    const fiber = yield* Effect.onExit(program, () =>
      Effect.sync(() => {
        endedAt = tracker.now()
      })).pipe(
        Effect.provideService(HostOwner.HostOwner, owner),
        Effect.provide(Limits.layer({ extension })),
        Effect.forkChild
      )
    if (hurry !== undefined) {
      const losePatience = Effect.sync(() => {
        if (watched.host === undefined || endedAt > 0) return
        for (const task of tracker.tasks) if (isLive(task)) asked.add(task)
        haste = { at: tracker.now(), within: hurry.within }
        askedAt = Math.min(askedAt, tracker.now())
        watched.host.hurry("the test is over", hurry.within)
      })
      yield* Effect.forkChild(Effect.andThen(Effect.sleep(hurry.after), losePatience))
    }
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
      bound: withHost
        ? hostStop + Math.min(extension ?? 0, report?.extended ?? 0)
        : tracker.apps.reduce((sum, app) => sum + app.stopWithin + (extension ?? 0), 0),
      phases,
      asked,
      haste
    }
  }).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(TestClock.layer(), recorder.layer)))
}

const isLive = ({ task: { status } }: TrackedTask): boolean => status._tag !== "Ended" && status._tag !== "Abandoned"

// Notes the phases of a stop, and which tasks its announcement must interrupt.
const watcher = (tracker: Tracker) => {
  const phases: Array<Shutdown.StopPhase> = []
  const asked = new Set<TrackedTask>()
  const watched: { host: HostOwner.HostControl | undefined } = { host: undefined }
  const owner: HostOwner.Owner = {
    launched: (host) => {
      watched.host = host
    },
    changed: (host) => {
      const phase = host.stop()?.phase
      if (phase === undefined || phase === phases.at(-1)) return
      phases.push(phase)
      if (phase !== "stopping") return
      for (const task of tracker.tasks) if (task.early && isLive(task)) asked.add(task)
    },
    stopped: () => {},
    leftOpen: () => []
  }
  return { asked, owner, phases, watched }
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
  const { asked, bound, haste, phases, records, report, stoppedAt, tracker } = run
  const found = [...tracker.violations]
  const abandoned = givenUp(run)
  const endedBy = (task: TrackedTask) => task.endedAt !== undefined && task.endedAt <= stoppedAt

  // Law 2: bounded.
  if (run.took > bound + timer) found.push(`the stop took ${run.took} ms of ${bound} ms`)
  for (const app of report?.apps ?? []) {
    if (app.took > app.budget + timer) found.push(`${app.path} took ${app.took} ms of ${app.budget} ms`)
  }
  if (report !== undefined) {
    if (report.budget !== bound) found.push(`the report tells of ${report.budget} ms, and it had ${bound} ms`)
    if (haste !== undefined && stoppedAt > haste.at + haste.within + timer) {
      found.push(`the stop took ${stoppedAt - haste.at} ms from when somebody had given it ${haste.within} ms`)
    }
    if (haste !== undefined && report.hurried !== true) found.push("nobody told of the haste")
    const all = Shutdown.StopPhase.literals.join()
    const told = (report.phases ?? []).map(({ phase }) => phase).join()
    if (told !== all) found.push(`the report tells of the phases ${told}`)
    if (phases.join() !== all) found.push(`the owner was told of the phases ${phases.join()}`)
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
    for (const task of asked) {
      if (!lines.has(task.path) && !task.replaced) {
        found.push(`${task.path} was interrupted by the host and is not in the report`)
      }
    }
    if (lines.size < report.tasks.length) {
      for (const path of lines.keys()) {
        // Clean-up may have tasks of one path one after the other: a scope is made anew under the name of one that is closed.
        const told = report.tasks.filter((line) => line.path === path).length
        const were = tracker.tasks.filter((task) => task.path === path).length
        if (told > Math.max(1, were)) found.push(`${path} is reported ${told} times`)
      }
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
        const told = report.hooks.filter((line) => line.path === hook.path)
        if (told.length > 1) found.push(`${hook.path} is reported twice`)
        const [line] = told
        if (line === undefined) continue
        if (line.phase !== hook.phase) found.push(`${hook.path} is reported in ${line.phase}`)
        const keeps = hook.phase === "finalWrite" || hook.phase === "closing"
        if (keeps && line.outcome === "neverStarted" && haste === undefined && !/start/.test(report.reason)) {
          found.push(`nothing was kept for ${hook.path}`)
        }
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
  // A host whose budget is nearly over stops what is left out of order. Some of it may be kept for the last two phases.
  const inOrder = report === undefined || (haste === undefined && report.took < report.budget * 0.65)
  for (const app of tracker.apps) {
    for (const name of app.dependsOn) {
      const dependency = tracker.apps.find((other) => other.name === name)!
      // Those of the phases run for all apps together.
      const began = dependency.hooks.map((hook) => hook.phase === undefined ? hook.beganAt ?? Infinity : Infinity)
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
