import { App, Host, Task, type TaskScope } from "@ambit/core"
import { MainCalls, SyncApp, Thread } from "@ambit/node"
import { expect, it, vi } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scheduler from "effect/Scheduler"
import { Readings, Rules } from "../fixtures/rules.ts"
import { eventually } from "../support/eventually.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

type Body<A, E> = Effect.Effect<A, E, SyncApp.Running<"rules"> | Host.Host | TaskScope.TaskScope>

/** A host with the rules and an app that uses them, until that one is done. */
const withRules = <A, E>(body: Body<A, E>, options: SyncApp.SyncAppOptions<{ limit: number; every?: number }>) =>
  Effect.suspend(() => {
    const stopped: Array<number> = []
    const results: Array<A> = []
    const recorder = makeRecorder()
    const rules = SyncApp.layer(Rules, options).pipe(
      Layer.provide(MainCalls.layer(Readings, {
        latest: (sensor) => Effect.succeed(sensor === "cpu" ? 95 : 5),
        stopped: (checks) => Effect.sync(() => void stopped.push(checks))
      }))
    )
    const user = App.layer(
      "user",
      Effect.gen(function*() {
        yield* Task.spawn(
          Effect.gen(function*() {
            results.push(yield* body)
            yield* Host.requestStop("done")
          }),
          "main",
          { onFailure: "stopHost" }
        )
      })
    )
    return Effect.exit(Host.launch(Layer.provideMerge(user, rules))).pipe(
      Effect.provide(recorder.layer),
      Effect.map((exit) => ({ exit, stopped, result: results[0], records: recorder.records }))
    )
  })

it.live("a synchronous app starts with its configuration, handles, keeps its state, asks, and stops in its thread", () =>
  Effect.gen(function*() {
    const { exit, result, stopped } = yield* withRules(
      Effect.gen(function*() {
        const hot = yield* SyncApp.run(Rules, "check", "cpu")
        const cold = yield* SyncApp.run(Rules, "check", "disk")
        const sum = yield* SyncApp.run(Rules, "latestPlus", "cpu")
        return { hot, cold, sum, checks: yield* SyncApp.run(Rules, "checks") }
      }),
      { config: { limit: 90 } }
    )
    expect(result).toEqual({ hot: true, cold: false, sum: 185, checks: 2 })
    expect(exit).toMatchObject({ _tag: "Success", value: { clean: true } })
    expect(stopped).toEqual([2])
  }))

it.each(["onStart", "onStop"])("an app whose handler has the name of its part %s is refused", (method) => {
  const declare = () => Thread.app(import.meta, "clash", { onStart: () => ({}), handlers: { [method]: () => 1 } })
  expect(declare).toThrow(`no handler can be called ${method}`)
})

it.live("a start that throws fails the app, as any start does", () =>
  Effect.gen(function*() {
    const { exit } = yield* withRules(Effect.void, { config: { limit: -1 } })
    expect(String(exit._tag === "Failure" && exit.cause)).toContain("a limit is not negative")
  }))

it.live("a handler that throws fails its caller, and the app goes on", () =>
  Effect.gen(function*() {
    const { result } = yield* withRules(
      Effect.gen(function*() {
        const error = yield* Effect.flip(SyncApp.run(Rules, "fails"))
        return { message: error.message, checks: yield* SyncApp.run(Rules, "checks") }
      }),
      { config: { limit: 1 } }
    )
    expect(result?.message).toContain("no such rule")
    expect(result?.checks).toBe(0)
  }))

/** A host whose rules ask for what a handler of theirs gives, and an app that uses them. */
const withCircle = <A, E>(config: { readonly limit: number; readonly asksOnce?: number }, body: Body<A, E>) =>
  Effect.gen(function*() {
    const checks = yield* Deferred.make<Effect.Effect<number, unknown>>()
    const result = yield* Deferred.make<A, E>()
    const rules = SyncApp.layer(Rules, { config }).pipe(
      Layer.provide(
        MainCalls.layer(Readings, { latest: () => Effect.flatten(Deferred.await(checks)), stopped: () => Effect.void })
      )
    )
    const user = App.layer(
      "user",
      Effect.gen(function*() {
        const context = yield* Effect.context<SyncApp.Running<"rules">>()
        yield* Deferred.succeed(checks, Effect.provideContext(SyncApp.run(Rules, "checks"), context))
        yield* Task.spawn(Effect.andThen(Deferred.complete(result, body), Host.requestStop("done")), "main")
      })
    )
    yield* Host.launch(Layer.provideMerge(user, rules))
    return yield* Deferred.await(result)
  })

it.live("a handler that waits for an effect which waits for its app is told of the circle, and what helps there", () =>
  Effect.gen(function*() {
    const error = yield* withCircle({ limit: 1 }, Effect.flip(SyncApp.run(Rules, "check", "cpu")))
    expect(error.message).toContain("rules.check → readings.latest → rules.checks")
    expect(error.message).toContain("The app has one thread, which waits")
  }))

it.live("a timer that waits for an effect which waits for its app is told of the circle", () =>
  Effect.gen(function*() {
    const told = Effect.gen(function*() {
      let told = ""
      while (told === "") {
        yield* Effect.sleep("5 millis")
        told = yield* SyncApp.run(Rules, "told")
      }
      return told
    })
    const message = yield* withCircle({ limit: 1, asksOnce: 1 }, told)
    expect(message).toContain("a timer of rules-1 → readings.latest → rules.checks")
  }))

it("timers end before onStop", () => {
  vi.useFakeTimers()
  const ticks: Array<string> = []
  const clock = Thread.app({ url: import.meta.url }, "clock", {
    onStart: () => {
      Thread.every(10, () => void ticks.push("every"))
      Thread.after(15, () => void ticks.push("after"))
      Thread.after(25, () => void ticks.push("too late"))
    },
    handlers: {},
    onStop: () => void ticks.push("onStop")
  })
  clock.start.run(undefined)
  vi.advanceTimersByTime(20)
  clock.stop.run()
  vi.advanceTimersByTime(1000)
  vi.useRealTimers()
  expect(ticks).toEqual(["every", "after", "every", "onStop"])
})

it.live("timers run between the handlers, and one that throws is logged and comes again", () =>
  Effect.gen(function*() {
    const { records, result } = yield* withRules(
      Effect.gen(function*() {
        let ticks = 0
        while (ticks < 3) {
          yield* Effect.sleep("10 millis")
          ticks = yield* SyncApp.run(Rules, "ticks")
        }
        return ticks
      }),
      { config: { limit: 1, every: 5 } }
    )
    expect(result).toBeGreaterThanOrEqual(3)
    expect(linesAt(records, "Error").join("\n")).toContain("the second tick fails")
  }))

/** Waits until a handler of the rules runs. */
const running = (name: string) =>
  eventually(Effect.map(
    Host.tree,
    ({ apps }) => apps.some(({ calls }) => calls.some((call) => call.name === name && call.thread !== undefined))
  ))

it.live("an endless loop in a handler is ended at stop, and the rest of the host never notices", () =>
  Effect.gen(function*() {
    const { exit, result } = yield* withRules(
      Effect.gen(function*() {
        const fiber = yield* Effect.forkDetach(Effect.exit(SyncApp.run(Rules, "spin")), { startImmediately: true })
        yield* running("rules.spin")
        for (let ticks = 0; ticks < 10; ticks++) yield* Effect.sleep("5 millis")
        return fiber.pollUnsafe() === undefined
      }),
      { config: { limit: 1 }, grace: 50, stopWithin: "3 seconds" }
    )
    expect(result).toBe(true)
    const report = exit._tag === "Success" ? exit.value : undefined
    expect(report?.took).toBeLessThan(3000)
    expect(report?.tasks.map(({ outcome, path }) => `${path} ${outcome}`)).toContain(
      "host/rules/spin/rules.spin killed"
    )
  }))

it.live("a stop ends the handlers that poll before onStop, which runs in their thread", () =>
  Effect.gen(function*() {
    const { exit, stopped } = yield* withRules(
      Effect.gen(function*() {
        yield* Effect.forkDetach(Effect.exit(SyncApp.run(Rules, "polls")), { startImmediately: true })
        yield* running("rules.polls")
      }),
      { config: { limit: 1 } }
    )
    expect(stopped).toEqual([0])
    expect(exit).toMatchObject({ _tag: "Success", value: { clean: true } })
  }))

it.live("a stop of the app ends the wait for its handlers, says which had begun, and none begins any more", () =>
  Effect.gen(function*() {
    const exits = new Map<string, Exit.Exit<unknown, unknown>>()
    const waits = (name: string, method: "polls" | "checks") =>
      Effect.forkDetach(
        Effect.onExit(SyncApp.run(Rules, method), (exit) => Effect.sync(() => exits.set(name, exit))),
        { startImmediately: true }
      )
    const begins = Effect.gen(function*() {
      // A thread that is known to be quick is sent the next ones ahead.
      yield* Effect.repeat(SyncApp.run(Rules, "checks"), { times: 30 })
      yield* waits("running", "polls")
      yield* running("rules.polls")
      yield* waits("next", "checks")
      yield* waits("last", "checks")
      // What is told to stop gets the time to do so, and to begin the next one, before anything else is done here.
      yield* Effect.sync(() =>
        vi.spyOn(Atomics, "notify").mockImplementation((...told) => {
          const woken = notify(...told)
          for (const end = performance.now() + 10; performance.now() < end;);
          return woken
        })
      )
    })
    const { notify } = Atomics
    const { exit } = yield* Effect.ensuring(
      withRules(begins, { config: { limit: 1 } }),
      Effect.sync(() => vi.restoreAllMocks())
    )
    expect(exit).toMatchObject({ _tag: "Success", value: { clean: true } })
    const errorOf = (name: string) => Exit.findErrorOption(exits.get(name)!).pipe(Option.getOrUndefined)
    expect(errorOf("running")).toMatchObject({ reason: { _tag: "PoolStopped", pool: "rules", started: true } })
    for (const name of ["next", "last"]) {
      expect(errorOf(name)).toMatchObject({
        _tag: "ScopeClosed",
        path: "host/rules/checks",
        state: "stopping",
        reason: "done"
      })
    }
  }))

it.live("a lost thread ends the wait for the handlers behind the one that is lost, and says so", () =>
  Effect.gen(function*() {
    const told = yield* Deferred.make<number, unknown>()
    const loses = Effect.gen(function*() {
      const spinning = yield* Effect.forkChild(SyncApp.run(Rules, "spin"), { startImmediately: true })
      yield* running("rules.spin")
      const behind = Deferred.complete(told, SyncApp.run(Rules, "checks"))
      yield* Effect.forkDetach(Effect.andThen(behind, Host.requestStop("told")), { startImmediately: true })
      yield* Fiber.interrupt(spinning)
      return yield* Effect.never
    })
    yield* withRules(loses, { config: { limit: 1 }, grace: 0 })
    expect(yield* Effect.flip(Deferred.await(told))).toMatchObject({ _tag: "ThreadLost", app: "rules" })
  }))

it.live("a handler ends with who waits for it, in whichever step that one is interrupted", () =>
  Effect.gen(function*() {
    const interrupted = (steps: number) =>
      Effect.gen(function*() {
        // It pauses so often that some pause lies between any two steps of it.
        const slowly = Effect.provideService(SyncApp.run(Rules, "polls"), Scheduler.MaxOpsBeforeYield, 3)
        const fiber = yield* Effect.forkChild(slowly)
        yield* Effect.forEach(Array.from({ length: steps }), () => Effect.yieldNow)
        yield* Fiber.interrupt(fiber)
        return yield* SyncApp.run(Rules, "checks")
      })
    const { result } = yield* withRules(Effect.forEach([...Array(60).keys()], interrupted), { config: { limit: 1 } })
    expect(result).toHaveLength(60)
  }))

it.live("a lost thread stops the app, and a start gives it a new one with a new state", () =>
  Effect.gen(function*() {
    const lives: Array<number> = []
    const recorder = makeRecorder()
    const rules = SyncApp.layer(Rules, { config: { limit: 90 }, grace: 0 }).pipe(
      Layer.provide(MainCalls.layer(Readings, { latest: () => Effect.succeed(95), stopped: () => Effect.void }))
    )
    const user = App.layer(
      "user",
      Effect.gen(function*() {
        lives.push(yield* SyncApp.run(Rules, "checks"))
        yield* SyncApp.run(Rules, "check", "cpu")
        const spinning = SyncApp.run(Rules, "spin").pipe(Effect.timeoutOption("50 millis"))
        if (lives.length === 1) yield* Task.spawn(spinning, "spin")
      })
    )
    const watch = App.layer(
      "watch",
      Task.spawn(
        Effect.gen(function*() {
          yield* Host.awaitReady
          const apps = yield* Host.apps
          const app = (name: string) => apps.find(({ path }) => path === `host/${name}`)!
          yield* eventually(Effect.map(App.state(app("rules")), (state) => state._tag === "Stopped"))
          yield* App.start(app("rules"))
          yield* App.start(app("user"))
          yield* Host.requestStop("done")
        }),
        "main",
        { onFailure: "stopHost" }
      )
    )
    yield* Host.launch(Layer.mergeAll(Layer.provideMerge(user, rules), watch)).pipe(Effect.provide(recorder.layer))
    expect(lives).toEqual([0, 0])
    expect(linesAt(recorder.records, "Error").join("\n")).toContain("host/rules/(thread) failed")
  }))

it.live("what a timer asks for is interrupted when it takes too long, and ends with the app", () =>
  Effect.gen(function*() {
    const counts = { started: 0, interrupted: 0 }
    const rules = SyncApp.layer(Rules, { config: { limit: 1, asksEvery: 60 } }).pipe(
      Layer.provide(MainCalls.layer(Readings, {
        latest: () =>
          Effect.suspend(() => {
            counts.started++
            return Effect.onInterrupt(Effect.never, () => Effect.sync(() => counts.interrupted++))
          }),
        stopped: () => Effect.void
      }))
    )
    const user = App.layer(
      "user",
      Task.spawn(Effect.andThen(eventually(Effect.sync(() => counts.started > 2)), Host.requestStop("done")), "main")
    )
    yield* Host.launch(Layer.mergeAll(user, rules)).pipe(Effect.provide(makeRecorder().layer))
    expect(counts.started).toBeGreaterThan(1)
    expect(counts.interrupted).toBe(counts.started)
  }))
