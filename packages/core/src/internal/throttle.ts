/**
 * What would be said again and again is said once a minute.
 *
 * Invariant: only what was said within the last minute is remembered, so names that come and go cost nothing.
 */

const minute = 60_000

interface Said {
  readonly at: number
  keptBack: number
}

/** Remembers what was said of whom. */
export class Throttle<in Of extends WeakKey> {
  private readonly said = new WeakMap<Of, Map<string, Said>>()

  /** Whether it is time to say it, and how often it was kept back since the last time; `undefined` when it is not. */
  turn(of: Of, name: string, at: number): number | undefined {
    const names = this.said.get(of) ?? new Map<string, Said>()
    this.said.set(of, names)
    const last = names.get(name)
    if (last !== undefined && at - last.at < minute) {
      last.keptBack++
      return undefined
    }
    names.delete(name)
    // In the order in which they were said.
    for (const [other, { at: saidAt }] of names) {
      if (at - saidAt < minute) break
      names.delete(other)
    }
    names.set(name, { at, keptBack: 0 })
    return last?.keptBack ?? 0
  }
}

/** As the end of a sentence. */
export const keptBack = (times: number): string => times === 0 ? "" : ` (and ${times} more since the last such line)`
