/**
 * Apps whose code is synchronous, each in a thread of its own.
 *
 * `Thread.app` declares one, in a module that threads load. This module starts
 * it and talks to it.
 *
 * @since 0.1.0
 */
import * as AmbitApp from "@ambit/core/App"
import { Blocking, BlockingError, type Pool, PoolStopped, run as runBlocking } from "@ambit/core/Blocking"
import type { BlockingFunction } from "@ambit/core/BlockingFunction"
import type { InvalidOption } from "@ambit/core/InvalidOption"
import * as Limits from "@ambit/core/Limits"
import type { ScopeClosed } from "@ambit/core/ScopeClosed"
import * as Task from "@ambit/core/Task"
import { TaskRefused } from "@ambit/core/TaskRefused"
import * as TaskScope from "@ambit/core/TaskScope"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { ResourceLimits } from "node:worker_threads"
import { CurrentErrand, errandIn, Offers } from "./internal/offers.ts"
import { openPool } from "./internal/openPool.ts"
import { settingsOf } from "./internal/settings.ts"
import type { PoolStartFailed } from "./PoolStartFailed.ts"
import type { App } from "./Thread.ts"

/**
 * The thread of a synchronous app was lost, and its state with it: a handler was
 * ended since it did not stop, or the thread ended by itself.
 *
 * **Details**
 *
 * The app stops. `App.restart` gives it a new thread with a new state.
 *
 * @category errors
 * @since 0.1.0
 */
export class ThreadLost extends Schema.TaggedError<ThreadLost>("@ambit/node/SyncApp/ThreadLost")("ThreadLost", {
  app: Schema.String
}) {
  override get message(): string {
    return `The thread of app ${this.app} was lost with its state. Restart the app to start it anew`
  }
}

/**
 * Says in a type that the synchronous app of that name runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Running<out Name extends string> {
  readonly name: Name
}

/** What others need to run a handler: where its tasks belong, what threads may ask there, and the thread. */
interface Handle {
  readonly scope: TaskScope.TaskScope
  readonly context: Context.Context<never>
  readonly pool: Blocking["Service"]
  /** The handlers that run or wait. */
  readonly handlers: Set<Task.Task>
  readonly lost: Deferred.Deferred<never, ThreadLost>
}

const keyOf = <Name extends string>(name: Name): Context.Key<Running<Name>, Handle> =>
  Context.Service<Running<Name>, Handle>(`@ambit/node/SyncApp/${name}`)

/**
 * How a synchronous app is started.
 *
 * **Details**
 *
 * `config` is what `onStart` gets; it is cloned. The limits are those of
 * `App.layer`, `grace` and `resourceLimits` those of `BlockingPool`: how long a
 * handler that nobody waits for may clean up before its thread is ended, 1 second
 * by default, and what Node gives the thread at most.
 *
 * @category models
 * @since 0.1.0
 */
export interface SyncAppOptions<out Config> extends Omit<AmbitApp.AppOptions, "maxTasks"> {
  readonly config: Config
  readonly grace?: Duration.Input | undefined
  readonly resourceLimits?: ResourceLimits | undefined
}

/**
 * Makes an app from one that is declared with `Thread.app`: it has a thread of
 * its own, and the scope, states, limits, restart and report of any app.
 *
 * **Details**
 *
 * `onStart` is part of the start of the app, `onStop` is one of its hooks. Each
 * run of a handler is a task of the app.
 *
 * **Interruption**
 *
 * A stop interrupts the handlers, runs `onStop`, and ends the thread: also one in an
 * endless loop, within the limits of the app.
 *
 * **Failure**
 *
 * When its thread is lost, the app stops, with `ThreadLost` in the log.
 *
 * **Example** (A rule set that keeps count)
 *
 * ```ts no-run title="a thread loads modules, not examples"
 * import { App, Task } from "@ambit/core"
 * import { SyncApp, Thread } from "@ambit/node"
 * import { Layer } from "effect"
 *
 * const Rules = Thread.app(import.meta, "rules", {
 *   onStart: (config: { readonly limit: number }) => ({ limit: config.limit, checks: 0 }),
 *   handlers: {
 *     check: (state, value: number) => {
 *       state.checks++
 *       return value > state.limit
 *     }
 *   }
 * })
 *
 * const Watch = App.layer("watch", Task.spawn(SyncApp.run(Rules, "check", 95), "first"))
 *
 * export const apps = Layer.provideMerge(Watch, SyncApp.layer(Rules, { config: { limit: 90 } }))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Name extends string, Config, Handlers>(
  app: App<Name, Config, Handlers>,
  options: SyncAppOptions<Config>
): Layer.Layer<Running<Name>, AmbitApp.AppError | BlockingError | InvalidOption | PoolStartFailed | ScopeClosed> => {
  const { config, grace, resourceLimits, ...limits } = options
  return AmbitApp.layer(app.name, Layer.effect(keyOf(app.name), start(app, config, { grace, resourceLimits })), limits)
}

// The scope of such an app takes any number of tasks.
const neverFull = <A, E, R>(spawn: Effect.Effect<A, E | TaskRefused, R>) =>
  Effect.catchIf(spawn, (error): error is TaskRefused => error instanceof TaskRefused, Effect.die)

/** Of the stop of an app, its thread gets two seconds. */
const stopWithin = 2000

const start = <Name extends string, Config, Handlers>(
  app: App<Name, Config, Handlers>,
  config: Config,
  options: { readonly grace: Duration.Input | undefined; readonly resourceLimits: ResourceLimits | undefined }
) =>
  Effect.gen(function*() {
    const scope = yield* TaskScope.TaskScope
    const context = yield* Effect.context()
    const limits = yield* Limits.around
    const settings = yield* Effect.fromResult(
      settingsOf({ ...options, name: app.name, threads: 1, saturation: "none" }, limits, stopWithin)
    )
    const lost = Deferred.makeUnsafe<never, ThreadLost>()
    const pool = yield* openPool({ ...settings, ofApp: true }, () => {
      Deferred.doneUnsafe(lost, Effect.fail(new ThreadLost({ app: app.name })))
    })
    const inThread = <Args extends ReadonlyArray<unknown>, A>(f: BlockingFunction<Args, A>, ...args: Args) =>
      Effect.provideService(runBlocking(f, ...args), Blocking, pool)
    yield* inThread(app.start, config)
    yield* neverFull(Task.spawn(Deferred.await(lost), "(thread)", { onFailure: "stopApp" }))
    const handlers: Handle["handlers"] = new Set()
    // The hook comes before the tasks are interrupted, and would wait for its turn behind them. The last ones first, or
    // those behind the one that runs would begin as soon as that one has heard of it.
    const interruptHandlers = Effect.suspend(() =>
      Effect.forEach([...handlers].toReversed(), (task) => task.interrupt("its app stops"), {
        concurrency: "unbounded",
        discard: true
      })
    )
    yield* AmbitApp.onStop("onStop", Effect.andThen(interruptHandlers, inThread(app.stop)))
    return { scope, context, pool, handlers, lost }
  })

/**
 * Runs a handler of a synchronous app and waits for its result.
 *
 * **Ordering**
 *
 * Handlers run one at a time, in the order of the calls.
 *
 * **Interruption**
 *
 * The fiber is free at once. A handler that has not begun never does; one that runs
 * is told and has its grace. After that its thread is ended and the app stops.
 *
 * **Failure**
 *
 * Fails as `Blocking.run` does, and with `ScopeClosed` when the app is stopping or
 * has stopped. A stop of the app ends the wait: with `ScopeClosed` when the handler
 * has not begun, and never will, and with the reason `PoolStopped` when it had. So
 * does the loss of its thread, with `ThreadLost`.
 *
 * @category running
 * @since 0.1.0
 */
export const run = <Name extends string, Config, Handlers, K extends keyof Handlers & string>(
  app: App<Name, Config, Handlers>,
  method: K,
  ...args: ArgsOf<Handlers[K]>
): Effect.Effect<ResultOf<Handlers[K]>, BlockingError | ScopeClosed | ThreadLost | InvalidOption, Running<Name>> =>
  Effect.flatMap(Effect.service(keyOf(app.name)), ({ context, handlers: running, lost, pool, scope }) => {
    const handlers = app.handlers as {
      readonly [method: string]: BlockingFunction<ArgsOf<Handlers[K]>, ResultOf<Handlers[K]>>
    }
    const handler = handlers[method]!
    return Effect.contextWith((caller: Context.Context<never>) => {
      const begun = { value: false }
      const call = runBlocking(handler, ...args).pipe(
        Effect.provideService(Blocking, telling(pool, begun)),
        Effect.provideService(Offers, Context.get(context, Offers)),
        // Who waits for this effect waits for the task below.
        Effect.provideService(CurrentErrand, errandIn(caller))
      )
      const stopped = (): BlockingError | ScopeClosed | ThreadLost | undefined => {
        const refusal = TaskScope.refusalOf(scope, method)
        if (Deferred.isDoneUnsafe(lost)) return new ThreadLost({ app: app.name })
        if (refusal === undefined || !begun.value) return refusal
        const { module, name } = handler
        return new BlockingError({ reason: new PoolStopped({ function: name, module, pool: app.name, started: true }) })
      }
      return Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(
          neverFull(TaskScope.spawn(scope, call, method, { onFailure: "ignore" })),
          (task) => {
            running.add(task)
            task.fiber.addObserver(() => running.delete(task))
            return restore(task.await).pipe(
              Effect.onInterrupt(() => task.interrupt("nobody waits for it any more")),
              // What the task was interrupted for is no interruption of who waits for it.
              Effect.flatMap((exit) => {
                const error = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? stopped() : undefined
                return error === undefined ? exit : Effect.fail(error)
              })
            )
          }
        )
      )
    })
  })

/** A pool that tells whether a call has begun, at the latest when it is cancelled. */
const telling = (pool: Pool, begun: { value: boolean }): Pool => ({
  ...pool,
  submit: (request) => {
    begun.value = true
    return pool.submit({
      ...request,
      ended: (end) => {
        if (end._tag === "NeverStarted") begun.value = false
        request.ended(end)
      }
    })
  }
})

/**
 * The arguments of a handler, without the state.
 *
 * @category models
 * @since 0.1.0
 */
export type ArgsOf<Handler> = Handler extends (state: never, ...args: infer Args) => unknown ? Args : never

/**
 * The result of a handler.
 *
 * @category models
 * @since 0.1.0
 */
export type ResultOf<Handler> = Handler extends (state: never, ...args: never) => infer A ? Awaited<A> : never
