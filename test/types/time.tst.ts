import { type InvalidOption, Task, TaskScope, TimeLimit, type TimeLimitExceeded, Timer } from "@ambit/core"
import { Context, Cron, type Duration, Effect, type Option, type Result } from "effect"
import { describe, expect, test } from "tstyche"

class Db extends Context.Service<Db, string>()("test/types/Db") {}

const work: Effect.Effect<number, "no", Db> = Effect.as(Db, 1)

declare const scope: TaskScope.TaskScope
declare const within: Duration.Input | "none" | undefined
declare const options: Task.SpawnOptions

type Spawned<A, E> = Effect.Effect<Task.Task<A, E>, Task.SpawnError, Db | TaskScope.TaskScope>

describe("a task with a limit", () => {
  test("can fail with TimeLimitExceeded, and one without cannot", () => {
    expect(Task.spawn(work, "work", { within: "1 second" })).type.toBe<Spawned<number, "no" | TimeLimitExceeded>>()
    expect(work.pipe(Task.spawn("work", { within: 5 }))).type.toBe<Spawned<number, "no" | TimeLimitExceeded>>()
    expect(Task.spawn(work, "work", { within: "none" })).type.toBe<Spawned<number, "no">>()
    expect(Task.spawn(work, "work", { within: undefined })).type.toBe<Spawned<number, "no">>()
    expect(work.pipe(Task.spawn("work", { kind: "foreground" }))).type.toBe<Spawned<number, "no">>()
  })

  test("is taken for one where nobody knows", () => {
    expect(Task.spawn(work, "work", options)).type.toBe<Spawned<number, "no" | TimeLimitExceeded>>()
    expect(Task.spawn(work, "work", { within })).type.toBe<Spawned<number, "no" | TimeLimitExceeded>>()
    expect(Task.spawn).type.not.toBeCallableWith(work, "work", { within: true })
  })

  test("is the same for a scope at hand and for callbacks", () => {
    expect(TaskScope.spawn(scope, work, "work", { within: 5 })).type.toBe<
      Effect.Effect<Task.Task<number, "no" | TimeLimitExceeded>, Task.SpawnError, Db>
    >()
    expect(work.pipe(TaskScope.spawn(scope, "work", { within: 5 }))).type.toBe<
      Effect.Effect<Task.Task<number, "no" | TimeLimitExceeded>, Task.SpawnError, Db>
    >()
    const spawn = null as unknown as TaskScope.Spawner<Db>
    expect(spawn(work, "work", { within: 5 })).type.toBe<
      Result.Result<Task.Task<number, "no" | TimeLimitExceeded>, Task.SpawnError>
    >()
    expect(spawn(work, "work")).type.toBe<Result.Result<Task.Task<number, "no">, Task.SpawnError>>()
  })
})

describe("a task with a schedule", () => {
  test("gives its value when it runs once, and none when it repeats", () => {
    expect(Task.after(work, "work", "1 second")).type.toBe<Spawned<number, "no" | TimeLimitExceeded>>()
    expect(work.pipe(Task.after("work", 5, { within: "none" }))).type.toBe<Spawned<number, "no" | TimeLimitExceeded>>()
    expect(Task.every(work, "work", "1 second")).type.toBe<Spawned<never, "no" | TimeLimitExceeded>>()
    expect(work.pipe(Task.every("work", 5))).type.toBe<Spawned<never, "no" | TimeLimitExceeded>>()
    expect(work.pipe(Task.cron("work", "* * * * *"))).type.toBe<Spawned<never, "no" | TimeLimitExceeded>>()
    expect(Task.cron(work, "work", Cron.parseUnsafe("* * * * *"), { timeZone: "UTC" })).type.toBe<
      Spawned<never, "no" | TimeLimitExceeded>
    >()
  })

  test("refuses what is no time", () => {
    expect(Task.after).type.not.toBeCallableWith(work, "work")
    expect(Task.every).type.not.toBeCallableWith(work, "work", "often")
    expect(Task.cron).type.not.toBeCallableWith(work, "work", 5)
    expect(Task.every).type.not.toBeCallableWith(work, "work", 5, { timeZone: "UTC" })
  })

  test("has runs to count", () => {
    expect<typeof Task.runs>().type.toBe<(self: Task.Task) => Option.Option<Task.Runs>>()
  })
})

describe("TimeLimit", () => {
  test("within adds its errors, and freeze adds nothing", () => {
    type Expected = Effect.Effect<number, "no" | TimeLimitExceeded | InvalidOption, Db>
    expect(TimeLimit.within(work, "1 second")).type.toBe<Expected>()
    expect(work.pipe(TimeLimit.within("1 second", { zone: "db" }))).type.toBe<Expected>()
    expect(TimeLimit.freeze(work)).type.toBe<typeof work>()
    expect(TimeLimit.freeze(work, "db")).type.toBe<typeof work>()
    expect(work.pipe(TimeLimit.freeze("db"))).type.toBe<typeof work>()
    expect(work.pipe(TimeLimit.freeze())).type.toBe<typeof work>()
  })
})

describe("Timer", () => {
  test("is made where its effect has what it requires, and fails only as it says", () => {
    expect(Timer.make(work, "work", { repeat: true })).type.toBe<
      Effect.Effect<Timer.Timer, InvalidOption, Db | TaskScope.TaskScope>
    >()
    expect<ReturnType<Timer.Timer["start"]>>().type.toBe<
      Effect.Effect<void, Timer.TimerStarted | Task.SpawnError>
    >()
    expect<ReturnType<Timer.Timer["restart"]>>().type.toBe<Effect.Effect<void, Task.SpawnError>>()
  })
})
