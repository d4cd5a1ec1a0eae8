/**
 * A thread that ends the process at a deadline, whatever the main thread does
 * then: it may sit in a loop, in native code, or in a handler of `exit`.
 *
 * It is started when a stop begins, so it costs nothing before. Its code is a
 * text, for it must not depend on a file that a bundle may have left out; so it says
 * once more what `writeNow.ts` and `hardExit.ts` say. A thread cannot put a new
 * program in place of the process: before Node 26 it ends it with SIGKILL, which does
 * not touch process 1 of a container.
 */
import { Worker } from "node:worker_threads"
import { trackThread } from "./liveThreads.ts"

const textBytes = 65_536

/** The words of the shared memory; the deadline stands behind them. */
const words = { changed: 0, length: 1, code: 2 } as const
const deadlineAt = 16

const source = `
const { workerData: { memory, text } } = require("node:worker_threads")
const { constants, openSync, writeSync } = require("node:fs")
const control = new Int32Array(memory, 0, 4)
const deadline = new Float64Array(memory, ${deadlineAt}, 1)
for (;;) {
  const seen = Atomics.load(control, ${words.changed})
  const left = deadline[0] - Number(process.hrtime.bigint()) / 1e6
  if (!(left > 0)) break
  Atomics.wait(control, ${words.changed}, seen, left)
}
const last = Buffer.from(new Uint8Array(text, 0, Atomics.load(control, ${words.length})))
try {
  let stderr = 2
  try {
    stderr = openSync("/proc/self/fd/2", constants.O_WRONLY | constants.O_NONBLOCK | constants.O_APPEND)
  } catch {}
  writeSync(stderr, last)
} catch {}
try {
  const { functions } = process.getBuiltinModule("node:ffi").dlopen(null, {
    _exit: { arguments: ["i32"], return: "void" }
  })
  functions._exit(Atomics.load(control, ${words.code}))
} catch {}
process.kill(process.pid, "SIGKILL")
`

/** Milliseconds that all threads of the process agree on. */
export const processNow = (): number => Number(process.hrtime.bigint()) / 1e6

export class Guardian {
  readonly worker: Worker
  private readonly control: Int32Array
  private readonly deadline: Float64Array
  private readonly text: Uint8Array

  constructor(code: number) {
    const memory = new SharedArrayBuffer(deadlineAt + 8)
    const text = new SharedArrayBuffer(textBytes)
    this.control = new Int32Array(memory, 0, 4)
    this.deadline = new Float64Array(memory, deadlineAt, 1)
    this.text = new Uint8Array(text)
    this.deadline[0] = Infinity
    this.control[words.code] = code
    // Flags and variables of this process may be meant for its code, which this thread does not run. What they load
    // might hang, or fail.
    this.worker = new Worker(source, {
      eval: true,
      name: "ambit-guardian",
      execArgv: ["--no-warnings"],
      env: {},
      // It writes to neither, so neither need be piped.
      stdout: true,
      stderr: true,
      workerData: { memory, text }
    })
    // Without it, the hosts end the process as well as they can; a thread that failed is no reason to end worse.
    this.worker.on("error", () => {})
    this.worker.unref()
    trackThread(this.worker)
  }

  /** What it writes before it ends the process. */
  say(text: string): void {
    const { written } = new TextEncoder().encodeInto(text, this.text)
    Atomics.store(this.control, words.length, written)
  }

  /** Moves the deadline, a moment of `processNow`; `Infinity` is none. */
  arm(deadline: number): void {
    this.deadline[0] = deadline
    Atomics.add(this.control, words.changed, 1)
    Atomics.notify(this.control, words.changed)
  }

  /** Ends the thread, and nothing else. */
  release(): void {
    void this.worker.terminate()
  }

  /** Says which code the process ends with. */
  setCode(code: number): void {
    Atomics.store(this.control, words.code, code)
  }
}
