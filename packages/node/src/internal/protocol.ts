/**
 * What the main thread and the threads of a pool say to each other.
 *
 * Frames are tuples that begin with a number. Both sides are built from this
 * file, so no version of it meets another. Threads load it, so it imports only types.
 *
 * Shared memory holds what must be seen at once, also by a thread that reads no
 * frames: whether its call is cancelled, and which of the calls that were sent
 * ahead may still begin.
 */
import type { AskKind, LogLevel } from "@ambit/core/BlockingFunction"
import type { MessagePort } from "node:worker_threads"

/** How many calls a thread may have been sent and not answered. */
export const slotCount = 64

/**
 * How many frames, beside the ends of calls, a thread may have sent and the main thread not read. What is read makes room in
 * the next turn of the event loop, and most questions at once, so a thread that talks without end takes a bounded part of each.
 */
export const mostUnread = 128

/** The words of the shared memory. */
export const words = {
  /** Goes up whenever a thread that waits for the main thread should look. */
  wake: 0,
  /** Set when the thread is to end: nobody answers any more. */
  closing: 1,
  /** What the thread asks for: the number of the question, and whether the main thread has begun with it. */
  question: 2,
  /** How many frames the thread has sent for which there is no room again. */
  unread: 3,
  /** Whether the main thread has been told that there are answers in the slots, and has not looked since. */
  news: 4,
  /** What the thread has asked for last is answered: the number of the question, and what it gave, as in a slot. */
  answer: 5,
  /** The first of the slots. */
  slots: 6
} as const

/** Where the numbers that calls have returned begin, one for each slot, and how long the memory is. Both in bytes. */
export const numbersAt = (words.slots + slotCount) * 4
export const memorySize = numbersAt + (slotCount + 1) * 8

/** Behind them is the number that answers a question. */
export const answerSlot = slotCount

/**
 * A slot says what became of the call in it. The number of the call is part of
 * the word, so a late look at a slot that is used again is no mistake.
 * A thread begins a call by Queued → Running, the main thread takes one back by
 * Queued → Revoked: one of the two succeeds. The main thread tells one that runs to
 * stop by Running → Cancelled, each in its own slot.
 *
 * A call that has sent nothing, and returns what fits here, answers with its slot:
 * that costs a fraction of a frame, and is there for the main thread also when the
 * thread is ended in the next moment.
 */
export const slotStates = {
  queued: 0,
  running: 1,
  revoked: 2,
  cancelled: 3,
  returnedUndefined: 4,
  returnedNull: 5,
  returnedFalse: 6,
  returnedTrue: 7,
  /** The number stands beside the slots. */
  returnedNumber: 8,
  /** Only of a question: its answer is a frame, and has been sent. */
  inFrame: 9
} as const

const stateBits = 4
const stateMask = 0xf
const sequenceMask = 0x7ffffff

export const slotWord = (sequence: number, state: number): number => (sequence << stateBits) | state

/** What a word says of a call, or -1 when it is about another one. */
export const stateIn = (word: number, sequence: number): number =>
  word >> stateBits === sequence ? word & stateMask : -1

/** The state that says what a call has returned, if there is one. */
export const stateOfReturned = (value: unknown): number | undefined => {
  switch (typeof value) {
    case "number":
      return slotStates.returnedNumber
    case "undefined":
      return slotStates.returnedUndefined
    case "boolean":
      return value ? slotStates.returnedTrue : slotStates.returnedFalse
    default:
      return value === null ? slotStates.returnedNull : undefined
  }
}

export const hasReturned = (state: number): boolean =>
  state >= slotStates.returnedUndefined && state <= slotStates.returnedNumber

/** What such a state says. */
export const returnedIn = (state: number, numbers: Float64Array, slot: number): unknown => {
  switch (state) {
    case slotStates.returnedNumber:
      return numbers[slot]
    case slotStates.returnedFalse:
      return false
    case slotStates.returnedTrue:
      return true
    default:
      return state === slotStates.returnedNull ? null : undefined
  }
}

export const nextSequence = (sequence: number): number => {
  const next = (sequence + 1) & sequenceMask
  // No call has the number 0: it is that of a thread which runs none.
  return next === 0 ? 1 : next
}

/** Whether a call is not later than another one of the same thread. The numbers begin anew after a long time. */
export const isUpTo = (sequence: number, last: number): boolean =>
  ((last - sequence) & sequenceMask) <= sequenceMask >> 1

/** Main thread → thread. */
export const toThread = { define: 0, call: 1, batch: 2, sign: 3 } as const

/** What stands in a batch where a call has its slot, when the calls after it are for somebody else. */
export const marks = { meta: -1, task: -2 } as const

/** Thread → main thread. */
export const toMain = {
  ready: 0,
  returned: 1,
  failed: 2,
  progress: 3,
  log: 4,
  output: 5,
  ask: 6,
  sign: 7,
  news: 8,
  method: 9,
  withdraw: 10
} as const

/** How a thread asks, as a number: text costs as much as all the rest of a question. */
export const askKinds = { call: 0, post: 1, spawn: 2 } as const satisfies Record<AskKind, number>

/** How many methods have a number of a thread at most. After that many it numbers them anew. */
export const mostMethods = 1024

/** A module and a function get a short number on first use. */
export type DefineFrame = readonly [kind: 0, id: number, module: string, name: string]
/** For whom calls run. */
export interface Meta {
  readonly task: string
  readonly app: string
  readonly level: string
  readonly traceparent: string
  readonly annotations: string
}
export type CallFrame = readonly [
  kind: 1,
  slot: number,
  sequence: number,
  id: number,
  args: ReadonlyArray<unknown>
]
/**
 * Many calls with primitive arguments: slot, sequence, id, how many arguments, the arguments, and so on. Between them, for
 * whom the next ones run: a mark, and the five texts, or the task alone.
 */
export type BatchFrame = ReadonlyArray<unknown>

/** Why a call failed on the thread's side. */
export type Failure =
  | { readonly _tag: "Threw"; readonly error: Thrown }
  | { readonly _tag: "ModuleFailed"; readonly error: Thrown }
  | { readonly _tag: "FunctionMissing"; readonly declared: ReadonlyArray<string> }
  | { readonly _tag: "NotCloneable"; readonly problem: string }

/** Something thrown, as it travels; see `thrown.ts`. */
export interface Thrown {
  readonly name: string
  readonly message: string
  readonly stack: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly cause: Thrown | undefined
  /** What was thrown if it was no error, and can be cloned. */
  readonly value: unknown
  readonly isError: boolean
}

export type ReadyFrame = readonly [kind: 0]
/**
 * It reads its frames, and is held up by no call that was taken back; what it still loads may hold it up later. All
 * calls up to `begun` have begun, and but for the one in `slot` they are answered.
 */
export type SignFrame = readonly [kind: 7, loading: boolean, begun: number, slot: number]
/** Calls have answered with their slots. */
export type NewsFrame = readonly [kind: 8]
export type ReturnedFrame = readonly [kind: 1, slot: number, value: unknown]
export type FailedFrame = readonly [kind: 2, slot: number, failure: Failure]
export type ProgressFrame = readonly [kind: 3, slot: number, value: unknown]
export type LogFrame = readonly [
  kind: 4,
  slot: number,
  level: LogLevel,
  message: string,
  annotations: Readonly<Record<string, unknown>>
]
export type OutputFrame = readonly [kind: 5, fd: 1 | 2, chunk: string | Uint8Array]
export type AskFrame = readonly [
  kind: 6,
  slot: number,
  how: (typeof askKinds)[AskKind],
  question: number,
  method: number,
  /** Whether its call knows that it is to stop: then it is clean-up that asks. */
  told: boolean,
  ...args: ReadonlyArray<unknown>
]
/** Takes a question back that the main thread has begun with. */
export type WithdrawFrame = readonly [kind: 10, slot: number, question: number]
/** A method gets a short number on first use. */
export type MethodFrame = readonly [kind: 9, id: number, contract: string, method: string]
export type ToMain =
  | NewsFrame
  | SignFrame
  | ReadyFrame
  | ReturnedFrame
  | FailedFrame
  | ProgressFrame
  | LogFrame
  | OutputFrame
  | AskFrame
  | WithdrawFrame
  | MethodFrame

/** Main thread → a thread that waits in `Thread.call` or `Thread.spawn`. */
export type Answer =
  | readonly [how: "value", value: unknown]
  | readonly [how: "thrown", error: Thrown]
  | readonly [how: "refused", why: "interrupted" | "notOffered" | "noScope"]

/** A question in the shared memory: open until one side takes it. */
export const openQuestion = (question: number): number => question << 1
export const takenQuestion = (question: number): number => (question << 1) | 1

/** What a thread is started with. */
export interface ThreadData {
  readonly ambit: 1
  readonly pool: string
  readonly thread: string
  readonly memory: SharedArrayBuffer
  readonly port: MessagePort
  readonly answers: MessagePort
}

export const isPrimitive = (value: unknown): boolean =>
  value === null || (typeof value !== "object" && typeof value !== "function" && typeof value !== "symbol")
