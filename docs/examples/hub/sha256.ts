/**
 * What the hub runs on threads. Each thread imports this file, so it has no
 * side effects, and loads no Effect.
 */
import * as BlockingFunction from "@ambit/core/BlockingFunction"
import * as Thread from "@ambit/node/Thread"
import { createHash } from "node:crypto"
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs"

/** Between two chunks the function looks whether anybody still waits: about once a millisecond. */
const chunkBytes = 1024 * 1024

// What was a file a moment ago may be a link or a pipe by now. The one is not followed, the other is not waited for.
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** `code` is that of the system, such as `ENOENT`. */
const unreadable = (path: string, code: string): Error =>
  Object.assign(new Error(`${path} cannot be read`), { _tag: "FileUnreadable", path, code })

const codeOf = (error: unknown): string => error instanceof Error && "code" in error ? String(error.code) : "unknown"

const attempt = <A>(path: string, read: () => A): A => {
  try {
    return read()
  } catch (error) {
    throw unreadable(path, codeOf(error))
  }
}

/** The SHA-256 of a file, in hexadecimal digits. Says after each full chunk how many bytes are done. */
export const sha256 = BlockingFunction.makeWithProgress(
  import.meta,
  "sha256",
  (progress: BlockingFunction.Progress<number>, path: string): string => {
    const file = attempt(path, () => openSync(path, flags))
    try {
      if (!fstatSync(file).isFile()) throw unreadable(path, "no file")
      const hash = createHash("sha256")
      const chunk = Buffer.allocUnsafe(chunkBytes)
      let done = 0
      while (true) {
        Thread.throwIfCancelled()
        const count = attempt(path, () => readSync(file, chunk))
        if (count === 0) return hash.digest("hex")
        hash.update(chunk.subarray(0, count))
        done += count
        if (count === chunkBytes) progress(done)
      }
    } finally {
      closeSync(file)
    }
  }
)
