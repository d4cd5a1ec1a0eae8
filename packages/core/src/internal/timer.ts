/**
 * A timer: Idle → Started → Idle, and with `repeat` Started until it is stopped.
 *
 * Invariants
 * - It has a task exactly while it is started or runs. (Timer.test.ts)
 * - Nobody is woken to see that there is more time than before. (Timer.test.ts)
 */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { SpawnError } from "../Task.ts"
import type { TimerOptions } from "../Timer.ts"
import { now, wallTimeOf } from "./clock.ts"
import type { RunLimit } from "./limitedTask.ts"
import { noRuns, repeating, type Tick, until } from "./runs.ts"
import { spawn } from "./spawn.ts"
import { isLive, type ScopeImpl, TaskImpl } from "./state.ts"

type State =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Started"; readonly at: number; readonly period: number }

const idle: State = { _tag: "Idle" }

interface Made<A, E, R> {
  readonly scope: ScopeImpl
  readonly clock: Clock.Clock
  readonly name: string
  readonly context: Context.Context<R>
  readonly effect: Effect.Effect<A, E, R>
  readonly limit: RunLimit
  readonly options: TimerOptions | undefined
  readonly repeat: boolean
}

export class TimerImpl<A, E, R> {
  readonly runs = noRuns()
  private readonly made: Made<A, E, R>
  private state: State = idle
  private task: TaskImpl | undefined = undefined
  /** Ends the wait of the task, and when that ends by itself. */
  private wake = () => {}
  private wakesAt = Infinity

  constructor(made: Made<A, E, R>) {
    this.made = made
  }

  /** Milliseconds until it fires. */
  get left(): number | undefined {
    return this.state._tag === "Idle" ? undefined : Math.max(0, this.state.at - now(this.made.clock))
  }

  get status(): { readonly _tag: "Idle" } | { readonly _tag: "Started"; readonly firesAt: number } {
    const { state } = this
    return state._tag === "Idle" ? state : { _tag: "Started", firesAt: wallTimeOf(this.made.clock, state.at) }
  }

  stop(): boolean {
    const started = this.state._tag === "Started"
    this.state = idle
    this.wake()
    return started
  }

  restart(period: number): Effect.Effect<void, SpawnError> {
    const at = now(this.made.clock) + period
    this.state = { _tag: "Started", at, period }
    if (this.task !== undefined && isLive(this.task) && this.task.phase._tag !== "Stopping") {
      if (at < this.wakesAt) this.wake()
      return Effect.void
    }
    return this.begin()
  }

  private begin(): Effect.Effect<void, SpawnError> {
    const { context, effect, limit, name, options, scope } = this.made
    const own: { task?: TaskImpl } = {}
    const leave = () => {
      if (this.task === own.task) this.leave()
    }
    const work = Effect.ensuring(repeating(effect, this.tick, this.runs, limit), Effect.sync(leave))
    const task = spawn(scope, context, work, name, options)
    if (!(task instanceof TaskImpl)) {
      this.leave()
      return Effect.fail(task)
    }
    own.task = this.task = task as TaskImpl
    // One that is interrupted before its first step runs no clean-up.
    task.fiber.addObserver(leave)
    return Effect.void
  }

  private leave(): void {
    this.state = idle
    this.task = undefined
  }

  /** When a run has ended, or at the begin. */
  private readonly tick: Tick = () =>
    Effect.suspend(() => {
      const { clock, repeat } = this.made
      let skipped = 0
      if (this.state._tag === "Started" && repeat) {
        const { at, period } = this.state
        skipped = Math.max(0, Math.ceil((now(clock) - 1e-4 - at) / period))
        this.state = { _tag: "Started", at: at + skipped * period, period }
      }
      return this.fire(skipped)
    })

  private fire(skipped: number): Effect.Effect<number | undefined> {
    const { state } = this
    if (state._tag === "Idle") {
      // Now, so that a start that comes before the task has ended makes a new one.
      this.leave()
      return Effect.succeed(undefined)
    }
    if (state.at - now(this.made.clock) > 1e-4) {
      return Effect.flatMap(this.wait(state.at), () => this.fire(skipped))
    }
    this.state = this.made.repeat ? { ...state, at: state.at + state.period } : idle
    return Effect.succeed(skipped)
  }

  private wait(at: number): Effect.Effect<void> {
    const { clock } = this.made
    return Effect.callback<void>((resume) => {
      const timer = Effect.runFork(until(clock, at - now(clock)))
      timer.addObserver((exit) => {
        if (Exit.isSuccess(exit)) resume(Effect.void)
      })
      this.wakesAt = at
      this.wake = () => {
        timer.interruptUnsafe()
        resume(Effect.void)
      }
      return Effect.sync(() => timer.interruptUnsafe())
    }).pipe(Effect.ensuring(Effect.sync(() => {
      this.wakesAt = Infinity
      this.wake = () => {}
    })))
  }
}
