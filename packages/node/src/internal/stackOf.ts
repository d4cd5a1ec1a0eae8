/**
 * The JavaScript stack of a thread that is busy, seen from outside.
 */
import { after, cancelTimer } from "./realTime.ts"

/** How long a thread gets to show where it is. In native code it cannot. */
const patience = 100

interface Frame {
  readonly functionName: string
  readonly url: string
  readonly location: { readonly scriptId: string; readonly lineNumber: number; readonly columnNumber: number }
}

const lineOf = (scripts: ReadonlyMap<string, string>) => ({ functionName, location, url }: Frame): string =>
  `at ${functionName || "(anonymous)"} (${url || scripts.get(location.scriptId) || "unknown"}:${
    location.lineNumber + 1
  }:${location.columnNumber + 1})`

/**
 * Gives the stack, innermost frame first, or `undefined` when the thread does
 * not answer in time. The session lasts as long as the thread: a pause that came
 * after its end would never be over, and then nobody could end the thread.
 */
export const stackOf = async (threadId: number, exited: Promise<void>): Promise<string | undefined> => {
  // Loaded on first use: a Node that was built without it still has threads.
  const { Session } = await import("node:inspector")
  return new Promise((resolve) => {
    const session = new Session()
    const scripts = new Map<string, string>()
    let commands = 0
    let sessionId: string | undefined
    const done = (stack: string | undefined): void => {
      cancelTimer(timer)
      resolve(stack)
    }
    const timer = after(patience, () => done(undefined))
    const command = (method: string): void => {
      const message = JSON.stringify({ id: ++commands, method })
      session.post("NodeWorker.sendMessageToWorker", { sessionId: sessionId!, message }, (error) => {
        if (error !== null) done(undefined)
      })
    }
    session.connect()
    void exited.then(() => session.disconnect())
    session.on("NodeWorker.attachedToWorker", ({ params }) => {
      // The id in there counts the threads of the session; only the title tells which one it is.
      if (!params.workerInfo.title.startsWith(`[worker ${threadId}]`)) return
      sessionId = params.sessionId
      command("Debugger.enable")
      command("Debugger.pause")
    })
    session.on("NodeWorker.receivedMessageFromWorker", ({ params }) => {
      if (params.sessionId !== sessionId) return
      const message = JSON.parse(params.message)
      if (message.method === "Debugger.scriptParsed") scripts.set(message.params.scriptId, message.params.url)
      if (message.method !== "Debugger.paused") return
      // A thread that is left paused could not be ended.
      command("Debugger.resume")
      command("Debugger.disable")
      const frames = message.params.callFrames as ReadonlyArray<Frame>
      done(
        frames.map(lineOf(scripts)).filter((line) => !line.includes("(node:") && !line.includes("threadMain")).join(
          "\n"
        )
      )
    })
    session.post("NodeWorker.enable", { waitForDebuggerOnStart: false }, (error) => {
      if (error !== null) done(undefined)
    })
  })
}
