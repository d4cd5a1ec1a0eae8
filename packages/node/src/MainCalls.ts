/**
 * Effects that an app offers to its threads.
 *
 * @since 0.1.0
 */
import * as Task from "@ambit/core/Task"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { CurrentErrand, type Handler, type Offered, Offers } from "./internal/offers.ts"
import type { Contract } from "./Thread.ts"

/**
 * What a contract asks for: an effect for each of its calls.
 *
 * @category models
 * @since 0.1.0
 */
export type Handlers<Calls> = {
  readonly [method in keyof Calls]: Calls[method] extends (...args: infer Args) => infer A
    ? (...args: Args) => Effect.Effect<A, unknown, unknown>
    : never
}

/**
 * What handlers require.
 *
 * @category models
 * @since 0.1.0
 */
export type Requirements<H> = {
  readonly [method in keyof H]: H[method] extends (...args: never) => Effect.Effect<unknown, unknown, infer R> ? R
    : never
}[keyof H]

/**
 * Offers effects to the blocking functions that an effect runs, directly or in
 * tasks that it spawns.
 *
 * **When to use**
 *
 * Use around the start effect of an app whose threads need something of the main
 * thread: a service, a cache, a connection.
 *
 * **Details**
 *
 * A thread asks with `Thread.call`, `Thread.post` and `Thread.spawn`. What is called
 * belongs to the blocking call, which is not over before it. What is posted or
 * spawned is a task of the app that made the blocking call, named after contract and
 * method. The effects get their services from where they are offered, and logger,
 * annotations, span, task, scope and time limit from where the blocking call is made.
 *
 * **Interruption**
 *
 * When the blocking call is interrupted, what runs for it is interrupted as well.
 *
 * **Failure**
 *
 * What an effect fails with is thrown in the thread, with message, fields and
 * `_tag`.
 *
 * **Example** (An offer around a call)
 *
 * ```ts no-run title="a thread loads modules, not examples"
 * import { Blocking, BlockingFunction } from "@ambit/core"
 * import { MainCalls, Thread } from "@ambit/node"
 * import { Effect } from "effect"
 *
 * const Readings = Thread.contract<{ latest: (sensor: string) => number }>("readings")
 *
 * const isHot = BlockingFunction.make(import.meta, "isHot", (limit: number) =>
 *   Thread.call(Readings, "latest", "cpu") > limit)
 *
 * export const program = Blocking.run(isHot, 90).pipe(
 *   MainCalls.offer(Readings, { latest: (sensor) => Effect.succeed(sensor === "cpu" ? 95 : 0) })
 * )
 * ```
 *
 * @category offering
 * @since 0.1.0
 */
export const offer: {
  /**
   * Offers effects to the blocking functions that an effect runs. Data-last.
   *
   * @category offering
   * @since 0.1.0
   */
  <Calls, H extends Handlers<Calls>>(
    contract: Contract<Calls>,
    handlers: H
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | Requirements<H>>
  /**
   * Offers effects to the blocking functions that an effect runs. Data-first.
   *
   * @category offering
   * @since 0.1.0
   */
  <A, E, R, Calls, H extends Handlers<Calls>>(
    self: Effect.Effect<A, E, R>,
    contract: Contract<Calls>,
    handlers: H
  ): Effect.Effect<A, E, R | Requirements<H>>
} = dual(3, <A, E, R, Calls, H extends Handlers<Calls>>(
  self: Effect.Effect<A, E, R>,
  contract: Contract<Calls>,
  handlers: H
): Effect.Effect<A, E, R | Requirements<H>> =>
  Effect.flatMap(offers(contract, handlers), (all) => Effect.provideService(self, Offers, all)))

/** What of the place of an offer is nobody's but the caller's, also when the caller has none of it. */
const withoutCaller = Context.omit(
  CurrentErrand,
  Offers,
  Tracer.ParentSpan,
  References.CurrentLogAnnotations,
  References.CurrentLoggers,
  References.CurrentLogSpans,
  References.MinimumLogLevel
)

/** What is offered around here, and this. */
const offers = <Calls, H extends Handlers<Calls>>(
  contract: Contract<Calls>,
  handlers: H
): Effect.Effect<Offered, never, Requirements<H>> =>
  Effect.contextWith((context: Context.Context<Requirements<H>>) => {
    // Without a prototype, so that a thread finds only what is offered.
    const ready: Record<string, Handler> = Object.create(null)
    const given: Readonly<Record<string, Handler["effect"]>> = handlers as never
    // What a handler requires is taken from where it is offered; who calls, from where it is called.
    const required = withoutCaller(context)
    const contextFor = (calling: Context.Context<never>) => Context.merge(calling, Task.ownedBy(required, calling))
    for (const [method, effect] of Object.entries(given)) ready[method] = { effect, contextFor }
    return Effect.succeed(new Map([...Context.get(context, Offers), [contract.name, ready]]))
  })

/**
 * `offer` for everything below: the apps that get it with `Layer.provide`.
 *
 * **Example** (An offer to a synchronous app)
 *
 * ```ts no-run title="a thread loads modules, not examples"
 * import { MainCalls, SyncApp, Thread } from "@ambit/node"
 * import { Effect, Layer } from "effect"
 *
 * const Readings = Thread.contract<{ latest: (sensor: string) => number }>("readings")
 *
 * const Rules = Thread.app(import.meta, "rules", {
 *   onStart: (config: { readonly limit: number }) => config,
 *   handlers: {
 *     isHot: (state, sensor: string) => Thread.call(Readings, "latest", sensor) > state.limit
 *   }
 * })
 *
 * export const App = SyncApp.layer(Rules, { config: { limit: 90 } }).pipe(
 *   Layer.provide(MainCalls.layer(Readings, { latest: () => Effect.succeed(95) }))
 * )
 * ```
 *
 * @category offering
 * @since 0.1.0
 */
export const layer = <Calls, H extends Handlers<Calls>>(
  contract: Contract<Calls>,
  handlers: H
): Layer.Layer<never, never, Requirements<H>> => Layer.effect(Offers, offers(contract, handlers))
