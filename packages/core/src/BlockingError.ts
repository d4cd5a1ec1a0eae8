/**
 * What can go wrong with a function on a thread.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { shown } from "./internal/shown.ts"
import { formatMillis } from "./ShutdownReport.ts"

/** What every reason names: the function, and the module that a thread imports for it. */
const reference = { function: Schema.String, module: Schema.String }

const told = (of: { readonly function: string; readonly module: string }): string => `${of.function} of ${of.module}`

// Whatever was thrown: a message must not throw.
const messageOf = (error: unknown): string => {
  try {
    if (error instanceof Error) return `${error.name}: ${error.message}`
  } catch {
    return "an error that cannot be shown"
  }
  return typeof error === "string" ? JSON.stringify(error) : shown(error)
}

/**
 * The function threw, or its promise was rejected.
 *
 * **Details**
 *
 * `error` has the message, name, stack, own fields and cause of what was thrown.
 * Its class is that of the language's own errors, or `Error`; `Blocking.throws`
 * gives it a class of yours.
 *
 * @category errors
 * @since 0.1.0
 */
export class FunctionThrew extends Schema.TaggedError<FunctionThrew>("@ambit/core/BlockingError/FunctionThrew")(
  "FunctionThrew",
  { ...reference, error: Schema.Unknown }
) {
  override get message(): string {
    return `${told(this)} threw ${messageOf(this.error)}`
  }
}

/**
 * A thread could not import the module of the function.
 *
 * @category errors
 * @since 0.1.0
 */
export class ModuleFailed extends Schema.TaggedError<ModuleFailed>("@ambit/core/BlockingError/ModuleFailed")(
  "ModuleFailed",
  { ...reference, error: Schema.Unknown }
) {
  override get message(): string {
    return `A thread cannot load ${this.module} to run ${this.function}: ${messageOf(this.error)}. ` +
      "It must import what it needs with full file names and, as TypeScript, use only syntax that can be stripped. " +
      "A bundler must get it as an input of its own"
  }
}

/**
 * The module loads, but declares no function of that name.
 *
 * @category errors
 * @since 0.1.0
 */
export class FunctionMissing extends Schema.TaggedError<FunctionMissing>("@ambit/core/BlockingError/FunctionMissing")(
  "FunctionMissing",
  {
    ...reference,
    /** What it does declare. */
    declared: Schema.Array(Schema.String)
  }
) {
  override get message(): string {
    const others = this.declared.length === 0 ? "no blocking function" : this.declared.join(", ")
    return `${this.module} declares ${others}, but not ${this.function}, when a thread loads it. ` +
      "Call BlockingFunction.make at the top level of the module, under that very name"
  }
}

/**
 * A value cannot be sent to a thread or back.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotCloneable extends Schema.TaggedError<NotCloneable>("@ambit/core/BlockingError/NotCloneable")(
  "NotCloneable",
  { ...reference, value: Schema.Literals(["arguments", "result"]), problem: Schema.String }
) {
  override get message(): string {
    return `The ${this.value} of ${told(this)} cannot be cloned: ${this.problem}. ` +
      "Send plain data, bytes or strings; functions, fibers and class instances stay where they are"
  }
}

/**
 * The thread of the call ended: it ran out of memory, called `process.exit`, or
 * threw where nobody catches.
 *
 * **Details**
 *
 * Only the call that ran there fails. The pool has a new thread already.
 *
 * `started` tells whether the function had begun. A call that had not goes to
 * another thread, and fails only where that cannot be: three threads ended one after
 * the other before they began it, as when its module ends them, or there is none; or
 * the one that ended has what the call moved there.
 *
 * @category errors
 * @since 0.1.0
 */
export class ThreadDied extends Schema.TaggedError<ThreadDied>("@ambit/core/BlockingError/ThreadDied")("ThreadDied", {
  ...reference,
  thread: Schema.String,
  exitCode: Schema.Finite,
  /** The uncaught error, if there was one. */
  error: Schema.Unknown,
  started: Schema.Boolean
}) {
  override get message(): string {
    const why = this.error === undefined ? `exit code ${this.exitCode}` : messageOf(this.error)
    return this.started
      ? `Thread ${this.thread} ended while it ran ${told(this)} (${why}). The call is not run again, ` +
        "since nobody knows how far it came"
      : `Thread ${this.thread} ended before it began ${told(this)} (${why}). The call has not run, and what it moved ` +
        "to the thread is lost. Look at what its module does when it is loaded"
  }
}

/**
 * The queue of the pool is full, and its policy is `"fail"`.
 *
 * @category errors
 * @since 0.1.0
 */
export class QueueFull extends Schema.TaggedError<QueueFull>("@ambit/core/BlockingError/QueueFull")("QueueFull", {
  ...reference,
  pool: Schema.String,
  capacity: Schema.Finite
}) {
  override get message(): string {
    return `${told(this)} did not run: ${this.capacity} calls wait in pool ${this.pool} already. ` +
      "Try later, give the pool more threads or a larger queue, or let callers wait (whenFull: \"wait\")"
  }
}

/**
 * The pool is stopping or has stopped.
 *
 * **Details**
 *
 * `started` tells whether the function had begun.
 *
 * @category errors
 * @since 0.1.0
 */
export class PoolStopped extends Schema.TaggedError<PoolStopped>("@ambit/core/BlockingError/PoolStopped")(
  "PoolStopped",
  { ...reference, pool: Schema.String, started: Schema.Boolean }
) {
  override get message(): string {
    const state = this.started ? "was ended: pool" : "did not run: pool"
    return `${told(this)} ${state} ${this.pool} is stopping, has stopped or is being restarted. ` +
      "Provide the pool outside of those who use it, so that it outlives them"
  }
}

/**
 * The call took longer than its `timeout`.
 *
 * **Details**
 *
 * The caller is free. `state` tells where the call was then:
 *
 * - `"queued"`: it had not begun, and never will.
 * - `"running"`: a thread is busy with it. It is told to stop, and its thread ended after the grace.
 * - `"ended"`: the function had ended. Either the main thread was too busy to hear of it in time, or an effect that
 *   the function had asked for was still cleaning up.
 *
 * @category errors
 * @since 0.1.0
 */
export class TimedOut extends Schema.TaggedError<TimedOut>("@ambit/core/BlockingError/TimedOut")("TimedOut", {
  ...reference,
  /** Milliseconds. */
  within: Schema.Finite,
  state: Schema.Literals(["queued", "running", "ended"])
}) {
  override get message(): string {
    return `${told(this)} did not end within ${formatMillis(this.within)}; ${late[this.state]}`
  }
}

const late: Readonly<Record<TimedOut["state"], string>> = {
  queued: "it had not begun and never will. Raise its timeout or the number of threads",
  running: "a thread is still busy with it, and is told to stop. Raise its timeout, or give it less to do",
  ended: "its function had ended, but the main thread was busy, or still cleaned up what the function had asked for. " +
    "Raise its timeout, or look for what holds up the main thread"
}

/**
 * The call would wait for ever: every thread of the pool waits for an effect
 * that waits for this very pool.
 *
 * @category errors
 * @since 0.1.0
 */
export class WouldDeadlock extends Schema.TaggedError<WouldDeadlock>("@ambit/core/BlockingError/WouldDeadlock")(
  "WouldDeadlock",
  {
    ...reference,
    pool: Schema.String,
    /** Who waits for whom, from the running functions to this call. */
    cycle: Schema.Array(Schema.String),
    remedy: Schema.String
  }
) {
  override get message(): string {
    return `${
      told(this)
    } was refused: every thread of pool ${this.pool} waits for an effect that itself needs the pool ` +
      `(${this.cycle.join(" → ")}). ${this.remedy}`
  }
}

/**
 * Why a call failed.
 *
 * @category errors
 * @since 0.1.0
 */
export const BlockingReason = Schema.Union([
  FunctionThrew,
  ModuleFailed,
  FunctionMissing,
  NotCloneable,
  ThreadDied,
  QueueFull,
  PoolStopped,
  TimedOut,
  WouldDeadlock
])

/**
 * The type of `BlockingReason`.
 *
 * @category errors
 * @since 0.1.0
 */
export type BlockingReason = typeof BlockingReason.Type

/**
 * The error of `Blocking.run`. Its `reason` tells the cases apart.
 *
 * **Example** (Handling one reason)
 *
 * ```ts import.meta.vitest
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const parse = BlockingFunction.make(import.meta, "parse", (text: string): unknown => JSON.parse(text))
 *
 * const program = Blocking.run(parse, "{").pipe(
 *   Effect.catchReason("BlockingError", "FunctionThrew", ({ error }) => Effect.succeed((error as Error).name)),
 *   Effect.provide(Blocking.layerInline)
 * )
 * await Effect.runPromise(program) // => "SyntaxError"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class BlockingError extends Schema.TaggedError<BlockingError>("@ambit/core/BlockingError")("BlockingError", {
  reason: BlockingReason
}) {
  override get message(): string {
    return this.reason.message
  }

  override get cause(): unknown {
    return "error" in this.reason ? this.reason.error : undefined
  }
}
