/**
 * A restart storm: ten thousand tasks fail in the same moment and are started again, three times over. Prints how long
 * that takes, and the longest time in which the event loop had no turn. Log lines are made, and written nowhere.
 *
 *   pnpm speed:restarts          10,000 tasks, seven rounds, some twenty seconds
 *   pnpm speed:restarts 1e5 3    100,000 tasks, three rounds
 */
import { Restart, Task, TaskScope } from "@ambit/core"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import { cpus } from "node:os"
import { render } from "./markdown.ts"
import { inOrderOf } from "./rounds.ts"
import { watchLoop } from "./stall.ts"
import { median } from "./statistics.ts"

const count = Number(process.argv[2] ?? 10_000)
const rounds = Number(process.argv[3] ?? 7)
const failures = 3

/** What all wait for, and what fails them all at once, as a broker does that goes away. */
const broker = { waiting: new Array<() => void>() }

const down = Effect.fail("down")

const wait = Effect.callback<never, string>((resume) => {
  broker.waiting.push(() => resume(down))
})

/** What is run again: it waits for the broker, fails with it and then a few times at once, and then it is done. */
const flaky = (begun: { runs: number }, done: () => void) =>
  Effect.suspend(() => {
    const run = begun.runs++
    return run === 0 ? wait : run < failures ? down : Effect.sync(done)
  })

const schedule = Schedule.spaced("100 millis")
const restart = Restart.transient({ schedule, budget: "none" })

interface Way {
  readonly name: string
  readonly start: (
    run: Effect.Effect<void, string>,
    nth: number
  ) => Effect.Effect<unknown, unknown, TaskScope.TaskScope>
}

/** Logs that are made as usual, and written nowhere. */
const unwritten = Logger.layer([Logger.map(Logger.formatLogFmt, () => {})])

const ways: ReadonlyArray<Way> = [
  { name: "`Task.spawn` with `restart`", start: (run, nth) => Task.spawn(run, `task-${nth}`, { restart }) },
  { name: "`Effect.retry`, forked", start: (run) => Effect.forkDetach(Effect.retry(run, schedule)) }
]

interface Figures {
  readonly took: number
  readonly stall: number
}

const storm = (way: Way): Effect.Effect<Figures, unknown> =>
  Effect.gen(function*() {
    const finished = Deferred.makeUnsafe<void>()
    let left = count
    const done = () => {
      if (--left === 0) Deferred.doneUnsafe(finished, Effect.void)
    }
    broker.waiting = []
    for (let nth = 0; nth < count; nth++) yield* way.start(flaky({ runs: 0 }, done), nth)
    yield* Effect.sleep("20 millis")
    globalThis.gc?.()
    const loop = watchLoop()
    const begin = performance.now()
    for (const fail of broker.waiting) fail()
    yield* Deferred.await(finished)
    return { took: performance.now() - begin, stall: loop.stop() }
  }).pipe(Effect.provide(TaskScope.layer("storm")), Effect.provide(unwritten))

const figures = new Map<Way, Array<Figures>>(ways.map((way) => [way, []]))

const program = Effect.gen(function*() {
  for (const way of ways) yield* storm(way)
  for (let round = 0; round < rounds; round++) {
    for (const way of inOrderOf(ways, round)) {
      figures.get(way)!.push(yield* storm(way))
    }
  }
})

const print = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n\n`))

const table = () =>
  render([
    ["", "ms, all of it", "longest stall ms", "worst round ms"],
    ...ways.map((way) => {
      const rows = figures.get(way)!
      const stalls = rows.map(({ stall }) => stall)
      return [
        way.name,
        median(rows.map(({ took }) => took)).toFixed(0),
        median(stalls).toFixed(1),
        Math.max(...stalls).toFixed(1)
      ]
    })
  ])

const title = `# Restart storm: ${count} tasks, ${failures} restarts each, Node ${process.versions.node}, ${
  cpus()[0]?.model
}`

await Effect.runPromise(
  Effect.andThen(program, Effect.suspend(() => print(`${title}\n\n${table()}`)))
)
