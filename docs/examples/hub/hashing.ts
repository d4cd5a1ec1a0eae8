/**
 * Hashes files on threads, as many at a time as the pool has threads.
 */
import { Blocking, Task } from "@ambit/core"
import { Effect, Queue, Schema, Stream } from "effect"
import { type FileHash, Hashes } from "./hashes.ts"
import { sha256 } from "./sha256.ts"

/** The file is gone, closed to us, or on a disk that is broken. Thrown by `sha256`, which knows only its fields. */
export class FileUnreadable
  extends Schema.TaggedError<FileUnreadable>("@ambit/docs/examples/hub/hashing/FileUnreadable")("FileUnreadable", {
    path: Schema.String,
    /** That of the system. */
    code: Schema.String
  })
{
  override get message(): string {
    return `${this.path} cannot be read: ${this.code}`
  }
}

export interface HashingOptions {
  /** Between the parts of a path. */
  readonly separator: string
  /** Is told of files that are there and cannot be read. */
  readonly onUnreadable: (path: string) => void
}

/** Starts the task that hashes. */
export const makeHashing = Effect.fnUntraced(function*({ onUnreadable, separator }: HashingOptions) {
  const pool = yield* Blocking.Blocking
  const { size } = yield* pool.status
  const hashes = new Hashes(separator)
  const queue = yield* Queue.unbounded<FileHash>()

  // A file that vanishes before its turn is no failure: whoever watches the folder hears of it as well.
  const read = (file: FileHash) =>
    Blocking.stream(sha256, file.path).pipe(
      Stream.runFold((): string | undefined => undefined, (hash, event) => {
        if (event._tag === "Result") return event.value
        hashes.advance(file, event.value)
        return hash
      }),
      Blocking.throws([FileUnreadable]),
      Effect.catchTag("FileUnreadable", ({ code, path }) =>
        Effect.sync(() => {
          if (code !== "ENOENT") onUnreadable(path)
          return undefined
        }))
    )

  const hash = Effect.fnUntraced(function*(file: FileHash) {
    if (!hashes.begin(file)) return
    const again = hashes.settle(file, yield* read(file))
    if (again !== undefined) yield* Queue.offer(queue, again)
  })

  yield* Stream.fromQueue(queue).pipe(
    Stream.mapEffect(hash, { concurrency: size, unordered: true }),
    Stream.runDrain,
    Task.spawn("hash")
  )

  return {
    /** A file is new, or was written to. */
    want: (path: string, bytes: number): void => {
      const file = hashes.want(path, bytes)
      if (file !== undefined) Queue.offerUnsafe(queue, file)
    },
    forget: (path: string): void => hashes.forget(path),
    hashOf: (path: string): string | undefined => hashes.hashOf(path),
    progress: (): number | undefined => hashes.progress
  }
})
