/**
 * Law 10 over apps that depend on each other, and random streams of failures, of starts that fail, and of stops, starts and
 * restarts by hand. `AMBIT_LAWS` sets how many programs, a fifth of it here; `AMBIT_SEED` runs one.
 */
import { App, Host, Restart, Task } from "@ambit/core"
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import type { AppImpl } from "../../packages/core/src/internal/app.ts"
import { makeRandom } from "../support/random.ts"
import { makeRecorder } from "../support/recorder.ts"
import { eachProgram } from "./eachProgram.ts"

class Broker extends Context.Service<Broker, void>()("test/Broker") {}
class Left extends Context.Service<Left, void>()("test/Left") {}
class Right extends Context.Service<Right, void>()("test/Right") {}

const names = ["broker", "left", "right", "top"] as const

const isUnlimited = ({ restarter }: AppImpl) => restarter !== undefined && restarter.policy.budget === undefined

const runProgram = (seed: number) =>
  Effect.gen(function*() {
    const random = makeRandom(seed)
    const history: Array<string> = []
    const fails = new Map<string, () => void>()
    /** The first starts go well, and so do those at the end. */
    let smooth = true

    const start = (name: string) =>
      Effect.gen(function*() {
        if (!smooth) yield* Effect.sleep(random.pick([0, 0, 1400, 2100]))
        if (!smooth && random.chance(0.25)) return yield* Effect.fail(history.push(`the start of ${name} fails`))
        if (random.chance(0.2)) yield* App.onStop("slow", Effect.sleep(random.below(4000)))
        const work = Effect.callback<never, string>((resume) => {
          fails.set(name, () => resume(Effect.fail("broken")))
        })
        yield* Task.spawn(work, "work", { onFailure: "stopApp" })
      })
    const policy = (): App.AppOptions => {
      const budget = random.pick(["unlimited", "unlimited", "unlimited", "some", "no policy"] as const)
      if (budget === "no policy") return {}
      return {
        restart: Restart.permanent({
          schedule: Schedule.spaced(random.below(3) * 1500),
          budget: budget === "unlimited" ? "none" : { restarts: 2, within: "1 hour" },
          onExhausted: "giveUp"
        })
      }
    }

    const broker = App.layer("broker", Layer.effect(Broker, start("broker")), policy())
    const left = App.layer("left", Layer.effect(Left, Effect.andThen(Broker, start("left"))), policy())
    const right = App.layer("right", Layer.effect(Right, Effect.andThen(Broker, start("right"))), policy())
    const top = App.layer("top", Effect.andThen(Left, Effect.andThen(Right, start("top"))), policy())
    let apps: ReadonlyArray<AppImpl> = []
    const look = App.layer(
      "look",
      Effect.map(Host.apps, (all) => {
        apps = (all as ReadonlyArray<unknown> as ReadonlyArray<AppImpl>).filter(({ name }) => name !== "look")
      })
    )
    const below = Layer.provideMerge(Layer.mergeAll(left, right), broker)
    const host = yield* Effect.forkChild(Host.launch(Layer.provideMerge(look, Layer.provide(top, below))))
    yield* TestClock.adjust(1)
    assert.strictEqual(apps.length, 4)
    smooth = false

    const asked = new Map<string, Fiber.Fiber<Exit.Exit<unknown, unknown>>>()
    let stopped = false
    const byHand: Readonly<Record<"stop" | "start" | "restart", (app: App.App) => Effect.Effect<unknown, unknown>>> = {
      stop: App.stop,
      start: App.start,
      restart: App.restart
    }
    const act = (app: AppImpl, step: number) => {
      const kind = random.pick(["fails", "fails", "fails", "stop", "start", "restart"] as const)
      const what = `${step}: ${kind} ${app.name} (${app.phase._tag})`
      history.push(what)
      if (kind === "fails") return Effect.sync(() => fails.get(app.name)?.())
      stopped ||= kind === "stop"
      const end = Effect.exit(byHand[kind](app as App.App & AppImpl))
      return Effect.map(Effect.forkChild(end, { startImmediately: true }), (fiber) => void asked.set(what, fiber))
    }
    for (let step = random.between(4, 18); step > 0; step--) {
      const name = random.pick(names)
      yield* act(apps.find((app) => app.name === name)!, step)
      yield* TestClock.adjust(random.pick([0, 0, 300, 1500, 1501, 4000]))
    }
    smooth = true
    for (let times = 0; times < 30; times++) yield* TestClock.adjust("4 seconds")

    const problems: Array<string> = []
    for (const [what, fiber] of asked) if (fiber.pollUnsafe() === undefined) problems.push(`nobody answers ${what}`)
    for (const app of apps) {
      const { backoff, dependencies, path, phase, restart } = app
      const isDown = phase._tag === "Stopped" || phase._tag === "Failed"
      const canRun = [...dependencies].every((other) => other.phase._tag === "Ready")
      // Where nobody was stopped for good, by hand or since it is given up.
      const mustRun = !stopped && canRun && [...dependencies, app].every(isUnlimited)
      if (phase._tag !== "Ready" && !isDown) problems.push(`${path} is ${phase._tag} for ever`)
      if (restart !== undefined || backoff !== undefined) problems.push(`the restart of ${path} never ends`)
      if (phase._tag === "Ready" && !canRun) problems.push(`${path} runs without what it depends on`)
      const hasFailed = phase._tag === "Stopped" && phase.failure !== undefined
      if (hasFailed && mustRun) problems.push(`${path} stays down though it can be restarted`)
    }
    assert.deepStrictEqual(problems, [], `program ${seed}\n${history.join("\n")}`)
    yield* Effect.forkChild(Fiber.interrupt(host))
    for (let times = 0; times < 30; times++) yield* TestClock.adjust("1 second")
    assert.isDefined(host.pollUnsafe(), `program ${seed}: the host does not end`)
  }).pipe(Effect.provide(makeRecorder().layer))

eachProgram("random apps with policies run or are down, and nobody waits for ever", runProgram)
