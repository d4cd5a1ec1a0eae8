/**
 * What a service manager is told. Node has no datagram sockets of the kind that
 * systemd listens on, so systemd's own program sends for it.
 */
import { spawn } from "node:child_process"

/** Tells systemd, if it listens. `failed` hears why that did not work. */
export const notify = (lines: ReadonlyArray<string>, failed: (problem: string) => void): void => {
  if (process.env["NOTIFY_SOCKET"] === undefined) return
  const child = spawn("systemd-notify", lines, { stdio: "ignore" })
  child.on("error", (error) => failed(error.message))
  child.on("exit", (code) => {
    if (code !== 0 && code !== null) failed(`systemd-notify ended with ${code}`)
  })
  child.unref()
}

/** How often systemd wants a sign of life, in milliseconds; `undefined` when it does not. */
export const watchdogEvery = (): number | undefined => {
  const { WATCHDOG_PID, WATCHDOG_USEC } = process.env
  if (process.env["NOTIFY_SOCKET"] === undefined || WATCHDOG_USEC === undefined) return undefined
  if (WATCHDOG_PID !== undefined && Number(WATCHDOG_PID) !== process.pid) return undefined
  const millis = Number(WATCHDOG_USEC) / 1000
  // Half of it, so that one late sign does no harm.
  return millis > 0 && millis < Infinity ? millis / 2 : undefined
}
