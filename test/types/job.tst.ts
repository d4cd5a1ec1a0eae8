import { type Blocking, BlockingFunction, Job, type Task, type TaskScope } from "@ambit/core"
import { type Cause, Context, Effect } from "effect"
import { describe, expect, it } from "tstyche"

class Db extends Context.Service<Db, { readonly count: Effect.Effect<number, "gone"> }>()("test/types/job/Db") {}

const meta = { url: "file:///functions.ts" }
const length = BlockingFunction.make(meta, "length", (text: string, factor?: number) => text.length * (factor ?? 1))

declare const find: (id: number, deep?: boolean) => Effect.Effect<string, "missing", Db>
declare const load: (url: string) => Promise<number>
declare const plain: (n: number) => boolean
declare const sometimes: (n: number) => Effect.Effect<string, "no", Db> | Promise<number> | boolean

function* generate(this: unknown, id: number) {
  const db = yield* Db
  const count = yield* db.count
  return yield* id > count ? Effect.fail("missing" as const) : Effect.succeed(`${id}`)
}

describe("Job.run", () => {
  it("has the arguments, the value, the error and the requirements of a function that returns an effect", () => {
    expect(Job.run(Job.effect("find", find))).type.toBe<
      (id: number, deep?: boolean) => Effect.Effect<string, "missing", Db>
    >()
    expect(Job.run(Job.from(find))).type.toBe<(id: number, deep?: boolean) => Effect.Effect<string, "missing", Db>>()
    expect(Job.run(Job.from(find))).type.not.toBeCallableWith("1")
    expect(Job.run(Job.from(find))).type.not.toBeCallableWith()
  })

  it("has those of a generator function", () => {
    expect(Job.run(Job.effect("generate", generate))).type.toBe<
      (id: number) => Effect.Effect<string, "gone" | "missing", Db>
    >()
    const nothing = Job.effect("nothing", function*() {})
    expect(Job.run(nothing)).type.toBe<() => Effect.Effect<void>>()
  })

  it("has those of what Effect.fn gives", () => {
    const counted = Effect.fn("counted")(function*(by: number) {
      return by + (yield* (yield* Db).count)
    })
    expect(Job.run(Job.from(counted))).type.toBe<(by: number) => Effect.Effect<number, "gone", Db>>()
  })

  it("fails with UnknownError where a promise is rejected", () => {
    expect(Job.run(Job.from(load))).type.toBe<(url: string) => Effect.Effect<number, Cause.UnknownError>>()
    const listen = Job.promise("listen", (signal, url: string) => {
      expect(signal).type.toBe<AbortSignal>()
      return load(url)
    })
    expect(Job.run(listen)).type.toBe<(url: string) => Effect.Effect<number, Cause.UnknownError>>()
  })

  it("cannot fail where a plain value is returned", () => {
    expect(Job.run(Job.from(plain))).type.toBe<(n: number) => Effect.Effect<boolean>>()
    expect(Job.run(Job.callback("plain", plain))).type.toBe<(n: number) => Effect.Effect<boolean>>()
  })

  it("has the union of what a function may return", () => {
    expect(Job.run(Job.from(sometimes))).type.toBe<
      (n: number) => Effect.Effect<string | number | boolean, "no" | Cause.UnknownError, Db>
    >()
  })

  it("of a blocking function fails with BlockingError, and needs a pool", () => {
    type Run = (
      text: string,
      factor?: number
    ) => Effect.Effect<number, Blocking.BlockingError, Blocking.Blocking>
    expect(Job.run(Job.blocking(length))).type.toBe<Run>()
    expect(Job.run(Job.from(length))).type.toBe<Run>()
  })

  it("of an object has the types of its method call", () => {
    expect(Job.run(Job.from({ call: find }))).type.toBe<
      (id: number, deep?: boolean) => Effect.Effect<string, "missing", Db>
    >()
  })

  it("takes jobs only", () => {
    expect(Job.run).type.not.toBeCallableWith(find)
    expect(Job.run).type.not.toBeCallableWith(length)
  })
})

describe("Job.dispatch", () => {
  it("of a callback is the function itself", () => {
    expect(Job.dispatch(Job.callback("plain", plain))).type.toBe<(n: number) => boolean>()
  })

  it("of an effect gives its task, needs a scope, and may be refused", () => {
    expect(Job.dispatch(Job.from(find))).type.toBe<
      (
        id: number,
        deep?: boolean
      ) => Effect.Effect<Task.Task<string, "missing">, Task.SpawnError, Db | TaskScope.TaskScope>
    >()
  })

  it("of a blocking job needs a scope and a pool", () => {
    expect(Job.dispatch(Job.blocking(length))).type.toBe<
      (
        text: string,
        factor?: number
      ) => Effect.Effect<
        Task.Task<number, Blocking.BlockingError>,
        Task.SpawnError,
        Blocking.Blocking | TaskScope.TaskScope
      >
    >()
  })

  it("of a job of any kind is chosen by its kind", () => {
    const handle = <E, R>(job: Job.Job<[text: string], number, E, R>) => {
      if (job.kind === "callback") {
        expect(Job.dispatch(job)("a")).type.toBe<number>()
      } else {
        expect(Job.dispatch(job)("a")).type.toBe<
          Effect.Effect<Task.Task<number, E>, Task.SpawnError, R | TaskScope.TaskScope>
        >()
      }
      return Job.run(job)("a")
    }
    expect(handle(Job.blocking(length))).type.toBe<
      Effect.Effect<number, Blocking.BlockingError, Blocking.Blocking>
    >()
    expect(handle(Job.callback("size", (text: string) => text.length))).type.toBe<Effect.Effect<number>>()
    expect(handle).type.not.toBeCallableWith(Job.from(plain))
  })

  const blocks = Job.blocking(length)
  const loads = Job.from(load)
  const plainly = Job.from(plain)

  it("of jobs that differ has all that any of them may give", () => {
    const never = Job.effect("never", (text: string) => Effect.annotateLogs(Effect.never, "text", text))
    const differ = (job: typeof blocks | typeof loads | typeof never) => job
    const job = differ(never)
    expect(Job.run(job)("a")).type.toBe<
      Effect.Effect<number, Blocking.BlockingError | Cause.UnknownError, Blocking.Blocking>
    >()
    expect(Job.dispatch(job)("a")).type.toBe<
      Effect.Effect<
        Task.Task<number, Blocking.BlockingError | Cause.UnknownError>,
        Task.SpawnError,
        Blocking.Blocking | TaskScope.TaskScope
      >
    >()
    const noArgumentFits = (job: typeof plainly | typeof loads) => Job.run(job)
    expect(noArgumentFits(loads)).type.not.toBeCallableWith("a")
  })

  it("takes a job that needs fewer arguments wherever more are given", () => {
    expect(Job.effect("tick", () => Effect.void)).type.toBeAssignableTo<Job.Job<[event: string], void>>()
    expect(Job.effect("tick", () => Effect.void)).type.toBeAssignableTo<Job.Job<[event: string], unknown, "no", Db>>()
  })
})

describe("a declaration", () => {
  it("has its kind in its type", () => {
    expect(Job.from(plain)).type.toBe<Job.EffectJob<[n: number], boolean>>()
    expect(Job.callback("plain", plain)).type.toBe<Job.CallbackJob<[n: number], boolean>>()
    expect(Job.from(length)).type.toBe<Job.BlockingJob<[text: string, factor?: number], number>>()
    expect(Job.from(Job.callback("plain", plain))).type.toBe<Job.CallbackJob<[n: number], boolean>>()
  })

  it("is of what can be called", () => {
    expect(Job.from).type.not.toBeCallableWith(Effect.void)
    expect(Job.from).type.not.toBeCallableWith(load(""))
    expect(Job.from).type.not.toBeCallableWith(1)
    expect(Job.from).type.not.toBeCallableWith({ run: plain })
    expect(Job.from).type.not.toBeCallableWith(Db)
    expect(Job.blocking).type.not.toBeCallableWith(plain)
    expect(Job.callback).type.not.toBeCallableWith("plain", plain, { budget: true })
  })
})
