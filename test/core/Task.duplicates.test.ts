import { App, Bus, Host, InvalidOption, Job, Task, TaskRefused, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { type ScopeImpl } from "../../packages/core/src/internal/state.ts"
import { awakeClock } from "../support/awakeClock.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const awake = Layer.effectDiscard(awakeClock)
const inScope = Layer.merge(TaskScope.layer("app"), awake)
const scope = Effect.service(TaskScope.TaskScope)
const gateOf = Effect.map(scope, (self) => (self as unknown as ScopeImpl).gate!)
const drops = Effect.flatMap(scope, TaskScope.drops)
const isInvalid = Schema.is(InvalidOption)

/** Notes when each task begins and ends. */
const makeLog = () => {
  const lines: Array<string> = []
  const note = (line: string) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      lines.push(`${now} ${line}`)
    })
  const logged = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) =>
    note(`${name} begins`).pipe(Effect.andThen(effect), Effect.ensuring(note(`${name} ends`)))
  return { lines, note, logged }
}

const statusOf = (task: Task.Task) => task.status._tag
const outcomeOf = ({ status }: Task.Task) => status._tag === "Ended" ? status.outcome : status._tag

const replace = { onDuplicate: "replace" } as const
const skip = { onDuplicate: "skip" } as const
const queue = (n: number) => ({ onDuplicate: { queue: n } })

/** Work that does not end when it is interrupted. */
const stubborn = Effect.uninterruptible(Effect.never)
/** Work that takes a second to end. */
const slow = Effect.ensuring(Effect.never, Effect.sleep("1 second"))

describe("without the option", () => {
  it.effect("three tasks passed in one call all start (F1)", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const tasks = yield* Effect.all(["a", "b", "c"].map((name) => Task.spawn(logged(name, Effect.never), name)))
      assert.deepStrictEqual(lines, ["0 a begins", "0 b begins", "0 c begins"])
      assert.deepStrictEqual(tasks.map(statusOf), ["Running", "Running", "Running"])
    }).pipe(Effect.provide(inScope)))

  it.live("a task starts within 50 ms while another is pending, and long ones run (F2)", () =>
    Effect.gen(function*() {
      const long = yield* Task.after(Effect.never, "long", "1 hour")
      for (let i = 0; i < 100; i++) yield* Task.spawn(Effect.never, "busy")
      const waits = yield* Task.spawn(Effect.never, "busy", queue(1))
      const from = performance.now()
      let took = Infinity
      yield* Task.spawn(Effect.sync(() => (took = performance.now() - from)), "next")
      assert.isBelow(took, 50)
      assert.deepStrictEqual([statusOf(long), statusOf(waits)], ["Pending", "Pending"])
    }).pipe(Effect.provide(TaskScope.layer("app"))))

  it.effect("and with parallel, tasks of one name run beside each other", () =>
    Effect.gen(function*() {
      const tasks = [
        yield* Task.spawn(Effect.never, "poll"),
        yield* Task.spawn(Effect.never, "poll", { onDuplicate: "parallel" }),
        yield* Task.spawn(Effect.never, "poll", { onDuplicate: undefined })
      ]
      assert.deepStrictEqual(tasks.map(({ path }) => path), ["app/poll", "app/poll#2", "app/poll#3"])
      assert.isUndefined((yield* scope as unknown as Effect.Effect<ScopeImpl>).gate)
    }).pipe(Effect.provide(inScope)))

  it.effect("what is no choice is refused, and nothing runs", () =>
    Effect.gen(function*() {
      let ran = 0
      const task = yield* Task.spawn(Effect.never, "poll")
      const bad = [null, "", "queue", "restart", 1, true, {}, [], { queue: undefined }].concat(
        [0, -1, 1.5, NaN, Infinity, "2", null, 2 ** 60].map((n) => ({ queue: n })) as never
      )
      for (const onDuplicate of bad) {
        const refused = yield* Effect.flip(Task.spawn(Effect.sync(() => ran++), "poll", { onDuplicate } as never))
        assert.isTrue(
          isInvalid(refused) && refused.option === "onDuplicate of task \"app/poll\"",
          JSON.stringify(onDuplicate)
        )
      }
      const refused = yield* Effect.flip(Task.spawn(Effect.void, "poll", queue(0)))
      assert.strictEqual(
        refused.message,
        "onDuplicate of task \"app/poll\" is \"{\\\"queue\\\":0}\": how many wait must be a whole number from 1 on. " +
          "Choose one of \"parallel\", \"skip\", \"replace\", \"fail\" and { queue: n }."
      )
      assert.strictEqual(ran, 0)
      assert.strictEqual(statusOf(task), "Running")
    }).pipe(Effect.provide(inScope)))
})

describe("skip", () => {
  it.effect("gives the task that is there, however it was spawned, and begins when there is none", () =>
    Effect.gen(function*() {
      let ran = 0
      const work = Effect.andThen(Effect.sync(() => ran++), Effect.never)
      const first = yield* Task.spawn(work, "poll")
      assert.strictEqual(yield* Task.spawn(work, "poll", skip), first)
      assert.strictEqual(yield* Task.spawn(work, "poll", skip), first)
      assert.strictEqual(ran, 1)
      assert.deepStrictEqual(yield* drops, { skipped: 2, replaced: 0, refused: 0 })
      yield* first.interrupt()
      const next = yield* Task.spawn(work, "poll", skip)
      assert.notStrictEqual<unknown>(next, first)
      assert.strictEqual(next.path, "app/poll")
      assert.strictEqual(ran, 2)
      yield* Task.spawn(work, "other", skip)
      assert.strictEqual(ran, 3)
    }).pipe(Effect.provide(inScope)))

  it.effect("gives the oldest that is not stopping", () =>
    Effect.gen(function*() {
      const first = yield* Task.spawn(slow, "poll")
      const second = yield* Task.spawn(Effect.never, "poll")
      yield* Task.spawn(Effect.never, "poll")
      assert.strictEqual(yield* Task.spawn(Effect.never, "poll", skip), first)
      yield* Effect.forkChild(first.interrupt(), { startImmediately: true })
      assert.strictEqual(yield* Task.spawn(Effect.never, "poll", skip), second)
    }).pipe(Effect.provide(inScope)))

  it.effect("gives the task that is stopping when there is no other, so that two never run at once", () =>
    Effect.gen(function*() {
      const first = yield* Task.spawn(slow, "poll")
      yield* Effect.forkChild(first.interrupt(), { startImmediately: true })
      assert.strictEqual(yield* Task.spawn(Effect.never, "poll", skip), first)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(statusOf(yield* Task.spawn(Effect.never, "poll", skip)), "Running")
    }).pipe(Effect.provide(inScope)))

  it.effect("does not count what was given up", () =>
    Effect.gen(function*() {
      const first = yield* Task.spawn(stubborn, "poll", { stopWithin: "1 second" })
      yield* Effect.forkChild(first.interrupt(), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(statusOf(first), "Abandoned")
      const next = yield* Task.spawn(Effect.never, "poll", skip)
      assert.deepStrictEqual([next.path, statusOf(next)], ["app/poll#2", "Running"])
    }).pipe(Effect.provide(inScope)))

  it.effect("gives a task in its first step itself", () =>
    Effect.gen(function*() {
      const inner: Effect.Effect<unknown, Task.SpawnError, TaskScope.TaskScope> = Effect.suspend(() =>
        Task.spawn(inner, "poll", skip)
      )
      const task = yield* Task.spawn(inner, "poll", skip)
      assert.strictEqual(yield* task.join, task)
    }).pipe(Effect.provide(inScope)))
})

describe("fail", () => {
  it.effect("refuses while a task of that name lives, with what to do, and asks nobody to stop", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.never, "import")
      const refused = yield* Effect.flip(Task.spawn(Effect.void, "import", { onDuplicate: "fail" }))
      assert.deepInclude(refused, { _tag: "TaskRefused", path: "app/import", scope: "app", why: "name", limit: 1 })
      assert.strictEqual(
        refused.message,
        "app/import was refused and has not run: a task of that name is there already. Wait for its end, or choose " +
          "another onDuplicate, such as \"skip\""
      )
      assert.strictEqual(statusOf(task), "Running")
      assert.deepStrictEqual(yield* drops, { skipped: 0, replaced: 0, refused: 1 })
      // Who asked has the answer.
      assert.deepStrictEqual(linesAt(recorder.records, "Warn"), [])
      yield* task.interrupt()
      assert.strictEqual((yield* Task.spawn(Effect.void, "import", { onDuplicate: "fail" })).path, "app/import")
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })
})

describe("replace", () => {
  it.effect("takes the path of a task that ends at once, and begins before spawn returns", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const first = yield* Task.spawn(logged("first", Effect.never), "poll", replace)
      const second = yield* Task.spawn(logged("second", Effect.never), "poll", replace)
      assert.deepStrictEqual(lines, ["0 first begins", "0 first ends", "0 second begins"])
      assert.deepStrictEqual([outcomeOf(first), statusOf(second), second.path], ["interrupted", "Running", "app/poll"])
      assert.deepStrictEqual(yield* drops, { skipped: 0, replaced: 1, refused: 0 })
    }).pipe(Effect.provide(inScope)))

  it.effect("waits until the old one has ended, with its clean-up", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      yield* Task.spawn(logged("first", slow), "poll")
      const second = yield* Task.spawn(logged("second", Effect.never), "poll", replace)
      assert.deepStrictEqual([second.path, statusOf(second)], ["app/poll#2", "Pending"])
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(statusOf(second), "Pending")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(statusOf(second), "Running")
      assert.deepStrictEqual(lines, ["0 first begins", "1000 first ends", "1000 second begins"])
    }).pipe(Effect.provide(inScope)))

  it.effect("waits for all of that name, however they were spawned", () =>
    Effect.gen(function*() {
      const old = [
        yield* Task.spawn(slow, "poll"),
        yield* Task.spawn(Effect.never, "poll", skip),
        yield* Task.spawn(Effect.never, "poll"),
        yield* Task.after(Effect.never, "poll", "1 hour"),
        yield* Task.every(Effect.void, "poll", "1 hour")
      ]
      const next = yield* Task.spawn(Effect.never, "poll", replace)
      assert.deepStrictEqual(old.map(statusOf), ["Stopping", "Stopping", "Ended", "Ended", "Ended"])
      assert.strictEqual(statusOf(next), "Pending")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(statusOf(next), "Running")
      assert.deepStrictEqual(old.map(outcomeOf), [
        "interrupted",
        "interrupted",
        "interrupted",
        "neverStarted",
        "interrupted"
      ])
    }).pipe(Effect.provide(inScope)))

  it.effect("does not wait for ever: the old one is given up at the limit of its stop, and named", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const first = yield* Task.spawn(stubborn, "poll", { stopWithin: "3 seconds" })
      const second = yield* Task.spawn(Effect.never, "poll", replace)
      yield* TestClock.adjust("2999 millis")
      assert.deepStrictEqual([statusOf(first), statusOf(second)], ["Stopping", "Pending"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual([statusOf(first), statusOf(second)], ["Abandoned", "Running"])
      const warned = linesAt(recorder.records, "Warn").filter((line) => line.startsWith("Task app/poll did not stop"))
      assert.strictEqual(warned.length, 1)
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })

  it.effect("that comes again and again gives the old one no more time", () =>
    Effect.gen(function*() {
      const first = yield* Task.spawn(stubborn, "poll", { stopWithin: "3 seconds" })
      const waiting: Array<Task.Task> = []
      for (let i = 0; i < 6; i++) {
        waiting.push(yield* Task.spawn(Effect.never, "poll", replace))
        yield* TestClock.adjust("500 millis")
      }
      assert.strictEqual(statusOf(first), "Abandoned")
      assert.deepStrictEqual(waiting.map(outcomeOf), [...Array(5).fill("neverStarted"), "Running"])
    }).pipe(Effect.provide(inScope)))

  it.effect("that comes a hundred times has one wait for the old one, not a hundred", () =>
    Effect.gen(function*() {
      const first = yield* Task.spawn(stubborn, "poll")
      const observers = () => (Reflect.get(first.fiber, "_observers") as ReadonlyArray<unknown>).length
      yield* Task.spawn(Effect.never, "poll", replace)
      const before = observers()
      for (let i = 0; i < 99; i++) yield* Task.spawn(Effect.never, "poll", replace)
      assert.strictEqual(observers(), before)
      yield* TestClock.adjust("5 seconds")
    }).pipe(Effect.provide(inScope)))

  it.effect("three times at once leaves exactly the newest", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      yield* Task.spawn(logged("old", slow), "poll")
      const tasks = yield* Effect.all(
        ["a", "b", "c"].map((name) => Task.spawn(logged(name, Effect.never), "poll", replace)),
        { concurrency: "unbounded" }
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(tasks.map(outcomeOf), ["neverStarted", "neverStarted", "Running"])
      assert.deepStrictEqual(lines, ["0 old begins", "1000 old ends", "1000 c begins"])
      assert.deepStrictEqual(yield* drops, { skipped: 0, replaced: 3, refused: 0 })
    }).pipe(Effect.provide(inScope)))

  it.effect("stopped while it waits never begins, and what comes behind it goes on", () =>
    Effect.gen(function*() {
      yield* Task.spawn(slow, "poll")
      const second = yield* Task.spawn(Effect.never, "poll", replace)
      const third = yield* Task.spawn(Effect.never, "poll", queue(2))
      assert.isTrue(yield* second.interrupt())
      assert.strictEqual(outcomeOf(second), "neverStarted")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(statusOf(third), "Running")
    }).pipe(Effect.provide(inScope)))

  it.effect("from inside ends the spawner as all others, with no deadlock", () =>
    Effect.gen(function*() {
      const { lines, logged, note } = makeLog()
      const inner = Effect.andThen(
        Effect.sleep("1 second"),
        Effect.andThen(Task.spawn(logged("second", Effect.never), "poll", replace), note("not reached"))
      )
      const first = yield* Task.spawn(logged("first", inner), "poll")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(outcomeOf(first), "interrupted")
      assert.deepStrictEqual(lines, ["0 first begins", "1000 first ends", "1000 second begins"])
    }).pipe(Effect.provide(inScope)))

  it.effect("from inside, in the first step, does as well", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const inner = Effect.andThen(Task.spawn(logged("second", Effect.never), "poll", replace), Effect.never)
      const first = yield* Task.spawn(logged("first", inner), "poll")
      yield* first.await
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.deepStrictEqual(lines, ["0 first begins", "0 first ends", "0 second begins"])
    }).pipe(Effect.provide(inScope)))

  it.effect("from inside of what cannot be interrupted, and that waits for it, goes on after its limit", () =>
    Effect.gen(function*() {
      const { lines, note } = makeLog()
      const inner = Task.spawn(note("second"), "poll", replace).pipe(
        Effect.flatMap((task) => task.join),
        Effect.andThen(note("first has waited")),
        Effect.uninterruptible
      )
      const first = yield* Task.spawn(inner, "poll", { stopWithin: "2 seconds" })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["2000 second", "2000 first has waited"])
      assert.strictEqual(outcomeOf(first), "interrupted")
    }).pipe(Effect.provide(inScope)))

  it.effect("is the newest, also of those that the clean-up of the old one spawns", () =>
    Effect.gen(function*() {
      const { lines, logged, note } = makeLog()
      const again = (options: Task.SpawnOptions) =>
        Effect.onInterrupt(Effect.never, () =>
          Effect.ignore(Task.spawn(logged("respawned", Effect.never), "poll", options)))
      for (const options of [replace, { onDuplicate: "parallel" }] as const) {
        yield* note(options.onDuplicate)
        yield* Task.spawn(again(options), "poll", replace)
        const next = yield* Task.spawn(Effect.never, "poll", replace)
        yield* Effect.yieldNow
        yield* Effect.yieldNow
        assert.strictEqual(statusOf(next), "Running")
        const all = yield* Effect.flatMap(scope, TaskScope.tasks)
        assert.deepStrictEqual(all.map(statusOf), ["Running"])
      }
      assert.deepStrictEqual(lines, ["0 replace", "0 parallel", "0 respawned begins", "0 respawned ends"])
    }).pipe(Effect.provide(inScope)))

  it.effect("into a scope that is stopping is refused, and the old one is not asked", () =>
    Effect.gen(function*() {
      let seen: ReadonlyArray<unknown> = []
      const start = Effect.gen(function*() {
        const old = yield* Task.spawn(Effect.never, "poll")
        const again = Effect.flip(Task.spawn(Effect.never, "poll", replace))
        yield* App.onStop(
          "again",
          Effect.map(again, (error) => (seen = [error._tag, statusOf(old)])).pipe(Effect.ignore)
        )
      })
      yield* Effect.scoped(Layer.build(App.layer("sensor", start)))
      assert.deepStrictEqual(seen, ["ScopeClosed", "Running"])
    }))

  it.effect("waits for the promise that the old one has left behind, up to its limit", () =>
    Effect.gen(function*() {
      const { promise, resolve } = Promise.withResolvers<void>()
      const old = yield* Task.spawn(Job.run(Job.effect("fetch", () => promise))(), "poll")
      const next = yield* Task.spawn(Job.run(Job.effect("hang", () => new Promise(() => {})))(), "poll", replace)
      assert.deepStrictEqual([statusOf(old), statusOf(next)], ["Ended", "Pending"])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(statusOf(next), "Pending")
      resolve()
      yield* Effect.promise(() => promise)
      yield* TestClock.adjust(1)
      assert.strictEqual(statusOf(next), "Running")

      const last = yield* Task.spawn(Effect.never, "poll", skip)
      assert.strictEqual<unknown>(last, next)
      yield* next.interrupt()
      // Nobody has the name, but its work goes on.
      const skipped = yield* Task.spawn(Effect.never, "poll", skip)
      assert.strictEqual(statusOf(skipped), "Pending")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(statusOf(skipped), "Running")
    }).pipe(Effect.provide(inScope)))
})

describe("queue", () => {
  it.effect("runs one after the other in order of spawning, and at most n wait", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const spawn = (name: string) => Task.spawn(logged(name, Effect.sleep("1 second")), "send", queue(2))
      const tasks = [yield* spawn("a"), yield* spawn("b"), yield* spawn("c")]
      assert.deepStrictEqual(tasks.map(statusOf), ["Running", "Pending", "Pending"])
      const refused = yield* Effect.flip(spawn("d"))
      assert.deepInclude(refused, { _tag: "TaskRefused", path: "app/send", why: "name", limit: 1, waiting: 2 })
      assert.strictEqual(
        refused.message,
        "app/send was refused and has not run: 2 tasks of that name wait already, as its onDuplicate says. Raise its " +
          "queue, or spawn less often"
      )
      yield* TestClock.adjust("1 second")
      yield* spawn("e")
      assert.strictEqual((yield* Effect.flip(spawn("f")))._tag, "TaskRefused")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, [
        "0 a begins",
        "1000 a ends",
        "1000 b begins",
        "2000 b ends",
        "2000 c begins",
        "3000 c ends",
        "3000 e begins",
        "4000 e ends"
      ])
      assert.deepStrictEqual(yield* drops, { skipped: 0, replaced: 0, refused: 2 })

      // Said at most once a minute.
      for (const name of ["g", "h", "i"]) yield* spawn(name)
      yield* Effect.flip(spawn("j"))
      assert.deepStrictEqual(linesAt(recorder.records, "Warn"), [
        refused.message,
        `${refused.message} (and 1 more since the last such line)`
      ])
      assert.deepStrictEqual(recorder.records.find(({ level }) => level === "Warn")?.annotations, {
        task: "app/send",
        limit: 1,
        waiting: 2
      })
      assert.strictEqual(linesAt(recorder.records, "Debug").filter((line) => line === refused.message).length, 1)
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })

  it.effect("goes on behind what failed, was stopped, or was given up", () =>
    Effect.gen(function*() {
      const work = {
        fails: Effect.fail("no"),
        stops: Effect.never,
        sulks: stubborn,
        last: Effect.never
      }
      const options = { ...queue(9), stopWithin: "1 second", onFailure: "ignore" } as const
      const gate = yield* Task.spawn(Effect.sleep("1 second"), "send")
      const [fails, stops, sulks, last] = yield* Effect.all(
        Object.values(work).map((effect) => Task.spawn<never, string, never>(effect, "send", options))
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([gate, fails!].map(outcomeOf), ["completed", "failed"])
      assert.strictEqual(statusOf(stops!), "Running")
      yield* stops!.interrupt()
      yield* TestClock.adjust(1)
      assert.strictEqual(statusOf(sulks!), "Running")
      yield* Effect.forkChild(sulks!.interrupt(), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([statusOf(sulks!), statusOf(last!)], ["Abandoned", "Running"])
    }).pipe(Effect.provide(inScope)))

  it.effect("closes up when one that waits is stopped, and has room again", () =>
    Effect.gen(function*() {
      const head = yield* Task.spawn(Effect.never, "send", queue(2))
      const [b, c] = [
        yield* Task.spawn(Effect.never, "send", queue(2)),
        yield* Task.spawn(Effect.never, "send", queue(2))
      ]
      yield* b.interrupt()
      const d = yield* Task.spawn(Effect.never, "send", queue(2))
      assert.strictEqual((yield* Effect.flip(Task.spawn(Effect.never, "send", queue(2))))._tag, "TaskRefused")
      yield* head.interrupt()
      yield* TestClock.adjust(1)
      assert.deepStrictEqual([b, c, d].map(outcomeOf), ["neverStarted", "Running", "Pending"])
    }).pipe(Effect.provide(inScope)))

  it.effect("waits for tasks that were spawned without it, but not for those that come later", () =>
    Effect.gen(function*() {
      const first = yield* Task.spawn(Effect.never, "send")
      const waits = yield* Task.spawn(Effect.never, "send", queue(1))
      const later = yield* Task.spawn(Effect.never, "send")
      assert.deepStrictEqual([waits, later].map(statusOf), ["Pending", "Running"])
      yield* first.interrupt()
      yield* TestClock.adjust(1)
      assert.strictEqual(statusOf(waits), "Running")
      const behind = yield* Task.spawn(Effect.never, "send", queue(1))
      yield* waits.interrupt()
      yield* TestClock.adjust(1)
      assert.strictEqual(statusOf(behind), "Pending", "it came after `later`")
      yield* later.interrupt()
      yield* TestClock.adjust(1)
      assert.strictEqual(statusOf(behind), "Running")
    }).pipe(Effect.provide(inScope)))

  it.effect("begins also when its turn comes before its fiber waits for that", () =>
    Effect.gen(function*() {
      for (let op = 1; op < 20; op++) {
        let left = op
        const scheduler: Scheduler.Scheduler = {
          executionMode: "async",
          shouldYield: () => --left === 0,
          makeDispatcher: () => new Scheduler.MixedScheduler().makeDispatcher()
        }
        const head = yield* Task.spawn(Effect.never, `send-${op}`)
        const spawn = yield* Effect.flatMap(scope, (self) => TaskScope.runtime(self)).pipe(
          Effect.provideService(Scheduler.Scheduler, scheduler)
        )
        left = op
        const next = Result.getOrThrow(spawn(Effect.never, `send-${op}`, queue(1)))
        yield* head.interrupt()
        yield* TestClock.adjust(1)
        yield* TestClock.adjust(1)
        assert.strictEqual(statusOf(next), "Running", `${op}`)
      }
    }).pipe(Effect.provide(inScope)))

  it.effect("from inside waits until the spawner has ended", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const inner = Effect.andThen(
        Task.spawn(logged("second", Effect.void), "send", queue(1)),
        Effect.sleep("1 second")
      )
      yield* Task.spawn(logged("first", inner), "send", queue(1))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines, ["0 first begins", "1000 first ends", "1000 second begins", "1000 second ends"])
    }).pipe(Effect.provide(inScope)))

  it.live(
    "of 20,000 that never wait neither overflows the stack nor holds up the others",
    () =>
      Effect.gen(function*() {
        const count = 20_000
        const head = yield* Task.spawn(Effect.never, "send")
        let ran = 0
        let tasks: ReadonlyArray<Task.Task> = []
        tasks = yield* Effect.forEach(
          Array.from({ length: count }),
          () => Task.spawn(Effect.sync(() => ran++), "send", queue(count))
        )
        yield* head.interrupt()
        yield* Effect.yieldNow
        yield* Effect.yieldNow
        assert.isBelow(ran, 100)
        yield* tasks.at(-1)!.await
        assert.strictEqual(ran, count)
      }).pipe(Effect.provide(TaskScope.layer("app"))),
    30_000
  )

  it.effect("of a foreground task is waited for by awaitIdle and by the drain, and its limit counts from its begin", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const start = Effect.gen(function*() {
        for (const name of ["a", "b"]) {
          yield* Task.spawn(logged(name, Effect.sleep("800 millis")), "send", {
            ...queue(1),
            kind: "foreground",
            within: "1 second"
          })
        }
        yield* Task.spawn(Effect.never, "poll", skip)
      })
      const host = yield* Effect.forkChild(Host.launch(App.layer("mail", start), { stopWhenIdle: true }))
      yield* TestClock.adjust("1 minute")
      const report = yield* Fiber.join(host)
      assert.deepStrictEqual(lines, ["0 a begins", "800 a ends", "800 b begins", "1600 b ends"])
      assert.isTrue(report.clean)

      lines.length = 0
      const stopping = yield* Effect.forkChild(Effect.scoped(Layer.build(App.layer("mail", start))))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(lines.map((line) => line.replace(/^\d+ /, "")), [
        "a begins",
        "a ends",
        "b begins",
        "b ends"
      ])
    }))

  it.effect("a task that was queued and has not started is in the report when the app closes (F8)", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const start = Effect.gen(function*() {
        for (const name of ["a", "b"]) yield* Task.spawn(logged(name, Effect.never), "send", queue(1))
        yield* Task.spawn(logged("c", slow), "sync", skip)
        yield* Task.spawn(logged("d", Effect.never), "sync", replace)
      })
      const reports: Array<unknown> = []
      yield* Effect.scoped(Effect.gen(function*() {
        const launched = yield* Effect.forkChild(Host.launch(Layer.merge(
          App.layer("mail", start),
          App.layer("admin", Task.spawn(Host.requestStop("enough"), "stop", { startImmediately: false }))
        )))
        yield* TestClock.adjust("1 second")
        const report = yield* Fiber.join(launched)
        reports.push(
          report.tasks.map(({ outcome, path }) => [path, outcome]).toSorted((a, b) => a[0]!.localeCompare(b[0]!))
        )
      }))
      assert.deepStrictEqual(reports, [[
        ["host/admin/stop", "completed"],
        ["host/mail/send", "interrupted"],
        ["host/mail/send#2", "neverStarted"],
        ["host/mail/sync", "interrupted"],
        ["host/mail/sync#2", "neverStarted"]
      ]])
      assert.notInclude(lines.join(), "b begins")
      assert.notInclude(lines.join(), "d begins")
    }))

  const thousands = Effect.gen(function*() {
    let began = -1
    yield* Task.spawn(Effect.never, "send")
    const work = Effect.andThen(Effect.sync(() => began++), Effect.never)
    const waiting = yield* Effect.forEach(
      Array.from({ length: 3000 }),
      () => Task.spawn(work, "send", queue(3000))
    )
    began = 0
    return { began: () => began, waiting }
  })

  it.effect("ends with a close, and nothing of it begins meanwhile", () =>
    Effect.gen(function*() {
      const { began, waiting } = yield* thousands
      const report = yield* Effect.flatMap(scope, TaskScope.close)
      assert.strictEqual(began(), 0)
      assert.isTrue(waiting.every((task) => outcomeOf(task) === "neverStarted"))
      assert.strictEqual(report.tasks.filter(({ outcome }) => outcome === "neverStarted").length, 3000)
    }).pipe(Effect.provide(inScope)))

  it.effect("ends with cancelAll, and nothing of it begins meanwhile", () =>
    Effect.gen(function*() {
      const { began, waiting } = yield* thousands
      yield* Effect.flatMap(scope, TaskScope.cancelAll)
      assert.strictEqual(began(), 0)
      assert.isTrue(waiting.every((task) => outcomeOf(task) === "neverStarted"))
      assert.strictEqual(statusOf(yield* Task.spawn(Effect.never, "send", queue(1))), "Running")
    }).pipe(Effect.provide(inScope)))
})

describe("a delayed or repeated task", () => {
  it.effect("is put off by each replacement, and takes place once", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const flush = logged("flush", Effect.void).pipe(Task.after("flush", "1 second", replace))
      for (let i = 0; i < 3; i++) {
        yield* flush
        yield* TestClock.adjust("600 millis")
      }
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["2200 flush begins", "2200 flush ends"])
    }).pipe(Effect.provide(inScope)))

  it.effect("lets its delay pass while it waits for others", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      yield* Task.spawn(Effect.sleep("3 seconds"), "flush")
      yield* logged("a", Effect.sleep("1 second")).pipe(Task.after("flush", "1 second", queue(2)))
      yield* logged("b", Effect.void).pipe(Task.after("flush", "10 seconds", queue(2)))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(lines, ["3000 a begins", "4000 a ends", "10000 b begins", "10000 b ends"])
    }).pipe(Effect.provide(inScope)))

  it.effect("is skipped, replaced and counted as the task that it is, with all its runs", () =>
    Effect.gen(function*() {
      const plain = yield* Task.spawn(Effect.never, "sweep")
      const skipped = yield* Task.every(Effect.void, "sweep", "1 second", skip)
      assert.strictEqual<unknown>(skipped, plain)
      assert.isTrue(Option.isNone(Task.runs(skipped)))
      const sweep = yield* Task.every(Effect.void, "sweep", "1 second", replace)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Task.every(Effect.void, "sweep", "1 second", skip), sweep)
      const cron = yield* Task.cron(Effect.void, "sweep", "* * * * * *", replace)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual([outcomeOf(sweep), statusOf(cron)], ["interrupted", "Running"])
      const completed = [sweep, cron].map((task) => Option.getOrThrow(Task.runs(task)).completed)
      assert.deepStrictEqual(completed, [2, 3])
    }).pipe(Effect.provide(inScope)))
})

describe("maxTasks", () => {
  const limited = (maxTasks: TaskScope.TaskScopeOptions["maxTasks"]) =>
    Layer.merge(TaskScope.layer("app", { maxTasks }), awake)

  it.effect("refuses what is more, with or without options, until a task ends", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const one = yield* Task.spawn(Effect.never, "one")
      yield* Task.spawn(Effect.never, "two", { kind: "foreground" })
      const refused = yield* Effect.flip(Task.spawn(Effect.never, "three"))
      assert.deepInclude(refused, { _tag: "TaskRefused", path: "app/three", why: "maxTasks", limit: 2, waiting: 0 })
      assert.strictEqual(
        refused.message,
        "app/three was refused and has not run: scope app has 2 tasks, as its maxTasks says. Raise that, or spawn less " +
          "at once"
      )
      assert.strictEqual((yield* Effect.flip(Task.after(Effect.never, "three", "1 second")))._tag, "TaskRefused")
      yield* one.interrupt()
      yield* Task.spawn(Effect.void, "three")
      yield* Task.spawn(Effect.never, "three")
      assert.deepStrictEqual(yield* drops, { skipped: 0, replaced: 0, refused: 2 })
      assert.deepStrictEqual(linesAt(recorder.records, "Warn"), [refused.message])
    }).pipe(Effect.provide(limited(2)), Effect.provide(recorder.layer))
  })

  it.effect("lets some wait, in order of spawning, and refuses what is more", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const tasks = yield* Effect.forEach(
        ["a", "b", "c", "d"],
        (name, i) => Task.spawn(logged(name, Effect.sleep(1000 + i * 10)), name)
      )
      assert.deepStrictEqual(tasks.map(statusOf), ["Running", "Running", "Pending", "Pending"])
      const refused = yield* Effect.flip(Task.spawn(Effect.void, "e"))
      assert.deepInclude(refused, { why: "maxTasks", limit: 2, waiting: 2 })
      assert.include(refused.message, "scope app has 2 tasks and 2 more wait, as its maxTasks says")
      yield* tasks[3]!.interrupt()
      yield* Task.spawn(logged("f", Effect.void), "f")
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(lines, [
        "0 a begins",
        "0 b begins",
        "1000 a ends",
        "1000 c begins",
        "1010 b ends",
        "1010 f begins",
        "1010 f ends",
        "2020 c ends"
      ])
      assert.deepStrictEqual(tasks.map(outcomeOf), ["completed", "completed", "completed", "neverStarted"])
    }).pipe(Effect.provide(limited({ atOnce: 2, queue: 2 }))))

  it.effect("counts a delayed task, and neither child scopes, nor what was given up, nor the body and the start", () =>
    Effect.gen(function*() {
      const body = TaskScope.use("inner", () =>
        Effect.gen(function*() {
          yield* Task.spawn(Effect.void, "quick")
          const own = yield* scope
          const child = yield* TaskScope.child(own, "child")
          for (let i = 0; i < 5; i++) yield* TaskScope.spawn(child, Effect.void, "free", skip)
          const late = yield* Task.after(Effect.void, "late", "1 second")
          assert.strictEqual((yield* Effect.flip(Task.spawn(Effect.void, "no")))._tag, "TaskRefused")
          yield* late.interrupt()
          const sulks = yield* Task.spawn(stubborn, "sulks", { stopWithin: "1 second", kind: "background" })
          yield* Effect.forkChild(sulks.interrupt(), { startImmediately: true })
          yield* Effect.sleep("1 second")
          yield* Task.spawn(Effect.void, "free")
          return "done"
        }), { maxTasks: 1 })
      const done = yield* Effect.forkChild(body)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(done), "done")

      const start = Effect.gen(function*() {
        yield* Task.spawn(Effect.never, "one")
        return yield* Effect.flip(Task.spawn(Effect.never, "two"))
      })
      yield* Effect.scoped(Layer.build(App.layer("sensor", start, { maxTasks: 1 })))
    }))

  it.effect("lets a replacement have the place of the old one, and stops nothing for what is refused", () =>
    Effect.gen(function*() {
      const old = yield* Task.spawn(slow, "poll")
      const next = yield* Task.spawn(Effect.never, "poll", replace)
      assert.deepStrictEqual([statusOf(old), statusOf(next)], ["Stopping", "Pending"])
      assert.strictEqual((yield* Effect.flip(Task.spawn(Effect.never, "other", replace)))._tag, "TaskRefused")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(statusOf(next), "Running")
      assert.strictEqual((yield* Effect.flip(Task.spawn(Effect.never, "other")))._tag, "TaskRefused")
      assert.strictEqual(yield* Task.spawn(Effect.never, "poll", skip), next)
      yield* next.interrupt()
      yield* Task.spawn(Effect.never, "other")
      const refused = yield* Effect.flip(Task.spawn(Effect.never, "poll", replace))
      assert.strictEqual(refused._tag, "TaskRefused")
    }).pipe(Effect.provide(limited(1))))

  it.effect("and the names together: a replacement of what waits for a place waits for one itself", () =>
    Effect.gen(function*() {
      const busy = yield* Task.spawn(Effect.never, "busy")
      const old = yield* Task.spawn(Effect.never, "poll")
      const next = yield* Task.spawn(Effect.never, "poll", replace)
      assert.deepStrictEqual([outcomeOf(old), statusOf(next)], ["neverStarted", "Pending"])
      assert.strictEqual((yield* Effect.flip(Task.spawn(Effect.never, "other")))._tag, "TaskRefused")
      yield* busy.interrupt()
      yield* TestClock.adjust(1)
      assert.strictEqual(statusOf(next), "Running")
    }).pipe(Effect.provide(limited({ atOnce: 1, queue: 1 }))))

  it.effect("leaves its places to others while a task waits for those of its name", () =>
    Effect.gen(function*() {
      const { lines, logged } = makeLog()
      const spawn = (name: string) => Task.spawn(logged(name, Effect.sleep("1 second")), name.slice(0, 4), queue(5))
      for (const name of ["send1", "send2", "send3", "poll1", "sync1"]) yield* spawn(name)
      assert.deepStrictEqual(lines, ["0 send1 begins", "0 poll1 begins"])
      yield* TestClock.adjust("1 minute")
      // In the order in which they came to wait for a place.
      assert.deepStrictEqual(lines.filter((line) => line.endsWith("begins")).slice(2), [
        "1000 sync1 begins",
        "1000 send2 begins",
        "2000 send3 begins"
      ])
    }).pipe(Effect.provide(limited({ atOnce: 2, queue: 1 }))))

  it.effect("and the names together: of a name no more wait than its queue says, however they were spawned", () =>
    Effect.gen(function*() {
      const self = yield* TaskScope.make("app", { maxTasks: { atOnce: 1, queue: 10 } })
      const spawn = (options?: Task.SpawnOptions) => Effect.exit(TaskScope.spawn(self, Effect.never, "send", options))
      const first = yield* TaskScope.spawn(self, Effect.never, "first")
      const tags = [(yield* spawn())._tag, (yield* spawn(queue(1)))._tag, (yield* spawn(queue(2)))._tag]
      yield* first.interrupt()
      yield* TestClock.adjust(0)
      for (const n of [1, 2]) tags.push((yield* spawn(queue(n)))._tag)
      assert.deepStrictEqual(tags, ["Success", "Failure", "Success", "Failure", "Success"])
    }).pipe(Effect.scoped, Effect.provide(makeRecorder().layer)))

  it.effect("gives the place of what is replaced to nobody else, also when that ends at once", () =>
    Effect.gen(function*() {
      const old = yield* Task.spawn(Effect.never, "poll")
      const waits = yield* Task.spawn(Effect.never, "other")
      const next = yield* Task.spawn(Effect.never, "poll", replace)
      assert.deepStrictEqual([old, waits, next].map(outcomeOf), ["interrupted", "Pending", "Running"])
      const closes = Effect.onInterrupt(Effect.never, () => Effect.flatMap(scope, TaskScope.close))
      const last = yield* Task.spawn(closes, "poll", replace)
      assert.strictEqual((yield* Effect.flip(Task.spawn(Effect.never, "poll", replace)))._tag, "ScopeClosed")
      yield* TestClock.adjust(1)
      assert.deepStrictEqual([waits, last].map(outcomeOf), ["neverStarted", "interrupted"])
      assert.strictEqual((yield* gateOf).taken, 0)
    }).pipe(Effect.provide(limited({ atOnce: 1, queue: 1 }))))

  it.effect("ends what waits with the close, and reports it", () =>
    Effect.gen(function*() {
      yield* Effect.forEach(["a", "b"], (name) => Task.spawn(Effect.never, name))
      const report = yield* Effect.flatMap(scope, TaskScope.close)
      assert.deepStrictEqual(report.tasks.map(({ outcome, path }) => [path, outcome]), [
        ["app/a", "interrupted"],
        ["app/b", "neverStarted"]
      ])
      assert.strictEqual((yield* Effect.flip(Task.spawn(Effect.never, "c")))._tag, "ScopeClosed")
    }).pipe(Effect.provide(limited({ atOnce: 1, queue: 1 }))))

  it.effect("is waited for by awaitIdle, as far as it is foreground", () =>
    Effect.gen(function*() {
      const { lines, logged, note } = makeLog()
      for (const name of ["a", "b"]) {
        yield* Task.spawn(logged(name, Effect.sleep("1 second")), name, { kind: "foreground" })
      }
      const idle = yield* Effect.forkChild(
        Effect.andThen(Effect.flatMap(scope, (self) => TaskScope.awaitIdle(self)), note("idle"))
      )
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(idle)
      assert.strictEqual(lines.at(-1), "2000 idle")
    }).pipe(Effect.provide(limited({ atOnce: 1, queue: 1 }))))

  it.effect("refuses a plain callback as well, and says so once a minute", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const spawn = yield* TaskScope.runtime(yield* scope)
      assert.isTrue(Result.isSuccess(spawn(Effect.never, "message")))
      for (let i = 0; i < 3; i++) {
        const refused = spawn(Effect.never, "message")
        assert.isTrue(Result.isFailure(refused) && refused.failure instanceof TaskRefused)
      }
      assert.strictEqual(linesAt(recorder.records, "Warn").length, 1)
      spawn(Effect.never, "message", { onDuplicate: "fail" })
      assert.strictEqual(linesAt(recorder.records, "Warn").length, 2)
    }).pipe(Effect.provide(limited(1)), Effect.provide(recorder.layer))
  })

  it.effect("drops an event whose handler finds no room, and keeps the handler", () => {
    const Numbers = Bus.topic("numbers", Schema.Finite)
    return Effect.gen(function*() {
      const seen: Array<number> = []
      yield* Bus.on(Numbers, Job.effect("note", (n: number) => Effect.sync(() => seen.push(n))))
      yield* Bus.publish(Numbers, 1)
      const busy = yield* Task.spawn(Effect.never, "busy")
      yield* Bus.publish(Numbers, 2)
      yield* busy.interrupt()
      yield* Bus.publish(Numbers, 3)
      assert.deepStrictEqual(seen, [1, 3])
      assert.strictEqual((yield* Bus.status).find(({ topic }) => topic === "numbers")?.dropped, 1)
    }).pipe(Effect.provide(Layer.merge(Bus.layer, limited(1))))
  })

  it.effect("that is no such number is refused where the scope or the app is made", () =>
    Effect.gen(function*() {
      const open = yield* scope
      const bad = [0, -1, 1.5, NaN, Infinity, null, "3", {}, { atOnce: 1 }, { queue: 1 }, { atOnce: 0, queue: 1 }, {
        atOnce: 1,
        queue: NaN
      }] as Array<never>
      for (const maxTasks of bad) {
        for (
          const [of, made] of [
            ["scope \"app/x\"", TaskScope.make("x", { maxTasks })],
            ["scope \"app/x\"", TaskScope.child(open, "x", { maxTasks })],
            ["scope \"app/x\"", TaskScope.use("x", () => Effect.void, { maxTasks })],
            ["app \"app/x\"", Layer.build(App.layer("x", Effect.void, { maxTasks }))]
          ] as const
        ) {
          const refused: unknown = yield* Effect.flip(made as Effect.Effect<unknown, unknown>)
          assert.isTrue(isInvalid(refused) && refused.option === `maxTasks of ${of}`, `${of} ${String(maxTasks)}`)
        }
      }
    }).pipe(Effect.scoped, Effect.provide(inScope)))
})

describe("what came of it", () => {
  it.effect("is in the metrics while the scope is open", () =>
    Effect.gen(function*() {
      const read = Effect.map(Metric.snapshot, (all) =>
        Object.fromEntries(
          all.filter(({ attributes, id }) => id.startsWith("ambit_tasks") && attributes?.["scope"] === "metered")
            .map(({ id, state }) => [
              id.slice("ambit_tasks_".length),
              "count" in state ? state.count : Reflect.get(state, "value")
            ])
        ))
      const self = yield* TaskScope.make("metered")
      const spawn = (options?: Task.SpawnOptions) => Effect.exit(TaskScope.spawn(self, Effect.never, "poll", options))
      yield* spawn()
      assert.deepStrictEqual(yield* read, {})
      for (const options of [queue(1), queue(1), skip, { onDuplicate: "fail" } as const]) yield* spawn(options)
      assert.deepStrictEqual(yield* read, { waiting: 1, skipped_total: 1, replaced_total: 0, refused_total: 2 })
      yield* spawn(replace)
      assert.deepStrictEqual(yield* read, { waiting: 0, skipped_total: 1, replaced_total: 2, refused_total: 2 })
      yield* TaskScope.close(self)
      assert.deepStrictEqual(yield* read, {})
      assert.deepStrictEqual(yield* TaskScope.drops(self), { skipped: 1, replaced: 2, refused: 2 })
    }).pipe(Effect.scoped))

  it.effect("leaves nothing behind: a scope forgets the names of tasks that have ended", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 100; i++) {
        const name = `fetch-${i}`
        yield* Task.spawn(Effect.never, name, skip)
        yield* Task.spawn(Effect.never, name, replace)
        yield* Task.spawn(Effect.never, name, queue(1))
      }
      yield* Effect.flatMap(scope, TaskScope.cancelAll)
      const { entries, forPlace, lines, taken, waiting } = yield* gateOf
      assert.deepStrictEqual([entries.size, lines.size, forPlace.size, waiting, taken], [
        0,
        0,
        0,
        0,
        0
      ])
    }).pipe(Effect.provide(inScope)))
})
