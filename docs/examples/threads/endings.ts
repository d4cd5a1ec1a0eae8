/**
 * What the page `why/interruption.md` interrupts.
 */
import * as BlockingFunction from "@ambit/core/BlockingFunction"
import * as Thread from "@ambit/node/Thread"
import { execSync } from "node:child_process"
import { writeFileSync } from "node:fs"

export const polls = BlockingFunction.make(import.meta, "polls", (traces: string) => {
  try {
    for (;;) Thread.throwIfCancelled()
  } finally {
    writeFileSync(traces, "cleaned up")
  }
})

export const spins = BlockingFunction.make(import.meta, "spins", (traces: string) => {
  try {
    for (;;) Math.sqrt(2)
  } finally {
    writeFileSync(traces, "cleaned up")
  }
})

export const sleeps = BlockingFunction.make(import.meta, "sleeps", (seconds: number) => {
  execSync(`sleep ${seconds}`)
})

export const add = BlockingFunction.make(import.meta, "add", (a: number, b: number) => a + b)
