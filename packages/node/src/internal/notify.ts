/**
 * What a service manager is told. Node has no datagram sockets of the kind that
 * systemd listens on, so systemd's own program sends for it.
 */
import { spawn } from "node:child_process"
import { longestTimer } from "./longestTimer.ts"

/** Whether systemd listens. */
export const isNotified = (): boolean => (process.env["NOTIFY_SOCKET"] ?? "") !== ""

/** A reason may be any text, and systemd reads each line as a message of its own. */
const line = (text: string): string => text.replace(/\p{Cc}+/gu, " ").slice(0, 500)

/** Tells systemd, if it listens. `failed` hears why that did not work. */
export const notify = (lines: ReadonlyArray<string>, failed: (problem: string) => void): void => {
  if (!isNotified()) return
  try {
    const child = spawn("systemd-notify", lines.map(line), { stdio: "ignore" })
    child.on("error", (error) => failed(error.message))
    child.on("exit", (code) => {
      if (code !== 0 && code !== null) failed(`systemd-notify ended with ${code}`)
    })
    child.unref()
  } catch (error) {
    // It may not start programs, or there is no memory for one. A stop goes on.
    failed(error instanceof Error ? error.message : String(error))
  }
}

/** A sign of life costs a program each. */
const mostOften = 50

/** How often systemd wants a sign of life, in milliseconds; `undefined` when it does not. */
export const watchdogEvery = (): number | undefined => {
  const { WATCHDOG_PID, WATCHDOG_USEC } = process.env
  if (!isNotified() || WATCHDOG_USEC === undefined) return undefined
  if (WATCHDOG_PID !== undefined && Number(WATCHDOG_PID) !== process.pid) return undefined
  const millis = Number(WATCHDOG_USEC) / 1000
  // Half of it, so that one late sign does no harm.
  return millis > 0 ? Math.min(Math.max(millis / 2, mostOften), longestTimer) : undefined
}
