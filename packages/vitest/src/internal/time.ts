/**
 * The time of a host in a test. Under a `TestClock` it stands still until
 * somebody moves it: the test, or a wait of `TestHost`, which goes from one
 * moment at which somebody wants to wake up to the next.
 *
 * Invariants
 * - A wait never moves time beyond the next moment at which something in the host
 *   wants to wake up, so what it took is exact. (TestHost.test.ts)
 * - A wait moves time only when nothing is left that takes no time, and no real
 *   work that it sees is on its way: files, timers, threads. (TestHost.test.ts)
 * - What seems to go on for ever is waited for once, and for less than the second
 *   of real time after which a stop takes a clock for forgotten. (TestHost.test.ts)
 */
import { Task } from "@ambit/core"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as TestClock from "effect/testing/TestClock"
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises"
import { CurrentCall } from "./fakePool.ts"

/** Who sleeps on the clock of the host, until when, and in which task. */
export interface Sleeper {
  readonly until: number
  readonly task: string | undefined
  /** The call of a fake that it sleeps in. */
  readonly call: { readonly givenUp: boolean } | undefined
}

/** After so many turns of the event loop in which nothing happens, nothing goes on. */
const quietTurns = 20

/** Real milliseconds for what takes no virtual time. */
export const patience = 500

/** Real milliseconds in which something has to happen when nobody sleeps. */
const lastHope = 1000

const nextTurn = Effect.promise(() => turn())

/** Real time, which the code of a host is not known by. */
export const realPause = (millis: number): Effect.Effect<void> => Effect.promise(() => pause(millis))

const isTestClock = (clock: Clock.Clock): clock is TestClock.TestClock => "adjust" in clock && "setTime" in clock

export class Time {
  /** What the host runs on. */
  readonly clock: Clock.Clock
  /** What moves, unless time is real. */
  readonly virtual: TestClock.TestClock | undefined
  readonly sleepers = new Set<Sleeper>()
  /** Changes with everything that is seen to happen in the host. */
  stirs = 0
  /** Says what real work is on its way, by names that are never used twice. */
  work: () => ReadonlyArray<string> = () => []
  /** The work that has been waited for long enough. */
  private waitedFor: ReadonlySet<string> = new Set()

  constructor(clock: Clock.Clock) {
    this.virtual = isTestClock(clock) ? clock : undefined
    this.clock = this.virtual === undefined ? clock : this.watched(this.virtual)
  }

  /** Milliseconds since 1970, as the host sees them. */
  get now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /**
   * The first sleep on a `TestClock` that nobody has moved starts a warning, which is a timer of its own, and where that
   * is in a finalizer, the sleep ends at once. A clock that was moved, by nothing, has no warning to start.
   */
  get wake(): Effect.Effect<void> {
    return this.virtual === undefined ? Effect.void : this.virtual.adjust(0)
  }

  /** Lets everything happen that takes no virtual time, and waits for real work. */
  get quiet(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const begin = performance.now()
      let seen = this.stirs
      let still = 0
      while (still < quietTurns && performance.now() - begin < patience) {
        yield* nextTurn
        still = this.stirs === seen ? still + 1 : 0
        seen = this.stirs
        if (still === quietTurns && this.isAtWork) {
          yield* realPause(1)
          still = 0
        }
      }
      this.waitedFor = new Set(this.work())
    })
  }

  /** Goes to the next moment at which somebody wants to wake up, if it comes up to `limit`. */
  step(limit: number): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const { virtual } = this
      if (virtual === undefined) return Effect.succeed(false)
      const now = virtual.currentTimeMillisUnsafe()
      let next = Infinity
      for (const { until } of this.sleepers) {
        if (until > now) next = Math.min(next, until)
      }
      return next === Infinity || next > limit ? Effect.succeed(false) : Effect.as(virtual.setTime(next), true)
    })
  }

  /** Waits in real time until something happens; `false` when nothing does. */
  get stir(): Effect.Effect<boolean> {
    return Effect.gen({ self: this }, function*() {
      const before = this.stirs
      const begin = performance.now()
      while (this.stirs === before && (performance.now() - begin < lastHope || this.work().length > 0)) {
        yield* realPause(5)
      }
      return this.stirs !== before
    })
  }

  /**
   * Waits for an effect of the host, while as much time passes as it takes. `stuck`
   * is the error when nothing is left that could bring it to its end.
   */
  drive<A, E, R, E2>(effect: Effect.Effect<A, E, R>, stuck: () => E2): Effect.Effect<A, E | E2, R> {
    if (this.virtual === undefined) return effect
    return Effect.gen({ self: this }, function*() {
      const inTime = Effect.provideService(effect, Clock.Clock, this.clock)
      const fiber = yield* Effect.forkChild(inTime, { startImmediately: true })
      return yield* Effect.ensuring(this.follow(fiber, stuck), Fiber.interrupt(fiber))
    })
  }

  private follow<A, E, E2>(fiber: Fiber.Fiber<A, E>, stuck: () => E2): Effect.Effect<A, E | E2> {
    return Effect.gen({ self: this }, function*() {
      while (fiber.pollUnsafe() === undefined) {
        yield* this.quiet
        if (fiber.pollUnsafe() !== undefined || (yield* this.step(Infinity)) || (yield* this.stir)) continue
        if (fiber.pollUnsafe() === undefined) return yield* Effect.fail(stuck())
      }
      return yield* Fiber.join(fiber)
    })
  }

  private watched(clock: TestClock.TestClock): TestClock.TestClock {
    return {
      ...clock,
      sleep: (duration) =>
        Effect.flatMap(Effect.all([Task.current, CurrentCall]), ([task, call]) => {
          const until = clock.currentTimeMillisUnsafe() + Duration.toMillis(duration)
          const sleeper = { until, task: Option.getOrUndefined(task)?.path, call }
          this.sleepers.add(sleeper)
          this.stirs++
          return Effect.ensuring(
            clock.sleep(duration),
            Effect.sync(() => {
              this.sleepers.delete(sleeper)
              this.stirs++
            })
          )
        })
    }
  }

  private get isAtWork(): boolean {
    return this.work().some((name) => !this.waitedFor.has(name))
  }
}
