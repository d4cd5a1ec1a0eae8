/**
 * Pools without the effects around them, for tests that open one between two of
 * its steps.
 */
import type { Blocking } from "@ambit/core"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import { PoolImpl, type PoolSettings } from "../../packages/node/src/internal/pool.ts"

export const settings: PoolSettings = {
  name: "kill",
  min: 1,
  max: 1,
  spare: false,
  capacity: 100,
  whenFull: "wait",
  grace: 20,
  idleAfter: 1000,
  stopWithin: 2000,
  resourceLimits: undefined,
  saturation: undefined,
  stalledAfter: 60_000,
  signWithin: 100
}

const made: Array<PoolImpl> = []

/** A pool whose first thread is up. */
export const makePool = async (options: Partial<PoolSettings> = {}): Promise<PoolImpl> => {
  const pool = new PoolImpl({ ...settings, ...options }, Context.empty(), undefined)
  made.push(pool)
  const problem = await pool.start()
  if (problem !== undefined) throw new Error(problem)
  return pool
}

/** Closes all pools that were made. */
export const closePools = async (): Promise<void> => {
  await Promise.all(made.splice(0).map((pool) => pool.close()))
}

/** A call, with what its caller was told. */
export interface Called {
  readonly job: Blocking.Job
  /** Its results, and the failures as exits. */
  readonly answers: Array<unknown>
  readonly ends: Array<Blocking.CallEnd["_tag"]>
}

type Options = Partial<Blocking.CallOptions> & Partial<Pick<Blocking.Request, "context" | "task" | "app">>

export const callWith = (
  pool: PoolImpl,
  options: Options,
  reference: Blocking.Request["reference"],
  ...args: ReadonlyArray<unknown>
): Called => submit(pool, options, () => {}, reference, args)

export const call = (
  pool: PoolImpl,
  reference: Blocking.Request["reference"],
  ...args: ReadonlyArray<unknown>
): Called => submit(pool, {}, () => {}, reference, args)

export const callThen = (
  pool: PoolImpl,
  then: () => void,
  reference: Blocking.Request["reference"],
  ...args: ReadonlyArray<unknown>
): Called => submit(pool, {}, then, reference, args)

const submit = (
  pool: PoolImpl,
  { app = "", context = Context.empty(), task = "", ...options }: Options,
  then: () => void,
  reference: Blocking.Request["reference"],
  args: ReadonlyArray<unknown>
): Called => {
  const answers: Array<unknown> = []
  const ends: Array<Blocking.CallEnd["_tag"]> = []
  const job = pool.submit({
    reference,
    args,
    options: { name: undefined, grace: undefined, timeout: undefined, transfer: [], ...options },
    context,
    task,
    app,
    progress: undefined,
    answered: (exit) => {
      answers.push(Exit.isSuccess(exit) ? exit.value : exit)
      then()
    },
    ended: (end) => ends.push(end._tag)
  })
  return { job, answers, ends }
}

/** Gives the event loop its turns until something holds; the limit of the test is the limit. */
export const until = async (holds: () => boolean): Promise<void> => {
  // oxlint-disable-next-line no-await-in-loop
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}
