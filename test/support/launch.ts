/**
 * A host under test: launched in a fiber on virtual time, acted on from outside,
 * and watched by an owner and a reader of its events.
 */
import { Host, HostOwner, type ShutdownReport, type Task } from "@ambit/core"
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { awakeClock } from "./awakeClock.ts"

export const now = TestClock.testClockWith((clock) => Effect.sync(() => clock.currentTimeMillisUnsafe()))

/** Advances the clock by 10 ms until the fiber is done, and says how long that was. */
export const advanceUntilDone = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function*() {
    const begin = yield* now
    yield* TestClock.adjust(0)
    while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust(10)
    return { exit: yield* Fiber.await(fiber), took: (yield* now) - begin }
  })

export const succeeded = <A, E>(exit: Exit.Exit<A, E>): A => {
  assert.isTrue(Exit.isSuccess(exit), String(exit))
  return (exit as Exit.Success<A, E>).value
}

export const failure = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

/** What the owner of a host was told, in order. */
export interface Told {
  readonly what: "launched" | "changed" | "stopped"
  readonly health: Host.Health
  readonly stop: HostOwner.StopStatus | undefined
}

/** An owner that notes what it is told, and does what a test wants on top. */
export const makeOwner = (does: Partial<HostOwner.Owner> = {}) => {
  const told: Array<Told> = []
  const note = (what: Told["what"], host: HostOwner.HostControl): void => {
    told.push({ what, health: host.health(), stop: host.stop() })
  }
  const control: { current: HostOwner.HostControl | undefined } = { current: undefined }
  const owner: HostOwner.Owner = {
    launched: (host) => {
      control.current = host
      note("launched", host)
      does.launched?.(host)
    },
    changed: (host) => {
      note("changed", host)
      does.changed?.(host)
    },
    stopped: (host, report) => {
      note("stopped", host)
      does.stopped?.(host, report)
    },
    leftOpen: () => does.leftOpen?.() ?? []
  }
  return { owner, told, control }
}

/** Launches apps in a fiber of the test. */
export const launch = <A, E>(
  apps: Layer.Layer<A, E, Host.Host>,
  options?: Host.HostOptions,
  does?: Partial<HostOwner.Owner>
) =>
  Effect.gen(function*() {
    yield* awakeClock
    const reports: Array<ShutdownReport.ShutdownReport> = []
    const events: Array<Task.TaskEvent> = []
    const { control, owner, told } = makeOwner(does)
    const found = yield* Deferred.make<Host.Host>()
    const reading = yield* Deferred.make<Fiber.Fiber<void>>()
    // What reads the events lives longer than all apps, and than the layers around them.
    const Spy = Layer.effectDiscard(Effect.gen(function*() {
      yield* Deferred.succeed(found, yield* Host.Host)
      const reader = yield* Effect.forkDetach(
        Stream.runForEach(Host.events, (event) => Effect.sync(() => events.push(event))),
        { startImmediately: true }
      )
      yield* Deferred.succeed(reading, reader)
    }))
    const fiber = yield* Host.launch(Layer.mergeAll(Spy, apps), {
      name: "hub",
      onReport: (report) => Effect.sync(() => reports.push(report)),
      ...options
    }).pipe(Effect.provideService(HostOwner.HostOwner, owner), Effect.forkChild)
    const host = yield* Deferred.await(found)
    yield* TestClock.adjust(0)
    const inHost = <B, F>(effect: Effect.Effect<B, F, Host.Host>) => Effect.provideService(effect, Host.Host, host)
    const asked = Effect.sync(() => control.current!.requestStop({ reason: "the test says so" }))
    return {
      fiber,
      inHost,
      reports,
      events,
      /** Reads the events, until there are no more. */
      reader: yield* Deferred.await(reading),
      told,
      control: control.current!,
      /** Asks for the stop and advances the clock until it has ended. */
      stop: Effect.andThen(asked, advanceUntilDone(fiber)),
      /** Asks for the stop and lets it begin. */
      beginStop: Effect.andThen(asked, TestClock.adjust(0))
    }
  })

/** The phases of the stop as the events told of them. */
export const phasesIn = (events: ReadonlyArray<Task.TaskEvent>): ReadonlyArray<string> =>
  events.flatMap((event) => event._tag === "StopPhase" ? [event.phase] : [])

/** The phases of the stop as the owner was told of them. */
export const phasesTold = (told: ReadonlyArray<Told>): ReadonlyArray<string> =>
  told.flatMap(({ stop }, index) =>
    stop === undefined || stop.phase === told[index - 1]?.stop?.phase ? [] : [stop.phase]
  )
