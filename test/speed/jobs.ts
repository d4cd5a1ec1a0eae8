/**
 * Compares what a job costs with what is in it, and prints a table a kind.
 *
 *   pnpm speed:jobs       21 rounds, some twenty seconds
 *   pnpm speed:jobs 5     five rounds
 */
import { Blocking, Job, Task, TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import * as Effect from "effect/Effect"
import { cpus } from "node:os"
import { triple } from "../fixtures/functions.ts"
import { ratioCell, render } from "./markdown.ts"
import { inOrderOf } from "./rounds.ts"
import { median } from "./statistics.ts"

type Services = Blocking.Blocking | TaskScope.TaskScope

/** One way to do the same `times` times. */
interface Way {
  readonly name: string
  readonly many: (times: number) => Effect.Effect<unknown, unknown, Services>
}

/** Ways that are compared; the first one is the base of the ratios. */
interface Part {
  readonly title: string
  readonly times: number
  readonly ways: ReadonlyArray<Way>
}

let sum = 0

const add = (n: number): void => {
  sum += n
}
const addEffect = (n: number) => Effect.sync(() => add(n))
const addLater = async (n: number) => add(n)

const callback = Job.callback("add", add)
const unlimited = Job.callback("add", add, { budget: "none" })
const effect = Job.effect("add", addEffect)
const generator = Job.effect("add", (n: number) => addGenerated(n))
const later = Job.effect("add", addLater)
const abortable = Job.promise("add", (_signal, n: number) => addLater(n))
const blocking = Job.blocking(triple)

const called = (name: string, f: (n: number) => void): Way => ({
  name,
  many: (times) =>
    Effect.sync(() => {
      for (let n = 0; n < times; n++) f(n)
    })
})

const ran = <E>(name: string, f: (n: number) => Effect.Effect<unknown, E, Services>): Way => ({
  name,
  many: (times) =>
    Effect.suspend(() => {
      let n = 0
      return Effect.whileLoop({ while: () => n < times, body: () => f(n++), step: () => {} })
    })
})

const atOnce = <E>(name: string, f: (n: number) => Effect.Effect<unknown, E, Services>): Way => ({
  name,
  many: (times) => Effect.forEach(Array.from({ length: times }, (_, n) => n), f, { concurrency: 64, discard: true })
})

function* addGenerated(n: number) {
  yield* addEffect(n)
}

const parts: ReadonlyArray<Part> = [
  {
    title: "callback, dispatched",
    times: 200_000,
    ways: [
      called("the bare call", add),
      called("`Job.dispatch`", Job.dispatch(callback)),
      called("`Job.dispatch`, `budget: \"none\"`", Job.dispatch(unlimited))
    ]
  },
  {
    title: "effect, dispatched",
    times: 20_000,
    ways: [
      ran("the bare effect, no task", addEffect),
      ran("`Job.dispatch`", Job.dispatch(effect)),
      ran("`Task.spawn`", (n) => Task.spawn(addEffect(n), "add"))
    ]
  },
  {
    title: "blocking, dispatched, 64 at once",
    times: 5000,
    ways: [
      atOnce("`Blocking.run`, no task", (n) => Blocking.run(triple, n)),
      atOnce("`Job.dispatch`", (n) => joined(Job.dispatch(blocking)(n))),
      atOnce("`Task.spawn`", (n) => joined(Task.spawn(Blocking.run(triple, n), "triple")))
    ]
  },
  {
    title: "callback, run",
    times: 50_000,
    ways: [ran("`Effect.sync`", addEffect), ran("`Job.run`", Job.run(callback))]
  },
  {
    title: "effect, run",
    times: 50_000,
    ways: [ran("the bare effect", addEffect), ran("`Job.run`", Job.run(effect))]
  },
  {
    title: "generator function, run",
    times: 50_000,
    ways: [
      ran("`Effect.gen`", (n) => Effect.gen(() => addGenerated(n))),
      ran("`Job.run`", Job.run(generator))
    ]
  },
  {
    title: "async function, run",
    times: 20_000,
    ways: [ran("`Effect.tryPromise`", (n) => Effect.tryPromise(() => addLater(n))), ran("`Job.run`", Job.run(later))]
  },
  {
    title: "promise with a signal, run",
    times: 20_000,
    ways: [
      ran("`Effect.tryPromise`", (n) => Effect.tryPromise((_signal) => addLater(n))),
      ran("`Job.run`", Job.run(abortable))
    ]
  },
  {
    title: "blocking, run, 64 at once",
    times: 5000,
    ways: [
      atOnce("`Blocking.run`", (n) => Blocking.run(triple, n)),
      atOnce("`Job.run`", Job.run(blocking))
    ]
  }
]

const joined = <A, E, E2, R>(spawned: Effect.Effect<Task.Task<A, E>, E2, R>) =>
  Effect.flatMap(spawned, (task) => task.join)

/** Microseconds for each of the times. */
const measure = ({ many }: Way, times: number) =>
  Effect.suspend(() => {
    globalThis.gc?.()
    const begin = performance.now()
    return Effect.map(many(times), () => (performance.now() - begin) * 1000 / times)
  })

const compare = ({ times, title, ways }: Part, rounds: number) =>
  Effect.gen(function*() {
    const all = ways.map((way) => ({ way, took: [] as Array<number> }))
    for (const { way } of all) yield* measure(way, times)
    for (let round = 0; round < rounds; round++) {
      for (const { took, way } of inOrderOf(all, round)) took.push(yield* measure(way, times))
    }
    const rows = all.map(({ took, way }) => [way.name, median(took).toFixed(3), ratioCell(took, all[0]!.took)])
    return render([[title, "µs", "× (least–greatest)"], ...rows])
  })

const print = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n\n`))

const [rounds = "21"] = process.argv.slice(2)

const program = Effect.gen(function*() {
  const cores = cpus()
  yield* print(
    `# Jobs\n\nNode ${process.versions.node}, ${cores[0]?.model}, ${cores.length} cores. Medians of ${rounds} rounds.`
  )
  for (const part of parts) yield* print(yield* compare(part, Number(rounds)))
})

if (globalThis.gc === undefined) {
  process.stderr.write("Run it as `node --expose-gc test/speed/jobs.ts`: it collects garbage between measurements\n")
  process.exitCode = 1
} else {
  await Effect.runPromise(program.pipe(
    Effect.provide(TaskScope.layer("speed")),
    Effect.provide(BlockingPool.layer({ threads: 1, saturation: "none" }))
  ))
  if (sum === 0) process.exitCode = 1
}
