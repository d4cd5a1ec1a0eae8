/**
 * What is known of the hashes of the files: which are there, and which have to
 * be made, or made again.
 */
export interface FileHash {
  readonly path: string
  bytes: number
  /** How many of the bytes are hashed. */
  done: number
  /** `"changed"` says that the file was written to while it was hashed. */
  state: "waiting" | "hashing" | "changed" | "settled"
  /** In hexadecimal digits; `undefined` as long as there is none, and for a file that cannot be read. */
  hash: string | undefined
}

export class Hashes {
  private readonly files = new Map<string, FileHash>()
  private readonly separator: string
  private settled = 0
  private bytes = 0
  private done = 0

  constructor(separator: string) {
    this.separator = separator
  }

  /** From 0 to 1, by bytes, and `undefined` when there is nothing left to do. */
  get progress(): number | undefined {
    if (this.settled === this.files.size) return undefined
    return this.bytes === 0 ? this.settled / this.files.size : this.done / this.bytes
  }

  hashOf(path: string): string | undefined {
    return this.files.get(path)?.hash
  }

  /** A file is new, or was written to. Gives what has to be hashed now, if it does not wait for that already. */
  want(path: string, bytes: number): FileHash | undefined {
    const known = this.files.get(path)
    this.bytes += bytes - (known?.bytes ?? 0)
    if (known === undefined) {
      const file: FileHash = { path, bytes, done: 0, state: "waiting", hash: undefined }
      this.files.set(path, file)
      return file
    }
    const { state } = known
    if (state === "settled") this.settled--
    this.setDone(known, 0)
    known.bytes = bytes
    known.hash = undefined
    known.state = state === "hashing" || state === "changed" ? "changed" : "waiting"
    return state === "settled" ? known : undefined
  }

  /** `false` when nobody wants the hash any more. */
  begin(file: FileHash): boolean {
    if (!this.has(file)) return false
    file.state = "hashing"
    return true
  }

  advance(file: FileHash, done: number): void {
    if (this.has(file) && file.state === "hashing") this.setDone(file, done)
  }

  /** Notes a hash. Gives the file if it has to be hashed again. */
  settle(file: FileHash, hash: string | undefined): FileHash | undefined {
    if (!this.has(file)) return undefined
    if (file.state === "changed") {
      file.state = "waiting"
      return file
    }
    this.setDone(file, file.bytes)
    this.settled++
    file.state = "settled"
    file.hash = hash
    return undefined
  }

  /** Forgets a file, or all files of a folder. */
  forget(path: string): void {
    const file = this.files.get(path)
    if (file !== undefined) return this.drop(file)
    for (const below of this.files.values()) {
      if (below.path.startsWith(path + this.separator)) this.drop(below)
    }
  }

  /** A file that was forgotten and came again is another one. */
  private has(file: FileHash): boolean {
    return this.files.get(file.path) === file
  }

  private drop(file: FileHash): void {
    this.setDone(file, 0)
    this.bytes -= file.bytes
    if (file.state === "settled") this.settled--
    this.files.delete(file.path)
  }

  private setDone(file: FileHash, done: number): void {
    const known = Math.min(done, file.bytes)
    this.done += known - file.done
    file.done = known
  }
}
