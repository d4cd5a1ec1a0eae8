// @effect-diagnostics strictEffectProvide:off
import { App, Blocking, Host, Task, TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { FakePool } from "@ambit/vitest"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Logger, Path } from "effect"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { FileUnreadable, makeHashing } from "../hashing.ts"
import { sha256 } from "../sha256.ts"

const hashOf = (text: string) => createHash("sha256").update(text).digest("hex")

const folder = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "hub-" })
  return { fs, at: (name: string) => path.join(root, name) }
})

const largeBytes = 4 * 1024 ** 3

/** A file of zeros that takes no room on the disk: some seconds of hashing. */
const makeLarge = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  yield* fs.writeFileString(file, "")
  yield* fs.truncate(file, largeBytes)
})

const start = Effect.gen(function*() {
  const unreadable: Array<string> = []
  const hashing = yield* makeHashing({ separator: "/", onUnreadable: (path) => unreadable.push(path) })
  return { hashing, unreadable }
})

const quiet = Logger.layer([])

const inline = Layer.mergeAll(NodeServices.layer, TaskScope.layer("hub"), Blocking.layerInline, quiet)

const threaded = Layer.mergeAll(NodeServices.layer, BlockingPool.layer({ threads: 2, saturation: "none" }), quiet)

describe("the hash of a file", () => {
  it.effect("is that of all of it, however many chunks it takes", () =>
    Effect.gen(function*() {
      const { at, fs } = yield* folder
      const text = "0123456789".repeat(300_000)
      yield* fs.writeFileString(at("a"), text)
      assert.strictEqual(yield* Blocking.run(sha256, at("a")), hashOf(text))
    }).pipe(Effect.provide(inline)))

  it.effect("of what is gone, or no file, is a typed error", () =>
    Effect.gen(function*() {
      const { at, fs } = yield* folder
      yield* fs.makeDirectory(at("folder"))
      yield* fs.writeFileString(at("a"), "1")
      yield* fs.symlink(at("a"), at("link"))
      const codeOf = (name: string) =>
        Blocking.run(sha256, at(name)).pipe(
          Blocking.throws([FileUnreadable]),
          Effect.flip,
          Effect.map((error) => error._tag === "FileUnreadable" ? error.code : error.message)
        )
      assert.deepStrictEqual(yield* Effect.forEach(["nowhere", "folder", "link"], codeOf), [
        "ENOENT",
        "no file",
        "ELOOP"
      ])
    }).pipe(Effect.provide(inline)))
})

describe("hashing", () => {
  it.effect("hashes what it is told of, and again what has changed", () =>
    Effect.gen(function*() {
      const { at, fs } = yield* folder
      const { hashing } = yield* start
      yield* fs.writeFileString(at("a"), "1")
      hashing.want(at("a"), 1)
      assert.strictEqual(hashing.progress(), 0)
      yield* TestClock.adjust(0)
      assert.strictEqual(hashing.hashOf(at("a")), hashOf("1"))
      assert.isUndefined(hashing.progress())

      yield* fs.writeFileString(at("a"), "22")
      hashing.want(at("a"), 2)
      yield* TestClock.adjust(0)
      assert.strictEqual(hashing.hashOf(at("a")), hashOf("22"))
    }).pipe(Effect.provide(inline)))

  it.effect("goes on after a file that has vanished or cannot be read, and tells only of the second", () =>
    Effect.gen(function*() {
      const { at, fs } = yield* folder
      const { hashing, unreadable } = yield* start
      yield* fs.makeDirectory(at("b"))
      yield* fs.writeFileString(at("c"), "3")
      for (const name of ["a", "b", "c"]) hashing.want(at(name), 1)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(unreadable, [at("b")])
      assert.strictEqual(hashing.hashOf(at("c")), hashOf("3"))
      assert.isUndefined(hashing.progress())
    }).pipe(Effect.provide(inline)))
})

describe("a file on its way", () => {
  it.effect("is known by how much of it is hashed, and is the only one with one thread", () => {
    // A byte a second.
    const slowly = FakePool.fake(sha256, (path) =>
      Effect.as(
        Effect.forEach([1, 2, 3, 4], (done) => Effect.andThen(Effect.sleep("1 second"), FakePool.progress(done))),
        hashOf(path)
      ))
    return Effect.gen(function*() {
      const { hashing } = yield* start
      for (const name of ["a", "b"]) hashing.want(name, 4)
      const progress: Array<number | undefined> = []
      for (let second = 0; second <= 8; second++) {
        progress.push(hashing.progress())
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(progress, [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, undefined])
      assert.strictEqual(hashing.hashOf("b"), hashOf("b"))
    }).pipe(Effect.provide([TaskScope.layer("hub"), FakePool.layer([slowly], { threads: 1 })]))
  })
})

describe("on threads", () => {
  it.live("hashes as many files at a time as there are threads, beside the event loop", () =>
    Effect.gen(function*() {
      const { at } = yield* folder
      const pool = yield* Blocking.Blocking
      const { hashing } = yield* start
      for (const name of ["a", "b", "c"]) {
        yield* makeLarge(at(name))
        hashing.want(at(name), largeBytes)
      }
      const { calls } = yield* pool.status.pipe(
        Effect.delay("5 millis"),
        Effect.repeat({ until: ({ busy }) => busy === 2 && (hashing.progress() ?? 0) > 0 })
      )
      assert.strictEqual(calls.length, 2)
    }).pipe(Effect.provide(Layer.merge(threaded, TaskScope.layer("hub")))), 20_000)

  it.live("stops in the middle of a large file, within the grace, and loses no thread by it", () => {
    const app = App.layer(
      "files",
      Effect.gen(function*() {
        const { at } = yield* folder
        yield* makeLarge(at("large"))
        const { hashing } = yield* start
        hashing.want(at("large"), largeBytes)
        yield* Effect.sync(() => hashing.progress() ?? 0).pipe(
          Effect.delay("5 millis"),
          Effect.repeat({ until: (progress) => progress > 0 }),
          Effect.andThen(Host.requestStop("it hashes")),
          Task.spawn("stop")
        )
      })
    )
    return Effect.gen(function*() {
      const pool = yield* Blocking.Blocking
      const report = yield* Host.launch(app, { name: "hub", stopWithin: "5 seconds" })
      assert.isTrue(report.clean)
      assert.isBelow(report.took, 1000)
      const after = yield* pool.status.pipe(
        Effect.delay("5 millis"),
        Effect.repeat({ until: ({ busy }) => busy === 0 })
      )
      assert.deepStrictEqual([after.cancelled, after.killed, after.threads], [1, 0, 2])
    }).pipe(Effect.provide(threaded))
  }, 20_000)
})
