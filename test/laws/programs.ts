/**
 * Random programs for the laws: trees of apps, scopes and tasks that behave in
 * every way people have met, and a tracker that knows the truth about each task
 * from its fiber, not from what Ambit says about it.
 */
import { App, Host, Shutdown, Task, TaskScope } from "@ambit/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Random } from "../support/random.ts"

/** What the tracker knows of one task. */
export interface TrackedTask {
  readonly path: string
  readonly app: string
  readonly scope: TaskScope.TaskScope
  readonly behaviour: string
  readonly onFailure: Task.OnFailure
  /** Whether the announcement of a stop interrupts it. */
  readonly early: boolean
  readonly task: Task.Task
  startedAt: number | undefined
  endedAt: number | undefined
  exit: Exit.Exit<unknown, unknown> | undefined
  /** Whether a newer one has come in its place, which may have ended it before anybody else asked. */
  replaced: boolean
  /** The last moment at which any code of it ran, its children and its clean-up included. */
  lastRanAt: number
}

export interface TrackedHook {
  readonly path: string
  readonly phase: Shutdown.StopPhase | undefined
  runs: number
  beganAt: number | undefined
  ended: "completed" | "failed" | undefined
}

export interface TrackedApp {
  readonly name: string
  readonly dependsOn: ReadonlyArray<string>
  readonly stopWithin: number
  releasedAt: number | undefined
  /** The tasks of the app that still ran when its resource was released. */
  aliveAtRelease: ReadonlyArray<TrackedTask>
  readonly hooks: Array<TrackedHook>
}

export class Tracker {
  readonly tasks: Array<TrackedTask> = []
  readonly apps: Array<TrackedApp> = []
  /** What happened that must never happen. */
  readonly violations: Array<string> = []
  readonly now: () => number

  constructor(now: () => number) {
    this.now = now
  }
}

type Spawned = Task.SpawnError

interface Place {
  readonly tracker: Tracker
  readonly random: Random
  readonly app: string
  readonly scope: TaskScope.TaskScope
  /** Whether the scope was made while its app was stopping: then it is for clean-up, and takes work in. */
  readonly forCleanUp?: boolean
}

const appIsStopping: Effect.Effect<boolean> = Effect.gen(function*() {
  const app = yield* App.current
  return Option.isSome(app) && (yield* App.state(app.value))._tag === "Stopping"
})

interface Behaviour {
  readonly name: string
  readonly run: (place: Place, ran: Effect.Effect<void>) => Effect.Effect<unknown, unknown, TaskScope.TaskScope>
}

const millis = (random: Random) => random.between(1, 60) * 10

const behaviours: readonly [Behaviour, ...Array<Behaviour>] = [
  { name: "waits for ever", run: () => Effect.never },
  { name: "ends at once", run: () => Effect.void },
  { name: "ends by itself", run: ({ random }) => Effect.sleep(millis(random)) },
  { name: "works in steps", run: (_, ran) => Effect.forever(Effect.andThen(Effect.sleep(30), ran)) },
  {
    name: "cleans up slowly",
    run: ({ random }, ran) => Effect.ensuring(Effect.never, Effect.andThen(Effect.sleep(millis(random)), ran))
  },
  {
    name: "cannot be interrupted for a while",
    run: ({ random }, ran) => Effect.uninterruptible(Effect.andThen(Effect.sleep(millis(random) * 3), ran))
  },
  { name: "cannot be interrupted", run: () => Effect.uninterruptible(Effect.never) },
  { name: "has a finalizer that hangs", run: () => Effect.ensuring(Effect.never, Effect.never) },
  { name: "has a finalizer that fails", run: () => Effect.ensuring(Effect.never, Effect.die("broken finalizer")) },
  {
    name: "loops in its finalizer",
    run: (_, ran) => Effect.ensuring(Effect.never, Effect.forever(Effect.andThen(Effect.sleep(20), ran)))
  },
  { name: "fails", run: ({ random }) => Effect.andThen(Effect.sleep(millis(random)), Effect.fail("broken")) },
  { name: "fails at once", run: () => Effect.fail("broken at once") },
  { name: "dies", run: ({ random }) => Effect.andThen(Effect.sleep(millis(random)), Effect.die("defect")) },
  {
    name: "has a child that cannot be interrupted",
    run: (_, ran) =>
      Effect.andThen(
        Effect.forkChild(Effect.uninterruptible(Effect.andThen(Effect.sleep(4000), ran))),
        Effect.never
      )
  },
  {
    name: "spawns more",
    run: (place) =>
      Effect.andThen(
        Effect.sleep(millis(place.random)),
        Effect.ignore(Effect.andThen(spawnRandom(place), spawnRandom(place)))
      )
  },
  {
    name: "spawns while it is stopped",
    run: ({ forCleanUp, scope, tracker }) =>
      Effect.onInterrupt(Effect.never, () =>
        Effect.gen(function*() {
          // Stopped alone, or with all others of a scope that stays open, it may well spawn.
          const stopping = scope.state._tag !== "Open" || (forCleanUp !== true && (yield* appIsStopping))
          const spawned = yield* Task.spawn(Effect.never, "late")
          if (stopping) tracker.violations.push(`${spawned.path} was accepted while stopping`)
        }).pipe(Effect.ignore))
  },
  {
    name: "closes its own scope",
    run: ({ random, scope }) => Effect.andThen(Effect.sleep(millis(random) * 2), TaskScope.close(scope))
  },
  {
    name: "closes its own scope in its finalizer",
    run: ({ random, scope }) => Effect.ensuring(Effect.sleep(millis(random) * 3), TaskScope.close(scope))
  },
  {
    name: "stops its own app",
    run: ({ random }) =>
      Effect.andThen(
        Effect.sleep(millis(random) * 3),
        Effect.flatMap(App.current, (app) => Option.isSome(app) ? App.stop(app.value, "by its own task") : Effect.void)
      )
  },
  {
    name: "cancels everybody",
    run: ({ random, scope }) => Effect.andThen(Effect.sleep(millis(random) * 3), TaskScope.cancelAll(scope))
  },
  {
    name: "asks for more time while it is stopped",
    run: ({ random }, ran) =>
      Effect.ensuring(
        Effect.never,
        Effect.andThen(extendRandom(random), Effect.andThen(Effect.sleep(millis(random) * 5), ran))
      )
  },
  { name: "waits until the others are idle", run: ({ scope }) => TaskScope.awaitIdle(scope) },
  {
    name: "works in a scope of its own",
    run: (place) =>
      TaskScope.use(
        "session",
        (scope) =>
          Effect.flatMap(appIsStopping, (forCleanUp) =>
            Effect.andThen(spawnSome({ ...place, scope, forCleanUp }, 3), Effect.sleep(millis(place.random)))),
        {
          stopWithin: Math.max(1, Math.floor(place.scope.stopWithin * (place.random.chance(0.5) ? 1 : 0.3)))
        }
      )
  },
  {
    name: "closes a child of its scope",
    run: (place) =>
      Effect.gen(function*() {
        const scope = yield* TaskScope.child(place.scope, "session")
        yield* spawnSome({ ...place, scope }, 3)
        yield* Effect.sleep(millis(place.random))
        yield* TaskScope.close(scope, { within: Math.max(1, Math.floor(scope.stopWithin * 0.3)) })
      })
  },
  {
    name: "closes the scope around from a scope of its own",
    run: ({ random, scope }) =>
      TaskScope.use("session", () => Effect.ensuring(Effect.sleep(millis(random) * 3), TaskScope.close(scope)))
  },
  {
    name: "cleans up in a scope of its own",
    run: (place) =>
      Effect.ensuring(
        Effect.never,
        Effect.ignore(TaskScope.use("flush", (scope) => spawnRandom({ ...place, scope }, place.random.pick(cleanUps))))
      )
  },
  {
    name: "interrupts itself",
    run: ({ random }) => Effect.andThen(Effect.sleep(millis(random)), Effect.interrupt)
  }
]

const extendRandom = (random: Random): Effect.Effect<number, never, TaskScope.TaskScope> =>
  Effect.orDie(Effect.suspend(() => Shutdown.extend(millis(random) * 5)))

/** What the scope around, which is stopping, makes no difference to. */
const cleanUps: readonly [Behaviour, ...Array<Behaviour>] = [
  { name: "waits for ever", run: () => Effect.never },
  { name: "ends by itself", run: ({ random }) => Effect.sleep(millis(random)) },
  { name: "cannot be interrupted", run: () => Effect.uninterruptible(Effect.never) }
]

/** Spawns one task with a random behaviour and random options, and tracks it. */
const spawnRandom = (
  place: Place,
  behaviour = place.random.pick(behaviours)
): Effect.Effect<void, Spawned, TaskScope.TaskScope> =>
  Effect.suspend(() => {
    const { app, random, scope, tracker } = place
    const early = random.chance(0.15)
    const onFailure = random.chance(0.9)
      ? random.pick<Task.OnFailure>(["report", "ignore"])
      : random.pick<Task.OnFailure>(["stopApp", "stopHost"])
    const name = random.pick(["a", "b", "c"])
    const onDuplicate = random.chance(0.2) ? random.pick<Task.OnDuplicate>(["replace", { queue: 2 }]) : undefined
    let tracked: TrackedTask | undefined
    let startedAt: number | undefined
    const ran = Effect.sync(() => {
      if (tracked !== undefined) tracked.lastRanAt = tracker.now()
    })
    const body = Effect.suspend(() => {
      startedAt = tracker.now()
      if (tracked !== undefined) tracked.startedAt = startedAt
      return behaviour.run(place, ran)
    })
    return Effect.map(
      TaskScope.spawn(scope, body, name, {
        kind: random.pick(["foreground", "background"]),
        startImmediately: random.chance(0.8),
        onFailure,
        ...(early ? { stopAt: "stopping" as const } : {}),
        ...(random.chance(0.2) ? { stopWithin: Math.max(1, Math.floor(scope.stopWithin * 0.4)) } : {}),
        onDuplicate
      }),
      (task) => {
        const record: TrackedTask = {
          path: task.path,
          app,
          scope,
          behaviour: behaviour.name,
          onFailure,
          early,
          task,
          startedAt,
          endedAt: undefined,
          exit: undefined,
          replaced: false,
          lastRanAt: tracker.now()
        }
        tracked = record
        for (const other of tracker.tasks) {
          if (onDuplicate === "replace" && other.scope === scope && other.task.name === name) other.replaced = true
        }
        tracker.tasks.push(record)
        task.fiber.addObserver((exit) => {
          record.exit = exit
          record.endedAt = tracker.now()
          record.lastRanAt = tracker.now()
        })
      }
    )
      .pipe(
        Effect.catchTag("TaskRefused", () => Effect.void),
        // One that replaces its spawner is tracked before that is gone.
        Effect.uninterruptible
      )
  })

const spawnSome = (place: Place, most: number) =>
  Effect.gen(function*() {
    const count = place.random.below(most + 1)
    for (let i = 0; i < count; i++) yield* spawnRandom(place)
  })

const resources: readonly ["good", ...Array<"good" | "slow" | "hung" | "failing">] = [
  "good",
  "good",
  "good",
  "slow",
  "hung",
  "failing"
]

const acquireRandom = (place: Place, tracked: TrackedApp) => {
  const { random, tracker } = place
  const kind = random.pick(resources)
  const released = Effect.sync(() => {
    tracked.releasedAt = tracker.now()
    tracked.aliveAtRelease = tracker.tasks.filter((task) =>
      task.app === place.app && task.task.fiber.pollUnsafe() === undefined
    )
  })
  const release = {
    good: Effect.void,
    slow: Effect.sleep(millis(random)),
    hung: Effect.never,
    failing: Effect.die("broken release")
  }[kind]
  return Effect.acquireRelease(Effect.void, () => Effect.andThen(released, release))
}

const hookKinds = ["good", "good", "slow", "hung", "failing", "spawning", "greedy", "throwing"] as const

/** What must hold when a hook begins. */
const checkHook = (hook: TrackedHook, { app, tracker }: Place, host: Option.Option<Host.Host>) =>
  Effect.gen(function*() {
    hook.runs++
    if (hook.runs > 1) tracker.violations.push(`${hook.path} ran again`)
    if (hook.phase !== "finalWrite" && hook.phase !== "closing") return
    const status = Option.isNone(host)
      ? Option.none()
      : yield* Effect.provideService(Shutdown.status, Host.Host, host.value)
    // In the phase of the host all apps are done; alone, it is one.
    const ofAll = Option.isSome(status) && status.value.phase === hook.phase
    for (const { app: of, task } of tracker.tasks) {
      if ((ofAll || of === app) && task.status._tag !== "Ended" && task.status._tag !== "Abandoned") {
        tracker.violations.push(`${task.path} lived when ${hook.path} began`)
      }
    }
  })

const hookRandom = (place: Place, tracked: TrackedApp, name: string, phase: Shutdown.StopPhase | undefined) => {
  const { random, tracker } = place
  const hook: TrackedHook = { path: "", phase, runs: 0, beganAt: undefined, ended: undefined }
  const kind = random.pick(hookKinds)
  const run = Effect.suspend((): Effect.Effect<unknown, unknown, TaskScope.TaskScope> => {
    hook.beganAt = tracker.now()
    switch (kind) {
      case "good":
        return Effect.void
      case "slow":
        return Effect.sleep(millis(random))
      case "hung":
        return random.chance(0.5) ? Effect.never : Effect.uninterruptible(Effect.never)
      case "failing":
        return Effect.fail("broken hook")
      case "spawning":
        return Effect.ignore(spawnRandom(place))
      case "greedy":
        return Effect.andThen(extendRandom(random), Effect.sleep(millis(random) * 5))
      case "throwing":
        throw new Error("broken hook")
    }
  }).pipe(Effect.onExit((exit) =>
    Effect.sync(() => {
      hook.ended = exit._tag === "Success" ? "completed" : "failed"
    })
  ))
  return Effect.gen(function*() {
    const app = yield* Effect.flatMap(App.current, Effect.fromOption)
    const host = yield* Effect.serviceOption(Host.Host)
    const checked = Effect.andThen(checkHook(hook, place, host), run)
    // The phases of a short host are short.
    const options = random.chance(0.5) ? { within: millis(random) / (phase === undefined ? 1 : 10) } : {}
    yield* phase === undefined ? App.onStop(name, checked, options) : Shutdown.on(phase, name, checked, options)
    tracked.hooks.push(Object.assign(hook, { path: `${app.path}/${name}` }))
  }).pipe(Effect.orDie)
}

const startRandom = (place: Omit<Place, "scope">, tracked: TrackedApp) =>
  Effect.gen(function*() {
    const { random } = place
    const here: Place = { ...place, scope: yield* TaskScope.TaskScope }
    if (random.chance(0.7)) yield* acquireRandom(here, tracked)
    yield* spawnSome(here, 3)
    const hooks = random.below(3)
    for (let i = 0; i < hooks; i++) yield* hookRandom(here, tracked, `hook${i}`, undefined)
    const phaseHooks = random.below(4)
    for (let i = 0; i < phaseHooks; i++) {
      yield* hookRandom(here, tracked, `phase${i}`, random.pick(Shutdown.StopPhase.literals))
    }
    if (random.chance(0.3)) yield* Effect.sleep(millis(random))
    if (random.chance(0.4)) {
      const child = yield* TaskScope.child(here.scope, random.pick(["inner", "a"]))
      yield* spawnSome({ ...here, scope: child }, 3)
    }
    if (random.chance(0.03)) return yield* Effect.fail("broken start")
    if (random.chance(0.03)) return yield* random.chance(0.5) ? Effect.never : Effect.uninterruptible(Effect.never)
    yield* spawnSome(here, 3)
    return {}
  })

/** Apps that depend on each other at random, as one layer. */
export const randomApps = (
  tracker: Tracker,
  random: Random
): Layer.Layer<never, unknown> => {
  const count = random.between(1, 4)
  const layers: Array<Layer.Layer<any, unknown>> = []
  const keys: Array<Context.Service<any, any>> = []
  for (let i = 0; i < count; i++) {
    const name = `app${i}`
    const key = Context.Service<any>(`test/laws/programs/${name}`)
    const dependencies = keys.flatMap((_, j) => random.chance(0.4) ? [j] : [])
    const stopWithin = random.between(5, 30) * 100
    const tracked: TrackedApp = {
      name,
      dependsOn: dependencies.map((j) => `app${j}`),
      stopWithin,
      releasedAt: undefined,
      aliveAtRelease: [],
      hooks: []
    }
    tracker.apps.push(tracked)
    const app = App.layer(name, Layer.effect(key)(startRandom({ tracker, random, app: name }, tracked)), {
      startWithin: "2 seconds",
      stopWithin,
      ...(random.chance(0.5) ? { taskStopWithin: random.between(2, 5) * 100 } : {}),
      ...(random.chance(0.3) ? { drain: random.chance(0.5) ? "none" : random.between(1, 5) * 100 } : {})
    })
    const below = dependencies.map((j) => layers[j]!)
    layers.push(below.reduce((layer, dependency) => Layer.provide(layer, dependency), app))
    keys.push(key)
  }
  const [first, ...others] = layers
  return Layer.mergeAll(first!, ...others)
}
