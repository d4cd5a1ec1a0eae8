/**
 * Compares what it costs to publish an event to many handlers, and prints a table
 * for each number of handlers.
 *
 *   pnpm speed:bus       21 rounds, some thirty seconds
 *   pnpm speed:bus 5     five rounds
 */
import { Bus, Job, TaskScope } from "@ambit/core"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as PubSub from "effect/PubSub"
import * as Schema from "effect/Schema"
import mitt from "mitt"
import { EventEmitter } from "node:events"
import { cpus } from "node:os"
import { ratioCell, render } from "./markdown.ts"
import { inOrderOf } from "./rounds.ts"
import { median } from "./statistics.ts"

/** What the handlers have done. */
let handled = 0

/** Each handler is a function of its own, as in a program. */
const handlerOf = (weight: number) => (n: number): void => {
  handled += n + weight
}

/** Publishes so many events, and is done when all handlers have got them. */
type Publish = (events: number) => Effect.Effect<unknown>

/** One way to connect who publishes with so many handlers. */
interface Way {
  readonly name: string
  /** Whether it starts or wakes a fiber a handler, so that a few events are enough. */
  readonly fibers?: boolean
  readonly open: (handlers: number) => Effect.Effect<Publish, unknown, TaskScope.TaskScope>
}

const called = (name: string, open: (handlers: number) => (n: number) => unknown): Way => ({
  name,
  open: (handlers) =>
    Effect.sync(() => {
      const emit = open(handlers)
      return repeated(emit)
    })
})

const repeated = (emit: (n: number) => unknown): Publish => (events) =>
  Effect.sync(() => {
    for (let n = 0; n < events; n++) emit(1)
  })

const Numbers = Bus.topic("numbers", Schema.Finite)

const withHandlers = (handlers: number, job: (index: number) => Job.Job<[n: number], unknown>) =>
  Effect.gen(function*() {
    const bus = yield* Effect.scoped(Bus.make)
    for (let index = 0; index < handlers; index++) {
      yield* Effect.provideService(Bus.on(Numbers, job(index)), Bus.Bus, bus)
    }
    return bus
  })

const published = (name: string, job: (index: number) => Job.Job<[n: number], unknown>, fibers = false): Way => ({
  name,
  fibers,
  open: (handlers) =>
    Effect.gen(function*() {
      const bus = yield* withHandlers(handlers, job)
      return repeated(yield* Effect.provideService(Bus.publisher(Numbers), Bus.Bus, bus))
    })
})

const unlimited = (index: number) => Job.callback("add", handlerOf(index), { budget: "none" })
const limited = (index: number) => Job.callback("add", handlerOf(index))
const effect = (index: number) => {
  const handle = handlerOf(index)
  return Job.effect("add", (n: number) => Effect.sync(() => handle(n)))
}

const ways: ReadonlyArray<Way> = [
  called("`EventEmitter`", (handlers) => {
    const emitter = new EventEmitter().setMaxListeners(0)
    for (let index = 0; index < handlers; index++) emitter.on("numbers", handlerOf(index))
    return (n) => emitter.emit("numbers", n)
  }),
  called("mitt 3.0.1", (handlers) => {
    const emitter = (mitt as unknown as typeof mitt.default)<{ numbers: number }>()
    for (let index = 0; index < handlers; index++) emitter.on("numbers", handlerOf(index))
    return (n) => emitter.emit("numbers", n)
  }),
  published("**Ambit**, callbacks, `budget: \"none\"`", unlimited),
  published("**Ambit**, callbacks", limited),
  {
    name: "**Ambit**, callbacks, the effect `Bus.publish`",
    open: (handlers) =>
      Effect.map(withHandlers(handlers, limited), (bus): Publish => (events) => {
        let n = 0
        const body = () => {
          n++
          return Bus.publish(Numbers, 1)
        }
        const all = Effect.whileLoop({ while: () => n < events, body, step: () => {} })
        return Effect.provideService(all, Bus.Bus, bus)
      })
  },
  published("**Ambit**, effects, a task each", effect, true),
  {
    name: "Effect's `PubSub`, a fiber a handler",
    fibers: true,
    open: (handlers) =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub.unbounded<number>()
        const scope = yield* TaskScope.TaskScope
        let awaited = 0
        let done = () => {}
        for (let index = 0; index < handlers; index++) {
          const handle = handlerOf(index)
          const handling = Effect.scoped(Effect.flatMap(PubSub.subscribe(pubsub), (subscription) =>
            Effect.forever(
              Effect.map(PubSub.take(subscription), (n) => {
                handle(n)
                if (--awaited === 0) done()
              })
            )))
          yield* TaskScope.spawn(scope, handling, "handler")
        }
        return (events) =>
          Effect.suspend(() => {
            awaited = events * handlers
            let n = 0
            const body = () => {
              n++
              return PubSub.publish(pubsub, 1)
            }
            return Effect.andThen(
              Effect.whileLoop({ while: () => n < events, body, step: () => {} }),
              Effect.callback<void>((resume) => {
                if (awaited === 0) return resume(Effect.void)
                done = () => resume(Effect.void)
              })
            )
          })
      })
  }
]

/** How often a handler is called in one measurement. The clock of a thread is coarse. */
const calls = 2_000_000
const callsOfFibers = 100_000

const sizes = [1, 100, 10_000]

/**
 * Nanoseconds of this thread for each event and handler. Nothing in here waits for
 * time, and what the machine does meanwhile is no part of it.
 */
const measure = ({ fibers }: Way, publish: Publish, handlers: number) =>
  Effect.suspend(() => {
    const events = (fibers === true ? callsOfFibers : calls) / handlers
    globalThis.gc?.()
    const begin = process.threadCpuUsage()
    return Effect.map(publish(events), () => {
      const { system, user } = process.threadCpuUsage(begin)
      return (system + user) * 1000 / events / handlers
    })
  })

const compare = (handlers: number, rounds: number) =>
  Effect.gen(function*() {
    const all = yield* Effect.forEach(
      ways,
      (way) => Effect.map(way.open(handlers), (publish) => ({ way, publish, took: [] as Array<number> }))
    )
    for (const { publish, way } of all) yield* measure(way, publish, handlers)
    for (let round = 0; round < rounds; round++) {
      for (const { publish, took, way } of inOrderOf(all, round)) took.push(yield* measure(way, publish, handlers))
    }
    const rows = all.map(({ took, way }) => [way.name, median(took).toFixed(1), ratioCell(took, all[0]!.took)])
    const title = `${handlers.toLocaleString("en")} ${handlers === 1 ? "handler" : "handlers"}`
    return render([[title, "ns", "× (least–greatest)"], ...rows])
  }).pipe(Effect.provide(TaskScope.layer("speed")))

const print = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n\n`))

const [rounds = "21"] = process.argv.slice(2)

const program = Effect.gen(function*() {
  const cores = cpus()
  yield* print(
    `# Bus\n\nNode ${process.versions.node}, ${cores[0]?.model}, ${cores.length} cores. Medians of ${rounds} rounds.`
  )
  for (const size of sizes) yield* print(yield* compare(size, Number(rounds)))
})

if (globalThis.gc === undefined) {
  process.stderr.write("Run it as `node --expose-gc test/speed/bus.ts`: it collects garbage between measurements\n")
  process.exitCode = 1
} else {
  // A machine under load makes callbacks late; nobody shall read of it here.
  await Effect.runPromise(Effect.provide(program, Logger.layer([])))
  if (handled === 0) process.exitCode = 1
}
