import { App, Host, InvalidOption, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as References from "effect/References"
import { TestClock } from "effect/testing"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { awakeClock } from "../support/awakeClock.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const inScope = TaskScope.layer("app")

const paths = Effect.map(
  Effect.flatMap(TaskScope.TaskScope, TaskScope.tasks),
  (tasks) => tasks.map((task) => task.path)
)

describe("spawning", () => {
  it.effect("a task that waits is given at once and is listed (A1, A7)", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.never, "poll")
      assert.strictEqual(task.path, "app/poll")
      assert.strictEqual(task.name, "poll")
      assert.strictEqual(task.status._tag, "Running")
      assert.deepStrictEqual(yield* paths, ["app/poll"])
    }).pipe(Effect.provide(inScope)))

  it.effect("a fresh scope lists no tasks (A2)", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* paths, [])
    }).pipe(Effect.provide(inScope)))

  it.effect("a task that has completed is listed no more (A3)", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.sleep("1 second"), "nap")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(task.status, { _tag: "Ended", exit: Exit.void, outcome: "completed", after: 1000 })
      assert.deepStrictEqual(yield* paths, [])
    }).pipe(Effect.provide(inScope)))

  it.effect("a task that was interrupted and has ended is listed no more (A4)", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.never, "poll")
      assert.isTrue(yield* task.interrupt("enough"))
      assert.deepStrictEqual(yield* paths, [])
    }).pipe(Effect.provide(inScope)))

  it.effect("a list of tasks is a snapshot of its own (A5)", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      yield* Task.spawn(Effect.never, "one")
      const before = yield* TaskScope.tasks(scope)
      yield* Task.spawn(Effect.never, "two")
      assert.strictEqual(before.length, 1)
      ;(before as Array<Task.Task>).length = 0
      assert.deepStrictEqual(yield* paths, ["app/one", "app/two"])
    }).pipe(Effect.provide(inScope)))

  it.effect("a second live task of a name gets #2, and the name is free again when both have ended", () =>
    Effect.gen(function*() {
      const one = yield* Task.spawn(Effect.never, "poll")
      const two = yield* Task.spawn(Effect.never, "poll")
      const three = yield* Task.spawn(Effect.never, "poll")
      assert.deepStrictEqual([one.path, two.path, three.path], ["app/poll", "app/poll#2", "app/poll#3"])
      yield* two.interrupt()
      const four = yield* Task.spawn(Effect.never, "poll")
      assert.strictEqual(four.path, "app/poll#4", "a number is not used again while a namesake lives")
      yield* one.interrupt()
      yield* three.interrupt()
      yield* four.interrupt()
      assert.strictEqual((yield* Task.spawn(Effect.never, "poll")).path, "app/poll")
    }).pipe(Effect.provide(inScope)))

  it.effect("data-first and data-last are the same", () =>
    Effect.gen(function*() {
      const first = yield* Task.spawn(Effect.succeed(1), "first", { kind: "foreground" })
      const last = yield* Effect.succeed(1).pipe(Task.spawn("last", { kind: "foreground" }))
      assert.strictEqual(yield* first.join, yield* last.join)
      assert.strictEqual(first.kind, last.kind)
    }).pipe(Effect.provide(inScope)))

  it.effect("services, references and log annotations of the spawner flow in", () => {
    const Greeting = Context.Reference<string>("test/Greeting", { defaultValue: () => "none" })
    return Effect.gen(function*() {
      const task = yield* Task.spawn(
        Effect.all([Greeting, Effect.map(References.CurrentLogAnnotations, (annotations) => annotations.request)]),
        "greet"
      ).pipe(Effect.annotateLogs("request", 7), Effect.provideService(Greeting, "hello"))
      assert.deepStrictEqual(yield* task.join, ["hello", 7])
    }).pipe(Effect.provide(inScope))
  })

  it.effect("what a task logs names it, also in its children, in every format, and in no other task", () => {
    const lines: Array<string> = []
    const collect = (logger: Logger.Logger<unknown, string>) => Logger.map(logger, (line) => void lines.push(line))
    return Effect.gen(function*() {
      const inner = Effect.annotateLogs(Effect.log("annotated"), "request", 7)
      const outer = Effect.gen(function*() {
        yield* Effect.log("plain")
        yield* Fiber.join(yield* Effect.forkChild(Effect.log("child")))
        yield* Effect.annotateLogs(Task.spawn(inner, "inner"), "user", "ann")
      })
      yield* Effect.flatMap(Task.spawn(outer, "outer"), (task) => task.join)
      assert.deepStrictEqual(
        lines.map((line) => line.replace(/^.*(?=message=)|^.*"message":|"level".*"annotations":|,"spans".*$/g, "")),
        [
          "message=plain task=app/outer",
          "\"plain\",{\"task\":\"app/outer\"}",
          "message=child task=app/outer",
          "\"child\",{\"task\":\"app/outer\"}",
          "message=annotated task=app/inner user=ann request=7",
          "\"annotated\",{\"task\":\"app/inner\",\"user\":\"ann\",\"request\":7}"
        ]
      )
    }).pipe(
      Effect.provide(inScope),
      Effect.provide(Logger.layer([collect(Logger.formatLogFmt), collect(Logger.formatJson)]))
    )
  })

  it.effect("what a task forks with Effect.forkChild ends with it (A12)", () =>
    Effect.gen(function*() {
      const ended: Array<string> = []
      const child = Effect.ensuring(Effect.never, Effect.sync(() => ended.push("child")))
      yield* Task.spawn(Effect.andThen(Effect.forkChild(child, { startImmediately: true }), Effect.never), "parent")
      yield* TaskScope.close(yield* TaskScope.TaskScope)
      assert.deepStrictEqual(ended, ["child"])
    }).pipe(Effect.provide(inScope)))

  it.effect("the end of the spawning fiber leaves the task alone", () =>
    Effect.gen(function*() {
      const spawner = yield* Effect.forkChild(Task.spawn(Effect.never, "poll"))
      const task = yield* Fiber.join(spawner)
      assert.strictEqual(task.status._tag, "Running")
    }).pipe(Effect.provide(inScope)))

  it.live("a task whose handle nobody keeps is not collected (A13)", () =>
    Effect.gen(function*() {
      setFlagsFromString("--expose-gc")
      const collect = runInNewContext("gc") as () => void
      const scope = yield* TaskScope.TaskScope
      let cleaned = false
      yield* Task.spawn(Effect.ensuring(Effect.never, Effect.sync(() => (cleaned = true))), "forgotten")
      for (let i = 0; i < 3; i++) {
        collect()
        yield* Effect.yieldNow
      }
      yield* TaskScope.close(scope)
      assert.isTrue(cleaned)
    }).pipe(Effect.provide(inScope)))

  it.effect("tasks that spawn inside each other 5,000 deep do not overflow the stack", () =>
    Effect.gen(function*() {
      let deepest = 0
      const dive = (depth: number): Effect.Effect<void, never, TaskScope.TaskScope> =>
        Effect.suspend(() => {
          deepest = depth
          return depth === 5000 ? Effect.void : Effect.asVoid(Effect.orDie(Task.spawn(dive(depth + 1), "dive")))
        })
      yield* Task.spawn(dive(1), "dive", { kind: "foreground" })
      yield* TaskScope.awaitIdle(yield* TaskScope.TaskScope, { background: true })
      assert.strictEqual(deepest, 5000)
    }).pipe(Effect.provide(inScope)))
})

describe("start", () => {
  it.effect("a task that starts at once has run up to its first wait when spawn returns (H1)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const body = Effect.sync(() => log.push("begun")).pipe(
        Effect.andThen(Effect.never),
        Effect.andThen(Effect.sync(() => log.push("never")))
      )
      yield* Task.spawn(body, "eager")
      assert.deepStrictEqual(log, ["begun"])
    }).pipe(Effect.provide(inScope)))

  it.effect("a task that starts at once and never waits has ended when spawn returns (H2)", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.succeed(42), "answer")
      assert.strictEqual(task.status._tag, "Ended")
      assert.deepStrictEqual(yield* paths, [])
      assert.strictEqual(yield* task.join, 42)
    }).pipe(Effect.provide(inScope)))

  it.effect("a deferred task has not run when spawn returns, and runs a turn later (H3)", () =>
    Effect.gen(function*() {
      let ran = false
      const task = yield* Task.spawn(Effect.sync(() => (ran = true)), "later", { startImmediately: false })
      assert.isFalse(ran)
      assert.strictEqual(task.status._tag, "Pending")
      yield* task.await
      assert.isTrue(ran)
    }).pipe(Effect.provide(inScope)))

  it.effect("a task that is asked to stop before its own spawn has returned is interrupted at its first wait", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const task = yield* Task.spawn(Effect.andThen(TaskScope.cancelAll(scope), Effect.never), "self")
      assert.strictEqual(task.status._tag === "Ended" && task.status.outcome, "interrupted")
    }).pipe(Effect.provide(inScope)))

  it.effect("a deferred task that is stopped before its first step is told apart", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const task = yield* Task.spawn(Effect.die("ran"), "later", { startImmediately: false })
      yield* TaskScope.cancelAll(scope)
      assert.strictEqual(task.status._tag === "Ended" && task.status.outcome, "neverStarted")
    }).pipe(Effect.provide(inScope)))
})

describe("the first step", () => {
  it.effect("of a task can be waited for and stopped from inside, before its spawn has returned", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const seen: Array<unknown> = []
      const note = (value: unknown) => Effect.sync(() => seen.push(value))
      const body = Effect.gen(function*() {
        const self = Option.getOrThrow(yield* Task.current)
        const [listed] = yield* TaskScope.tasks(scope)
        assert.strictEqual(listed, self)
        yield* Task.spawn(Effect.flatMap(Effect.exit(self.await), note), "awaits")
        yield* Task.spawn(Effect.flatMap(self.join, note), "joins")
        yield* Task.spawn(Effect.flatMap(self.interrupt("enough"), note), "interrupts")
        return yield* Effect.uninterruptible(Effect.as(Effect.yieldNow, "done"))
      })
      const task = yield* Task.spawn(body, "self")
      yield* TaskScope.awaitIdle(scope, { background: true })
      assert.deepStrictEqual(task.status._tag, "Ended")
      assert.strictEqual(seen.length, 2, String(seen))
      assert.include(seen, true)
    }).pipe(Effect.provide(inScope), Effect.provide(makeRecorder().layer)))

  it.effect("of an app can look at the tree of its host", () =>
    Effect.gen(function*() {
      const trees: Array<Host.Tree> = []
      const Look = App.layer(
        "look",
        Effect.andThen(Effect.map(Host.tree, (tree) => trees.push(tree)), Host.requestStop("seen"))
      )
      yield* Host.launch(Look)
      assert.deepStrictEqual(trees[0]?.apps[0]?.tasks.map((task) => task.path), ["host/look/(start)"])
    }).pipe(Effect.provide(makeRecorder().layer)))
})

describe("the handle", () => {
  it.effect("await gives the exit, join the value or the failure", () =>
    Effect.gen(function*() {
      const good = yield* Task.spawn(Effect.succeed(1), "good")
      const bad = yield* Task.spawn(Effect.fail("no"), "bad", { onFailure: "ignore" })
      assert.deepStrictEqual(yield* good.await, Exit.succeed(1))
      assert.deepStrictEqual(yield* bad.await, Exit.fail("no"))
      assert.strictEqual(yield* Effect.flip(bad.join), "no")
      assert.strictEqual(yield* Fiber.join(good.fiber), 1)
    }).pipe(Effect.provide(inScope)))

  it.effect("interrupting who waits for a task leaves the task alone", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.never, "poll")
      const waiter = yield* Effect.forkChild(task.await, { startImmediately: true })
      yield* Fiber.interrupt(waiter)
      assert.strictEqual(task.status._tag, "Running")
    }).pipe(Effect.provide(inScope)))

  it.effect("an interrupt shows its reason while the task cleans up", () =>
    Effect.gen(function*() {
      yield* awakeClock
      const task = yield* Task.spawn(Effect.ensuring(Effect.never, Effect.sleep("1 second")), "poll")
      const interrupting = yield* Effect.forkChild(task.interrupt("replaced"), { startImmediately: true })
      assert.deepStrictEqual(task.status, { _tag: "Stopping", since: 0, reason: "replaced" })
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* Fiber.join(interrupting))
      assert.strictEqual(task.status._tag === "Ended" && task.status.outcome, "interrupted")
    }).pipe(Effect.provide(inScope)))

  it.effect("an interrupt that takes longer than the limit of the task gives up, says so and names the place", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const stuck = Effect.fn("flushForever")(function*() {
        yield* Effect.uninterruptible(Effect.sleep("5 seconds"))
      })
      const task = yield* Task.spawn(stuck(), "flush", { stopWithin: "300 millis" })
      const interrupting = yield* Effect.forkChild(task.interrupt("enough"), { startImmediately: true })
      yield* TestClock.adjust("300 millis")
      assert.isFalse(yield* Fiber.join(interrupting))
      assert.strictEqual(task.status._tag, "Abandoned")
      assert.match(
        linesAt(recorder.records, "Warn")[0]!,
        /^Task app\/flush did not stop within 300 ms; .* at flushForever \(.*Task\.test\.ts:\d+:\d+\)$/
      )
      yield* TestClock.adjust("1 minute")
      assert.match(linesAt(recorder.records, "Warn")[1]!, /^Task app\/flush ended after all, 4\.7 s after/)
      assert.strictEqual(recorder.records.length, 2)
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })

  it.effect("a task may interrupt itself, and nothing after it runs", () =>
    Effect.gen(function*() {
      let after = false
      const self = yield* Deferred.make<Task.Task>()
      const task = yield* Task.spawn(
        Effect.flatMap(Deferred.await(self), (task) => task.interrupt()).pipe(
          Effect.andThen(Effect.sync(() => (after = true)))
        ),
        "suicidal"
      )
      yield* Deferred.succeed(self, task)
      const exit = yield* task.await
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.isFalse(after)
    }).pipe(Effect.provide(inScope)))

  it.effect("a task that interrupts itself where it cannot be interrupted does not wait for itself", () =>
    Effect.gen(function*() {
      const self = yield* Deferred.make<Task.Task>()
      const task = yield* Task.spawn(
        Effect.uninterruptible(Effect.flatMap(Deferred.await(self), (task) => task.interrupt())),
        "self"
      )
      yield* Deferred.succeed(self, task)
      yield* task.await
      assert.strictEqual(task.status._tag, "Ended")
    }).pipe(Effect.provide(inScope)))

  it.effect("the current task is known inside, also in the fibers that it forks, and nowhere else", () =>
    Effect.gen(function*() {
      const path = Effect.map(Task.current, Option.map((task) => task.path))
      const task = yield* Task.spawn(Effect.flatMap(Effect.forkChild(path), Fiber.join), "inner")
      assert.deepStrictEqual(yield* task.join, Option.some("app/inner"))
      assert.deepStrictEqual(yield* path, Option.none())
      assert.isTrue(Task.isTask(task))
    }).pipe(Effect.provide(inScope)))
})

describe("failure", () => {
  it.effect("a failure is one error record with path, age, cause and consequence, and the others go on (A8)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const other = yield* Task.spawn(Effect.never, "other")
      yield* Task.spawn(Effect.andThen(Effect.sleep("3200 millis"), Effect.fail(new Error("no route"))), "poll")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(recorder.records.length, 1)
      const [record] = recorder.records
      assert.strictEqual(record?.level, "Error")
      assert.strictEqual(record?.message, "Task app/poll failed after 3.2 s; everything else goes on")
      assert.deepStrictEqual(record?.annotations, {
        task: "app/poll",
        age: "3.2 s",
        consequence: "everything else goes on"
      })
      assert.include(Cause.pretty(record!.cause), "no route")
      assert.strictEqual(other.status._tag, "Running")
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })

  it.effect("a failure is said also when somebody awaits it, and when the task never waited", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.fail("at once"), "poll")
      yield* task.await
      assert.strictEqual(linesAt(recorder.records, "Error").length, 1)
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })

  it.effect("an interrupt through the handle is no failure (A9)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.never, "poll")
      yield* task.interrupt()
      assert.deepStrictEqual(recorder.records, [])
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })

  it.effect("a failure whose cause a logger cannot render is said without it", () => {
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>(({ cause, message }) => {
      if (cause.reasons.length > 0) throw new Error("no access")
      lines.push(String(message))
    })
    return Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      yield* Task.spawn(Effect.ensuring(Effect.never, Effect.die("broken")), "poll")
      yield* TaskScope.close(scope)
      assert.deepStrictEqual(lines, ["Task app/poll failed after 0 ms; its scope is stopping anyway"])
    }).pipe(Effect.provide(inScope), Effect.provide(Logger.layer([logger])))
  })

  it.effect("failure hooks get the task and its error once, in order, after the log, and a hook that throws is logged (A10, A11)", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const calls: Array<string> = []
      yield* TaskScope.onFailure(scope, ({ path }) => {
        calls.push(`first ${path} after ${recorder.records.length} record`)
        throw new Error("broken hook")
      })
      yield* TaskScope.onFailure(scope, ({ cause }) => {
        calls.push(`second ${String(Cause.squash(cause))}`)
      })
      yield* Task.spawn(Effect.fail("E"), "poll")
      assert.deepStrictEqual(calls, ["first app/poll after 1 record", "second E"])
      assert.match(linesAt(recorder.records, "Error")[1]!, /A failure hook of app threw on task app\/poll/)
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })

  it.effect("failure hooks are told what the task was spawned to do then", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const policies: Array<Task.OnFailure> = []
      yield* TaskScope.onFailure(scope, ({ onFailure }) => policies.push(onFailure))
      yield* Task.spawn(Effect.fail("E"), "poll", { onFailure: "ignore" })
      yield* Task.spawn(Effect.fail("E"), "poll")
      yield* Task.spawn(Effect.fail("E"), "poll", { onFailure: "stopApp" })
      assert.deepStrictEqual(policies, ["ignore", "report", "stopApp"])
    }).pipe(Effect.provide(inScope)))

  it.effect("with ignore a failure is a debug record", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      yield* Task.spawn(Effect.fail("E"), "poll", { onFailure: "ignore" })
      assert.deepStrictEqual(recorder.records.map((record) => record.level), ["Debug"])
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })

  it.effect("with stopApp a failure in a scope without an app closes that scope", () => {
    const recorder = makeRecorder()
    return Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const other = yield* Task.spawn(Effect.never, "other")
      yield* Task.spawn(Effect.fail("E"), "poll", { onFailure: "stopApp" })
      yield* other.await
      assert.match(linesAt(recorder.records, "Error")[0]!, /; scope app stops$/)
      assert.strictEqual((yield* TaskScope.close(scope)).reason, "task app/poll failed")
    }).pipe(Effect.provide(inScope), Effect.provide(recorder.layer))
  })
})

describe("bad input", () => {
  const refused = (effect: Effect.Effect<unknown, unknown, TaskScope.TaskScope>) =>
    Effect.map(Effect.flip(effect), (error) => {
      assert.instanceOf(error, InvalidOption)
      return error.message
    })

  it.effect("a name that is empty, blank, with a slash or no string is refused with the value and the remedy", () =>
    Effect.gen(function*() {
      for (const name of ["", "  ", "a/b", undefined as unknown as string, 7 as unknown as string]) {
        assert.match(yield* refused(Task.spawn(Effect.die("ran"), name)), /the name of a task of "app" .*Give it/s)
      }
    }).pipe(Effect.provide(inScope)))

  it.effect("a limit that is zero, negative, not a number, endless or no duration is refused", () =>
    Effect.gen(function*() {
      for (const stopWithin of [0, -1, Number.NaN, Infinity, "Infinity" as const, "soon" as never, {} as never]) {
        assert.match(
          yield* refused(Task.spawn(Effect.die("ran"), "poll", { stopWithin })),
          /stopWithin of task "app\/poll" is /
        )
      }
    }).pipe(Effect.provide(inScope)))

  it.effect("a value that cannot be shown is refused as any other, also by a plain callback", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const spawner = yield* TaskScope.runtime(scope)
      const circular: Record<string, unknown> = {}
      circular.self = circular
      const values = [Object.create(null), circular, { big: 1n }, Symbol("x"), () => 1] as Array<never>
      for (const value of values) {
        for (const options of [{ stopWithin: value }, { kind: value }, { onFailure: value }]) {
          yield* refused(Task.spawn(Effect.die("ran"), "poll", options))
          assert.strictEqual(spawner(Effect.die("ran"), "poll", options)._tag, "Failure")
        }
        yield* refused(Task.spawn(Effect.die("ran"), value))
        assert.strictEqual(spawner(Effect.die("ran"), value)._tag, "Failure")
      }
    }).pipe(Effect.provide(inScope), Effect.provide(makeRecorder().layer)))

  it.effect("options that are null are no options", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      yield* Task.spawn(Effect.void, "poll", null as never)
      yield* TaskScope.awaitIdle(scope, null as never)
      yield* TaskScope.close(scope, null as never)
    }).pipe(Effect.provide(inScope)))

  it.effect("a failure hook that is no function is refused", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.TaskScope
      const exit = yield* Effect.exit(TaskScope.onFailure(scope, 5 as never))
      assert.instanceOf(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, InvalidOption)
    }).pipe(Effect.provide(inScope)))

  it.effect("a name that ends as a second task of a name would is refused, so no two tasks share a path", () =>
    Effect.gen(function*() {
      assert.match(yield* refused(Task.spawn(Effect.die("ran"), "poll#2")), /is "poll#2": "#" and a number tell/)
      assert.strictEqual((yield* Task.spawn(Effect.void, "issue #2 of 3")).path, "app/issue #2 of 3")
    }).pipe(Effect.provide(inScope)))

  it.effect("a limit above that of the scope is refused with both values", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* refused(Task.spawn(Effect.die("ran"), "poll", { stopWithin: "1 minute" })),
        "stopWithin of task \"app/poll\" is \"1 minute\": it does not fit into stopWithin of scope \"app\", which is 5.0 s. " +
          "Lower the one or raise the other."
      )
    }).pipe(Effect.provide(inScope)))

  it.effect("an unknown kind or policy is refused with the list of valid ones", () =>
    Effect.gen(function*() {
      assert.match(
        yield* refused(Task.spawn(Effect.die("ran"), "poll", { kind: "daemon" as never })),
        /"daemon": there is no such choice. Choose one of "foreground", "background"/
      )
      assert.match(
        yield* refused(Task.spawn(Effect.die("ran"), "poll", { onFailure: "retry" as never })),
        /Choose one of "report", "stopApp", "stopHost", "ignore"/
      )
    }).pipe(Effect.provide(inScope)))
})
