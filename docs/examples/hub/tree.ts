/**
 * What is known of a folder: which files and folders are in it, how large they
 * are, and what changed last.
 */
import { Schema } from "effect"

export const Change = Schema.Struct({
  path: Schema.String,
  what: Schema.Literals(["created", "changed", "removed"]),
  /** Milliseconds since 1970. */
  at: Schema.Finite
})
export type Change = typeof Change.Type

/** How many of the newest changes are kept, each path once. */
const keptChanges = 5

export class FileTree {
  /** The size of each file, and `"folder"` for a folder. */
  private readonly entries = new Map<string, number | "folder">()
  private readonly closed = new Set<string>()
  private readonly separator: string
  files = 0
  folders = 0
  bytes = 0
  /** The newest first. */
  changes: ReadonlyArray<Change> = []

  constructor(separator: string) {
    this.separator = separator
  }

  get unreadable(): number {
    return this.closed.size
  }

  has(path: string): boolean {
    return this.entries.has(path)
  }

  addFile(path: string, bytes: number): void {
    this.remove(path)
    this.entries.set(path, bytes)
    this.files++
    this.bytes += bytes
  }

  addFolder(path: string): void {
    if (this.entries.get(path) === "folder") return
    this.remove(path)
    this.entries.set(path, "folder")
    this.folders++
  }

  addUnreadable(path: string): void {
    this.closed.add(path)
  }

  /** Forgets a path and all below it, and gives the folders among them. */
  remove(path: string): ReadonlyArray<string> {
    this.closed.delete(path)
    const entry = this.entries.get(path)
    if (entry === undefined) return []
    this.forget(path, entry)
    if (entry !== "folder") return []
    const isBelow = (other: string) => other.startsWith(path + this.separator)
    for (const below of this.closed) {
      if (isBelow(below)) this.closed.delete(below)
    }
    const folders = [path]
    for (const [below, what] of this.entries) {
      if (!isBelow(below)) continue
      this.forget(below, what)
      if (what === "folder") folders.push(below)
    }
    return folders
  }

  /** What is written right after it was created is a part of its creation. Says whether it is a change of its own. */
  note(change: Change): boolean {
    const earlier = this.changes.find(({ path }) => path === change.path)
    if (change.what === "changed" && earlier?.what === "created" && change.at - earlier.at < 1000) return false
    const others = this.changes.filter(({ path }) => path !== change.path)
    this.changes = [change, ...others].slice(0, keptChanges)
    return true
  }

  private forget(path: string, entry: number | "folder"): void {
    this.entries.delete(path)
    if (entry === "folder") {
      this.folders--
    } else {
      this.files--
      this.bytes -= entry
    }
  }
}
