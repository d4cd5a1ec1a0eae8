/**
 * Tells a bus of the tasks that end, from the events of the scopes. Nobody reads
 * them while no handler wants to know.
 *
 * Invariant: the runs of the handlers that are told are not told themselves. Each
 * would be the reason for the next. (core/Bus.test.ts)
 */
import type * as Cause from "effect/Cause"
import type { TaskEnded } from "../Bus.ts"
import type { TaskEvent } from "../Task.ts"
import { shownCause } from "./shown.ts"
import type { Reader, ScopeImpl } from "./state.ts"

const outermost = (scope: ScopeImpl): ScopeImpl => {
  let at = scope
  while (at.parent !== undefined) at = at.parent
  return at
}

export class Ends {
  private readonly tell: (event: TaskEnded) => void
  /** How many handlers want to know of the tasks in a scope. */
  private readonly watched = new Map<ScopeImpl, { handlers: number; readonly reader: Reader }>()
  /** Whether the next task that starts is a run of such a handler. */
  private startsOwn = false
  private readonly own = new Set<string>()
  private readonly causes = new Map<string, Cause.Cause<unknown>>()

  constructor(tell: (event: TaskEnded) => void) {
    this.tell = tell
  }

  /** Tells of all tasks of the program that the scope is part of, as far as scopes connect it. */
  watch(scope: ScopeImpl): void {
    const root = outermost(scope)
    const watched = this.watched.get(root)
    if (watched !== undefined) {
      watched.handlers++
      return
    }
    const reader: Reader = { tell: (event) => this.read(event), end: () => this.forget(root) }
    this.watched.set(root, { handlers: 1, reader })
    ;(root.readers ??= new Set()).add(reader)
  }

  unwatch(scope: ScopeImpl): void {
    const root = outermost(scope)
    const watched = this.watched.get(root)
    if (watched === undefined || --watched.handlers > 0) return
    this.forget(root)
    root.readers?.delete(watched.reader)
    if (root.readers?.size === 0) root.readers = undefined
  }

  private forget(root: ScopeImpl): void {
    this.watched.delete(root)
    // Nobody hears of the ends that these wait for.
    if (this.watched.size > 0) return
    this.own.clear()
    this.causes.clear()
  }

  /** Starts a run of a handler that is told. The first task that starts meanwhile is that run. */
  starting<A>(start: () => A): A {
    this.startsOwn = true
    try {
      return start()
    } finally {
      this.startsOwn = false
    }
  }

  private read(event: TaskEvent): void {
    switch (event._tag) {
      case "Started": {
        if (this.startsOwn) this.own.add(event.path)
        this.startsOwn = false
        return
      }
      case "Failed": {
        this.causes.set(event.path, event.cause)
        return
      }
      // What a run failed with is not what its task ends with.
      case "Restarting":
      case "RunEnded": {
        this.causes.delete(event.path)
        return
      }
      case "Ended": {
        const { after, kind, late, outcome, path } = event
        const cause = this.causes.get(path)
        this.causes.delete(path)
        if (this.own.delete(path)) return
        this.tell({ path, kind, outcome, after, late, ...(cause === undefined ? {} : { error: shownCause(cause) }) })
      }
    }
  }
}
