/**
 * Time as Ambit reads it: milliseconds that never jump, on whatever clock the
 * scope was made with, and waits that end.
 *
 * Invariants
 * - Every wait of a stop goes through `waitUntil`, so every stop is bounded
 *   on the `Clock` (laws/close.test.ts).
 * - Under a virtual clock nobody may be left to advance it, most of all while a
 *   test's own scope closes. So a wait of a stop also ends when the virtual
 *   clock has not moved and nothing has ended for a second of real time
 *   (TaskScope.virtual.test.ts).
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Pace, Share } from "./pace.ts"

declare const performance: { now(): number }

/** Real time, whatever clock the program runs on. */
export const realNow = (): number => performance.now()

/** The clock of everything that no one has given another. */
export const liveClock: Clock.Clock = Context.get(Context.empty(), Clock.Clock)

/** Whether a clock is that of a test. */
export const isVirtual = (clock: Clock.Clock): boolean => clock !== liveClock

/** Milliseconds on a monotonic scale. `performance.now` is a third of the cost of a bigint. */
export const now = (clock: Clock.Clock): number =>
  clock === liveClock ? performance.now() : Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000

/** The wall-clock time of a moment that was taken with `now`. */
export const wallTimeOf = (clock: Clock.Clock, moment: number): number =>
  Math.round(clock.currentTimeMillisUnsafe() - (now(clock) - moment))

/** How a wait of a stop ended. */
export type WaitEnd = "done" | "deadline" | "standstill"

/** The same second after which `TestClock` warns. */
const standstillMillis = 1000
const lookMillis = 50

// Ends when neither the virtual clock nor the work has moved for a second of real time.
const standstill = (clock: Clock.Clock, progress: () => number): Effect.Effect<WaitEnd> =>
  Effect.gen(function*() {
    let moment = now(clock)
    let seen = progress()
    let since = realNow()
    while (realNow() - since < standstillMillis) {
      yield* Effect.sleep(lookMillis)
      if (now(clock) !== moment || progress() !== seen) {
        moment = now(clock)
        seen = progress()
        since = realNow()
      }
    }
    return "standstill" as const
  }).pipe(Effect.provideService(Clock.Clock, liveClock))

/** Whose time a wait passes in. */
export interface Timing {
  readonly clock: Clock.Clock
  readonly pace: Pace
}

/** The moment on the clock of the deadlines; see `pace.ts`. */
export const moment = ({ clock, pace }: Timing): number => pace.moment(now(clock))

/** How many milliseconds are left until a deadline. */
export const timeLeft = ({ clock, pace }: Timing, deadline: number, share: Share): number =>
  Math.max(0, pace.left(deadline, now(clock), share))

/**
 * Waits for `done`, but not beyond `deadline`, or what haste leaves of it.
 * `progress` is any number that changes when the awaited work gets on.
 *
 * A race of effects would do the same and cost twice as much, for each arm more
 * is a fiber more. Here the timer is set anew when the pace changes.
 */
export const waitUntil = <E = never>(
  done: Effect.Effect<unknown, E>,
  timing: Timing,
  deadline: number,
  share: Share,
  progress: () => number
): Effect.Effect<WaitEnd, E> =>
  Effect.withFiber((fiber) => {
    const { clock, pace } = timing
    const run = Effect.runForkWith(fiber.context)
    return Effect.callback<WaitEnd, E>((resume) => {
      const arms = new Set<Fiber.Fiber<WaitEnd, E>>()
      let over = false
      let forget = () => {}
      const stop = () => {
        over = true
        forget()
        for (const arm of arms) arm.interruptUnsafe()
      }
      const start = (effect: Effect.Effect<WaitEnd, E>): Fiber.Fiber<WaitEnd, E> | undefined => {
        if (over) return undefined
        const arm = run(effect)
        arms.add(arm)
        arm.addObserver((exit) => {
          // A timer that another one takes the place of is not in the set any more.
          if (!arms.delete(arm) || over) return
          stop()
          resume(exit)
        })
        return arm
      }
      let timer: Fiber.Fiber<WaitEnd, E> | undefined
      const startTimer = () => {
        // Timers count whole milliseconds and drop the rest, so round up: a limit is never cut short. The tenth of
        // a microsecond is for deadlines that floating point puts a hair above a whole number.
        const remaining = Math.max(0, Math.ceil(pace.left(deadline, now(clock), share) - 1e-4))
        timer = start(Effect.as(clock.sleep(Duration.millis(remaining)), "deadline" as const))
      }

      start(Effect.as(done, "done" as const))
      startTimer()
      if (isVirtual(clock)) start(standstill(clock, progress))
      if (over) return
      forget = pace.watch(() => {
        if (timer !== undefined) {
          arms.delete(timer)
          timer.interruptUnsafe()
        }
        startTimer()
      })
      return Effect.sync(stop)
    })
  })
