/**
 * What a test of a host fails with.
 *
 * @since 0.1.0
 */
import { ShutdownReport } from "@ambit/core"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

/**
 * Something that a host has left behind at the end of a test.
 *
 * **Details**
 *
 * | kind | what it is | `name` |
 * | --- | --- | --- |
 * | `task` | was abandoned and still runs | its path |
 * | `sleep` | a fiber that no task owns any more still sleeps on the clock | the path of the task that it came from, or `"no task"` |
 * | `timer` | was not cleared | `setTimeout` or `setInterval` |
 * | `thread` | was not ended | its name |
 * | `listener` | was not removed | the target and the event, such as `process "SIGHUP"` |
 *
 * `place` is where it is stuck, or was made.
 *
 * @category models
 * @since 0.1.0
 */
export const Leak = Schema.Struct({
  kind: Schema.Literals(["task", "sleep", "timer", "thread", "listener"]),
  name: Schema.String,
  place: Schema.optionalKey(Schema.String)
})

/**
 * The type of `Leak`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Leak extends Schema.Schema.Type<typeof Leak> {}

const FailedTask = Schema.Struct({
  path: Schema.String,
  kind: ShutdownReport.TaskKind,
  cause: Schema.Cause(Schema.Unknown, Schema.Unknown)
})

const leakTexts: Record<Leak["kind"], (leak: Leak) => string> = {
  task: ({ name }) => `task ${name} was abandoned and still runs`,
  sleep: ({ name }) => `a fiber of ${name} still sleeps`,
  timer: ({ name }) => `a timer of ${name} was not cleared`,
  thread: ({ name }) => `thread ${name} was not ended`,
  listener: ({ name }) => `a listener of ${name} was not removed`
}

const shownLeak = (leak: Leak): string =>
  leak.place === undefined ? leakTexts[leak.kind](leak) : `${leakTexts[leak.kind](leak)}: ${leak.place}`

// The frames of tools and libraries say nothing about the app.
const isForeign = (line: string): boolean => /^\s+at .*(?:node_modules|\bnode:)/.test(line)

const shownFailure = ({ cause, path }: typeof FailedTask.Type): string => {
  try {
    const lines = Cause.pretty(cause).split("\n").filter((line) => !isForeign(line))
    return `${path}: ${lines.join("\n    ")}`
  } catch {
    return `${path}: an error that cannot be shown`
  }
}

const counted = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`

const list = (head: string, lines: ReadonlyArray<string>, remedy: string): Array<string> =>
  lines.length === 0 ? [] : [[`${head}:`, ...lines.map((line) => `  ${line}`), remedy].join("\n")]

/**
 * A host did what its test did not expect.
 *
 * **Details**
 *
 * - `failures`: the tasks that failed, the oldest first, each with its cause.
 * - `leaks`: what was left behind.
 * - `idle`: the wait that was too short, with the paths of the tasks that were busy.
 *
 * The test dies with it at its end, and `awaitIdle` fails with it.
 *
 * @category errors
 * @since 0.1.0
 */
export class TestHostFailed extends Schema.TaggedError<TestHostFailed>("@ambit/vitest/TestHostError/TestHostFailed")(
  "TestHostFailed",
  {
    host: Schema.String,
    failures: Schema.Array(FailedTask),
    leaks: Schema.Array(Leak),
    idle: Schema.optionalKey(Schema.Struct({
      /** Milliseconds. */
      within: Schema.Finite,
      busy: Schema.Array(Schema.String)
    }))
  }
) {
  override get message(): string {
    const { failures, host, idle, leaks } = this
    return [
      ...(idle === undefined ? [] : list(
        `${host} is not idle after ${Duration.format(Duration.millis(idle.within))}; still busy`,
        idle.busy,
        "Wait longer, or look at what these tasks wait for."
      )),
      ...list(
        `${counted(failures.length, "task", "tasks")} of ${host} failed, and the test did not expect it`,
        failures.map(shownFailure),
        "A failure that is meant to be is taken with host.expectFailure."
      ),
      ...list(
        `${host} has left ${counted(leaks.length, "thing", "things")} behind`,
        leaks.map(shownLeak),
        "What is meant to be left is taken with host.expectLeak."
      )
    ].join("\n\n")
  }

  override get cause(): unknown {
    const [first] = this.failures
    return first === undefined ? undefined : Cause.squash(first.cause)
  }
}

/**
 * There is no such task, failure or leak.
 *
 * **Details**
 *
 * `there` holds those that there are.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends Schema.TaggedError<NotFound>("@ambit/vitest/TestHostError/NotFound")("NotFound", {
  host: Schema.String,
  what: Schema.Literals(["task", "failure", "leak"]),
  wanted: Schema.String,
  problem: Schema.String,
  there: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const there = this.there.length === 0 ? "There is none at all" : `There is ${this.there.join(", ")}`
    return `${this.host} has no ${this.what} ${this.wanted}: ${this.problem}. ${there}`
  }
}

/**
 * A wait that would never end: time stands still, nothing in the host sleeps,
 * and nothing happens.
 *
 * @category errors
 * @since 0.1.0
 */
export class WouldHang extends Schema.TaggedError<WouldHang>("@ambit/vitest/TestHostError/WouldHang")("WouldHang", {
  host: Schema.String,
  /** What the test waited for. */
  wait: Schema.String,
  alive: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const alive = this.alive.length === 0 ? "No task is alive" : `Alive: ${this.alive.join(", ")}`
    return `The wait for ${this.wait} of ${this.host} would never end: nobody sleeps on the clock, and nothing happens. ` +
      `${alive}. Give it what it waits for first, or launch with awaitReady: false`
  }
}

/**
 * A promise did not settle in time.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotSettled extends Schema.TaggedError<NotSettled>("@ambit/vitest/TestHostError/NotSettled")("NotSettled", {
  host: Schema.String,
  /** Real milliseconds. */
  within: Schema.Finite,
  /** Virtual milliseconds that were let pass. */
  advanced: Schema.Finite
}) {
  override get message(): string {
    const format = (millis: number) => Duration.format(Duration.millis(millis))
    return `The promise was not settled within ${format(this.within)} of real time, in which ${
      format(this.advanced)
    } of the time of ${this.host} passed. Raise within, or say with advance how much time of the host it needs`
  }
}
