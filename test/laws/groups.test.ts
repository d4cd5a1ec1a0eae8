/**
 * Law 10 over random trees of groups whose members fail at once, clean up slowly, cannot be interrupted for a while, and are
 * stopped by hand, also without a wait between two runs. `supervision.test.ts` knows who must be running at each moment; here
 * it is about that nobody waits for ever. `AMBIT_LAWS` sets how many programs, a fifth of it here; `AMBIT_SEED` runs one.
 */
import { Restart, Supervisor, TaskScope } from "@ambit/core"
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import { awakeClock } from "../support/awakeClock.ts"
import { makeRandom } from "../support/random.ts"
import { makeRecorder } from "../support/recorder.ts"
import { eachProgram } from "./eachProgram.ts"

type Run = Deferred.Deferred<void, string>

const runProgram = (seed: number) =>
  Effect.gen(function*() {
    const random = makeRandom(seed)
    const history: Array<string> = []
    const problems: Array<string> = []
    /** What each member runs at the moment; more than one while an old run has been left. */
    const runs = new Map<string, Set<Run>>()
    const permanent = new Set<string>()
    let calm = false
    let closed = false

    const work = (path: string): Effect.Effect<void, string> =>
      Effect.suspend(() => {
        if (closed) problems.push(`${path} begins after the close`)
        const own = runs.get(path) ?? new Set()
        runs.set(path, own)
        if (!calm && random.chance(0.1)) return Effect.fail("at once")
        const run: Run = Deferred.makeUnsafe()
        own.add(run)
        const stuck = !calm && random.chance(0.3)
          ? Effect.uninterruptible(Effect.sleep(random.below(9000)))
          : Effect.void
        const cleanUp = !calm && random.chance(0.3) ? Effect.sleep(random.below(4000)) : Effect.void
        const leave = Effect.sync(() => own.delete(run))
        return Effect.ensuring(Effect.andThen(stuck, Deferred.await(run)), Effect.andThen(cleanUp, leave))
      })

    const policy = (kind: Restart.RestartKind) => {
      const options = { schedule: Schedule.spaced(random.pick([0, 300, 1000, 2500])), budget: "none" } as const
      if (kind === "temporary") return Restart.temporary
      return kind === "permanent" ? Restart.permanent(options) : Restart.transient(options)
    }

    const makeGroup = (path: string, depth: number): Effect.Effect<void, unknown, TaskScope.TaskScope> => {
      const members = Array.from({ length: random.between(1, 4) }, (_, index) => {
        const name = "abcd"[index]!
        const own = `${path}/${name}`
        if (depth > 0 && random.chance(0.3)) {
          return Supervisor.child(name, makeGroup(own, depth - 1), {
            restart: policy("transient"),
            stopWithin: "4 seconds",
            onFailure: "ignore"
          })
        }
        const kind = random.pick(["permanent", "permanent", "permanent", "transient", "temporary"] as const)
        if (kind === "permanent") permanent.add(own)
        const stopWithin = random.pick(["1 second", "2 seconds"] as const)
        return Supervisor.child(name, work(own), { restart: policy(kind), stopWithin, onFailure: "ignore" })
      })
      const strategy = random.pick(["oneForOne", "oneForAll", "restForOne"] as const)
      return Supervisor.group(members, { strategy, budget: "none" })
    }

    yield* awakeClock
    const scope = yield* TaskScope.make("app")
    const group = yield* TaskScope.spawn(scope, makeGroup("app/group", 1), "group")
    const tasks = TaskScope.tasks(scope)

    let byHand = false
    for (let step = random.between(4, 20); step > 0 && runs.size > 0; step--) {
      const path = random.pick([...runs.keys()] as [string, ...Array<string>])
      const kind = random.pick(["fails", "fails", "returns", "is stopped"] as const)
      history.push(`${step}: ${path} ${kind}`)
      if (kind === "is stopped") {
        byHand = true
        const task = (yield* tasks).findLast((one) => one.path === path || one.path.startsWith(`${path}#`))
        if (task !== undefined) yield* Effect.forkChild(task.interrupt("by hand"), { startImmediately: true })
      } else {
        const newest = [...runs.get(path)!].at(-1)
        if (newest !== undefined) Deferred.doneUnsafe(newest, kind === "fails" ? Effect.fail("broken") : Effect.void)
      }
      yield* TestClock.adjust(random.pick([0, 0, 200, 1000, 2500, 5000]))
    }

    calm = true
    if (random.chance(0.6)) {
      for (let times = 0; times < 30; times++) yield* TestClock.adjust("2 seconds")
      for (const { path, status } of yield* tasks) {
        if (status._tag !== "Running") problems.push(`${path} is ${status._tag} for ever`)
      }
      for (const [path, own] of runs) if (own.size > 1) problems.push(`${path} runs ${own.size} times`)
      // What was stopped by hand is down until others take it along.
      if (!byHand && group.status._tag === "Running") {
        for (const path of permanent) if (runs.get(path)?.size !== 1) problems.push(`${path} does not run`)
      }
    }
    const close = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
    for (let times = 0; times < 60; times++) yield* TestClock.adjust("100 millis")
    if (close.pollUnsafe() === undefined) problems.push("the close does not end in its time")
    yield* Fiber.join(close)
    closed = true
    for (let times = 0; times < 10; times++) yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(problems, [], `program ${seed}\n${history.join("\n")}`)
  }).pipe(Effect.scoped, Effect.provide(makeRecorder().layer))

eachProgram("in random trees of groups nobody waits for ever, and who must run does", runProgram)
