/**
 * The functions that a pool has run, by a number each. A thread is told of a
 * function once; after that the number says which one it is.
 */
export class FunctionTable {
  readonly all: Array<{ readonly module: string; readonly name: string }> = []
  /** Those that have run, and no thread has died with since. A new thread loads them before it is asked to. */
  readonly kept = new Set<number>()
  private readonly ids = new Map<string, Map<string, number>>()

  idOf(module: string, name: string): number {
    const ofModule = this.ids.get(module) ?? new Map<string, number>()
    const known = ofModule.get(name)
    if (known !== undefined) return known
    this.ids.set(module, ofModule)
    ofModule.set(name, this.all.length)
    return this.all.push({ module, name }) - 1
  }

  keep(module: string, name: string): void {
    this.kept.add(this.idOf(module, name))
  }

  /** A thread has ended by itself: what it had loaded may do so again, and is loaded when it is asked for. */
  forget(ids: Iterable<number>): void {
    for (const id of ids) this.kept.delete(id)
  }
}
