import type * as Fiber from "effect/Fiber"
import type * as References from "effect/References"

// `at poll (file:///srv/sensor.ts:12:3)` and `at file:///srv/sensor.ts:12:3` both hold `…/sensor.ts:12:3`.
const location = /(?:file:\/\/)?([^\s()]+:\d+:\d+)/

const placeOfFrame = (frame: References.StackFrame): string => {
  const found = frame.stack()?.match(location)?.[1]
  return found === undefined ? frame.name : `${frame.name} (${found})`
}

/** The fibers in which others have what they do, so that the place of the one is that of the other. */
export const standsFor = new WeakMap<Fiber.Fiber<unknown, unknown>, Fiber.Fiber<unknown, unknown>>()

// A fiber that has ended its own work may still wait for the fibers it forked; then the place is in there.
// `children` is no part of Effect's public type, so it is looked for, not relied on.
const childOf = (fiber: Fiber.Fiber<unknown, unknown>): Fiber.Fiber<unknown, unknown> | undefined => {
  const stand = standsFor.get(fiber)
  if (stand !== undefined) return stand
  if (!("_children" in fiber) || !(fiber._children instanceof Set)) return undefined
  for (const child of fiber._children) {
    if (child.pollUnsafe() === undefined) return child
  }
  return undefined
}

/**
 * Where a fiber is: its innermost span or `Effect.fn` frame, with file and
 * line. `undefined` when the work has neither, and for a task in its first step,
 * whose fiber is not known yet.
 */
export const placeOf = (fiber: Fiber.Fiber<unknown, unknown> | undefined): string | undefined => {
  if (fiber === undefined) return undefined
  const child = childOf(fiber)
  const inChild = placeOf(child)
  if (inChild !== undefined) return inChild
  const frame = fiber.cache.stackFrame
  return frame === undefined ? undefined : placeOfFrame(frame)
}
