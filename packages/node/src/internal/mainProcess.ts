// @effect-diagnostics globalTimers:off
/**
 * The process: what it does on signals and on errors that nobody caught, how it
 * ends, and that it does.
 *
 * Running → Stopping → Leaving
 *
 *   first signal   the hosts stop, within their budget
 *   second         straight to interrupt and kill; what is left has `forceWithin`
 *   third          what is still alive is printed, and the process ends
 *
 * Invariants
 * - From the first reason to stop on there is a deadline, and a guardian that ends the process soon after it,
 *   whatever the main thread does. (processes/host.test.ts)
 * - `move` is the only place that moves the state. A process that leaves changes its mind about nothing.
 * - There is one of it: signals and the end of a process belong to all of it.
 */
import type { HostControl, Owner } from "@ambit/core/HostOwner"
import type { ShutdownReport } from "@ambit/core/ShutdownReport"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { aliveText, mostAlive } from "./alive.ts"
import { exitCodeOf, exitCodes } from "./exitCode.ts"
import { Guardian, processNow } from "./guardian.ts"
import { leftOpenSince, type Open, whatIsOpen } from "./leftOpen.ts"
import { liveThreads, watchThreads } from "./liveThreads.ts"
import { notify, watchdogEvery } from "./notify.ts"
import { writeNow } from "./writeNow.ts"

export const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const

export type Signal = typeof signals[number]

export interface ProcessSettings {
  /** Milliseconds that what is left has after the second signal. */
  readonly forceWithin: number
  /** Milliseconds for a stop for which no host says how long it takes. */
  readonly stopWithin: number
}

/** Milliseconds after its deadline at which the main thread ends the process, and the guardian if it does not. */
const grace = { main: 100, guardian: 700 } as const

/** Milliseconds from one look at what is alive to the next. */
const textEvery = 500

/** How long the threads have to end before the process does. */
const threadsWithin = 250

/** So many errors that nobody caught are told; a loop of them must not fill the disk. */
const toldErrors = 10

type State =
  | { readonly _tag: "Running" }
  | { readonly _tag: "Stopping"; readonly reason: string }
  | { readonly _tag: "Leaving" }

export class MainProcess {
  settings: ProcessSettings
  installed = false
  /** Where its lines are logged. */
  context: Context.Context<never>
  /** The program, as far as it is known. */
  main: Fiber.Fiber<unknown, unknown> | undefined = undefined
  private state: State = { _tag: "Running" }
  private readonly received: Array<Signal> = []
  private errors = 0
  /** Whether an error that nobody caught began the stop. */
  private failed = false
  private readonly hosts = new Set<HostControl>()
  private readonly reports: Array<ShutdownReport> = []
  /** What was open when the latest host was launched. */
  private open: Open | undefined = undefined
  private guardian: Guardian | undefined = undefined
  private deadline = Infinity
  private deadlineTimer: NodeJS.Timeout | undefined = undefined
  private textTimer: NodeJS.Timeout | undefined = undefined
  private watchdog: NodeJS.Timeout | undefined = undefined
  private told: { ready: boolean; phase: string; extended: number } = { ready: false, phase: "", extended: 0 }
  private notifyFailed = false

  constructor(settings: ProcessSettings, context: Context.Context<never>) {
    this.settings = settings
    this.context = context
  }

  // ---------------------------------------------------------------------------
  // Begin and end
  // ---------------------------------------------------------------------------

  install(): void {
    this.installed = true
    watchThreads()
    // Before others that interrupt the program: what asks for the stop says more than an interrupt.
    for (const signal of signals) process.prependListener(signal, this.onSignal)
    process.on("uncaughtException", this.onError)
    // A host does not end because nobody reads what it says.
    for (const stream of [process.stdout, process.stderr]) stream.on("error", ignoreClosed)
    const every = watchdogEvery()
    if (every !== undefined) {
      this.watchdog = setInterval(() => this.notify("WATCHDOG=1"), every).unref()
    }
  }

  /** Gives the process back. When it is about to end, it listens until it has. */
  uninstall(): void {
    if (this.state._tag !== "Running") return
    this.installed = false
    for (const signal of signals) process.off(signal, this.onSignal)
    process.off("uncaughtException", this.onError)
    for (const stream of [process.stdout, process.stderr]) stream.off("error", ignoreClosed)
    clearInterval(this.watchdog)
  }

  private move(state: State): void {
    this.state = state
  }

  // ---------------------------------------------------------------------------
  // Reasons to stop
  // ---------------------------------------------------------------------------

  private readonly onSignal = (signal: Signal): void => {
    if (this.state._tag === "Leaving") return
    this.received.push(signal)
    switch (this.received.length) {
      case 1:
        return this.stop(signal)
      case 2:
        return this.hurry(signal)
      default:
        return this.leaveNow(`a third signal (${signal})`)
    }
  }

  private readonly onError = (error: unknown, origin: NodeJS.UncaughtExceptionOrigin): void => {
    const what = origin === "unhandledRejection" ? "a promise was rejected and nobody looked" : "nobody caught an error"
    if (++this.errors <= toldErrors) {
      this.say("Error", `In this process ${what}; it stops`, Cause.die(error))
      if (this.errors === toldErrors) this.say("Error", "More such errors are not told")
    }
    if (this.state._tag !== "Running") return
    this.failed = true
    this.stop(`${what}: ${textOf(error)}`)
  }

  /** Asks everything to stop, within its budget. */
  private stop(reason: string): void {
    if (this.state._tag === "Running") this.move({ _tag: "Stopping", reason })
    this.arm(this.settings.stopWithin)
    const { failed } = this
    for (const host of this.hosts) host.requestStop({ reason, failed })
    // Between hosts there is only the program itself.
    if (this.hosts.size === 0) this.main?.interruptUnsafe()
  }

  private hurry(signal: Signal): void {
    const alive = this.alive()
    const { forceWithin } = this.settings
    this.say(
      "Warn",
      `A second signal (${signal}): no more patience. ${alive === undefined ? "" : "Still alive:\n"}${alive ?? ""}`
        .trimEnd()
    )
    this.arm(forceWithin)
    for (const host of this.hosts) host.hurry(`a second signal (${signal})`, forceWithin)
    this.main?.interruptUnsafe()
  }

  private leaveNow(why: string): void {
    writeNow(this.lastWords(why, "Still alive"))
    void this.leave(exitCodes.forced)
  }

  private lastWords(why: string, when: string): string {
    const alive = this.alive()
    return `The process ends at once: ${why}.${alive === undefined ? "" : ` ${when}:\n${alive}`}\n`
  }

  private alive(): string | undefined {
    return aliveText([...this.hosts].map((host) => host.tree(mostAlive)))
  }

  private say(level: "Info" | "Warn" | "Error", message: string, cause?: Cause.Cause<unknown>): void {
    const line = cause === undefined
      ? Effect.logWithLevel(level)(message)
      : Effect.logWithLevel(level)(message, cause)
    Effect.runForkWith(this.context)(line)
  }

  // ---------------------------------------------------------------------------
  // The deadline
  // ---------------------------------------------------------------------------

  /** Sees to it that the process has ended soon after so many milliseconds. */
  private arm(millis: number): void {
    this.deadline = processNow() + millis
    this.guardian ??= new Guardian(exitCodes.forced)
    this.guardian.arm(this.deadline + grace.guardian)
    clearTimeout(this.deadlineTimer)
    this.deadlineTimer = setTimeout(
      () => this.leaveNow("it did not end within its budget"),
      millis + grace.main
    ).unref()
    if (this.textTimer !== undefined) return
    // What is alive now, and again and again: where it hangs is best known shortly before.
    const tell = () => this.guardian?.say(this.guardianText())
    tell()
    this.textTimer = setInterval(tell, textEvery).unref()
  }

  private disarm(): void {
    if (this.deadline === Infinity) return
    this.deadline = Infinity
    this.guardian?.arm(Infinity)
    clearTimeout(this.deadlineTimer)
    clearInterval(this.textTimer)
    this.textTimer = undefined
  }

  private guardianText(): string {
    const why = "it did not end within its budget, and its main thread does not answer"
    return this.lastWords(why, "Alive when it last did")
  }

  // ---------------------------------------------------------------------------
  // Hosts
  // ---------------------------------------------------------------------------

  readonly owner: Owner = {
    launched: (host) => {
      this.hosts.add(host)
      this.open = whatIsOpen()
      // A signal came before there was a host.
      if (this.state._tag === "Stopping") host.requestStop({ reason: this.state.reason, failed: this.failed })
    },
    changed: (host) => this.changed(host),
    stopped: (host, report) => {
      this.hosts.delete(host)
      this.reports.push(report)
      // A host that ended by itself may be followed by another one. Who was told to end has no more time for that.
      if (this.hosts.size === 0) {
        if (this.state._tag === "Running") this.disarm()
        // The program has its turn to end by itself, with all that it knows.
        else setTimeout(() => this.main?.interruptUnsafe(), 50).unref()
      }
      const { leftOpen } = report
      if (leftOpen !== undefined) {
        this.say(
          "Info",
          `Still open after the stop of ${host.name}: ${leftOpen.join(", ")}. It does not hold up the end`
        )
      }
    },
    leftOpen: () => this.open === undefined ? [] : leftOpenSince(this.open)
  }

  private changed(host: HostControl): void {
    this.tell(host)
    const left = host.left()
    // Who had two signals waits for no budget any more.
    if (this.received.length >= 2) return
    if (left !== undefined) this.arm(left)
    // Somebody has recovered from a start that failed.
    else if (this.state._tag === "Running") this.disarm()
  }

  /** Tells the service manager what is new. */
  private tell(host: HostControl): void {
    const { told } = this
    const stop = host.stop()
    if (stop === undefined) {
      if (told.ready || !host.health().ready) return
      told.ready = true
      return this.notify("READY=1", `STATUS=${host.name} is ready`)
    }
    if (stop.phase !== told.phase) {
      const begins = told.phase === ""
      told.phase = stop.phase
      this.notify(...begins ? ["STOPPING=1"] : [], `STATUS=${host.name} stops (${stop.reason}): ${stop.phase}`)
    }
    if (stop.extended !== told.extended) {
      told.extended = stop.extended
      this.notify(`EXTEND_TIMEOUT_USEC=${Math.ceil(stop.left * 1000)}`)
    }
  }

  private notify(...lines: ReadonlyArray<string>): void {
    notify(lines, (problem) => {
      if (this.notifyFailed) return
      this.notifyFailed = true
      this.say("Warn", `systemd is not told how this process is: ${problem}. It needs the program systemd-notify`)
    })
  }

  // ---------------------------------------------------------------------------
  // The end
  // ---------------------------------------------------------------------------

  /** The program has ended. */
  ended(exit: Exit.Exit<unknown, unknown>, onExit: (code: number) => void): void {
    void this.leave(exitCodeOf(exit, this.failed, this.reports, this.received[0]), onExit)
  }

  /** Ends the process: no thread that cannot be ended holds it up. */
  private async leave(code: number, onExit?: (code: number) => void): Promise<void> {
    if (this.state._tag === "Leaving") return
    this.move({ _tag: "Leaving" })
    clearTimeout(this.deadlineTimer)
    this.guardian ??= new Guardian(code)
    this.guardian.setCode(code)
    this.guardian.say(`The process ended its own way with code ${code}, since its end was held up.\n`)
    this.guardian.arm(processNow() + threadsWithin + grace.guardian - grace.main)
    const threads = liveThreads(this.guardian.worker)
    const ends = threads.map((thread) => {
      const ended = new Promise<void>((resolve) => {
        thread.once("exit", () => resolve())
      })
      void thread.terminate()
      return ended
    })
    if (ends.length > 0) await Promise.race([Promise.all(ends), after(threadsWithin)])
    const stuck = liveThreads(this.guardian.worker)
    if (stuck.length === 0) {
      onExit?.(code)
      process.exit(code)
    }
    writeNow(
      `${stuck.length === 1 ? "A thread" : `${stuck.length} threads`} cannot be ended; the process does not wait.\n`
    )
    process.exitCode = code
    process.emit("exit", code)
    replaceProcess(code)
  }
}

const after = (millis: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, millis)
  })

// A new program in place of this one takes all threads with it, and can end with any code. Without it there is only
// SIGKILL, and the guardian behind it.
const replaceProcess = (code: number): void => {
  try {
    if (typeof process.execve === "function") {
      process.execve(process.execPath, [process.execPath, "-e", `process.exit(${code})`], {})
    }
  } catch {
    // What is left to do is the same.
  }
  process.kill(process.pid, "SIGKILL")
}

const ignoreClosed = (error: NodeJS.ErrnoException): void => {
  if (error.code !== "EPIPE") throw error
}

const textOf = (error: unknown): string => {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  } catch {
    return "an error that cannot be shown"
  }
}

let current: MainProcess | undefined

/** The process, for whoever owns it. A second owner takes part in what the first one has begun. */
export const takeProcess = (settings: ProcessSettings, context: Context.Context<never>): MainProcess => {
  if (current?.installed !== true) {
    current = new MainProcess(settings, context)
    current.install()
  } else {
    current.settings = settings
    current.context = context
  }
  return current
}

/** The latest that somebody owned: what it knows is needed for the exit code, also when it was given back. */
export const currentProcess = (): MainProcess | undefined => current
