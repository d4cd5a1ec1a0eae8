/**
 * The examples of the pages `guide/block.md` and `why/interruption.md`.
 */
import * as BlockingFunction from "@ambit/core/BlockingFunction"
import * as Thread from "@ambit/node/Thread"

const isPrime = (n: number): boolean => {
  for (let d = 2; d * d <= n; d++) {
    if (n % d === 0) return false
  }
  return n > 1
}

export const countPrimes = BlockingFunction.make(import.meta, "countPrimes", (below: number): number => {
  let count = 0
  for (let n = 0; n < below; n++) {
    Thread.throwIfCancelled()
    if (isPrime(n)) count++
  }
  return count
})
