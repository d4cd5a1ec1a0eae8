/**
 * What the machine did between two readings of its counters. Pure.
 */
import type { Counters } from "./machine.ts"
import type { Memory, Traffic } from "./procfs.ts"

/** Counters with the moment of their reading, in milliseconds of a clock that never jumps. */
export interface Sample extends Counters {
  readonly at: number
}

/** What is a rate is `undefined` as long as there is only one sample. */
export interface Usage {
  /** From 0 to 1, all processors together. */
  readonly cpu: number | undefined
  readonly memory: Memory
  /** Bytes a second. */
  readonly disk: Traffic | undefined
  readonly network: Traffic | undefined
}

export const usageBetween = (before: Sample, after: Sample): Usage => {
  const seconds = (after.at - before.at) / 1000
  return {
    cpu: share(growth(before.cpu.busy, after.cpu.busy), growth(before.cpu.total, after.cpu.total)),
    memory: after.memory,
    disk: rate(before.disk, after.disk, seconds),
    network: rate(before.network, after.network, seconds)
  }
}

// A disk or an interface that was taken out takes its count with it. That is no negative traffic.
const growth = (before: number, after: number): number => Math.max(0, after - before)

const share = (busy: number, total: number): number | undefined => total === 0 ? undefined : Math.min(1, busy / total)

const rate = (before: Traffic | undefined, after: Traffic | undefined, seconds: number): Traffic | undefined =>
  before === undefined || after === undefined || seconds <= 0 ? undefined : {
    read: growth(before.read, after.read) / seconds,
    written: growth(before.written, after.written) / seconds
  }

/** The newest samples, the oldest first. There is always one. */
export type Window = readonly [Sample, ...ReadonlyArray<Sample>]

/** A sample a second makes this a minute. */
export const windowSize = 60

export const addSample = (window: Window, sample: Sample): Window => {
  const [first = sample, ...others] = [...window, sample].slice(-windowSize)
  return [first, ...others]
}

/** The usage of the last `millis`, or of the whole window when that is shorter. */
export const usageOf = (window: Window, millis: number): Usage => {
  const newest = window.at(-1) ?? window[0]
  const oldest = window.findLast(({ at }) => at < newest.at && newest.at - at >= millis) ?? window[0]
  return usageBetween(oldest, newest)
}

/** What is in use, as shares from 0 to 1. */
export const sharesOf = ({ cpu, memory }: Usage): { readonly cpu: number; readonly memory: number } => ({
  cpu: cpu ?? 0,
  memory: memory.total === 0 ? 0 : memory.used / memory.total
})
