import { Blocking, BlockingFunction, type InvalidOption, type ScopeClosed } from "@ambit/core"
import { BlockingPool, MainCalls, type PoolStartFailed, SyncApp, Thread } from "@ambit/node"
import { Context, Effect, type Layer, Schema, type Stream } from "effect"
import { describe, expect, it } from "tstyche"

const meta = { url: "file:///functions.ts" }

const length = BlockingFunction.make(meta, "length", (text: string, factor?: number) => text.length * (factor ?? 1))
const later = BlockingFunction.make(meta, "later", async (n: number) => [n])

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { path: Schema.String }) {}
class Denied extends Schema.TaggedError<Denied>()("Denied", { path: Schema.String }) {}
class Store extends Context.Service<Store, { readonly latest: Effect.Effect<number> }>()("test/Store") {}

describe("a blocking call", () => {
  it("has the arguments and the result of its function, and needs a pool", () => {
    expect(Blocking.run(length, "a", 2)).type.toBe<Effect.Effect<number, Blocking.BlockingError, Blocking.Blocking>>()
    expect(Blocking.run(length, "a")).type.toBe<Effect.Effect<number, Blocking.BlockingError, Blocking.Blocking>>()
    expect(Blocking.run).type.not.toBeCallableWith(length, 1)
    expect(Blocking.run).type.not.toBeCallableWith(length)
  })

  it("of an asynchronous function gives what its promise gives", () => {
    expect(Blocking.run(later, 1)).type.toBe<
      Effect.Effect<Array<number>, Blocking.BlockingError, Blocking.Blocking>
    >()
  })

  it("can be read as a stream of its progress, which has the type that its function says", () => {
    const scan = BlockingFunction.makeWithProgress(
      meta,
      "scan",
      (progress: BlockingFunction.Progress<{ readonly row: number }>, rows: number) => {
        expect(progress).type.not.toBeCallableWith(1)
        return rows
      }
    )
    expect(Blocking.stream(scan, 2)).type.toBe<
      Stream.Stream<Blocking.CallEvent<number, { readonly row: number }>, Blocking.BlockingError, Blocking.Blocking>
    >()
    expect(Blocking.run(scan, 2)).type.toBe<Effect.Effect<number, Blocking.BlockingError, Blocking.Blocking>>()
    expect(Blocking.run).type.not.toBeCallableWith(scan)
    expect(Blocking.run).type.not.toBeCallableWith(scan, () => {}, 2)
  })

  it("of a function that says none has no progress in its stream", () => {
    expect(Blocking.stream(length, "a")).type.toBe<
      Stream.Stream<Blocking.CallEvent<number, never>, Blocking.BlockingError, Blocking.Blocking>
    >()
    expect<Blocking.CallEvent<number, never>["value"]>().type.toBe<number>()
  })

  it("of a function of which little is known has unknown progress", () => {
    const any: BlockingFunction.BlockingFunction<[text: string], number> = length
    expect(Blocking.stream(any, "a")).type.toBe<
      Stream.Stream<Blocking.CallEvent<number, unknown>, Blocking.BlockingError, Blocking.Blocking>
    >()
  })

  it("takes options in both call styles, and may then be refused", () => {
    type Limited = Effect.Effect<number, Blocking.BlockingError | InvalidOption, Blocking.Blocking>
    expect(Blocking.run(length, "a").pipe(Blocking.withOptions({ timeout: "1 second" }))).type.toBe<Limited>()
    expect(Blocking.withOptions(Blocking.run(length, "a"), { grace: 0 })).type.toBe<Limited>()
    expect(Blocking.run(length, "a").pipe(Blocking.withOptions({ name: "measure" }))).type.toBe<Limited>()
    const unknown: Blocking.CallOptionsInput = {}
    expect(Blocking.run(length, "a").pipe(Blocking.withOptions(unknown))).type.toBe<Limited>()
  })

  it("is not refused for options that cannot be wrong", () => {
    type Sure = Effect.Effect<number, Blocking.BlockingError, Blocking.Blocking>
    const bytes = new ArrayBuffer(1)
    expect(Blocking.run(length, "a").pipe(Blocking.withOptions({ transfer: [bytes] }))).type.toBe<Sure>()
    expect(Blocking.withOptions(Blocking.run(length, "a"), { timeout: "none" })).type.toBe<Sure>()
    expect(Blocking.withOptions(Blocking.run(length, "a"), { timeout: "none", grace: 0 })).type.not.toBe<Sure>()
  })

  it("takes no option that there is none of", () => {
    expect(Blocking.withOptions).type.not.toBeCallableWith({ timeout: "1 second", retries: 3 })
    expect(Blocking.withOptions).type.not.toBeCallableWith(Blocking.run(length, "a"), { transfer: [], retries: 3 })
  })

  it("has the errors whose classes it is given", () => {
    expect(Blocking.run(length, "a").pipe(Blocking.throws([NotFound, Denied]))).type.toBe<
      Effect.Effect<number, Blocking.BlockingError | NotFound | Denied, Blocking.Blocking>
    >()
  })

  it("needs the pool that it is sent to instead of the usual one", () => {
    class Images extends Context.Service<Images, Blocking.Pool>()("test/Images") {}
    expect(Blocking.run(length, "a").pipe(Blocking.on(Images))).type.toBe<
      Effect.Effect<number, Blocking.BlockingError, Images>
    >()
  })
})

describe("a pool", () => {
  it("provides Blocking, and says how its start can fail", () => {
    expect(BlockingPool.layer()).type.toBe<Layer.Layer<Blocking.Blocking, InvalidOption | PoolStartFailed>>()
  })
})

describe("a contract", () => {
  const Readings = Thread.contract<{ latest: (sensor: string) => number; store: (value: number) => void }>("readings")

  it("gives a thread the arguments and results of its calls", () => {
    expect(Thread.call(Readings, "latest", "cpu")).type.toBe<number>()
    expect(Thread.spawn(Readings, "store", 1)).type.toBe<string>()
    expect(Thread.call).type.not.toBeCallableWith(Readings, "latest", 1)
    expect(Thread.call).type.not.toBeCallableWith(Readings, "nothing")
  })

  it("is offered with effects whose requirements are required", () => {
    const offered = Effect.void.pipe(MainCalls.offer(Readings, {
      latest: (sensor) => {
        expect(sensor).type.toBe<string>()
        return Effect.flatMap(Store, (store) => store.latest)
      },
      store: () => Effect.void
    }))
    expect(offered).type.toBe<Effect.Effect<void, never, Store>>()
  })

  it("is not fulfilled by effects of another type", () => {
    expect(MainCalls.offer).type.not.toBeCallableWith(Effect.void, Readings, {
      latest: () => Effect.succeed("no number"),
      store: () => Effect.void
    })
  })
})

describe("a synchronous app", () => {
  const Counter = Thread.app(meta, "counter", {
    onStart: (config: { readonly from: number }) => ({ count: config.from }),
    handlers: {
      // What is no number in the state would not compile here.
      add: (state, by: number): number => state.count += by
    }
  })

  it("is run by its handlers' names, with their arguments and results", () => {
    expect(SyncApp.run(Counter, "add", 1)).type.toBe<
      Effect.Effect<
        number,
        Blocking.BlockingError | ScopeClosed | SyncApp.ThreadLost | InvalidOption,
        SyncApp.Running<"counter">
      >
    >()
    expect(SyncApp.run).type.not.toBeCallableWith(Counter, "add", "1")
    expect(SyncApp.run).type.not.toBeCallableWith(Counter, "remove")
  })

  it("is started with its configuration", () => {
    expect(SyncApp.layer).type.toBeCallableWith(Counter, { config: { from: 1 } })
    expect(SyncApp.layer).type.not.toBeCallableWith(Counter, { config: { from: "1" } })
    expect(SyncApp.layer).type.not.toBeCallableWith(Counter, {})
  })
})
