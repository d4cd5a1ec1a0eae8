/**
 * What is asked of the pools. Every answer is checked, so a candidate that did
 * not do its work is found out.
 */
import { type JobName, spin } from "./workers/jobs.ts"

/** One kind of call. */
export interface Work {
  readonly job: JobName
  readonly input: (index: number) => unknown
  readonly isRight: (index: number, output: unknown) => boolean
}

/** Calls that cost as little as a call can. */
export const tiny: Work = {
  job: "triple",
  input: (index) => index,
  isRight: (index, output) => output === index * 3
}

interface Entry {
  readonly id: number
  readonly name: string
  readonly tags: ReadonlyArray<string>
  readonly values: ReadonlyArray<number>
  readonly place: { readonly x: number; readonly y: number }
}

/** Some kilobyte as JSON. */
const entry = (id: number): Entry => ({
  id,
  name: `entry ${id} ${"n".repeat(200)}`,
  tags: Array.from({ length: 10 }, (_, tag) => `tag ${tag} ${"t".repeat(20)}`),
  values: Array.from({ length: 40 }, (_, value) => id + value / 8),
  place: { x: id, y: -id }
})

/** More than are ever in flight, so that no two calls share one. */
const entries = Array.from({ length: 1024 }, (_, id) => entry(id))

const pages = Array.from({ length: 4 }, (_, page) => entries.slice(page * 100, page * 100 + 100))

const texts = Array.from({ length: 4 }, (_, text) => `${text}${"abcdefghi ".repeat(10_000)}`)

const at = <A>(all: ReadonlyArray<A>, index: number): A => all[index % all.length]!

export const smallObjects: Work = {
  job: "echo",
  input: (index) => at(entries, index),
  isRight: (index, output) => {
    const sent = at(entries, index)
    const got = output as Entry
    return got !== sent && got.id === sent.id && got.place.y === sent.place.y && got.values.length === 40
  }
}

export const bigObjects: Work = {
  job: "echo",
  input: (index) => at(pages, index),
  isRight: (index, output) => {
    const sent = at(pages, index)
    const got = output as ReadonlyArray<Entry>
    return got !== sent && got.length === 100 && got[99]!.id === sent[99]!.id
  }
}

export const bigTexts: Work = {
  job: "echo",
  input: (index) => at(texts, index),
  isRight: (index, output) => output === at(texts, index)
}

const megabytes10 = 10 * 1024 * 1024

/** One buffer that goes there and back. */
export const moving = (): Work => {
  let buffer = new ArrayBuffer(megabytes10)
  return {
    job: "move",
    input: () => buffer,
    isRight: (_, output) => {
      const here = buffer.byteLength === 0
      buffer = output as ArrayBuffer
      return here && buffer.byteLength === megabytes10
    }
  }
}

/** The buffers that a call moves. */
export const movedBy = (work: Work, input: unknown): Array<ArrayBuffer> =>
  work.job === "move" ? [input as ArrayBuffer] : []

const often = 50_000

/** What `spin` is given for a millisecond here: the most of some attempts, for others use the cores as well. */
const spinsAMillisecond = (): number => {
  const attempts = Array.from({ length: 10 }, () => {
    const begin = performance.now()
    spin(often)
    return often / (performance.now() - begin)
  })
  return Math.max(...attempts)
}

/** Many short jobs and a few long ones among them, in the same order for everybody. */
export const mixOf = (short: number, long: number, shareOfLong: number): Work => {
  const spins = spinsAMillisecond()
  const kinds = [short, long].map((millis) => Math.round(millis * spins))
  const results = kinds.map((count) => spin(count))
  // A multiplicative hash spreads the long ones without any pattern that a round robin would meet.
  const kind = (index: number): number => (index * 2654435761 >>> 0) / 2 ** 32 < shareOfLong ? 1 : 0
  return {
    job: "spin",
    input: (index) => kinds[kind(index)],
    isRight: (index, output) => output === results[kind(index)]
  }
}
