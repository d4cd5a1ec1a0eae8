/**
 * How much time a stop has while it goes on: more when something in it asked
 * for more, less when somebody has lost patience. One for a tree of scopes.
 *
 * Deadlines are moments on a clock of their own, which stands still for as long
 * as more time was granted. So a grant moves all deadlines of a tree at once,
 * and nobody has to be told but those who wait.
 *
 * Invariants
 * - What is granted to stops that go on at the same time never adds up to more
 *   than `most`, and to nobody else anything. (Shutdown.test.ts)
 * - Patience is lost once and never comes back; what is granted later changes
 *   nothing in it. (Shutdown.haste.test.ts)
 */

/** What of the time that is left after patience was lost is over for whom. */
export const shares = {
  /** Hooks and the drain are cut short at once. */
  announce: 0,
  tasks: 0.5,
  resources: 0.7,
  layers: 0.8,
  finalWrite: 0.9,
  /** What is provided around the apps waits for the final write. */
  around: 0.95,
  all: 1
} as const

export type Share = typeof shares[keyof typeof shares]

export class Pace {
  /** How many milliseconds may be granted in all, while something stops. */
  readonly most: number
  /** How many have been, in all stops. */
  granted = 0
  /** How many have been since something stops. */
  private given = 0
  private stops = 0
  /** When patience was lost, in real milliseconds, and how many more everything has. */
  haste: { readonly since: number; readonly within: number } | undefined = undefined
  private readonly watchers = new Set<() => void>()
  private readonly steady: boolean

  constructor(most: number, steady: boolean) {
    this.most = most
    this.steady = steady && most === 0
  }

  /** The moment on the clock of the deadlines. */
  moment(now: number): number {
    return now - this.granted
  }

  /** How many milliseconds are left until a deadline. */
  left(deadline: number, now: number, share: Share): number {
    const { haste } = this
    const left = deadline - this.moment(now)
    return haste === undefined ? left : Math.min(left, haste.since + haste.within * share - now)
  }

  /** How much more time than it began with a stop has got since a moment, whose reading of both clocks it has. */
  grantedSince(since: number, from: number): number {
    return this.granted - (since - from)
  }

  stopBegins(): void {
    if (this.stops++ === 0) this.given = 0
  }

  stopEnds(): void {
    this.stops--
  }

  /** Grants as much of what is asked for as may be granted, and gives it. */
  grant(millis: number): number {
    if (this.stops === 0 || this.haste !== undefined) return 0
    const more = Math.max(0, Math.min(millis, this.most - this.given))
    if (more === 0) return 0
    this.given += more
    this.granted += more
    this.tell()
    return more
  }

  hurry(since: number, within: number): void {
    if (this.haste !== undefined) return
    this.haste = { since, within }
    this.tell()
  }

  /** Calls when the pace changes, which that of a tree without a host and without more time never does. */
  watch(look: () => void): () => void {
    if (this.steady) return () => {}
    this.watchers.add(look)
    return () => {
      this.watchers.delete(look)
    }
  }

  private tell(): void {
    // Those that hear of it may begin to watch, or leave, in this very call.
    const watching = Array.from(this.watchers)
    for (const look of watching) if (this.watchers.has(look)) look()
  }
}
