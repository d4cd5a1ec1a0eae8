/**
 * The phases of a stop: what they are called, and where the stop is.
 *
 * stopping → draining → interrupting → finalWrite → closing
 *
 * Invariants
 * - A stop goes through all phases, each once and in this order. (Shutdown.test.ts)
 * - `enter` is the only place that moves a stop to another phase.
 */
import type { Limits } from "../Limits.ts"
import type { HookReport, PhaseReport, StopPhase } from "../ShutdownReport.ts"
import { roundMillis } from "../ShutdownReport.ts"

export const stopPhases: ReadonlyArray<StopPhase> = ["stopping", "draining", "interrupting", "finalWrite", "closing"]

/** What the hooks of a phase have together; those that run beside the stop have as long as it takes. */
export const phaseLimitOf = (limits: Limits, phase: StopPhase): number => {
  switch (phase) {
    case "stopping":
      return limits.announce
    case "draining":
    case "interrupting":
      return Infinity
    case "finalWrite":
    case "closing":
      return limits[phase]
  }
}

export class Phases {
  readonly reports: Array<HookReport> = []
  private index = -1
  private since = 0
  private readonly over: Array<PhaseReport> = []

  get phase(): StopPhase | undefined {
    return stopPhases[this.index]
  }

  /** Goes on to a phase, by way of those in between. Does nothing when the stop is there or further. */
  enter(phase: StopPhase, at: number, entered: (phase: StopPhase) => void): void {
    const last = stopPhases.indexOf(phase)
    // Who hears of a phase may bring about the next one in that very call.
    while (this.index < last) {
      this.end(at)
      this.index++
      this.since = at
      entered(stopPhases[this.index]!)
    }
  }

  /** The phases so far, the last one up to this moment. */
  told(at: number): ReadonlyArray<PhaseReport> {
    return this.phase === undefined
      ? this.over
      : [...this.over, { phase: this.phase, took: roundMillis(at - this.since) }]
  }

  hasBegun(phase: StopPhase): boolean {
    return this.index >= stopPhases.indexOf(phase)
  }

  private end(at: number): void {
    if (this.phase !== undefined) this.over.push({ phase: this.phase, took: roundMillis(at - this.since) })
  }
}
