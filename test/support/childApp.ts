/**
 * Real programs as child processes: start one, wait for what it says, send it
 * signals, and see how it ends. Nothing waits longer than its limit, and a child
 * that still runs at the end of the scope is killed, by its own id.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"

export type Output = "stdout" | "stderr"

/** How a child ended. */
export interface ChildEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** Milliseconds from the last signal that it was sent, or from its start. */
  readonly took: number
  readonly stdout: string
  readonly stderr: string
}

/** A child did not do within the limit what was waited for. The message holds all it has said. */
export class ChildAppTimeout
  extends Schema.TaggedError<ChildAppTimeout>("@ambit/test/support/childApp/ChildAppTimeout")(
    "ChildAppTimeout",
    { waitedFor: Schema.String, stdout: Schema.String, stderr: Schema.String }
  )
{
  override get message(): string {
    return `The child did not ${this.waitedFor}.\n--- stdout\n${this.stdout}\n--- stderr\n${this.stderr}`
  }
}

export interface ChildApp {
  readonly pid: number
  /** All that it has said so far. */
  readonly said: (output: Output) => string
  /** Waits until it has said something, and gives all it has said on that output. Fails when it ends before. */
  readonly waitFor: (text: string | RegExp, output?: Output) => Effect.Effect<string, ChildAppTimeout>
  /** Lets what it says wait in the pipe, until it is taken again. */
  readonly pause: (output: Output) => Effect.Effect<void>
  readonly resume: (output: Output) => Effect.Effect<void>
  /** Closes the pipe that an output goes into, as the end of `head` does. */
  readonly stopReading: (output: Output) => Effect.Effect<void>
  readonly send: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Sends to the program that the child has started in place of itself; see `through`. */
  readonly sendInside: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Waits for its end, and for the last of its output. */
  readonly end: Effect.Effect<ChildEnd, ChildAppTimeout>
}

export interface ChildAppOptions {
  readonly cwd?: string | undefined
  /** What it reads from its standard input; nothing by default. */
  readonly input?: string | undefined
  /** Milliseconds for each wait; 10 seconds by default. */
  readonly within?: number | undefined
  /** A command that starts the program in its stead, such as one that makes a namespace. */
  readonly through?: ReadonlyArray<string> | undefined
  /** Options of Node. */
  readonly flags?: ReadonlyArray<string> | undefined
  /** Where its output goes that is not read here, such as a device that is full. */
  readonly stdoutTo?: number | undefined
  /** More environment variables. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** Starts a program with the Node that runs the tests. */
export const childApp = (
  args: ReadonlyArray<string>,
  options: ChildAppOptions = {}
): Effect.Effect<ChildApp, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Child(args, options)),
      (child) => Effect.andThen(Effect.sync(() => child.kill()), child.until(() => child.end !== undefined))
    ),
    (child) => faceOf(child, options.within ?? 10_000)
  )

const faceOf = (child: Child, within: number): ChildApp => {
  const bounded = (waitedFor: string, wait: Effect.Effect<void>): Effect.Effect<void, ChildAppTimeout> =>
    Effect.timeoutOrElse(wait, { duration: within, orElse: () => Effect.fail(child.timeout(waitedFor)) })

  return {
    pid: child.process.pid ?? -1,
    said: (output) => child.said[output],
    waitFor: (text, output = "stdout") =>
      Effect.gen(function*() {
        const saidIt = () =>
          typeof text === "string" ? child.said[output].includes(text) : text.test(child.said[output])
        const waitedFor = `say ${JSON.stringify(String(text))} on ${output}`
        yield* bounded(waitedFor, child.until(() => saidIt() || child.end !== undefined))
        if (!saidIt()) return yield* child.timeout(`${waitedFor} before its end`)
        return child.said[output]
      }),
    pause: (output) => Effect.sync(() => void child.process[output]?.pause()),
    resume: (output) => Effect.sync(() => void child.process[output]?.resume()),
    stopReading: (output) => Effect.sync(() => void child.process[output]?.destroy()),
    send: (signal) => Effect.sync(() => child.send(signal)),
    sendInside: (signal) => Effect.sync(() => child.sendInside(signal)),
    end: Effect.map(bounded("end", child.until(() => child.end !== undefined)), () => child.end!)
  }
}

class Child {
  readonly process: ChildProcess
  readonly said: Record<Output, string> = { stdout: "", stderr: "" }
  end: ChildEnd | undefined = undefined
  private readonly lookers = new Set<() => void>()
  private since = performance.now()

  constructor(
    args: ReadonlyArray<string>,
    { cwd, env: more, flags = [], input, stdoutTo, through = [] }: ChildAppOptions
  ) {
    // A runner that wants colors for itself does not want them in what the tests read.
    const { FORCE_COLOR: _, ...env } = process.env
    const command = [...through, process.execPath, ...flags, ...args]
    this.process = spawn(command[0]!, command.slice(1), {
      cwd,
      env: { ...env, NO_COLOR: "1", ...more },
      stdio: [input === undefined ? "ignore" : "pipe", stdoutTo ?? "pipe", "pipe"]
    })
    this.process.stdin?.end(input)
    for (const output of ["stdout", "stderr"] as const) {
      this.process[output]?.setEncoding("utf8").on("data", (text: string) => {
        this.said[output] += text
        this.look()
      })
    }
    // `close` comes after the last output, `exit` may come before it.
    this.process.on("close", (code, signal) => {
      this.end = { code, signal, took: performance.now() - this.since, ...this.said }
      this.look()
    })
  }

  send(signal: NodeJS.Signals): void {
    this.since = performance.now()
    this.process.kill(signal)
  }

  sendInside(signal: NodeJS.Signals): void {
    this.since = performance.now()
    const { pid } = this.process
    const [inside] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ")
    process.kill(Number(inside), signal)
  }

  kill(): void {
    if (this.end === undefined) this.process.kill("SIGKILL")
  }

  /** Waits for something that only changes when the child speaks or ends. */
  until(holds: () => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const look = () => {
        if (holds()) resume(Effect.void)
      }
      this.lookers.add(look)
      look()
      return Effect.sync(() => {
        this.lookers.delete(look)
      })
    })
  }

  timeout(waitedFor: string): ChildAppTimeout {
    return new ChildAppTimeout({ waitedFor, ...this.said })
  }

  private look(): void {
    for (const look of this.lookers) look()
  }
}
