/**
 * The phases of a stop: what they are called, the hooks in them, and where the
 * stop is.
 *
 * stopping → draining → interrupting → finalWrite → closing
 *
 * Invariants
 * - A stop goes through all phases, each once and in this order. (Shutdown.test.ts)
 * - `enter` is the only place that moves a stop to another phase.
 */
import type { HookReport, PhaseReport, StopPhase } from "../ShutdownReport.ts"
import { roundMillis } from "../ShutdownReport.ts"
import type { AppImpl, Life } from "./app.ts"
import type { Hook } from "./hooks.ts"

export const stopPhases: ReadonlyArray<StopPhase> = ["stopping", "draining", "interrupting", "finalWrite", "closing"]

/** A hook with the app that has registered it. */
export interface PhaseHook {
  readonly app: AppImpl
  readonly life: Life
  readonly phase: StopPhase
  readonly hook: Hook
}

export class Phases {
  phase: StopPhase | undefined = undefined
  readonly reports: Array<HookReport> = []
  private since = 0
  private readonly over: Array<PhaseReport> = []

  /** Goes on to a phase, by way of those in between. `false` when the stop is there or further. */
  enter(phase: StopPhase, at: number, entered: (phase: StopPhase) => void): boolean {
    const first = this.phase === undefined ? 0 : stopPhases.indexOf(this.phase) + 1
    const last = stopPhases.indexOf(phase)
    for (let index = first; index <= last; index++) {
      this.end(at)
      this.phase = stopPhases[index]!
      this.since = at
      entered(this.phase)
    }
    return first <= last
  }

  /** The phases so far, the last one up to this moment. */
  told(at: number): ReadonlyArray<PhaseReport> {
    return this.phase === undefined
      ? this.over
      : [...this.over, { phase: this.phase, took: roundMillis(at - this.since) }]
  }

  hasBegun(phase: StopPhase): boolean {
    return this.phase !== undefined && stopPhases.indexOf(this.phase) >= stopPhases.indexOf(phase)
  }

  private end(at: number): void {
    if (this.phase !== undefined) this.over.push({ phase: this.phase, took: roundMillis(at - this.since) })
  }
}
