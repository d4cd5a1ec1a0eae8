import { assert, describe, it } from "@effect/vitest"
import { type FileHash, Hashes } from "../hashes.ts"

/** That there is something to hash. */
const made = (file: FileHash | undefined): FileHash => {
  assert.isDefined(file)
  return file
}

describe("the hashes of a folder", () => {
  it("are made once for each file, and known by its path", () => {
    const hashes = new Hashes("/")
    const file = made(hashes.want("/r/a", 10))
    assert.isUndefined(hashes.want("/r/a", 20))
    assert.isTrue(hashes.begin(file))
    assert.isUndefined(hashes.settle(file, "0123"))
    assert.strictEqual(hashes.hashOf("/r/a"), "0123")
    assert.isUndefined(hashes.hashOf("/r/b"))
  })

  it("are as far as the bytes that are done, and nothing is left at the end", () => {
    const hashes = new Hashes("/")
    const [large, small] = [made(hashes.want("/r/large", 300)), made(hashes.want("/r/small", 100))]
    assert.strictEqual(hashes.progress, 0)
    hashes.begin(large)
    hashes.advance(large, 200)
    assert.strictEqual(hashes.progress, 0.5)
    hashes.begin(small)
    hashes.settle(small, "1")
    assert.strictEqual(hashes.progress, 0.75)
    hashes.settle(large, "2")
    assert.isUndefined(hashes.progress)
  })

  it("are as far as the files when none of them has a byte", () => {
    const hashes = new Hashes("/")
    const [one] = [made(hashes.want("/r/one", 0)), hashes.want("/r/two", 0)]
    hashes.begin(one)
    hashes.settle(one, "1")
    assert.strictEqual(hashes.progress, 0.5)
  })

  it("are not farther than whole when a file grows while it is hashed", () => {
    const hashes = new Hashes("/")
    const file = made(hashes.want("/r/a", 10))
    hashes.begin(file)
    hashes.advance(file, 1000)
    assert.strictEqual(hashes.progress, 1)
  })

  it("are made again for a file that was written to", () => {
    const hashes = new Hashes("/")
    const file = made(hashes.want("/r/a", 10))
    hashes.begin(file)
    hashes.settle(file, "old")
    assert.strictEqual(hashes.want("/r/a", 20), file)
    assert.strictEqual(hashes.progress, 0)
    assert.isUndefined(hashes.hashOf("/r/a"))
  })

  it("are made again, and once, for a file that was written to while it was hashed", () => {
    const hashes = new Hashes("/")
    const file = made(hashes.want("/r/a", 10))
    hashes.begin(file)
    assert.isUndefined(hashes.want("/r/a", 20))
    assert.isUndefined(hashes.want("/r/a", 30))
    assert.strictEqual(hashes.settle(file, "old"), file)
    assert.isUndefined(hashes.hashOf("/r/a"))
    hashes.begin(file)
    assert.isUndefined(hashes.settle(file, "new"))
    assert.strictEqual(hashes.hashOf("/r/a"), "new")
  })

  it("of a file that cannot be read are not there, and not missing either", () => {
    const hashes = new Hashes("/")
    const file = made(hashes.want("/r/a", 10))
    hashes.begin(file)
    hashes.settle(file, undefined)
    assert.isUndefined(hashes.hashOf("/r/a"))
    assert.isUndefined(hashes.progress)
  })

  it("are forgotten with the file, whatever comes in later", () => {
    const hashes = new Hashes("/")
    const file = made(hashes.want("/r/a", 10))
    hashes.begin(file)
    hashes.forget("/r/a")
    hashes.advance(file, 5)
    assert.isUndefined(hashes.settle(file, "late"))
    assert.isUndefined(hashes.hashOf("/r/a"))
    assert.isUndefined(hashes.progress)
    assert.isFalse(hashes.begin(file))
  })

  it("are forgotten with the folder, and those beside it are not", () => {
    const hashes = new Hashes("/")
    for (const path of ["/r/sub/a", "/r/sub/deep/b", "/r/subtle"]) {
      const file = made(hashes.want(path, 1))
      hashes.begin(file)
      hashes.settle(file, path)
    }
    hashes.forget("/r/sub")
    assert.deepStrictEqual(["/r/sub/a", "/r/sub/deep/b", "/r/subtle"].map((path) => hashes.hashOf(path)), [
      undefined,
      undefined,
      "/r/subtle"
    ])
    assert.isUndefined(hashes.progress)
  })
})
