/**
 * Law 10 over apps that depend on each other, and random streams of failures, of starts that fail, and of stops, starts and
 * restarts by hand, in the midst of which the host may stop. `AMBIT_LAWS` sets how many programs, a fifth of it here; `AMBIT_SEED` runs one.
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

interface Graph {
  readonly [name: string]: ReadonlyArray<string>
}

/** Who depends on whom: on one app that all depend on, and on two that know nothing of each other. */
const graphs: readonly [Graph, Graph] = [
  { broker: [], left: ["broker"], right: ["broker"], top: ["left", "right"] },
  { a: [], b: [], c: ["a", "b"], e: ["a"], d: ["b", "e"] }
]

const provides = (name: string) => Context.Service<string>(`test/laws/appPolicies/${name}`)

type AppLayer = Layer.Layer<never, unknown, Host.Host>

/** The layers of a graph, each with what it depends on. */
const layersOf = (
  graph: Graph,
  make: (name: string) => { readonly start: Effect.Effect<unknown, unknown>; readonly options: App.AppOptions }
): ReadonlyArray<AppLayer> => {
  const layers = new Map<string, AppLayer>()
  for (const [name, dependencies] of Object.entries(graph)) {
    const { options, start } = make(name)
    const started = Effect.as(Effect.andThen(Effect.forEach(dependencies, provides), start), name)
    const app = App.layer(name, Layer.effect(provides(name), started as Effect.Effect<string>), options)
    const below = dependencies.map((dependency) => layers.get(dependency)!) as [AppLayer, ...Array<AppLayer>]
    layers.set(name, below.length === 0 ? app : Layer.provide(app, Layer.mergeAll(...below)))
  }
  return [...layers.values()]
}

const isUnlimited = ({ restarter }: AppImpl) => restarter !== undefined && restarter.policy.budget === undefined

const runProgram = (seed: number) =>
  Effect.gen(function*() {
    const random = makeRandom(seed)
    const graph = random.pick(graphs)
    const names = Object.keys(graph) as [string, ...Array<string>]
    const history: Array<string> = []
    const fails = new Map<string, () => void>()
    const allUnlimited = random.chance(0.5)
    const stopsByHand = random.chance(0.5)
    /** Whether the host stops while all of that goes on. */
    const endsEarly = random.chance(0.3)
    /** The first starts go well, and so do those at the end. */
    let smooth = true

    const start = (name: string) =>
      Effect.gen(function*() {
        if (!smooth) {
          const takes = Effect.sleep(random.pick([0, 0, 1400, 2100]))
          // As one that acquires something.
          yield* random.chance(0.2) ? Effect.uninterruptible(takes) : takes
        }
        if (!smooth && random.chance(0.25)) return yield* Effect.fail(history.push(`the start of ${name} fails`))
        if (random.chance(0.2)) yield* App.onStop("slow", Effect.sleep(random.below(4000)))
        const work = Effect.callback<never, string>((resume) => {
          fails.set(name, () => resume(Effect.fail("broken")))
        })
        yield* Task.spawn(work, "work", { onFailure: "stopApp" })
      })
    const policy = (): App.AppOptions => {
      const budget = allUnlimited ? "unlimited" : random.pick(["unlimited", "some", "no policy"] as const)
      if (budget === "no policy") return {}
      return {
        restart: Restart.permanent({
          schedule: Schedule.spaced(random.below(3) * 1500),
          budget: budget === "unlimited" ? "none" : { restarts: 2, within: "1 hour" },
          onExhausted: "giveUp"
        })
      }
    }

    const layers = layersOf(graph, (name) => ({ start: start(name) as Effect.Effect<void>, options: policy() }))
    let apps: ReadonlyArray<AppImpl> = []
    const look = App.layer(
      "look",
      Effect.map(Host.apps, (all) => {
        apps = (all as ReadonlyArray<unknown> as ReadonlyArray<AppImpl>).filter(({ name }) => name !== "look")
      })
    )
    const all = Layer.mergeAll(...layers as [AppLayer, ...Array<AppLayer>])
    const host = yield* Effect.forkChild(Host.launch(Layer.provideMerge(look, all)))
    yield* TestClock.adjust(1)
    assert.strictEqual(apps.length, names.length)
    smooth = false

    const asked = new Map<string, Fiber.Fiber<Exit.Exit<unknown, unknown>>>()
    /** What somebody has stopped, and nobody has asked to start since. */
    const stopped = new Set<string>()
    let anyStopped = false
    const byHand: Readonly<Record<"stop" | "start" | "restart", (app: App.App) => Effect.Effect<unknown, unknown>>> = {
      stop: App.stop,
      start: App.start,
      restart: App.restart
    }
    const act = (app: AppImpl, step: number) => {
      const kind = random.pick(["fails", "fails", "fails", stopsByHand ? "stop" : "fails", "start", "restart"] as const)
      const what = `${step}: ${kind} ${app.name} (${app.phase._tag})`
      history.push(what)
      if (kind === "fails") return Effect.sync(() => fails.get(app.name)?.())
      anyStopped ||= kind === "stop"
      if (kind === "stop") stopped.add(app.path)
      else stopped.delete(app.path)
      const end = Effect.exit(byHand[kind](app as App.App & AppImpl))
      return Effect.map(Effect.forkChild(end, { startImmediately: true }), (fiber) => void asked.set(what, fiber))
    }
    for (let step = random.between(4, 18); step > 0; step--) {
      const name = random.pick(names)
      yield* act(apps.find((app) => app.name === name)!, step)
      yield* TestClock.adjust(random.pick([0, 0, 300, 1500, 1501, 4000]))
    }
    smooth = true
    for (let times = endsEarly ? 30 : 0; times < 30; times++) yield* TestClock.adjust("4 seconds")

    const problems: Array<string> = []
    const unanswered = () => {
      for (const [what, fiber] of asked) if (fiber.pollUnsafe() === undefined) problems.push(`nobody answers ${what}`)
    }
    const left = () => {
      for (const { backoff, path, restart } of apps) {
        if (restart !== undefined || backoff !== undefined) problems.push(`the restart of ${path} never ends`)
      }
    }
    const end = Effect.gen(function*() {
      yield* Effect.forkChild(Fiber.interrupt(host))
      for (let times = 0; times < 30; times++) yield* TestClock.adjust("1 second")
      if (host.pollUnsafe() === undefined) problems.push("the host does not end")
      unanswered()
      left()
      for (const { path, phase } of apps) {
        if (phase._tag !== "Stopped" && phase._tag !== "Failed") {
          problems.push(`${path} is ${phase._tag} after the host`)
        }
      }
      assert.deepStrictEqual(problems, [], `program ${seed}\n${history.join("\n")}`)
    })
    if (endsEarly) return yield* end

    unanswered()
    left()
    for (const app of apps) {
      const { dependencies, path, phase } = app
      const isDown = phase._tag === "Stopped" || phase._tag === "Failed"
      const canRun = [...dependencies].every((other) => other.phase._tag === "Ready")
      // Where nobody was stopped for good, by hand or since it is given up.
      const mustRun = !anyStopped && canRun && [...dependencies, app].every(isUnlimited)
      if (phase._tag !== "Ready" && !isDown) problems.push(`${path} is ${phase._tag} for ever`)
      if (phase._tag === "Ready" && !canRun) problems.push(`${path} runs without what it depends on`)
      const hasFailed = phase._tag === "Stopped" && phase.failure !== undefined
      if (isDown && (hasFailed || allUnlimited) && mustRun) {
        problems.push(`${path} stays down though it can be restarted`)
      }
      if (!isDown && stopped.has(path)) problems.push(`${path} runs though somebody has stopped it`)
    }
    yield* end
  }).pipe(Effect.provide(makeRecorder().layer))

eachProgram("random apps with policies run or are down, and nobody waits for ever", runProgram)
