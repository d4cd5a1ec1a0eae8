/**
 * The JavaScript stack of a thread that is busy, seen from outside.
 *
 * It is taken with the CPU profiler, which looks at one thread without stopping
 * it. A debugger could tell more, but attaches to all threads, and one that is just
 * starting then ends the whole process (seen with Node 26.10).
 */
import type { Worker } from "node:worker_threads"
import { after, within } from "./realTime.ts"

/** How long a thread gets to show where it is. In native code it cannot. */
const patience = 1000

/** Enough for some samples. */
const lookFor = 5

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly hitCount?: number
  readonly children?: ReadonlyArray<number>
  readonly positionTicks?: ReadonlyArray<{ readonly line: number; readonly ticks: number }>
}

/** Gives the stack, innermost frame first, or `undefined` when the thread does not answer in time. */
export const stackOf = (worker: Worker): Promise<string | undefined> => {
  // Older versions of Node cannot look into a thread.
  if (typeof worker.startCpuProfile !== "function") return Promise.resolve(undefined)
  return within(sample(worker).catch(() => undefined), patience)
}

const sample = async (worker: Worker): Promise<string | undefined> => {
  const profile = await worker.startCpuProfile({ sampleInterval: 1000 })
  await new Promise<void>((resolve) => {
    after(lookFor, resolve)
  })
  const { nodes } = JSON.parse(await profile.stop()) as { readonly nodes: ReadonlyArray<ProfileNode> }
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const frames: Array<string> = []
  let at = nodes[0] === undefined ? undefined : busiest(nodes[0], byId)
  while (at !== undefined) {
    if (isOfUser(at)) frames.unshift(lineOf(at))
    at = busiest(at, byId)
  }
  return frames.length === 0 ? undefined : frames.join("\n")
}

const ticksIn = (node: ProfileNode, byId: ReadonlyMap<number, ProfileNode>): number =>
  (node.hitCount ?? 0) + (node.children ?? []).reduce((sum, id) => sum + ticksIn(byId.get(id)!, byId), 0)

/** The child in which the thread was for the longest time; the latest one, when it was in none for a whole sample. */
const busiest = (node: ProfileNode, byId: ReadonlyMap<number, ProfileNode>): ProfileNode | undefined => {
  let best: ProfileNode | undefined
  let most = -1
  for (const id of node.children ?? []) {
    const child = byId.get(id)!
    const ticks = ticksIn(child, byId)
    if (ticks >= most) {
      best = child
      most = ticks
    }
  }
  return best
}

const isOfUser = ({ callFrame: { functionName, url } }: ProfileNode): boolean =>
  url !== "" && !url.startsWith("node:") && !url.includes("threadMain") && functionName !== "(program)"

const lineOf = ({ callFrame, positionTicks = [] }: ProfileNode): string => {
  const hottest = positionTicks.toSorted((a, b) => b.ticks - a.ticks)[0]
  return `at ${callFrame.functionName || "(anonymous)"} (${callFrame.url}:${hottest?.line ?? callFrame.lineNumber + 1})`
}
