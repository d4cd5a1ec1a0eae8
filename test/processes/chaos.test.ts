/**
 * Random hosts of apps that misbehave, under random signals: each ends in time, and
 * what it says of its end is what was seen.
 *
 * `AMBIT_CHAOS` sets how many; a failure names the seed, and `AMBIT_CHAOS_SEED` runs that one.
 */
import { ShutdownReport } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { fileURLToPath } from "node:url"
import type { Misbehaviour } from "../fixtures/hosts/misbehaviours.ts"
import type { Program } from "../fixtures/hosts/run.ts"
import { childApp, type ChildEnd } from "../support/childApp.ts"
import { makeRandom } from "../support/random.ts"

const run = fileURLToPath(new URL("../fixtures/hosts/run.ts", import.meta.url))

const apps: ReadonlyArray<Misbehaviour> = [
  "works",
  "slow",
  "hung-finalizer",
  "hung-hook",
  "hung-phases",
  "uninterruptible",
  "busy-worker",
  "polite-worker",
  "native-worker",
  "stuck-at-start",
  "uncaught",
  "rejection",
  "throws-in-a-loop",
  "fails",
  "fails-at-start",
  "blocks-in-clean-up",
  "sleeps-in-clean-up",
  "leaves-a-timer",
  "talks",
  "spawns-for-ever",
  "slow-layer"
]

interface Chaos {
  readonly program: Program
  /** Milliseconds from the start, or from the signal before. */
  readonly signals: ReadonlyArray<{ readonly after: number; readonly signal: "SIGINT" | "SIGTERM" | "SIGHUP" }>
}

const makeChaos = (seed: number): Chaos => {
  const random = makeRandom(seed)
  const pick = <A>(from: ReadonlyArray<A>): A => from[random.below(from.length)]!
  const chosen = new Set<Misbehaviour>()
  const count = 1 + random.below(4)
  while (chosen.size < count) chosen.add(pick(apps))
  const signals = Array.from({ length: 1 + random.below(3) }, (_, index) => ({
    after: index === 0 ? random.below(1500) : random.below(600),
    signal: pick(["SIGINT", "SIGTERM", "SIGHUP"] as const)
  }))
  return {
    program: {
      apps: ["listening", ...chosen],
      stopWithin: 500 + random.below(1000),
      forceWithin: 300 + random.below(700),
      under: pick(["NodeHost", "NodeRuntime"] as const),
      json: true
    },
    signals
  }
}

/** Tells when a child began to stop and when it ended. */
const live = Effect.fnUntraced(function*({ program, signals }: Chaos) {
  const host = yield* childApp([run, JSON.stringify(program)], { within: 30_000 })
  // A signal that comes before the program has begun to listen is the system's matter.
  yield* host.waitFor("listening: begins")
  let begun = Infinity
  const stops = Effect.map(Effect.exit(host.waitFor(/ stops: |it stops/)), () => {
    begun = Math.min(begun, performance.now())
  })
  yield* Effect.forkChild(stops, { startImmediately: true })
  for (const { after, signal } of signals) {
    yield* Effect.sleep(after)
    begun = Math.min(begun, performance.now())
    yield* host.send(signal)
  }
  const end = yield* host.end
  return { end, took: performance.now() - begun }
})

const reportOf = ({ stdout }: ChildEnd): ShutdownReport.ShutdownReport | undefined => {
  const line = stdout.split("\n").find((text) => text.startsWith("REPORT "))
  if (line === undefined) return undefined
  return Schema.decodeUnknownSync(ShutdownReport.ShutdownReport)(JSON.parse(line.slice("REPORT ".length)))
}

const failures = new Set<Misbehaviour>(["uncaught", "rejection", "throws-in-a-loop", "fails", "fails-at-start"])

/** What was given up may end while the process does, but had not when that was said. */
const endsAfter = ({ stdout }: ChildEnd, givenUp: string, ended: string): void => {
  assert.include(stdout, givenUp)
  assert.notInclude(stdout.slice(0, stdout.indexOf(givenUp)), ended)
}

/** Holds what a program said of its end against what was seen of it. */
const check = ({ program, signals }: Chaos, end: ChildEnd): void => {
  const report = reportOf(end)
  const all = end.stdout + end.stderr
  assert.isNull(end.signal)
  assert.notInclude(all, "please report it")
  if (end.code === 71) {
    assert.include(all, "The process ends at once: ")
    return
  }
  assert.notInclude(all, "The process ends at once: ")
  // Before the apps begin to start, there is nothing to report on.
  if (report === undefined) return assert.notInclude(all, "is ready")
  const gaveUp = [
    ...report.tasks.filter((task) => task.outcome === "abandoned"),
    ...report.hooks.filter((hook) => hook.outcome === "abandoned"),
    ...report.apps.filter((app) => app.resources === "abandoned")
  ]
  const mayFail = program.apps.some((app) => failures.has(app))
  const codes = gaveUp.length > 0
    ? [70]
    : signals.map(({ signal }) => ({ SIGHUP: 129, SIGINT: 130, SIGTERM: 143 })[signal]).slice(0, 1)
  assert.oneOf(end.code, mayFail ? [1, ...codes] : codes)
  assert.isAtMost(report.took, report.budget + 500)
  for (const app of report.apps) {
    const name = app.path.split("/")[1]!
    if (name === "(layers)" || name === "stuck-at-start" || name === "listening") continue
    const seen = end.stdout.includes(`${name}: released`)
    if (app.resources === "released" && end.stdout.includes(`${name}: hook`)) assert.isTrue(seen, name)
    if (app.resources === "abandoned" && name !== "hung-finalizer") {
      endsAfter(end, `The resources of app ${app.path} were not released`, `${name}: released`)
    }
  }
  for (const name of ["works", "slow"]) {
    const task = report.tasks.find(({ path }) => path === `hub/${name}/poll`)
    if (task?.outcome === "interrupted") assert.include(end.stdout, `${name}: task ended`)
    if (task?.outcome === "abandoned") {
      endsAfter(end, `Task ${task.path} did not stop within`, `${name}: task ended`)
    }
  }
  for (const task of report.tasks.filter(({ outcome }) => outcome === "abandoned")) {
    assert.match(task.path, /uninterruptible|worker|stuck-at-start|slow/)
  }
}

/** What a loaded machine adds to the second after the budget. */
const slack = 1000

const first = Number(process.env["AMBIT_CHAOS_SEED"] ?? 1)
const count = process.env["AMBIT_CHAOS_SEED"] === undefined ? Number(process.env["AMBIT_CHAOS"] ?? 12) : 1

describe.skipIf(process.platform === "win32")("a random host of apps that misbehave, under random signals", () => {
  it.live(
    "ends within its budget and a second, and says how",
    () =>
      Effect.forEach(Array.from({ length: count }, (_, index) => first + index), (seed) =>
        Effect.gen(function*() {
          const chaos = makeChaos(seed)
          const { end, took } = yield* live(chaos)
          const what = `seed ${seed}: ${JSON.stringify(chaos)}, code ${end.code}, ${Math.round(took)} ms\n`
          assert.isBelow(took, chaos.program.stopWithin + 1000 + slack, what + end.stdout + end.stderr)
          yield* Effect.sync(() => {
            try {
              check(chaos, end)
            } catch (error) {
              assert.fail(`${what}${String(error)}\n${end.stdout}\n${end.stderr}`)
            }
          })
        }).pipe(Effect.scoped), { concurrency: 2, discard: true }),
    count * 10_000 + 30_000
  )
})
