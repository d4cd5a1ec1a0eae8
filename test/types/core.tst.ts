import {
  App,
  Host,
  type InvalidOption,
  type ScopeClosed,
  type ShutdownReport,
  Task,
  type TaskRefused,
  TaskScope,
  Timer
} from "@ambit/core"
import { Context, Effect, Layer, type Result } from "effect"
import { describe, expect, test } from "tstyche"

class Db extends Context.Service<Db, string>()("test/types/Db") {}

const work: Effect.Effect<number, "no", Db> = Effect.as(Db, 1)

declare const scope: TaskScope.TaskScope
declare const app: App.App

describe("Task.spawn", () => {
  test("keeps value, error and requirements, and needs a scope", () => {
    type Expected = Effect.Effect<Task.Task<number, "no">, Task.SpawnError, Db | TaskScope.TaskScope>
    expect(Task.spawn(work, "work")).type.toBe<Expected>()
    expect(work.pipe(Task.spawn("work", { kind: "foreground" }))).type.toBe<Expected>()
  })

  test("outside of any scope cannot be run", () => {
    expect(Effect.runPromise).type.not.toBeCallableWith(Task.spawn(Effect.void, "work"))
  })

  test("refuses what is no option", () => {
    expect(Task.spawn).type.not.toBeCallableWith(work)
    expect(Task.spawn).type.not.toBeCallableWith(work, "work", { kind: "daemon" })
    expect(Task.spawn).type.not.toBeCallableWith(work, "work", { onFailure: "restart" })
  })

  test("takes what shall happen with others of its name, and nothing else for that", () => {
    type Expected = Effect.Effect<Task.Task<number, "no">, Task.SpawnError, Db | TaskScope.TaskScope>
    expect(Task.spawn(work, "work", { onDuplicate: "replace" })).type.toBe<Expected>()
    expect(work.pipe(Task.spawn("work", { onDuplicate: { queue: 3 } }))).type.toBe<Expected>()
    expect(Task.spawn).type.not.toBeCallableWith(work, "work", { onDuplicate: "queue" })
    expect(Task.spawn).type.not.toBeCallableWith(work, "work", { onDuplicate: { queue: "3" } })
    expect(Task.spawn).type.not.toBeCallableWith(work, "work", { onDuplicate: {} })
    expect(Task.spawn).type.not.toBeCallableWith(work, "work", { onDuplicate: null })
    expect(Task.every).type.toBeCallableWith(work, "work", "1 second", { onDuplicate: "skip" })
    expect(Timer.make).type.not.toBeCallableWith(work, "work", { onDuplicate: "skip" })
  })

  test("fails with one of three errors, which can be told apart", () => {
    expect<Task.SpawnError>().type.toBe<ScopeClosed | InvalidOption | TaskRefused>()
    const handled = Task.spawn(work, "work").pipe(
      Effect.catchTag("TaskRefused", ({ why }) => Effect.succeed(why)),
      Effect.catchTag(["ScopeClosed", "InvalidOption"], () => Effect.void)
    )
    expect<Effect.Error<typeof handled>>().type.toBe<never>()
  })

  test("gives a handle that waits with exact types", () => {
    expect<Task.Task<number, "no">["join"]>().type.toBe<Effect.Effect<number, "no">>()
    expect<ReturnType<Task.Task<number, "no">["interrupt"]>>().type.toBe<Effect.Effect<boolean>>()
  })
})

describe("TaskScope", () => {
  test("spawn provides the scope to the task", () => {
    const inner = Task.spawn(work, "inner")
    expect(TaskScope.spawn(scope, inner, "outer")).type.toBe<
      Effect.Effect<
        Task.Task<Task.Task<number, "no">, Task.SpawnError>,
        Task.SpawnError,
        Db
      >
    >()
    expect(work.pipe(TaskScope.spawn(scope, "outer"))).type.toBe<
      Effect.Effect<Task.Task<number, "no">, Task.SpawnError, Db>
    >()
  })

  test("is made with a limit for its tasks, or without", () => {
    expect(TaskScope.make).type.toBeCallableWith("a", { maxTasks: 3 })
    expect(TaskScope.layer).type.toBeCallableWith("a", { maxTasks: { atOnce: 3, queue: 9 } })
    expect(App.layer).type.toBeCallableWith("a", Effect.void, { maxTasks: 3 })
    expect(TaskScope.make).type.not.toBeCallableWith("a", { maxTasks: { atOnce: 3 } })
    expect(TaskScope.make).type.not.toBeCallableWith("a", { maxTasks: "3" })
    expect(TaskScope.drops(scope)).type.toBe<Effect.Effect<TaskScope.Drops>>()
  })

  test("close cannot fail, unless it is given a limit of its own", () => {
    expect(TaskScope.close(scope)).type.toBe<Effect.Effect<ShutdownReport.ShutdownReport>>()
    expect(TaskScope.close(scope, { within: "1 second" })).type.toBe<
      Effect.Effect<ShutdownReport.ShutdownReport, InvalidOption>
    >()
  })

  test("awaitIdle cannot fail, unless it is given options", () => {
    expect(TaskScope.awaitIdle(scope)).type.toBe<Effect.Effect<void>>()
    expect(TaskScope.awaitIdle(scope, { within: "1 second" })).type.toBe<
      Effect.Effect<void, TaskScope.IdleTimeout | InvalidOption>
    >()
  })

  test("use takes the scope off the requirements and adds its errors", () => {
    expect(TaskScope.use("demo", () => Task.spawn(work, "work"))).type.toBe<
      Effect.Effect<
        Task.Task<number, "no">,
        Task.SpawnError | TaskScope.TaskFailed,
        Db
      >
    >()
  })

  test("runtime gives a plain function that has what it was made with", () => {
    const spawner = TaskScope.runtime<Db>(scope)
    expect(spawner).type.toBe<Effect.Effect<TaskScope.Spawner<Db>, never, Db>>()
    expect<TaskScope.Spawner<Db>>().type.toBeCallableWith(work, "work")
    expect<TaskScope.Spawner>().type.not.toBeCallableWith(work, "work")
    expect<ReturnType<TaskScope.Spawner>>().type.toBe<
      Result.Result<Task.Task<unknown>, Task.SpawnError>
    >()
  })
})

describe("App.layer", () => {
  test("from an effect provides nothing, and takes scope, app and resources off the requirements", () => {
    const start = Effect.gen(function*() {
      yield* Effect.acquireRelease(Effect.void, () => Effect.void)
      yield* Task.spawn(work, "work")
      yield* App.onStop("bye", Db)
    })
    expect(App.layer("a", start)).type.toBe<
      Layer.Layer<never, Task.SpawnError | App.AppError, Db>
    >()
  })

  test("from a layer provides what that provides", () => {
    expect(App.layer("a", Layer.effect(Db)(Effect.fail("no" as const)))).type.toBe<
      Layer.Layer<Db, "no" | App.AppError>
    >()
  })

  test("a hook outside of an app cannot be run", () => {
    expect(Effect.runPromise).type.not.toBeCallableWith(App.onStop("bye", Effect.void))
  })

  test("start and restart fail with StartFailed only, stop cannot fail", () => {
    expect(App.start(app)).type.toBe<Effect.Effect<void, App.StartFailed>>()
    expect(App.restart(app)).type.toBe<Effect.Effect<ShutdownReport.ShutdownReport, App.StartFailed>>()
    expect(App.stop(app)).type.toBe<Effect.Effect<ShutdownReport.ShutdownReport>>()
  })
})

describe("Host.launch", () => {
  test("provides the host, keeps what else is required, and adds its errors", () => {
    const Needs = App.layer("a", Effect.andThen(Host.tree, Db))
    expect(Host.launch(Needs)).type.toBe<
      Effect.Effect<
        ShutdownReport.ShutdownReport,
        App.AppError | Host.HostFailed | Host.LayerCycle | InvalidOption,
        Db
      >
    >()
  })

  test("what onReport requires is required", () => {
    expect(Host.launch(Layer.empty, { onReport: () => Effect.asVoid(Db) })).type.toBe<
      Effect.Effect<ShutdownReport.ShutdownReport, Host.HostFailed | Host.LayerCycle | InvalidOption, Db>
    >()
  })

  test("a stop request fails only where an exit code can be bad", () => {
    expect(Host.requestStop("done")).type.toBe<Effect.Effect<boolean, never, Host.Host>>()
    expect(Host.requestStop("done", 1)).type.toBe<Effect.Effect<boolean, InvalidOption, Host.Host>>()
  })

  test("an app that needs a host cannot be launched without one", () => {
    expect(Effect.runPromise).type.not.toBeCallableWith(Layer.launch(App.layer("a", Host.tree)))
  })

  test("an app that provides what it needs itself still needs it", () => {
    const Self = App.layer("a", Layer.effect(Db)(Effect.map(Db, (db) => db)))
    expect<Layer.Services<typeof Self>>().type.toBe<Db>()
  })
})
