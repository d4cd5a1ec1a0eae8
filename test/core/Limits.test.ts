import { App, Host, InvalidOption, Limits, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { makeRecorder } from "../support/recorder.ts"

const refused = (options: Limits.LimitOptions): string => {
  const result = Limits.resolve(options)
  assert.isTrue(Result.isFailure(result))
  assert.instanceOf((result as Result.Failure<Limits.Limits, InvalidOption>).failure, InvalidOption)
  return (result as Result.Failure<Limits.Limits, InvalidOption>).failure.message
}

describe("limits", () => {
  it("have documented defaults (U1)", () => {
    assert.deepStrictEqual(Limits.defaults, {
      hostStop: 30_000,
      announce: 2000,
      appStart: 20_000,
      appStop: 10_000,
      hookStop: 5000,
      drain: 2000,
      taskStop: 5000,
      finalWrite: 3000,
      closing: 1000,
      extension: undefined
    })
  })

  it("that cannot hold together are refused with both values (U2)", () => {
    assert.strictEqual(
      refused({ hostStop: "5 seconds", appStop: "6 seconds" }),
      "appStop is \"6 seconds\": it does not fit into hostStop, which is 5.0 s. Lower the one or raise the other."
    )
    for (const inner of ["hookStop", "drain", "taskStop"] as const) {
      assert.match(
        refused({ appStop: "1 second", [inner]: "2 seconds" }),
        new RegExp(`^${inner} is .* appStop, which is 1\\.0 s`)
      )
    }
  })

  it("of phases that come one after the other must fit into the host together (U2, Q6)", () => {
    assert.strictEqual(
      refused({ hostStop: "10 seconds", announce: "2 seconds", appStop: "7 seconds", finalWrite: "2 seconds" }),
      "announce (2.0 s) + appStop (7.0 s) + finalWrite (2.0 s) is \"11.0 s\": together they do not fit into hostStop, " +
        "which is 10.0 s. Lower some of them or raise the other."
    )
    assert.isTrue(
      Result.isSuccess(Limits.resolve({ hostStop: "10 seconds", announce: "2 seconds", appStop: "8 seconds" }))
    )
  })

  it("of zero, below zero, not a number, without end or of no sense are refused (U3)", () => {
    const names = Object.keys(Limits.defaults) as Array<keyof Limits.Limits>
    for (const name of names) {
      for (const value of [0, -5, Number.NaN, "Infinity", "soon", null] as Array<never>) {
        assert.match(refused({ [name]: value }), new RegExp(`^${name} is `))
      }
    }
  })

  it("for the start, the drain and the extension can be switched off (U3)", () => {
    const limits = Result.getOrThrow(Limits.resolve({ appStart: "none", drain: "none", extension: "none" }))
    assert.isUndefined(limits.extension)
    assert.isUndefined(limits.appStart)
    assert.isUndefined(limits.drain)
  })

  it("that are not set follow the shorter limit around them (U5)", () => {
    assert.deepStrictEqual(Result.getOrThrow(Limits.resolve({ hostStop: "1 second" })), {
      hostStop: 1000,
      announce: 100,
      appStart: 20_000,
      appStop: 1000,
      hookStop: 1000,
      drain: 1000,
      taskStop: 1000,
      finalWrite: 100,
      closing: 100,
      extension: undefined
    })
  })

  it.effect("set by a layer hold for everything below, and options win over them", () =>
    Effect.gen(function*() {
      const scope = yield* TaskScope.make("one")
      const own = yield* TaskScope.make("two", { stopWithin: "1 second" })
      assert.deepStrictEqual([scope.stopWithin, own.stopWithin], [3000, 1000])
      const report = yield* Host.launch(App.layer("a", Task.spawn(Effect.void, "hello")), { stopWhenIdle: true })
      assert.deepStrictEqual([report.budget, report.apps[0]!.budget], [20_000, 4000])
    }).pipe(
      Effect.provide(Limits.layer({ hostStop: "20 seconds", appStop: "4 seconds", taskStop: "3 seconds" })),
      Effect.provide(makeRecorder().layer)
    ))

  const fromEnv = (env: Record<string, string>, options?: Limits.LimitOptions) =>
    Effect.acquireUseRelease(
      Effect.sync(() => Object.assign(process.env, env)),
      () => Effect.provide(Limits.Limits, Limits.layerFromEnv(options)),
      () => Effect.sync(() => Object.keys(env).forEach((name) => delete process.env[name]))
    )

  it.effect("come from environment variables, which win over the options of the program", () =>
    Effect.gen(function*() {
      const limits = yield* fromEnv(
        { AMBIT_HOST_STOP: "20 seconds", AMBIT_APP_START: "none", AMBIT_TASK_STOP: "1 second" },
        { hostStop: "25 seconds", appStop: "8 seconds" }
      )
      assert.deepStrictEqual(limits, {
        hostStop: 20_000,
        announce: 2000,
        appStart: undefined,
        appStop: 8000,
        hookStop: 5000,
        drain: 2000,
        taskStop: 1000,
        finalWrite: 2000,
        closing: 1000,
        extension: undefined
      })
    }))

  it.effect("from the environment are refused when they make no sense or do not fit", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(fromEnv({ AMBIT_APP_STOP: "soon" })))._tag, "ConfigError")
      assert.strictEqual((yield* Effect.flip(fromEnv({ AMBIT_APP_STOP: "1 minute" })))._tag, "InvalidOption")
      assert.strictEqual((yield* Effect.flip(fromEnv({ AMBIT_DRAIN: "0 seconds" })))._tag, "InvalidOption")
    }))
})
