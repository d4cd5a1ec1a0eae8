/**
 * The pool: who runs where, and when.
 *
 * A call comes in (`submit`), waits in the queue or is sent to a thread
 * (`pump`), and is answered (`settle`). A busy thread is sent calls ahead, so that
 * it need not be woken for each; what it has not begun can be taken back at any
 * time, for an idle thread, a cancel or a kill.
 *
 * Invariants
 * - Everything here happens in one turn of the main thread at a time, and every
 *   step leaves the counts right. (node/stress.test.ts)
 * - A thread is in `threads` as long as it may be sent calls. What leaves is
 *   replaced at once; it is waited for beside the pool. One that does not get to its
 *   calls is found as soon as somebody gives up a call there. (node/lost.test.ts)
 * - When a close is done, everybody who waited for a call has been told, and no
 *   question of a thread begins any more. (node/ask.test.ts)
 * - Of what tells a call to stop, the shortest time counts. (node/stop.test.ts)
 * - To end a thread: take back what it has not begun, read its frames, look
 *   whether the call has ended, and only then end it. (node/kill.test.ts)
 */
import {
  BlockingError,
  type BlockingReason,
  type CallEnd,
  FunctionMissing,
  FunctionThrew,
  ModuleFailed,
  NotCloneable,
  type PoolStatus,
  PoolStopped,
  QueueFull,
  type Request,
  ThreadDied,
  WouldDeadlock
} from "@ambit/core/Blocking"
import type * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type { ResourceLimits } from "node:worker_threads"
import { answerQuestion, endQuestion, whenQuiet, withdrawQuestion } from "./ask.ts"
import { FunctionTable } from "./functionTable.ts"
import { JobQueue, PoolJob, waitsForQueue } from "./job.ts"
import { errandIn } from "./offers.ts"
import { type Caller, callerIn, type HeardFrame, isSameCaller, metaOf, PoolThread } from "./poolThread.ts"
import { type AskFrame, askKinds, type Failure, type Meta, type SignFrame, toMain } from "./protocol.ts"
import { after, afterIfAlive, cancelTimer, isDoneWithin, realNow, type Timer } from "./realTime.ts"
import { say } from "./say.ts"
import { decodeThrown, textOf } from "./thrown.ts"

/** The options of a pool, read and in milliseconds. */
export interface PoolSettings {
  readonly name: string
  readonly min: number
  readonly max: number
  readonly spare: boolean
  readonly capacity: number
  readonly whenFull: "wait" | "fail"
  readonly grace: number
  readonly idleAfter: number
  readonly stopWithin: number
  readonly resourceLimits: ResourceLimits | undefined
  readonly saturation: { readonly threshold: number; readonly every: number } | undefined
  readonly stalledAfter: number
  /** Whether it is the thread of a synchronous app, which has one. */
  readonly ofApp?: boolean
  /** How long a thread that was sent a call which is cancelled may read nothing, as when it loads or a timer of it runs. */
  readonly signWithin: number
}

const referenceOf = ({ reference }: Request) => ({ function: reference.name, module: reference.module })

const failed = (reason: BlockingReason) => Exit.fail(new BlockingError({ reason }))

const reasonOf = (request: Request, failure: Failure): BlockingReason => {
  const reference = referenceOf(request)
  switch (failure._tag) {
    case "Threw":
      return new FunctionThrew({ ...reference, error: decodeThrown(failure.error) })
    case "ModuleFailed":
      return new ModuleFailed({ ...reference, error: decodeThrown(failure.error) })
    case "FunctionMissing":
      return new FunctionMissing({ ...reference, declared: failure.declared })
    case "NotCloneable":
      return new NotCloneable({ ...reference, value: "result", problem: failure.problem })
  }
}

const hasRun = ({ _tag }: Failure): boolean => _tag !== "ModuleFailed" && _tag !== "FunctionMissing"

/** So many threads in a row may end before they are ready; then it is not bad luck. */
const failedStarts = 3

/** Milliseconds after which a spare thread that was used is replaced. One that has died takes twice as long each time. */
const spareAfter = 20
const spareAfterAtMost = 30_000

/** How often it is looked whether a thread gets to its calls, in the time that it has for a sign. */
const looks = 5

/** Milliseconds that the end of a thread waits for its stack, where the stop of the pool leaves time for it. */
const stackAtMost = 150

/** A pool that is full for a moment is well used; only for longer it is worth a word. */
const saturatedAfter = 100

export class PoolImpl {
  readonly settings: PoolSettings
  /** The context the pool was made in: the loggers of what it says by itself. */
  readonly context: Context.Context<never>
  /** Hears of each thread that was lost with what it had in memory; with that, none is ended for a call that never began. */
  private readonly onLost: (() => void) | undefined
  readonly counts = { completed: 0, failed: 0, cancelled: 0, timedOut: 0, rejected: 0, killed: 0, died: 0 }
  private readonly queue = new JobQueue()
  /** What has been run so far. A new thread loads it before it is asked to. */
  private readonly functions = new FunctionTable()
  private readonly threads: Array<PoolThread> = []
  /** Loaded, idle, and not yet in `threads`. */
  private spare: PoolThread | undefined = undefined
  /** How many spare threads in a row have died, and when there may be another one. */
  private sparesLost = 0
  private spareFrom = 0
  private spareTimer: Timer = undefined
  /** Threads that have left the pool and are being ended. */
  private readonly endings = new Set<PoolThread>()
  private readonly stuck = new Set<PoolThread>()
  private closing = false
  private threadCount = 0
  private startsFailed = 0
  /** Why there could not even be made a thread. */
  private startProblem: unknown = undefined
  private onReady: ((problem: string | undefined) => void) | undefined = undefined
  private lastMeta:
    | { readonly context: Context.Context<never>; readonly caller: Caller; readonly meta: Meta }
    | undefined = undefined
  private saturatedSince: number | undefined = undefined
  private saturationTold = -Infinity
  private saturationTimer: Timer = undefined
  private stallTimer: Timer = undefined
  private idleTimer: Timer = undefined
  private readonly timeoutTold = new Map<string, number>()
  /** Threads of which it is looked whether they get to their calls. */
  private readonly watched = new Set<PoolThread>()
  /** Threads that are ended as soon as they have nothing left. */
  private readonly retiring = new Set<PoolThread>()
  /** What callers are told when the pool has done what it does: their code runs in the very call and may call again. */
  private readonly outbox: Array<PoolJob> = []
  private working = 0
  /** What has ended, and whose effects still run. */
  private readonly quieting = new Set<PoolJob>()
  private closed: Promise<void> | undefined = undefined

  constructor(settings: PoolSettings, context: Context.Context<never>, onLost: (() => void) | undefined) {
    this.settings = settings
    this.context = context
    this.onLost = onLost
  }

  /** Does something to the pool, and then tells those that it concerns. */
  private work(step: () => void): void {
    this.working++
    try {
      step()
    } finally {
      this.working--
    }
    this.tell()
  }

  private tell(): void {
    while (this.working === 0 && this.outbox.length > 0) this.tellOf(this.outbox.shift()!)
  }

  /** The last that a caller hears of a job. What effects of it still do, comes before. */
  private tellOf(job: PoolJob): void {
    if (job.effects === undefined) return lastWord(job)
    this.quieting.add(job)
    whenQuiet(job, () => {
      if (this.quieting.delete(job)) lastWord(job)
    })
  }

  /** Done when no effect of a job that has ended runs any more. */
  private async quiet(): Promise<void> {
    for (const job of this.quieting) {
      // oxlint-disable-next-line no-await-in-loop
      await new Promise<void>((resolve) => whenQuiet(job, resolve))
    }
  }

  // ---------------------------------------------------------------------------
  // In
  // ---------------------------------------------------------------------------

  submit(request: Request): PoolJob {
    const job = new PoolJob(this, request, realNow(), errandIn(request.context))
    // As `work`, without a closure for each call.
    this.working++
    try {
      this.takeIn(job)
    } finally {
      this.working--
    }
    this.tell()
    return job
  }

  private takeIn(job: PoolJob): void {
    const { request } = job
    if (this.closing) {
      return this.answer(job, failed(this.stopped(job, false)))
    }
    this.queue.push(job)
    this.pump()
    if (job.phase === "Queued" && this.settings.whenFull === "fail" && this.queue.size > this.settings.capacity) {
      this.counts.rejected++
      const { capacity, name } = this.settings
      this.refuse(job, new QueueFull({ ...referenceOf(request), pool: name, capacity }))
    } else if (job.parent !== undefined && job.phase !== "Done" && this.nobodyGoesOn()) {
      const { name, ofApp } = this.settings
      const remedy = ofApp === true ? answerWithoutApp : moreThreads
      this.refuse(job, new WouldDeadlock({ ...referenceOf(request), pool: name, cycle: cycleTo(job), remedy }))
    }
  }

  /** Whether every thread waits for an effect that itself waits for the queue. */
  nobodyGoesOn(pools: ReadonlySet<PoolImpl> = new Set([this])): boolean {
    return this.threads.length >= this.settings.max &&
      this.threads.every(({ sent: [first], timers }) =>
        waitsForQueue(first?.isRunning === true ? first : timers, pools)
      )
  }

  private refuse(job: PoolJob, reason: BlockingReason): void {
    if (this.takeBack(job)) this.answer(job, failed(reason))
  }

  /** Takes a job out of the queue or back from its thread; `false` when it has begun. */
  private takeBack(job: PoolJob): boolean {
    if (job.phase === "Queued") {
      this.queue.remove(job)
      return true
    }
    return job.thread !== undefined && job.thread.revoke(job)
  }

  /** Sends what waits to those who can take it. */
  private pump(): void {
    for (let job = this.queue.first; job !== undefined; job = this.queue.first) {
      const thread = this.threadFor(job)
      if (thread === undefined) break
      this.queue.remove(job)
      this.send(job, thread)
    }
    if (this.startProblem !== undefined) this.tellStartProblem(this.startProblem)
    this.steal()
    this.watch()
  }

  private send(job: PoolJob, thread: PoolThread): void {
    try {
      thread.send(job, this.metaFor(job.request))
    } catch (error) {
      const reason = new NotCloneable({ ...referenceOf(job.request), value: "arguments", problem: String(error) })
      this.answer(job, failed(reason))
    }
  }

  private metaFor({ app, context, task }: Request): Meta {
    const last = this.lastMeta
    if (last?.context === context && last.meta.task === task) return last.meta
    const caller = callerIn(context)
    const meta = last?.meta.app === app && isSameCaller(caller, last.caller)
      ? last.meta.task === task ? last.meta : { ...last.meta, task }
      : metaOf(caller, task, app)
    this.lastMeta = { context, caller, meta }
    return meta
  }

  /** An idle thread, or a new one, or the least busy one that has room. */
  private threadFor(job: PoolJob): PoolThread | undefined {
    let best: PoolThread | undefined
    for (const thread of this.threads) {
      if (thread.sent.length === 0 && thread.state._tag === "Ready") return thread
      if (best === undefined || thread.sent.length < best.sent.length) best = thread
    }
    // What is moved to a thread cannot be taken back, so it waits for one that can begin at once. And a call that may be
    // the one that ends its threads when it is loaded has one for itself.
    const alone = job.moves || job.threadsLost > 0
    if (best?.sent.length === 0) return alone ? undefined : best
    if (this.threads.length < this.settings.max) {
      const added = this.addThread()
      if (added !== undefined) return alone && added.state._tag !== "Ready" ? undefined : added
    }
    return best?.hasRoom === true && !alone && best.sent[0]?.threadsLost === 0 ? best : undefined
  }

  // Calls that were sent ahead to a thread which then took long are for those who have nothing to do.
  private steal(): void {
    if (this.threads.length === 1 || this.queue.size > 0) return
    for (const idle of this.threads) {
      if (idle.sent.length > 0) continue
      let busiest: PoolThread | undefined
      for (const thread of this.threads) {
        if (thread.sent.length > 1 && thread.sent.length > (busiest?.sent.length ?? 0)) busiest = thread
      }
      // The first is the one that runs, so the second has waited for the longest time.
      const job = busiest?.sent[1]
      if (busiest === undefined || job === undefined) return
      if (busiest.revoke(job)) this.send(job, idle)
    }
  }

  // ---------------------------------------------------------------------------
  // Out
  // ---------------------------------------------------------------------------

  /** The last that happens to a job that somebody waits for. */
  private answer(job: PoolJob, exit: Exit.Exit<unknown, BlockingError>): void {
    this.finish(job)
    this.counts[Exit.isSuccess(exit) ? "completed" : "failed"]++
    job.exit = exit
    this.outbox.push(job)
  }

  /** The last that happens to a job that nobody waits for. */
  private leave(job: PoolJob, end: CallEnd): void {
    this.finish(job)
    job.end = end
    this.outbox.push(job)
  }

  private finish(job: PoolJob): void {
    job.phase = "Done"
    if (job.graceTimer !== undefined) cancelTimer(job.graceTimer)
    job.parent?.asker.children?.delete(job)
    job.parent = undefined
    if (job.effects !== undefined || job.question !== undefined) endQuestion(job)
  }

  private settle(thread: PoolThread, job: PoolJob, exit: Exit.Exit<unknown, BlockingError>, hasRun = true): void {
    thread.release(job)
    thread.countAnswer()
    this.startsFailed = 0
    if (hasRun) this.functions.keep(job.request.reference.module, job.request.reference.name)
    if (!job.cancelled) return this.answer(job, exit)
    this.leave(job, { _tag: "Returned" })
  }

  readonly frame = (thread: PoolThread, frame: HeardFrame): void => {
    this.working++
    try {
      this.read(thread, frame)
    } finally {
      this.working--
    }
    this.tell()
  }

  readonly returned = (thread: PoolThread, job: PoolJob, value: unknown): void => {
    this.working++
    try {
      this.settle(thread, job, Exit.succeed(value))
    } finally {
      this.working--
    }
    this.tell()
  }

  private read(thread: PoolThread, frame: HeardFrame): void {
    if (frame[0] === toMain.ready) return this.ready(thread)
    if (frame[0] === toMain.sign) return this.sign(thread, frame)
    if (frame[0] === toMain.output) {
      const chunk = typeof frame[2] === "string" || frame[2] instanceof Uint8Array ? frame[2] : String(frame[2])
      // A reader of the output that is slow must slow down who writes.
      return void (frame[1] === 1 ? process.stdout : process.stderr).write(chunk, () => thread.makeRoom())
    }
    const job = thread.jobAt(frame[1])
    switch (frame[0]) {
      case toMain.returned:
        if (job !== undefined) this.settle(thread, job, Exit.succeed(frame[2]))
        return
      case toMain.failed:
        if (job !== undefined) this.settle(thread, job, failed(this.whyFailed(job, frame[2])), hasRun(frame[2]))
        return
      case toMain.progress:
        thread.makeRoom()
        if (job?.cancelled === false) job.request.progress?.(frame[2])
        return
      case toMain.log:
        thread.makeRoom()
        return say(job?.request.context ?? this.context, frame[2], frame[3], { thread: thread.name, ...frame[4] })
      case toMain.ask:
        if (frame[2] === askKinds.call) thread.makeRoomForNext()
        else thread.makeRoom()
        if (!this.mayAsk(thread, job, frame)) return
        return answerQuestion(this.context, thread, job, frame)
      case toMain.withdraw:
        return withdrawQuestion(thread, job, frame[2])
    }
  }

  private sign(thread: PoolThread, frame: SignFrame): void {
    thread.giveSign(frame[1])
    const unreadable = thread.takeUnreadable(frame)
    if (unreadable === undefined) return
    const problem = textOf(unreadable.problem)
    for (const job of unreadable.jobs) {
      this.settle(thread, job, failed(new NotCloneable({ ...referenceOf(job.request), value: "result", problem })))
    }
    const others = unreadable.frames - unreadable.jobs.length
    if (others <= 0) return
    for (let made = 0; made < others; made++) thread.makeRoom()
    say(this.context, "Warn", `Something that thread ${thread.name} has said cannot be read: ${problem}`, {
      thread: thread.name
    })
  }

  // Who waits on has asked for no stop: it is the pool that stops, and the function that has heard of it.
  private whyFailed(job: PoolJob, failure: Failure): BlockingReason {
    const stopped = job.toldAt !== undefined && !job.cancelled && failure._tag === "Threw" &&
      failure.error.fields["_tag"] === "Cancelled"
    return stopped ? this.stopped(job, true) : reasonOf(job.request, failure)
  }

  private stopped({ request }: PoolJob, started: boolean): BlockingReason {
    return new PoolStopped({ ...referenceOf(request), pool: this.settings.name, started })
  }

  // Whoever is to stop has been woken, and takes its question back by itself.
  private mayAsk(thread: PoolThread, job: PoolJob | undefined, [, , how, , , told]: AskFrame): boolean {
    if (how === askKinds.post) return true
    return !this.closing && isUp(thread) && (job?.toldAt === undefined || told)
  }

  /** Reads what has come of a thread, out of turn. */
  private readAll(thread: PoolThread): void {
    this.work(() => {
      thread.drain()
      this.drained(thread)
    })
  }

  readonly drained = (thread: PoolThread): void =>
    this.work(() => {
      thread.learn(realNow())
      this.endIfDone(thread)
      this.pump()
    })

  // ---------------------------------------------------------------------------
  // Cancelling
  // ---------------------------------------------------------------------------

  cancel(job: PoolJob, within: number): void {
    if (job.phase === "Done") return
    const grace = Math.min(job.grace, within)
    if (job.cancelled) return this.work(() => this.stopWithin(job, grace))
    job.cancelled = true
    this.counts.cancelled++
    this.work(() => {
      const { thread } = job
      if (!this.takeBack(job)) return this.stopWithin(job, grace)
      this.leave(job, { _tag: "NeverStarted" })
      if (thread !== undefined) this.askForSign(thread)
      this.pump()
    })
  }

  // A thread that had not begun what it was sent may sit in a module that never loads, or in a timer that never ends.
  private askForSign(thread: PoolThread): void {
    if (this.onLost !== undefined || !takesCalls(thread)) return
    thread.askForSign()
    if (this.watched.has(thread)) return
    this.watched.add(thread)
    this.watchSign(thread, this.settings.signWithin / looks)
  }

  private watchSign(thread: PoolThread, within: number): void {
    afterIfAlive(within, () => {
      if (thread.isFree || !takesCalls(thread)) this.watched.delete(thread)
      else this.work(() => this.lookForSign(thread))
    })
  }

  private lookForSign(thread: PoolThread): void {
    const { signWithin } = this.settings
    if (!thread.owesSign) thread.askForSign()
    // A call that runs there has a grace of its own, and only after it the thread gets to its frames.
    const busy = thread.state._tag === "Starting" || thread.sent.some((job) => job.isRunning)
    const left = busy ? signWithin : signWithin - thread.silentFor(realNow())
    if (left > 0) return this.watchSign(thread, Math.min(left, signWithin / looks))
    // As in `kill`: none of these may begin while the thread is ended.
    const taken = thread.revokeAll()
    thread.drain()
    if (thread.owesSign && thread.sent.length === 0) {
      this.watched.delete(thread)
      this.counts.killed++
      this.end(thread, undefined, `it did not get to its calls within ${signWithin} ms, ${heldUp}`)
    } else {
      this.watchSign(thread, signWithin / looks)
    }
    this.requeueAll(thread, taken)
    this.pump()
  }

  /** Tells a function that runs to stop, and ends its thread after the grace. Of two graces, the one that ends first counts. */
  private stopWithin(job: PoolJob, grace: number): void {
    const { thread } = job
    if (thread === undefined) return
    thread.tellCancelled(job)
    endQuestion(job)
    const now = realNow()
    job.toldAt ??= now
    if (now + grace >= job.graceEnds) return
    job.graceEnds = now + grace
    cancelTimer(job.graceTimer)
    if (grace <= 0) return this.kill(thread, job)
    // Where it is, is found out while there is time: when the grace is over, the thread has to go.
    job.graceTimer = after(grace / 2, () => {
      thread.look()
      job.graceTimer = after(grace / 2, () => this.work(() => this.kill(thread, job)))
    })
  }

  /** Ends a thread with `job`, unless that has ended; without one, with whatever runs there. */
  private kill(thread: PoolThread, job?: PoolJob): void {
    // First what has not begun, or the thread could begin it while its answer to this one is on the way.
    const taken = thread.revokeAll()
    thread.drain()
    const running = job ?? thread.sent[0]
    if (running !== undefined && running.phase !== "Done" && isUp(thread)) {
      this.counts.killed++
      this.onLost?.()
      this.remove(thread)
      this.end(thread, running, `${running.request.reference.name} ${this.problemOf(running)}`)
    }
    this.endIfDone(thread)
    this.requeueAll(thread, taken)
    this.pump()
  }

  /** A thread that is to go goes as soon as it has nothing left. */
  private endIfDone(thread: PoolThread): void {
    if (thread.state._tag === "Retiring" && thread.sent.length === 0) this.end(thread, undefined)
  }

  /** What a thread had not begun goes back to the front of the queue, in order. */
  private requeueAll(thread: PoolThread, taken: ReadonlyArray<PoolJob>): void {
    for (const job of taken.toReversed()) {
      // The thread has what it had moved there.
      if (job.moves) this.died(job, thread.name, 1, undefined, false)
      else this.requeue(job)
    }
  }

  private requeue(job: PoolJob): void {
    job.phase = "Queued"
    this.queue.putBack(job)
  }

  /** Ends a thread that has left the pool, and `job` with it, if it runs there. With a problem, it says so. */
  private end(thread: PoolThread, job: PoolJob | undefined, problem?: string): void {
    if (!isUp(thread)) return
    thread.state = { _tag: "Ending" }
    this.remove(thread)
    this.retiring.delete(thread)
    this.endings.add(thread)
    void this.ending(thread, job, problem).finally(() => {
      this.endings.delete(thread)
      thread.leave()
    })
  }

  private async ending(thread: PoolThread, job: PoolJob | undefined, problem: string | undefined): Promise<void> {
    const place = problem === undefined ? undefined : await thread.stack(this.stackWithin) ?? (job && placeOf(job))
    thread.drain()
    if (!await thread.terminate()) return this.leaveBehind(thread, job, place)
    thread.state = { _tag: "Gone" }
    if (problem !== undefined && job?.phase !== "Done") {
      const where = place === undefined ? "" : `, ${firstLineOf(place)}`
      say(job?.request.context ?? this.context, "Warn", `Thread ${thread.name} was ended: ${problem}${where}`, {
        thread: thread.name,
        ...(job === undefined ? {} : { function: job.request.reference.name })
      })
    }
    this.cutAll(thread, place)
  }

  /** Why the thread of a job is ended now. */
  private problemOf({ cancelled, graceEnds, toldAt }: PoolJob): string {
    const now = realNow()
    // What it was given, where a timer came a moment early or late.
    const given = Math.round(Math.min(graceEnds, now + 1) - (toldAt ?? now))
    const why = cancelled || this.closing ? "" : " because of the restart of its pool"
    return `did not stop within ${given} ms after it was told to${why}`
  }

  /** The part of a stop that functions get; the rest is for ending their threads. */
  private get functionsWithin(): number {
    return this.settings.stopWithin * 0.6
  }

  /** How long the end of a thread waits for its stack. */
  private get stackWithin(): number {
    return Math.min(stackAtMost, this.settings.stopWithin * 0.2)
  }

  /** A thread that cannot be ended: whoever waits is told, and it is watched, but nobody waits for it. */
  private leaveBehind(thread: PoolThread, job: PoolJob | undefined, place: string | undefined): void {
    this.stuck.add(thread)
    thread.state = { _tag: "Stuck" }
    thread.unref()
    say(
      this.context,
      "Warn",
      `Thread ${thread.name} cannot be ended${place === undefined ? "" : `, ${firstLineOf(place)}`}; ` +
        "it is left behind and replaced",
      { thread: thread.name, stuck: this.stuck.size }
    )
    if (job !== undefined && job.phase !== "Done") {
      if (job.cancelled) job.request.ended({ _tag: "Stuck", stack: place })
      else this.work(() => this.cut(job, place))
    }
    void thread.exited.then(() => {
      this.stuck.delete(thread)
      thread.state = { _tag: "Gone" }
      say(this.context, "Warn", `Thread ${thread.name} ended after all`, {
        thread: thread.name,
        stuck: this.stuck.size
      })
      this.cutAll(thread, place)
    })
  }

  /** Nobody is left without an answer, whatever a thread that has ended was sent. */
  private cutAll(thread: PoolThread, stack: string | undefined): void {
    this.work(() => {
      for (const job of thread.sent.slice()) this.cut(job, stack)
    })
  }

  /** A job whose thread was ended under it. */
  private cut(job: PoolJob, stack: string | undefined): void {
    job.thread?.release(job)
    if (job.cancelled) {
      this.leave(job, { _tag: "Killed", stack })
    } else {
      this.answer(job, failed(this.stopped(job, true)))
    }
  }

  // ---------------------------------------------------------------------------
  // Threads
  // ---------------------------------------------------------------------------

  private startThread(): PoolThread {
    const { name, resourceLimits } = this.settings
    return new PoolThread(
      { pool: name, name: `${name}-${++this.threadCount}`, resourceLimits, functions: this.functions },
      this
    )
  }

  /** A thread that is made, or none when the process may have no more. */
  private tryThread(): PoolThread | undefined {
    try {
      return this.startThread()
    } catch (error) {
      // Whoever sends calls tells those that wait.
      this.startProblem = error
      const { name } = this.settings
      say(this.context, "Warn", `Pool ${name} cannot start a thread: ${textOf(error)}`, { pool: name })
      return undefined
    }
  }

  private addThread(): PoolThread | undefined {
    const thread = this.spare ?? this.tryThread()
    if (this.spare !== undefined) {
      this.spare = undefined
      this.keepSpareIn(spareAfter)
    }
    if (thread !== undefined) this.threads.push(thread)
    return thread
  }

  private fill(): void {
    while (this.threads.length < this.settings.min && this.addThread() !== undefined);
  }

  /** Takes a thread out of the pool, and fills its place. */
  private remove(thread: PoolThread): void {
    const at = this.threads.indexOf(thread)
    if (at < 0) return
    this.threads.splice(at, 1)
    if (!this.closing && this.startsFailed < failedStarts) this.fill()
    // Not now: the thread that takes its place, and the call that runs there, come first.
    this.keepSpareIn(spareAfter)
  }

  private keepSpareIn(millis: number): void {
    if (!this.settings.spare) return
    cancelTimer(this.spareTimer)
    this.spareTimer = afterIfAlive(millis, () => this.keepSpare())
  }

  private keepSpare(): void {
    if (!this.settings.spare || this.spare !== undefined || this.closing || this.startsFailed >= failedStarts) return
    const wait = this.spareFrom - realNow()
    if (wait > 0) this.keepSpareIn(wait)
    else this.spare = this.tryThread()
  }

  // It had no call, so its death says nothing about the calls, or whether threads work that are needed.
  private spareLost(thread: PoolThread): void {
    this.spare = undefined
    const now = realNow()
    if (now - thread.idleSince > spareAfterAtMost) this.sparesLost = 0
    const wait = Math.min(spareAfter * 2 ** ++this.sparesLost, spareAfterAtMost)
    this.spareFrom = now + wait
    this.keepSpareIn(wait)
  }

  private ready(thread: PoolThread): void {
    if (thread.state._tag !== "Starting") return
    thread.state = { _tag: "Ready" }
    thread.heardAt = realNow()
    this.onReady?.(undefined)
    this.onReady = undefined
    this.keepSpare()
  }

  /** A thread has ended, as it was told or by itself. */
  readonly exited = (thread: PoolThread, exitCode: number, error: unknown): void => {
    if (thread.state._tag === "Ending" || thread.state._tag === "Stuck") return
    this.work(() => this.lost(thread, exitCode, error))
  }

  private lost(thread: PoolThread, exitCode: number, error: unknown): void {
    const wasStarting = thread.state._tag === "Starting"
    if (!wasStarting) this.counts.died++
    thread.state = { _tag: "Gone" }
    thread.forgetLoaded()
    if (thread === this.spare) return this.spareLost(thread)
    this.retiring.delete(thread)
    this.onLost?.()
    const sent = thread.sent.slice()
    const begun = sent.filter((job) => thread.hasBegun(job))
    for (const job of sent) thread.release(job)
    for (const job of begun) this.died(job, thread.name, exitCode, error, true)
    const waiting = sent.filter((job) => !begun.includes(job))
    // One of them may have a module that ends its thread when it is loaded. From now on each is sent alone.
    if (begun.length === 0) { for (const job of waiting) job.threadsLost++ }
    // Nobody knows whether threads work at all.
    if (wasStarting || sent.length === 0) this.startsFailed++
    this.remove(thread)
    const guilty = waiting.filter((job) => job.threadsLost >= failedStarts)
    for (const job of guilty) this.died(job, thread.name, exitCode, error, false)
    this.requeueAll(thread, waiting.filter((job) => !guilty.includes(job)))
    if (this.startsFailed >= failedStarts) this.giveUpIfNone(thread.name, exitCode, error)
    this.pump()
  }

  private died(job: PoolJob, thread: string, exitCode: number, error: unknown, started: boolean): void {
    if (job.cancelled) {
      return this.leave(job, { _tag: "Returned" })
    }
    this.answer(job, failed(new ThreadDied({ ...referenceOf(job.request), thread, exitCode, error, started })))
  }

  private tellStartProblem(problem: unknown): void {
    this.startProblem = undefined
    this.giveUpIfNone(`${this.settings.name}-${this.threadCount}`, 1, problem)
  }

  // Threads that end before they are ready would be started for ever. The next call tries again.
  private giveUpIfNone(thread: string, exitCode: number, error: unknown): void {
    if (this.threads.length > 0) return
    this.onReady?.(error instanceof Error ? error.message : `exit code ${exitCode}`)
    this.onReady = undefined
    for (let job = this.queue.first; job !== undefined; job = this.queue.first) {
      this.queue.remove(job)
      this.died(job, thread, exitCode, error, false)
    }
  }

  /** Starts the threads. Done when the first one is up, with the problem if none comes. */
  start(): Promise<string | undefined> {
    const ready = new Promise<string | undefined>((resolve) => {
      this.onReady = resolve
    })
    try {
      while (this.threads.length < Math.max(1, this.settings.min)) this.threads.push(this.startThread())
    } catch (error) {
      // The process is not allowed to have threads.
      return Promise.resolve(error instanceof Error ? error.message : String(error))
    }
    return ready
  }

  // ---------------------------------------------------------------------------
  // Watching
  // ---------------------------------------------------------------------------

  /** How many of the threads for new calls have something to do. */
  private get taken(): number {
    let taken = 0
    for (const thread of this.threads) {
      if (thread.sent.length > 0) taken++
    }
    return taken
  }

  /** Arms the timers that have something to watch. None of them keeps the process. */
  private watch(): void {
    const { taken } = this
    this.watchSaturation(taken)
    if (taken > 0 && this.stallTimer === undefined) this.watchStalls()
    if (this.idleTimer === undefined && this.threads.length > this.settings.min && taken < this.threads.length) {
      this.idleTimer = afterIfAlive(this.untilOf(this.settings.idleAfter, isIdle), this.endIdle)
    }
  }

  private watchStalls(): void {
    const until = this.untilOf(this.settings.stalledAfter, mayStall)
    if (until < Infinity) this.stallTimer = afterIfAlive(until, this.tellStalls)
  }

  /** How long it takes until the first of the threads has been as it is for a time. */
  private untilOf(millis: number, which: (thread: PoolThread) => boolean): number {
    let since = Infinity
    for (const thread of this.threads) {
      if (which(thread)) since = Math.min(since, thread.idleSince)
    }
    return Math.max(0, Math.ceil(since + millis - realNow()))
  }

  private watchSaturation(taken: number): void {
    const { max, saturation } = this.settings
    // A single thread is there to be busy; it is too little when others wait for it.
    const waiting = max > 1 || this.queue.size > 0
    if (saturation === undefined || taken < saturation.threshold * max || !waiting) {
      this.saturatedSince = undefined
      return
    }
    if (this.saturatedSince !== undefined && this.saturationTimer !== undefined) return
    const now = realNow()
    this.saturatedSince ??= now
    const at = Math.max(this.saturatedSince + saturatedAfter, this.saturationTold + saturation.every)
    this.saturationTimer = afterIfAlive(at - now, this.tellSaturation)
  }

  private readonly tellSaturation = (): void => {
    this.saturationTimer = undefined
    const { taken } = this
    if (this.saturatedSince !== undefined && realNow() - this.saturatedSince >= saturatedAfter) {
      this.saturationTold = realNow()
      const { max, name } = this.settings
      say(
        this.context,
        "Warn",
        `Pool ${name} is saturated: ${taken} of ${max} threads are busy, ${this.queue.size} calls wait`,
        {
          pool: name,
          busy: taken,
          size: max,
          queued: this.queue.size
        }
      )
    }
    this.watchSaturation(taken)
  }

  private readonly tellStalls = (): void => {
    this.stallTimer = undefined
    const { stalledAfter } = this.settings
    for (const thread of this.threads) {
      if (!mayStall(thread) || realNow() - thread.idleSince < stalledAfter) continue
      const job = thread.sent[0]!
      const { name } = job.request.reference
      job.stallTold = true
      const what = job.isRunning
        ? `${name} has been running on ${thread.name} for more than ${stalledAfter} ms without a limit`
        : `${name} has been waiting on ${thread.name} for more than ${stalledAfter} ms, ${heldUp}`
      say(job.request.context, "Warn", what, { thread: thread.name, function: name })
    }
    this.watch()
  }

  private readonly endIdle = (): void => {
    this.idleTimer = undefined
    const { idleAfter, min } = this.settings
    for (const thread of this.threads.slice()) {
      if (this.threads.length <= min) break
      if (thread.sent.length === 0 && realNow() - thread.idleSince >= idleAfter) this.end(thread, undefined)
    }
    this.watch()
  }

  /** Counts a call that took longer than its limit; one function is told once a minute. */
  tellTimeout(job: PoolJob): void {
    this.counts.timedOut++
    // It may have ended in this moment: then its answer lies here, and nobody has read it.
    if (job.thread !== undefined) this.readAll(job.thread)
    const { module, name } = job.request.reference
    const now = realNow()
    const key = `${name} ${module}`
    if (now - (this.timeoutTold.get(key) ?? -Infinity) < timeoutToldEvery) return
    this.timeoutTold.set(key, now)
    say(job.request.context, "Warn", `${name} did not end within its limit of ${job.request.options.timeout} ms`, {
      function: name,
      pool: this.settings.name
    })
  }

  status(): PoolStatus {
    const now = realNow()
    const up = [...this.threads, ...this.retiring]
    const sent = up.flatMap((thread) => thread.sent)
    const leaving = [...this.endings, ...this.stuck].flatMap((thread) => thread.sent)
    return {
      ...this.counts,
      name: this.settings.name,
      size: this.settings.max,
      threads: up.length,
      busy: up.filter((thread) => thread.sent.some((job) => job.isRunning)).length,
      stuck: this.stuck.size,
      queued: this.queue.size + sent.filter((job) => !job.isRunning).length,
      calls: [...this.quieting, ...leaving, ...sent, ...this.queue].map((job) => ({
        function: job.request.reference.name,
        module: job.request.reference.module,
        task: job.request.task,
        state: job.state(),
        age: now - job.since
      }))
    }
  }

  // ---------------------------------------------------------------------------
  // Stopping
  // ---------------------------------------------------------------------------

  /** Replaces all threads. Done when the old ones have ended. */
  async restart(): Promise<void> {
    if (this.closing) return
    const old = [...this.threads, ...(this.spare === undefined ? [] : [this.spare])]
    this.spare = undefined
    this.work(() => {
      this.threads.length = 0
      // What a call has moved to a thread is there, and so it runs there.
      const taken = old.flatMap((thread) => [...thread.sent].filter((job) => !job.moves && thread.revoke(job)))
      this.fill()
      for (const job of taken.toReversed()) this.requeue(job)
      this.pump()
    })
    await this.retire(old)
  }

  /** Ends threads when they have nothing left, and those that do not get there within the limit. */
  private async retire(threads: ReadonlyArray<PoolThread>): Promise<void> {
    const { stopWithin } = this.settings
    const timers = threads.flatMap((thread) => {
      if (thread.sent.length === 0) {
        this.end(thread, undefined)
        return []
      }
      if (isUp(thread)) {
        thread.state = { _tag: "Retiring" }
        this.retiring.add(thread)
      }
      const whole = this.functionsWithin
      // Of what was sent, one runs, and the answers of the others are on the way.
      const grace = Math.min(whole / 2, Math.max(...thread.sent.map((job) => job.grace)))
      return [
        after(whole - grace, () => this.work(() => this.stopAll(thread, grace))),
        after(whole, () => this.work(() => this.kill(thread)))
      ]
    })
    await isDoneWithin(Promise.all(threads.map((thread) => thread.left)), stopWithin)
    for (const timer of timers) cancelTimer(timer)
  }

  private stopAll(thread: PoolThread, within: number): void {
    // What was left to a thread since its arguments have moved there, and has not begun, is not to begin any more.
    for (const job of thread.revokeAll()) this.answer(job, failed(this.stopped(job, false)))
    for (const job of thread.sent.slice()) this.stopWithin(job, Math.min(job.grace, within))
    this.endIfDone(thread)
  }

  /** Nothing begins any more. Done when all threads have ended, or the limit is over. */
  close(): Promise<void> {
    return this.closed ??= this.stop()
  }

  private async stop(): Promise<void> {
    this.closing = true
    this.onReady?.("it was closed")
    this.onReady = undefined
    for (const timer of [this.idleTimer, this.stallTimer, this.saturationTimer, this.spareTimer]) cancelTimer(timer)
    const { stopWithin } = this.settings
    const threads = [...this.threads, ...this.retiring, ...(this.spare === undefined ? [] : [this.spare])]
    this.spare = undefined
    this.work(() => {
      this.threads.length = 0
      const waiting = [...this.queue]
      for (const job of waiting) this.queue.remove(job)
      for (const job of [...threads.flatMap((thread) => thread.revokeAll()), ...waiting]) {
        this.answer(job, failed(this.stopped(job, false)))
      }
      for (const thread of threads) {
        thread.close()
        this.stopAll(thread, this.functionsWithin)
      }
    })
    const leaving = [...this.endings].map((thread) => thread.left)
    const ended = Promise.all([this.retire(threads), ...leaving])
    await isDoneWithin(ended.then(() => this.quiet()), stopWithin)
    this.tellLeft(this.stuck, "could not be ended")
    this.tellLeft(this.endings, "had not ended by then")
    this.answerLeft()
  }

  private tellLeft(threads: ReadonlySet<PoolThread>, what: string): void {
    if (threads.size === 0) return
    const { name } = this.settings
    const left = [...threads].map((thread) => thread.name)
    say(this.context, "Warn", `Pool ${name} stopped, but ${left.join(", ")} ${what}`, { pool: name, left })
  }

  /** The limit of the stop is over: nobody waits for it any longer. */
  private answerLeft(): void {
    this.work(() => {
      for (const job of [...this.endings].flatMap((thread) => thread.sent.slice())) {
        // Who has cancelled hears of the end of the thread.
        if (!job.cancelled) this.cut(job, undefined)
      }
    })
    for (const job of this.quieting) {
      this.quieting.delete(job)
      const { context, reference } = job.request
      const { name } = this.settings
      const left = [...job.effects?.values() ?? []]
      const what = `${left.join(", ")} of ${reference.name}`
      say(context, "Warn", `Pool ${name} stopped, but ${what} cannot be interrupted and still runs`, {
        pool: name,
        function: reference.name,
        left
      })
      lastWord(job)
    }
  }
}

const lastWord = ({ end, exit, request }: PoolJob): void => {
  if (exit !== undefined) request.answered(exit)
  else if (end !== undefined) request.ended(end)
}

/** Whether a thread is one that calls are sent to. */
const takesCalls = ({ state: { _tag } }: PoolThread): boolean => _tag === "Starting" || _tag === "Ready"

const isIdle = ({ sent }: PoolThread): boolean => sent.length === 0

/** Whether a thread has a call without a limit of which no warning has told. */
const mayStall = ({ sent: [first] }: PoolThread): boolean =>
  first !== undefined && !first.stallTold && first.request.options.timeout === undefined

/** Whether a thread may be ended: nobody has begun to. */
const isUp = ({ state: { _tag } }: PoolThread): boolean =>
  _tag === "Starting" || _tag === "Ready" || _tag === "Retiring"

/** What else than a call can keep a thread busy. */
const heldUp = "held up by a module that loads or by a timer"

const timeoutToldEvery = 60_000

const firstLineOf = (place: string | undefined): string => place?.split("\n")[0] ?? ""

/** What is always known of where a thread is. */
const placeOf = ({ request: { reference } }: PoolJob): string => `in ${reference.name} (${reference.module})`

const moreThreads = "Give the pool more threads, or run the inner call in a pool of its own"
const answerWithoutApp = "The app has one thread, which waits: let the effect do without a handler of this app, " +
  "or let the thread post instead of call"

const cycleTo = (job: PoolJob): Array<string> => {
  const names: Array<string> = [job.name]
  for (let at = job.parent?.asker; at !== undefined; at = at.parent?.asker) {
    names.unshift(at.name, at.question?.what ?? "an effect")
  }
  return names
}
