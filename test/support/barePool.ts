/**
 * Pools without the effects around them, for tests that open one between two of
 * its steps.
 */
import * as Context from "effect/Context"
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
  stalledAfter: 60_000
}

const made: Array<PoolImpl> = []

/** A pool whose first thread is up. */
export const makePool = async (options: Partial<PoolSettings> = {}): Promise<PoolImpl> => {
  const pool = new PoolImpl({ ...settings, ...options }, Context.empty(), () => {})
  made.push(pool)
  const problem = await pool.start()
  if (problem !== undefined) throw new Error(problem)
  return pool
}

/** Closes all pools that were made. */
export const closePools = async (): Promise<void> => {
  await Promise.all(made.splice(0).map((pool) => pool.close()))
}

/** Gives the event loop its turns until something holds; the limit of the test is the limit. */
export const until = async (holds: () => boolean): Promise<void> => {
  // oxlint-disable-next-line no-await-in-loop
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}
