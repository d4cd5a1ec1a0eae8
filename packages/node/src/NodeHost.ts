/**
 * A process that always ends, and says why: signals, errors that nobody caught,
 * exit codes, and a bound that nothing in the process can move.
 *
 * @since 0.1.0
 */
import * as Host from "@ambit/core/Host"
import { HostOwner } from "@ambit/core/HostOwner"
import { InvalidOption } from "@ambit/core/InvalidOption"
import * as Limits from "@ambit/core/Limits"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Runtime from "effect/Runtime"
import type { HealthFileFailed } from "./HealthFileFailed.ts"
import { exitCodes as codes } from "./internal/exitCode.ts"
import {
  currentProcess,
  endWithin,
  type MainProcess,
  type ProcessSettings,
  takeProcess
} from "./internal/mainProcess.ts"
import { isNotified } from "./internal/notify.ts"
import { durationOf } from "./internal/settings.ts"
import { writeHealth } from "./internal/writeHealth.ts"

/**
 * How a process ends.
 *
 * **Details**
 *
 * - `forceWithin`: how long what is left has after the second signal, within the budget; 2 seconds by default.
 * - `killAfter`: how long whoever runs the process waits before it kills it: `TimeoutStopSec` of systemd,
 *   `terminationGracePeriodSeconds` of Kubernetes, `--stop-timeout` of Docker. It is only checked: the stop of the host, with
 *   all the time that it may be granted and a second for the end of the process, must fit.
 *
 * @category models
 * @since 0.1.0
 */
export interface NodeHostOptions {
  readonly forceWithin?: Duration.Input | undefined
  readonly killAfter?: Duration.Input | undefined
}

/**
 * The exit codes that are Ambit's own.
 *
 * **Details**
 *
 * | code | meaning |
 * | --- | --- |
 * | 0 | it stopped by itself, and all ended in time |
 * | 1 | it failed: a start, an escalated task, an error that nobody caught; or the code that was requested |
 * | 128 + n | signal n stopped it, and all ended in time: 129 SIGHUP, 130 SIGINT, 143 SIGTERM |
 * | 70 | it stopped in time, but gave something up: see the report |
 * | 71 | it was forced: a third signal, or the budget was over |
 * | 137 | it was forced, and could only kill itself: before Node 26, when the main thread does not answer |
 *
 * A failure wins over what was given up, and that over the signal.
 *
 * **Example** (The codes)
 *
 * ```ts import.meta.vitest
 * import { NodeHost } from "@ambit/node"
 *
 * NodeHost.exitCodes // => { clean: 0, failed: 1, abandoned: 70, forced: 71 }
 * ```
 *
 * @category exit codes
 * @since 0.1.0
 */
export const exitCodes: {
  readonly clean: 0
  readonly failed: 1
  readonly abandoned: 70
  readonly forced: 71
} = codes

const shown = (millis: number): string => Duration.format(Duration.millis(millis))

const defaults: ProcessSettings = { forceWithin: 2000, stopWithin: Limits.defaults.hostStop }

const settingsOf = (
  options: NodeHostOptions,
  limits: Pick<Limits.Limits, "extension" | "hostStop">
): Result.Result<ProcessSettings, InvalidOption> =>
  Result.gen(function*() {
    const forceWithin = yield* durationOf(
      "forceWithin of the process",
      options.forceWithin,
      defaults.forceWithin,
      "more"
    )
    if (options.killAfter !== undefined) {
      const killAfter = yield* durationOf("killAfter of the process", options.killAfter, 0, "more")
      // systemd is told when the stop gets more time.
      const extension = isNotified() ? 0 : limits.extension ?? 0
      const needed = limits.hostStop + extension + endWithin
      if (needed > killAfter) {
        return yield* Result.fail(
          new InvalidOption({
            option: "killAfter of the process",
            value: shown(killAfter),
            problem: `the process may need ${shown(needed)}: ${shown(limits.hostStop)} for the stop` +
              `${extension === 0 ? "" : `, ${shown(extension)} that it may be granted`} and ${
                shown(endWithin)
              } for its end`,
            remedy: "Lower the limit of the host, or let the one who kills wait longer"
          })
        )
      }
    }
    return { forceWithin, stopWithin: limits.hostStop }
  })

/**
 * Ends the process with the right code, also when threads are left that cannot be
 * ended: the teardown for programs that keep `NodeRuntime.runMain`.
 *
 * **Details**
 *
 * It always ends the process, also with code 0: what is still open does not hold
 * it up. Handlers of `exit` run. Use it together with `layer`; without that it knows only how the program ended.
 *
 * **Example** (Beside `NodeRuntime.runMain`)
 *
 * ```ts no-run title="it runs until Ctrl-C"
 * import { App, Host } from "@ambit/core"
 * import { NodeHost } from "@ambit/node"
 * import { NodeRuntime } from "@effect/platform-node"
 * import { Effect } from "effect"
 *
 * Host.launch(App.layer("idle", Effect.void)).pipe(
 *   Effect.provide(NodeHost.layer()),
 *   NodeRuntime.runMain({ teardown: NodeHost.teardown })
 * )
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const teardown: Runtime.Teardown = (exit, onExit) =>
  (currentProcess() ?? takeProcess(defaults, Context.empty())).ended(exit, onExit)

/**
 * Makes the process stop the hosts below on signals and on errors that nobody
 * caught, as `runMain` does, for programs that keep `NodeRuntime.runMain`.
 *
 * **When to use**
 *
 * Use around everything, together with `teardown`.
 *
 * **Failure**
 *
 * `InvalidOption` for a bad limit, and when the stop does not fit into `killAfter`.
 *
 * **Gotchas**
 *
 * Before it is built and after it is closed, signals do what they do without it. Build it in the main fiber: one that
 * is part of a `Layer.mergeAll` does not know the program, and where there is no host, SIGHUP ends it by its budget only.
 * Inside of another one, or of `runMain`, it takes part in that, and its options are not used.
 *
 * @see `runMain` for what happens on each signal
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: NodeHostOptions = {}): Layer.Layer<never, InvalidOption> =>
  Layer.effect(HostOwner)(Effect.gen(function*() {
    const settings = yield* Effect.fromResult(settingsOf(options, yield* Limits.around))
    const owned = yield* Effect.acquireRelease(
      Effect.withFiber((fiber) =>
        Effect.sync(() => {
          const owned = takeProcess(settings, fiber.context)
          // The program is what builds this layer, or what is around that.
          owned.main ??= fiber
          return owned
        })
      ),
      (owned) => Effect.sync(() => owned.release())
    )
    return owned.owner
  }))

/**
 * How a program is run.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunMainOptions extends Host.HostOptions, NodeHostOptions {}

const program = <ROut, E>(
  owned: MainProcess,
  apps: Layer.Layer<ROut, E, Host.Host>,
  options: RunMainOptions
) =>
  Effect.gen(function*() {
    const { forceWithin, killAfter, ...ofHost } = options
    const around = yield* Limits.around
    // A limit that makes no sense is refused by the launch, which names it better.
    const hostStop = ofHost.stopWithin === undefined
      ? around.hostStop
      : Result.getOrElse(durationOf("stopWithin", ofHost.stopWithin, around.hostStop, "more"), () => around.hostStop)
    owned.settings = yield* Effect.fromResult(
      settingsOf({ forceWithin, killAfter }, { hostStop, extension: around.extension })
    )
    return yield* Host.launch(apps, ofHost)
  }).pipe(Effect.provideService(HostOwner, owned.owner))

const run = (owned: MainProcess) =>
  Runtime.makeRunMain(({ fiber, teardown }) => {
    owned.main = fiber
    fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
  })

let isRunning = false

// The first one that ends would end the process, and cut the other one off.
const secondProgram = (name: string | undefined): InvalidOption =>
  new InvalidOption({
    option: "runMain",
    value: name ?? "host",
    problem: "this process already runs a program",
    remedy: "Call runMain once, with all apps in one Layer.mergeAll"
  })

/**
 * Runs apps as the program of this process, until it is told to stop, and ends the
 * process.
 *
 * **When to use**
 *
 * Use as the last line of a service. It replaces `Host.launch` and
 * `NodeRuntime.runMain`.
 *
 * **Details**
 *
 * - The first SIGINT, SIGTERM or SIGHUP stops the host, within its budget.
 * - The second goes straight to interrupt and kill, and says what is still alive. What is
 *   left has `forceWithin`.
 * - The third prints what is still alive and ends the process.
 * - An error that nobody caught, also in a promise, is logged and stops the host; the process ends with a code other than 0.
 * - Within a second after the budget the process is gone, whatever sits in it. A thread that is
 *   started when the stop begins sees to that.
 * - Under systemd (`Type=notify`, `NotifyAccess=all`) it tells when it is ready, stops, needs more time, and that it is alive (`WatchdogSec`).
 *
 * Exit codes: see `exitCodes`. Options are those of `Host.launch`, and `NodeHostOptions`.
 *
 * **Ordering**
 *
 * What is provided around the apps is released after them, within the same budget.
 *
 * **Failure**
 *
 * What the host fails with is logged, and the process ends with 1 or the code of
 * the error. `InvalidOption` when the stop does not fit into `killAfter`. It throws `InvalidOption` when it is called
 * a second time in one process.
 *
 * **Gotchas**
 *
 * A main thread that sits in a synchronous loop when the first signal comes does not
 * hear of it; nothing in the process does.
 *
 * **Example** (A service)
 *
 * ```ts no-run title="it runs until Ctrl-C"
 * import { App, Task } from "@ambit/core"
 * import { BlockingPool, NodeHost } from "@ambit/node"
 * import { Effect, Layer, Schedule } from "effect"
 *
 * const Greeter = App.layer("greeter", Effect.gen(function*() {
 *   yield* Effect.log("hello").pipe(Effect.repeat(Schedule.spaced("1 second")), Task.spawn("greet"))
 *   yield* App.onStop("farewell", Effect.log("goodbye"))
 * }))
 *
 * NodeHost.runMain(Layer.provide(Greeter, BlockingPool.layer({ threads: 2 })), {
 *   name: "hub",
 *   stopWithin: "10 seconds",
 *   killAfter: "30 seconds"
 * })
 * ```
 *
 * @see `layer` and `teardown` for programs that keep `NodeRuntime.runMain`
 * @category running
 * @since 0.1.0
 */
export const runMain = <ROut, E>(apps: Layer.Layer<ROut, E, Host.Host>, options: RunMainOptions = {}): void => {
  if (isRunning) throw secondProgram(options.name)
  isRunning = true
  const owned = takeProcess(defaults, Context.empty())
  run(owned)(program(owned, apps, options) as Effect.Effect<unknown, unknown>, { teardown })
}

/**
 * Writes the health of the host to a file, as JSON, whenever an app changes its
 * state: for probes that run a command, and for people.
 *
 * **Details**
 *
 * The file holds what `Host.health` gives. It is replaced in one step, so a reader
 * never sees half of it. When the host stops it says so; it is left where it is.
 *
 * **Failure**
 *
 * Fails with `HealthFileFailed` when the file cannot be written at the start. Later failures are logged.
 *
 * **Example** (Beside the apps)
 *
 * ```ts import.meta.vitest
 * import { App, Host, Task } from "@ambit/core"
 * import { NodeHost } from "@ambit/node"
 * import { Effect, Layer } from "effect"
 * import { mkdtempSync, readFileSync } from "node:fs"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 *
 * const path = join(mkdtempSync(join(tmpdir(), "ambit-")), "health.json")
 * const Once = App.layer("once", Task.spawn(Effect.andThen(Host.awaitReady, Host.requestStop("done")), "stop"))
 * await Effect.runPromise(Host.launch(Layer.mergeAll(Once, NodeHost.healthFile(path))))
 * const { ready, state } = JSON.parse(readFileSync(path, "utf8"))
 * ;[ready, state] // => [false, "stopping"]
 * ```
 *
 * @category health
 * @since 0.1.0
 */
export const healthFile = (path: string): Layer.Layer<never, HealthFileFailed, Host.Host> =>
  Layer.effectDiscard(writeHealth(path))
