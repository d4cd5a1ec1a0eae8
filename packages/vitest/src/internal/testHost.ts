/**
 * A host in a test: launched with an owner that the test is, watched from its
 * first moment, stopped at the latest when the scope of the test closes.
 *
 * Invariants
 * - Whoever listens does so before the first app starts, so nothing is missed. (TestHost.test.ts)
 * - A failure, a leak and the end of the host are told once: by the test that takes
 *   them, or at its end. (TestHost.failures.test.ts, TestHost.leaks.test.ts)
 */
import * as Host from "@ambit/core/Host"
import { type HostControl, HostOwner, type Owner } from "@ambit/core/HostOwner"
import { InvalidOption } from "@ambit/core/InvalidOption"
import type { ShutdownReport } from "@ambit/core/ShutdownReport"
import type { Task, TaskFailure } from "@ambit/core/Task"
import * as TaskScope from "@ambit/core/TaskScope"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { inspect } from "node:util"
import type * as TestHost from "../TestHost.ts"
import { type Leak, NotFound, NotSettled, TestHostFailed, WouldHang } from "../TestHostError.ts"
import { isFakeThread } from "./fakePool.ts"
import { withPools } from "./givenPools.ts"
import { listening, nameOf, type Watch, watch } from "./made.ts"
import { patience, realPause, Time } from "./time.ts"

type HostExit = Exit.Exit<ShutdownReport, unknown>

export const TestHostTypeId = "~@ambit/vitest/TestHost"

/** Virtual or real milliseconds of `awaitIdle`, where nobody says it. */
const defaultIdle = 30_000

/** Virtual milliseconds that a second signal leaves. */
const defaultHurry = 2000

/** Real milliseconds of `settle`. */
const defaultSettle = 5000

/** Real milliseconds in which what ends with the host has ended. A task that is given up is known at once. */
const leakGraces: Record<Leak["kind"], number> = { task: 0, sleep: 100, timer: 100, listener: 100, thread: 1000 }

const stopReason = "the test stops it"

export class TestHostImpl {
  readonly [TestHostTypeId] = TestHostTypeId
  readonly time: Time
  /** Milliseconds that a second signal leaves. */
  readonly hurryWithin: number
  readonly recorded: Array<TestHost.TestEvent> = []
  readonly failures: Array<TaskFailure> = []
  readonly taken: Array<Leak> = []
  /** Opens when the apps are ready. */
  readonly ready = Deferred.makeUnsafe<void>()
  hostControl: HostControl | undefined = undefined
  root: TaskScope.TaskScope | undefined = undefined
  /** The host, and what its apps provide. */
  services: Context.Context<never> = Context.empty()
  report: ShutdownReport | undefined = undefined
  signals = 0
  /** Whether the test has seen how the host has ended. */
  endSeen = false
  fiber!: Fiber.Fiber<ShutdownReport, unknown>
  watch!: Watch

  constructor(clock: Clock.Clock, hurryWithin: number) {
    this.hurryWithin = hurryWithin
    this.time = new Time(clock)
    this.time.work = () => workOf(this)
  }

  get control(): HostControl {
    return this.hostControl!
  }

  get name(): string {
    return this.control.name
  }

  run<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.contextWith((context: Context.Context<R>) => {
      const services = Context.add(Context.merge(context, this.services), Clock.Clock, this.time.clock)
      // A fiber of its own, so that what it makes is known to be of the host.
      const fiber = this.watch.inside(() => Effect.runForkWith(services)(effect))
      return Effect.onInterrupt(Fiber.join(fiber), () => Fiber.interrupt(fiber))
    })
  }

  get tasks(): Effect.Effect<ReadonlyArray<Task>> {
    return Effect.suspend(() => this.root === undefined ? Effect.succeed([]) : TaskScope.tasks(this.root))
  }

  task(path: string): Effect.Effect<Task, NotFound> {
    return Effect.flatMap(this.tasks, (tasks) => {
      const found = tasks.find((task) => isPath(this, task.path, path))
      if (found !== undefined) return Effect.succeed(found)
      return Effect.fail(
        new NotFound({
          host: this.name,
          what: "task",
          wanted: path,
          problem: endOf(this, path),
          there: tasks.map((task) => task.path)
        })
      )
    })
  }

  get events(): Effect.Effect<ReadonlyArray<TestHost.TestEvent>> {
    return Effect.sync(() => [...this.recorded])
  }

  wait<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | WouldHang, R> {
    return this.time.drive(effect, () => wouldHang(this, "an effect"))
  }

  get awaitReady(): Effect.Effect<void, unknown> {
    const ready = Effect.raceFirst(Deferred.await(this.ready), Fiber.await(this.fiber))
    const stuck = () => wouldHang(this, "the start")
    return Effect.gen({ self: this }, function*() {
      yield* this.time.drive(ready, stuck)
      const exit = this.fiber.pollUnsafe()
      if (exit === undefined || Exit.isSuccess(exit) || Cause.squash(exit.cause) instanceof Host.HostFailed) return
      this.endSeen = true
      return yield* Effect.failCause(exit.cause)
    })
  }

  awaitIdle(
    options: TaskScope.AwaitIdleOptions = {}
  ): Effect.Effect<void, TestHostFailed | WouldHang | InvalidOption> {
    return Effect.gen({ self: this }, function*() {
      const { root } = this
      if (root === undefined) return
      const idle = TaskScope.awaitIdle(root, { ...options, within: options.within ?? defaultIdle })
      const timeout = yield* this.time.drive(idle, () => wouldHang(this, "idle")).pipe(
        Effect.as(undefined),
        Effect.catchTag("IdleTimeout", (error) => Effect.succeed(error))
      )
      const failures = this.failures.splice(0)
      if (timeout === undefined && failures.length === 0) return
      return yield* new TestHostFailed({
        host: this.name,
        failures,
        leaks: [],
        ...(timeout === undefined ? {} : { idle: { within: timeout.within, busy: timeout.busy } })
      })
    })
  }

  settle<A>(
    evaluate: () => PromiseLike<A>,
    options: TestHost.SettleOptions = {}
  ): Effect.Effect<A, Cause.UnknownError | NotSettled | InvalidOption> {
    return Effect.gen({ self: this }, function*() {
      const { time } = this
      const within = yield* millisOf("within of settle", options.within ?? defaultSettle, 1)
      const advance = yield* millisOf("advance of settle", options.advance ?? 0, 0)
      const since = performance.now()
      const from = time.now
      const fiber = yield* Effect.forkChild(Effect.tryPromise(evaluate), { startImmediately: true })
      while (fiber.pollUnsafe() === undefined) {
        yield* time.quiet
        if (fiber.pollUnsafe() !== undefined || (yield* time.step(from + advance))) continue
        // Nobody sleeps any more within what was asked for, so the rest of it passes at once.
        if (time.virtual !== undefined && time.now < from + advance) yield* time.virtual.setTime(from + advance)
        if (performance.now() - since >= within) {
          yield* Fiber.interrupt(fiber)
          return yield* new NotSettled({ host: this.name, within, advanced: time.now - from })
        }
        yield* realPause(1)
      }
      const exit = yield* Fiber.await(fiber)
      // Who waits for the same promise in the host goes on as well.
      yield* time.quiet
      return yield* exit
    })
  }

  signal(name = "SIGTERM"): Effect.Effect<TestHost.SignalOutcome> {
    return Effect.gen({ self: this }, function*() {
      const within = this.hurryWithin
      const count = ++this.signals
      if (count >= 3) return { _tag: "Exit", alive: (yield* this.tasks).map((task) => task.path) }
      if (count === 1) this.watch.inside(() => this.control.requestStop({ reason: name }))
      else this.watch.inside(() => this.control.hurry(name, within))
      // The stop begins at this moment, and not when time has moved on.
      yield* this.time.quiet
      return count === 1 ? { _tag: "Stop" } : { _tag: "Hurry", within }
    })
  }

  get stop(): Effect.Effect<ShutdownReport> {
    return Effect.gen({ self: this }, function*() {
      const exit = yield* ended(this)
      if (Exit.isFailure(exit) && (this.report === undefined || Cause.hasDies(exit.cause))) {
        this.endSeen = true
        return yield* Effect.failCause(asDefect(exit.cause))
      }
      return this.report!
    })
  }

  get exit(): Effect.Effect<HostExit> {
    return Effect.map(ended(this), (exit) => {
      this.endSeen = true
      return exit
    })
  }

  expectFailure(of: string | ((failure: TaskFailure) => boolean)): Effect.Effect<TaskFailure, NotFound> {
    return Effect.gen({ self: this }, function*() {
      yield* this.time.quiet
      const fits = typeof of === "string" ? (failure: TaskFailure) => isPath(this, failure.path, of) : of
      const at = this.failures.findIndex(fits)
      if (at >= 0) return this.failures.splice(at, 1)[0]!
      return yield* new NotFound({
        host: this.name,
        what: "failure",
        wanted: shownWanted(of),
        problem: typeof of === "string" ? endOf(this, of) : "none fits",
        there: this.failures.map((failure) => failure.path)
      })
    })
  }

  expectLeak(of: string | ((leak: Leak) => boolean)): Effect.Effect<Leak, NotFound> {
    return Effect.gen({ self: this }, function*() {
      const found = yield* leaksOf(this)
      const fits = typeof of === "string" ? ({ name }: Leak) => isPath(this, name, of) : of
      const leak = found.find(fits)
      if (leak !== undefined) {
        this.taken.push(leak)
        return leak
      }
      return yield* new NotFound({
        host: this.name,
        what: "leak",
        wanted: shownWanted(of),
        problem: this.report === undefined ? "the host has not stopped. Stop it first" : "nothing of it is left",
        there: found.map(({ name }) => name)
      })
    })
  }
}

const millisOf = (option: string, value: Duration.Input, least: number): Effect.Effect<number, InvalidOption> => {
  const millis = Option.match(Duration.fromInput(value), { onNone: () => Number.NaN, onSome: Duration.toMillis })
  if (millis >= least && millis < Infinity) return Effect.succeed(millis)
  return Effect.fail(
    new InvalidOption({
      option,
      value: Duration.isDuration(value) ? Duration.format(value) : inspect(value),
      problem: "this is no time that can be waited for",
      remedy: "Give it a finite duration such as \"5 seconds\""
    })
  )
}

const shownWanted = (of: string | ((...args: Array<never>) => boolean)): string =>
  typeof of === "string" ? of : "that fits the function"

/** Paths may be given from the host on, or below it. */
const isPath = (host: TestHostImpl, path: string, wanted: string): boolean =>
  path === wanted || path === `${host.name}/${wanted}`

/** What has become of a task that is not there. */
const endOf = (host: TestHostImpl, path: string): string => {
  const end = host.recorded.findLast((event) => event._tag === "Ended" && isPath(host, event.path, path))
  return end?._tag === "Ended" ? `it has ended (${end.outcome}) at ${end.at} ms` : "there was none so far"
}

const wouldHang = (host: TestHostImpl, wait: string): WouldHang => {
  const tree = host.control.tree()
  return new WouldHang({
    host: host.name,
    wait,
    alive: [...tree.apps, tree].flatMap(({ tasks }) => tasks.map((task) => task.path))
  })
}

const asDefect = (cause: Cause.Cause<unknown>): Cause.Cause<never> => Cause.die(Cause.squash(cause))

/** The real work of a host that is on its way. */
const workOf = (host: TestHostImpl): ReadonlyArray<string> => {
  const { requests, timers } = host.watch.made
  const tree = host.hostControl?.tree()
  return [
    ...[...requests].map((id) => `request ${id}`),
    ...[...timers].flatMap(([id, { delay = 0, how, place }]) =>
      how === "setTimeout" && delay <= patience && !isOfEffect(place) ? [`timer ${id}`] : []
    ),
    ...(tree === undefined ? [] : [...tree.apps, tree]).flatMap(onThreads)
  ]
}

const isNoThread = ({ thread }: Host.TreeCall): boolean =>
  thread !== undefined && (thread === "inline" || isFakeThread(thread))

// A call that waits is on its way to a thread, unless it waits for one that is none. One that nobody waits for any more
// is a task of its own, and is waited for anew: it ends now.
const onThreads = ({ calls, tasks }: Pick<Host.Tree, "calls" | "tasks">): ReadonlyArray<string> => {
  const left = tasks.filter(({ kind }) => kind === "blocking")
  const lost = new Set(left.filter(({ status }) => status === "Abandoned").map(({ path }) => path.replace(/#\d+$/, "")))
  const faked = calls.some(isNoThread)
  const real = calls.filter((call) =>
    !isNoThread(call) && !(faked && call.thread === undefined) && !lost.has(`${call.task}/${call.name}`)
  )
  return [
    ...real.map(({ name, task, thread }) => `${thread} ${task}/${name}`),
    ...left.flatMap(({ path, status }) => faked || status === "Abandoned" ? [] : [`the end of ${path}`])
  ]
}

// The real timers of Effect under a virtual clock are those of a stop that looks whether time moves.
const isOfEffect = (place: string): boolean => /[\\/]effect[\\/](?:src|dist)[\\/]/.test(place)

// -----------------------------------------------------------------------------
// Begin
// -----------------------------------------------------------------------------

// What the code under test launches by itself is no more than a part of what it does.
const ownerOf = (host: TestHostImpl): Owner => ({
  launched: (control) => {
    host.hostControl ??= control
  },
  changed: (control) => {
    host.time.stirs++
    if (control !== host.hostControl) return
    if (control.health().state === "running") Deferred.doneUnsafe(host.ready, Exit.void)
  },
  stopped: (control, report) => {
    if (control === host.hostControl) host.report = report
  },
  leftOpen: () => []
})

/** Listens to the host from before its first app on. */
const listen = (host: TestHostImpl): Layer.Layer<never, never, TaskScope.TaskScope> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const root = yield* TaskScope.TaskScope
    host.root = root
    yield* TaskScope.onFailure(root, (failure) => {
      // Who ignores a failure has said what it means, and what is started again has not failed for good.
      if (failure.onFailure !== "ignore" && failure.restartsIn === undefined) host.failures.push(failure)
    })
    const note = Stream.runForEach(TaskScope.events(root), (event) =>
      Effect.sync(() => {
        host.recorded.push({ ...event, at: host.time.now })
        host.time.stirs++
      }))
    yield* Effect.forkDetach(note, { startImmediately: true })
  }))

/** Keeps the services of the apps for the test. */
const keep = <A, E, R>(host: TestHostImpl, apps: Layer.Layer<A, E, R>): Layer.Layer<A, E, R | Host.Host> =>
  Layer.tap(apps, (services) =>
    Effect.map(Host.Host, (service) => {
      host.services = Context.add(services, Host.Host, service)
    }))

export const begin = (
  apps: Layer.Layer<unknown, unknown, unknown>,
  options: TestHost.LaunchOptions<unknown>
): Effect.Effect<TestHostImpl, InvalidOption> =>
  Effect.gen(function*() {
    const hurryWithin = yield* millisOf("hurryWithin of TestHost.launch", options.hurryWithin ?? defaultHurry, 1)
    const context = yield* Effect.context()
    const host = new TestHostImpl(yield* Clock.Clock, hurryWithin)
    yield* host.time.wake
    // What is no layer is refused by the host itself.
    const layer = Layer.isLayer(apps)
      ? Layer.provide(keep(host, apps), listen(host))
      : apps
    const launched = Host.launch(layer as Layer.Layer<unknown>, options as Host.HostOptions)
    const around = withPools(context).pipe(
      Context.add(HostOwner, ownerOf(host)),
      Context.add(Clock.Clock, host.time.clock)
    )
    host.watch = watch(options.watch ?? [])
    host.fiber = host.watch.inside(() => Effect.runForkWith(around)(launched))
    return host
  })

// -----------------------------------------------------------------------------
// End
// -----------------------------------------------------------------------------

/** Stops the host, if it runs, while as much time passes as that takes. */
const ended = (host: TestHostImpl): Effect.Effect<HostExit> =>
  Effect.suspend(() => {
    host.watch.inside(() => host.hostControl?.requestStop({ reason: stopReason }))
    return Effect.orDie(host.time.drive(Fiber.await(host.fiber), () => wouldHang(host, "the stop")))
  })

const unexpected = (host: TestHostImpl, found: ReadonlyArray<Leak>): ReadonlyArray<Leak> =>
  found.filter((leak) => !host.taken.some((taken) => sameLeak(taken, leak)))

const sameLeak = (a: Leak, b: Leak): boolean => a.kind === b.kind && a.name === b.name && a.place === b.place

const leakOf = (kind: Leak["kind"], name: string, place?: string): Leak =>
  place === undefined ? { kind, name } : { kind, name, place }

/** What is left now, of what ends with the host if it ends at all. */
const leftNow = (host: TestHostImpl): Effect.Effect<ReadonlyArray<Leak>> =>
  Effect.map(host.tasks, (tasks) => {
    const { made } = host.watch
    const paths = new Set(tasks.map((task) => task.path))
    // The thread of a fake that was given up is gone, whatever stands in for it does.
    const sleepers = [...host.time.sleepers].filter(({ call }) => call?.givenUp !== true)
    const threads = [...made.threads].map(({ threadId, threadName }) => threadName ?? String(threadId))
    return [
      ...tasks.map(({ path, status }) => leakOf("task", path, "place" in status ? status.place : undefined)),
      // A task that is left is told of already.
      ...sleepers.map(({ task = "no task" }) => leakOf("sleep", task)).filter(({ name }) => !paths.has(name)),
      ...[...made.timers.values()].map(({ how, place }) => leakOf("timer", how, place)),
      ...threads.map((name) => leakOf("thread", name)),
      ...listening(made).map(({ event, place, target }) =>
        leakOf("listener", `${nameOf(target)} ${JSON.stringify(event)}`, place)
      )
    ]
  })

/** What a host that has stopped has left behind. */
const leaksOf = (host: TestHostImpl): Effect.Effect<ReadonlyArray<Leak>> =>
  Effect.gen(function*() {
    if (host.report === undefined) return []
    const begin = performance.now()
    let found = unexpected(host, yield* leftNow(host))
    while (found.some(({ kind }) => performance.now() - begin < leakGraces[kind])) {
      yield* realPause(5)
      found = unexpected(host, yield* leftNow(host))
    }
    return found
  })

/** How the host has ended, if that fails the test. */
const badEnd = (host: TestHostImpl, exit: HostExit): ReadonlyArray<Cause.Cause<never>> => {
  if (host.endSeen || Exit.isSuccess(exit) || Cause.squash(exit.cause) instanceof Host.HostFailed) return []
  return [asDefect(exit.cause)]
}

export const finish = (host: TestHostImpl): Effect.Effect<void> =>
  Effect.gen(function*() {
    const exit = yield* ended(host)
    // A process that has exited leaves nothing behind.
    const left = host.signals >= 3 ? [] : yield* leaksOf(host)
    const failures = host.failures.splice(0)
    const problems = [
      ...badEnd(host, exit),
      ...(left.length + failures.length === 0
        ? []
        : [Cause.die(new TestHostFailed({ host: host.name, failures, leaks: left }))])
    ]
    if (problems.length > 0) return yield* Effect.failCause(problems.reduce((a, b) => Cause.combine(a, b)))
  }).pipe(Effect.ensuring(Effect.sync(() => host.watch.stop())))
