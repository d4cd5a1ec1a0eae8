/**
 * What a thread asks for, done on the main thread.
 *
 * The effect of a call belongs to the call: it is interrupted with it, and the
 * call is not over before it. What is posted or spawned is a task of the
 * caller's scope, since nobody waits for it.
 *
 * Invariant: a question that was taken back before it began, or that is refused
 * here by `refuse`, has not run. Nor does one that lay unread when its pool or call
 * was told to stop. (node/MainCalls.test.ts, node/ask.test.ts)
 */
import * as Task from "@ambit/core/Task"
import { TaskScope } from "@ambit/core/TaskScope"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Asker, PoolJob } from "./job.ts"
import { CurrentErrand, type Handler, Offers } from "./offers.ts"
import type { Method, PoolThread } from "./poolThread.ts"
import { type AskFrame, askKinds, openQuestion, takenQuestion } from "./protocol.ts"
import { say } from "./say.ts"
import { CallRefused } from "./threadError.ts"
import { encodeThrown } from "./thrown.ts"

/** The thread does not wait any more: what runs for it is to stop. */
export const endQuestion = (job: PoolJob): void => {
  job.question = undefined
  for (const effect of job.effects?.keys() ?? []) effect.interruptUnsafe()
}

/** Does something as soon as no effect of a job runs any more. */
export const whenQuiet = (job: PoolJob, next: () => void): void => {
  for (const effect of job.effects?.keys() ?? []) {
    effect.addObserver(() => whenQuiet(job, next))
    return
  }
  next()
}

/** A question that the thread has taken back when it had begun: what runs for it is to stop. */
export const withdrawQuestion = (thread: PoolThread, job: PoolJob | undefined, question: number): void => {
  if (job?.question?.number === question) endQuestion(job)
  forget(thread.timers, question)
  thread.effects.get(question)?.interruptUnsafe()
}

export const answerQuestion = (
  fallback: Context.Context<never>,
  thread: PoolThread,
  job: PoolJob | undefined,
  frame: AskFrame
): void => {
  const how = frame[2]
  const question = frame[3]
  // A post waits for nothing, so nobody can have taken it back.
  if (how !== askKinds.post && !thread.takeQuestion(openQuestion(question), takenQuestion(question))) return
  const context = job?.request.context ?? fallback
  const asked = thread.methods[frame[4]]!
  const handler = Context.get(context, Offers).get(asked.contract)?.[asked.method]
  if (handler === undefined) return refuse(context, thread, how, question, asked, "notOffered")
  const effect = Effect.suspend(() => handler.effect(...frame.slice(6) as Array<never>))
  if (how === askKinds.call) {
    return call(contextFor(handler, job ?? thread.timers, context), thread, job, question, asked.name, effect)
  }
  const owned = Effect.contextWith((calling: Context.Context<never>) =>
    Effect.provideContext(effect, handler.contextFor(calling))
  )
  start(context, thread, how, question, asked, owned)
}

const contextFor = (
  handler: Handler,
  asker: Asker,
  calling: Context.Context<never>
): Context.Context<never> => {
  const contexts = asker.contexts ??= new Map<Handler, Context.Context<never>>()
  const known = contexts.get(handler)
  if (known !== undefined) return known
  const context = handler.contextFor(calling)
  contexts.set(handler, context)
  return context
}

const call = (
  context: Context.Context<never>,
  thread: PoolThread,
  job: PoolJob | undefined,
  question: number,
  what: string,
  effect: Effect.Effect<unknown, unknown>
): void => {
  const asker = job ?? thread.timers
  asker.question = { number: question, what }
  const fiber = Effect.runForkWith(Context.add(context, CurrentErrand, { asker, question }))(effect)
  if (fiber.pollUnsafe() === undefined) {
    if (job === undefined) thread.effects.set(question, fiber)
    else (job.effects ??= new Map()).set(fiber, what)
    // Its first step may have ended the call, when nobody could find the effect yet.
    if (asker.question?.number !== question) fiber.interruptUnsafe()
  }
  fiber.addObserver((exit) => {
    if (job === undefined) thread.effects.delete(question)
    else job.effects?.delete(fiber)
    forget(asker, question)
    answer(thread, question, exit)
  })
}

const forget = (asker: Asker, question: number): void => {
  if (asker.question?.number === question) asker.question = undefined
}

const answer = (thread: PoolThread, question: number, exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isFailure(exit)) {
    // A thread whose call or pool stops has not waited for this.
    if (Cause.hasInterruptsOnly(exit.cause)) thread.answer(question, ["refused", "interrupted"])
    else thread.answer(question, ["thrown", encodeThrown(Cause.squash(exit.cause))])
    return
  }
  try {
    thread.answer(question, ["value", exit.value])
  } catch (error) {
    // The value cannot be cloned; the error can.
    thread.answer(question, ["thrown", encodeThrown(error)])
  }
}

const start = (
  context: Context.Context<never>,
  thread: PoolThread,
  how: AskFrame[2],
  question: number,
  asked: Method,
  effect: Effect.Effect<unknown, unknown>
): void => {
  if (Option.isNone(Context.getOption(context as Context.Context<TaskScope>, TaskScope))) {
    return refuse(context, thread, how, question, asked, "noScope")
  }
  const spawned = Effect.runSyncExitWith(context as Context.Context<TaskScope>)(Task.spawn(effect, asked.name))
  if (how === askKinds.spawn) return answer(thread, question, Exit.map(spawned, (task) => task.path))
  if (Exit.isFailure(spawned)) notRun(context, thread, Cause.squash(spawned.cause))
}

const refuse = (
  context: Context.Context<never>,
  thread: PoolThread,
  how: AskFrame[2],
  question: number,
  { contract, method }: Method,
  why: "notOffered" | "noScope"
): void => {
  if (how === askKinds.post) notRun(context, thread, new CallRefused(contract, method, why))
  else thread.answer(question, ["refused", why])
}

/** Nobody waits for a post, so this is the only place that hears of it. */
const notRun = (context: Context.Context<never>, thread: PoolThread, error: unknown): void =>
  say(context, "Warn", `A thread posted in vain: ${error instanceof Error ? error.message : String(error)}`, {
    thread: thread.name
  })
