/**
 * Calls of all kinds under random interruption: nobody waits for ever, nothing is
 * counted twice, and the pool is as it was.
 */
import { Blocking } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as functions from "../fixtures/functions.ts"
import { gate } from "../support/gate.ts"
import { makeRandom } from "../support/random.ts"

const callCount = 2000

type Kind = (memory: Int32Array) => Effect.Effect<unknown, unknown, Blocking.Blocking>

const kinds: readonly [Kind, ...ReadonlyArray<Kind>] = [
  () => Blocking.run(functions.triple, 7),
  () => Blocking.run(functions.echo, { some: ["plain", "data"] }),
  () => Blocking.run(functions.later, 1),
  () => Blocking.run(functions.forever),
  () => Blocking.run(functions.untilCancelled),
  () => Blocking.run(functions.block, 3),
  () => Blocking.run(functions.throwsError),
  () => Blocking.run(functions.exits, 1),
  () => Blocking.run(functions.throwsLate),
  () => Blocking.run(functions.eatsMemory),
  () => Blocking.run(functions.echo, () => "not cloneable"),
  (memory) => Blocking.run(functions.counts, memory, 0),
  () => Blocking.run(functions.nativeSleep, 0.05)
]

/** How often a kind is drawn: most calls are quick, as in life. */
const weights = [400, 100, 60, 12, 40, 60, 60, 6, 4, 2, 40, 200, 6]

const total = weights.reduce((sum, weight) => sum + weight, 0)

const drawn = (at: number): number => {
  let left = at
  return weights.findIndex((weight) => (left -= weight) < 0)
}

/** These never end by themselves. */
const endless = new Set([3, 4])

it.live(
  "2,000 calls of mixed kinds under random interruption all end, are counted once, and leave every thread usable",
  () =>
    Effect.gen(function*() {
      const random = makeRandom(20_261_121)
      const memory = gate()
      const pool = yield* Blocking.Blocking
      let counted = 0
      const one = (call: number) =>
        Effect.gen(function*() {
          const kind = drawn(random.below(total))
          const cancelAfter = endless.has(kind) || random.chance(0.2) ? random.between(0, 12) : undefined
          const fiber = yield* Effect.forkChild(Effect.exit(kinds[kind]!(memory)), { startImmediately: true })
          if (cancelAfter !== undefined) {
            if (cancelAfter > 0) yield* Effect.sleep(cancelAfter)
            yield* Fiber.interrupt(fiber)
            const exit = yield* Fiber.await(fiber)
            if (Exit.isFailure(exit)) return "cancelled" as const
          }
          const exit = yield* Effect.timeoutOrElse(Fiber.join(fiber), {
            duration: "20 seconds",
            orElse: () => Effect.die(`call ${call} of kind ${kind} was never answered`)
          })
          if (kind === 11 && Exit.isSuccess(exit)) counted++
          return Exit.isSuccess(exit) ? "completed" as const : "failed" as const
        })
      const outcomes = yield* Effect.forEach(
        Array.from({ length: callCount }, (_, call) => call),
        one,
        { concurrency: 24 }
      )
      const many = (outcome: string) => outcomes.filter((one) => one === outcome).length
      expect(outcomes).toHaveLength(callCount)

      // What was cancelled gets its grace, and then its end.
      const quiet = Effect.gen(function*() {
        let status = yield* pool.status
        while (status.calls.length > 0 || status.stuck > 0) {
          yield* Effect.sleep("20 millis")
          status = yield* pool.status
        }
        return status
      })
      const status = yield* quiet
      expect(status).toMatchObject({ threads: 2, busy: 0, stuck: 0, queued: 0 })
      expect(status.completed).toBe(many("completed"))
      expect(status.failed).toBe(many("failed"))
      expect(status.cancelled).toBe(many("cancelled"))
      // Nobody ran twice: each answered count is one run, and only cancelled ones may have run unanswered.
      expect(Atomics.load(memory, 0)).toBeGreaterThanOrEqual(counted)
      expect(Atomics.load(memory, 0)).toBeLessThanOrEqual(counted + many("cancelled"))

      const both = yield* Effect.forEach([1, 2], () => Blocking.run(functions.whereBlocked, 50), { concurrency: 2 })
      expect(new Set(both).size).toBe(2)
    }).pipe(
      Effect.provide(
        BlockingPool.layer({
          threads: 2,
          grace: 10,
          saturation: "none",
          resourceLimits: { maxOldGenerationSizeMb: 32 }
        })
      ),
      Effect.provideService(References.MinimumLogLevel, "None")
    ),
  120_000
)
