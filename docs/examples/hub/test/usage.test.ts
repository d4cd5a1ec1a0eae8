import { assert, describe, it } from "@effect/vitest"
import { addSample, type Sample, usageBetween, usageOf, type Window, windowSize } from "../usage.ts"

/** A machine that does the same thing all the time, `seconds` after its start. */
const sample = (seconds: number): Sample => ({
  at: seconds * 1000,
  cpu: { busy: 25 * seconds, total: 100 * seconds },
  memory: { used: 1, total: 2 },
  disk: { read: 10 * seconds, written: 20 * seconds },
  network: { read: 30 * seconds, written: 40 * seconds }
})

const windowOf = (count: number): Window => {
  let window: Window = [sample(0)]
  for (let seconds = 1; seconds < count; seconds++) window = addSample(window, sample(seconds))
  return window
}

describe("usage between two samples", () => {
  it("a rate is the difference by the time", () => {
    assert.deepStrictEqual(usageBetween(sample(1), sample(3)), {
      cpu: 0.25,
      memory: { used: 1, total: 2 },
      disk: { read: 10, written: 20 },
      network: { read: 30, written: 40 }
    })
  })

  it("memory is no rate: one sample is enough for it, and for nothing else", () => {
    assert.deepStrictEqual(usageBetween(sample(1), sample(1)), {
      cpu: undefined,
      memory: { used: 1, total: 2 },
      disk: undefined,
      network: undefined
    })
  })

  it("a disk that was taken out gives no negative rate", () => {
    const after = { ...sample(2), disk: { read: 0, written: 25 } }
    assert.deepStrictEqual(usageBetween(sample(1), after).disk, { read: 0, written: 5 })
  })

  it("what one of the two does not tell has no rate", () => {
    assert.isUndefined(usageBetween({ ...sample(1), network: undefined }, sample(2)).network)
    assert.isUndefined(usageBetween(sample(1), { ...sample(2), network: undefined }).network)
  })

  it("the processor is never more than busy, whatever the counters say", () => {
    const after = { ...sample(2), cpu: { busy: 1000, total: 200 } }
    assert.strictEqual(usageBetween(sample(1), after).cpu, 1)
  })
})

describe("the window", () => {
  it("keeps the newest 60 samples", () => {
    const window = windowOf(200)
    assert.strictEqual(window.length, windowSize)
    assert.strictEqual(window[0].at, 140_000)
    assert.strictEqual(window.at(-1)?.at, 199_000)
  })

  it("usage reaches back as far as asked, and no further", () => {
    const quiet = windowOf(30)
    const busy = addSample(quiet, { ...sample(30), cpu: { busy: 29 * 25 + 100, total: 3000 } })
    assert.strictEqual(usageOf(busy, 1000).cpu, 1)
    assert.strictEqual(usageOf(busy, 2000).cpu, 0.625)
  })

  it("a time shorter than the pause between samples reaches back one sample", () => {
    assert.strictEqual(usageOf(windowOf(5), 100).cpu, 0.25)
  })

  it("a time longer than the window reaches back to its begin", () => {
    assert.strictEqual(usageOf(windowOf(5), 3_600_000).cpu, 0.25)
  })
})
