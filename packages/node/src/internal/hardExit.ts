/**
 * The last moment of the process. When the handlers of `exit` have run, `process.exit`
 * waits: for every thread, also for one that cannot be ended, and for the calls that
 * the thread pool of Node sits in, such as the look-up of a name that nobody answers.
 * It ends all other threads before, the guardian among them. So the process ends
 * without it here, also when its code calls `process.exit`.
 *
 * `_exit` of the C library does that with the right code, also for process 1 of a
 * container; Node reaches it from version 26 on. Before, a new program in place of
 * this one takes all threads with it and ends with the code.
 */
import { isMainThread } from "node:worker_threads"

// Node calls it by this name, after the handlers of `exit`.
type Exits = { reallyExit: (code: number) => never }

// What they have to write, they write in an end that waits.
const profiled = (): boolean =>
  process.env["NODE_V8_COVERAGE"] !== undefined ||
  /--(cpu-prof|heap-prof|prof|trace-event)/.test([...process.execArgv, process.env["NODE_OPTIONS"]].join(" "))

const exitOfSystem = (code: number): void => {
  try {
    const { functions } = process.getBuiltinModule("node:ffi").dlopen(null, {
      _exit: { arguments: ["i32"], return: "void" }
    })
    functions._exit(code)
  } catch {
    // This Node has no such module, or may not use it.
  }
}

const replaceProcess = (code: number): void => {
  try {
    // The folder of this process may be gone, and its program, too.
    process.chdir("/")
    const node = process.platform === "linux" ? "/proc/self/exe" : process.execPath
    process.execve?.(node, [process.execPath, "-e", `process.exit(${code})`], {})
  } catch {
    // It may not.
  }
}

/**
 * Makes `process.exit` end the process at once, also when a thread is `stuck`. Gives
 * what undoes it.
 */
export const exitHard = (stuck: () => boolean): () => void => {
  // There, it ends only the thread.
  if (!isMainThread) return () => {}
  const exits = process as unknown as Exits
  const { reallyExit } = exits
  const end = (code: number): never => {
    if (stuck() || !profiled()) {
      exitOfSystem(code)
      replaceProcess(code)
    }
    if (stuck()) process.kill(process.pid, "SIGKILL")
    return reallyExit.call(process, code)
  }
  exits.reallyExit = end
  return () => {
    if (exits.reallyExit === end) exits.reallyExit = reallyExit
  }
}

/** Ends the process without the handlers of `exit`. */
export const exitNow = (code: number): never => (process as unknown as Exits).reallyExit(code)
