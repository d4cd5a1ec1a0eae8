/**
 * With which code the process ends.
 */
import type { ShutdownReport } from "@ambit/core/ShutdownReport"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import { constants } from "node:os"

export const exitCodes = { clean: 0, failed: 1, abandoned: 70, forced: 71 } as const

/** 128 and the number of the signal, as shells count. */
const codeOfSignal = (signal: string): number => {
  const numbers: Readonly<Record<string, number>> = constants.signals
  return 128 + (numbers[signal] ?? 0)
}

/** A number that is none would be cut to one of these, and be 0 of all things. */
const codeOfError = (error: unknown): number => {
  const code = Runtime.getErrorExitCode(error)
  return Number.isInteger(code) && code >= 0 && code <= 255 ? code : exitCodes.failed
}

/** Whether a stop has left something behind. */
export const gaveUp = ({ apps, hooks, tasks }: ShutdownReport): boolean =>
  tasks.some((task) => task.outcome === "abandoned") ||
  hooks.some((hook) => hook.outcome === "abandoned") ||
  apps.some((app) => app.resources === "abandoned")

/**
 * A failure says more than what was given up, and that says more than the signal
 * that began the stop.
 */
export const exitCodeOf = (
  exit: Exit.Exit<unknown, unknown>,
  uncaught: boolean,
  abandoned: boolean,
  signal: string | undefined
): number => {
  const interrupted = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
  if (Exit.isFailure(exit) && !interrupted) return codeOfError(Cause.squash(exit.cause))
  if (uncaught) return exitCodes.failed
  if (abandoned) return exitCodes.abandoned
  if (signal !== undefined) return codeOfSignal(signal)
  return interrupted ? codeOfSignal("SIGINT") : exitCodes.clean
}
