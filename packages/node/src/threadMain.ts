/**
 * What a thread of a pool runs: it loads modules, runs the functions in them
 * one after the other, and sends back what they return or throw.
 *
 * No line of this imports Effect, nor may anything that it imports: it would cost
 * each thread some 100 milliseconds and 20 megabytes.
 *
 * Invariants
 * - At most one call runs at a time; `slot` and `sequence` are its own, from its
 *   first step until its answer is sent. (node/BlockingPool.test.ts)
 * - A call begins only by moving its slot from Queued to Running. (node/kill.test.ts)
 * - The answer is the last that a call does: the slot may be used again as soon as
 *   the answer is there, so nothing is written to it afterwards.
 * - A call that has sent a frame answers with a frame, which comes after it. (node/chatter.test.ts)
 * - Whatever a function says, `mostUnread` frames of it wait to be read at most, as
 *   long as the main thread reads at all. (node/chatter.test.ts)
 */
import {
  type AskKind,
  becomeThread,
  type CallInfo,
  type LogLevel,
  type RunningCall
} from "@ambit/core/BlockingFunction"
import * as compileCache from "node:module"
import { receiveMessageOnPort, workerData } from "node:worker_threads"
import {
  type Answer,
  answerSlot,
  askKinds,
  type BatchFrame,
  type CallFrame,
  type DefineFrame,
  type Failure,
  hasReturned,
  marks,
  type Meta,
  mostMethods,
  mostUnread,
  nextSequence,
  numbersAt,
  openQuestion,
  returnedIn,
  slotStates,
  slotWord,
  stateIn,
  stateOfReturned,
  type ThreadData,
  toMain,
  toThread,
  words
} from "./internal/protocol.ts"
import { CallRefused, CallTimeout, Cancelled } from "./internal/threadError.ts"
import { decodeThrown, encodeThrown, textOf, travellingFields } from "./internal/thrown.ts"
import { endTransfer, transferOf } from "./internal/transfer.ts"

const data = workerData as ThreadData
const { answers, port } = data
const memory = new Int32Array(data.memory, 0, numbersAt / 4)
const numbers = new Float64Array(data.memory, numbersAt)
const thread = becomeThread()

// -----------------------------------------------------------------------------
// The call that runs
// -----------------------------------------------------------------------------

type Loaded = ((...args: Array<never>) => unknown) | Failure

let slot = -1
let sequence = 0
/** The number of the last call that has begun. */
let begun = 0
let running = ""
/** Whether this call has been told that it is cancelled: its clean-up is not disturbed a second time. */
let told = false
/** Whether nothing was sent since this call began. What was, comes before its answer, and so that is a frame as well. */
let quiet = true
/** Whether a timer runs, which is not the call itself. */
let inTimer = false
let meta: Meta = { task: "", app: "", level: "Info", traceparent: "", annotations: "{}" }
let questions = 0

const isCancelled = (): boolean =>
  sequence !== 0 && Atomics.load(memory, words.slots + slot) === slotWord(sequence, slotStates.cancelled)

// Between the calls, as in a timer, what is known belongs to a call that is over.
const info = (): CallInfo | undefined =>
  slot < 0
    ? undefined
    : {
      pool: data.pool,
      thread: data.thread,
      task: meta.task,
      app: meta.app,
      function: running,
      annotations: JSON.parse(meta.annotations) as Record<string, unknown>,
      minimumLogLevel: meta.level,
      traceparent: meta.traceparent
    }

/** How often who waits for room looks whether it is to stop: what wakes it for that would be lost just before the wait. */
const lookEvery = 50

/** Waits until the main thread has read enough of what was said before; `false` when it has not in that time. */
const hasRoom = (within: number, isToStop: () => boolean): boolean => {
  let unread = Atomics.load(memory, words.unread)
  if (unread < mostUnread) return true
  const deadline = performance.now() + within
  while (unread >= mostUnread) {
    const left = deadline - performance.now()
    if (left <= 0 || isToStop()) return false
    Atomics.wait(memory, words.unread, unread, Math.min(left, lookEvery))
    unread = Atomics.load(memory, words.unread)
  }
  return true
}

const post = (frame: ReadonlyArray<unknown>): void => {
  quiet = false
  port.postMessage(frame)
  Atomics.add(memory, words.unread, 1)
}

/** Milliseconds after which a main thread that stands still does not hold up what is said. */
const roomWithin = 1000

/** Says what nobody waits for. */
const tell = (frame: ReadonlyArray<unknown>): void => {
  hasRoom(roomWithin, () => false)
  post(frame)
}

const levels = ["All", "Trace", "Debug", "Info", "Warn", "Error", "Fatal", "None"]

const log = (level: LogLevel, message: string, annotations: Readonly<Record<string, unknown>>): void => {
  if (levels.indexOf(level) < levels.indexOf(meta.level)) return
  tell([toMain.log, slot, level, message, travellingFields(annotations)])
}

/** The numbers of the methods, by contract. */
const methods = new Map<string, Map<string, number>>()
let methodCount = 0

const numberOf = (contract: string, method: string): number => {
  const known = methods.get(contract)?.get(method)
  if (known !== undefined) return known
  if (methodCount === mostMethods) {
    methods.clear()
    methodCount = 0
  }
  const id = methodCount++
  const numbers = methods.get(contract) ?? new Map<string, number>()
  // Known only once it is told: near the end of the stack the telling may throw.
  port.postMessage([toMain.method, id, contract, method])
  methods.set(contract, numbers.set(method, id))
  return id
}

// A thread that waits reads no frames but answers, and is woken for an answer, a cancel and a stop.
const ask: NonNullable<RunningCall["ask"]> = (how, contract, method, args, within) => {
  if (isClosing()) throw new CallRefused(contract, method, "closing")
  stopHere()
  const question = questions = nextSequence(questions)
  const frame = [toMain.ask, slot, askKinds[how], question, numberOf(contract, method), told, ...args]
  if (how === "post") return tell(frame)
  const deadline = performance.now() + within
  if (within <= 0 || !hasRoom(within, isToStop)) {
    if (isClosing()) throw new CallRefused(contract, method, "closing")
    stopHere()
    throw new CallTimeout(contract, method, within, false)
  }
  // Numbers come again some day, and so would an old answer.
  Atomics.store(memory, words.answer, 0)
  Atomics.store(memory, words.question, openQuestion(question))
  post(frame)
  let givenUp = false
  while (true) {
    const wake = Atomics.load(memory, words.wake)
    const answer = answerTo(question)
    const closing = isClosing()
    // Before the answer: with the call, what runs for it is ended as well, and that is no refusal.
    const cancelled = how === "call" && !closing && !told && isCancelled()
    if (answer !== undefined && !cancelled) return valueOf(answer, contract, method)
    const left = givenUp ? Infinity : deadline - performance.now()
    if (!givenUp && (closing || left <= 0 || (!told && isCancelled()))) {
      const begun = !withdraw(question, how)
      // What is spawned lives on, and the main thread answers in the turn in which it takes the question.
      if (begun && how === "spawn") {
        givenUp = true
        continue
      }
      if (closing) throw new CallRefused(contract, method, "closing", begun)
      stopHere()
      throw new CallTimeout(contract, method, within, begun)
    }
    Atomics.wait(memory, words.wake, wake, left)
  }
}

const isClosing = (): boolean => Atomics.load(memory, words.closing) === 1

const isToStop = (): boolean => isClosing() || (!told && isCancelled())

const valueOf = (answer: Answer, contract: string, method: string): unknown => {
  switch (answer[0]) {
    case "value":
      return answer[1]
    case "thrown":
      throw decodeThrown(answer[1])
    case "refused":
      // A stop of the pool interrupts what runs for its threads.
      if (answer[1] === "interrupted" && isClosing()) throw new CallRefused(contract, method, "closing", true)
      throw new CallRefused(contract, method, answer[1])
  }
}

/** Throws in a call that is cancelled, once. A timer gets the error as well, and leaves it to the call. */
const stopHere = (): void => {
  if (takeCancel()) throw new Cancelled()
}

const answerTo = (question: number): Answer | undefined => {
  const state = stateIn(Atomics.load(memory, words.answer), question)
  if (state !== slotStates.inFrame) {
    return hasReturned(state) ? ["value", returnedIn(state, numbers, answerSlot)] : undefined
  }
  // The last one: what lies before it answers questions that were given up.
  let answer: Answer
  for (let received = receiveMessageOnPort(answers); received !== undefined; received = receiveMessageOnPort(answers)) {
    answer = received.message as Answer
  }
  return answer!
}

/** Takes a question back; `false` when the main thread has begun with it, and then what is called is to stop. */
const withdraw = (question: number, how: AskKind): boolean => {
  const open = openQuestion(question)
  if (Atomics.compareExchange(memory, words.question, open, 0) === open) return true
  if (how === "call") port.postMessage([toMain.withdraw, slot, question])
  return false
}

const takeCancel = (): boolean => {
  if (told || !isCancelled()) return false
  told = !inTimer
  return true
}

const call: RunningCall = {
  isCancelled,
  takeCancel,
  runTimer: (f) => {
    inTimer = true
    try {
      f()
    } finally {
      inTimer = false
    }
  },
  info,
  log,
  progress: () => {
    const mine = sequence
    return (value) => {
      if (sequence === mine && slot >= 0) tell([toMain.progress, slot, value])
    }
  },
  ask
}

thread.current = call

// -----------------------------------------------------------------------------
// Loading
// -----------------------------------------------------------------------------

/** What each number stands for, or the loading of it. */
const functions: Array<Loaded | Promise<void>> = []
const names: Array<string> = []

/** How many of them load. */
let loads = 0

const define = ([, id, module, name]: DefineFrame): void => {
  names[id] = name
  loads++
  functions[id] = load(module, name).then((loaded) => {
    functions[id] = loaded
    loads--
  })
}

const load = async (module: string, name: string): Promise<Loaded> => {
  try {
    await import(module)
    // A thread that is ended writes no cache, so it is written as soon as there is something new.
    compileCache.flushCompileCache()
  } catch (error) {
    return { _tag: "ModuleFailed", error: encodeThrown(error) }
  }
  const declared = thread.functions.get(module)
  return declared?.get(name) ?? { _tag: "FunctionMissing", declared: [...declared?.keys() ?? []] }
}

// -----------------------------------------------------------------------------
// Running
// -----------------------------------------------------------------------------

/** What has come while a call was still running or a module loading. Each gives whether the next one must wait. */
const later: Array<() => boolean> = []
let waiting = false

/** What runs has ended. */
const goOn = (): void => {
  waiting = false
  while (!waiting) {
    const step = later.shift()
    if (step === undefined) return
    waiting = step()
  }
}

/** Where it stands whether the call that waits for its module was taken back, and what stands there while it was not. */
let loading: { readonly word: number; readonly queued: number } | undefined

/** A call that was taken back holds up nobody, also when its module never loads. */
const leaveLoading = (): void => {
  if (loading === undefined || Atomics.load(memory, loading.word) === loading.queued) return
  loading = undefined
  goOn()
}

/** Runs a call, unless it was taken back. `true` when it goes on after this turn. */
const run = (at: number, number: number, id: number, args: ReadonlyArray<unknown>): boolean => {
  const loaded = functions[id]
  const queued = slotWord(number, slotStates.queued)
  const word = words.slots + at
  if (loaded instanceof Promise) {
    if (Atomics.load(memory, word) !== queued) return false
    const mine = loading = { word, queued }
    void loaded.then(() => {
      if (loading !== mine) return
      loading = undefined
      if (!run(at, number, id, args)) goOn()
    })
    return true
  }
  if (Atomics.compareExchange(memory, word, queued, slotWord(number, slotStates.running)) !== queued) return false
  begun = number
  if (typeof loaded !== "function") {
    port.postMessage([toMain.failed, at, loaded])
    return false
  }
  slot = at
  sequence = number
  running = names[id]!
  told = false
  quiet = true
  let result: unknown
  let goesOn: boolean
  try {
    result = loaded(...args as Array<never>)
    goesOn = isPromiseLike(result)
  } catch (error) {
    fail(error)
    return false
  }
  // Outside of the `try`: what is answered cannot fail any more.
  if (goesOn) void Promise.resolve(result).then(answer, fail).then(goOn)
  else answer(result)
  return goesOn
}

const isPromiseLike = (value: unknown): boolean =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

const end = (answered: unknown): number => {
  endTransfer(answered)
  const at = slot
  slot = -1
  sequence = 0
  return at
}

const news = [toMain.news]

const answer = (value: unknown): void => {
  const returned = quiet ? stateOfReturned(value) : undefined
  if (returned !== undefined) return answerInSlot(value, returned)
  const transfer = transferOf(value)
  const at = end(value)
  try {
    if (transfer === undefined) port.postMessage([toMain.returned, at, value])
    else port.postMessage([toMain.returned, at, value], transfer)
  } catch (error) {
    port.postMessage([toMain.failed, at, { _tag: "NotCloneable", problem: textOf(error) } satisfies Failure])
  }
}

const answerInSlot = (value: unknown, returned: number): void => {
  const word = slotWord(sequence, returned)
  const at = end(value)
  if (returned === slotStates.returnedNumber) numbers[at] = value as number
  Atomics.store(memory, words.slots + at, word)
  // The main thread says that it looks before it does, so what it misses is told anew.
  if (Atomics.exchange(memory, words.news, 1) === 0) port.postMessage(news)
}

const fail = (error: unknown): void => {
  const at = end(undefined)
  port.postMessage([toMain.failed, at, { _tag: "Threw", error: encodeThrown(error) } satisfies Failure])
}

/** Reads for whom the next calls run. Gives how much of the frame that was. */
const readMeta = (mark: number, frame: ReadonlyArray<string>, at: number): number => {
  const task = frame[at]!
  if (mark === marks.task) {
    meta = { ...meta, task }
    return 2
  }
  meta = {
    task,
    app: frame[at + 1]!,
    level: frame[at + 2]!,
    traceparent: frame[at + 3]!,
    annotations: frame[at + 4]!
  }
  return 6
}

/** Runs the calls of a batch from `index` on. */
const runBatch = (frame: BatchFrame, index: number): boolean => {
  let at = index
  while (at < frame.length) {
    const mark = frame[at] as number
    if (mark < 0) {
      at += readMeta(mark, frame as ReadonlyArray<string>, at + 1)
      continue
    }
    const count = frame[at + 3] as number
    const next = at + 4 + count
    const goesOn = run(
      frame[at] as number,
      frame[at + 1] as number,
      frame[at + 2] as number,
      frame.slice(at + 4, next)
    )
    if (goesOn) {
      if (next < frame.length) later.unshift(() => runBatch(frame, next))
      return true
    }
    at = next
  }
  return false
}

const receive = (frame: DefineFrame | CallFrame | BatchFrame): void => {
  switch (frame[0]) {
    case toThread.define:
      return define(frame as DefineFrame)
    case toThread.sign:
      leaveLoading()
      return port.postMessage([toMain.sign, loads > 0, begun, slot])
    default:
      // In the order in which they came: what is behind a call that still runs waits for it.
      if (waiting) later.push(() => step(frame))
      else waiting = step(frame)
  }
}

const step = (frame: CallFrame | BatchFrame): boolean => {
  if (frame[0] !== toThread.call) return runBatch(frame as BatchFrame, 1)
  const [, at, number, id, args] = frame as CallFrame
  return run(at, number, id, args)
}

// -----------------------------------------------------------------------------
// Output
// -----------------------------------------------------------------------------

/** The error of Node's own streams for the same mistake. */
class NotWritable extends TypeError {
  readonly code = "ERR_INVALID_ARG_TYPE"
  constructor(chunk: unknown) {
    super(`A stream writes a string or a Uint8Array, not ${typeof chunk === "object" ? "an object" : typeof chunk}`)
  }
}

const textOrBytes = (chunk: string, encoding: unknown): string | Uint8Array =>
  typeof encoding === "string" ? Buffer.from(chunk, encoding as BufferEncoding) : chunk

const bytesOf = (chunk: ArrayBufferView): Uint8Array =>
  chunk instanceof Uint8Array ? chunk : new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)

// The streams of a thread are drained by its event loop: what it writes before it blocks would be lost. Frames are not.
const redirect = (stream: NodeJS.WriteStream, fd: 1 | 2): void => {
  const write = (
    chunk: string | Uint8Array,
    encoding?: BufferEncoding | ((error?: Error | null) => void),
    callback?: (error?: Error | null) => void
  ): boolean => {
    // Here, where the mistake is: the main thread can only write what a stream takes.
    if (typeof chunk !== "string" && !ArrayBuffer.isView(chunk)) throw new NotWritable(chunk)
    tell([toMain.output, fd, typeof chunk === "string" ? textOrBytes(chunk, encoding) : bytesOf(chunk)])
    const written = typeof encoding === "function" ? encoding : callback
    if (written !== undefined) process.nextTick(written)
    return true
  }
  stream.write = write
}

redirect(process.stdout, 1)
redirect(process.stderr, 2)

// -----------------------------------------------------------------------------
// Begin
// -----------------------------------------------------------------------------

// After the first frame of a turn the others are taken without a turn of the event loop for each.
port.on("message", (frame: ReadonlyArray<unknown>) => {
  receive(frame)
  for (let more = receiveMessageOnPort(port); more !== undefined; more = receiveMessageOnPort(port)) {
    receive(more.message as ReadonlyArray<unknown>)
  }
})

// What cannot be read may be a call, which would wait for ever. The pool sees the end of a thread.
port.on("messageerror", (error: Error) => {
  throw error
})

port.postMessage([toMain.ready])
