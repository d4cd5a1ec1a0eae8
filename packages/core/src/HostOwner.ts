/**
 * What owns a process owns the hosts in it: it hears of them, and can do more to
 * them than an app can. `NodeHost` of `@ambit/node` is one, `TestHost` of
 * `@ambit/vitest` another.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Health, Tree } from "./Host.ts"
import type { Limits } from "./Limits.ts"
import type { ShutdownReport, StopPhase } from "./ShutdownReport.ts"

/**
 * Where a host is.
 *
 * @category models
 * @since 0.1.0
 */
export type HostState = "starting" | "running" | "stopping" | "stopped"

/**
 * A stop as it stands.
 *
 * **Details**
 *
 * `left` is the milliseconds that the whole stop still has, `extended` those that
 * were granted to it beyond its limit.
 *
 * @category models
 * @since 0.1.0
 */
export interface StopStatus {
  readonly phase: StopPhase
  readonly reason: string
  readonly exitCode: number | undefined
  readonly left: number
  readonly extended: number
}

/**
 * What the owner of a process can do with a host. All of it is synchronous and
 * throws nothing, so that it can be used in the handler of a signal.
 *
 * **Details**
 *
 * - `requestStop` asks the host to stop: `true` when this was the first request. With
 *   `failed`, `Host.launch` fails with `HostFailed` after the stop. What is no exit code becomes 1.
 * - `hurry` skips hooks and drain, interrupts everything and ends its threads. What is left gets `within`
 *   milliseconds, and no more than the host has at all. The first time counts. A host that was not asked to stop is.
 * - `tree`, `health` and `stop` tell how it stands; `stop` is `undefined` before the stop, and stays as it was at the end.
 *   `tree` takes how many tasks of each scope it lists at most, for there may be very many.
 * - `left` is the milliseconds until it has ended at the latest, once it stops. A start that fails counts as well, for
 *   it unwinds before the stop begins; when somebody recovers from it, `left` is `undefined` again.
 *
 * @category models
 * @since 0.1.0
 */
export interface HostControl {
  readonly name: string
  readonly limits: Limits
  readonly requestStop: (request: {
    readonly reason: string
    readonly exitCode?: number | undefined
    readonly failed?: boolean | undefined
  }) => boolean
  readonly hurry: (reason: string, within: number) => void
  readonly tree: (most?: number) => Tree
  readonly health: () => Health
  readonly stop: () => StopStatus | undefined
  readonly left: () => number | undefined
}

/**
 * Who hears of the hosts in a program.
 *
 * **Details**
 *
 * - `launched` and `stopped` are the first and the last that it hears of one.
 * - `changed` comes when a host is ready, when an app changes its state, when a start begins to fail, when a
 *   stop gets to another phase, and when it gets more time.
 * - `leftOpen` names what keeps the process alive, for the report.
 *
 * **Failure**
 *
 * What an owner throws is logged, and changes nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface Owner {
  readonly launched: (host: HostControl) => void
  readonly changed: (host: HostControl) => void
  readonly stopped: (host: HostControl, report: ShutdownReport) => void
  readonly leftOpen: () => ReadonlyArray<string>
}

const nobody: Owner = {
  launched: () => {},
  changed: () => {},
  stopped: () => {},
  leftOpen: () => []
}

/**
 * The owner of the hosts that are launched below; nobody by default.
 *
 * **Example** (Stopping a host from outside)
 *
 * ```ts import.meta.vitest
 * import { App, Host, HostOwner } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const owner: HostOwner.Owner = {
 *   launched: () => {},
 *   changed: (host) => host.health().ready && host.requestStop({ reason: "the owner says so" }),
 *   stopped: () => {},
 *   leftOpen: () => []
 * }
 * const program = Host.launch(App.layer("sensor", Effect.void)).pipe(
 *   Effect.provideService(HostOwner.HostOwner, owner)
 * )
 * const report = await Effect.runPromise(program)
 * report.reason // => "the owner says so"
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export const HostOwner: Context.Reference<Owner> = Context.Reference<Owner>("@ambit/core/HostOwner", {
  defaultValue: () => nobody
})
