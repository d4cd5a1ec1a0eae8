/**
 * What a handler does with an event that comes while it runs, as numbers: every
 * mode is so many runs at once, and so many events that wait.
 */
import * as Result from "effect/Result"
import type { Overlap } from "../Bus.ts"
import { InvalidOption } from "../InvalidOption.ts"
import { shown } from "./shown.ts"

export interface Slots {
  readonly mode: Overlap["_tag"]
  readonly atOnce: number
  readonly waiting: number
}

const modes = "Bus.single, Bus.restart, Bus.queued(n), Bus.parallel(n)"

const refuse = (option: string, value: unknown, problem: string, remedy: string) =>
  Result.fail(new InvalidOption({ option, value: shown(value), problem, remedy }))

const count = (option: string, value: unknown, least: number): Result.Result<number, InvalidOption> =>
  Number.isSafeInteger(value) && (value as number) >= least
    ? Result.succeed(value as number)
    : refuse(option, value, `this is no whole number from ${least} on`, "A handler has to know when it is full")

export const checkOverlap = (of: string, overlap: Overlap): Result.Result<Slots, InvalidOption> =>
  Result.gen(function*() {
    switch (overlap?._tag) {
      case "Single":
        return { mode: "Single", atOnce: 1, waiting: 0 }
      // The newest event waits until the run before it has ended.
      case "Restart":
        return { mode: "Restart", atOnce: 1, waiting: 1 }
      case "Queued":
        return { mode: "Queued", atOnce: 1, waiting: yield* count(`n of Bus.queued(n) of ${of}`, overlap.waiting, 1) }
      case "Parallel":
        return {
          mode: "Parallel",
          atOnce: yield* count(`n of Bus.parallel(n) of ${of}`, overlap.atOnce, 1),
          waiting: yield* count(`waiting of Bus.parallel of ${of}`, overlap.waiting, 0)
        }
      default:
        return yield* refuse(`overlap of ${of}`, overlap, "there is no such mode", `Choose one of ${modes}`)
    }
  })
