/**
 * What a thread asks for, done on the main thread.
 *
 * Invariant: the effect of a question is a task of the caller's scope, so it is
 * named, listed and stopped like any other. A question that was taken back, or
 * answered with an error here, has not run. (node/MainCalls.test.ts)
 */
import * as Task from "@ambit/core/Task"
import type { TaskScope } from "@ambit/core/TaskScope"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { PoolJob } from "./job.ts"
import { CurrentJob, type Handler, Offers } from "./offers.ts"
import type { PoolThread } from "./poolThread.ts"
import { type AskFrame, openQuestion, takenQuestion } from "./protocol.ts"
import { say } from "./say.ts"
import { CallRefused } from "./threadError.ts"
import { encodeThrown } from "./thrown.ts"

/** The thread does not wait any more: what it asked for is to stop. */
export const endQuestion = (job: PoolJob): void => {
  const { question } = job
  job.question = undefined
  question?.stop?.()
}

export const answerQuestion = (
  fallback: Context.Context<never>,
  thread: PoolThread,
  job: PoolJob | undefined,
  [, , how, question, contract, method, args]: AskFrame
): void => {
  if (how === "withdraw") {
    if (job?.question?.number === question) endQuestion(job)
    return
  }
  // A post waits for nothing, so nobody can have taken it back.
  if (how !== "post" && !thread.takeQuestion(openQuestion(question), takenQuestion(question))) return
  const context = job?.request.context ?? fallback
  const name = `${contract}.${method}`
  const refuse = (error: unknown): void => {
    if (how === "post") {
      say(context, "Warn", `${name} was posted by a thread and has not run: ${messageOf(error)}`, {
        thread: thread.name
      })
    } else thread.answer([question, false, encodeThrown(error)])
  }
  const handler = Context.get(context, Offers).get(contract)?.[method]
  if (handler === undefined) return refuse(new CallRefused(contract, method, "notOffered"))
  if (how === "call" && job !== undefined) job.question = { number: question, what: name, stop: undefined }

  const spawned = spawn(context, handler, args, name, how === "call" ? job : undefined)
  if (Exit.isFailure(spawned)) {
    if (job?.question?.number === question) job.question = undefined
    return refuse(Cause.squash(spawned.cause))
  }
  const task = spawned.value
  if (how === "spawn") return answerWith(thread, question, Exit.succeed(task.path), contract, method)
  if (how === "post") return
  if (job?.question?.number === question) {
    job.question = {
      number: question,
      what: name,
      stop: () => void Effect.runForkWith(context)(task.interrupt("its thread does not wait any more"))
    }
  }
  task.fiber.addObserver((exit) => {
    if (job?.question?.number === question) job.question = undefined
    answerWith(thread, question, exit, contract, method)
  })
}

const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

// The failure of a call is told to the thread, which decides; a post and a task have nobody else to tell.
const spawn = (
  context: Context.Context<never>,
  handler: Handler,
  args: ReadonlyArray<unknown>,
  name: string,
  caller: PoolJob | undefined
) =>
  Effect.runSyncExitWith(context as Context.Context<TaskScope>)(
    Effect.suspend(() => handler(...args as ReadonlyArray<never>)).pipe(
      Effect.provideService(CurrentJob, caller),
      Task.spawn(name, caller === undefined ? {} : { onFailure: "ignore" })
    )
  )

const answerWith = (
  thread: PoolThread,
  question: number,
  exit: Exit.Exit<unknown, unknown>,
  contract: string,
  method: string
): void => {
  try {
    if (Exit.isSuccess(exit)) return thread.answer([question, true, exit.value])
    const error = Cause.hasInterruptsOnly(exit.cause)
      ? new CallRefused(contract, method, "closing")
      : Cause.squash(exit.cause)
    thread.answer([question, false, encodeThrown(error)])
  } catch (error) {
    // The value cannot be cloned; the error can.
    thread.answer([question, false, encodeThrown(error)])
  }
}
