/** What is in a chain, and between whom. */
export interface Link<A> {
  readonly value: A
  previous: Link<A> | undefined
  next: Link<A> | undefined
}

/** A list that anything can leave at any time, without a search. */
export class Chain<A> {
  first: Link<A> | undefined = undefined
  private last: Link<A> | undefined = undefined
  size = 0

  /** Adds a value at the end, or behind another one. */
  add(value: A, previous: Link<A> | undefined = this.last): Link<A> {
    const link: Link<A> = { value, previous, next: previous?.next }
    if (previous === undefined) this.first = link
    else previous.next = link
    if (link.next === undefined) this.last = link
    else link.next.previous = link
    this.size++
    return link
  }

  /** Takes out a link that is in it. */
  remove({ next, previous }: Link<A>): void {
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    this.size--
  }

  get values(): Array<A> {
    const values: Array<A> = []
    for (let at = this.first; at !== undefined; at = at.next) values.push(at.value)
    return values
  }
}
