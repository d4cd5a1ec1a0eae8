/**
 * Who goes on when there is more to do than a turn of the event loop is to hold.
 */
import { afterEach, beforeEach, expect, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { liveClock } from "../../packages/core/src/internal/clock.ts"
import { inTurn } from "../../packages/core/src/internal/turnstile.ts"
import { eventually } from "../support/eventually.ts"

const makeLine = () => {
  const passed: Array<string> = []
  return {
    passed,
    go: (name: string, then: () => void = () => {}) =>
      inTurn(liveClock, () => {
        passed.push(name)
        then()
      }),
    untilAll: (count: number) => eventually(Effect.sync(() => passed.length === count))
  }
}

/** A turn of the event loop in which nobody has passed yet. */
const freshTurn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve))))

// Time passes by hand, or a machine that is busy would take longer than what is tried here.
let time = 0
beforeEach(() => {
  vi.spyOn(performance, "now").mockImplementation(() => time)
})
afterEach(() => {
  vi.restoreAllMocks()
})

/** Longer than a turn is to be. */
const takeLong = (): void => {
  time += 5
}

it.live("who need not wait goes on at once", () =>
  Effect.gen(function*() {
    yield* freshTurn
    const { go, passed } = makeLine()
    go("one")
    go("two")
    expect(passed).toEqual(["one", "two"])
  }))

it.live("who comes first goes first, whenever it has come", () =>
  Effect.gen(function*() {
    yield* freshTurn
    const { go, passed, untilAll } = makeLine()
    go("long", takeLong)
    go("first", () => go("third"))
    go("second")
    expect(passed).toEqual(["long"])
    yield* untilAll(4)
    expect(passed).toEqual(["long", "first", "second", "third"])
  }))

it.live("what takes long lets the event loop have its turns", () =>
  Effect.gen(function*() {
    yield* freshTurn
    const { go, passed, untilAll } = makeLine()
    go("long", takeLong)
    for (let nth = 0; nth < 3; nth++) go("long", takeLong)
    const turns: Array<number> = []
    const turn = () => {
      turns.push(passed.length)
      if (passed.length < 4) setImmediate(turn)
    }
    setImmediate(turn)
    yield* untilAll(4)
    expect(turns).toEqual(expect.arrayContaining([2, 3]))
  }))

it.live("what throws when its turn has come keeps nobody else from going on", () =>
  Effect.gen(function*() {
    yield* freshTurn
    const { go, passed, untilAll } = makeLine()
    go("long", takeLong)
    go("throws", () => {
      throw new Error("an observer")
    })
    go("next")
    yield* untilAll(3)
    go("later")
    yield* untilAll(4)
    expect(passed).toEqual(["long", "throws", "next", "later"])
  }))
