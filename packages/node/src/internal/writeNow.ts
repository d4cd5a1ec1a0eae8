import { closeSync, constants, openSync, writeSync } from "node:fs"

/**
 * Writes to stderr in this very call, and never waits for a reader: a pipe that is
 * full gets what it has room for. A thread that ends the process must not hang in
 * its last words.
 */
export const writeNow = (text: string): void => {
  try {
    const stderr = openNow()
    try {
      writeSync(stderr ?? 2, text)
    } finally {
      if (stderr !== undefined) closeSync(stderr)
    }
  } catch {
    // Nobody reads it, and there is no other place to say so.
  }
}

// The same pipe or terminal once more, in a mode of its own that does not wait. Where that is not to be had, a plain write.
const openNow = (): number | undefined => {
  try {
    return openSync("/proc/self/fd/2", constants.O_WRONLY | constants.O_NONBLOCK | constants.O_APPEND)
  } catch {
    return undefined
  }
}
