import { assert, describe, it } from "@effect/vitest"
import { type Change, FileTree } from "../tree.ts"

const totals = ({ bytes, files, folders, unreadable }: FileTree) => ({ files, folders, bytes, unreadable })

const tree = () => {
  const tree = new FileTree("/")
  tree.addFolder("/r")
  tree.addFile("/r/a", 10)
  tree.addFolder("/r/sub")
  tree.addFile("/r/sub/b", 200)
  tree.addFolder("/r/sub/deep")
  tree.addFile("/r/subtle", 3000)
  return tree
}

describe("the tree of a folder", () => {
  it("knows how many files and folders there are, and their size", () => {
    assert.deepStrictEqual(totals(tree()), { files: 3, folders: 3, bytes: 3210, unreadable: 0 })
  })

  it("counts a file once, with its newest size", () => {
    const one = tree()
    one.addFile("/r/a", 11)
    one.addFolder("/r/sub")
    assert.deepStrictEqual(totals(one), { files: 3, folders: 3, bytes: 3211, unreadable: 0 })
  })

  it("forgets a folder with all that is in it, and nothing beside it", () => {
    const one = tree()
    assert.deepStrictEqual(one.remove("/r/sub"), ["/r/sub", "/r/sub/deep"])
    assert.deepStrictEqual(totals(one), { files: 2, folders: 1, bytes: 3010, unreadable: 0 })
  })

  it("a file that becomes a folder is no file any more, and the other way round", () => {
    const one = tree()
    one.addFolder("/r/a")
    assert.deepStrictEqual(totals(one), { files: 2, folders: 4, bytes: 3200, unreadable: 0 })
    one.addFile("/r/sub", 1)
    assert.deepStrictEqual(totals(one), { files: 2, folders: 2, bytes: 3001, unreadable: 0 })
  })

  it("forgetting what it does not know changes nothing", () => {
    const one = tree()
    assert.deepStrictEqual(one.remove("/elsewhere"), [])
    assert.deepStrictEqual(totals(one), totals(tree()))
  })

  it("counts what cannot be read once, until it or its folder is gone", () => {
    const one = tree()
    one.addUnreadable("/r/secret")
    one.addUnreadable("/r/secret")
    assert.strictEqual(one.unreadable, 1)
    one.remove("/r/secret")
    assert.strictEqual(one.unreadable, 0)
    one.addUnreadable("/r/sub/secret")
    one.remove("/r/sub")
    assert.strictEqual(one.unreadable, 0)
  })
})

describe("the newest changes", () => {
  const after = (...changes: ReadonlyArray<Change>) => {
    const tree = new FileTree("/")
    for (const change of changes) tree.note(change)
    return tree.changes.map(({ path, what }) => `${path} ${what}`)
  }

  it("come first, and each path once", () => {
    assert.deepStrictEqual(
      after({ path: "a", what: "changed", at: 1 }, { path: "b", what: "changed", at: 2 }, {
        path: "a",
        what: "removed",
        at: 3
      }),
      ["a removed", "b changed"]
    )
  })

  it("are five at most", () => {
    const changes = ["a", "b", "c", "d", "e", "f"].map((path, at): Change => ({ path, what: "created", at }))
    assert.deepStrictEqual(after(...changes).map((line) => line[0]), ["f", "e", "d", "c", "b"])
  })

  it("a file that is written right after it was created is a created one, and a changed one later", () => {
    const created: Change = { path: "a", what: "created", at: 0 }
    assert.deepStrictEqual(after(created, { path: "a", what: "changed", at: 999 }), ["a created"])
    assert.deepStrictEqual(after(created, { path: "a", what: "changed", at: 1000 }), ["a changed"])
  })

  it("what is a part of an earlier one is none of its own", () => {
    const tree = new FileTree("/")
    assert.isTrue(tree.note({ path: "a", what: "created", at: 0 }))
    assert.isFalse(tree.note({ path: "a", what: "changed", at: 999 }))
    assert.isTrue(tree.note({ path: "a", what: "removed", at: 999 }))
  })
})
