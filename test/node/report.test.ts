import { App, Blocking, Host, Task, TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as functions from "../fixtures/functions.ts"
import { gate, reaches, set } from "../support/gate.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const pool = (options?: BlockingPool.BlockingPoolOptions) =>
  Effect.provide(BlockingPool.layer({ threads: 2, ...options }))

/** A scope in which a task calls a function, closed once the function runs. */
const closedDuring = (call: Effect.Effect<unknown, unknown, Blocking.Blocking>, stopWithin: number) =>
  Effect.gen(function*() {
    const scope = yield* TaskScope.make("app", { stopWithin })
    yield* TaskScope.spawn(scope, call, "work", { onFailure: "ignore" })
    yield* Effect.sleep("100 millis")
    return yield* TaskScope.close(scope)
  }).pipe(Effect.scoped)

const linesOf = (report: { readonly tasks: ReadonlyArray<{ readonly path: string; readonly outcome: string }> }) =>
  report.tasks.map(({ outcome, path }) => `${path} ${outcome}`)

it.live("a close waits for the thread of an interrupted call and reports what it took", () =>
  Effect.gen(function*() {
    const report = yield* closedDuring(Blocking.run(functions.untilCancelled), 2000).pipe(pool())
    expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/untilCancelled interrupted"])
    expect(report.tasks[1]).toMatchObject({ kind: "blocking" })
    expect(report.clean).toBe(true)
  }))

it.live("a thread that had to be ended is in the report with its stack", () =>
  Effect.gen(function*() {
    const report = yield* closedDuring(Blocking.run(functions.forever), 2000).pipe(pool({ grace: 50 }))
    expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/forever killed"])
    expect(report.tasks[1]?.place).toMatch(/^at .* \(.*functions\.ts:\d+\)$/)
    expect(report.tasks[1]?.stack).toContain(report.tasks[1]?.place)
  }))

it.live("the grace of a call never reaches beyond the limit of its scope, and the log names what it was", () =>
  Effect.gen(function*() {
    const recorder = makeRecorder()
    const report = yield* closedDuring(Blocking.run(functions.forever), 500).pipe(
      pool({ grace: 60_000 }),
      Effect.provide(recorder.layer)
    )
    expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/forever killed"])
    expect(report.took).toBeLessThan(600)
    const told = /forever did not stop within (\d+) ms after it was told to/.exec(
      linesAt(recorder.records, "Warn").join("\n")
    )
    expect(Number(told?.[1])).toBeLessThanOrEqual(400)
    expect(Number(told?.[1])).toBeGreaterThan(100)
  }))

it.live("a thread that cannot be ended is given up in time, reported, and told of when it ends after all", () =>
  Effect.gen(function*() {
    const recorder = makeRecorder()
    const report = yield* Effect.gen(function*() {
      const report = yield* closedDuring(Blocking.run(functions.nativeSleep, 2), 500)
      yield* Effect.sleep("2500 millis")
      return report
    }).pipe(pool({ grace: 0 }), Effect.provide(recorder.layer))
    expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/nativeSleep abandoned"])
    expect(report.took).toBeLessThan(700)
    const told = linesAt(recorder.records, "Warn")
    expect(told.some((line) => line.startsWith("Task app/work/nativeSleep ended after all"))).toBe(true)
  }))

it.live("a call that waits in the queue when its app stops never runs", () =>
  Effect.gen(function*() {
    const memory = gate()
    const report = yield* Effect.gen(function*() {
      const held = [1, 2].map(() => Effect.forkChild(Blocking.run(functions.hold, memory), { startImmediately: true }))
      yield* Effect.all(held)
      yield* reaches(memory, 0, 2)
      const report = yield* closedDuring(Blocking.run(functions.counts, memory, 2), 500)
      set(memory, 1, 1)
      yield* Blocking.run(functions.triple, 1)
      return report
    }).pipe(pool())
    expect(linesOf(report)).toEqual(["app/work interrupted"])
    expect(Atomics.load(memory, 2)).toBe(0)
  }))

it.live("the tree of the host shows each call with its task, function, thread and age", () =>
  Effect.gen(function*() {
    const memory = gate()
    const seen: Array<Host.Tree> = []
    const Indexer = App.layer(
      "indexer",
      Effect.gen(function*() {
        yield* Task.spawn(Blocking.run(functions.hold, memory), "first-pass")
        yield* Task.spawn(
          Effect.gen(function*() {
            yield* reaches(memory, 0, 1)
            seen.push(yield* Host.tree)
            set(memory, 1, 1)
            yield* Host.requestStop("seen")
          }),
          "look"
        )
      })
    )
    yield* Host.launch(Indexer).pipe(pool({ name: "files" }))
    expect(seen[0]?.apps[0]?.calls).toEqual([
      {
        task: "host/indexer/first-pass",
        name: "hold",
        thread: expect.stringMatching(/^files-\d$/),
        age: expect.any(Number)
      }
    ])
  }))

it.live("an app that stops leaves the pool to the others", () =>
  Effect.gen(function*() {
    const results: Array<number> = []
    const Short = App.layer("short", Effect.asVoid(Task.spawn(Blocking.run(functions.forever), "spin")), {
      stopWithin: "2 seconds"
    })
    const Long = App.layer(
      "long",
      Effect.gen(function*() {
        yield* Task.spawn(
          Effect.gen(function*() {
            yield* Effect.sleep("100 millis")
            const apps = yield* Host.apps
            yield* App.stop(apps.find((app) => app.path === "host/short")!)
            results.push(yield* Blocking.run(functions.triple, 5))
            yield* Host.requestStop("done")
          }),
          "watch"
        )
      })
    )
    const report = yield* Host.launch(Layer.mergeAll(Short, Long)).pipe(pool({ grace: 50 }))
    expect(results).toEqual([15])
    expect(linesOf(report)).not.toContain("host/short/spin abandoned")
  }))
