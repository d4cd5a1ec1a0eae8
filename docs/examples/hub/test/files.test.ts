// @effect-diagnostics strictEffectProvide:off
import { Blocking, Bus, Job, TaskScope } from "@ambit/core"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Logger, Path, PlatformError, Stream } from "effect"
import { createHash } from "node:crypto"
import { mkdirSync, rmSync } from "node:fs"
import { basename } from "node:path"
import { Files, type FilesSummary } from "../files.ts"
import { FolderUnusable, openFolder } from "../folder.ts"
import { Changes } from "../topics.ts"
import type { Change } from "../tree.ts"

/** Makes files in a fresh folder: a text is the content of a file, and `undefined` makes a folder. */
const makeFolder = Effect.fnUntraced(function*(entries: Record<string, string | undefined>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "hub-" })
  for (const [name, text] of Object.entries(entries)) {
    const at = path.join(root, name)
    yield* fs.makeDirectory(text === undefined ? at : path.dirname(at), { recursive: true })
    if (text !== undefined) yield* fs.writeFileString(at, text)
  }
  return { fs, root, at: (name: string) => path.join(root, name) }
})

/** Starts the app on a folder, and gives its first summary that fits. */
const start = Effect.fnUntraced(function*(root: string) {
  const files = yield* Effect.flatMap(
    Layer.build(Layer.unwrap(Effect.map(openFolder(root), Files.layer))),
    (context) => Files.pipe(Effect.provideContext(context))
  )
  const until = (fits: (summary: FilesSummary) => boolean) =>
    files.summary.pipe(
      Effect.delay("5 millis"),
      Effect.repeat({ until: fits }),
      Effect.timeoutOrElse({
        duration: "5 seconds",
        orElse: () => Effect.flatMap(files.summary, (summary) => Effect.die(`it is ${JSON.stringify(summary)}`))
      })
    )
  return { until, walked: until((summary) => !summary.walking) }
})

const newest = ({ changes: [change] }: FilesSummary) => change === undefined ? "" : `${change.path} ${change.what}`

const noted = ({ changes }: FilesSummary, change: string) =>
  changes.some(({ path, what }) => `${path} ${what}` === change)

const totals = ({ bytes, files, folders, unreadable }: FilesSummary) => ({ files, folders, bytes, unreadable })

/** The file system, with some paths that behave as told. */
const withFiles = (changed: (fs: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>) =>
  Effect.updateService(FileSystem.FileSystem, (fs) => ({ ...fs, ...changed(fs) }))

const refusal = (tag: "NotFound" | "PermissionDenied") => (path: string) =>
  Effect.fail(
    PlatformError.systemError({ _tag: tag, module: "FileSystem", method: "test", pathOrDescriptor: path })
  )

const makeLog = () => {
  const lines: Array<string> = []
  return {
    lines,
    layer: Logger.layer([Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn" || logLevel === "Error") lines.push(String(message))
    })])
  }
}

const log = makeLog()

const services = Layer.mergeAll(NodeServices.layer, Blocking.layerInline, Bus.layer)

describe("the files app, on a folder as it is found", () => {
  it.live("counts files and folders, and leaves out what tools fill", () =>
    Effect.gen(function*() {
      const { root } = yield* makeFolder({
        "a.txt": "12345",
        "sub/deep/b.txt": "123",
        "empty": undefined,
        "node_modules/x/y.js": "1",
        "sub/node_modules/z.js": "1",
        ".git/HEAD": "1",
        "dist/out.js": "1"
      })
      const { walked } = yield* start(root)
      assert.deepStrictEqual(totals(yield* walked), { files: 2, folders: 4, bytes: 8, unreadable: 0 })
    }).pipe(Effect.provide([services, log.layer])))

  it.live("does not follow links, so one to a folder above it is no endless way down", () =>
    Effect.gen(function*() {
      const { at, fs, root } = yield* makeFolder({ "sub/a.txt": "12345" })
      yield* fs.symlink(root, at("sub/loop"))
      yield* fs.symlink(at("nowhere"), at("broken"))
      const { walked } = yield* start(root)
      assert.deepStrictEqual(totals(yield* walked), { files: 1, folders: 2, bytes: 5, unreadable: 0 })
    }).pipe(Effect.provide([services, log.layer])))

  it.live("opens the folder behind a link that it is given", () =>
    Effect.gen(function*() {
      const { at, fs } = yield* makeFolder({ "sub/a.txt": "12345" })
      yield* fs.symlink(at("sub"), at("link"))
      const { walked } = yield* start(at("link"))
      assert.deepStrictEqual(totals(yield* walked), { files: 1, folders: 1, bytes: 5, unreadable: 0 })
    }).pipe(Effect.provide([services, log.layer])))

  it.live("goes on when a file or a folder is gone before it was looked at", () =>
    Effect.gen(function*() {
      const { root } = yield* makeFolder({ "a.txt": "1", "gone.txt": "1", "left/b.txt": "1", "later/c.txt": "1" })
      const { walked } = yield* start(root)
      assert.deepStrictEqual(totals(yield* walked), { files: 2, folders: 2, bytes: 2, unreadable: 0 })
    }).pipe(
      withFiles((fs) => ({
        lstat: (path) => path.endsWith("gone.txt") ? refusal("NotFound")(path) : fs.lstat(path),
        readDirectory: (path, options) =>
          path.endsWith("left") ? refusal("NotFound")(path) : fs.readDirectory(path, options)
      })),
      Effect.provide([services, log.layer])
    ))

  it.live("counts what cannot be read, and goes on", () =>
    Effect.gen(function*() {
      const { root } = yield* makeFolder({ "a.txt": "1", "secret.txt": "1", "closed/b.txt": "1" })
      const { walked } = yield* start(root)
      assert.deepStrictEqual(totals(yield* walked), { files: 1, folders: 1, bytes: 1, unreadable: 2 })
    }).pipe(
      withFiles((fs) => ({
        lstat: (path) => path.endsWith("secret.txt") ? refusal("PermissionDenied")(path) : fs.lstat(path),
        readDirectory: (path, options) =>
          path.endsWith("closed") ? refusal("PermissionDenied")(path) : fs.readDirectory(path, options)
      })),
      Effect.provide([services, log.layer])
    ))

  it.live("says once that changes are not seen when the system has no watches left, and counts all the same", () => {
    const ownLog = makeLog()
    return Effect.gen(function*() {
      const { root } = yield* makeFolder({ "a/a.txt": "1", "b/b.txt": "1", "c/c.txt": "1" })
      const { walked } = yield* start(root)
      assert.deepStrictEqual(totals(yield* walked), { files: 3, folders: 4, bytes: 3, unreadable: 0 })
      assert.strictEqual(ownLog.lines.length, 1)
      assert.match(ownLog.lines[0] ?? "", /^Changes in .*, and maybe in others, are not seen/)
    }).pipe(
      withFiles(() => ({ watch: () => Stream.die(new Error("ENOSPC")) })),
      Effect.provide([services, ownLog.layer])
    )
  })
})

describe("the files app, while things change", () => {
  it.live("sees a file come, grow and go", () =>
    Effect.gen(function*() {
      const { at, fs, root } = yield* makeFolder({ "a.txt": "1" })
      const { until, walked } = yield* start(root)
      yield* walked
      yield* fs.writeFileString(at("b.txt"), "123")
      yield* until((summary) => summary.bytes === 4 && newest(summary) === "b.txt created")
      yield* fs.writeFileString(at("a.txt"), "12345")
      yield* until((summary) => summary.bytes === 8 && newest(summary) === "a.txt changed")
      yield* fs.remove(at("b.txt"))
      const gone = yield* until((summary) => summary.files === 1 && newest(summary) === "b.txt removed")
      assert.deepStrictEqual(totals(gone), { files: 1, folders: 1, bytes: 5, unreadable: 0 })
    }).pipe(Effect.provide([services, log.layer])))

  it.live("publishes each change", () =>
    Effect.gen(function*() {
      const changes: Array<string> = []
      const note = Job.callback("note", ({ path, what }: Change) => changes.push(`${path} ${what}`))
      yield* Bus.on(Changes, note)
      const { at, fs, root } = yield* makeFolder({ "a.txt": "1" })
      const { until, walked } = yield* start(root)
      yield* walked
      yield* fs.makeDirectory(at("new"))
      yield* until((summary) => newest(summary) === "new created")
      yield* fs.remove(at("a.txt"))
      yield* until((summary) => newest(summary) === "a.txt removed")
      assert.deepStrictEqual(changes, ["new created", "a.txt removed"])
    }).pipe(Effect.provide([services, log.layer, TaskScope.layer("test")])))

  it.live("knows the hash of the file that changed last", () =>
    Effect.gen(function*() {
      const { at, fs, root } = yield* makeFolder({ "a.txt": "1" })
      const { until, walked } = yield* start(root)
      yield* walked
      const hashed = (text: string) => (summary: FilesSummary) =>
        newest(summary).startsWith("a.txt") && summary.hashing === undefined &&
        summary.newestHash === createHash("sha256").update(text).digest("hex")
      yield* fs.writeFileString(at("a.txt"), "12345")
      yield* until(hashed("12345"))
      yield* fs.writeFileString(at("a.txt"), "67890")
      yield* until(hashed("67890"))
    }).pipe(Effect.provide([services, log.layer])))

  it.live("sees what happens in a folder that came later, and under its new name when it is moved", () =>
    Effect.gen(function*() {
      const { at, fs, root } = yield* makeFolder({})
      const { until, walked } = yield* start(root)
      yield* walked
      yield* fs.makeDirectory(at("new/deep"), { recursive: true })
      yield* fs.writeFileString(at("new/deep/a.txt"), "1")
      yield* until((summary) => summary.files === 1 && !summary.walking)
      yield* fs.rename(at("new"), at("moved"))
      // The system tells in no fixed order that the old name is gone and that the new one is there.
      yield* until((summary) =>
        noted(summary, "new removed") && noted(summary, "moved created") && summary.files === 1 && !summary.walking
      )
      yield* fs.writeFileString(at("moved/deep/b.txt"), "22")
      const seen = yield* until((summary) => summary.bytes === 3 && noted(summary, "moved/deep/b.txt created"))
      assert.deepStrictEqual(totals(seen), { files: 2, folders: 3, bytes: 3, unreadable: 0 })
    }).pipe(Effect.provide([services, log.layer])))

  it.live("forgets a folder that was removed, with all that was in it", () =>
    Effect.gen(function*() {
      const { at, fs, root } = yield* makeFolder({ "sub/deep/a.txt": "1", "sub/b.txt": "1", "c.txt": "1" })
      const { until, walked } = yield* start(root)
      yield* walked
      yield* fs.remove(at("sub"), { recursive: true })
      const left = yield* until((summary) => summary.folders === 1 && newest(summary) === "sub removed")
      assert.deepStrictEqual(totals(left), { files: 1, folders: 1, bytes: 1, unreadable: 0 })
    }).pipe(Effect.provide([services, log.layer])))

  it.live("sees what is in a folder that was removed and made again at once", () =>
    Effect.gen(function*() {
      const { at, fs, root } = yield* makeFolder({ "sub/old.txt": "1", "sub/old/er.txt": "1" })
      const { until, walked } = yield* start(root)
      yield* walked
      rmSync(at("sub"), { recursive: true })
      mkdirSync(at("sub"))
      yield* until((summary) => summary.files === 0 && summary.folders === 2 && !summary.walking)
      yield* fs.writeFileString(at("sub/new.txt"), "123")
      const seen = yield* until((summary) => summary.bytes === 3)
      assert.deepStrictEqual(totals(seen), { files: 1, folders: 2, bytes: 3, unreadable: 0 })
    }).pipe(Effect.provide([services, log.layer])))

  it.live("watches each folder before it looks inside, so that nothing comes in between", () => {
    const steps: Array<string> = []
    return Effect.gen(function*() {
      const { root } = yield* makeFolder({ "sub/a.txt": "1" })
      const { walked } = yield* start(root)
      steps.length = 0
      yield* walked
      assert.deepStrictEqual(steps.filter((step) => step.endsWith("sub")), ["watch sub", "list sub"])
    }).pipe(
      withFiles((fs) => ({
        watch: (path, options) =>
          Stream.unwrap(Effect.sync(() => {
            const onReady = () => {
              steps.push(`watch ${basename(path)}`)
              options?.onReady?.()
            }
            return fs.watch(path, { ...options, onReady })
          })).pipe(Stream.onStart(Effect.sleep("20 millis"))),
        readDirectory: (path, options) => {
          steps.push(`list ${basename(path)}`)
          return fs.readDirectory(path, options)
        }
      })),
      Effect.provide([services, log.layer])
    )
  })

  it.live("watches each folder once, as long as it is there, and none when the app has stopped", () => {
    const watched: Array<string> = []
    return Effect.gen(function*() {
      const { at, fs, root } = yield* makeFolder({ "a/deep/a.txt": "1", "b/b.txt": "1" })
      const names = () => watched.map((path) => path.slice(root.length)).toSorted()
      yield* Effect.scoped(Effect.gen(function*() {
        const { until, walked } = yield* start(root)
        yield* walked
        assert.deepStrictEqual(names(), ["", "/a", "/a/deep", "/b"])
        yield* fs.rename(at("a"), at("c"))
        yield* fs.remove(at("b"), { recursive: true })
        yield* until((summary) =>
          noted(summary, "a removed") && noted(summary, "b removed") && noted(summary, "c created") &&
          summary.files === 1 && !summary.walking
        )
        assert.deepStrictEqual(names(), ["", "/c", "/c/deep"])
      }))
      assert.deepStrictEqual(names(), [])
    }).pipe(
      withFiles((fs) => ({
        watch: (path, options) =>
          fs.watch(path, options).pipe(
            Stream.onStart(Effect.sync(() => {
              watched.push(path)
            })),
            Stream.ensuring(Effect.sync(() => {
              watched.splice(watched.indexOf(path), 1)
            }))
          )
      })),
      Effect.provide([services, log.layer])
    )
  })

  it.live("does not look into folders that it skips", () =>
    Effect.gen(function*() {
      const { at, fs, root } = yield* makeFolder({ "a.txt": "1" })
      const { until, walked } = yield* start(root)
      yield* walked
      yield* fs.makeDirectory(at("node_modules"))
      yield* fs.writeFileString(at("node_modules/x.js"), "1")
      yield* fs.writeFileString(at("after.txt"), "1")
      const seen = yield* until((summary) => summary.files === 2)
      assert.deepStrictEqual(seen.changes.map(({ path }) => path), ["after.txt"])
    }).pipe(Effect.provide([services, log.layer])))
})

describe("a folder that cannot be used", () => {
  const problem = (folder: string) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(openFolder(folder))
      assert.instanceOf(error, FolderUnusable)
      return error.message
    })

  it.live("is said to be missing when it is", () =>
    Effect.gen(function*() {
      const { at } = yield* makeFolder({})
      assert.strictEqual(yield* problem(at("no")), `${at("no")} cannot be watched: there is no such folder`)
    }).pipe(Effect.provide(NodeServices.layer)))

  it.live("is said to be no folder when it is a file", () =>
    Effect.gen(function*() {
      const { at } = yield* makeFolder({ "a.txt": "1" })
      assert.strictEqual(yield* problem(at("a.txt")), `${at("a.txt")} cannot be watched: it is no folder`)
    }).pipe(Effect.provide(NodeServices.layer)))

  it.live("is said to be closed when it may not be listed", () =>
    Effect.gen(function*() {
      const { root } = yield* makeFolder({})
      assert.strictEqual(yield* problem(root), `${root} cannot be watched: you may not open it`)
    }).pipe(
      withFiles(() => ({ readDirectory: refusal("PermissionDenied") })),
      Effect.provide(NodeServices.layer)
    ))
})
