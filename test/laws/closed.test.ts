/**
 * Law 5, and law 1 for tasks that stop: over seeded interleavings of spawning,
 * closing and interrupting on a scheduler that is cranked by hand.
 */
import { InvalidOption, ScopeClosed, type ShutdownReport, type Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scheduler from "effect/Scheduler"
import { makeCrankedScheduler } from "../support/crankedScheduler.ts"
import { makeRandom, type Random } from "../support/random.ts"

interface Attempt {
  began: boolean
  running: boolean
  result: Task.Task | Task.SpawnError | undefined
  /** The state of the scope when the body began. */
  state: string | undefined
}

const attempt = (scope: TaskScope.TaskScope, random: Random, attempts: Array<Attempt>) =>
  Effect.suspend(() => {
    const record: Attempt = { began: false, running: false, result: undefined, state: undefined }
    attempts.push(record)
    const body = Effect.suspend(() => {
      record.began = true
      record.running = true
      record.state = scope.state._tag
      return random.chance(0.3) ? Effect.yieldNow : Effect.never
    }).pipe(
      Effect.ensuring(random.chance(0.5) ? Effect.andThen(Effect.yieldNow, Effect.yieldNow) : Effect.void),
      Effect.ensuring(Effect.sync(() => {
        record.running = false
      }))
    )
    return TaskScope.spawn(scope, body, "task", { startImmediately: random.chance(0.7) }).pipe(
      Effect.match({
        onFailure: (error) => {
          record.result = error
        },
        onSuccess: (task) => {
          record.result = task
        }
      })
    )
  })

const runInterleaving = (seed: number) => {
  const random = makeRandom(seed)
  const scheduler = makeCrankedScheduler(random)
  const context = Context.make(Scheduler.Scheduler, scheduler)
  const attempts: Array<Attempt> = []
  const reports: Array<ShutdownReport.ShutdownReport> = []
  const runFork = Effect.runForkWith(context)

  const owner = runFork(Effect.scoped(Effect.gen(function*() {
    const scope = yield* TaskScope.make("app")
    const child = yield* TaskScope.child(scope, "inner")
    const spawners = random.between(1, 4)
    for (let i = 0; i < spawners; i++) {
      const into = random.chance(0.7) ? scope : child
      yield* Effect.forkDetach(Effect.gen(function*() {
        for (let j = 0; j < 6; j++) {
          yield* attempt(into, random, attempts)
          if (random.chance(0.5)) yield* Effect.yieldNow
        }
      }))
    }
    const closers = random.between(1, 3)
    for (let i = 0; i < closers; i++) {
      yield* Effect.forkDetach(Effect.gen(function*() {
        for (let wait = random.below(8); wait > 0; wait--) yield* Effect.yieldNow
        if (random.chance(0.3)) yield* TaskScope.cancelAll(scope)
        const report = yield* TaskScope.close(scope)
        reports.push(report)
        assert.deepStrictEqual(attempts.filter((attempt) => attempt.running), [], `${seed}: code runs after the close`)
      }))
    }
    for (let wait = random.below(8); wait > 0; wait--) yield* Effect.yieldNow
  })))

  let cranks = 0
  while (scheduler.crank()) assert.isBelow(++cranks, 100_000, `${seed} does not come to an end`)
  return { attempts, reports, owner }
}

describe("closed is closed", () => {
  it("in every interleaving: what is refused never runs, what is accepted ends, and all closers see one report", () => {
    for (let seed = 0; seed < 1000; seed++) {
      const { attempts, owner, reports } = runInterleaving(seed)
      const exit = owner.pollUnsafe()
      assert.isTrue(exit !== undefined && Exit.isSuccess(exit), `${seed}: ${String(exit)}`)
      assert.isTrue(reports.every((report) => report === reports[0]), `${seed}: two reports`)
      for (const { began, result, running, state } of attempts) {
        assert.isFalse(running, `${seed}: a task runs on`)
        assert.notStrictEqual(state, "Closed", `${seed}: a body began in a closed scope`)
        if (result instanceof ScopeClosed) assert.isFalse(began, `${seed}: a refused body ran`)
        else assert.isFalse(result === undefined || result instanceof InvalidOption, `${seed}: no answer`)
      }
      const accepted = attempts.filter(({ result }) => result !== undefined && !(result instanceof ScopeClosed))
      const reported = reports[0]?.tasks.length ?? 0
      assert.isAtMost(reported, accepted.length, `${seed}: the report has tasks that were not accepted`)
    }
  })
})
