/**
 * Who is compared. Each candidate starts tasks eagerly, one after the other,
 * in the way its users would.
 */
import { Task, TaskScope } from "@ambit/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Effection from "effection"
import { effects, operations, promises, type Work } from "./work.ts"

/** Something that tasks can be spawned into. */
export interface Group {
  /** Spawns a task for each name; candidates without names take only their number. */
  readonly spawn: (work: Work, names: ReadonlyArray<string>) => Effect.Effect<unknown, unknown>
  /** Ends all tasks and waits for their end. */
  readonly close?: Effect.Effect<unknown, unknown>
  /** How many tasks are left after that; a candidate that may give up a task tells. */
  readonly left?: Effect.Effect<number>
  /** Waits until no task runs. */
  readonly idle?: Effect.Effect<unknown, unknown>
}

export interface Candidate {
  readonly name: string
  /** The most tasks that it is asked for. */
  readonly most: number
  /** The most tasks whose end is waited for. */
  readonly mostAwaited: number
  /** Whether every task gets a name of its own; otherwise all have the same. */
  readonly ownNames: boolean
  readonly open: Effect.Effect<Group, unknown>
}

const candidate = (
  name: string,
  open: Effect.Effect<Group, unknown>,
  options?: { readonly most?: number; readonly mostAwaited?: number; readonly ownNames?: boolean }
): Candidate => ({ name, open, most: Infinity, mostAwaited: Infinity, ownNames: false, ...options })

/** The loop is the same for all that spawn from a fiber. */
const spawnEach = <E, R>(names: ReadonlyArray<string>, spawn: (name: string) => Effect.Effect<unknown, E, R>) =>
  Effect.suspend(() => {
    let index = 0
    return Effect.whileLoop({
      while: () => index < names.length,
      body: () => spawn(names[index++]!),
      step: () => {}
    })
  })

const spawnSync = (names: ReadonlyArray<string>, spawn: (name: string) => unknown) =>
  Effect.sync(() => {
    for (const name of names) spawn(name)
  })

// -----------------------------------------------------------------------------
// Ambit
// -----------------------------------------------------------------------------

const foreground = { kind: "foreground" } as const

const optionsFor = (work: Work) => work === "hold" ? foreground : undefined

// No real service has a minute for this. Here it keeps a slow machine from being told apart from a stuck task.
const openScope = Effect.map(
  Effect.flatMap(Scope.make(), (owner) => Scope.provide(TaskScope.make("speed", { stopWithin: "1 minute" }), owner)),
  (scope) => ({
    scope,
    close: TaskScope.close(scope),
    left: Effect.map(TaskScope.tasks(scope), (tasks) => tasks.length),
    idle: TaskScope.awaitIdle(scope)
  })
)

const ambitSpawn = Effect.map(openScope, ({ scope, ...group }): Group => ({
  ...group,
  spawn: (work, names) =>
    Effect.provideService(
      spawnEach(names, (name) => Task.spawn(effects[work], name, optionsFor(work))),
      TaskScope.TaskScope,
      scope
    )
}))

const ambitRuntime = Effect.gen(function*() {
  const { scope, ...group } = yield* openScope
  const spawn = yield* TaskScope.runtime(scope)
  return {
    ...group,
    spawn: (work: Work, names: ReadonlyArray<string>) =>
      spawnSync(names, (name) => Result.getOrThrow(spawn(effects[work], name, optionsFor(work))))
  }
})

// -----------------------------------------------------------------------------
// Effect
// -----------------------------------------------------------------------------

const eager = { startImmediately: true } as const

const forkIn = Effect.map(Scope.make(), (scope): Group => ({
  spawn: (work, names) => spawnEach(names, () => Effect.forkIn(effects[work], scope, eager)),
  close: Scope.close(scope, Exit.void)
}))

const fiberSetIn = Effect.gen(function*() {
  const scope = yield* Scope.make()
  const set = yield* Scope.provide(FiberSet.make<void>(), scope)
  return { scope, set }
})

const fiberSet = Effect.map(fiberSetIn, ({ scope, set }): Group => ({
  spawn: (work, names) => spawnEach(names, () => FiberSet.run(set, effects[work])),
  close: Scope.close(scope, Exit.void),
  idle: FiberSet.awaitEmpty(set)
}))

const fiberSetRuntime = Effect.gen(function*() {
  const { set } = yield* fiberSetIn
  const run = yield* FiberSet.runtime(set)()
  return {
    spawn: (work: Work, names: ReadonlyArray<string>) => spawnSync(names, () => run(effects[work])),
    close: FiberSet.clear(set)
  }
})

const fiberArray = Effect.sync((): Group => {
  const fibers: Array<Fiber.Fiber<void>> = []
  return {
    spawn: (work, names) =>
      spawnEach(names, () =>
        Effect.map(Effect.forkDetach(effects[work], eager), (fiber) => {
          fibers.push(fiber)
        })),
    close: Fiber.interruptAll(fibers),
    idle: Fiber.awaitAll(fibers)
  }
})

// -----------------------------------------------------------------------------
// Others
// -----------------------------------------------------------------------------

const effection = Effect.sync((): Group => {
  const [scope, destroy] = Effection.createScope()
  return {
    spawn: (work, names) =>
      Effect.promise(() => {
        const tasks = names.map(() => scope.run(operations[work]))
        return work === "complete" ? Promise.all(tasks) : Promise.resolve([])
      }),
    close: Effect.promise(() => destroy())
  }
})

const promise = Effect.sync((): Group => {
  const all: Array<Promise<void>> = []
  return {
    spawn: (work, names) => spawnSync(names, () => all.push(promises[work]())),
    idle: Effect.promise(() => Promise.all(all))
  }
})

/** What the spawns are compared with. */
export const spawnBase = candidate("Effect.forkIn, eager", forkIn)

/** What the closes are compared with: nobody ends fibers faster. */
export const closeBase = candidate("forkDetach, Fiber.interruptAll", fiberArray)

export const candidates: ReadonlyArray<Candidate> = [
  candidate("Ambit Task.spawn, one name", ambitSpawn),
  candidate("Ambit Task.spawn, own names", ambitSpawn, { ownNames: true }),
  candidate("Ambit TaskScope.runtime, one name", ambitRuntime),
  candidate("Ambit TaskScope.runtime, own names", ambitRuntime, { ownNames: true, most: 1e5 }),
  spawnBase,
  // It waits for one fiber after the other and looks for each from the start of its set, so a million take minutes.
  candidate("FiberSet.run", fiberSet, { mostAwaited: 1e5 }),
  candidate("FiberSet.runtime, clear", fiberSetRuntime, { most: 1e5 }),
  closeBase,
  // 11 kB a task: a million would take 11 GB.
  candidate("effection", effection, { most: 1e4 }),
  candidate("promises", promise)
]
