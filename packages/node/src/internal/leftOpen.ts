/**
 * What keeps the process alive, by names that a person can look for.
 */
import type { ChildProcess } from "node:child_process"
import { Server, Socket } from "node:net"
import { MessagePort, Worker } from "node:worker_threads"

/** Not in the documentation of Node, so it is looked for and not relied on. */
type Handles = { readonly _getActiveHandles?: () => ReadonlyArray<object> }

const handles = (): ReadonlyArray<object> => (process as unknown as Handles)._getActiveHandles?.() ?? []

const countsOf = (names: ReadonlyArray<string>): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

/** What the handles below are called in the list of resources, where they would be told twice; and what is over in a moment. */
const otherwise = /^(TCP|Pipe|TTY|UDP|Process|FSEvent|Signal|MessagePort|Worker|StatWatcher|Immediate|\w*WriteWrap)/

const resources = (): Map<string, number> =>
  countsOf(process.getActiveResourcesInfo().filter((name) => !otherwise.test(name)))

const place = (address: ReturnType<Server["address"]> | {}): string => {
  if (typeof address === "string") return address
  if (address === null || !("port" in address)) return "a socket"
  return `${address.address}:${address.port}`
}

const nameOf = (handle: object): string => {
  if (handle instanceof Server) return `server on ${place(handle.address())}`
  if (handle instanceof Socket) {
    const { remoteAddress, remotePort } = handle
    return remoteAddress === undefined ? "pipe" : `socket to ${remoteAddress}:${remotePort}`
  }
  const { pid, spawnfile } = handle as Partial<ChildProcess>
  if (pid !== undefined && spawnfile !== undefined) return `child process ${pid} (${spawnfile})`
  return handle.constructor?.name ?? "a handle"
}

const resourceNames: Readonly<Record<string, string>> = { Timeout: "timer" }

/** What is open at one moment. */
export interface Open {
  /** Weak, for it is kept while the host lives, and what is closed meanwhile need not be. */
  readonly handles: WeakSet<object>
  readonly resources: ReadonlyMap<string, number>
}

export const whatIsOpen = (): Open => ({ handles: new WeakSet(handles()), resources: resources() })

/** Threads are the matter of those who made them, and in the report of a stop if they cannot be ended. */
const isOfThread = (handle: object): boolean => handle instanceof Worker || handle instanceof MessagePort

const isStdio = (handle: object): boolean => "fd" in handle && typeof handle.fd === "number" && handle.fd <= 2

/** What is open now and was not before. */
export const leftOpenSince = (before: Open): ReadonlyArray<string> => {
  const opened = handles().filter((handle) => !before.handles.has(handle) && !isStdio(handle) && !isOfThread(handle))
    .map(nameOf)
  for (const [name, count] of resources()) {
    const more = count - (before.resources.get(name) ?? 0)
    for (let index = 0; index < more; index++) opened.push(resourceNames[name] ?? name)
  }
  return [...countsOf(opened)].map(([name, count]) => count === 1 ? name : `${count} × ${name}`)
}
