/**
 * What the code of a host makes outside of any scope: timers, requests to the
 * system, threads and listeners. Who made something is known by its asynchronous
 * context, so tests that run at the same time do not mix.
 *
 * Invariant: nobody watches while no host of a test is alive. (TestHost.leaks.test.ts)
 */
import { AsyncLocalStorage, createHook } from "node:async_hooks"
import { EventEmitter, getEventListeners } from "node:events"
import type { Worker } from "node:worker_threads"

/** Something that can be listened to. */
export type Listenable = EventEmitter | EventTarget

interface Timer {
  readonly how: "setInterval" | "setTimeout"
  /** Milliseconds, where Node tells them. */
  readonly delay: number | undefined
  readonly place: string
}

interface Listener {
  readonly target: Listenable
  readonly event: string
  readonly listener: unknown
  readonly place: string | undefined
}

/** What one host has made. */
export interface Made {
  /** By their asynchronous ids. */
  readonly timers: Map<number, Timer>
  /** The ids of those that are not answered yet. */
  readonly requests: Set<number>
  readonly threads: Set<Worker>
  readonly listeners: Array<Listener>
}

const makers = new AsyncLocalStorage<Made | undefined>()
const makerOf = new Map<number, Made>()

// -----------------------------------------------------------------------------
// Places
// -----------------------------------------------------------------------------

/** More than the frames of Node around a timer. */
const framesNeeded = 20

/** The stack of this moment. */
const framesOf = (): Array<string> => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = framesNeeded
  const stack = new Error("the stack of a moment").stack ?? ""
  Error.stackTraceLimit = stackTraceLimit
  return stack.split("\n").slice(1).map((line) => line.trim().replace(/^at /, ""))
}

const isOfNode = (frame: string): boolean => /(?:^|\()node:/.test(frame)

const shownFrame = (frame: string): string => frame.replace("file://", "")

// -----------------------------------------------------------------------------
// Watching
// -----------------------------------------------------------------------------

// `new Timeout` and the functions of `node:timers` stand between the hook and who has called them.
const timerOf = (frames: ReadonlyArray<string>, timeout: object): Timer | undefined => {
  const at = frames.findIndex((frame) => /^set(?:Timeout|Interval) \(node:timers/.test(frame))
  const caller = frames[at + 1]
  // A timer of Node itself, such as those of sockets, is nobody's in the test.
  if (at === -1 || caller === undefined || isOfNode(caller)) return undefined
  const delay: unknown = Reflect.get(timeout, "_idleTimeout")
  return {
    how: frames[at]!.startsWith("setInterval") ? "setInterval" : "setTimeout",
    delay: typeof delay === "number" ? delay : undefined,
    place: shownFrame(caller)
  }
}

/** Reads and writes of files, look-ups of names, connects, hashes: what Node asks the system for, and is told when it is done. */
const isRequest = (type: string): boolean =>
  /^FS|REQWRAP$|REQUEST$|CLOSEREQ$|(?:CONNECT|QUERY|SEND|SHUTDOWN|WRITE)WRAP$/.test(type) &&
  !/^(?:FSEVENT|HTTP)/.test(type)

const note = (made: Made, id: number, type: string, resource: object): boolean => {
  if (type === "Timeout") {
    const timer = timerOf(framesOf(), resource)
    if (timer !== undefined) made.timers.set(id, timer)
    return timer !== undefined
  }
  if (isRequest(type)) made.requests.add(id)
  return isRequest(type)
}

const hook = createHook({
  trackPromises: false,
  init(id, type, _trigger, resource) {
    const made = makers.getStore()
    if (made !== undefined && note(made, id, type, resource)) makerOf.set(id, made)
  },
  destroy(id) {
    const made = makerOf.get(id)
    if (made === undefined) return
    makerOf.delete(id)
    made.timers.delete(id)
    made.requests.delete(id)
  }
})

const onThread = (thread: Worker): void => {
  const made = makers.getStore()
  if (made === undefined) return
  made.threads.add(thread)
  thread.once("exit", () => made.threads.delete(thread))
}

// Emitters call us from the middle of `addListener`, and others may stand in between.
const placeOfListener = (frames: ReadonlyArray<string>): string | undefined => {
  const added = frames.findIndex((frame) => frame.startsWith("_addListener "))
  const place = frames.slice(added + 1).find((frame) => !isOfNode(frame) && !frame.includes(import.meta.filename))
  return place === undefined ? undefined : shownFrame(place)
}

const noteListener = (target: Listenable, event: string, listener: unknown): void => {
  const made = makers.getStore()
  if (made === undefined || event === "newListener" || event === "removeListener") return
  made.listeners.push({ target, event, listener, place: placeOfListener(framesOf()) })
}

/** What is watched, and for how many hosts: whose a listener is, tells the asynchronous context. */
const watchedTargets = new Map<Listenable, { hosts: number; readonly end: () => void }>()

/** Notes who begins to listen, and gives what ends that. */
const watchListeners = (target: Listenable): () => void => {
  const watched = watchedTargets.get(target) ?? { hosts: 0, end: noteListeners(target) }
  watchedTargets.set(target, watched)
  watched.hosts++
  return () => {
    if (--watched.hosts > 0) return
    watchedTargets.delete(target)
    watched.end()
  }
}

const noteListeners = (target: Listenable): () => void => {
  if (target instanceof EventEmitter) {
    const onListener = (event: string | symbol, listener: unknown) => noteListener(target, String(event), listener)
    target.on("newListener", onListener)
    return () => target.off("newListener", onListener)
  }
  target.addEventListener = (...args: Parameters<EventTarget["addEventListener"]>) => {
    noteListener(target, args[0], args[1])
    Object.getPrototypeOf(target).addEventListener.apply(target, args)
  }
  return () => {
    Reflect.deleteProperty(target, "addEventListener")
  }
}

let watching = 0
let unwatchProcess = (): void => {}

const begin = (): void => {
  if (watching++ > 0) return
  hook.enable()
  process.on("worker", onThread)
  unwatchProcess = watchListeners(process)
}

const end = (): void => {
  if (--watching > 0) return
  hook.disable()
  process.off("worker", onThread)
  unwatchProcess()
  makerOf.clear()
}

/** One host that is watched. */
export interface Watch {
  readonly made: Made
  /** Runs something whose doings are those of the host, and all that it starts. */
  readonly inside: <A>(run: () => A) => A
  readonly stop: () => void
}

/** Watches a host, and listeners of some more targets than `process`, until `stop` is called. */
export const watch = (targets: ReadonlyArray<Listenable>): Watch => {
  const made: Made = { timers: new Map(), requests: new Set(), threads: new Set(), listeners: [] }
  begin()
  const stops = targets.map(watchListeners)
  return {
    made,
    inside: (run) => makers.run(made, run),
    stop: () => {
      for (const stop of stops) stop()
      end()
    }
  }
}

/** Runs something that a host asks for, and that others do. */
export const outside = <A>(run: () => A): A => makers.run(undefined, run)

/** The listeners that are still there. */
export const listening = ({ listeners }: Made): Array<Listener> =>
  listeners.filter(({ event, listener, target }) =>
    // The two kinds of targets have a signature each.
    getEventListeners(target as EventTarget, event).some((there: unknown) => there === listener)
  )

/** What a target is called. */
export const nameOf = (target: Listenable): string => target === process ? "process" : target.constructor.name
