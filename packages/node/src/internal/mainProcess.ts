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
 * - There is one of it: signals and the end of a process belong to all of it. It listens while somebody owns it.
 * - What it must do for the end, it does before it calls code of others: a logger may hang. (processes/host.test.ts)
 */
import type { HostControl, Owner } from "@ambit/core/HostOwner"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { isMainThread, type Worker } from "node:worker_threads"
import { aliveText, mostAlive } from "./alive.ts"
import { exitCodeOf, exitCodes, gaveUp } from "./exitCode.ts"
import { Guardian, processNow } from "./guardian.ts"
import { exitHard, exitNow } from "./hardExit.ts"
import { leftOpenSince, type Open, whatIsOpen } from "./leftOpen.ts"
import { liveThreads, watchThreads } from "./liveThreads.ts"
import { longestTimer } from "./longestTimer.ts"
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

/** Milliseconds that the end of the process takes after the budget, at most. */
export const endWithin = 1000

/**
 * Milliseconds after its deadline at which the main thread ends the process, and the guardian if it does not; what the
 * end has from its begin; and when it has come after the deadline, whatever it has begun with. All of it is within
 * `endWithin`, and `onReport` of a host that has used up its budget has its half second before.
 */
const grace = { main: 650, guardian: 750, end: 500, last: 900 } as const

/** Milliseconds from one look at what is alive to the next. */
const textEvery = 500

/** How long the threads have to end, and the readers of its output to read, before the process does. */
const lastWithin = 200

/** So many errors that nobody caught are told; a loop of them must not fill the disk. */
const toldErrors = 10

type State =
  | { readonly _tag: "Running" }
  | { readonly _tag: "Stopping"; readonly reason: string }
  | { readonly _tag: "Leaving" }

/** What systemd was told of a host. */
interface Told {
  phase: string
  extended: number
}

export class MainProcess {
  settings: ProcessSettings
  /** The program, as far as it is known. */
  main: Fiber.Fiber<unknown, unknown> | undefined = undefined
  /** Where its lines are logged. */
  private context: Context.Context<never>
  private owners = 0
  private installed = false
  private exitsAsBefore: () => void = () => {}
  private state: State = { _tag: "Running" }
  private readonly received: Array<Signal> = []
  private errors = 0
  /** Whether there was an error that nobody caught. */
  private failed = false
  private readonly hosts = new Set<HostControl>()
  /** Whether the stop of a host has left something behind. */
  private abandoned = false
  /** What was open when the latest host was launched. */
  private open: Open | undefined = undefined
  private guardian: Guardian | undefined = undefined
  private guardianFailed = false
  /** When the hosts must have ended: those that stop, and from the stop of the process on all that were there. */
  private readonly deadlines = new Map<HostControl, number>()
  /** The end of the stop when there was no host. */
  private until = Infinity
  /** The end of what the second signal has left. */
  private forcedUntil = Infinity
  /** What the timer and the guardian wait for. */
  private watched = Infinity
  private deadlineTimer: NodeJS.Timeout | undefined = undefined
  private textTimer: NodeJS.Timeout | undefined = undefined
  private watchdog: NodeJS.Timeout | undefined = undefined
  private toldReady = false
  private toldStopping = false
  private readonly told = new WeakMap<HostControl, Told>()
  private notifyFailed = false

  constructor(settings: ProcessSettings, context: Context.Context<never>) {
    this.settings = settings
    this.context = context
  }

  // ---------------------------------------------------------------------------
  // Begin and end
  // ---------------------------------------------------------------------------

  /** Listens for whoever owns the process. A second owner takes part in what the first one has set. */
  take(settings: ProcessSettings, context: Context.Context<never>): void {
    if (this.owners++ > 0) return
    this.settings = settings
    this.context = context
    this.install()
  }

  /** Gives the process back when nobody owns it any more. When it is about to end, it listens until it has. */
  release(): void {
    if (--this.owners > 0 || this.state._tag !== "Running") return
    this.installed = false
    this.main = undefined
    for (const signal of signals) process.off(signal, this.onSignal)
    process.off("uncaughtException", this.onError)
    for (const stream of [process.stdout, process.stderr]) stream.off("error", ignoreOutput)
    clearInterval(this.watchdog)
    this.exitsAsBefore()
    this.watch()
    this.guardian?.release()
    this.guardian = undefined
  }

  private install(): void {
    if (this.installed) return
    this.installed = true
    watchThreads()
    // Before others that interrupt the program: what asks for the stop says more than an interrupt.
    for (const signal of signals) process.prependListener(signal, this.onSignal)
    process.on("uncaughtException", this.onError)
    // A host does not end because nobody reads what it says, or there is no room for it.
    for (const stream of [process.stdout, process.stderr]) stream.on("error", ignoreOutput)
    const every = watchdogEvery()
    if (every !== undefined) {
      this.watchdog = setInterval(() => this.notify("WATCHDOG=1"), every).unref()
    }
    this.exitsAsBefore = exitHard(() => this.state._tag === "Leaving" && this.threads().length > 0)
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
    const reason = `${what}: ${textOf(error)}`
    if (this.state._tag !== "Leaving") this.failed = true
    this.begin(reason)
    if (++this.errors <= toldErrors) {
      this.say("Error", `In this process ${what}; it stops`, error)
      if (this.errors === toldErrors) this.say("Error", "More such errors are not told")
    }
    this.stopHosts(reason)
  }

  private stop(reason: string): void {
    this.begin(reason)
    this.stopHosts(reason)
  }

  /** From here on there is a deadline. */
  private begin(reason: string): void {
    if (this.state._tag !== "Running") return
    this.move({ _tag: "Stopping", reason })
    this.until = processNow() + this.settings.stopWithin
    for (const host of this.hosts) {
      if (!this.deadlines.has(host)) this.deadlines.set(host, processNow() + host.limits.hostStop)
    }
    this.watch()
  }

  /** Asks everything to stop, within its budget. */
  private stopHosts(reason: string): void {
    if (this.state._tag !== "Stopping") return
    const { failed } = this
    for (const host of this.hosts) host.requestStop({ reason, failed })
    // Between hosts there is only the program itself.
    if (this.hosts.size === 0) this.main?.interruptUnsafe()
  }

  private hurry(signal: Signal): void {
    this.forcedUntil = processNow() + this.settings.forceWithin
    this.watch()
    const alive = this.alive()
    this.say(
      "Warn",
      `A second signal (${signal}): no more patience. ${alive === undefined ? "" : "Still alive:\n"}${alive ?? ""}`
        .trimEnd()
    )
    const left = Math.max(0, this.watched - processNow())
    for (const host of this.hosts) host.hurry(`a second signal (${signal})`, left)
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
    try {
      return aliveText([...this.hosts].map((host) => host.tree(mostAlive)))
    } catch (error) {
      return `  what cannot be shown: ${textOf(error)}\n`
    }
  }

  private say(level: "Info" | "Warn" | "Error", message: string, ...error: readonly [] | readonly [unknown]): void {
    const line = error.length === 0
      ? Effect.logWithLevel(level)(message)
      : Effect.logWithLevel(level)(message, Cause.die(error[0]))
    Effect.runForkWith(this.context)(line).addObserver((exit) => {
      // Its logger has failed, or cannot show this error.
      if (Exit.isFailure(exit)) writeNow(`${[message, ...error.map(textOf)].join(": ")}\n`)
    })
  }

  // ---------------------------------------------------------------------------
  // The deadline
  // ---------------------------------------------------------------------------

  /**
   * When the process has ended at the latest. While it runs, a host that has not stopped in time means that nothing
   * goes on. When the process stops, all hosts that it had have their time, and what follows them has no time of its own.
   */
  private deadline(): number {
    const all = [...this.deadlines.values()]
    if (this.state._tag === "Running") return Math.min(...all)
    return Math.min(this.forcedUntil, all.length === 0 ? this.until : Math.max(...all))
  }

  /** Sees to it that the process has ended soon after its deadline, if it has one. */
  private watch(): void {
    // A host that outlives its owner is not the matter of this process.
    const deadline = this.installed ? this.deadline() : Infinity
    if (deadline === this.watched || this.state._tag === "Leaving") return
    this.watched = deadline
    clearTimeout(this.deadlineTimer)
    if (deadline === Infinity) {
      this.guardian?.arm(Infinity)
      clearInterval(this.textTimer)
      this.textTimer = undefined
      return
    }
    this.await()
    this.needGuardian(exitCodes.forced)?.arm(deadline + grace.guardian)
    if (this.textTimer !== undefined) return
    // What is alive now, and again and again: where it hangs is best known shortly before.
    const tell = () => this.guardian?.say(this.guardianText())
    tell()
    this.textTimer = setInterval(tell, textEvery).unref()
  }

  private await(): void {
    const millis = this.watched + grace.main - processNow()
    const end = () => millis > longestTimer ? this.await() : this.leaveNow("it did not end within its budget")
    this.deadlineTimer = setTimeout(end, Math.min(millis, longestTimer)).unref()
  }

  private needGuardian(code: number): Guardian | undefined {
    // In a thread, what ends is the thread, and whoever made it sees to that.
    if (this.guardian !== undefined || this.guardianFailed || !isMainThread) return this.guardian
    try {
      this.guardian = new Guardian(code)
    } catch (error) {
      this.guardianFailed = true
      this.say("Warn", "No thread can be started that ends this process if its main thread hangs", error)
    }
    return this.guardian
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
      this.abandoned ||= gaveUp(report)
      // A host that ended by itself may be followed by another one. Who was told to end has no more time for that.
      if (this.state._tag === "Running") {
        this.deadlines.delete(host)
        this.watch()
      } else if (this.hosts.size === 0) {
        // The program has its turn to end by itself, with all that it knows.
        setTimeout(() => this.main?.interruptUnsafe(), 50).unref()
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
    const running = this.state._tag === "Running"
    // A host that came when the process was told to stop gets no more than what is left.
    if (left !== undefined && (running || this.deadlines.has(host))) this.deadlines.set(host, processNow() + left)
    // Somebody has recovered from a start that failed.
    else if (running) this.deadlines.delete(host)
    this.watch()
  }

  /** Tells the service manager what is new. */
  private tell(host: HostControl): void {
    const stop = host.stop()
    if (stop === undefined) {
      if (this.toldReady || ![...this.hosts].every((each) => each.health().ready)) return
      this.toldReady = true
      return this.notify("READY=1", `STATUS=${host.name} is ready`)
    }
    const told = this.told.get(host) ?? { phase: "", extended: 0 }
    this.told.set(host, told)
    if (stop.phase !== told.phase) {
      told.phase = stop.phase
      // One of several hosts may stop while the others work.
      const begins = !this.toldStopping && (this.state._tag !== "Running" || this.hosts.size === 1)
      this.toldStopping ||= begins
      this.notify(...begins ? ["STOPPING=1"] : [], `STATUS=${host.name} stops (${stop.reason}): ${stop.phase}`)
    }
    if (stop.extended !== told.extended) {
      told.extended = stop.extended
      this.notify(`EXTEND_TIMEOUT_USEC=${Math.ceil((stop.left + endWithin) * 1000)}`)
    }
  }

  private notify(...lines: ReadonlyArray<string>): void {
    notify(lines, (problem) => {
      if (this.notifyFailed) return
      this.notifyFailed = true
      this.say("Warn", `systemd is not told how this process is, for want of the program systemd-notify: ${problem}`)
    })
  }

  // ---------------------------------------------------------------------------
  // The end
  // ---------------------------------------------------------------------------

  /** The program has ended. */
  ended(exit: Exit.Exit<unknown, unknown>, onExit: (code: number) => void): void {
    void this.leave(exitCodeOf(exit, this.failed, this.abandoned, this.received[0]), onExit)
  }

  /** Ends the process: nothing that cannot be ended holds it up. */
  private async leave(code: number, onExit?: (code: number) => void): Promise<void> {
    if (this.state._tag === "Leaving") return
    this.move({ _tag: "Leaving" })
    // Also for a program that has given it back.
    this.install()
    clearTimeout(this.deadlineTimer)
    clearInterval(this.textTimer)
    const guardian = this.needGuardian(code)
    guardian?.setCode(code)
    guardian?.say(
      `The end of the process was held up, as by a handler of "exit"; it ends all the same, with ${code}.\n`
    )
    guardian?.arm(Math.min(processNow() + grace.end, this.watched + grace.last))
    const last = [...this.threads().map(ended), ...[process.stdout, process.stderr].filter(isWriting).map(written)]
    if (last.length > 0) await Promise.race([Promise.all(last), after(lastWithin)])
    const stuck = this.threads().length
    if (stuck > 0) {
      writeNow(`${stuck === 1 ? "A thread" : `${stuck} threads`} cannot be ended; the process does not wait.\n`)
    }
    try {
      onExit?.(code)
      process.exit(code)
    } catch (error) {
      writeNow(`A handler of "exit" failed: ${textOf(error)}\n`)
      exitNow(exitCodes.failed)
    }
  }

  /** Those that are alive, without its own. */
  private threads(): ReadonlyArray<Worker> {
    return liveThreads(this.guardian?.worker)
  }
}

const ended = (thread: Worker): Promise<void> => {
  const end = new Promise<void>((resolve) => {
    thread.once("exit", () => resolve())
  })
  void thread.terminate()
  return end
}

const isWriting = (stream: NodeJS.WriteStream): boolean => stream.writableLength > 0 && !stream.destroyed

// A pipe takes so much at once, and a reader that is slow would miss the last of it, which is the report.
const written = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    stream.write("", () => resolve())
  })

const after = (millis: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, millis)
  })

const ignoreOutput = (): void => {}

const textOf = (error: unknown): string => {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  } catch {
    return "an error that cannot be shown"
  }
}

let current: MainProcess | undefined

/** The process, for whoever owns it from now on. */
export const takeProcess = (settings: ProcessSettings, context: Context.Context<never>): MainProcess => {
  current ??= new MainProcess(settings, context)
  current.take(settings, context)
  return current
}

/** What somebody has owned: what it knows is needed for the exit code, also when it was given back. */
export const currentProcess = (): MainProcess | undefined => current
