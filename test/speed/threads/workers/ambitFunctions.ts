import * as BlockingFunction from "@ambit/core/BlockingFunction"
import * as Thread from "@ambit/node/Thread"
import * as jobs from "./jobs.ts"

export const triple = BlockingFunction.make(import.meta, "triple", jobs.triple)

export const echo = BlockingFunction.make(import.meta, "echo", jobs.echo)

export const spin = BlockingFunction.make(import.meta, "spin", jobs.spin)

export const move = BlockingFunction.make(
  import.meta,
  "move",
  (buffer: ArrayBuffer) => Thread.transfer(buffer, [buffer])
)

export const forever = BlockingFunction.make(import.meta, "forever", jobs.forever)

export const polling = BlockingFunction.make(import.meta, "polling", (begun: Int32Array) => {
  Atomics.store(begun, 0, 1)
  Atomics.notify(begun, 0)
  while (!Thread.isCancelled()) Math.sqrt(2)
})

export const Desk = Thread.contract<{ next: (n: number) => number }>("speed")

/** Asks the main thread so often, one after the other: the milliseconds, and what came of it. */
export const asks = BlockingFunction.make(import.meta, "asks", (count: number) => {
  const begin = performance.now()
  let value = 0
  for (let asked = 0; asked < count; asked++) value = Thread.call(Desk, "next", value)
  return { took: performance.now() - begin, value }
})
