import {
  type Blocking,
  BlockingFunction,
  Bus,
  type InvalidOption,
  Job,
  type ScopeClosed,
  type TaskScope
} from "@ambit/core"
import { MainCalls, Thread } from "@ambit/node"
import { type Cause, Context, Effect, type Layer, Schema } from "effect"
import { describe, expect, it } from "tstyche"

class Db extends Context.Service<Db, string>()("test/types/bus/Db") {}
class Zone extends Context.Service<Zone, string>()("test/types/bus/Zone") {}

const Reading = Schema.Struct({ sensor: Schema.String, celsius: Schema.FiniteFromString })
const Readings = Bus.topic("readings", Reading)
const Alarms = Bus.topic("alarms", Schema.String)
declare const Local: Bus.Topic<"local", Schema.Codec<Date, string, Zone>>

interface Event {
  readonly sensor: string
  readonly celsius: number
}

declare const store: (reading: Event) => Effect.Effect<number, "full", Db>
declare const load: (reading: Event) => Promise<boolean>

const length = BlockingFunction.make(
  { url: "file:///functions.ts" },
  "length",
  (reading: Event) => reading.sensor.length
)

type Registered<A, E, R> = Effect.Effect<
  Bus.Subscription<A, E>,
  ScopeClosed | InvalidOption,
  R | Bus.Bus | TaskScope.TaskScope
>

describe("Bus.topic", () => {
  it("knows its name and its events", () => {
    expect(Readings).type.toBe<Bus.Topic<"readings", typeof Reading>>()
    expect<(typeof Readings)["schema"]["Type"]>().type.toBe<Event>()
    expect(Readings).type.toBeAssignableTo<Bus.AnyTopic>()
    expect(Bus.topic).type.not.toBeCallableWith("readings", "string")
    expect(Bus.topic).type.not.toBeCallableWith(1, Reading)
  })
})

describe("Bus.publish", () => {
  it("takes an event of the topic, needs a bus and cannot fail", () => {
    expect(Bus.publish(Readings, { sensor: "cpu", celsius: 21 })).type.toBe<Effect.Effect<void, never, Bus.Bus>>()
    expect(Bus.publish<"readings", typeof Reading>).type.not.toBeCallableWith(Readings, {
      sensor: "cpu",
      celsius: "21"
    })
    expect(Bus.publish<"alarms", typeof Schema.String>).type.not.toBeCallableWith(Readings, "hot")
    expect(Effect.runPromise).type.not.toBeCallableWith(Bus.publish(Alarms, "hot"))
  })

  it("from a callback is a function of the event", () => {
    expect(Bus.publisher(Readings)).type.toBe<Effect.Effect<(event: Event) => void, never, Bus.Bus>>()
  })

  it("of what comes from outside may fail, and needs what the Schema needs to decode it", () => {
    expect(Bus.publishUnknown(Readings, "anything")).type.toBe<Effect.Effect<void, Bus.InvalidEvent, Bus.Bus>>()
    expect(Bus.publishUnknown(Local, "anything")).type.toBe<Effect.Effect<void, Bus.InvalidEvent, Bus.Bus | Zone>>()
  })
})

describe("Bus.on", () => {
  it("has what the runs give, fail with and require", () => {
    expect(Bus.on(Readings, Job.effect("store", store))).type.toBe<Registered<number, "full", Db>>()
    expect(Bus.on(Readings, Job.effect("load", load))).type.toBe<Registered<boolean, Cause.UnknownError, never>>()
    expect(Bus.on(Readings, Job.blocking(length))).type.toBe<
      Registered<number, Blocking.BlockingError, Blocking.Blocking>
    >()
    expect(Bus.on(Readings, Job.callback("count", (reading: Event) => reading.celsius))).type.toBe<
      Registered<number, never, never>
    >()
    expect(Bus.on(Readings, Job.effect("tick", () => Effect.void))).type.toBe<Registered<void, never, never>>()
  })

  it("takes a job of the events of the topic only", () => {
    const shout = Job.effect("shout", (text: string) => Effect.succeed(text))
    expect(Bus.on<"readings", typeof Reading, string, never, never>).type.not.toBeCallableWith(Readings, shout)
    expect(Bus.on<"readings", typeof Reading, number, "full", Db>).type.not.toBeCallableWith(Readings, store)
    expect(
      Bus.on(Readings, Job.effect("sensor", (of: { readonly sensor: string }) => Effect.annotateLogs(Effect.void, of)))
    ).type.toBe<
      Registered<void, never, never>
    >()
  })

  it("has a filter of the event, and modes that are data", () => {
    Bus.on(Readings, Job.effect("store", store), {
      overlap: Bus.queued(5),
      filter: (reading) => {
        expect(reading).type.toBe<Event>()
        return true
      }
    })
    expect(Bus.parallel(2, { waiting: 0 })).type.toBe<Bus.Overlap>()
    expect<{ readonly _tag: "Queued"; readonly waiting: number }>().type.toBeAssignableTo<Bus.Overlap>()
    expect<"sometimes">().type.not.toBeAssignableTo<Bus.Overlap>()
  })

  it("of the end of tasks gets what is known of it", () => {
    expect<(typeof Bus.taskEnded)["schema"]["Type"]>().type.toBe<Bus.TaskEnded>()
    expect(Bus.on(Bus.taskEnded, Job.callback("note", (end: Bus.TaskEnded) => end.path))).type.toBe<
      Registered<string, never, never>
    >()
  })
})

describe("a thread", () => {
  it("publishes events as the Schema encodes them", () => {
    expect<Bus.Calls<typeof Readings | typeof Alarms>>().type.toBe<{
      readonly readings: (event: { readonly sensor: string; readonly celsius: string }) => void
      readonly alarms: (event: string) => void
    }>()
    const Events = Thread.contract<Bus.Calls<typeof Readings | typeof Local>>("events")
    expect(MainCalls.offer(Effect.void, Events, Bus.calls(Readings, Local))).type.toBe<
      Effect.Effect<void, never, Bus.Bus | Zone>
    >()
    expect(MainCalls.layer(Events, Bus.calls(Readings, Local))).type.toBe<Layer.Layer<never, never, Bus.Bus | Zone>>()
    expect(MainCalls.layer<Bus.Calls<typeof Readings>, Bus.CallHandlers<typeof Readings>>).type.not.toBeCallableWith(
      Events,
      Bus.calls(Alarms)
    )
  })
})
