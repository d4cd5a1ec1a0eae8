import {
  App,
  Host,
  InvalidOption,
  Restart,
  RestartExhausted,
  ShutdownReport,
  Supervisor,
  Task,
  TaskScope
} from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import { linesAt, makeRecorder } from "../support/recorder.ts"

const inScope = TaskScope.layer("app")

const everySecond = Restart.permanent({ schedule: Schedule.spaced("1 second") })
const untilDone = Restart.transient({ schedule: Schedule.spaced("1 second") })

/** A log of what members do, with the second in which they do it. */
const makeLog = () => {
  const log: Array<string> = []
  const note = (what: string) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      log.push(`${what} ${now / 1000}`)
    })
  /** Begins, does something, and notes how it ends if it is interrupted. */
  const member = <E>(
    name: string,
    work: Effect.Effect<unknown, E>,
    options: Supervisor.ChildOptions<E> = { restart: everySecond }
  ) =>
    Supervisor.child(
      name,
      Effect.andThen(note(`+${name}`), Effect.onInterrupt(work, () => note(`-${name}`))),
      options
    )
  return { log, member, note }
}

const failAfter = (seconds: number) => Effect.andThen(Effect.sleep(seconds * 1000), Effect.fail("broken"))

const outcomeOf = ({ status }: Task.Task) => status._tag === "Ended" ? status.outcome : status._tag

const linesOf = (lines: ReadonlyArray<readonly [path: string, what: string]>) =>
  lines.map((line) => line.join(" ")).toSorted((a, b) => a < b ? -1 : 1)

const pathsIn = (scope: TaskScope.TaskScope) =>
  Effect.map(TaskScope.tasks(scope), (tasks) => tasks.map(({ path }) => path))

describe("strategies", () => {
  it.effect("one for one: a member that fails starts again, and the others go on", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const group = Supervisor.group([
        member("a", Effect.never),
        member("b", failAfter(10)),
        member("c", Effect.never)
      ])
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "+c 0", "+b 11"])
    }).pipe(Effect.provide(inScope)))

  it.effect("one for all: all end, the wait passes, and all start in their order", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const group = Supervisor.group([
        member("a", Effect.never),
        member("b", failAfter(10)),
        member("c", Effect.never)
      ], { strategy: "oneForAll" })
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "+c 0", "-a 10", "-c 10", "+a 11", "+b 11", "+c 11"])
    }).pipe(Effect.provide(inScope)))

  it.effect("rest for one: those after it end and start with it, those before it go on", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const group = Supervisor.group([
        member("a", Effect.never),
        member("b", failAfter(10)),
        member("c", Effect.never)
      ], { strategy: "restForOne" })
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "+c 0", "-c 10", "+b 11", "+c 11"])
    }).pipe(Effect.provide(inScope)))

  it.effect("who fails during a round joins it, and the later of the two waits counts", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const slow = Restart.permanent({ schedule: Schedule.spaced("5 seconds") })
      let broken = false
      const breaks = (seconds: number) => Effect.suspend(() => broken ? Effect.never : failAfter(seconds))
      const group = Supervisor.group([
        member(
          "a",
          Effect.suspend(() =>
            broken ? Effect.never : Effect.ensuring(failAfter(12), Effect.sync(() => broken = true))
          ),
          { restart: slow }
        ),
        member("b", breaks(11.5)),
        member("c", Effect.never)
      ], { strategy: "restForOne" })
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "+c 0", "-c 11.5", "+a 17", "+b 17", "+c 17"])
    }).pipe(Effect.provide(inScope)))

  it.effect("nobody starts again before all that start with it have ended", () =>
    Effect.gen(function*() {
      const { log, member, note } = makeLog()
      let first = true
      const cleanUp = Effect.andThen(Effect.sleep("3 seconds"), note("cleaned up"))
      const slow = Effect.onInterrupt(Effect.never, () =>
        Effect.suspend(() => {
          if (!first) return Effect.void
          first = false
          return cleanUp
        }))
      const group = Supervisor.group([member("a", failAfter(10)), member("b", slow)], { strategy: "oneForAll" })
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("14 seconds")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "cleaned up 13", "-b 13", "+a 13", "+b 13"])
    }).pipe(Effect.provide(inScope)))

  it.effect("who does not end in time is left as a task of its own, and the others start", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { log, member } = makeLog()
        const scope = yield* TaskScope.TaskScope
        let stuck = true
        const stubborn = Effect.suspend(() => {
          const first = stuck
          stuck = false
          return first ? Effect.uninterruptible(Effect.sleep("1 minute")) : Effect.never
        })
        const group = Supervisor.group([
          member("a", failAfter(10)),
          member("b", stubborn, { restart: everySecond, stopWithin: "4 seconds" })
        ], { strategy: "oneForAll" })
        yield* Task.spawn(group, "group")
        yield* TestClock.adjust("15 seconds")
        assert.deepStrictEqual(log, ["+a 0", "+b 0", "+a 14", "+b 14"])
        assert.deepStrictEqual(
          (yield* pathsIn(scope)).toSorted(),
          ["app/group", "app/group/a", "app/group/b", "app/group/b/(old run)"]
        )
        assert.include(
          linesAt(records, "Warn").join("\n"),
          "Task app/group/b did not stop within 4.0 s, and its group starts again without waiting"
        )
        yield* TestClock.adjust("1 minute")
        assert.notInclude(yield* pathsIn(scope), "app/group/b/(old run)")
      }).pipe(Effect.provide(inScope), Effect.provide(layer))
    }))

  it.effect("what was left and ends at last does not hide where the new run is", () =>
    Effect.gen(function*() {
      const { member } = makeLog()
      let runs = 0
      const stubborn = Effect.suspend(() =>
        Effect.uninterruptible(Effect.sleep(++runs === 1 ? "20 seconds" : "1 hour")).pipe(Effect.withSpan("here"))
      )
      const scope = yield* TaskScope.make("app")
      const group = Supervisor.group([
        member("a", Effect.suspend(() => runs === 0 ? failAfter(5) : Effect.never)),
        member("b", stubborn, { restart: everySecond, stopWithin: "2 seconds" })
      ], { strategy: "oneForAll" })
      yield* TaskScope.spawn(scope, group, "group")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(runs, 2)
      const close = yield* Effect.forkChild(TaskScope.close(scope))
      yield* TestClock.adjust("30 seconds")
      const line = (yield* Fiber.join(close)).tasks.find(({ path }) => path === "app/group/b")
      assert.match(line?.place ?? "", /here/)
    }).pipe(Effect.scoped, Effect.provide(makeRecorder().layer)))

  it.effect("who was stopped by hand and does not end holds up no others", () =>
    Effect.gen(function*() {
      for (const at of [5, 11]) {
        const { log, member, note } = makeLog()
        const from = (yield* Clock.currentTimeMillis) / 1000
        const scope = yield* TaskScope.make("app")
        let begun = 0
        const stubborn = Effect.suspend(() =>
          ++begun === 1 ? Effect.uninterruptible(Effect.andThen(Effect.sleep("1 minute"), note("ends"))) : Effect.never
        )
        const group = Supervisor.group([
          member("a", Effect.suspend(() => begun === 0 ? failAfter(10) : Effect.never)),
          member("b", stubborn, { restart: everySecond, stopWithin: "4 seconds" })
        ], { strategy: "oneForAll" })
        yield* TaskScope.spawn(scope, group, "group")
        yield* TestClock.adjust(at * 1000)
        const task = (yield* TaskScope.tasks(scope)).find(({ path }) => path === "app/group/b")!
        const stopped = yield* Effect.forkChild(task.interrupt("by hand"))
        yield* TestClock.adjust((70 - at) * 1000)
        assert.deepStrictEqual(
          log,
          [`+a ${from}`, `+b ${from}`, `+a ${from + 14}`, `+b ${from + 14}`, `ends ${from + 60}`, `-b ${from + 60}`]
        )
        assert.deepStrictEqual(
          linesOf((yield* TaskScope.tasks(scope)).map(({ path, status }) => [path, status._tag])),
          ["app/group Running", "app/group/a Running", "app/group/b#2 Running"]
        )
        assert.strictEqual(yield* Fiber.join(stopped), false)
        yield* TaskScope.close(scope)
      }
    }).pipe(Effect.scoped, Effect.provide(makeRecorder().layer)))

  it.effect("a member that has ended for good starts again with the others, a temporary one does not, and ends if it runs", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const group = Supervisor.group([
        member("a", failAfter(10)),
        member("b", Effect.succeed("done"), { restart: untilDone }),
        member("c", Effect.succeed("done"), { restart: Restart.temporary }),
        member("d", Effect.never, { restart: Restart.temporary })
      ], { strategy: "oneForAll" })
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("12 seconds")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "+c 0", "+d 0", "-d 10", "+a 11", "+b 11"])
    }).pipe(Effect.provide(inScope)))

  it.effect("and the log names those that start again", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      const { member } = makeLog()
      const group = Supervisor.group([
        member("a", failAfter(10)),
        member("b", Effect.succeed("done"), { restart: untilDone }),
        member("c", Effect.succeed("done"), { restart: Restart.temporary })
      ], { strategy: "oneForAll" })
      yield* Effect.andThen(Task.spawn(group, "group"), TestClock.adjust("12 seconds")).pipe(
        Effect.provide(inScope),
        Effect.provide(layer)
      )
      assert.deepStrictEqual(linesAt(records, "Warn"), ["Group app/group starts again b together with a"])
    }))

  it.effect("a member that fails in its first step when it has started again takes those after it along once more", () =>
    Effect.gen(function*() {
      for (const strategy of ["oneForAll", "restForOne"] as const) {
        const { log, member } = makeLog()
        const from = (yield* Clock.currentTimeMillis) / 1000
        let runs = 0
        const flaky = Effect.suspend(() =>
          ++runs === 1 ? failAfter(5) : runs === 2 ? Effect.fail("early") : Effect.never
        )
        const group = Supervisor.group([
          member("a", Effect.never),
          member("b", flaky),
          member("c", Effect.never),
          member("d", Effect.succeed("done"), { restart: untilDone })
        ], { strategy })
        const task = yield* Task.spawn(group, "group")
        yield* TestClock.adjust("10 seconds")
        const lines = log.map((line) => line.split(" ")).filter(([name]) => name !== "+a" && name !== "-a")
        assert.deepStrictEqual(
          lines.map(([name, at]) => `${name} ${Number(at) - from}`),
          ["+b 0", "+c 0", "+d 0", "-c 5", "+b 6", "+b 7", "+c 7", "+d 7"]
        )
        yield* task.interrupt()
      }
    }).pipe(Effect.provide(inScope), Effect.provide(makeRecorder().layer)))

  it.effect("and without a wait as well", () =>
    Effect.gen(function*() {
      for (const strategy of ["oneForAll", "restForOne"] as const) {
        const { member } = makeLog()
        const restart = Restart.permanent({ schedule: Schedule.forever, budget: "none" })
        let runs = 0
        const flaky = Effect.suspend(() => ++runs === 1 ? failAfter(5) : runs < 5 ? Effect.fail("early") : Effect.never)
        const begun = { alive: 0 }
        const counted = Effect.acquireUseRelease(
          Effect.sync(() => ++begun.alive),
          () => Effect.never,
          () => Effect.andThen(runs === 1 ? Effect.sleep("100 millis") : Effect.void, Effect.sync(() => --begun.alive))
        )
        const group = Supervisor.group([
          member("b", flaky, { restart }),
          member("c", counted, { restart }),
          member("d", Effect.void, { restart: Restart.transient() })
        ], { strategy, budget: "none" })
        const scope = yield* TaskScope.make("app")
        yield* TaskScope.spawn(scope, group, "group")
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(
          linesOf((yield* TaskScope.tasks(scope)).map(({ path, status }) => [path, status._tag])),
          ["app/group Running", "app/group/b Running", "app/group/c Running"]
        )
        assert.deepStrictEqual([runs, begun.alive], [5, 1])
        yield* TaskScope.close(scope)
      }
    }).pipe(Effect.scoped, Effect.provide(makeRecorder().layer)))

  it.effect("a member that has not begun when one before it fails begins all the same, for the first time", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const scope = yield* TaskScope.TaskScope
      let runs = 0
      const failsOnce = Effect.suspend(() => ++runs === 1 ? Effect.fail("early") : Effect.never)
      const group = Supervisor.group([
        member("a", failsOnce),
        member("b", Effect.succeed("done"), { restart: Restart.temporary }),
        member("c", Effect.never)
      ], { strategy: "oneForAll" })
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(log, ["+a 0", "+a 1", "+b 1", "+c 1"])
      assert.deepStrictEqual(
        (yield* TaskScope.tasks(scope)).map(({ path, restarts }) => `${path} ${restarts}`),
        ["app/group 0", "app/group/a 1", "app/group/c 0"]
      )
    }).pipe(Effect.provide(inScope)))

  it.effect("a member that fails in its first step while the others begin restarts them as any other", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      let first = true
      const failsOnce = Effect.suspend(() => {
        if (!first) return Effect.never
        first = false
        return Effect.fail("early")
      })
      const group = Supervisor.group([
        member("a", Effect.never),
        member("b", failsOnce),
        member("c", Effect.never)
      ], { strategy: "oneForAll" })
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(log.filter((line) => line.startsWith("+")).slice(-3), ["+a 1", "+b 1", "+c 1"])
      assert.strictEqual(log.filter((line) => line.startsWith("+a")).length, 2)
    }).pipe(Effect.provide(inScope)))
})

describe("members that do much in their first step", () => {
  it.effect("may end in it; the others begin all the same", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const group = Supervisor.group([member("a", Effect.void, { restart: untilDone }), member("b", Effect.never)])
      const task = yield* Task.spawn(group, "group")
      assert.deepStrictEqual([log, outcomeOf(task)], [["+a 0", "+b 0"], "Running"])
    }).pipe(Effect.provide(inScope)))

  it.effect("may let another one fail, and end with it", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const broken = yield* Deferred.make<void, string>()
      let first = true
      const breaks = Effect.suspend(() => {
        if (first) Deferred.doneUnsafe(broken, Effect.fail("broken"))
        return Effect.never
      })
      const waits = Effect.suspend(() =>
        first ? Effect.ensuring(Deferred.await(broken), Effect.sync(() => first = false)) : Effect.never
      )
      const group = Supervisor.group([member("a", waits), member("b", breaks)], { strategy: "oneForAll" })
      yield* Task.spawn(group, "group")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "-b 0", "+a 1", "+b 1"])
    }).pipe(Effect.provide(inScope)))
})

describe("the budget of a group", () => {
  const budget = { restarts: 2, within: "1 minute" } as const

  it.effect("is used up by the failures of all members together; then all end, and the group fails", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const group = Supervisor.group([
        member("a", failAfter(10)),
        member("b", failAfter(15)),
        member("c", Effect.never)
      ], { budget })
      const task = yield* Task.spawn(group, "group", { onFailure: "ignore" })
      yield* TestClock.adjust("1 minute")
      const error = yield* Effect.flip(task.join)
      assert.instanceOf(error, RestartExhausted)
      assert.deepStrictEqual([error.path, error.group, error.restarts], ["app/group/a", "app/group", 2])
      assert.deepStrictEqual(log.slice(-2).toSorted(), ["-b 21", "-c 21"])
    }).pipe(Effect.provide(inScope)))

  it.effect("a round takes one restart, however many members start again", () =>
    Effect.gen(function*() {
      const { member } = makeLog()
      const group = Supervisor.group([
        member("a", failAfter(10)),
        member("b", Effect.never),
        member("c", Effect.never)
      ], { budget, strategy: "oneForAll" })
      const task = yield* Task.spawn(group, "group", { onFailure: "ignore" })
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(outcomeOf(task), "Running")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(outcomeOf(task), "failed")
    }).pipe(Effect.provide(inScope)))

  it.effect("the failure that used it up is logged once, by the group", () =>
    Effect.gen(function*() {
      const { layer, records } = makeRecorder()
      yield* Effect.gen(function*() {
        const { member } = makeLog()
        yield* Task.spawn(
          Supervisor.group([member("a", failAfter(1))], { budget: { restarts: 1, within: "1 hour" } }),
          "group"
        )
        yield* TestClock.adjust("1 minute")
      }).pipe(Effect.provide(inScope), Effect.provide(layer))
      assert.deepStrictEqual(
        linesAt(records, "Error").map((line) => line.replace(/after [^;]*;/, ";")),
        [
          "Task app/group/a failed ; it starts again in 1.0 s (restart 1)",
          "Task app/group failed ; everything else goes on"
        ]
      )
    }))

  it.effect("and so is a defect of the clean-up after it", () =>
    Effect.gen(function*() {
      for (const budget of [undefined, { restarts: 1, within: "1 hour" } as const]) {
        const { member } = makeLog()
        const restart = Restart.permanent({ schedule: Schedule.spaced("1 second"), budget })
        const group = Supervisor.group(
          [member("a", Effect.ensuring(Effect.fail("no broker"), Effect.die("no disk")), { restart })],
          { budget: { restarts: budget === undefined ? 1 : 2, within: "1 hour" } }
        )
        const task = yield* Task.spawn(group, "group", { onFailure: "ignore" })
        yield* TestClock.adjust("1 minute")
        const exit = yield* task.await
        const reasons = Exit.isFailure(exit) ? exit.cause.reasons : []
        assert.deepStrictEqual(reasons.map((reason) => reason._tag === "Die" ? reason.defect : reason._tag), [
          "Fail",
          "no disk"
        ])
      }
    }).pipe(Effect.provide(inScope), Effect.provide(makeRecorder().layer)))

  it.effect("a member with a budget of its own escalates to the group, unless it says otherwise", () =>
    Effect.gen(function*() {
      for (const onExhausted of [undefined, "giveUp"] as const) {
        const { member } = makeLog()
        const restart = Restart.permanent({
          schedule: Schedule.spaced("1 second"),
          budget: { restarts: 1, within: "1 hour" },
          ...(onExhausted === undefined ? {} : { onExhausted })
        })
        const group = Supervisor.group([
          member("a", failAfter(1), { restart, onFailure: "ignore" }),
          member("b", Effect.never)
        ])
        const task = yield* Task.spawn(group, "group", { onFailure: "ignore" })
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(outcomeOf(task), onExhausted === undefined ? "failed" : "Running")
      }
    }).pipe(Effect.provide(inScope)))
})

describe("a group is an effect", () => {
  it.effect("its members have its path, and its place in the tree", () =>
    Effect.gen(function*() {
      const { member } = makeLog()
      const tree = yield* Deferred.make<Host.Tree>()
      const start = Effect.gen(function*() {
        yield* Task.spawn(Supervisor.group([member("read", failAfter(1)), member("write", Effect.never)]), "pipeline")
        yield* Task.spawn(
          Effect.gen(function*() {
            yield* Effect.sleep("1500 millis")
            yield* Deferred.succeed(tree, yield* Host.tree)
            yield* Host.requestStop("seen")
          }),
          "look"
        )
      })
      const host = yield* Effect.forkChild(Host.launch(App.layer("etl", start)))
      yield* TestClock.adjust("5 seconds")
      const report = yield* Fiber.join(host)
      assert.isTrue(report.clean, ShutdownReport.format(report))
      assert.deepStrictEqual(
        linesOf((yield* Deferred.await(tree)).apps[0]!.tasks.map(({ path, status }) => [path, status])),
        [
          "host/etl/look Running",
          "host/etl/pipeline Running",
          "host/etl/pipeline/read Restarting",
          "host/etl/pipeline/write Running"
        ]
      )
      assert.deepStrictEqual(
        linesOf(report.tasks.map(({ outcome, path }) => [path, outcome])),
        [
          "host/etl/look completed",
          "host/etl/pipeline interrupted",
          "host/etl/pipeline/read interrupted",
          "host/etl/pipeline/write interrupted"
        ]
      )
    }))

  it.effect("nested, it is a member: its exhaustion is a failure to the group around, which starts it again as a whole", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const inner = Supervisor.group([member("x", failAfter(1)), member("y", Effect.never)], {
        budget: { restarts: 1, within: "1 hour" }
      })
      const outer = Supervisor.group([
        Supervisor.child("inner", inner, { restart: everySecond }),
        member("z", Effect.never)
      ], { strategy: "oneForAll", budget: { restarts: 1, within: "1 hour" } })
      const task = yield* Task.spawn(outer, "outer", { onFailure: "ignore" })
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(log, [
        "+x 0",
        "+y 0",
        "+z 0",
        "+x 2",
        "-y 3",
        "-z 3",
        "+x 4",
        "+y 4",
        "+z 4",
        "+x 6",
        "-y 7",
        "-z 7"
      ])
      const error = yield* Effect.flip(task.join)
      assert.instanceOf(error, RestartExhausted)
      assert.deepStrictEqual([error.path, error.group], ["app/outer/inner", "app/outer"])
      assert.instanceOf(error.cause, RestartExhausted)
    }).pipe(Effect.provide(inScope)))

  it.effect("with onFailure, its exhaustion stops the app or the host", () =>
    Effect.gen(function*() {
      const { member } = makeLog()
      const group = Supervisor.group([member("a", failAfter(1))], { budget: { restarts: 1, within: "1 hour" } })
      const host = yield* Effect.forkChild(
        Host.launch(App.layer("etl", Task.spawn(group, "pipeline", { onFailure: "stopHost" })))
      )
      yield* TestClock.adjust("1 minute")
      const error = yield* Effect.flip(Fiber.join(host))
      assert.instanceOf(error, Host.HostFailed)
      assert.strictEqual(error.report.reason, "task host/etl/pipeline has used up its restarts")
    }))

  it.effect("it ends when all members have ended for good", () =>
    Effect.gen(function*() {
      const { member } = makeLog()
      const group = Supervisor.group([
        member("a", Effect.sleep("1 second"), { restart: untilDone }),
        member("b", Effect.sleep("3 seconds"), { restart: Restart.temporary })
      ])
      const task = yield* Task.spawn(group, "group")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(outcomeOf(task), "Running")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(outcomeOf(task), "completed")
      assert.isUndefined(yield* (yield* Task.spawn(Supervisor.group([]), "empty")).join)
    }).pipe(Effect.provide(inScope)))

  it.effect("interrupting it ends its members, at the same time, and nothing starts again", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const slow = Effect.onInterrupt(Effect.never, () => Effect.sleep("2 seconds"))
      const group = Supervisor.group([member("a", slow), member("b", slow), member("c", failAfter(1))])
      const task = yield* Task.spawn(group, "group")
      yield* TestClock.adjust("1500 millis")
      const ended = yield* Effect.forkChild(task.interrupt("enough"), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(ended), true)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "+c 0", "-a 3.5", "-b 3.5"])
    }).pipe(Effect.provide(inScope)))

  it.effect("a stop of an app while a round waits ends it at once, and no drain waits for a foreground group", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const group = Supervisor.group([member("a", failAfter(10)), member("b", Effect.never)], { strategy: "oneForAll" })
      const start = Effect.gen(function*() {
        yield* Task.spawn(group, "group", { kind: "foreground" })
        yield* Task.after(Host.requestStop("enough"), "stopper", "10500 millis")
      })
      const host = yield* Effect.forkChild(Host.launch(App.layer("etl", start)))
      yield* TestClock.adjust("1 minute")
      const report = yield* Fiber.join(host)
      assert.deepStrictEqual([log, report.took], [["+a 0", "+b 0", "-b 10"], 0])
    }))

  it.effect("a stop while a round waits ends it", () =>
    Effect.gen(function*() {
      const { log, member } = makeLog()
      const scope = yield* TaskScope.TaskScope
      yield* Task.spawn(
        Supervisor.group([member("a", failAfter(10)), member("b", Effect.never)], { strategy: "oneForAll" }),
        "group"
      )
      yield* TestClock.adjust("10500 millis")
      const report = yield* TaskScope.close(scope)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(log, ["+a 0", "+b 0", "-b 10"])
      assert.deepStrictEqual(
        linesOf(report.tasks.map(({ outcome, path }) => [path, outcome])),
        ["app/group interrupted", "app/group/a interrupted", "app/group/b interrupted"]
      )
    }).pipe(Effect.provide(inScope)))

  it.effect("a member whose failure stops the app does so, also in a scope without an app", () =>
    Effect.gen(function*() {
      const { member } = makeLog()
      const scope = yield* TaskScope.make("plain")
      const restart = Restart.permanent<string>({ decide: () => "stopApp" })
      yield* TaskScope.spawn(scope, Supervisor.group([member("a", failAfter(1), { restart })]), "group")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(scope.state._tag, "Closed")
    }).pipe(Effect.scoped))

  it.live("a member that is stuck on a virtual clock fails the test that waits for it, also with an old run", () =>
    Effect.gen(function*() {
      for (const advance of ["0 seconds", "10 seconds"] as const) {
        const group = Supervisor.group([
          Supervisor.child("fails", failAfter(1), { restart: everySecond }),
          Supervisor.child("stuck", Effect.uninterruptible(Effect.never))
        ], { strategy: "oneForAll" })
        const test = Effect.andThen(Task.spawn(group, "group"), TestClock.adjust(advance))
        const exit = yield* Effect.exit(test.pipe(Effect.provide(inScope), Effect.provide(TestClock.layer())))
        assert.isTrue(Exit.isFailure(exit), advance)
        if (Exit.isFailure(exit)) assert.include(Cause.pretty(exit.cause), "app/group/stuck")
      }
    }).pipe(Effect.provide(makeRecorder().layer)))

  it.effect("without a task around it is a group of the scope", () =>
    Effect.gen(function*() {
      const { member } = makeLog()
      const scope = yield* TaskScope.TaskScope
      const fiber = yield* Effect.forkChild(Supervisor.group([member("a", Effect.never)]), { startImmediately: true })
      assert.deepStrictEqual(yield* pathsIn(scope), ["app/(group)/a"])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* pathsIn(scope), [])
    }).pipe(Effect.provide(inScope)))
})

describe("bad groups are refused before any member begins", () => {
  const { log, member } = makeLog()
  const good = member("good", Effect.never)
  const cases: ReadonlyArray<
    readonly [name: string, children: ReadonlyArray<Supervisor.Child>, options: unknown, part: string]
  > = [
    ["an unknown strategy", [good], { strategy: "allForOne" }, "strategy of group \"app/group\" is \"allForOne\""],
    ["a budget of zero", [good], { budget: { restarts: 0, within: "1 minute" } }, "restarts in budget of group"],
    ["two of one name", [good, good], {}, "two members have it"],
    ["a name with a slash", [good, member("a/b", Effect.never)], {}, "must not contain"],
    ["no effect", [good, Supervisor.child("f", (() => {}) as never)], {}, "a member is an Effect"],
    [
      "a bad policy",
      [good, member("a", Effect.never, { restart: Restart.permanent({ healthyAfter: 0 }) })],
      {},
      "healthyAfter"
    ],
    ["a bad limit", [good, member("a", Effect.never, { within: 0 })], {}, "within of task \"app/group/a\""],
    ["a bad stop limit", [good, member("a", Effect.never, { stopWithin: "1 hour" })], {}, "does not fit"]
  ]
  for (const [name, children, options, part] of cases) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const group = Supervisor.group(children, options as Supervisor.GroupOptions)
        const task = yield* Task.spawn(group, "group", { onFailure: "ignore" })
        const exit = yield* task.await
        assert.isTrue(Exit.isFailure(exit))
        const error = yield* Effect.flip(task.join)
        assert.instanceOf(error, InvalidOption)
        assert.include(error.message, part)
        assert.deepStrictEqual(log, [])
      }).pipe(Effect.provide(inScope)))
  }
})
