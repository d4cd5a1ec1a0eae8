/**
 * A thread as its pool sees it: what it was sent, what of that it has begun,
 * and its end.
 *
 * Invariants
 * - `sent` holds the jobs that were sent and are neither answered nor taken back,
 *   in the order in which the thread gets them. The first is the only one that
 *   can have begun, apart from those whose answer is on its way. (node/stop.test.ts)
 * - A slot is free as soon as its job is answered or taken back. (node/kill.test.ts)
 * - Answers are read in the order in which they were given, whether they are frames or stand in slots; and nothing tells
 *   twice that they stand there. (node/slots.test.ts)
 * - In one turn of the event loop, a thread that talks is read for a bounded time:
 *   what it says makes room for more in the next turn, most of what it asks at once. (node/chatter.test.ts)
 */
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  type ResourceLimits,
  type Transferable,
  Worker
} from "node:worker_threads"
import { threadUrl } from "../threadUrl.ts"
import type { FunctionTable } from "./functionTable.ts"
import type { Asker, PoolJob } from "./job.ts"
import { trackThread } from "./liveThreads.ts"
import {
  type Answer,
  answerSlot,
  askKinds,
  hasReturned,
  isPrimitive,
  isUpTo,
  marks,
  memorySize,
  type Meta,
  type MethodFrame,
  mostUnread,
  type NewsFrame,
  nextSequence,
  numbersAt,
  returnedIn,
  type SignFrame,
  slotCount,
  slotStates,
  slotWord,
  stateIn,
  stateOfReturned,
  takenQuestion,
  type ThreadData,
  type ToMain,
  toMain,
  toThread,
  words
} from "./protocol.ts"
import { isDoneWithin, nextTurn, realNow, within } from "./realTime.ts"
import { stackOf } from "./stackOf.ts"
import { textOf } from "./thrown.ts"

/** How long `terminate` gets before a thread counts as stuck. */
const stuckAfter = 1000

/** How long the frames of a thread are taken without a turn of the event loop for each, in milliseconds. */
const drainFor = 4

/** How much work lies ready on a busy thread, in milliseconds, so that it need not be woken for each call. */
const aheadMillis = 1
const firstDepth = 4

export type ThreadState =
  /** It loads; what it is sent waits for it. */
  | { readonly _tag: "Starting" }
  | { readonly _tag: "Ready" }
  /** It gets nothing new, and is ended when it has nothing left. */
  | { readonly _tag: "Retiring" }
  /** It is being ended. */
  | { readonly _tag: "Ending" }
  /** It should have ended, but sits in code that nobody can end. */
  | { readonly _tag: "Stuck" }
  | { readonly _tag: "Gone" }

/** A frame that is for the pool. */
export type HeardFrame = Exclude<ToMain, NewsFrame | MethodFrame>

/** What a pool wants to hear from its threads. */
export interface Listener {
  readonly frame: (thread: PoolThread, frame: HeardFrame) => void
  /** A call has answered with its slot. */
  readonly returned: (thread: PoolThread, job: PoolJob, value: unknown) => void
  /** All frames that had come are through. */
  readonly drained: (thread: PoolThread) => void
  readonly exited: (thread: PoolThread, exitCode: number, error: unknown) => void
}

/** What a thread asks for. */
export interface Method {
  readonly contract: string
  readonly method: string
  readonly name: string
}

export interface ThreadOptions {
  readonly pool: string
  readonly name: string
  readonly resourceLimits: ResourceLimits | undefined
  readonly functions: FunctionTable
}

// The entry is a line of text, so that the compile cache is on before the first file is read: as TypeScript, the thread
// would else strip the types of it anew for every start. The line is a script or a module, as `--input-type` of the
// program says, which threads inherit with all other flags; so it needs neither `require` nor an `import` of its own.
const bootstrap = "process.getBuiltinModule?.(\"node:module\").enableCompileCache?.();" +
  `import(${JSON.stringify(threadUrl)})`

export class PoolThread {
  readonly name: string
  state: ThreadState = { _tag: "Starting" }
  /** In the order in which the thread gets them. */
  readonly sent: Array<PoolJob> = []
  /** Done when it has ended and all its frames are read. */
  readonly exited: Promise<void>
  /** Done when nobody waits for it any more: it has ended, or is stuck. */
  readonly left: Promise<void>
  /** Says that nobody waits for it any more. */
  readonly leave: () => void
  private readonly worker: Worker
  private readonly port: MessagePort
  private readonly answers: MessagePort
  private readonly memory: Int32Array
  private readonly numbers: Float64Array
  private readonly listener: Listener
  private readonly slots: Array<PoolJob | undefined> = Array.from({ length: slotCount })
  private readonly free: Array<number> = Array.from({ length: slotCount }, (_, slot) => slot)
  private readonly functions: FunctionTable
  /** The functions that it has been told of. */
  private readonly defined = new Set<number>()
  /** The methods that it asks for, by their numbers. */
  readonly methods: Array<Method> = []
  /** Its timers, of which one at most waits for the main thread. */
  readonly timers: Asker
  /** What runs on the main thread for its timers, by the number of the question. */
  readonly effects = new Map<number, Fiber.Fiber<unknown, unknown>>()
  /** Since when it has owed a sign, and whether one more is wanted after it. */
  private owesSince: number | undefined = undefined
  private oneMoreSign = false
  /** Whether a module was loading when it gave the last one. */
  private wasLoading = false
  /** How many frames of it could not be read, and why, until a sign tells which ones these were. */
  private unreadable: { readonly problem: unknown; readonly frames: number } | undefined = undefined
  /** When it has last answered or become ready. */
  heardAt = realNow()
  private readonly batch: Array<unknown> = []
  private meta: Meta | undefined = undefined
  private sequence = 0
  private error: unknown = undefined
  private hasEnded = false
  /** Where the thread was during the call that runs, once somebody has looked. */
  private seen: Promise<string | undefined> | undefined = undefined
  /** Milliseconds that a call takes, as far as is known. */
  private average = aheadMillis / firstDepth
  /** When it was last sent something while idle, or answered. */
  private answersSince = realNow()
  private answered = 0
  /** How many frames were read in this turn for which the thread gets room in the next one. */
  private read = 0
  private roomsAtOnce = 0
  /** How much was drained, and since when in this turn, as far as that was looked at. */
  private drainedCount = 0
  private drainedSince: number | undefined = undefined
  /** Whether the time for its frames in this turn is over. */
  private drainedEnough = false

  constructor(options: ThreadOptions, listener: Listener) {
    const frames = new MessageChannel()
    const answers = new MessageChannel()
    const memory = new SharedArrayBuffer(memorySize)
    const data: ThreadData = {
      ambit: 1,
      pool: options.pool,
      thread: options.name,
      memory,
      port: frames.port2,
      answers: answers.port2
    }
    this.name = options.name
    this.timers = {
      name: `a timer of ${options.name}`,
      question: undefined,
      parent: undefined,
      children: undefined,
      contexts: undefined
    }
    this.listener = listener
    this.functions = options.functions
    this.memory = new Int32Array(memory, 0, numbersAt / 4)
    this.numbers = new Float64Array(memory, numbersAt)
    this.port = frames.port1
    this.answers = answers.port1
    this.worker = new Worker(bootstrap, {
      eval: true,
      name: options.name,
      workerData: data,
      transferList: [frames.port2, answers.port2],
      ...(options.resourceLimits === undefined ? {} : { resourceLimits: options.resourceLimits })
    })
    trackThread(this.worker)
    this.port.on("message", (frame: ToMain) => {
      if (frame[0] !== toMain.news) this.readSlotsBefore()
      this.take(frame)
      // It waits now. What it says once it is answered comes as a message of its own.
      if (frame[0] === toMain.ask && frame[2] === askKinds.call) return
      this.drainForAWhile()
      listener.drained(this)
    })
    this.port.on("messageerror", this.lose)
    const left = Promise.withResolvers<void>()
    this.left = left.promise
    this.leave = left.resolve
    for (const id of this.functions.kept) this.define(id)
    this.worker.on("error", (error) => {
      this.error = error
    })
    this.exited = new Promise((resolve) => {
      this.worker.once("exit", (exitCode) => {
        this.hasEnded = true
        this.drain()
        this.port.close()
        this.answers.close()
        this.endEffects()
        listener.exited(this, exitCode, this.error)
        resolve()
        // By itself, when nobody ended it.
        this.leave()
      })
    })
  }

  /** Since when it has done nothing, or only what it does now. */
  get idleSince(): number {
    return this.answersSince
  }

  /** Whether a slot is free; how far ahead a busy thread is sent calls depends on how long they take. */
  get hasRoom(): boolean {
    return this.free.length > 0 && this.sent.length < Math.max(1, Math.min(slotCount, aheadMillis / this.average))
  }

  hasBegun(job: PoolJob): boolean {
    const state = this.stateOf(job)
    return state === slotStates.running || state === slotStates.cancelled || hasReturned(state)
  }

  private stateOf({ sequence, slot }: PoolJob): number {
    return stateIn(Atomics.load(this.memory, words.slots + slot), sequence)
  }

  /** The job in a slot. */
  jobAt(slot: number): PoolJob | undefined {
    return this.slots[slot]
  }

  // ---------------------------------------------------------------------------
  // Sending
  // ---------------------------------------------------------------------------

  /** Sends a job. Throws when its arguments cannot be cloned; then it was not sent. */
  send(job: PoolJob, meta: Meta): void {
    const { args, options, reference } = job.request
    const id = this.functions.idOf(reference.module, reference.name)
    if (!this.defined.has(id)) this.define(id)
    if (this.meta !== meta) this.tellMeta(meta)
    if (this.sent.length === 0) {
      const now = realNow()
      // What it answered until now is learned from, or a thread that gets one call at a time would never get more.
      this.learn(now)
      this.answersSince = now
      this.answered = 0
    }
    const slot = this.free.pop()!
    const sequence = this.sequence = nextSequence(this.sequence)
    Atomics.store(this.memory, words.slots + slot, slotWord(sequence, slotStates.queued))
    if (options.transfer.length === 0 && args.every(isPrimitive)) {
      // One frame is one clone, so the calls of a batch must not share objects; primitives cannot.
      this.beginBatch()
      this.batch.push(slot, sequence, id, args.length)
      for (const arg of args) this.batch.push(arg)
    } else {
      this.flush()
      try {
        this.port.postMessage(
          [toThread.call, slot, sequence, id, args],
          options.transfer as Array<Transferable>
        )
      } catch (error) {
        this.free.push(slot)
        throw error
      }
    }
    job.phase = "Sent"
    job.thread = this
    job.slot = slot
    job.sequence = sequence
    this.slots[slot] = job
    this.sent.push(job)
  }

  private beginBatch(): void {
    if (this.batch.length > 0) return
    this.batch.push(toThread.batch)
    queueMicrotask(this.flush)
  }

  private tellMeta(meta: Meta): void {
    const { annotations, app, level, task, traceparent } = meta
    const last = this.meta
    this.meta = meta
    // Mostly another task of the same app calls.
    const isSame = last?.app === app && last.level === level && last.traceparent === traceparent &&
      last.annotations === annotations
    if (isSame && last.task === task) return
    this.beginBatch()
    if (isSame) this.batch.push(marks.task, task)
    else this.batch.push(marks.meta, task, app, level, traceparent, annotations)
  }

  /** Tells the thread of a function; it loads its module. */
  private define(id: number): void {
    const { module, name } = this.functions.all[id]!
    this.defined.add(id)
    this.port.postMessage([toThread.define, id, module, name])
  }

  /** Asks the thread to show that it reads its frames. */
  askForSign(): void {
    if (this.owesSince !== undefined) {
      this.oneMoreSign = true
      return
    }
    this.owesSince = realNow()
    this.port.postMessage([toThread.sign])
  }

  giveSign(loading: boolean): void {
    this.owesSince = undefined
    this.wasLoading = loading
    if (!this.oneMoreSign) return
    this.oneMoreSign = false
    this.askForSign()
  }

  get owesSign(): boolean {
    return this.owesSince !== undefined
  }

  /** Whether all is well, as far as is known: it owes no sign, and nothing that it loads may hold it up yet. */
  get isFree(): boolean {
    return !this.owesSign && !this.wasLoading
  }

  /** How long nothing has come of it that was asked for. */
  silentFor(now: number): number {
    return now - Math.max(this.heardAt, this.owesSince ?? now)
  }

  private readonly flush = (): void => {
    if (this.batch.length === 0) return
    this.port.postMessage(this.batch)
    this.batch.length = 0
  }

  /** Takes a job back; `false` when the thread has begun with it. */
  revoke(job: PoolJob): boolean {
    const word = words.slots + job.slot
    const queued = slotWord(job.sequence, slotStates.queued)
    const revoked = slotWord(job.sequence, slotStates.revoked)
    if (Atomics.compareExchange(this.memory, word, queued, revoked) !== queued) return false
    this.release(job)
    return true
  }

  /** Takes back all that the thread has not begun, in order. */
  revokeAll(): ReadonlyArray<PoolJob> {
    return [...this.sent].filter((job) => this.revoke(job))
  }

  /** Frees the slot of a job that is answered or taken back. */
  release(job: PoolJob): void {
    // Calls are answered in the order in which they were sent, so it is the first but for those that are taken back.
    if (this.sent[0] === job) this.sent.shift()
    else this.sent.splice(this.sent.indexOf(job), 1)
    this.slots[job.slot] = undefined
    this.free.push(job.slot)
    this.seen = undefined
    job.thread = undefined
    job.slot = -1
  }

  /** Tells the function that nobody waits for it any more. */
  tellCancelled({ sequence, slot }: PoolJob): void {
    const [running, cancelled] = [slotWord(sequence, slotStates.running), slotWord(sequence, slotStates.cancelled)]
    Atomics.compareExchange(this.memory, words.slots + slot, running, cancelled)
    this.wake()
  }

  /** Answers what the thread waits for; what it does not wait for any more is not answered. */
  answer(question: number, answer: Answer): void {
    if (Atomics.load(this.memory, words.question) !== takenQuestion(question)) return
    const returned = answer[0] === "value" ? stateOfReturned(answer[1]) : undefined
    if (returned === undefined) this.answers.postMessage(answer)
    else if (returned === slotStates.returnedNumber) this.numbers[answerSlot] = answer[1] as number
    Atomics.store(this.memory, words.answer, slotWord(question, returned ?? slotStates.inFrame))
    this.wake()
  }

  /** Takes a question; `false` when the thread does not wait for it any more. */
  takeQuestion(open: number, taken: number): boolean {
    return !this.hasEnded && Atomics.compareExchange(this.memory, words.question, open, taken) === open
  }

  private wake(): void {
    Atomics.add(this.memory, words.wake, 1)
    Atomics.notify(this.memory, words.wake)
  }

  // ---------------------------------------------------------------------------
  // Receiving
  // ---------------------------------------------------------------------------

  /** Reads all that has come. */
  readonly drain = (): void => {
    while (this.readOne());
  }

  /** Reads the next that has come, a slot or a frame; `false` when there is none. */
  private readOne(): boolean {
    // In the order in which it was sent: what has answered with its slot is behind all frames of the calls before it.
    if (this.readSlot()) return true
    const frame = this.next()
    if (frame === undefined) return false
    this.take(frame)
    return true
  }

  /** The next frame that has come and can be read. */
  private next(): ToMain | undefined {
    for (;;) {
      try {
        return receiveMessageOnPort(this.port)?.message as ToMain | undefined
      } catch (problem) {
        this.lose(problem)
      }
    }
  }

  // A thread has a larger stack, and so it can send what is nested too deep to be read here.
  private readonly lose = (problem: unknown): void => {
    this.unreadable = { problem, frames: (this.unreadable?.frames ?? 0) + 1 }
    this.askForSign()
  }

  /** Why frames that came before this sign could not be read, if there were any, and what they have answered. */
  takeUnreadable([, , begun, slot]: SignFrame):
    | { readonly problem: unknown; readonly frames: number; readonly jobs: ReadonlyArray<PoolJob> }
    | undefined
  {
    if (this.unreadable === undefined) return undefined
    const { frames, problem } = this.unreadable
    this.unreadable = undefined
    const jobs = this.sent.filter((job) =>
      this.hasBegun(job) && !hasReturned(this.stateOf(job)) && job.slot !== slot && isUpTo(job.sequence, begun)
    )
    return { problem, frames, jobs }
  }

  /** Reads the answer in the slot of the first call, if it is there. */
  private readSlot(): boolean {
    const job = this.sent[0]
    if (job === undefined) return false
    const state = this.stateOf(job)
    if (!hasReturned(state)) return false
    this.listener.returned(this, job, returnedIn(state, this.numbers, job.slot))
    return true
  }

  /** Reads the answers that were there before a frame was sent: they are among what was sent until now. */
  private readSlotsBefore(): void {
    for (let left = this.sent.length; left > 0 && this.readSlot(); left--);
  }

  private take(frame: ToMain): void {
    // From now on it is told again. The slots are read after this.
    if (frame[0] === toMain.news) Atomics.store(this.memory, words.news, 0)
    else if (frame[0] === toMain.method) this.learnMethod(frame)
    else this.listener.frame(this, frame)
  }

  private learnMethod([, id, contract, method]: MethodFrame): void {
    this.methods[id] = { contract, method, name: `${contract}.${method}` }
  }

  /** Reads what has come, as long as there is time for it in this turn. */
  private drainForAWhile(): void {
    while (!this.drainedEnough && this.readOne()) {
      // A turn may drain many times, each for what has come meanwhile.
      if ((++this.drainedCount & 15) !== 0) continue
      if (this.drainedSince === undefined) {
        this.drainedSince = realNow()
        nextTurn(this.drainAgain)
      } else if (realNow() - this.drainedSince > drainFor) {
        this.drainedEnough = true
      }
    }
  }

  // Until then frames come one by one, after those of other threads.
  private readonly drainAgain = (): void => {
    this.drainedSince = undefined
    if (!this.drainedEnough) return
    this.drainedEnough = false
    // Nothing tells once more of the slots.
    this.drainForAWhile()
    this.listener.drained(this)
  }

  /** Makes room for one more frame, in the next turn of the event loop. */
  makeRoom(): void {
    if (this.read++ === 0) nextTurn(this.giveRoom)
  }

  /** Of what the thread waits for, a few make room at once: a turn costs more than the answer. */
  makeRoomForNext(): void {
    if (this.read > 0 || (++this.roomsAtOnce & 15) === 0) this.makeRoom()
    else this.addRoom(1)
  }

  private readonly giveRoom = (): void => {
    this.addRoom(this.read)
    this.read = 0
  }

  private addRoom(frames: number): void {
    if (Atomics.sub(this.memory, words.unread, frames) >= mostUnread) Atomics.notify(this.memory, words.unread)
  }

  /** Learns how long calls take. */
  countAnswer(): void {
    this.answered++
  }

  learn(now: number): void {
    if (this.answered === 0) return
    const each = Math.max(1e-4, (now - this.answersSince) / this.answered)
    this.average += (each - this.average) / 4
    this.answersSince = now
    this.heardAt = now
    this.answered = 0
  }

  // ---------------------------------------------------------------------------
  // Ending
  // ---------------------------------------------------------------------------

  /** Nothing that it has loaded is loaded by new threads before they are asked to. */
  forgetLoaded(): void {
    this.functions.forget(this.defined)
  }

  private endEffects(): void {
    for (const effect of this.effects.values()) effect.interruptUnsafe()
  }

  /** Ends every wait for the main thread. */
  close(): void {
    this.endEffects()
    Atomics.store(this.memory, words.closing, 1)
    this.wake()
  }

  /** Begins to look where the thread is, so that it is known when the thread has to be ended. */
  look(): void {
    this.seen ??= stackOf(this.worker)
  }

  /** Where the thread is, as far as that is known within a moment. */
  stack(millis: number): Promise<string | undefined> {
    this.look()
    return within(this.seen!, millis)
  }

  /** Ends the thread. Gives `false` when it has not ended after a second: nobody can say when it will. */
  terminate(): Promise<boolean> {
    this.close()
    // The event comes before the promise of `terminate`, and with everything read.
    void this.worker.terminate()
    return isDoneWithin(this.exited, stuckAfter)
  }

  /** A thread that cannot be ended is no reason to keep the process. */
  unref(): void {
    this.worker.unref()
    this.port.unref()
    this.answers.unref()
  }
}

/** What a thread is told of the caller of a request, as it stands in a context. */
export interface Caller {
  readonly level: string
  readonly span: Tracer.AnySpan | undefined
  readonly annotations: Readonly<Record<string, unknown>>
}

export const callerIn = (context: Context.Context<never>): Caller => ({
  level: Context.get(context, References.MinimumLogLevel),
  span: Context.getOrUndefined(context as Context.Context<Tracer.ParentSpan>, Tracer.ParentSpan),
  annotations: Context.get(context, References.CurrentLogAnnotations)
})

/** Whether two callers are the same to a thread. Spans and annotations do not change. */
export const isSameCaller = (one: Caller, other: Caller): boolean =>
  one.level === other.level && one.span === other.span && one.annotations === other.annotations

export const metaOf = ({ annotations, level, span }: Caller, task: string, app: string): Meta => ({
  task,
  app,
  level,
  traceparent: span === undefined ? "" : `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`,
  annotations: textOfAnnotations(annotations)
})

const textOfAnnotations = (annotations: Readonly<Record<string, unknown>>): string => {
  try {
    return JSON.stringify(annotations)
  } catch {
    // Some of them are no JSON. These go as text.
    const shown = Object.entries(annotations).map((
      [key, value]
    ) => [key, jsonOf(value) ?? JSON.stringify(textOf(value))])
    return `{${shown.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(",")}}`
  }
}

const jsonOf = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
