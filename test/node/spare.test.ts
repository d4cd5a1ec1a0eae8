/**
 * The spare thread: it is there when it is needed, also after it has died.
 */
import { afterEach, expect, it } from "@effect/vitest"
import type { PoolImpl } from "../../packages/node/src/internal/pool.ts"
import type { PoolThread } from "../../packages/node/src/internal/poolThread.ts"
import * as functions from "../fixtures/functions.ts"
import { call, closePools, makePool, until } from "../support/barePool.ts"
import { gate, set } from "../support/gate.ts"

afterEach(closePools)

const spareOf = (pool: PoolImpl): PoolThread | undefined => pool["spare"]

const spareOtherThan = async (pool: PoolImpl, other: PoolThread | undefined): Promise<PoolThread> => {
  await until(() => spareOf(pool) !== undefined && spareOf(pool) !== other)
  return spareOf(pool)!
}

/** Lets a thread end as if by itself. */
const die = (thread: PoolThread): void => void thread["worker"].terminate()

it("a spare thread that has died is replaced", async () => {
  const pool = await makePool({ spare: true })
  const first = await spareOtherThan(pool, undefined)
  await until(() => first.state._tag === "Ready")
  die(first)
  const second = await spareOtherThan(pool, first)
  await until(() => second.state._tag === "Ready")
  expect(pool.status()).toMatchObject({ threads: 1, died: 1 })
})

it("a spare thread that has become one of the threads is replaced", async () => {
  const pool = await makePool({ spare: true, max: 2 })
  const first = await spareOtherThan(pool, undefined)
  await until(() => first.state._tag === "Ready")
  const memory = gate()
  const calls = [call(pool, functions.deaf, memory), call(pool, functions.deaf, memory)]
  await until(() => Atomics.load(memory, 0) === 2)
  expect(pool["threads"]).toContain(first)
  const second = await spareOtherThan(pool, first)
  await until(() => second.state._tag === "Ready")
  set(memory, 1, 1)
  await until(() => calls.every(({ answers }) => answers.length === 1))
})

it("spare threads that die again and again are started ever more seldom, and threads that have work as ever", async () => {
  const pool = await makePool({ spare: true })
  const begin = performance.now()
  const spares = new Set<PoolThread>()
  await until(() => {
    const spare = spareOf(pool)
    if (spare !== undefined && !spares.has(spare)) die(spare)
    if (spare !== undefined) spares.add(spare)
    return performance.now() - begin > 3000
  })
  // The waits are 40 milliseconds, 80, and so on.
  expect(spares.size).toBeGreaterThan(3)
  expect(spares.size).toBeLessThan(12)
  const thread = pool["threads"][0]!
  die(thread)
  await until(() => pool["threads"][0] !== thread && pool["threads"][0]?.state._tag === "Ready")
})

it("a new thread loads what has answered before it is asked to, and nothing else", async () => {
  const pool = await makePool({ grace: 0 })
  const first = call(pool, functions.triple, 1)
  await until(() => first.answers.length === 1)
  const old = pool["threads"][0]!
  const memory = gate()
  const deaf = call(pool, functions.deaf, memory)
  await until(() => Atomics.load(memory, 0) === 1)
  deaf.job.cancel(Infinity)
  await until(() => old.state._tag === "Gone")
  const fresh = pool["threads"][0]!
  const { module, name } = functions.triple
  expect([...fresh["defined"]]).toEqual([fresh["functions"].idOf(module, name)])
})
