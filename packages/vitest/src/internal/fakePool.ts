/**
 * A pool whose functions are stood in for by effects, in virtual time. It does
 * with them what a pool of threads does with functions: at most so many run at
 * once, a cancelled one has its grace, and then its thread is ended and replaced.
 *
 * Invariant: a call is waiting, running or done, and `running` holds those whose
 * thread nobody has replaced. (FakePool.test.ts)
 */
import { BlockingError, type BlockingReason, FunctionThrew, NotCloneable } from "@ambit/core/Blocking"
import type { CallEnd, CallState, Job, Pool, PoolStatus, Request } from "@ambit/core/Blocking"
import { InvalidOption } from "@ambit/core/InvalidOption"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Fake } from "../FakePool.ts"

export const fakeName = "fake"

export const isFakeThread = (thread: string): boolean => thread.startsWith(`${fakeName}-`)

const defaultGrace = 1000

interface FakeJob extends Job {
  readonly request: Request
  readonly startedAt: number
  phase: CallState
  begun: boolean
  cancelled: boolean
  /** Whether its thread was given up. */
  givenUp: boolean
  /** Whether it sits where nobody can end it. */
  stuck: boolean
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** What waits for the end of its grace. */
  graceEnd: Fiber.Fiber<unknown> | undefined
}

/** The call that a fake stands in for. */
export const CurrentCall = Context.Reference<Pick<FakeJob, "request" | "stuck" | "givenUp"> | undefined>(
  "@ambit/vitest/internal/fakePool/CurrentCall",
  { defaultValue: () => undefined }
)

const referenceOf = ({ reference }: Request) => ({ function: reference.name, module: reference.module })

const fail = (reason: BlockingReason): Exit.Exit<never, BlockingError> => Exit.fail(new BlockingError({ reason }))

// A thread would not be able to receive or send this either.
const cloned = <A>(request: Request, what: "arguments" | "result", value: A): Exit.Exit<A, BlockingError> => {
  try {
    return Exit.succeed(structuredClone(value))
  } catch (error) {
    return fail(new NotCloneable({ ...referenceOf(request), value: what, problem: String(error) }))
  }
}

const noFake = (request: Request): Exit.Exit<never> =>
  Exit.die(
    new InvalidOption({
      option: "the fakes of FakePool",
      value: `none for ${request.reference.name} of ${request.reference.module}`,
      problem: "something calls this function",
      remedy: "Add FakePool.fake of it, or let the functions themselves run with Blocking.layerInline"
    })
  )

const now = (request: Request): number =>
  Number(Context.get(request.context, Clock.Clock).monotonicTimeNanosUnsafe()) / 1_000_000

export const fakePool = (fakes: ReadonlyArray<Fake>, size: number): Pool => {
  const waiting: Array<FakeJob> = []
  const running = new Set<FakeJob>()
  const idle = Array.from({ length: size }, (_, index) => `${fakeName}-${index + 1}`)
  const counts = { completed: 0, failed: 0, cancelled: 0, timedOut: 0, stuck: 0, killed: 0 }
  let threads = size

  let inTurn = false
  // A loop: a call that ends at once comes back here, and thousands of them would fill the stack.
  const next = (): void => {
    if (inTurn) return
    inTurn = true
    try {
      while (idle.length > 0 && waiting.length > 0) start(waiting.shift()!, idle.shift()!)
    } finally {
      inTurn = false
    }
  }

  const start = (job: FakeJob, thread: string): void => {
    running.add(job)
    job.begun = true
    job.phase = { _tag: "Running", thread }
    const { request } = job
    const fake = fakes.find(({ reference }) => reference === request.reference)
    if (fake === undefined) return answer(job, noFake(request))
    const args = cloned(request, "arguments", request.args)
    if (Exit.isFailure(args)) return answer(job, args)
    const run = Effect.suspend(() => {
      const result = fake.run(...args.value as ReadonlyArray<never>)
      return Effect.isEffect(result) ? result as Effect.Effect<unknown, unknown> : Effect.succeed(result)
    })
    const fiber = Effect.runForkWith(Context.add(request.context, CurrentCall, job))(run)
    job.fiber = fiber
    fiber.addObserver((exit) => {
      answer(
        job,
        Exit.isSuccess(exit)
          ? cloned(request, "result", exit.value)
          : fail(new FunctionThrew({ ...referenceOf(request), error: Cause.squash(exit.cause) }))
      )
    })
  }

  const answer = (job: FakeJob, exit: Exit.Exit<unknown, BlockingError>): void => {
    if (job.phase._tag === "Done") return
    if (job.cancelled) return end(job, { _tag: "Returned" })
    counts[Exit.isSuccess(exit) ? "completed" : "failed"]++
    leave(job)
    job.request.answered(exit)
    next()
  }

  const end = (job: FakeJob, how: CallEnd): void => {
    job.graceEnd?.interruptUnsafe()
    leave(job)
    job.request.ended(how)
    next()
  }

  const leave = (job: FakeJob): void => {
    // A thread that was ended, or never comes back, is replaced.
    if (job.phase._tag === "Running") idle.push(job.givenUp ? `${fakeName}-${++threads}` : job.phase.thread)
    job.phase = { _tag: "Done" }
    running.delete(job)
  }

  const cancel = (job: FakeJob, within: number): void => {
    if (job.phase._tag === "Done") return
    const again = job.cancelled
    job.cancelled = true
    if (!again) counts.cancelled++
    if (job.phase._tag === "Queued") {
      waiting.splice(waiting.indexOf(job), 1)
      return end(job, { _tag: "NeverStarted" })
    }
    job.graceEnd?.interruptUnsafe()
    const grace = Math.min(job.grace, within)
    job.graceEnd = Effect.runForkWith(job.request.context)(Effect.gen(function*() {
      // A thread hears of it a moment later.
      yield* Effect.yieldNow
      job.fiber?.interruptUnsafe()
      yield* Effect.sleep(Duration.millis(grace))
      giveUp(job)
    }))
  }

  const giveUp = (job: FakeJob): void => {
    if (job.phase._tag !== "Running") return
    const stack = `${job.request.reference.name} (${job.phase.thread})`
    job.givenUp = true
    counts[job.stuck ? "stuck" : "killed"]++
    job.graceEnd = undefined
    end(job, { _tag: job.stuck ? "Stuck" : "Killed", stack })
  }

  const submit = (request: Request): Job => {
    const job: FakeJob = {
      request,
      startedAt: now(request),
      phase: { _tag: "Queued" },
      begun: false,
      cancelled: false,
      givenUp: false,
      stuck: false,
      fiber: undefined,
      grace: request.options.grace ?? defaultGrace,
      graceEnd: undefined,
      state: () => job.phase,
      cancel: (within) => cancel(job, within),
      timedOut: () => {
        counts.timedOut++
        return !job.begun ? "queued" : job.phase._tag === "Done" ? "ended" : "running"
      }
    }
    waiting.push(job)
    next()
    return job
  }

  const status = Effect.sync((): PoolStatus => ({
    name: fakeName,
    size,
    threads: size,
    busy: running.size,
    stuck: counts.stuck,
    queued: waiting.length,
    completed: counts.completed,
    failed: counts.failed,
    cancelled: counts.cancelled,
    timedOut: counts.timedOut,
    rejected: 0,
    killed: counts.killed,
    died: 0,
    calls: [...running, ...waiting].map((job) => ({
      function: job.request.reference.name,
      module: job.request.reference.module,
      task: job.request.task,
      state: job.phase,
      age: now(job.request) - job.startedAt
    }))
  }))

  return { name: fakeName, submit, status, restart: Effect.void }
}
