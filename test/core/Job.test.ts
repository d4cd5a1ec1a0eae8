import { Blocking, BlockingFunction, InvalidOption, Job, Task, TaskScope, TimeLimit } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { linesAt, type LogRecord, makeRecorder } from "../support/recorder.ts"

const here = { url: import.meta.url }

const triple = BlockingFunction.make(here, "triple", (n: number) => n * 3)
const throwing = BlockingFunction.make(here, "throwing", (): never => {
  throw new RangeError("too far")
})
const never = BlockingFunction.make(here, "never", () => new Promise<never>(() => {}))

class Missing extends Schema.TaggedError<Missing>()("Missing", { id: Schema.Finite }) {}

const inScope = TaskScope.layer("app")
const inline = Blocking.layerInline

/** Runs something and gives what it ended with, beside the log. */
const recorded = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const { layer, records } = makeRecorder()
    return Effect.map(Effect.exit(Effect.provide(effect, layer)), (exit) => ({ exit, records }))
  })

const said = (records: ReadonlyArray<LogRecord>): Array<string> =>
  records.map((record) => `${record.level}: ${record.message}`)

const errorsIn = (records: ReadonlyArray<LogRecord>): Array<string> => linesAt(records, "Error")

const thrownBy = (f: () => unknown): unknown => {
  try {
    f()
  } catch (error) {
    return error
  }
  return assert.fail("it threw nothing")
}

const refusalOf = (f: () => unknown): InvalidOption => {
  const error = thrownBy(f)
  assert.instanceOf(error, InvalidOption)
  return error
}

/** What is called by its method, and knows what it is called on. */
class Doubler {
  readonly factor = 2
  call(n: number): Effect.Effect<number> {
    return Effect.succeed(n * this.factor)
  }
}

describe("what can be called", () => {
  it.effect("of every kind is awaited for its result (E1)", () =>
    Effect.gen(function*() {
      const plain = (n: number) => n * 3
      const later = async (n: number) => {
        await Promise.resolve()
        return n * 3
      }
      const effectful = (n: number) => Effect.succeed(n * 3)
      const generator = function*(n: number) {
        return (yield* Effect.succeed(n)) * 3
      }
      assert.strictEqual(yield* Job.run(Job.from(plain))(14), 42)
      assert.strictEqual(yield* Job.run(Job.from(later))(14), 42)
      assert.strictEqual(yield* Job.run(Job.from(effectful))(14), 42)
      assert.strictEqual(yield* Job.run(Job.from(generator))(14), 42)
      assert.strictEqual(yield* Job.run(Job.from(triple))(14), 42)
      assert.strictEqual(yield* Job.run(Job.callback("plain", plain))(14), 42)
    }).pipe(Effect.provide(inline)))

  it.effect("is recognised when it is applied in part (E4)", () =>
    Effect.gen(function*() {
      const add = async (a: number, b: number, c: number) => a + b + c
      const addLazily = function*(a: number, b: number) {
        return a + (yield* Effect.succeed(b))
      }
      const addEffect = (a: number, b: number) => Effect.succeed(a + b)
      assert.strictEqual(yield* Job.run(Job.from(add.bind(undefined, 1).bind(undefined, 2)))(3), 6)
      assert.strictEqual(yield* Job.run(Job.from(addLazily.bind(undefined, 1)))(2), 3)
      assert.strictEqual(yield* Job.run(Job.from((b: number) => addLazily(1, b)))(2), 3)
      assert.strictEqual(yield* Job.run(Job.from((b: number) => addEffect(1, b)))(2), 3)
      assert.strictEqual(yield* Job.run(Job.from(Job.run(Job.from(triple)).bind(undefined, 2)))(), 6)
    }).pipe(Effect.provide(inline)))

  it.effect("is recognised when it is an object with a method call, or a function with more to it (E4)", () =>
    Effect.gen(function*() {
      const counting = Object.assign(async (n: number) => n + counting.step, { step: 2 })
      const watched = new Proxy(async (n: number) => n + 1, {})
      assert.strictEqual(yield* Job.run(Job.from(new Doubler()))(21), 42)
      assert.strictEqual(yield* Job.run(Job.from({ call: async (n: number) => n + 1 }))(1), 2)
      assert.strictEqual(yield* Job.run(Job.from(counting))(1), 3)
      assert.strictEqual(yield* Job.run(Job.from(watched))(1), 2)
      const kinds = [new Doubler(), counting, watched].map((callable) => Job.from(callable as () => unknown).kind)
      assert.deepStrictEqual(kinds, ["effect", "effect", "effect"])
    }))

  it("has the kind that was declared, whatever it would be taken for (E5)", () => {
    const callback = Job.callback("later", async () => 1)
    assert.strictEqual(callback.kind, "callback")
    assert.strictEqual(Job.from(callback), callback)
    assert.instanceOf(Job.dispatch(callback)(), Promise)
    assert.strictEqual(Job.effect("plain", () => 1).kind, "effect")
    assert.strictEqual(Job.from(triple).kind, "blocking")
    assert.strictEqual(Job.from(Job.blocking(triple)).kind, "blocking")
    assert.strictEqual(Job.from(() => 1).kind, "effect", "only its author can say that a function is short")
  })

  it("has the name that was declared, or else its own", () => {
    const poll = async () => {}
    const named: ReadonlyArray<readonly [string, { readonly name: string }]> = [
      ["watch", Job.effect("watch", poll)],
      ["poll", Job.from(poll)],
      ["poll", Job.from(poll.bind(undefined).bind(undefined))],
      ["triple", Job.from(triple)],
      ["Doubler", Job.from(new Doubler())],
      ["sweep", Job.from({ name: "sweep", call: poll })],
      ["(anonymous)", Job.from({ call: poll })],
      ["(anonymous)", Job.from(() => 1)],
      ["(anonymous)", Job.from(Effect.fn("traced")(function*() {}))]
    ]
    for (const [name, job] of named) assert.strictEqual(job.name, name)
  })

  it("is refused when it cannot be called, with what to hand over instead", () => {
    const generate = function*() {}
    const cases: ReadonlyArray<readonly [unknown, string]> = [
      [Effect.runFork(Effect.void), "is \"a running fiber\": it runs already. Give it the function that begins it"],
      [Promise.resolve(1), "is \"a promise\": it runs already. Give it the function that begins it, () => promise"],
      [Effect.void, "is \"an effect\": an effect is not called. Give it a function that returns it, () => effect"],
      [Context.Service("a/Service"), "is \"an effect\""],
      [generate(), "it has been called already. Give it the generator function itself"],
      [Doubler, "is \"Doubler\": a class is not called. Give it a function, or an object with a method"],
      [42, "is \"42\": it cannot be called. Give it a function, a blocking function, a job"],
      [{ run: () => 1 }, "it cannot be called"],
      [null, "is \"null\": it cannot be called"],
      [undefined, "is \"undefined\": it cannot be called"]
    ]
    for (const [value, message] of cases) {
      assert.include(refusalOf(() => Job.from(value as () => void)).message, message)
    }
    for (const make of [Job.effect, Job.promise, Job.callback]) {
      assert.include(refusalOf(() => make("job", Promise.resolve(1) as never)).message, "a promise\": it runs already")
    }
    assert.include(refusalOf(() => Job.from(Object.create(null))).message, "it cannot be called")
    const noReference = refusalOf(() => Job.blocking((() => 1) as never))
    assert.include(noReference.message, "Declare it with BlockingFunction.make")
  })

  it.effect("is refused when it is a task that runs", () =>
    Effect.gen(function*() {
      const task = yield* Task.spawn(Effect.never, "poll")
      assert.include(refusalOf(() => Job.from(task as never)).message, "is \"task app/poll\": it runs already")
    }).pipe(Effect.provide(inScope)))

  it("is refused under a name that no task could have, and with a budget that makes no sense", () => {
    for (const name of ["", " ", "a/b", "poll#2", 7 as never]) {
      const messages = [
        refusalOf(() => Job.effect(name, () => 1)),
        refusalOf(() => Job.promise(name, async () => 1)),
        refusalOf(() => Job.callback(name, () => 1))
      ].map((error) => error.message)
      for (const message of messages) assert.include(message, "the name of a job")
    }
    // A blocking function is refused where it is declared, and no Effect is loaded there.
    assert.include(String(thrownBy(() => Job.blocking(BlockingFunction.make(here, "a/b", () => 1)))), "a/b")
    for (const budget of [0, -1, Number.NaN, "soon" as never, Infinity]) {
      const { message } = refusalOf(() => Job.callback("note", () => 1, { budget }))
      assert.include(message, "budget of callback \"note\"")
    }
  })

  it("that is no job is refused by run and dispatch", () => {
    const notAJob = (() => 1) as never
    assert.include(refusalOf(() => Job.run(notAJob)).message, "Make one of it with Job.from")
    assert.include(refusalOf(() => Job.dispatch(notAJob)).message, "Make one of it with Job.from")
    assert.isFalse(Job.isJob(() => 1))
    assert.isTrue(Job.isJob(Job.from(() => 1)))
  })
})

describe("run", () => {
  it.effect("begins nothing before it is run, and begins anew each time", () =>
    Effect.gen(function*() {
      let begun = 0
      const begin = Job.run(Job.effect("begin", function*() {
        begun++
        yield* Effect.void
        return begun
      }))()
      assert.strictEqual(begun, 0)
      assert.deepStrictEqual([yield* begin, yield* begin], [1, 2])
    }))

  it.effect("of a blocking function that throws logs the error once, with the name, and fails with it (E2)", () =>
    Effect.gen(function*() {
      const { exit, records } = yield* recorded(Job.run(Job.from(throwing))())
      assert.deepStrictEqual(said(records), ["Error: Job throwing failed"])
      assert.strictEqual(records[0]?.annotations.job, "throwing")
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, Blocking.BlockingError)
      assert.strictEqual((error.cause as Error).message, "too far")
      assert.strictEqual(Cause.squash(records[0]!.cause), error)
    }).pipe(Effect.provide(inline)))

  it.effect("of every other kind does the same with what fails in it (E2)", () =>
    Effect.gen(function*() {
      const boom = new Error("boom")
      const throws = (): never => {
        throw boom
      }
      const jobs: ReadonlyArray<readonly [Job.Job<[], unknown, unknown>, Exit.Exit<never, unknown>]> = [
        [Job.effect("fails", () => Effect.fail(new Missing({ id: 1 }))), Exit.fail(new Missing({ id: 1 }))],
        [Job.effect("throws", throws), Exit.die(boom)],
        [Job.callback("throws", throws), Exit.die(boom)],
        [
          Job.effect("throws", function*() {
            yield* Effect.void
            throws()
          }),
          Exit.die(boom)
        ]
      ]
      for (const [job, expected] of jobs) {
        const { exit, records } = yield* recorded(Job.run(job)())
        assert.deepStrictEqual(exit, expected)
        assert.deepStrictEqual(said(records), [`Error: Job ${job.name} failed`])
      }
      const { exit, records } = yield* recorded(
        Effect.flip(Job.run(Job.effect("rejects", () => Promise.reject(boom)))())
      )
      assert.isTrue(Exit.isSuccess(exit) && Cause.isUnknownError(exit.value) && exit.value.cause === boom)
      assert.deepStrictEqual(said(records), ["Error: Job rejects failed"])
      assert.include(Cause.pretty(records[0]!.cause), "The promise of job rejects was rejected: Error: boom")
    }))

  it.effect("fails with a timeout and logs nothing (E3)", () =>
    Effect.gen(function*() {
      const timedOut = Object.assign(new Error("the disk took too long"), { name: "TimeoutError" })
      const slow = BlockingFunction.make(here, "slow", (): never => {
        throw timedOut
      })
      const jobs: ReadonlyArray<Effect.Effect<unknown, unknown, Blocking.Blocking>> = [
        Job.run(Job.effect("sleep", () => Effect.timeout(Effect.never, "1 second")))(),
        Blocking.withOptions(Job.run(Job.blocking(never))(), { timeout: "1 second", grace: 0 }),
        Job.run(Job.blocking(slow))(),
        Job.run(Job.effect("rejects", async () => {
          throw timedOut
        }))(),
        Job.run(Job.callback("throws", () => {
          throw timedOut
        }))()
      ]
      for (const job of jobs) {
        const fiber = yield* Effect.forkChild(recorded(job))
        yield* TestClock.adjust("1 second")
        const { exit, records } = yield* Fiber.join(fiber)
        assert.isTrue(Exit.isFailure(exit))
        assert.deepStrictEqual(records, [])
      }
    }).pipe(Effect.provide(inline)))

  it.effect("in a task that ends with a timeout leaves it to the scope to log it (E3)", () =>
    Effect.gen(function*() {
      for (const limit of [Effect.timeout("1 second"), TimeLimit.within("1 second")]) {
        const slow = Job.effect("slow", () => limit(Effect.never))
        const task = Effect.flatMap(Task.spawn(Job.run(slow)(), "poll"), (task) => task.await)
        const fiber = yield* Effect.forkChild(recorded(Effect.provide(task, inScope)))
        yield* TestClock.adjust("1 second")
        const { records } = yield* Fiber.join(fiber)
        assert.deepStrictEqual(said(records), [
          "Error: Task app/poll failed after 1.0 s by a timeout of its own code, not by a limit of the task; everything " +
          "else goes on"
        ])
      }
    }))

  it.effect("does not take what cannot be looked at for a timeout", () =>
    Effect.gen(function*() {
      const spite = (): never => {
        throw new Error("do not look at me")
      }
      const hostile = new Proxy(new Error("hostile"), { get: spite, getPrototypeOf: spite, has: spite })
      const { records } = yield* recorded(Job.run(Job.effect("spite", () => Effect.die(hostile)))())
      assert.deepStrictEqual(said(records), ["Error: Job spite failed"])
    }))

  it.effect("does not log an interruption", () =>
    Effect.gen(function*() {
      const endless = Job.run(Job.effect("endless", () => Effect.never))()
      const { records } = yield* recorded(Effect.flatMap(
        Effect.forkChild(endless, { startImmediately: true }),
        Fiber.interrupt
      ))
      assert.deepStrictEqual(records, [])
      const interrupting = yield* recorded(Job.run(Job.effect("interrupting", () => Effect.interrupt))())
      assert.deepStrictEqual(interrupting.records, [])
    }))

  it.effect("logs a failure as often as it happens, also when it is one error object or one effect", () =>
    Effect.gen(function*() {
      const only = Effect.fail(new Missing({ id: 1 }))
      const poll = Effect.ignore(Job.run(Job.effect("find", () => only))())
      const outside = yield* recorded(Effect.andThen(poll, poll))
      assert.deepStrictEqual(said(outside.records), ["Error: Job find failed", "Error: Job find failed"])
      const task = Effect.flatMap(Task.spawn(Effect.andThen(poll, poll), "poll"), (task) => task.await)
      const { records } = yield* recorded(Effect.provide(task, inScope))
      assert.deepStrictEqual(errorsIn(records), [
        "Job find failed in task app/poll",
        "Job find failed in task app/poll"
      ])
    }))

  it.effect("inside of another job logs a failure once, with the name of the inner one", () =>
    Effect.gen(function*() {
      const inner = Job.effect("inner", () => Effect.fail("no"))
      const outer = Job.effect("outer", () => Job.run(inner)())
      const { exit, records } = yield* recorded(Job.run(outer)())
      assert.deepStrictEqual(exit, Exit.fail("no"))
      assert.deepStrictEqual(said(records), ["Error: Job inner failed"])
    }))

  describe("in a task", () => {
    const failures: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>]> = [
      ["an error", Job.run(Job.effect("find", () => Effect.fail(new Missing({ id: 1 }))))()],
      ["an error that is no object", Job.run(Job.effect("find", () => Effect.fail("no")))()],
      ["a defect", Job.run(Job.effect("find", () => Effect.die("no")))()],
      [
        "an error in an Effect.fn",
        Effect.fn("traced")(function*() {
          yield* Effect.yieldNow
          return yield* Job.run(Job.effect("find", () => Effect.fail("no")))()
        })()
      ],
      [
        "an error in one of many fibers",
        Effect.forEach(
          [1, 2, 3],
          (id) => Job.run(Job.effect("find", () => id === 2 ? Effect.fail(new Missing({ id })) : Effect.never))(),
          { concurrency: 3 }
        )
      ],
      [
        "an error that was caught and thrown again",
        Job.run(Job.effect("find", () => Effect.fail(new Missing({ id: 1 }))))().pipe(
          Effect.catch((error) => Effect.andThen(Effect.yieldNow, Effect.fail(error)))
        )
      ]
    ]

    it.effect.each(failures)("says what ends the task once: %s", ([, effect]) =>
      Effect.gen(function*() {
        const told: Array<string> = []
        const program = Effect.gen(function*() {
          const scope = yield* TaskScope.TaskScope
          yield* TaskScope.onFailure(scope, ({ path }) => told.push(`hook ${path}`))
          const events = yield* Effect.forkChild(Stream.runCollect(TaskScope.events(scope)), { startImmediately: true })
          const task = yield* Task.spawn(effect, "poll")
          yield* task.await
          yield* TaskScope.close(scope)
          told.push(...(yield* Fiber.join(events)).map((event) => event._tag).filter((tag) => tag === "Failed"))
        })
        const { records } = yield* recorded(Effect.provide(program, inScope))
        assert.deepStrictEqual(errorsIn(records), ["Job find failed in task app/poll"])
        assert.deepStrictEqual(linesAt(records, "Debug"), [
          "Task app/poll failed after 0 ms; everything else goes on"
        ])
        assert.deepStrictEqual(
          records.filter(({ level }) => level === "Error").map(({ annotations }) => String(annotations.task)),
          ["app/poll"]
        )
        assert.deepStrictEqual(told, ["hook app/poll", "Failed"])
      }))

    it.effect("says each attempt of a retry once, and nothing more when the last one ends the task", () =>
      Effect.gen(function*() {
        const find = Job.run(Job.effect("find", () => Effect.suspend(() => Effect.fail(new Missing({ id: 1 })))))
        const task = Effect.flatMap(Task.spawn(Effect.retry(find(), { times: 2 }), "poll"), (task) => task.await)
        const { records } = yield* recorded(Effect.provide(task, inScope))
        assert.deepStrictEqual(errorsIn(records), [1, 2, 3].map(() => "Job find failed in task app/poll"))
      }))

    it.effect("says a failure that the task handles, too", () =>
      Effect.gen(function*() {
        const handled = Effect.ignore(Job.run(Job.effect("find", () => Effect.fail("no")))())
        const task = Effect.flatMap(Task.spawn(handled, "poll"), (task) => task.await)
        const { records } = yield* recorded(Effect.provide(task, inScope))
        assert.deepStrictEqual(said(records), ["Error: Job find failed in task app/poll"])
      }))

    it.effect("leaves another failure of the task to the scope", () =>
      Effect.gen(function*() {
        const find = Job.run(Job.effect("find", () => Effect.fail(new Missing({ id: 1 }))))
        const task = Effect.flatMap(
          Task.spawn(find().pipe(Effect.mapError(() => new Missing({ id: 2 }))), "poll"),
          (task) => task.await
        )
        const { records } = yield* recorded(Effect.provide(task, inScope))
        assert.deepStrictEqual(errorsIn(records), [
          "Job find failed in task app/poll",
          "Task app/poll failed after 0 ms; everything else goes on"
        ])
      }))

    it.effect("is news again in every task, also when all of them throw one error object", () =>
      Effect.gen(function*() {
        const only = new Missing({ id: 1 })
        const find = Job.run(Job.effect("find", () => Effect.fail(only)))
        const program = Effect.gen(function*() {
          const first = yield* Task.spawn(find(), "first")
          const second = yield* Task.spawn(Effect.fail(only), "second")
          const third = yield* Task.spawn(find(), "third")
          const joining = yield* Task.spawn(first.join, "joining")
          for (const task of [first, second, third, joining]) yield* task.await
        })
        const { records } = yield* recorded(Effect.provide(program, inScope))
        assert.deepStrictEqual(errorsIn(records), [
          "Job find failed in task app/first",
          "Task app/second failed after 0 ms; everything else goes on",
          "Job find failed in task app/third",
          "Task app/joining failed after 0 ms; everything else goes on"
        ])
      }))
  })
})

describe("a promise", () => {
  /** A job of a promise that the test settles, and what its signal has said. */
  const held = () => {
    const settled = Promise.withResolvers<string>()
    const log: Array<string> = []
    const job = Job.promise("fetch", (signal, url: string) => {
      signal.addEventListener("abort", () => log.push(`abort ${url}`))
      return settled.promise
    })
    return { ...settled, log, job }
  }

  const paths = Effect.map(
    Effect.flatMap(TaskScope.TaskScope, TaskScope.tasks),
    (tasks) => tasks.map((task) => `${task.path} ${task.status._tag}`)
  )

  it.effect("that throws when it begins is rejected with that", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Job.run(Job.promise("fetch", () => {
          throw new Error("no such host")
        }))()
      )
      assert.strictEqual((error.cause as Error).message, "no such host")
    }))

  it.effect("frees its fiber at once and is told, and is a task until it settles", () =>
    Effect.gen(function*() {
      const { job, log, resolve } = held()
      const task = yield* Task.spawn(Job.run(job)("/a"), "poll")
      assert.deepStrictEqual(yield* paths, ["app/poll Running"])
      assert.isTrue(yield* task.interrupt())
      assert.strictEqual(task.status._tag, "Ended")
      assert.deepStrictEqual(log, ["abort /a"])
      assert.deepStrictEqual(yield* paths, ["app/poll/fetch Stopping"])
      resolve("late")
      yield* Effect.yieldNow
      assert.deepStrictEqual(yield* paths, [])
    }).pipe(Effect.provide(inScope)))

  it.effect("of an async function is a task as well until it settles, and its timeout is in time", () =>
    Effect.gen(function*() {
      const { promise, resolve } = Promise.withResolvers<void>()
      const wait = Job.run(Job.effect("wait", async () => await promise))()
      const waiting = yield* Effect.forkChild(Effect.timeoutOption(wait, "1 second"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isTrue((yield* Fiber.join(waiting))._tag === "None")
      assert.deepStrictEqual(yield* paths, ["app/wait Stopping"])
      resolve()
      yield* Effect.yieldNow
      assert.deepStrictEqual(yield* paths, [])
    }).pipe(Effect.provide(inScope)))

  it.effect("is waited for by a close, and reported as interrupted", () =>
    Effect.gen(function*() {
      const { job, resolve } = held()
      const scope = yield* TaskScope.make("app", { stopWithin: "5 seconds" })
      yield* TaskScope.spawn(scope, Job.run(job)("/a"), "poll")
      const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isUndefined(closing.pollUnsafe())
      resolve("late")
      const report = yield* Fiber.join(closing)
      assert.isTrue(report.clean)
      assert.deepStrictEqual(report.tasks.map(({ outcome, path, took }) => `${path} ${outcome} ${took}`), [
        "app/poll interrupted 0",
        "app/poll/fetch interrupted 1000"
      ])
    }))

  it.effect("that does not settle in time is given up by a close", () =>
    Effect.gen(function*() {
      const { job, resolve } = held()
      const scope = yield* TaskScope.make("app", { stopWithin: "5 seconds" })
      yield* TaskScope.spawn(scope, Job.run(job)("/a"), "poll")
      const program = Effect.gen(function*() {
        const closing = yield* Effect.forkChild(TaskScope.close(scope), { startImmediately: true })
        yield* TestClock.adjust("5 seconds")
        const report = yield* Fiber.join(closing)
        assert.deepStrictEqual(report.tasks.map(({ outcome, path }) => `${path} ${outcome}`), [
          "app/poll interrupted",
          "app/poll/fetch abandoned"
        ])
        resolve("late")
        yield* Effect.yieldNow
      })
      yield* program
      assert.deepStrictEqual(yield* TaskScope.tasks(scope), [])
    }))

  const late: ReadonlyArray<readonly [string, Error, ReadonlyArray<string>]> = [
    ["with something else", new Error("disk full"), ["Warn: Job fetch failed when nobody waited for it any more"]],
    ["with an abort", Object.assign(new Error("aborted"), { name: "AbortError" }), []]
  ]

  it.effect.each(late)(
    "that is rejected when nobody waits any more says so, unless it was told to: %s",
    ([, error, lines]) =>
      Effect.gen(function*() {
        const { job, reject } = held()
        const { records } = yield* recorded(Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(Job.run(job)("/a"), { startImmediately: true })
          yield* Fiber.interrupt(fiber)
          reject(error)
          yield* Effect.yieldNow
        }))
        assert.deepStrictEqual(said(records), lines)
      })
  )

  it.effect("that is begun by what interrupts itself has nobody's rejection, and is not lost", () =>
    Effect.gen(function*() {
      const { promise, reject } = Promise.withResolvers<void>()
      const { records } = yield* recorded(Effect.gen(function*() {
        const fiber: Fiber.Fiber<void, unknown> = yield* Effect.forkChild(
          Job.run(Job.effect("suicidal", () => {
            fiber.interruptUnsafe()
            return promise
          }))()
        )
        yield* Fiber.await(fiber)
        reject(new Error("too late"))
        yield* Effect.yieldNow
      }))
      assert.deepStrictEqual(said(records), ["Warn: Job suicidal failed when nobody waited for it any more"])
    }))
})

describe("dispatch of a callback", () => {
  it("has run it when the call returns, also outside of any effect (E6)", () => {
    const seen: Array<number> = []
    const note = Job.dispatch(Job.callback("note", (n: number) => seen.push(n)))
    assert.deepStrictEqual([note(1), note(2), note(3)], [1, 2, 3])
    assert.deepStrictEqual(seen, [1, 2, 3])
  })

  it.effect("gives its error to the caller, and logs nothing (E6)", () =>
    Effect.gen(function*() {
      const boom = new Error("boom")
      const note = Job.callback("note", () => {
        throw boom
      })
      const { exit, records } = yield* recorded(Effect.sync(() => thrownBy(() => Job.dispatch(note)())))
      assert.deepStrictEqual(exit, Exit.succeed(boom))
      assert.deepStrictEqual(records, [])
    }))

  it.effect("that starts a task is not suspended, and nothing else runs in between (E7)", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const say = (line: string) => Effect.sync(() => log.push(line))
      const spawn = yield* TaskScope.runtime(yield* TaskScope.TaskScope)
      const onMessage = Job.callback("on-message", (text: string) => {
        log.push(`got ${text}`)
        spawn(Effect.andThen(say("task begins"), Effect.andThen(Effect.yieldNow, say("task goes on"))), "store")
        log.push("callback goes on")
        spawn(say("second task"), "second")
        log.push("callback ends")
      })
      yield* Effect.forkChild(say("another fiber"))
      Job.dispatch(onMessage)("hello")
      log.push("call returns")
      yield* Effect.flatMap(TaskScope.TaskScope, (scope) => TaskScope.awaitIdle(scope, { background: true }))
      assert.deepStrictEqual(log, [
        "got hello",
        "task begins",
        "callback goes on",
        "second task",
        "callback ends",
        "call returns",
        "another fiber",
        "task goes on"
      ])
    }).pipe(Effect.provide(inScope)))

  /** A clock that the callback itself moves on. */
  const withClock = <A, E, R>(effect: (pass: (millis: number) => void) => Effect.Effect<A, E, R>) =>
    Effect.flatMap(Clock.Clock, (clock) => {
      let millis = 0
      const moved: Clock.Clock = Object.create(clock, {
        monotonicTimeNanosUnsafe: { value: () => BigInt(Math.round(millis * 1e6)) }
      })
      return Effect.provideService(effect((more) => void (millis += more)), Clock.Clock, moved)
    })

  it.effect("that takes longer than its budget is reported with its name", () =>
    Effect.gen(function*() {
      const { records } = yield* recorded(withClock((pass) =>
        Effect.sync(() => {
          const work = Job.callback("work", pass, { budget: "20 millis" })
          Job.dispatch(work)(20)
          Job.dispatch(work)(21)
          Job.dispatch(Job.callback("free", pass, { budget: "none" }))(10_000)
          Job.dispatch(Job.callback("usual", pass))(50)
          Job.dispatch(Job.callback("unusual", pass))(51)
        })
      ))
      assert.deepStrictEqual(said(records), [
        "Warn: Callback work took 21 ms, and its budget is 20 ms. Nothing else ran meanwhile: make it shorter, or an " +
        "effect or a blocking job",
        "Warn: Callback unusual took 51 ms, and its budget is 50 ms. Nothing else ran meanwhile: make it shorter, or " +
        "an effect or a blocking job"
      ])
      assert.deepInclude(records[0]?.annotations, { job: "work", took: "21 ms", budget: "20 ms" })
    }))

  it.effect("is reported over its budget when it throws, and when it is run", () =>
    Effect.gen(function*() {
      const { records } = yield* recorded(withClock((pass) => {
        const work = Job.callback("work", (): never => {
          pass(60)
          throw new Error("boom")
        })
        return Effect.andThen(Effect.sync(() => thrownBy(Job.dispatch(work))), Effect.exit(Job.run(work)()))
      }))
      assert.deepStrictEqual(records.map(({ level, message }) => `${level}: ${message.split(",")[0]}`), [
        "Warn: Callback work took 60 ms",
        "Warn: Callback work took 60 ms",
        "Error: Job work failed"
      ])
    }))
})

describe("dispatch of an effect", () => {
  it.effect("is a task with the name of the job, which has run up to its first wait", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const poll = Job.dispatch(Job.effect("poll", function*(from: string) {
        log.push(`polls ${from}`)
        yield* Effect.sleep("1 second")
        return from
      }))
      const first = yield* poll("a")
      const second = yield* poll("b")
      assert.deepStrictEqual([first.path, second.path, ...log], ["app/poll", "app/poll#2", "polls a", "polls b"])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* second.join, "b")
    }).pipe(Effect.provide(inScope)))

  it.effect("that fails or throws is logged once, by its scope", () =>
    Effect.gen(function*() {
      const jobs = [
        Job.effect("fails", () => Effect.fail("no")),
        Job.effect("throws", (): never => {
          throw new Error("boom")
        }),
        Job.effect("rejects", () => Promise.reject(new Error("boom")))
      ]
      for (const job of jobs) {
        const program = Effect.flatMap(Job.dispatch(job as Job.EffectJob<[], unknown, unknown>)(), (task) => task.await)
        const { records } = yield* recorded(Effect.provide(program, inScope))
        assert.deepStrictEqual(said(records), [
          `Error: Task app/${job.name} failed after 0 ms; everything else goes on`
        ])
      }
    }))
})

describe("dispatch of a blocking job", () => {
  it.effect("is a task that waits for the pool, and logs a failure once", () =>
    Effect.gen(function*() {
      const { records } = yield* recorded(Effect.provide(
        Effect.gen(function*() {
          const task = yield* Job.dispatch(Job.from(triple))(14)
          assert.strictEqual(task.path, "app/triple")
          assert.strictEqual(yield* task.join, 42)
          yield* (yield* Job.dispatch(Job.from(throwing))()).await
        }),
        inScope
      ))
      assert.deepStrictEqual(errorsIn(records), ["Task app/throwing failed after 0 ms; everything else goes on"])
    }).pipe(Effect.provide(inline)))

  it.effect("without a pool says what is missing, as run does, and each says it once", () =>
    Effect.gen(function*() {
      const withoutPool = <A, E>(effect: Effect.Effect<A, E, Blocking.Blocking>) => effect as Effect.Effect<A, E>
      const ran = yield* recorded(withoutPool(Job.run(Job.from(triple))(1)))
      assert.deepStrictEqual(said(ran.records), ["Error: Job triple failed"])
      assert.include(Cause.pretty(ran.records[0]!.cause), "Provide BlockingPool.layer of @ambit/node")
      const dispatch = Effect.provide(Job.dispatch(Job.from(triple))(1), inScope)
      const { records } = yield* recorded(Effect.flatMap(withoutPool(dispatch), (task) => task.await))
      assert.deepStrictEqual(said(records), ["Error: Task app/triple failed after 0 ms; everything else goes on"])
      assert.include(Cause.pretty(records[0]!.cause), "Provide BlockingPool.layer of @ambit/node")
    }))
})

describe("in a scope", () => {
  /** What each way to start a job does; `ran` counts the functions that were called. */
  const waysToStart = () => {
    const ran: Array<string> = []
    const count = BlockingFunction.make(here, "blocking", () => void ran.push("blocking"))
    return {
      ran,
      all: Effect.gen(function*() {
        Job.dispatch(Job.callback("callback", () => ran.push("callback")))()
        const refused: Array<string> = []
        const refuse = (error: Task.SpawnError) =>
          Effect.sync(() => refused.push("path" in error ? error.path : error.message))
        yield* Job.dispatch(Job.effect("effect", () => ran.push("effect")))().pipe(Effect.catch(refuse))
        yield* Job.dispatch(Job.blocking(count))().pipe(Effect.catch(refuse))
        yield* Job.run(Job.effect("run", () => ran.push("run")))()
        return refused
      })
    }
  }

  it.effect("that is open every job runs", () =>
    Effect.gen(function*() {
      const { all, ran } = waysToStart()
      assert.deepStrictEqual(yield* all, [])
      assert.deepStrictEqual(ran, ["callback", "effect", "blocking", "run"])
    }).pipe(Effect.provide(Layer.merge(inScope, inline))))

  it.effect("that is stopping no job becomes a task, and none of those has run; the others run", () =>
    Effect.gen(function*() {
      const { all, ran } = waysToStart()
      const scope = yield* TaskScope.TaskScope
      const refused = yield* Deferred.make<ReadonlyArray<string>>()
      const cleanUp = Effect.flatMap(all, (paths) => Deferred.succeed(refused, paths))
      yield* Task.spawn(Effect.onInterrupt(Effect.never, () => cleanUp), "poll")
      yield* TaskScope.close(scope)
      assert.deepStrictEqual(yield* Deferred.await(refused), ["app/effect", "app/blocking"])
      assert.deepStrictEqual(ran, ["callback", "run"])
    }).pipe(Effect.provide(Layer.merge(inScope, inline))))

  it.effect("that is closed no job becomes a task, and none of those has run; the others run", () =>
    Effect.gen(function*() {
      const { all, ran } = waysToStart()
      yield* Effect.flatMap(TaskScope.TaskScope, TaskScope.close)
      assert.deepStrictEqual(yield* all, ["app/effect", "app/blocking"])
      assert.deepStrictEqual(ran, ["callback", "run"])
    }).pipe(Effect.provide(Layer.merge(inScope, inline))))
})
