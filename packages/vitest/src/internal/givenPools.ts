/**
 * The pools that a test gives to its host. They outlive it, and so do their threads
 * and timers: what they make for a call of the host is not the host's.
 */
import type { Job, Pool } from "@ambit/core/Blocking"
import * as Context from "effect/Context"
import { fakeName } from "./fakePool.ts"
import { outside } from "./made.ts"

const isPool = (service: unknown): service is Pool =>
  typeof service === "object" && service !== null && "submit" in service && "status" in service && "restart" in service

// These two have no threads, and what runs in them runs in the host.
const isMadeUp = ({ name }: Pool): boolean => name === "inline" || name === fakeName

const jobOf = (job: Job): Job => ({
  grace: job.grace,
  state: () => job.state(),
  cancel: (within) => outside(() => job.cancel(within)),
  timedOut: () => outside(() => job.timedOut())
})

const poolOf = (pool: Pool): Pool => ({
  name: pool.name,
  submit: (request) => outside(() => jobOf(pool.submit(request))),
  status: pool.status,
  restart: pool.restart
})

export const withPools = (context: Context.Context<never>): Context.Context<never> => {
  const services = new Map<string, unknown>(context.mapUnsafe)
  for (const [key, service] of services) {
    if (isPool(service) && !isMadeUp(service)) services.set(key, poolOf(service))
  }
  return Context.makeUnsafe(services)
}
