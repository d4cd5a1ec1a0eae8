/**
 * The app that knows what is in a folder: it walks through the folder once,
 * watches it from then on, and hashes every file. What changes, it publishes.
 */
import { App, Bus, Task } from "@ambit/core"
import { Clock, Context, Effect, FileSystem, Layer, Path } from "effect"
import type { PlatformError } from "effect/PlatformError"
import type { Folder } from "./folder.ts"
import { makeHashing } from "./hashing.ts"
import { Changes } from "./topics.ts"
import { type Change, FileTree } from "./tree.ts"
import { type FileEvent, makeWatchers } from "./watchers.ts"

export interface FilesSummary {
  readonly files: number
  readonly folders: number
  readonly bytes: number
  /** How many files and folders are there and cannot be read. */
  readonly unreadable: number
  /** Whether a walk is on its way and the numbers still grow. */
  readonly walking: boolean
  /** How much of the bytes is hashed, from 0 to 1, and `undefined` when all of it is. */
  readonly hashing: number | undefined
  /** The newest first, with paths relative to the folder. */
  readonly changes: ReadonlyArray<Change>
  /** The SHA-256 of the file that changed last, once there is one. */
  readonly newestHash: string | undefined
}

export class Files extends Context.Service<Files, {
  readonly summary: Effect.Effect<FilesSummary>
}>()("@ambit/docs/examples/hub/files") {
  // A walk or a hash that is cut short loses nothing, so a stop does not wait for it.
  static readonly layer = (folder: Folder) => App.layer("files", Layer.effect(Files, start(folder)), { drain: "none" })
}

/** What tools fill by the thousand, and nobody reads. */
const skipped: ReadonlySet<string> = new Set(["node_modules", ".git", "dist"])

const start = Effect.fnUntraced(function*(root: Folder) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const tree = new FileTree(path.sep)
  const watchers = yield* makeWatchers
  let underWay = 0

  const hashing = yield* makeHashing({ separator: path.sep, onUnreadable: (at) => tree.addUnreadable(at) })

  const forget = (at: string) => {
    hashing.forget(at)
    return Effect.forEach(tree.remove(at), watchers.unwatch, { discard: true })
  }

  // Files come and go while they are looked at. Only what is there and stays closed counts as unreadable.
  const lost = (at: string, error: PlatformError) =>
    Effect.andThen(
      forget(at),
      Effect.sync(() => {
        if (error.reason._tag !== "NotFound") tree.addUnreadable(at)
      })
    )

  // Says whether it is a folder to walk through. A link is none, so a link to a folder above is no endless
  // way down; nor is the root of another file system, such as /proc.
  const look = (at: string) =>
    fs.lstat(at).pipe(
      Effect.map((info) => {
        if (info.type === "File") {
          tree.addFile(at, Number(info.size))
          hashing.want(at, Number(info.size))
        }
        return info.type === "Directory" && info.dev === root.device
      }),
      Effect.catch((error) => Effect.as(lost(at, error), false))
    )

  // Watching begins before the look inside, so that nothing comes in between unseen.
  const visit = Effect.fnUntraced(function*(folder: string) {
    tree.addFolder(folder)
    yield* watchers.watch(folder)
    const names = yield* fs.readDirectory(folder).pipe(Effect.catch((error) => Effect.as(lost(folder, error), [])))
    const paths = names.filter((name) => !skipped.has(name)).map((name) => path.join(folder, name))
    return yield* Effect.filter(paths, look, { concurrency: 16 })
  })

  const walk = Effect.fn("walk")(
    function*(from: string) {
      underWay++
      let folders = [from]
      while (folders.length > 0) {
        folders = (yield* Effect.forEach(folders, visit, { concurrency: 4 })).flat()
      }
    },
    Effect.ensuring(Effect.sync(() => {
      underWay--
    }))
  )

  const spawnWalk = (from: string) => Task.spawn(walk(from), "walk", { kind: "foreground" })

  const onEvent = Effect.fnUntraced(function*(event: FileEvent) {
    const at = event.path
    if (skipped.has(path.basename(at))) return
    const before = tree.has(at)
    if (event.what === "cameOrWent") yield* forget(at)
    if ((yield* look(at)) && !tree.has(at)) {
      tree.addFolder(at)
      // The app is stopping: what is in the new folder matters to nobody any more.
      yield* Effect.catchTag(spawnWalk(at), "ScopeClosed", () => Effect.void)
    }
    const after = tree.has(at)
    if (!before && !after) return
    const change: Change = {
      path: path.relative(root.path, at),
      what: !before ? "created" : after ? "changed" : "removed",
      at: yield* Clock.currentTimeMillis
    }
    if (tree.note(change)) yield* Bus.publish(Changes, change)
  })

  yield* watchers.events.pipe(
    Effect.flatMap((events) => Effect.forEach(events, onEvent, { discard: true })),
    Effect.forever,
    Task.spawn("watch")
  )
  yield* spawnWalk(root.path)

  return Files.of({
    summary: Effect.sync(() => ({
      files: tree.files,
      folders: tree.folders,
      bytes: tree.bytes,
      unreadable: tree.unreadable,
      walking: underWay > 0,
      hashing: hashing.progress(),
      changes: tree.changes,
      newestHash: hashing.hashOf(path.join(root.path, tree.changes[0]?.path ?? ""))
    }))
  })
})
