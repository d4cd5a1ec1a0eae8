/**
 * One call in a pool.
 *
 * Invariant: a job goes Queued → Sent → Done, or Sent → Queued when it is taken
 * back from a thread. In Sent it has a slot of its thread; in Queued it is in the
 * queue of the pool. `pool.ts` and `poolThread.ts` move it.
 */
import type { BlockingError, CallEnd, CallState, Job, Request, TimedOut } from "@ambit/core/Blocking"
import type * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Handler } from "./offers.ts"
import type { PoolImpl } from "./pool.ts"
import type { PoolThread } from "./poolThread.ts"
import type { Timer } from "./realTime.ts"

/** What a thread waits for. */
export interface Question {
  readonly number: number
  readonly what: string
}

/** Who may wait for an effect of the main thread: a job, or the timers of a thread. */
export interface Asker {
  readonly name: string
  /** What it waits for, while it does. */
  question: Question | undefined
  /** The question that it works for. */
  readonly parent: Errand | undefined
  /** The jobs that effects of this one wait for. */
  children: Set<PoolJob> | undefined
  /** In which contexts the effects that it asks for run. Who asks mostly asks more than once. */
  contexts: Map<Handler, Context.Context<never>> | undefined
}

/** A question of somebody, by its number. */
export interface Errand {
  readonly asker: Asker
  readonly question: number
}

let orders = 0

export class PoolJob implements Job, Asker {
  /** One that is always left: code that was compiled for jobs lasts as long as there is one. */
  static readonly kept = new PoolJob(undefined as never, undefined as never, 0.5, undefined)
  readonly pool: PoolImpl
  readonly request: Request
  /** Real milliseconds. */
  readonly since: number
  /** Its place among all calls. */
  readonly order = ++orders
  phase: "Queued" | "Sent" | "Done" = "Queued"
  /** Nobody waits for it any more. */
  cancelled = false
  /** What is answered, or what became of it, once it is done. */
  exit: Exit.Exit<unknown, BlockingError> | undefined = undefined
  end: CallEnd | undefined = undefined
  thread: PoolThread | undefined = undefined
  slot = -1
  sequence = 0
  /** When its function was told to stop, in real milliseconds, and when its thread is ended, if it has not ended by then. */
  toldAt: number | undefined = undefined
  graceEnds = Infinity
  graceTimer: Timer = undefined
  question: Question | undefined = undefined
  /** What runs on the main thread for it, by name: the effect of its question, and those of questions that were taken back. */
  effects: Map<Fiber.Fiber<unknown, unknown>, string> | undefined = undefined
  parent: Errand | undefined
  /** How many threads have ended before it, or any other call, began on them. */
  threadsLost = 0
  children: Set<PoolJob> | undefined = undefined
  contexts: Map<Handler, Context.Context<never>> | undefined = undefined
  /** Whether a warning has told that it runs for long. */
  stallTold = false
  // The queue is a list through the jobs, so that a cancelled one leaves at once.
  previous: PoolJob | undefined = undefined
  next: PoolJob | undefined = undefined

  constructor(pool: PoolImpl, request: Request, since: number, parent: Errand | undefined) {
    this.pool = pool
    this.request = request
    this.since = since
    this.parent = parent
    if (parent !== undefined) (parent.asker.children ??= new Set()).add(this)
  }

  get name(): string {
    return this.request.reference.name
  }

  get grace(): number {
    return this.request.options.grace ?? this.pool.settings.grace
  }

  /** Whether its arguments are gone once it was sent: what is moved to a thread cannot be sent to another one. */
  get moves(): boolean {
    return this.request.options.transfer.length > 0
  }

  get isRunning(): boolean {
    return this.thread !== undefined && this.thread.hasBegun(this)
  }

  state(): CallState {
    if (this.phase === "Done") return { _tag: "Done" }
    return this.isRunning ? { _tag: "Running", thread: this.thread!.name } : { _tag: "Queued" }
  }

  cancel(within: number): void {
    this.pool.cancel(this, within)
  }

  timedOut(): TimedOut["state"] {
    this.pool.tellTimeout(this)
    if (this.phase !== "Done") return "running"
    return this.end?._tag === "NeverStarted" ? "queued" : "ended"
  }
}

/**
 * Whether somebody waits, through effects of the main thread, for one that cannot
 * begin. `pools` are those of which it is known that nobody goes on there but by
 * this very job.
 */
export const waitsForQueue = ({ children, question }: Asker, pools: ReadonlySet<PoolImpl>): boolean => {
  if (question === undefined || children === undefined) return false
  for (const child of children) {
    // What an earlier question left behind is not waited for.
    if (child.parent?.question !== question.number) continue
    const waits = child.isRunning
      ? waitsForQueue(child, pools)
      : pools.has(child.pool) || child.pool.nobodyGoesOn(new Set([...pools, child.pool]))
    if (waits) return true
  }
  return false
}

/** The first in, first out, from which anybody may leave. */
export class JobQueue {
  first: PoolJob | undefined = undefined
  last: PoolJob | undefined = undefined
  size = 0

  push(job: PoolJob): void {
    job.previous = this.last
    job.next = undefined
    if (this.last === undefined) this.first = job
    else this.last.next = job
    this.last = job
    this.size++
  }

  /** For what was taken back: it gets the place that it had. Only what was taken back as well can be before it. */
  putBack(job: PoolJob): void {
    let before: PoolJob | undefined
    let after = this.first
    while (after !== undefined && after.order < job.order) {
      before = after
      after = after.next
    }
    job.previous = before
    job.next = after
    if (before === undefined) this.first = job
    else before.next = job
    if (after === undefined) this.last = job
    else after.previous = job
    this.size++
  }

  remove(job: PoolJob): void {
    if (job.previous === undefined) this.first = job.next
    else job.previous.next = job.next
    if (job.next === undefined) this.last = job.previous
    else job.next.previous = job.previous
    job.previous = undefined
    job.next = undefined
    this.size--
  }

  *[Symbol.iterator](): Generator<PoolJob> {
    for (let job = this.first; job !== undefined; job = job.next) yield job
  }
}
