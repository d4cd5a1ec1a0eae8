import { assert, describe, it } from "@effect/vitest"
import type { FilesSummary } from "../files.ts"
import { digestLine } from "../line.ts"
import type { Usage } from "../usage.ts"

const usage: Usage = {
  cpu: 0.07,
  memory: { used: 2 ** 30, total: 2 ** 32 },
  disk: { read: 0, written: 2048 },
  network: { read: 100, written: 50 }
}

const files: FilesSummary = {
  files: 12,
  folders: 1,
  bytes: 3072,
  unreadable: 0,
  walking: false,
  hashing: undefined,
  changes: [],
  newestHash: undefined
}

const line = (changed: { readonly usage?: Usage; readonly files?: FilesSummary; readonly live?: boolean }) =>
  digestLine({ now: 10_000, minute: { ...usage, cpu: 0.5 }, usage, files, live: false, ...changed })

describe("the line of a digest", () => {
  it("says everything that is known, the most important first", () => {
    assert.strictEqual(
      line({}),
      "cpu   7% (1 min 50%) | mem 1 GiB of 4 GiB | 12 files in 1 folder, 3 KiB" +
        " | disk 0 B/s read, 2 KiB/s written | net 100 B/s in, 50 B/s out"
    )
  })

  it("leaves out what the machine does not tell", () => {
    const unknown = { ...usage, cpu: undefined, disk: undefined, network: undefined }
    assert.strictEqual(
      line({ usage: unknown }),
      "cpu    – (1 min 50%) | mem 1 GiB of 4 GiB | 12 files in 1 folder, 3 KiB"
    )
  })

  it("says when the files are still being counted, and how many cannot be read", () => {
    assert.include(line({ files: { ...files, walking: true, unreadable: 2 } }), "3 KiB, counting, 2 unreadable |")
  })

  it("says how far the hashing is, with a bar where the line is written anew", () => {
    const busy = { ...files, hashing: 0.42 }
    assert.include(line({ files: busy, live: true }), "| hashing ████░░░░░░ 42% |")
    assert.include(line({ files: busy }), "| hashing 42% |")
  })

  it("names the newest change with the hash of what is in the file now", () => {
    const changes = [{ path: "src/a.ts", what: "changed", at: 7000 }] as const
    const newestHash = "0123456789abcdef"
    assert.include(line({ files: { ...files, changes, newestHash } }), "| src/a.ts changed 3 s ago, sha256 01234567 |")
  })

  it("names the newest change and its age", () => {
    const changes = [{ path: "src/a.ts", what: "changed", at: 7000 }, { path: "b", what: "removed", at: 1 }] as const
    assert.include(line({ files: { ...files, changes } }), "| src/a.ts changed 3 s ago |")
  })

  it("is one line without control characters, whatever the name of a file", () => {
    const changes = [{ path: "evil\n\u001B[2J.txt", what: "created", at: 9000 }] as const
    assert.notMatch(line({ files: { ...files, changes } }), /\p{Cc}/u)
  })
})
