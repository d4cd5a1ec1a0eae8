import { App, Blocking, Host, HostOwner, Task, TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as functions from "../fixtures/functions.ts"
import { eventually } from "../support/eventually.ts"
import { gate, reaches, set } from "../support/gate.ts"
import { nativeCall } from "../support/nativeCall.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const pool = (options?: BlockingPool.BlockingPoolOptions) =>
  Effect.provide(BlockingPool.layer({ threads: 2, ...options }))

/** Waits until the pool has counted something. */
const counted = (count: "busy" | "cancelled" | "killed") =>
  eventually(Effect.flatMap(Blocking.Blocking, ({ status }) => Effect.map(status, (status) => status[count] > 0)))

const busy = counted("busy")

/** A scope in which a task calls a function, closed once a function runs. */
const closedDuring = (
  call: Effect.Effect<unknown, unknown, Blocking.Blocking>,
  stopWithin: number,
  ready: Effect.Effect<void, never, Blocking.Blocking> = busy
) =>
  Effect.gen(function*() {
    const scope = yield* TaskScope.make("app", { stopWithin })
    yield* TaskScope.spawn(scope, call, "work", { onFailure: "ignore" })
    yield* ready
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
    const report = yield* closedDuring(Blocking.run(functions.forever), 2000).pipe(pool({ grace: 400 }))
    expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/forever killed"])
    expect(report.tasks[1]?.place).toMatch(/^at .* \(.*functions\.ts:\d+\)$/)
    expect(report.tasks[1]?.stack).toContain(report.tasks[1]?.place)
  }))

it.live("the grace of a call never reaches beyond the limit of its scope, and the log names what it was", () =>
  Effect.gen(function*() {
    const recorder = makeRecorder()
    const report = yield* closedDuring(Blocking.run(functions.forever), 1500).pipe(
      pool({ grace: 60_000 }),
      Effect.provide(recorder.layer)
    )
    expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/forever killed"])
    expect(report.took).toBeLessThan(1600)
    const told = /forever did not stop within (\d+) ms after it was told to/.exec(
      linesAt(recorder.records, "Warn").join("\n")
    )
    expect(Number(told?.[1])).toBeLessThanOrEqual(1200)
    expect(Number(told?.[1])).toBeGreaterThan(500)
  }))

const uninterruptible: ReadonlyArray<
  readonly [string, <E, R>(call: Effect.Effect<unknown, E, R>) => Effect.Effect<unknown, E, R>]
> = [
  ["a fiber that cannot be interrupted", Effect.uninterruptible],
  ["a clean-up", (call) => Effect.onExit(Effect.never, () => Effect.orDie(call))],
  [
    "a clean-up that comes to it later",
    (call) => Effect.onExit(Effect.never, () => Effect.andThen(Effect.sleep("100 millis"), Effect.orDie(call)))
  ]
]

it.live.each(uninterruptible)(
  "the call of %s is told to stop in time for its grace",
  ([, around]) =>
    Effect.gen(function*() {
      const report = yield* closedDuring(around(Blocking.run(functions.untilCancelled)), 3000, Effect.void).pipe(
        pool({ grace: 500 })
      )
      expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/untilCancelled interrupted"])
      // Of its time, a fifth is kept for the end of the thread.
      expect(report.took).toBeGreaterThan(1850)
      expect(report.took).toBeLessThan(3000)
      expect(report.clean).toBe(true)
    })
)

it.live.each(uninterruptible)(
  "the thread of %s is ended within the close, and is in the report",
  ([, around]) =>
    Effect.gen(function*() {
      const [report, status] = yield* Effect.gen(function*() {
        const report = yield* closedDuring(around(Blocking.run(functions.forever)), 2000, Effect.void)
        return [report, yield* Effect.flatMap(Blocking.Blocking, (pool) => pool.status)] as const
      }).pipe(pool({ grace: 300 }))
      expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/forever killed"])
      // A busy machine may not get to the frame in time; then it is the function.
      expect(report.tasks[1]?.place).toMatch(/functions\.ts/)
      expect(report.took).toBeGreaterThan(1500)
      expect(report.took).toBeLessThan(2000)
      expect(status).toMatchObject({ killed: 1, busy: 0, calls: [] })
    })
)

it.live.each<readonly [string, "none" | "100 millis"]>([
  ["interrupted", "none"],
  ["timed out", "100 millis"]
])(
  "the grace of a call that was %s before ends within the close of its scope",
  ([how, timeout]) =>
    Effect.gen(function*() {
      const [report, status] = yield* Effect.gen(function*() {
        const memory = gate()
        const scope = yield* TaskScope.make("app", { stopWithin: "1 second" })
        const call = Blocking.run(functions.deaf, memory).pipe(Blocking.withOptions({ grace: "60 seconds", timeout }))
        const task = yield* TaskScope.spawn(scope, call, "work", { onFailure: "ignore" })
        yield* reaches(memory, 0, 1)
        if (how === "interrupted") yield* task.interrupt("enough")
        else yield* Effect.exit(task.join)
        const report = yield* TaskScope.close(scope)
        return [report, yield* Effect.flatMap(Blocking.Blocking, (pool) => pool.status)] as const
      }).pipe(Effect.scoped, pool(), Effect.provide(makeRecorder().layer))
      expect(linesOf(report)).toEqual(["app/work/deaf killed"])
      expect(status).toMatchObject({ killed: 1, busy: 0, calls: [] })
    })
)

it.live("a call that cannot be interrupted gives its result when it has it in time", () =>
  Effect.gen(function*() {
    const results: Array<number> = []
    const call = Effect.map(Blocking.run(functions.block, 400), (result) => results.push(result))
    const report = yield* closedDuring(Effect.uninterruptible(call), 1000).pipe(pool({ grace: 200 }))
    expect(results).toEqual([400])
    expect(linesOf(report)).toEqual(["app/work interrupted"])
  }))

it.live("a call that cannot be interrupted and waits in the queue frees its fiber in time, and never runs", () =>
  Effect.gen(function*() {
    const memory = gate()
    const report = yield* Effect.gen(function*() {
      const held = [1, 2].map(() => Effect.forkChild(Blocking.run(functions.hold, memory), { startImmediately: true }))
      yield* Effect.all(held)
      yield* reaches(memory, 0, 2)
      const call = Effect.uninterruptible(Blocking.run(functions.counts, memory, 2))
      const report = yield* closedDuring(call, 500)
      set(memory, 1, 1)
      yield* Blocking.run(functions.triple, 1)
      return report
    }).pipe(pool())
    expect(linesOf(report)).toEqual(["app/work interrupted"])
    expect(Atomics.load(memory, 2)).toBe(0)
  }))

it.live("the call of a task that has a limit of its own and cannot be interrupted ends within that", () =>
  Effect.gen(function*() {
    const report = yield* Effect.gen(function*() {
      const scope = yield* TaskScope.make("app", { stopWithin: 8000 })
      yield* TaskScope.spawn(scope, Effect.uninterruptible(Blocking.run(functions.forever)), "work", {
        stopWithin: 2000
      })
      yield* busy
      return yield* TaskScope.close(scope)
    }).pipe(Effect.scoped, pool({ grace: 100 }))
    expect(linesOf(report)).toEqual(["app/work interrupted", "app/work/forever killed"])
    expect(report.took).toBeLessThan(2000)
  }))

it.live.each<[string, string, "interrupted" | "abandoned"]>([
  [
    "a thread that cannot be ended is given up in time, reported, and told of when it ends after all",
    "app/work/nativeSleep",
    "interrupted"
  ],
  [
    "a call that nobody can interrupt or end is given up in time, and its fiber goes on when it is over",
    "app/work",
    "abandoned"
  ]
])("%s", ([, path, outcome]) =>
  Effect.gen(function*() {
    const { layer, records } = makeRecorder()
    const { begun, call } = yield* nativeCall(3)
    const work = outcome === "interrupted" ? call : Effect.uninterruptible(call)
    const report = yield* Effect.gen(function*() {
      const report = yield* closedDuring(work, 500, begun)
      yield* eventually(
        Effect.sync(() => linesAt(records, "Warn").some((line) => line.startsWith(`Task ${path} ended after all`)))
      )
      return report
    }).pipe(pool({ grace: 0 }), Effect.provide(layer))
    expect(linesOf(report)).toEqual([`app/work ${outcome}`, "app/work/nativeSleep abandoned"])
    expect(report.took).toBeLessThan(700)
  }))

it.live("the thread of a call that cannot be interrupted is ended though the virtual clock of its scope stands still", () =>
  Effect.gen(function*() {
    const call = Effect.uninterruptible(Blocking.run(functions.forever))
    const stuck = Effect.scoped(Effect.gen(function*() {
      const scope = yield* TaskScope.make("app")
      yield* TaskScope.spawn(scope, call, "work")
    }))
    yield* Effect.exit(Effect.provide(stuck, TestClock.layer()))
    yield* counted("killed")
    expect(yield* Blocking.run(functions.triple, 2)).toBe(6)
  }).pipe(pool({ grace: 50 }), Effect.provide(makeRecorder().layer)))

it.live("a call in a finalizer of an app ends within the stop of the app", () =>
  Effect.gen(function*() {
    const Flushing = App.layer(
      "flushing",
      Effect.acquireRelease(Effect.void, () => Effect.ignore(Blocking.run(functions.forever))),
      { stopWithin: "3 seconds" }
    )
    const [report, status] = yield* Effect.gen(function*() {
      const report = yield* Host.launch(Layer.mergeAll(Flushing, Layer.effectDiscard(Host.requestStop("done"))))
      return [report, yield* Effect.flatMap(Blocking.Blocking, (pool) => pool.status)] as const
    }).pipe(pool({ grace: 100 }), Effect.provide(makeRecorder().layer))
    expect(report.apps[0]).toMatchObject({ resources: "failed" })
    expect(report.took).toBeLessThan(3000)
    expect(status).toMatchObject({ killed: 1, busy: 0, calls: [] })
  }))

it.live("a host in a hurry ends the threads of its calls without their grace, also of those that are in it", () =>
  Effect.gen(function*() {
    const memory = gate()
    let control: HostOwner.HostControl | undefined
    const owner: HostOwner.Owner = {
      launched: (host) => {
        control = host
      },
      changed: () => {},
      stopped: () => {},
      leftOpen: () => []
    }
    const Work = App.layer(
      "app",
      Effect.gen(function*() {
        yield* Task.spawn(Blocking.run(functions.hold, memory), "early", { stopAt: "stopping" })
        yield* Task.spawn(Blocking.run(functions.hold, memory), "late")
        yield* App.onStop("slow", Effect.never)
      })
    )
    const host = yield* Host.launch(Work, { name: "hub" }).pipe(
      Effect.provideService(HostOwner.HostOwner, owner),
      Effect.forkChild
    )
    yield* reaches(memory, 0, 2)
    control?.requestStop({ reason: "enough" })
    yield* counted("cancelled")
    control?.hurry("the user is gone", 10_000)
    const report = yield* Fiber.join(host)
    expect(linesOf(report).toSorted()).toEqual([
      "hub/app/early interrupted",
      "hub/app/early/hold killed",
      "hub/app/late interrupted",
      "hub/app/late/hold killed"
    ])
    expect(report.took).toBeLessThan(3000)
  }).pipe(pool({ grace: 60_000 }), Effect.provide(makeRecorder().layer)))

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
            yield* busy
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
