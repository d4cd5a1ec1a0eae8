/**
 * A host in a test: apps start in virtual time, the test looks at their tasks,
 * and at its end everything has stopped, nothing has failed unseen, and nothing
 * is left behind.
 *
 * Time stands still until somebody moves it. The test does, with
 * `TestClock.adjust`. The waits of this module (`launch`, `awaitReady`, `awaitIdle`,
 * `wait`, `stop`, `exit`) do too: they go from one moment at which something in the host
 * wants to wake up to the next, so that they end after exactly as much virtual time
 * as they take, and never hang.
 *
 * @since 0.1.0
 */
import type * as Host from "@ambit/core/Host"
import type { HostControl } from "@ambit/core/HostOwner"
import type { InvalidOption } from "@ambit/core/InvalidOption"
import type { ShutdownReport } from "@ambit/core/ShutdownReport"
import type { Task, TaskEvent, TaskFailure } from "@ambit/core/Task"
import type { AwaitIdleOptions } from "@ambit/core/TaskScope"
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Listenable } from "./internal/made.ts"
import { begin, finish, type TestHostTypeId } from "./internal/testHost.ts"
import type { Leak, NotFound, NotSettled, TestHostFailed, WouldHang } from "./TestHostError.ts"

export { Leak, NotFound, NotSettled, TestHostFailed, WouldHang } from "./TestHostError.ts"

/**
 * What has happened in a host, and when: `at` is the time of the clock in
 * milliseconds, which a `TestClock` counts from 0.
 *
 * @category models
 * @since 0.1.0
 */
export type TestEvent = TaskEvent & { readonly at: number }

/**
 * What a signal has led to.
 *
 * **Details**
 *
 * - `Stop`, the first one: the host was asked to stop.
 * - `Hurry`, the second: hooks and drain are skipped, everything is interrupted, and what is left has `within` milliseconds.
 * - `Exit`, the third: the process would be gone. `alive` are the paths of the tasks that it would have taken along.
 *
 * @category models
 * @since 0.1.0
 */
export type SignalOutcome =
  | { readonly _tag: "Stop" }
  | { readonly _tag: "Hurry"; readonly within: number }
  | { readonly _tag: "Exit"; readonly alive: ReadonlyArray<string> }

/**
 * How `settle` waits.
 *
 * **Details**
 *
 * - `within`: how much real time it may take; 5 seconds by default.
 * - `advance`: how much time of the host may pass meanwhile; none by default.
 *
 * @category models
 * @since 0.1.0
 */
export interface SettleOptions {
  readonly within?: Duration.Input | undefined
  readonly advance?: Duration.Input | undefined
}

/**
 * Why a host did not start.
 *
 * @category models
 * @since 0.1.0
 */
export type StartError<E> = E | InvalidOption | Host.LayerCycle

/**
 * A host in a test. `A` are the services that its apps provide, `E` is why they
 * may not start.
 *
 * **Details**
 *
 * Paths may begin with the name of the host or below it: `host/sensor/poll` or
 * `sensor/poll`.
 *
 * Looking around:
 *
 * - `task(path)` gives the handle of a task that is alive, or fails with `NotFound`, which says what has become of it.
 * - `tasks` are all of them, as `TaskScope.tasks` gives them.
 * - `events` is what has happened so far, from the start on, each with its time.
 * - `run` runs an effect with the services of the apps, and with those of the host.
 * - `control` is what the owner of a process sees of it: `tree`, `health`, `limits`.
 *
 * Waiting:
 *
 * - `awaitReady` waits until all apps have started. Fails as the start does.
 * - `awaitIdle` waits until no foreground task is left, for 30 seconds if `within` does not say it. Fails with `TestHostFailed`,
 *   which names who is busy, and lists every task that has failed so far and was not expected to.
 * - `wait` waits for any other effect, such as the restart of an app, while as much time passes as it takes.
 * - `settle` waits in real time for a promise, while time stands still or passes as far as `advance` says.
 *
 * Stopping:
 *
 * - `stop` stops the host, if nobody has, and gives the report.
 * - `exit` does too, and gives what `Host.launch` ended with: the report, or an error such as `HostFailed`.
 * - `signal` is a signal to the process: see `SignalOutcome`. `"SIGTERM"` by default.
 *
 * Expecting:
 *
 * - `expectFailure` gives the oldest failure of a task that fits, and takes it off the list. One that is left fails the test.
 * - `expectLeak` gives something that the stopped host has left behind, and takes it off as well.
 *
 * @category models
 * @since 0.1.0
 */
export interface TestHost<A = never, out E = never> {
  readonly [TestHostTypeId]: typeof TestHostTypeId
  readonly name: string
  readonly control: HostControl
  readonly task: (path: string) => Effect.Effect<Task, NotFound>
  readonly tasks: Effect.Effect<ReadonlyArray<Task>>
  readonly events: Effect.Effect<ReadonlyArray<TestEvent>>
  readonly run: <B, E2, R>(effect: Effect.Effect<B, E2, R>) => Effect.Effect<B, E2, Exclude<R, A | Host.Host>>
  readonly awaitReady: Effect.Effect<void, StartError<E> | WouldHang>
  readonly awaitIdle: (options?: AwaitIdleOptions) => Effect.Effect<void, TestHostFailed | WouldHang | InvalidOption>
  readonly wait: <B, E2, R>(effect: Effect.Effect<B, E2, R>) => Effect.Effect<B, E2 | WouldHang, R>
  readonly settle: <B>(
    evaluate: () => PromiseLike<B>,
    options?: SettleOptions
  ) => Effect.Effect<B, Cause.UnknownError | NotSettled | InvalidOption>
  readonly stop: Effect.Effect<ShutdownReport>
  readonly exit: Effect.Effect<Exit.Exit<ShutdownReport, StartError<E> | Host.HostFailed>>
  readonly signal: (name?: string) => Effect.Effect<SignalOutcome>
  readonly expectFailure: (of: string | ((failure: TaskFailure) => boolean)) => Effect.Effect<TaskFailure, NotFound>
  readonly expectLeak: (of: string | ((leak: Leak) => boolean)) => Effect.Effect<Leak, NotFound>
}

/**
 * How a host is launched in a test: as by `Host.launch`, and what only tests need.
 *
 * **Details**
 *
 * - `awaitReady`: `true` by default; with `false`, `launch` returns when nothing more happens without time passing, to test the start itself.
 * - `hurryWithin`: what the second signal leaves; 2 seconds by default.
 * - `watch`: emitters and event targets whose listeners are looked after, besides `process`.
 *
 * @category models
 * @since 0.1.0
 */
export interface LaunchOptions<out R = never> extends Host.HostOptions<R> {
  readonly awaitReady?: boolean | undefined
  readonly hurryWithin?: Duration.Input | undefined
  readonly watch?: ReadonlyArray<Listenable> | undefined
}

/**
 * Launches apps in a test, and waits until they are ready.
 *
 * **When to use**
 *
 * Use in `it.effect`, where time is virtual. In `it.live` it works as well: then
 * time passes by itself, and threads and files get what they need of it.
 *
 * **Details**
 *
 * When the test closes its scope, the host is stopped if it still runs, and the test fails with `TestHostFailed`
 *
 * - when a task of the host has failed that was not taken with `expectFailure`. A task that is spawned
 *   with `onFailure: "ignore"` has said itself that this is no harm;
 * - when something is left behind that was not taken with `expectLeak`; see `Leak`.
 *
 * What failed in the body of the test itself stays its error; these come after it.
 *
 * Before time moves, everything happens that takes none, and real work is waited for, for up to half a second of
 * real time: files, a `setTimeout` of no more, and calls on threads.
 *
 * **Ordering**
 *
 * The host stops before what the test acquired earlier in its scope is released.
 *
 * **Failure**
 *
 * As the start of the host does, with `InvalidOption` for a bad option, and with `WouldHang` when the start waits for
 * something that cannot come.
 *
 * **Gotchas**
 *
 * - What is provided around the body of a test with `Effect.provide` is released when the body ends, and so before a
 *   host that the body did not stop. Stop it there, or give the apps their services with `Layer.provide`.
 * - Effect's own live clock under a virtual one, as in `TestClock.withLive`, is not seen as real work.
 *
 * **Example** (A start, a second, and a stop)
 *
 * ```ts import.meta.vitest
 * import { App, Task } from "@ambit/core"
 * import { TestHost } from "@ambit/vitest"
 * import { expect, it } from "@effect/vitest"
 * import { Effect, Schedule } from "effect"
 * import { TestClock } from "effect/testing"
 *
 * let reads = 0
 * const read = Effect.sync(() => ++reads)
 * const Sensor = App.layer("sensor", Task.spawn(Effect.repeat(read, Schedule.spaced("1 second")), "poll"))
 *
 * it.effect("a sensor reads every second, and stops at once", () =>
 *   Effect.gen(function*() {
 *     const host = yield* TestHost.launch(Sensor)
 *     yield* TestClock.adjust("3 seconds")
 *     expect(reads).toBe(4)
 *     const report = yield* host.stop
 *     expect([report.clean, report.took]).toEqual([true, 0])
 *   }))
 * ```
 *
 * @see `FakePool` for blocking functions
 * @category constructors
 * @since 0.1.0
 */
export const launch = <A, E, R, R2 = never>(
  apps: Layer.Layer<A, E, R>,
  options: LaunchOptions<R2> = {}
): Effect.Effect<TestHost<A, E>, StartError<E> | WouldHang, Exclude<R | R2, Host.Host> | Scope.Scope> =>
  Effect.gen(function*() {
    const host = yield* Effect.acquireRelease(begin(apps as Layer.Layer<unknown>, options as LaunchOptions), finish)
    yield* host.time.quiet
    // A host that was refused has no more than an error to give.
    if (options.awaitReady !== false || host.hostControl === undefined) yield* host.awaitReady
    yield* host.time.quiet
    return host
  }) as Effect.Effect<
    TestHost<A, E>,
    StartError<E> | WouldHang,
    Exclude<R | R2, Host.Host> | Scope.Scope
  >
