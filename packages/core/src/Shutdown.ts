/**
 * The stop of a whole host, phase by phase, across all its apps.
 *
 * | phase | what happens | what still works |
 * | --- | --- | --- |
 * | `stopping` | it is announced: take no more work in | everything |
 * | `draining` | the apps stop, dependents first: their hooks run, foreground tasks finish | everything an app depends on |
 * | `interrupting` | tasks are interrupted, threads ended, what does not end is given up | everything an app depends on |
 * | `finalWrite` | all apps have stopped: state may be saved | what is provided around the apps |
 * | `closing` | the layers around the apps are closed | what is provided around the host |
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { App } from "./App.ts"
import type { Host } from "./Host.ts"
import type { StopStatus } from "./HostOwner.ts"
import { CurrentHost, stopStatusOf } from "./internal/host.ts"
import { checkLimit } from "./internal/limit.ts"
import { registerHook } from "./internal/registerHook.ts"
import { say } from "./internal/say.ts"
import { shown } from "./internal/shown.ts"
import { CurrentScope, type ScopeImpl } from "./internal/state.ts"
import { InvalidOption } from "./InvalidOption.ts"
import type { ScopeClosed } from "./ScopeClosed.ts"
import { formatMillis, StopPhase } from "./ShutdownReport.ts"
import type { TaskScope } from "./TaskScope.ts"

export { StopPhase } from "./ShutdownReport.ts"

/**
 * How a hook is registered.
 *
 * **Details**
 *
 * `within` is the limit of the hook, `hookStop` of the `Limits` by default, and never more than its phase has:
 * `announce`, `finalWrite` and `closing` of the `Limits`.
 *
 * @category models
 * @since 0.1.0
 */
export interface HookOptions {
  readonly within?: Duration.Input | undefined
}

/**
 * Registers something that an app does in a phase of the stop of its host.
 *
 * **When to use**
 *
 * Use `stopping` to take no more work in, `finalWrite` to save state when nothing
 * changes it any more, `closing` for the last word. For clean-up that belongs to
 * the app alone, use `App.onStop`.
 *
 * **Details**
 *
 * When the app stops alone, without a host, or because an app beside it does not start, its hooks run
 * in the same order around its own stop. Those of `stopping` then share their time with those of `App.onStop`.
 *
 * The hooks of one phase have its limit together. Time for `finalWrite` and `closing` is kept from the begin of the
 * stop on, if anybody has a hook there by then.
 *
 * **Ordering**
 *
 * Hooks of one app run one after the other, the last registered first; those of
 * different apps run at the same time. `stopping` ends before anything is
 * interrupted by the stop, apart from tasks with `stopAt: "stopping"`. Hooks in `draining`
 * and `interrupting` run beside the stop of the apps. `finalWrite` begins when all
 * apps have stopped, with their resources released, and the layers around them wait for its end.
 *
 * **Interruption**
 *
 * A hook that takes longer than its limit is interrupted and left alone.
 *
 * **Failure**
 *
 * A hook that fails, throws, overruns or finds no time left is logged and reported,
 * and changes nothing else. Registering fails with `ScopeClosed` when the app is
 * stopping or the phase has begun, and with `InvalidOption` for a bad name, limit or phase, or for something
 * that is no effect.
 *
 * **Gotchas**
 *
 * What the app itself has acquired is gone in `finalWrite`. To save with that, use
 * `Effect.acquireRelease`: resources are released after the tasks have ended.
 *
 * **Example** (Intake first, state last)
 *
 * ```ts import.meta.vitest
 * import { App, Host, Shutdown, Task } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const log: Array<string> = []
 * const Intake = App.layer("intake", Effect.gen(function*() {
 *   yield* Shutdown.on("stopping", "unsubscribe", Effect.sync(() => log.push("no more work")))
 *   yield* Shutdown.on("finalWrite", "save", Effect.sync(() => log.push("saved")))
 *   yield* Task.spawn(Effect.ensuring(Effect.never, Effect.sync(() => log.push("task ended"))), "consume")
 *   yield* Host.requestStop("enough")
 * }))
 * const report = await Effect.runPromise(Host.launch(Intake))
 * log // => ["no more work", "task ended", "saved"]
 * report.phases?.map(({ phase }) => phase) // => ["stopping", "draining", "interrupting", "finalWrite", "closing"]
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const on = <A, E, R>(
  phase: StopPhase,
  name: string,
  hook: Effect.Effect<A, E, R>,
  options?: HookOptions
): Effect.Effect<void, ScopeClosed | InvalidOption, R | App> => {
  const registered = StopPhase.literals.includes(phase)
    ? registerHook(name, hook, options?.within, phase)
    : Effect.fail(noPhase(name, phase))
  return registered
}

const noPhase = (name: string, phase: unknown): InvalidOption =>
  new InvalidOption({
    option: `the phase of hook "${shown(name)}"`,
    value: shown(phase),
    problem: "there is no such phase",
    remedy: `Choose one of ${StopPhase.literals.map((literal) => `"${literal}"`).join(", ")}`
  })

/**
 * The stop of the host as it stands; `None` before it.
 *
 * **When to use**
 *
 * Use in hooks and finalizers that want to know why the host stops, with which exit
 * code, or how much time is left.
 *
 * **Example** (A hook that reads the exit code)
 *
 * ```ts import.meta.vitest
 * import { App, Host, Shutdown } from "@ambit/core"
 * import { Effect, Option } from "effect"
 *
 * const seen: Array<unknown> = []
 * const look = Effect.map(Shutdown.status, Option.map(({ exitCode, phase }) => seen.push([phase, exitCode])))
 * const Check = App.layer("check", Effect.gen(function*() {
 *   yield* Shutdown.on("stopping", "look", look)
 *   yield* Shutdown.on("closing", "look", look)
 *   yield* Host.requestStop("the disk is full", 3)
 * }))
 * await Effect.runPromise(Effect.flip(Host.launch(Check)))
 * seen // => [["stopping", 3], ["closing", 3]]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const status: Effect.Effect<Option.Option<StopStatus>, never, Host> = Effect.map(
  CurrentHost as unknown as Effect.Effect<Parameters<typeof stopStatusOf>[0], never, Host>,
  (host) => Option.fromUndefinedOr(stopStatusOf(host))
)

/** Whether the scope or one around it is stopping, or the app or the host of one of them. */
const isStopping = (scope: ScopeImpl): boolean => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) {
    if (at.state._tag === "Stopping" || at.releasing) return true
  }
  return false
}

/**
 * Asks for more time for the stop that goes on, and gives what was granted, in milliseconds.
 *
 * **When to use**
 *
 * Use in clean-up that knows that it needs longer than usual, such as the flush of
 * a large buffer, instead of a limit that is too long for all other days.
 *
 * **Details**
 *
 * What is granted is added to every limit that counts at that moment: of the host,
 * its apps, tasks and hooks. Limits that begin later are as long as ever. All grants
 * of one stop together, and of those that go on at the same time, are at most `extension`
 * of the `Limits`, `"none"` by default, so without that nothing is granted. Each answer is
 * logged, the report has the sum, and `NodeHost` tells systemd.
 *
 * **Failure**
 *
 * Gives 0 when nothing may be granted any more, when whoever asks is not stopping, and when somebody has
 * lost patience. Fails with `InvalidOption` for a duration that is not above zero.
 *
 * **Example** (A flush that asks)
 *
 * ```ts import.meta.vitest
 * import { App, Host, Limits, Shutdown } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const granted: Array<number> = []
 * const flush = Effect.gen(function*() {
 *   granted.push(yield* Shutdown.extend("20 seconds", "the buffer is large"))
 * })
 * const Buffer = App.layer("buffer", Effect.gen(function*() {
 *   yield* App.onStop("flush", flush)
 *   yield* Host.requestStop("enough")
 * }))
 * const program = Effect.provide(Host.launch(Buffer), Limits.layer({ extension: "15 seconds" }))
 * const report = await Effect.runPromise(program)
 * granted // => [15000]
 * report.budget // => 45000
 * ```
 *
 * @category operations
 * @since 0.1.0
 */
export const extend = (
  amount: Duration.Input,
  reason = "no reason given"
): Effect.Effect<number, InvalidOption, TaskScope> =>
  Effect.gen(function*() {
    const scope = yield* CurrentScope
    const millis = yield* Effect.fromResult(checkLimit("the time asked for with Shutdown.extend", amount))
    if (!isStopping(scope)) return 0
    const granted = scope.pace.grant(millis)
    const asked = `${scope.path} asked for ${formatMillis(millis)} more to stop (${shown(reason)})`
    say(scope.context, granted > 0 ? "Info" : "Warn", `${asked}; it got ${formatMillis(granted)}`, {
      scope: scope.path,
      granted
    })
    return granted
  })
