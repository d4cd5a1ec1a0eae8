/**
 * A pool without threads: it runs functions where it is, one at a time.
 *
 * Invariant: `running` is the job that runs, from before its first step until
 * its promise has settled or it was given up. Then comes the next one.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import type { CallState, Job, Pool, PoolStatus, Request } from "../Blocking.ts"
import { BlockingError, type BlockingReason, FunctionThrew, NotCloneable } from "../BlockingError.ts"
import { type RunningCall, threadGlobal } from "../BlockingFunction.ts"
import { now } from "./clock.ts"
import { say } from "./say.ts"

declare const structuredClone: (value: unknown, options?: { readonly transfer: ReadonlyArray<unknown> }) => unknown

const name = "inline"
const defaultGrace = 1000

interface InlineJob extends Job {
  readonly request: Request
  readonly startedAt: number
  phase: CallState["_tag"]
  cancelled: boolean
  /** Whether the function has been told that it is cancelled, by an error. */
  told: boolean
  begun: boolean
  /** What waits for the end of its grace. */
  graceEnd: Fiber.Fiber<unknown> | undefined
}

const isPromiseLike = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

const referenceOf = ({ reference }: Request) => ({ function: reference.name, module: reference.module })

const fail = (reason: BlockingReason) => Exit.fail(new BlockingError({ reason }))

let inTimer = false

/** What the function gets to see, in the place where `Thread` looks for it. */
const runningCall = (job: InlineJob): RunningCall => ({
  isCancelled: () => job.cancelled,
  takeCancel: () => {
    if (!job.cancelled || job.told) return false
    job.told = !inTimer
    return true
  },
  runTimer: (f) => {
    inTimer = true
    try {
      f()
    } finally {
      inTimer = false
    }
  },
  info: () => ({
    pool: name,
    thread: name,
    task: job.request.task,
    app: job.request.app,
    function: job.request.reference.name,
    annotations: Context.get(job.request.context, References.CurrentLogAnnotations),
    minimumLogLevel: Context.get(job.request.context, References.MinimumLogLevel),
    traceparent: ""
  }),
  log: (level, message, annotations) => say(job.request.context, level, message, annotations),
  progress: () => (value) => {
    const cloned = structuredClone(value)
    if (job.phase === "Running" && !job.cancelled) job.request.progress?.(cloned)
  },
  ask: undefined
})

/** What runs in all pools of this kind, as it began: what begins later may end earlier, and `Thread` looks in one place. */
const calls: Array<RunningCall> = []

const begin = (call: RunningCall): void => {
  calls.push(call)
  threadGlobal().current = call
}

const end = (call: RunningCall): void => {
  calls.splice(calls.indexOf(call), 1)
  threadGlobal().current = calls.at(-1)
}

export const inlinePool = (): Pool => {
  const waiting: Array<InlineJob> = []
  const counts = { completed: 0, failed: 0, cancelled: 0, timedOut: 0 }
  /** What was given up, and has not settled. */
  const stuck = new Set<InlineJob>()
  let running: InlineJob | undefined
  let current: RunningCall | undefined

  const taken = (): InlineJob | undefined => running === undefined ? waiting.shift() : undefined

  let inTurn = false
  // A loop: a call that ends at once comes back here, and thousands of them would fill the stack.
  const next = (): void => {
    if (inTurn) return
    inTurn = true
    try {
      for (let job = taken(); job !== undefined; job = taken()) start(job)
    } finally {
      inTurn = false
    }
  }

  const start = (job: InlineJob): void => {
    running = job
    job.phase = "Running"
    job.begun = true
    const { args, options, reference } = job.request
    let cloned: unknown
    try {
      cloned = structuredClone(args, { transfer: options.transfer })
    } catch (error) {
      return settle(
        job,
        fail(new NotCloneable({ ...referenceOf(job.request), value: "arguments", problem: String(error) }))
      )
    }
    current = runningCall(job)
    begin(current)
    try {
      const result = reference.run(...cloned as never)
      if (!isPromiseLike(result)) return settle(job, returned(job, result))
      result.then((value) => settle(job, returned(job, value)), (error: unknown) => settle(job, threw(job, error)))
    } catch (error) {
      settle(job, threw(job, error))
    }
  }

  const returned = (job: InlineJob, value: unknown): Exit.Exit<unknown, BlockingError> => {
    try {
      return Exit.succeed(structuredClone(value))
    } catch (error) {
      return fail(new NotCloneable({ ...referenceOf(job.request), value: "result", problem: String(error) }))
    }
  }

  const threw = (job: InlineJob, error: unknown) => fail(new FunctionThrew({ ...referenceOf(job.request), error }))

  const settle = (job: InlineJob, exit: Exit.Exit<unknown, BlockingError>): void => {
    if (job.phase === "Done") return
    job.phase = "Done"
    job.graceEnd?.interruptUnsafe()
    if (job.cancelled) {
      job.request.ended({ _tag: "Returned" })
    } else {
      counts[Exit.isSuccess(exit) ? "completed" : "failed"]++
      job.request.answered(exit)
    }
    if (!stuck.delete(job)) release()
  }

  const release = (): void => {
    running = undefined
    if (current !== undefined) end(current)
    current = undefined
    next()
  }

  const cancel = (job: InlineJob, within: number): void => {
    if (job.phase === "Done" || (job.cancelled && within > 0)) return
    if (!job.cancelled) counts.cancelled++
    job.cancelled = true
    job.graceEnd?.interruptUnsafe()
    if (job.phase === "Queued") {
      waiting.splice(waiting.indexOf(job), 1)
      job.phase = "Done"
      return job.request.ended({ _tag: "NeverStarted" })
    }
    // Nobody can end a promise. What has not settled by then is left to itself, and the next one gets its turn.
    const grace = Effect.sleep(Duration.millis(Math.min(job.grace, within)))
    job.graceEnd = Effect.runForkWith(job.request.context)(Effect.map(grace, () => {
      if (running !== job) return
      stuck.add(job)
      job.request.ended({ _tag: "Stuck", stack: undefined })
      release()
    }))
  }

  const submit = (request: Request): Job => {
    const job: InlineJob = {
      request,
      startedAt: now(Context.get(request.context, Clock.Clock)),
      phase: "Queued",
      cancelled: false,
      told: false,
      begun: false,
      grace: request.options.grace ?? defaultGrace,
      graceEnd: undefined,
      state: () => job.phase === "Running" ? { _tag: "Running", thread: name } : { _tag: job.phase },
      cancel: (within) => cancel(job, within),
      timedOut: () => {
        counts.timedOut++
        return !job.begun ? "queued" : job.phase === "Done" ? "ended" : "running"
      }
    }
    waiting.push(job)
    next()
    return job
  }

  const status = Effect.map(Clock.Clock, (clock): PoolStatus => ({
    name,
    size: 1,
    threads: 1,
    busy: running === undefined ? 0 : 1,
    stuck: stuck.size,
    queued: waiting.length,
    completed: counts.completed,
    failed: counts.failed,
    cancelled: counts.cancelled,
    timedOut: counts.timedOut,
    rejected: 0,
    killed: 0,
    died: 0,
    calls: [...stuck, ...(running === undefined ? [] : [running]), ...waiting].map((job) => ({
      function: job.request.reference.name,
      module: job.request.reference.module,
      task: job.request.task,
      state: job.state(),
      age: now(clock) - job.startedAt
    }))
  }))

  return { name, submit, status, restart: Effect.void }
}
