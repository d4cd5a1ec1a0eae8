/**
 * Which tasks of one name, and of one scope, may run at once: over random programs, on virtual time. `AMBIT_LAWS` sets
 * how many programs run (500 here), `AMBIT_SEED` runs a single one.
 */
import { type Task, TaskRefused, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import type { ScopeImpl } from "../../packages/core/src/internal/state.ts"
import { awakeClock } from "../support/awakeClock.ts"
import { makeRandom, type Random } from "../support/random.ts"
import { makeRecorder } from "../support/recorder.ts"

interface Spawned {
  readonly name: string
  readonly policy: Task.OnDuplicate
  /** What it was given: its own task, or that which it was skipped for. */
  given: Task.Task | TaskRefused | undefined
  began: boolean
}

const policies: readonly [Task.OnDuplicate, ...Array<Task.OnDuplicate>] = [
  "parallel",
  "skip",
  "replace",
  "replace",
  "fail",
  { queue: 1 },
  { queue: 3 },
  { queue: 3 }
]

const millis = (random: Random) => random.between(1, 30) * 10

const behaviours: readonly [
  (random: Random) => Effect.Effect<unknown>,
  ...Array<(random: Random) => Effect.Effect<unknown>>
] = [
  () => Effect.never,
  () => Effect.void,
  () => Effect.yieldNow,
  (random) => Effect.sleep(millis(random)),
  (random) => Effect.ensuring(Effect.never, Effect.sleep(millis(random))),
  (random) => Effect.ensuring(Effect.sleep(millis(random)), Effect.yieldNow),
  () => Effect.uninterruptible(Effect.never)
]

const rooms: ReadonlyArray<TaskScope.TaskScopeOptions["maxTasks"]> = [
  undefined,
  undefined,
  1,
  4,
  { atOnce: 1, queue: 3 },
  { atOnce: 3, queue: 10 }
]

const isRunning = ({ status }: Task.Task): boolean => status._tag === "Running" || status._tag === "Stopping"
const isOver = ({ status }: Task.Task): boolean => status._tag === "Ended" || status._tag === "Abandoned"

const runProgram = (seed: number): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* awakeClock
    const random = makeRandom(seed)
    const maxTasks = rooms[random.below(rooms.length)]
    const atOnce = typeof maxTasks === "object" ? maxTasks.atOnce : maxTasks ?? Infinity
    const scope = yield* TaskScope.make("app", {
      stopWithin: "500 millis",
      ...(maxTasks === undefined ? {} : { maxTasks })
    })
    const spawn = yield* TaskScope.runtime(scope)
    const all: Array<Spawned> = []
    const violations: Array<string> = []
    const tasksBut = (self: Spawned) =>
      all.flatMap((other) =>
        other !== self && other.given !== undefined && !(other.given instanceof TaskRefused) && other.policy !== "skip"
          ? [{ ...other, task: other.given }]
          : []
      )

    const spawnRandom = (depth: number): void => {
      const name = random.pick(["a", "a", "b"])
      const policy = random.pick(policies)
      const self: Spawned = { name, policy, given: undefined, began: false }
      const before = tasksBut(self).filter((other) => other.name === name).map(({ task }) => task)
      const begin = Effect.sync(() => {
        self.began = true
        const ahead = before.filter((task) => !isOver(task))
        if (policy !== "parallel" && ahead.length > 0) violations.push(`${name} began beside ${ahead[0]!.path}`)
        const running = tasksBut(self).filter(({ began, task }) => began && isRunning(task)).length
        if (running >= atOnce) violations.push(`${name} began beside ${running} others`)
        // Mostly one more of its own name, or of the other.
        if (depth < 3 && random.chance(0.2)) spawnRandom(depth + 1)
      })
      const work = random.pick(behaviours)(random)
      const cleanUp = random.chance(0.1) ? Effect.sync(() => depth < 3 && spawnRandom(depth + 1)) : Effect.void
      const spawned = spawn(Effect.ensuring(Effect.andThen(begin, work), cleanUp), name, {
        onDuplicate: policy,
        onFailure: "ignore",
        kind: random.pick(["foreground", "background"]),
        startImmediately: random.chance(0.9),
        ...(random.chance(0.5) ? { stopWithin: 100 } : {})
      })
      if (Result.isSuccess(spawned)) self.given = spawned.success
      else if (spawned.failure._tag === "TaskRefused") self.given = spawned.failure
      all.push(self)
      if (self.given instanceof TaskRefused || policy !== "replace") return
      const untouched = before.filter((task) => task.status._tag === "Running" || task.status._tag === "Pending")
      if (untouched.length > 0 && self.given !== undefined) violations.push(`${untouched[0]!.path} was not replaced`)
    }

    const steps = random.between(5, 40)
    for (let step = 0; step < steps; step++) {
      spawnRandom(0)
      if (random.chance(0.15)) {
        const live = (yield* TaskScope.tasks(scope)).filter((task) => !isOver(task))
        const task = live[random.below(live.length)]
        if (task !== undefined) yield* Effect.forkChild(task.interrupt(), { startImmediately: true })
      }
      if (random.chance(0.03)) yield* TaskScope.cancelAll(scope)
      yield* random.pick([TestClock.adjust(millis(random)), Effect.yieldNow, Effect.void])
    }

    // What waits, waits for somebody.
    // In steps: who begins in the last moment of one has its time in the next.
    for (let step = 0; step < 20; step++) yield* TestClock.adjust("250 millis")
    yield* TestClock.adjust(1)
    const live = (yield* TaskScope.tasks(scope)).filter((task) => !isOver(task))
    // A replacement has the place of what it replaces already.
    const replacements = new Set(all.flatMap(({ given, policy }) => policy === "replace" ? [given] : []))
    const places = live.filter((task) => isRunning(task) || replacements.has(task)).length
    for (const [index, task] of live.entries()) {
      if (isRunning(task)) continue
      const ahead = live.slice(0, index).some((other) => other.name === task.name)
      if (!ahead && places < atOnce) violations.push(`${task.path} waits for nobody`)
    }

    const pending = live.filter(({ status }) => status._tag === "Pending")
    const fiber = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
    yield* TestClock.adjust("500 millis")
    const exit = fiber.pollUnsafe()
    assert.strictEqual(exit?._tag, "Success", `${seed}: the close took longer than its limit`)
    for (const task of pending) {
      const { status } = task
      if (status._tag !== "Ended" || status.outcome !== "neverStarted") {
        violations.push(`${task.path} began in the close`)
      }
    }
    const reported = exit?._tag === "Success" ? new Set(exit.value.tasks.map(({ path }) => path)) : new Set()
    for (const { path } of live) if (!reported.has(path)) violations.push(`${path} is not in the report`)
    for (const { began, given, name } of all) {
      if (given instanceof TaskRefused && began) violations.push(`${name} was refused and ran`)
    }
    const { entries, forPlace, lines, taken, waiting } = (scope as unknown as ScopeImpl).gate!
    const left = { entries: entries.size, forPlace: forPlace.size, lines: lines.size, taken, waiting }
    assert.deepStrictEqual(left, { entries: 0, forPlace: 0, lines: 0, taken: 0, waiting: 0 }, `${seed}`)
    const refused = all.filter(({ given }) => given instanceof TaskRefused).length
    assert.strictEqual((yield* TaskScope.drops(scope)).refused, refused, `${seed}`)
    assert.deepStrictEqual(violations, [], `${seed}`)
  }).pipe(Effect.orDie, Effect.scoped, Effect.provide([TestClock.layer(), makeRecorder().layer]))

const seed = process.env["AMBIT_SEED"]
const count = Number(process.env["AMBIT_LAWS"] ?? 500)

describe("tasks that meet others of their name, in a scope that may be full", () => {
  it.live(
    "never run beside those they asked about, never wait for nobody, and never begin in a stop",
    () =>
      Effect.forEach(
        seed === undefined ? Array.from({ length: count }, (_, i) => i) : [Number(seed)],
        runProgram,
        { discard: true }
      ),
    600_000
  )
})
