/**
 * Watches many folders, one by one. A recursive watch of the system would also
 * enter the folders that nobody wants to see.
 */
import { type Cause, Effect, FiberMap, FileSystem, Latch, Path, Queue, Stream } from "effect"
import { printable } from "./format.ts"

/** Something happened to a path: it came, went, or changed. */
export interface FileEvent {
  readonly path: string
  readonly what: "cameOrWent" | "changed"
}

/** The watchers live as long as the scope around. */
export const makeWatchers = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const { join } = yield* Path.Path
  const queue = yield* Queue.unbounded<FileEvent>()
  const watchers = yield* FiberMap.make<string>()
  let warned = false

  const forward = (folder: string, onReady: () => void) =>
    Stream.runForEach(fs.watch(folder, { onReady }), (event) =>
      Queue.offer(queue, {
        path: join(folder, event.path),
        what: event._tag === "Update" ? "changed" : "cameOrWent"
      }))

  // The system runs out of watches in very large trees. One line says so; a line a folder would help nobody.
  const missed = (folder: string, cause: Cause.Cause<unknown>) =>
    Effect.gen(function*() {
      const there = yield* Effect.orElseSucceed(fs.exists(folder), () => false)
      if (!there || warned) return
      warned = true
      yield* Effect.logWarning(`Changes in ${printable(folder)}, and maybe in others, are not seen`, cause)
    })

  return {
    /** Returns when every change from now on will be told. */
    watch: Effect.fnUntraced(function*(folder: string) {
      const installed = yield* Latch.make()
      yield* forward(folder, () => installed.openUnsafe()).pipe(
        Effect.catchCause((cause) => missed(folder, cause)),
        Effect.ensuring(installed.open),
        FiberMap.run(watchers, folder)
      )
      yield* installed.await
    }),
    unwatch: (folder: string) => FiberMap.remove(watchers, folder),
    /** What happened since the last call, each path once. Waits until something has. */
    events: Effect.map(Queue.takeAll(queue), (events) => {
      const newest = new Map<string, FileEvent>()
      for (const event of events) {
        if (newest.get(event.path)?.what !== "cameOrWent") newest.set(event.path, event)
      }
      return [...newest.values()]
    })
  }
})
