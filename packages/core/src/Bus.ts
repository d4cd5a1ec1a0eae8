/**
 * A bus: typed topics, and handlers that belong to the app that registered them.
 *
 * A handler is a `Job`. What happens when an event is published:
 *
 * | kind of the handler | what happens | in which order |
 * | --- | --- | --- |
 * | callback | it is called, in the turn of who publishes | first, in the order of registration |
 * | effect | a task of the app that registered it starts | after all callbacks, in the order of registration |
 * | blocking | the same, and the task waits for a thread | with the effects |
 *
 * One event is handed over at a time. What a handler publishes in its call, or in
 * the first step of its task, comes when the present event has been handed to all.
 *
 * | when the app of a handler | the handler | what runs | what waits for a run |
 * | --- | --- | --- | --- |
 * | starts or is ready | gets every event from its registration on | goes on | comes when its turn is |
 * | begins to stop | is gone, in that very call | is stopped as every task | is dropped, and a warning says so |
 * | has stopped | `on` is refused with `ScopeClosed` | | |
 * | starts again | is registered by its start, as anew | | |
 *
 * Anybody may publish, also an app that is stopping: an event belongs to nobody.
 *
 * | what fails | who hears of it | who logs it, once |
 * | --- | --- | --- |
 * | a callback, a filter | nobody; the other handlers get the event | the bus, with handler and topic |
 * | an effect, a blocking job | its task | the scope, as with every task |
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hasProperty } from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import {
  BusImpl,
  type BusTypeId,
  type Channel,
  channelOf,
  Handler,
  handlerStatus,
  leave,
  publish as publishTo,
  register,
  topicStatus
} from "./internal/bus.ts"
import type { JobImpl } from "./internal/job.ts"
import { checkName } from "./internal/names.ts"
import { checkOverlap } from "./internal/overlap.ts"
import { shown } from "./internal/shown.ts"
import { CurrentScope } from "./internal/state.ts"
import { InvalidOption } from "./InvalidOption.ts"
import { isJob, type Job, type JobKind } from "./Job.ts"
import type { ScopeClosed } from "./ScopeClosed.ts"
import { TaskKind, TaskOutcome } from "./ShutdownReport.ts"
import type { Task } from "./Task.ts"
import type { TaskScope } from "./TaskScope.ts"

const TopicTypeId = "~@ambit/core/Bus/Topic"

// -----------------------------------------------------------------------------
// Topics
// -----------------------------------------------------------------------------

/**
 * What events are about: a name, and the Schema of its events.
 *
 * **Details**
 *
 * On one bus, a name belongs to one topic. There is no version beside it: what a
 * Schema can decode is its business, and what is another thing has another name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Topic<out Name extends string, out S extends Schema.Top> {
  readonly [TopicTypeId]: typeof TopicTypeId
  readonly name: Name
  readonly schema: S
}

/**
 * A topic, whatever it is about.
 *
 * @category models
 * @since 0.1.0
 */
export type AnyTopic = Topic<string, Schema.Top>

/**
 * Declares a topic.
 *
 * **When to use**
 *
 * Use once for each topic, in a module that publishers and handlers import.
 *
 * **Failure**
 *
 * Throws `InvalidOption` for a name that is empty, contains `/` or ends in `#` and
 * a number, and for what is no Schema.
 *
 * **Example** (A topic of readings)
 *
 * ```ts import.meta.vitest
 * import { Bus } from "@ambit/core"
 * import { Schema } from "effect"
 *
 * const Readings = Bus.topic("readings", Schema.Struct({ sensor: Schema.String, celsius: Schema.Finite }))
 * Readings.name // => "readings"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const topic = <const Name extends string, S extends Schema.Top>(name: Name, schema: S): Topic<Name, S> => {
  const checked = checkName("a topic", name)
  if (Result.isFailure(checked)) throw checked.failure
  if (!Schema.isSchema(schema)) {
    throw new InvalidOption({
      option: `the Schema of topic ${JSON.stringify(name)}`,
      value: shown(schema),
      problem: "this is no Schema",
      remedy: "Say what an event is, for example with Schema.Struct"
    })
  }
  return { [TopicTypeId]: TopicTypeId, name, schema }
}

/**
 * Tells whether a value is a topic.
 *
 * @category guards
 * @since 0.1.0
 */
export const isTopic = (u: unknown): u is AnyTopic => hasProperty(u, TopicTypeId)

const endedSchema = Schema.Struct({
  path: Schema.String,
  kind: TaskKind,
  outcome: TaskOutcome,
  after: Schema.Finite,
  late: Schema.Boolean,
  error: Schema.optionalKey(Schema.String)
})

/**
 * The end of a task, as `taskEnded` tells it.
 *
 * **Details**
 *
 * - `outcome`: `completed`, `failed` or `interrupted`, most often.
 * - `after`: the milliseconds that it lived.
 * - `late`: whether it had been given up before.
 * - `error`: what it failed with, as text.
 *
 * @category models
 * @since 0.1.0
 */
export type TaskEnded = typeof endedSchema.Type

/**
 * The topic on which the end of every task is published, whatever its outcome.
 *
 * **When to use**
 *
 * Use to do something when work is done, without a wait at each place that starts
 * some. Who has the handle of a task waits with its `await`.
 *
 * **Details**
 *
 * A handler hears of the tasks of its host, of all apps. Without a host around,
 * it hears of those of its own app or scope. It costs nothing while there is no
 * handler.
 *
 * **Ordering**
 *
 * When a handler is called, the task has ended, its failure is in the log, and who
 * waits for it has not gone on yet.
 *
 * **Gotchas**
 *
 * The runs of these handlers are tasks themselves, and their ends are not told, for
 * each would lead to the next. But those of what they start are told.
 *
 * **Example** (What has ended, and how)
 *
 * ```ts import.meta.vitest
 * import { Bus, Job, Task, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const seen: Array<string> = []
 * const note = Job.callback("note", (end: Bus.TaskEnded) => seen.push(`${end.path} ${end.outcome}`))
 *
 * const program = Effect.gen(function*() {
 *   yield* Bus.on(Bus.taskEnded, note)
 *   yield* Task.spawn(Effect.void, "good")
 *   yield* Task.spawn(Effect.fail("no"), "bad", { onFailure: "ignore" })
 * })
 * await Effect.runPromise(program.pipe(Effect.provide([Bus.layer, TaskScope.layer("app")])))
 * seen // => ["app/good completed", "app/bad failed"]
 * ```
 *
 * @category topics
 * @since 0.1.0
 */
export const taskEnded: Topic<"task-ended", Schema.Codec<TaskEnded, TaskEnded>> = topic("task-ended", endedSchema)

// -----------------------------------------------------------------------------
// The bus
// -----------------------------------------------------------------------------

/**
 * A bus. It connects those who publish with the handlers.
 *
 * **Details**
 *
 * It holds the handlers, and what is counted of them, and no events. It owns
 * nothing that runs: a run belongs to the app that registered the handler. So it
 * never closes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bus {
  readonly [BusTypeId]: typeof BusTypeId
}

/**
 * The bus around, as a service. `layer` provides it.
 *
 * @category services
 * @since 0.1.0
 */
export const Bus: Context.Service<Bus, Bus> = Context.Service<Bus>("@ambit/core/Bus")

// The public face and what is behind it are one object; this is the only door between them.
const impl = (self: Bus): BusImpl => self as unknown as BusImpl

/**
 * Makes a bus.
 *
 * **Details**
 *
 * As long as the Effect scope around is open, the bus is in the metrics, for each
 * topic: `ambit_bus_handlers`, `ambit_bus_running` and `ambit_bus_waiting` are
 * gauges, `ambit_bus_published_total`, `ambit_bus_dropped_total` and
 * `ambit_bus_failed_total` are counters. Of two buses, the newer one is there.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Bus, never, Scope.Scope> = Effect.acquireRelease(
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.map(Clock.Clock, (clock) => new BusImpl(clock, context, taskEnded))
  ),
  (bus) =>
    Effect.sync(() => {
      for (const channel of bus.channels.values()) channel.removeMetrics()
    })
)

/**
 * Provides a bus to everything below: to the apps that get it with
 * `Layer.provide`.
 *
 * **Details**
 *
 * Apps of one program that are given this layer share one bus. To have another
 * one, take a `Layer.fresh` of it.
 *
 * **Example** (Two apps on one bus)
 *
 * ```ts import.meta.vitest
 * import { App, Bus, Host, Job } from "@ambit/core"
 * import { Effect, Layer, Schema } from "effect"
 *
 * const Readings = Bus.topic("readings", Schema.Finite)
 * const seen: Array<number> = []
 *
 * const Display = App.layer("display", Bus.on(Readings, Job.callback("show", (celsius: number) => seen.push(celsius))))
 * const Sensor = App.layer("sensor", Effect.gen(function*() {
 *   yield* Bus.publish(Readings, 21)
 *   yield* Host.requestStop("measured")
 * }))
 *
 * const apps = Sensor.pipe(Layer.provideMerge(Display), Layer.provide(Bus.layer))
 * await Effect.runPromise(Host.launch(apps))
 * seen // => [21]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Bus> = Layer.effect(Bus, make)

// -----------------------------------------------------------------------------
// Publishing
// -----------------------------------------------------------------------------

const channelIn = (bus: Bus, of: AnyTopic): Channel => {
  if (isTopic(of)) return channelOf(impl(bus), of)
  throw new InvalidOption({
    option: "the topic of an event",
    value: shown(of),
    problem: "this is no topic",
    remedy: "Declare one with Bus.topic"
  })
}

/**
 * Publishes an event.
 *
 * **Details**
 *
 * The event is not checked: the types have done that. All handlers get the very
 * same value, so it should not change any more. What comes from outside goes
 * through `publishUnknown`.
 *
 * **Ordering**
 *
 * When it returns, all callbacks have been called, and the tasks of all other
 * handlers have run up to their first wait, if the handlers were free.
 *
 * Published by a handler, in its call or in the first step of its task, the event
 * comes after the present one, and after what was published before it: every
 * handler sees all events in the same order. Then `publish` returns first.
 *
 * **Failure**
 *
 * Never fails, whatever the handlers do. Dies with `InvalidOption` when another
 * topic has the same name. When more than 10,000 events follow from one, before
 * anything else had a turn, the rest is dropped, counted and logged as an error:
 * some handler publishes what leads to itself.
 *
 * **Example** (Callbacks first)
 *
 * ```ts import.meta.vitest
 * import { Bus, Job, TaskScope } from "@ambit/core"
 * import { Effect, Schema } from "effect"
 *
 * const Doors = Bus.topic("doors", Schema.String)
 * const log: Array<string> = []
 *
 * const program = Effect.gen(function*() {
 *   yield* Bus.on(Doors, Job.effect("light", (door: string) => Effect.sync(() => log.push(`light for ${door}`))))
 *   yield* Bus.on(Doors, Job.callback("count", (door: string) => log.push(`${door} counted`)))
 *   yield* Bus.publish(Doors, "front")
 *   log.push("published")
 * })
 * await Effect.runPromise(program.pipe(Effect.provide([Bus.layer, TaskScope.layer("app")])))
 * log // => ["front counted", "light for front", "published"]
 * ```
 *
 * @category publishing
 * @since 0.1.0
 */
export const publish = <Name extends string, S extends Schema.Top>(
  topic: Topic<Name, S>,
  event: S["Type"]
): Effect.Effect<void, never, Bus> =>
  Effect.withFiber((fiber) => {
    publishTo(channelIn(Context.getUnsafe(fiber.context as Context.Context<Bus>, Bus), topic), event)
    return Effect.void
  })

/**
 * Gives a plain function that publishes, for callbacks from outside of Effect, and
 * where an event must cost nothing but its handlers.
 *
 * **Failure**
 *
 * As `publish`; the function never throws. What is no topic, or one whose name
 * another topic has, is a defect here already.
 *
 * **Example** (From an emitter)
 *
 * ```ts import.meta.vitest
 * import { Bus, Job, TaskScope } from "@ambit/core"
 * import { Effect, Schema } from "effect"
 *
 * const Lines = Bus.topic("lines", Schema.String)
 * const seen: Array<string> = []
 *
 * const program = Effect.gen(function*() {
 *   yield* Bus.on(Lines, Job.callback("keep", (line: string) => seen.push(line)))
 *   const onLine = yield* Bus.publisher(Lines)
 *   onLine("hello")
 * })
 * await Effect.runPromise(program.pipe(Effect.provide([Bus.layer, TaskScope.layer("app")])))
 * seen // => ["hello"]
 * ```
 *
 * @category publishing
 * @since 0.1.0
 */
export const publisher = <Name extends string, S extends Schema.Top>(
  topic: Topic<Name, S>
): Effect.Effect<(event: S["Type"]) => void, never, Bus> =>
  Effect.map(Bus, (bus) => {
    const channel = channelIn(bus, topic)
    return (event) => publishTo(channel, event)
  })

/**
 * An event that the Schema of its topic does not allow.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidEvent extends Schema.TaggedError<InvalidEvent>("@ambit/core/Bus/InvalidEvent")("InvalidEvent", {
  topic: Schema.String,
  /** The event as it was given. */
  event: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.event} is no event of topic ${this.topic} and was not published: ${this.problem}. ` +
      "Publish what the Schema of the topic can decode"
  }
}

/**
 * Publishes what comes from outside: it is decoded by the Schema of the topic
 * first.
 *
 * **When to use**
 *
 * Use for what is parsed from a socket, a file or a message, where no type has been
 * checked.
 *
 * **Ordering**
 *
 * As `publish`, when it is decoded. A Schema that decodes at once, as most do, does
 * not change the order of events.
 *
 * **Failure**
 *
 * Fails with `InvalidEvent`, and then no handler has got anything.
 *
 * **Example** (A message that is checked)
 *
 * ```ts import.meta.vitest
 * import { Bus } from "@ambit/core"
 * import { Effect, Schema } from "effect"
 *
 * const Readings = Bus.topic("readings", Schema.FiniteFromString)
 *
 * const program = Effect.flip(Bus.publishUnknown(Readings, "warm"))
 * const error = await Effect.runPromise(Effect.provide(program, Bus.layer))
 * error._tag // => "InvalidEvent"
 * error.topic // => "readings"
 * ```
 *
 * @category publishing
 * @since 0.1.0
 */
export const publishUnknown = <Name extends string, S extends Schema.Top>(
  topic: Topic<Name, S>,
  event: unknown
): Effect.Effect<void, InvalidEvent, Bus | S["DecodingServices"]> =>
  Effect.matchEffect(Schema.decodeUnknownEffect(topic.schema)(event), {
    onFailure: (error) =>
      Effect.fail(new InvalidEvent({ topic: topic.name, event: shown(event), problem: error.message })),
    onSuccess: (decoded) => publish(topic, decoded)
  })

/**
 * What a thread calls to publish: a method for each topic, with an event as the
 * Schema of the topic encodes it.
 *
 * @category threads
 * @since 0.1.0
 */
export type Calls<T extends AnyTopic> = {
  readonly [One in T as One["name"]]: (event: One["schema"]["Encoded"]) => void
}

/**
 * The effects behind `Calls`.
 *
 * @category threads
 * @since 0.1.0
 */
export type CallHandlers<T extends AnyTopic> = {
  readonly [One in T as One["name"]]: (
    event: One["schema"]["Encoded"]
  ) => Effect.Effect<void, InvalidEvent, Bus | One["schema"]["DecodingServices"]>
}

/**
 * Lets threads publish on some topics: the effects for `MainCalls.offer` of
 * `@ambit/node`, one a topic, named after it.
 *
 * **Details**
 *
 * The contract is `Thread.contract<Bus.Calls<typeof Readings>>("events")`, and a
 * thread publishes with `Thread.post(Events, "readings", 21)`. The module of a
 * blocking function loads no Effect, and so takes only the types of the topics, with
 * `import type`.
 *
 * **Ordering**
 *
 * The events of one thread are published in the order of its posts.
 *
 * **Failure**
 *
 * An event is decoded where it arrives. One that is refused fails the task of the
 * post, and so is logged; with `Thread.call` the `InvalidEvent` is thrown in the
 * thread.
 *
 * **Example** (One effect a topic)
 *
 * ```ts import.meta.vitest
 * import { Bus } from "@ambit/core"
 * import { Schema } from "effect"
 *
 * const Readings = Bus.topic("readings", Schema.Finite)
 * const Alarms = Bus.topic("alarms", Schema.String)
 * Object.keys(Bus.calls(Readings, Alarms)) // => ["readings", "alarms"]
 * ```
 *
 * @category threads
 * @since 0.1.0
 */
export const calls = <T extends ReadonlyArray<AnyTopic>>(...topics: T): CallHandlers<T[number]> =>
  Object.fromEntries(
    topics.map((topic) => [topic.name, (event: unknown) => publishUnknown(topic, event)])
  ) as never

// -----------------------------------------------------------------------------
// Overlap
// -----------------------------------------------------------------------------

/**
 * What a handler does with an event that comes while it runs.
 *
 * | mode | runs at once | an event that comes when it is full |
 * | --- | --- | --- |
 * | `single` | one | is dropped |
 * | `restart` | one | ends the run there is, and then runs |
 * | `queued(n)` | one | waits in line; behind `n` others it is dropped |
 * | `parallel(n)` | `n` | waits in line; behind `waiting` others it is dropped |
 *
 * **Details**
 *
 * What is dropped is counted. `queued` and `parallel` say it as well, at most every
 * 30 seconds; the others drop by design. A callback has ended before the next event
 * comes, so for it all modes are the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Overlap =
  | { readonly _tag: "Single" }
  | { readonly _tag: "Restart" }
  | { readonly _tag: "Queued"; readonly waiting: number }
  | { readonly _tag: "Parallel"; readonly atOnce: number; readonly waiting: number }

/**
 * One run at a time; an event that comes meanwhile is dropped.
 *
 * @category overlap
 * @since 0.1.0
 */
export const single: Overlap = { _tag: "Single" }

/**
 * One run at a time; a newer event ends it.
 *
 * **Ordering**
 *
 * The run has ended before the next one begins, with all that it began: also the
 * promise of an `async` function, and the call on a thread. Of the events that
 * come meanwhile the newest one counts; the others are dropped and counted.
 *
 * **Interruption**
 *
 * A run that does not end within the limit of its scope is given up and named, as
 * in a stop, and the newest event gets its run.
 *
 * @category overlap
 * @since 0.1.0
 */
export const restart: Overlap = { _tag: "Restart" }

/**
 * One run at a time, in the order of the events; up to `waiting` of them wait.
 *
 * **Ordering**
 *
 * A run from the line begins a turn of the event loop after the run before it has
 * ended.
 *
 * @category overlap
 * @since 0.1.0
 */
export const queued = (waiting: number): Overlap => ({ _tag: "Queued", waiting })

/** How many events wait when nobody says otherwise. Chosen, not measured. */
const defaultWaiting = 1024

/**
 * Up to `atOnce` runs at the same time. Further events wait, 1,024 of them by
 * default; with `waiting: 0` none does.
 *
 * @category overlap
 * @since 0.1.0
 */
export const parallel = (atOnce: number, options?: { readonly waiting?: number | undefined }): Overlap => ({
  _tag: "Parallel",
  atOnce,
  waiting: options?.waiting ?? defaultWaiting
})

/** Chosen, not measured. */
const defaultOverlap = parallel(64)

// -----------------------------------------------------------------------------
// Handlers
// -----------------------------------------------------------------------------

/**
 * How a handler is registered.
 *
 * **Details**
 *
 * - `overlap`: what is done with an event that comes while the handler runs;
 *   `parallel(64)` by default.
 * - `filter`: a short synchronous function that says which events the handler gets;
 *   all of them by default. It is called right before the handler would be.
 *
 * @category models
 * @since 0.1.0
 */
export interface OnOptions<in Event> {
  readonly overlap?: Overlap | undefined
  readonly filter?: ((event: Event) => boolean) | undefined
}

/**
 * What is known of a handler at this moment.
 *
 * **Details**
 *
 * - `owner`: the path of the scope that it belongs to.
 * - `running`: its runs that have not ended. One that was given up counts while it
 *   still runs, other than for `restart`.
 * - `waiting`: the events that wait for a run.
 * - `dropped`: the events that passed its filter and led to no run.
 * - `failed`: the runs that failed, and the filters that threw.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandlerStatus {
  readonly topic: string
  readonly job: string
  readonly kind: JobKind
  readonly owner: string
  readonly running: number
  readonly waiting: number
  readonly dropped: number
  readonly failed: number
}

/**
 * What is known of a topic at this moment. `dropped` and `failed` are those of all
 * its handlers, also of those that are gone, and what was dropped before it got to
 * any.
 *
 * @category models
 * @since 0.1.0
 */
export interface TopicStatus {
  readonly topic: string
  readonly published: number
  readonly dropped: number
  readonly failed: number
  /** In the order of registration. */
  readonly handlers: ReadonlyArray<HandlerStatus>
}

/**
 * A registered handler.
 *
 * **Details**
 *
 * - `status` is what is known of it at this moment.
 * - `tasks` are its runs that have not ended, to wait for or to interrupt.
 * - `cancel` takes it away, in that very call. It gets no further event, also not the
 *   one that is being handed over. What runs goes on, what waits is dropped and
 *   counted. A second call does nothing. It needs nothing around it, so it works in
 *   plain callbacks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subscription<out A = unknown, out E = unknown> {
  readonly status: HandlerStatus
  readonly tasks: ReadonlyArray<Task<A, E>>
  readonly cancel: () => void
}

const subscriptionOf = (handler: Handler): Subscription => ({
  get status() {
    return handlerStatus(handler)
  },
  get tasks() {
    return [...handler.runs?.running ?? []]
  },
  cancel: () => leave(handler)
})

/**
 * Registers a handler for the events of a topic. It belongs to the app around, or
 * to the task scope, and is gone when that begins to stop.
 *
 * **Details**
 *
 * A run is a task with the name of the job, with the services of where the handler
 * was registered. See the top of the module for what happens with an event, in
 * which state of the app.
 *
 * **Ordering**
 *
 * Callbacks get an event before any task that it starts, in the order of their
 * registration; the others follow in theirs. Who is registered while an event is
 * handed over gets the next one.
 *
 * **Failure**
 *
 * Fails with `ScopeClosed` when the scope is stopping or closed, and with
 * `InvalidOption` for an unknown mode, for a number that cannot be, and for what is no
 * topic, job or filter. What a run fails with is in its task, and the scope logs it. A
 * callback or a filter that throws is logged with handler and topic. The other
 * handlers get the event all the same.
 *
 * **Gotchas**
 *
 * A callback over its budget holds up everybody. In `TaskScope.use` a run that fails
 * stops the others, as every task there. Nobody sees what a callback returns: an
 * `async` function belongs into `Job.effect`.
 *
 * **Example** (The newest event counts)
 *
 * ```ts import.meta.vitest
 * import { Bus, Job, TaskScope } from "@ambit/core"
 * import { Effect, Schema } from "effect"
 *
 * const Searches = Bus.topic("searches", Schema.String)
 * const found: Array<string> = []
 *
 * const search = Job.effect("search", function*(text: string) {
 *   yield* Effect.sleep("5 millis")
 *   found.push(text)
 * })
 *
 * const program = Effect.gen(function*() {
 *   const { tasks } = yield* Bus.on(Searches, search, { overlap: Bus.restart, filter: (text) => text.length > 1 })
 *   for (const text of ["a", "ap", "app"]) yield* Bus.publish(Searches, text)
 *   yield* Effect.sleep("20 millis")
 *   return tasks.length
 * })
 * await Effect.runPromise(program.pipe(Effect.provide([Bus.layer, TaskScope.layer("app")]))) // => 0
 * found // => ["app"]
 * ```
 *
 * @category handling
 * @since 0.1.0
 */
export const on = <Name extends string, S extends Schema.Top, A, E, R>(
  topic: Topic<Name, S>,
  job: Job<[event: S["Type"]], A, E, R>,
  options?: OnOptions<S["Type"]>
): Effect.Effect<Subscription<A, E>, ScopeClosed | InvalidOption, R | Bus | TaskScope> =>
  Effect.withFiber((fiber): Effect.Effect<Subscription<A, E>, ScopeClosed | InvalidOption> => {
    const context = fiber.context as Context.Context<any>
    const checked = check(topic, job, options)
    if (Result.isFailure(checked)) return Effect.fail(checked.failure)
    const handler = register(channelIn(Context.getUnsafe(context, Bus), topic), {
      job: job as unknown as JobImpl,
      filter: options?.filter,
      slots: checked.success,
      scope: Context.getUnsafe(context, CurrentScope),
      context
    })
    return handler instanceof Handler
      ? Effect.succeed(subscriptionOf(handler) as Subscription<A, E>)
      : Effect.fail(handler)
  })

const check = (topic: AnyTopic, job: unknown, options: OnOptions<never> | undefined) => {
  const refuse = (option: string, value: unknown, problem: string, remedy: string) =>
    Result.fail(new InvalidOption({ option, value: shown(value), problem, remedy }))
  if (!isTopic(topic)) return refuse("the topic of a handler", topic, "this is no topic", "Declare one with Bus.topic")
  if (!isJob(job)) {
    return refuse(`a handler for topic "${topic.name}"`, job, "this is not a job", "Make one of it with Job.from")
  }
  const of = `handler "${job.name}" for topic "${topic.name}"`
  const filter: unknown = options?.filter
  if (filter !== undefined && typeof filter !== "function") {
    return refuse(`filter of ${of}`, filter, "a filter is a function", "Give it a function of the event")
  }
  return checkOverlap(of, options?.overlap === undefined ? defaultOverlap : options.overlap)
}

/**
 * What is known of each topic at this moment, in the order of their first use.
 *
 * **Example** (How many got nothing)
 *
 * ```ts import.meta.vitest
 * import { Bus, Job, TaskScope } from "@ambit/core"
 * import { Effect, Schema } from "effect"
 *
 * const Ticks = Bus.topic("ticks", Schema.Finite)
 *
 * const program = Effect.gen(function*() {
 *   yield* Bus.on(Ticks, Job.effect("slow", () => Effect.never), { overlap: Bus.single })
 *   for (const tick of [1, 2, 3]) yield* Bus.publish(Ticks, tick)
 *   return (yield* Bus.status).map(({ dropped, published, topic }) => ({ dropped, published, topic }))
 * })
 * const status = await Effect.runPromise(program.pipe(Effect.provide([Bus.layer, TaskScope.layer("app")])))
 * status.find(({ topic }) => topic === "ticks") // => { dropped: 2, published: 3, topic: "ticks" }
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const status: Effect.Effect<ReadonlyArray<TopicStatus>, never, Bus> = Effect.map(
  Bus,
  (bus) => [...impl(bus).channels.values()].map(topicStatus)
)
