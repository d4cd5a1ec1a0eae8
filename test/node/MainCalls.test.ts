import { App, Blocking, Host, Task, TaskScope } from "@ambit/core"
import { BlockingPool, MainCalls, Thread } from "@ambit/node"
import { expect, it, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as asks from "../fixtures/asks.ts"
import * as functions from "../fixtures/functions.ts"
import { eventually } from "../support/eventually.ts"
import { blockUntil, gate, reaches, set } from "../support/gate.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

class Denied extends Schema.TaggedError<Denied>()("Denied", { path: Schema.String }) {}

/** Of which there are several, by the place. */
class Place extends Context.Service<Place, { readonly number: number }>()("Place") {}

const handlers = {
  add: (a: number, b: number) => Effect.succeed(a + b),
  slow: (millis: number) => Effect.as(Effect.sleep(millis), "slow"),
  fail: (path: string) => Effect.fail(new Denied({ path })),
  nested: (n: number) => Effect.delay(Blocking.run(asks.adds, n, 1), "20 millis"),
  note: (text: string) => Effect.logDebug(text),
  forever: () => Effect.never
}

const offered = MainCalls.offer(asks.Desk, handlers)

/** An offer that tells when a thread has begun to wait for ever. */
const waitedFor = Effect.map(Deferred.make<void>(), (begun) => ({
  begun: Deferred.await(begun),
  offer: MainCalls.offer(asks.Desk, {
    ...handlers,
    forever: () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
  })
}))

const started = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** In a scope of its own, with what its tasks were when the body had ended. */
const inScope = <A, E, R>(effect: Effect.Effect<A, E, R>) => TaskScope.use("desk", () => effect)

layer(BlockingPool.layer({ threads: 2 }), { excludeTestServices: true })("a thread", (it) => {
  it.effect("D5: waits for an effect of the main thread and gets its value", () =>
    Effect.gen(function*() {
      expect(yield* inScope(offered(Blocking.run(asks.adds, 20, 22)))).toBe(42)
    }))

  it.effect("D6: gets what the effect failed with, with its tag and fields", () =>
    Effect.gen(function*() {
      const { error } = yield* inScope(offered(Blocking.run(asks.callsFailing, "/etc")))
      expect(error).toMatchObject({ name: "Denied", _tag: "Denied", path: "/etc" })
    }))

  it.effect("asks for effects that run each with what is there where it is offered", () =>
    Effect.gen(function*() {
      const at = (number: number) => Effect.provideService(Place, { number })
      const both = Blocking.run(asks.asksBoth).pipe(
        MainCalls.offer(asks.Desk, { ...handlers, add: (a, b) => Place.useSync(({ number }) => a + b + number) }),
        at(10),
        MainCalls.offer(asks.Shelf, { where: () => Place.useSync(({ number }) => `at ${number}`) }),
        at(20)
      )
      expect(yield* inScope(both)).toEqual([13, "at 20", 17, "at 20"])
    }))

  it.effect("asks for effects that run each for who has asked, and take nothing of what is around the offer", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const add = (a: number, b: number) =>
        Effect.gen(function*() {
          const span = yield* Effect.option(Effect.currentParentSpan)
          const { asker, by } = yield* References.CurrentLogAnnotations
          seen.push({ asker, by, hasSpan: Option.isSome(span) })
          return a + b
        })
      const around = yield* Effect.scoped(Layer.build(MainCalls.layer(asks.Desk, { ...handlers, add }))).pipe(
        Effect.annotateLogs({ by: "offer" }),
        Effect.withSpan("start")
      )
      const asked = Blocking.run(asks.adds, 20, 22).pipe(Effect.annotateLogs({ asker: "it" }))
      for (const one of [asked, Effect.withSpan(asked, "call")]) {
        expect(yield* inScope(Effect.provide(one, around))).toBe(42)
      }
      expect(seen).toEqual([false, true].map((hasSpan) => ({ asker: "it", by: undefined, hasSpan })))
    }))

  it.effect("D7: that waits too long is told so, and the effect is interrupted", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const offer = MainCalls.offer(asks.Desk, {
        ...handlers,
        slow: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      })
      const { error, took } = yield* inScope(offer(Effect.gen(function*() {
        const result = yield* Blocking.run(asks.callsSlow, 5000, 100)
        yield* Deferred.await(interrupted)
        return result
      })))
      expect(error).toMatchObject({ _tag: "CallTimeout", contract: "desk", method: "slow", within: 100, begun: true })
      expect(took).toBeGreaterThanOrEqual(99)
      expect(took).toBeLessThan(1000)
    }))

  it.effect("D8: with a limit of zero is told so at once, and nothing has run", () =>
    Effect.gen(function*() {
      const { error } = yield* inScope(offered(Blocking.run(asks.callsSlow, 5000, 0)))
      expect(error).toMatchObject({ _tag: "CallTimeout", begun: false })
    }))

  it.effect("D4: is told that the main thread is blocked, and what was not taken up in time never runs", () =>
    Effect.gen(function*() {
      const memory = gate()
      let ran = 0
      const offer = MainCalls.offer(asks.Desk, { ...handlers, slow: () => Effect.sync(() => String(++ran)) })
      const result = yield* inScope(offer(Effect.gen(function*() {
        const fiber = yield* started(Blocking.run(asks.callsSlowly, memory, 50))
        yield* reaches(memory, 0, 1)
        // The loop stands still until the thread has given up.
        set(memory, 2, 1)
        blockUntil(memory, 1, 1)
        return yield* Fiber.join(fiber)
      })))
      expect(result.error).toMatchObject({ _tag: "CallTimeout", begun: false })
      expect(String(result.error?.["message"])).toContain("main thread is blocked")
      yield* Effect.sleep("20 millis")
      expect(ran).toBe(0)
    }))

  it.effect("D1, D2, D17: posts without waiting, and what it posted is a task of the app", () =>
    Effect.gen(function*() {
      const noted = yield* Deferred.make<ReadonlyArray<string>>()
      const offer = MainCalls.offer(asks.Desk, {
        ...handlers,
        note: (text) =>
          Effect.flatMap(
            TaskScope.TaskScope,
            (scope) =>
              Effect.flatMap(TaskScope.tasks(scope), (tasks) =>
                Deferred.succeed(noted, [text, ...tasks.map((task) => task.path)]))
          )
      })
      const paths = yield* inScope(offer(Effect.andThen(Blocking.run(asks.posts, "hello"), Deferred.await(noted))))
      expect(paths).toEqual(["hello", "desk/(body)", "desk/desk.note"])
    }))

  it.effect("D16: that posted what fails leaves a record of it", () =>
    Effect.gen(function*() {
      const recorder = makeRecorder()
      const offer = MainCalls.offer(asks.Desk, { ...handlers, note: () => Effect.fail("no room for notes") })
      // The failure of a task of the scope is what ends it.
      const posts = Effect.andThen(Blocking.run(asks.posts, "hello"), Effect.never)
      yield* Effect.flip(Effect.provide(inScope(offer(posts)), recorder.layer))
      expect(linesAt(recorder.records, "Error").join("\n")).toContain("desk/desk.note failed")
    }))

  it.effect("D3: spawns a task that the app owns and ends", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("desk")
      const result = yield* Effect.provideService(offered(Blocking.run(asks.spawns)), TaskScope.TaskScope, scope)
      expect(result.value).toBe("desk/desk.forever")
      const report = yield* TaskScope.close(scope)
      expect(report.tasks.map(({ outcome, path }) => ({ outcome, path }))).toEqual([
        { outcome: "interrupted", path: "desk/desk.forever" }
      ])
    }).pipe(Effect.scoped))

  it.effect("that is cancelled while it spawns a task has spawned it, and it is a task of the app", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("desk")
      let caller: Fiber.Fiber<unknown, unknown> | undefined
      let begun = 0
      const forever = () =>
        Effect.suspend(() => {
          begun++
          caller?.interruptUnsafe()
          return Effect.never
        })
      const offer = MainCalls.offer(asks.Desk, { ...handlers, forever })
      caller = yield* started(Effect.provideService(offer(Blocking.run(asks.spawns)), TaskScope.TaskScope, scope))
      yield* Fiber.await(caller)
      // What its thread took back is read before what the call returned.
      yield* eventually(
        Effect.map(TaskScope.tasks(scope), (tasks) => tasks.every(({ path }) => path !== "desk/spawns"))
      )
      expect(begun).toBe(1)
      expect((yield* TaskScope.tasks(scope)).map(({ path }) => path)).toEqual(["desk/desk.forever"])
    }).pipe(Effect.scoped))

  it.effect("that asks for what nobody offers is told the contract and the remedy", () =>
    Effect.gen(function*() {
      const { error } = yield* inScope(offered(Blocking.run(asks.asksUnknown)))
      expect(error).toMatchObject({ _tag: "CallRefused", contract: "nobody", why: "notOffered", begun: false })
    }))

  it.effect.each<[string, () => Effect.Effect<string>]>([
    ["interrupts itself", () => Effect.interrupt],
    [
      "waits for a fiber that is interrupted",
      () =>
        Effect.flatMap(
          Effect.forkChild(Effect.never),
          (fiber) => Effect.andThen(Fiber.interrupt(fiber), Fiber.join(fiber))
        )
    ]
  ])("that asks for an effect which %s is told so, and of no stop", ([, slow]) =>
    Effect.gen(function*() {
      const offer = MainCalls.offer(asks.Desk, { ...handlers, slow })
      const { error } = yield* inScope(offer(Blocking.run(asks.callsSlow, 1, 5000)))
      expect(error).toMatchObject({ _tag: "CallRefused", why: "interrupted", begun: true })
      expect(error?.["message"]).toContain("desk.slow was interrupted, and not by a stop of this call or its pool")
    }))

  it.effect("whose call is interrupted stops waiting at once, once, and its clean-up may ask again", () =>
    Effect.gen(function*() {
      const memory = gate()
      const { begun, offer } = yield* waitedFor
      yield* inScope(offer(Effect.gen(function*() {
        const fiber = yield* started(Blocking.run(asks.waits, memory))
        yield* begun
        yield* Fiber.interrupt(fiber)
        yield* reaches(memory, 3, 1)
      })))
      expect([...memory]).toEqual([1, 1, 42, 1])
    }))

  it.effect("that waits for an effect which itself needs the pool gets its value, as long as a thread is left", () =>
    Effect.gen(function*() {
      expect(yield* inScope(offered(Blocking.run(asks.callsNested, 3)))).toEqual({ value: 4 })
    }))

  it.effect("is refused what could never end, with the cycle by name, and the others go on", () =>
    Effect.gen(function*() {
      const both = Effect.all([Blocking.run(asks.callsNested, 3), Blocking.run(asks.callsNested, 4)], {
        concurrency: 2
      })
      const results = yield* inScope(offered(both))
      const refused = results.filter((result) => result.error !== undefined)
      expect(refused).toHaveLength(1)
      expect(String(refused[0]?.error?.["message"])).toContain("callsNested → desk.nested → adds")
      expect(results.filter((result) => result.value !== undefined)).toHaveLength(1)
      expect(yield* Effect.flatMap(Blocking.Blocking, (pool) => pool.status)).toMatchObject({ busy: 0, queued: 0 })
    }))
})

it.live("a circle is found through a scope that the effect uses", () =>
  Effect.gen(function*() {
    const nested = (n: number) => TaskScope.use("inner", () => Blocking.run(asks.adds, n, 1))
    const { error } = yield* inScope(
      MainCalls.offer(Blocking.run(asks.callsNested, 3), asks.Desk, { ...handlers, nested })
    )
    expect(String(error?.["message"])).toContain("callsNested → desk.nested → adds")
  }).pipe(Effect.provide(BlockingPool.layer({ threads: 1 }))))

/** What is called for while a thread waits for something else, and the effect that the thread waits for. */
const besides = () => {
  const turn = Deferred.makeUnsafe<void>()
  const asked = Deferred.makeUnsafe<void>()
  const calls = Effect.gen(function*() {
    yield* Deferred.await(turn)
    const fiber = yield* started(Blocking.run(functions.triple, 2))
    yield* Deferred.succeed(asked, undefined)
    return yield* Fiber.join(fiber)
  })
  const slow = () => Effect.as(Effect.andThen(Deferred.succeed(turn, undefined), Deferred.await(asked)), "slow")
  return { calls, slow }
}

it.live.each<
  [string, <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<unknown, unknown, R | TaskScope.TaskScope>]
>([
  ["a task that the effect of a call has spawned", Task.spawn("besides")],
  ["a fiber that an earlier effect of a call has left behind", Effect.forkDetach]
])("%s is in no circle with that call", ([, leave]) =>
  Effect.gen(function*() {
    const { calls, slow } = besides()
    const done = yield* Deferred.make<number, unknown>()
    const add = () => Effect.as(leave(Deferred.complete(done, calls)), 3)
    const offer = MainCalls.offer(asks.Desk, { ...handlers, add, slow })
    yield* inScope(
      Effect.gen(function*() {
        expect(yield* offer(Blocking.run(asks.asksInTurn, "call"))).toBe("slow")
        expect(yield* Deferred.await(done)).toBe(6)
      })
    )
  }).pipe(Effect.provide(BlockingPool.layer({ threads: 1 }))))

it.live("a task that a nested call has posted is in no circle with the outer call", () =>
  Effect.gen(function*() {
    const other = yield* BlockingPool.make({ name: "other", threads: 1 })
    const here = yield* Blocking.Blocking
    const { calls, slow } = besides()
    const done = yield* Deferred.make<number, unknown>()
    const note = () => Deferred.complete(done, Effect.provideService(calls, Blocking.Blocking, here))
    const nested = () =>
      Effect.as(Effect.provideService(Blocking.run(asks.asksInTurn, "post"), Blocking.Blocking, other), 7)
    const offer = MainCalls.offer(asks.Desk, { ...handlers, nested, note, slow })
    yield* inScope(
      Effect.gen(function*() {
        expect(yield* offer(Blocking.run(asks.callsNested, 1))).toEqual({ value: 7 })
        expect(yield* Deferred.await(done)).toBe(6)
      })
    )
  }).pipe(Effect.scoped, Effect.provide(BlockingPool.layer({ threads: 1 }))))

it.live("a call that waits in another pool, which goes on, is no circle", () =>
  Effect.gen(function*() {
    const owner = yield* BlockingPool.make({ name: "other", threads: 1 })
    const other = Effect.provideService(Blocking.Blocking, owner)
    const offer = MainCalls.offer(asks.Desk, { ...handlers, nested: (n) => other(Blocking.run(asks.adds, n, 1)) })
    // Its only thread is taken for a while, so what is asked for waits there.
    const busy = yield* started(other(Blocking.run(functions.block, 200)))
    const results = yield* inScope(
      offer(Effect.all([Blocking.run(asks.callsNested, 3), Blocking.run(asks.callsNested, 4)], {
        concurrency: 2
      }))
    )
    expect(results.map(({ value }) => value)).toEqual([4, 5])
    yield* Fiber.join(busy)
  }).pipe(Effect.scoped, Effect.provide(BlockingPool.layer({ threads: 2 }))))

it.live("D9: the limit of a call is six seconds when nobody says otherwise", () =>
  Effect.gen(function*() {
    const begin = performance.now()
    const { error } = yield* inScope(offered(Blocking.run(asks.callsByDefault))).pipe(
      Effect.provide(BlockingPool.layer({ threads: 1 }))
    )
    expect(error).toMatchObject({ _tag: "CallTimeout", within: 6000 })
    expect(performance.now() - begin).toBeGreaterThan(5990)
  }))

it.effect("D10, D14: the main thread cannot wait for itself, and is told what to do instead", () =>
  Effect.gen(function*() {
    let ran = 0
    const offer = MainCalls.offer(asks.Desk, { ...handlers, add: () => Effect.sync(() => ++ran) })
    const error = yield* Effect.flip(offer(Blocking.run(asks.adds, 1, 2))).pipe(Effect.provide(Blocking.layerInline))
    expect(error.message).toContain("the main thread cannot wait for itself")
    expect(ran).toBe(0)
    expect(() => Thread.call(asks.Desk, "add", 1, 2)).toThrow("needs a blocking function around it")
  }))

it("D12: who looks for the call around it finds none outside of one", () => {
  expect(Thread.currentOrUndefined()).toBeUndefined()
  expect(() => Thread.current()).toThrow(Thread.CallRefused)
})

it.live("a stop of the pool releases who waits, and runs nothing for them afterwards", () =>
  Effect.gen(function*() {
    const memory = gate()
    const { begun, offer } = yield* waitedFor
    yield* inScope(
      Effect.gen(function*() {
        yield* Effect.forkDetach(Effect.exit(offer(Blocking.run(asks.waits, memory))), { startImmediately: true })
        yield* begun
      }).pipe(Effect.provide(BlockingPool.layer({ threads: 1, stopWithin: "2 seconds" })))
    )
    // Refused, and the clean-up as well.
    expect([...memory]).toEqual([1, 2, -1, 1])
  }))

it.live("a stop of the pool tells who waits whether the effect had begun", () =>
  Effect.gen(function*() {
    const begun = yield* Deferred.make<void>()
    const offer = MainCalls.offer(asks.Desk, {
      ...handlers,
      slow: () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
    })
    const fiber = yield* Effect.gen(function*() {
      const call = offer(Blocking.run(asks.callsSlow, 1, 60_000))
      const fiber = yield* Effect.forkDetach(call, { startImmediately: true })
      yield* Deferred.await(begun)
      return fiber
    }).pipe(Effect.provide(BlockingPool.layer({ threads: 1, stopWithin: "2 seconds" })))
    const { error } = yield* Fiber.join(fiber)
    expect(error).toMatchObject({ _tag: "CallRefused", why: "closing", begun: true })
    expect(error?.["message"]).toBe("desk.slow is interrupted: the pool of this thread is stopping")
  }))

it.live("C20, D15: an app that calls and is called in its hook gets its answers, for the pool outlives it", () =>
  Effect.gen(function*() {
    const answers: Array<number> = []
    const Desk = App.layer(
      "desk",
      offered(Effect.gen(function*() {
        yield* App.onStop("last call", Effect.map(Blocking.run(asks.adds, 40, 2), (sum) => answers.push(sum)))
      }))
    )
    const report = yield* Host.launch(Layer.mergeAll(Desk, Layer.effectDiscard(Host.requestStop("done")))).pipe(
      Effect.provide(BlockingPool.layer({ threads: 1 }))
    )
    expect(report.clean).toBe(true)
    expect(answers).toEqual([42])
  }))
