/**
 * How events get from who publishes them to the handlers.
 *
 * Invariants, all of them tested in core/Bus.test.ts
 * - One event of a bus is handed over at a time: to the callbacks, then to the
 *   others, each in the order of registration. What is published meanwhile comes
 *   after it, so all handlers see all events in one order.
 * - Handing over never throws, and it ends: what follows from one publish is counted.
 * - A handler is in the list of its channel, and in `atStop` of the scopes whose
 *   stop refuses its work, until it leaves. One that leaves while an event is handed
 *   over keeps its `next` until that is done, so that the walk finds on.
 * - An event waits for a handler only while all slots of the handler are taken.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { HandlerStatus, TopicStatus } from "../Bus.ts"
import { InvalidOption } from "../InvalidOption.ts"
import type { ScopeClosed } from "../ScopeClosed.ts"
import { registerMetrics } from "./busMetrics.ts"
import { now } from "./clock.ts"
import { Ends } from "./ends.ts"
import { type JobImpl, JobTypeId, sayOverBudget } from "./job.ts"
import type { Slots } from "./overlap.ts"
import { say } from "./say.ts"
import { refusal, spawn } from "./spawn.ts"
import { isLive, refusingScope, type ScopeImpl, TaskImpl, tasksOf } from "./state.ts"

export const BusTypeId = "~@ambit/core/Bus"

/** How many events may follow from one that is published, before the event loop has a turn. Chosen, not measured. */
const mostFollowing = 10_000

/** How often the same is said while it goes on, in milliseconds. */
const sayEvery = 30_000

// -----------------------------------------------------------------------------
// State
// -----------------------------------------------------------------------------

interface TopicName {
  readonly name: string
}

export class BusImpl {
  readonly [BusTypeId] = BusTypeId
  readonly clock: Clock.Clock
  readonly context: Context.Context<never>
  readonly channels = new Map<TopicName, Channel>()
  /** The topic that tells of tasks that have ended. */
  readonly ended: Channel
  readonly ends = new Ends((event) => publish(this.ended, event))
  lastId = 0
  delivering = false
  /** What was published while an event was handed over, until all of it is handed over, too. */
  following: Array<{ readonly channel: Channel; readonly event: unknown }> = []
  /** Handlers that left while an event was handed over, and that may be on the way to others. */
  left: Array<Handler> = []

  constructor(clock: Clock.Clock, context: Context.Context<never>, ended: TopicName) {
    this.clock = clock
    this.context = context
    this.ended = open(this, ended)
  }
}

/** What a bus knows of one topic. */
export class Channel {
  readonly bus: BusImpl
  readonly topic: TopicName
  readonly callbacks: List = { first: undefined, last: undefined }
  /** Effects and blocking jobs. */
  readonly others: List = { first: undefined, last: undefined }
  published = 0
  dropped = 0
  failed = 0
  /** When it was said that too much followed from one event. */
  saidEndless = -Infinity
  readonly removeMetrics: () => void

  constructor(bus: BusImpl, topic: TopicName) {
    this.bus = bus
    this.topic = topic
    this.removeMetrics = registerMetrics(topic.name, () => topicStatus(this), bus.context)
  }
}

interface List {
  first: Handler | undefined
  last: Handler | undefined
}

export interface Registration {
  readonly job: JobImpl
  readonly filter: ((event: unknown) => boolean) | undefined
  readonly slots: Slots
  readonly scope: ScopeImpl
  /** Of where it is registered: what its runs and its lines in the log get. */
  readonly context: Context.Context<never>
}

export class Handler {
  // What a callback is called with comes first, to lie together in memory.
  next: Handler | undefined = undefined
  readonly id: number
  active = true
  readonly filter: ((event: unknown) => boolean) | undefined
  readonly budget: number | undefined
  readonly call: ((event: unknown) => unknown) | undefined
  readonly channel: Channel
  readonly job: JobImpl
  readonly scope: ScopeImpl
  readonly context: Context.Context<never>
  /** A callback has none. */
  readonly runs: Runs | undefined
  dropped = 0
  failed = 0
  previous: Handler | undefined = undefined

  constructor(channel: Channel, { context, filter, job, scope, slots }: Registration) {
    this.id = ++channel.bus.lastId
    this.channel = channel
    this.job = job
    this.filter = filter
    this.call = job.called?.plain
    this.budget = job.called?.budget
    this.scope = scope
    this.context = context
    this.runs = job.called === undefined ? new Runs(slots) : undefined
  }

  /** Kept, so that it can be taken out of the scopes again. */
  readonly leaveAtStop = (): void => {
    sayLost(this)
    leave(this)
  }
}

export class Runs {
  readonly slots: Slots
  readonly running = new Set<TaskImpl>()
  readonly waiting: Array<unknown> = []
  /** Whether the run is being ended for a newer event. */
  ending = false
  saidFull = -Infinity
  /** How many events were dropped since that was said. */
  unsaid = 0

  constructor(slots: Slots) {
    this.slots = slots
  }
}

/** The channel of a topic; there is one from the first use on. */
export const channelOf = (bus: BusImpl, topic: TopicName): Channel => bus.channels.get(topic) ?? open(bus, topic)

const open = (bus: BusImpl, topic: TopicName): Channel => {
  for (const { name } of bus.channels.keys()) {
    if (name !== topic.name) continue
    throw new InvalidOption({
      option: "the name of a topic",
      value: name,
      problem: "another topic on this bus has it",
      remedy: "Declare a topic once and import it where it is used, or give it a name of its own"
    })
  }
  const channel = new Channel(bus, topic)
  bus.channels.set(topic, channel)
  return channel
}

/** The handlers of a topic in the order of registration. */
export const handlersOf = ({ callbacks, others }: Channel): ReadonlyArray<Handler> => {
  const handlers: Array<Handler> = []
  for (const { first } of [callbacks, others]) {
    for (let at = first; at !== undefined; at = at.next) handlers.push(at)
  }
  return handlers.toSorted((a, b) => a.id - b.id)
}

export const handlerStatus = ({ channel, dropped, failed, job, runs, scope }: Handler): HandlerStatus => ({
  topic: channel.topic.name,
  job: job.name,
  kind: job.kind,
  owner: scope.path,
  running: runs?.running.size ?? 0,
  waiting: runs?.waiting.length ?? 0,
  dropped,
  failed
})

export const topicStatus = (channel: Channel): TopicStatus => ({
  topic: channel.topic.name,
  published: channel.published,
  dropped: channel.dropped,
  failed: channel.failed,
  handlers: handlersOf(channel).map(handlerStatus)
})

// -----------------------------------------------------------------------------
// Coming and going
// -----------------------------------------------------------------------------

const listOf = ({ channel, runs }: Handler): List => runs === undefined ? channel.callbacks : channel.others

/** The scopes whose stop refuses the work of a scope; see `refusingScope`. */
const refusingScopes = (scope: ScopeImpl): ReadonlyArray<ScopeImpl> => {
  const scopes: Array<ScopeImpl> = []
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    scopes.push(at)
    if (at.stop !== undefined || at.forCleanUp) break
  }
  return scopes
}

export const register = (channel: Channel, registration: Registration): Handler | ScopeClosed => {
  const { job, scope } = registration
  if (refusingScope(scope) !== undefined) return refusal(scope, job.name)
  const handler = new Handler(channel, registration)
  const list = listOf(handler)
  handler.previous = list.last
  if (list.last === undefined) list.first = handler
  else list.last.next = handler
  list.last = handler
  for (const at of refusingScopes(scope)) (at.atStop ??= new Set()).add(handler.leaveAtStop)
  if (channel === channel.bus.ended) channel.bus.ends.watch(scope)
  return handler
}

/** Takes a handler away, in this very call. What runs goes on, what waits is dropped. */
export const leave = (handler: Handler): void => {
  if (!handler.active) return
  handler.active = false
  const { channel, runs, scope } = handler
  const list = listOf(handler)
  if (handler.previous === undefined) list.first = handler.next
  else handler.previous.next = handler.next
  if (handler.next === undefined) list.last = handler.previous
  else handler.next.previous = handler.previous
  handler.previous = undefined
  // Who keeps a handler that has left must not keep all that came after it.
  if (channel.bus.delivering) channel.bus.left.push(handler)
  else handler.next = undefined
  for (const at of refusingScopes(scope)) {
    at.atStop?.delete(handler.leaveAtStop)
    if (at.atStop?.size === 0) at.atStop = undefined
  }
  if (channel === channel.bus.ended) channel.bus.ends.unwatch(scope)
  if (runs !== undefined) countDropped(handler, runs.waiting.splice(0).length)
}

/** Says what never runs, because the scope stops first. */
const sayLost = (handler: Handler): void => {
  const count = handler.runs?.waiting.length ?? 0
  if (count === 0) return
  const lost = count === 1 ? "1 event that waited for it is" : `${count} events that waited for it are`
  sayOf(handler, "Warn", `${nameOf(handler)} stops, and ${lost} dropped`)
}

const countDropped = (handler: Handler, count: number): void => {
  handler.dropped += count
  handler.channel.dropped += count
}

const countFailed = (handler: Handler): void => {
  handler.failed++
  handler.channel.failed++
}

const nameOf = ({ channel, job, scope }: Handler): string =>
  `Handler ${job.name} of ${scope.path} for topic ${channel.topic.name}`

const sayOf = (handler: Handler, level: "Warn" | "Error", message: string, cause?: Cause.Cause<unknown>): void =>
  say(handler.context, level, message, { topic: handler.channel.topic.name, job: handler.job.name }, cause)

// -----------------------------------------------------------------------------
// Handing over
// -----------------------------------------------------------------------------

export const publish = (channel: Channel, event: unknown): void => {
  const { bus } = channel
  channel.published++
  if (bus.delivering) return follow(channel, event)
  bus.delivering = true
  try {
    deliver(channel, event)
    // It grows meanwhile.
    for (let at = 0; at < bus.following.length; at++) {
      const next = bus.following[at]!
      deliver(next.channel, next.event)
    }
  } finally {
    bus.delivering = false
    if (bus.following.length > 0) bus.following = []
    if (bus.left.length > 0) { for (const handler of bus.left.splice(0)) handler.next = undefined }
  }
}

const follow = (channel: Channel, event: unknown): void => {
  const { bus, topic } = channel
  if (bus.following.length < mostFollowing) {
    bus.following.push({ channel, event })
    return
  }
  channel.dropped++
  const at = now(bus.clock)
  if (at - channel.saidEndless < sayEvery) return
  channel.saidEndless = at
  const problem = `More than ${mostFollowing} events followed from one, before anything else had a turn`
  const remedy = "A handler publishes again and again what leads to itself: let it wait in between, or publish less"
  say(bus.context, "Error", `${problem}; those of topic ${topic.name} are dropped from there on. ${remedy}`, {
    topic: topic.name
  })
}

const deliver = (channel: Channel, event: unknown): void => {
  // Who registers meanwhile gets the next event.
  const { lastId } = channel.bus
  if (channel.callbacks.first !== undefined) callAll(channel.callbacks.first, lastId, event)
  for (let at = channel.others.first; at !== undefined && at.id <= lastId; at = at.next) {
    if (at.active && passes(at, event)) offer(at, at.runs!, event)
  }
}

const callAll = (first: Handler, lastId: number, event: unknown): void => {
  const { clock } = first.channel.bus
  // When the callback before ended, if nothing else was done since. One look at the clock serves two callbacks.
  let since = NaN
  for (let at: Handler | undefined = first; at !== undefined && at.id <= lastId; at = at.next) {
    if (!at.active) continue
    if (at.filter !== undefined) {
      since = NaN
      if (!passes(at, event)) continue
    }
    const { budget } = at
    try {
      if (budget === undefined) {
        at.call!(event)
        since = NaN
        continue
      }
      if (Number.isNaN(since)) since = now(clock)
      at.call!(event)
    } catch (thrown) {
      countFailed(at)
      const end = now(clock)
      sayOf(at, "Error", `${nameOf(at)} failed; the other handlers go on`, Cause.die(thrown))
      if (budget !== undefined && end - since > budget) sayOverBudget(at.job.name, end - since, budget, at.context)
      since = NaN
      continue
    }
    const end = now(clock)
    if (end - since > budget) {
      sayOverBudget(at.job.name, end - since, budget, at.context)
      since = NaN
    } else {
      since = end
    }
  }
}

const passes = (handler: Handler, event: unknown): boolean => {
  if (handler.filter === undefined) return true
  try {
    return handler.filter(event)
  } catch (thrown) {
    countFailed(handler)
    sayOf(handler, "Error", `The filter of ${nameOf(handler)} failed; the handler does not run`, Cause.die(thrown))
    return false
  }
}

// -----------------------------------------------------------------------------
// Runs
// -----------------------------------------------------------------------------

const offer = (handler: Handler, runs: Runs, event: unknown): void => {
  if (runs.slots.mode === "Restart") endForNewer(handler, runs)
  const { running, slots, waiting } = runs
  if (running.size < slots.atOnce) return start(handler, runs, event, false)
  if (waiting.length < slots.waiting) {
    waiting.push(event)
    return
  }
  countDropped(handler, 1)
  if (slots.mode === "Restart") waiting[0] = event
  // What runs once at a time, drops by design.
  else if (slots.mode !== "Single") sayFull(handler, runs)
}

const sayFull = (handler: Handler, runs: Runs): void => {
  const { running, waiting } = runs
  runs.unsaid++
  const at = now(handler.scope.clock)
  if (at - runs.saidFull < sayEvery) return
  const dropped = runs.unsaid === 1 ? "an event is" : `${runs.unsaid} events are`
  sayOf(
    handler,
    "Warn",
    `${nameOf(handler)} is full, with ${running.size} running and ${waiting.length} waiting; ${dropped} dropped`
  )
  runs.saidFull = at
  runs.unsaid = 0
}

/** Starts a run. One that is `late` begins a turn later, so that a queue of runs that never wait lets others live. */
const start = (handler: Handler, runs: Runs, event: unknown, late: boolean): void => {
  const { channel, context, job, scope } = handler
  const run = job[JobTypeId] as (event: unknown) => Effect.Effect<unknown, unknown>
  const begin = () => spawn(scope, context, run(event), job.name, late ? { startImmediately: false } : undefined)
  const { ended, ends } = channel.bus
  const task = channel === ended ? ends.starting(begin) : begin()
  if (!(task instanceof TaskImpl)) {
    countDropped(handler, 1)
    // Where there is no room now, there may be later.
    return task._tag === "TaskRefused" ? undefined : leave(handler)
  }
  const exit = task.fiber.pollUnsafe()
  if (exit !== undefined) return countExit(handler, exit)
  runs.running.add(task)
  task.fiber.addObserver((exit) => {
    countExit(handler, exit)
    // Who ends it for a newer event goes on by himself.
    if (!runs.ending) over(handler, runs, task)
  })
}

const countExit = (handler: Handler, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) countFailed(handler)
}

const over = (handler: Handler, runs: Runs, task: TaskImpl): void => {
  const { running, slots, waiting } = runs
  running.delete(task)
  while (waiting.length > 0 && running.size < slots.atOnce) {
    start(handler, runs, waiting.shift(), true)
  }
}

/** Ends the run there is, with what it has left behind, and goes on in this very call if it can. */
const endForNewer = (handler: Handler, runs: Runs): void => {
  if (runs.ending) return
  for (const task of runs.running) {
    runs.ending = true
    const end = Effect.andThen(task.interrupt(superseded), Effect.suspend(() => Effect.forEach(leftBy(task), giveTime)))
    Effect.runForkWith(handler.context)(Effect.andThen(
      end,
      Effect.sync(() => {
        runs.ending = false
        over(handler, runs, task)
      })
    ))
  }
}

const superseded = "a newer event came"

// Each has its limit, and is given up then.
const giveTime = (task: TaskImpl) => task.interrupt(superseded)

/** The calls on threads and the promises that a task has left behind; see `leaveBehind`. */
const leftBy = (task: TaskImpl): ReadonlyArray<TaskImpl> =>
  tasksOf(task.scope).filter((left) => isLive(left) && left.path.startsWith(`${task.path}/`))
