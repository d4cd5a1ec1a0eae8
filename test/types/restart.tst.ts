/** The types of restarts and groups, as users see them. */
import {
  App,
  type InvalidOption,
  Restart,
  type RestartExhausted,
  Supervisor,
  Task,
  TaskScope,
  type TimeLimitExceeded
} from "@ambit/core"
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import { describe, expect, test } from "tstyche"

class Mqtt extends Context.Service<Mqtt, { readonly port: number }>()("test/Mqtt") {}

declare const effect: Effect.Effect<number, "boom", Mqtt>
declare const scope: TaskScope.TaskScope

type Refused = Task.SpawnError

describe("a task with a policy", () => {
  const restart = Restart.permanent()

  test("may fail with what was used up", () => {
    expect(effect.pipe(Task.spawn("poll", { restart }))).type.toBe<
      Effect.Effect<Task.Task<number, "boom" | RestartExhausted>, Refused, Mqtt | TaskScope.TaskScope>
    >()
    expect(Task.spawn(effect, "poll", { restart })).type.toBe<
      Effect.Effect<Task.Task<number, "boom" | RestartExhausted>, Refused, Mqtt | TaskScope.TaskScope>
    >()
    expect(TaskScope.spawn(scope, effect, "poll", { restart })).type.toBe<
      Effect.Effect<Task.Task<number, "boom" | RestartExhausted>, Refused, Mqtt>
    >()
    expect(effect.pipe(TaskScope.spawn(scope, "poll", { restart }))).type.toBe<
      Effect.Effect<Task.Task<number, "boom" | RestartExhausted>, Refused, Mqtt>
    >()
  })

  test("and with a limit of its runs only when it has one", () => {
    expect(Task.spawn(effect, "poll", { restart, within: "1 second" })).type.toBe<
      Effect.Effect<
        Task.Task<number, "boom" | RestartExhausted | TimeLimitExceeded>,
        Refused,
        Mqtt | TaskScope.TaskScope
      >
    >()
    expect(Task.spawn(effect, "poll", { restart, within: "none" })).type.toBe<
      Effect.Effect<Task.Task<number, "boom" | RestartExhausted>, Refused, Mqtt | TaskScope.TaskScope>
    >()
    expect(Task.spawn(effect, "poll", { restart, within: Duration.seconds(1) })).type.toBe<
      Effect.Effect<
        Task.Task<number, "boom" | RestartExhausted | TimeLimitExceeded>,
        Refused,
        Mqtt | TaskScope.TaskScope
      >
    >()
  })

  test("is spawned from callbacks as well", () => {
    const spawner = Effect.map(TaskScope.runtime<Mqtt>(scope), (spawn) => spawn(effect, "poll", { restart }))
    expect(spawner).type.toBe<
      Effect.Effect<Result.Result<Task.Task<number, "boom" | RestartExhausted>, Refused>, never, Mqtt>
    >()
  })

  test("has nothing more in its errors when it has none", () => {
    expect(Task.spawn(effect, "poll")).type.toBe<
      Effect.Effect<Task.Task<number, "boom">, Refused, Mqtt | TaskScope.TaskScope>
    >()
  })
})

describe("a policy", () => {
  test("decides on the errors of the task, on those of its limit and on defects", () => {
    Task.spawn(effect, "poll", {
      restart: Restart.permanent({
        decide: (failure) => {
          expect(failure).type.toBe<Cause.Fail<"boom" | TimeLimitExceeded> | Cause.Die>()
          return "giveUp"
        }
      })
    })
  })

  test("of other errors is refused", () => {
    const other = Restart.permanent<"other">({ decide: () => "restart" })
    expect(Task.spawn).type.not.toBeCallableWith(effect, "poll", { restart: other })
    expect(other).type.not.toBeAssignableTo<Restart.Restart>()
    expect<Restart.Restart>().type.toBeAssignableTo<Restart.Restart<"other">>()
  })

  test("has any schedule that takes the exit of a run, and fails with nothing", () => {
    expect(Restart.permanent).type.toBeCallableWith({ schedule: Schedule.exponential("1 second") })
    expect(Restart.permanent<"boom">).type.toBeCallableWith({
      schedule: Schedule.identity<Exit.Exit<unknown, "boom">>()
    })
    expect(Restart.permanent).type.not.toBeCallableWith({ schedule: Schedule.cron("* * * * *") })
  })

  test("has words for its choices, and no others", () => {
    expect(Restart.transient).type.toBeCallableWith({ onExhausted: Restart.coolDown({ pause: "1 hour" }) })
    expect(Restart.transient).type.not.toBeCallableWith({ onExhausted: "panic" })
    expect(Restart.transient).type.not.toBeCallableWith({ budget: "all" })
  })
})

describe("a group", () => {
  const needs = Supervisor.child("needs", effect)
  const needsNothing = Supervisor.child("needs-nothing", Effect.void)

  test("needs what its members need, and a scope", () => {
    expect(Supervisor.group([needs, needsNothing])).type.toBe<
      Effect.Effect<void, RestartExhausted | InvalidOption, Mqtt | TaskScope.TaskScope>
    >()
    expect(Supervisor.group([])).type.toBe<
      Effect.Effect<void, RestartExhausted | InvalidOption, TaskScope.TaskScope>
    >()
  })

  test("is a member of another one", () => {
    const inner = Supervisor.group([needs])
    expect(Supervisor.child("inner", inner)).type.toBe<Supervisor.Child<Mqtt | TaskScope.TaskScope>>()
  })

  test("takes policies for the errors of its members only", () => {
    expect(Supervisor.child).type.toBeCallableWith("a", effect, {
      restart: Restart.transient<"boom">({ decide: ({ _tag }) => _tag === "Die" ? "giveUp" : "restart" })
    })
    expect(Supervisor.child).type.not.toBeCallableWith("a", effect, {
      restart: Restart.transient<"other">({ decide: () => "giveUp" })
    })
  })

  test("has three strategies", () => {
    expect(Supervisor.group).type.toBeCallableWith([needs], { strategy: "restForOne" })
    expect(Supervisor.group).type.not.toBeCallableWith([needs], { strategy: "allForOne" })
  })
})

describe("a value that is told to be a policy", () => {
  const value: unknown = Restart.transient<"boom">({ decide: () => "giveUp" })
  const told = Restart.isRestart(value) ? value : undefined

  test("is not one for any error", () => {
    expect(told).type.toBe<Restart.Restart<never> | undefined>()
    expect(told).type.not.toBeAssignableTo<Restart.Restart | undefined>()
  })
})

describe("an app", () => {
  test("has a policy for whatever fails in it", () => {
    expect(App.layer).type.toBeCallableWith("a", Effect.void, { restart: Restart.permanent() })
    expect(App.layer).type.not.toBeCallableWith("a", Effect.void, {
      restart: Restart.permanent<"boom">({ decide: () => "giveUp" })
    })
  })
})
