import { readFileSync } from "node:fs"
import { cpus } from "node:os"

const allowedCores = (): string | undefined => {
  try {
    return /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
  } catch {
    // Only Linux tells.
    return undefined
  }
}

/** Whether this process may use all cores, in words. */
export const affinity = (): string => {
  const all = cpus().length
  const allowed = allowedCores()
  if (allowed === undefined) return `${all} cores`
  return /^\d+$/.test(allowed) && all > 1 ? `pinned to core ${allowed} of ${all}` : `${all} cores, of which ${allowed}`
}
