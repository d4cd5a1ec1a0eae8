import { App, Host, InvalidOption, Limits, Shutdown, Task, TaskScope } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { launch } from "../support/launch.ts"
import { linesAt, makeRecorder } from "../support/recorder.ts"

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
      extension: undefined,
      run: undefined
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

  it("of phases that leave nothing for the apps are refused, and those that are not set follow what is left (U2, U5)", () => {
    assert.strictEqual(
      refused({ hostStop: "10 seconds", announce: "2 seconds", finalWrite: "8 seconds" }),
      "announce (2.0 s) + finalWrite (8.0 s) is \"10.0 s\": together they leave nothing for the apps of hostStop, " +
        "which is 10.0 s. Lower some of them or raise the other."
    )
    assert.match(refused({ finalWrite: "30 seconds" }), /^finalWrite \(30\.0 s\) is "30\.0 s": together they leave/)
    assert.deepInclude(Result.getOrThrow(Limits.resolve({ finalWrite: "28 seconds" })), {
      announce: 200,
      finalWrite: 28_000,
      closing: 200
    })
  })

  it("of zero, below zero, not a number, without end or of no sense are refused (U3)", () => {
    const names = Object.keys(Limits.defaults) as Array<keyof Limits.Limits>
    for (const name of names) {
      for (const value of [0, -5, Number.NaN, "Infinity", "soon", null] as Array<never>) {
        assert.match(refused({ [name]: value }), new RegExp(`^${name} is `))
      }
    }
  })

  it("for the start, the drain, the extension and a run can be switched off (U3)", () => {
    const limits = Result.getOrThrow(
      Limits.resolve({ appStart: "none", drain: "none", extension: "none", run: "none" })
    )
    assert.isUndefined(limits.run)
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
      extension: undefined,
      run: undefined
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

  it.effect("of phases that are set by a layer hold in hosts and apps below, and in a shorter host have their share", () =>
    Effect.gen(function*() {
      const limitsOf = (options: Host.HostOptions, app: App.AppOptions) =>
        Effect.gen(function*() {
          const host = yield* launch(
            App.layer(
              "a",
              Shutdown.on("finalWrite", "save", Effect.void, {
                within: options.stopWithin === undefined ? "12 seconds" : "4 seconds"
              }),
              app
            ),
            options
          )
          yield* host.stop
          assert.deepStrictEqual(host.reports[0]!.hooks.map((hook) => hook.outcome), ["completed"])
          const { announce, closing, finalWrite } = host.control.limits
          return [announce, finalWrite, closing]
        })
      assert.deepStrictEqual(yield* limitsOf({}, {}), [1000, 12_000, 500])
      assert.deepStrictEqual(yield* limitsOf({}, { stopWithin: "5 seconds" }), [1000, 12_000, 500])
      assert.deepStrictEqual(yield* limitsOf({ stopWithin: "10 seconds" }, {}), [1000, 4000, 500])
      assert.deepStrictEqual(yield* limitsOf({ stopWithin: "60 seconds" }, {}), [1000, 12_000, 500])
    }).pipe(
      Effect.provide(Limits.layer({ announce: "1 second", finalWrite: "12 seconds", closing: "500 millis" })),
      Effect.provide(makeRecorder().layer)
    ))

  it.effect("of apps that stop one after the other, and do not fit into what the host has for them, are said (Q6)", () => {
    const chain = (...limits: ReadonlyArray<readonly [name: string, stopWithin: Duration.Input | undefined]>) =>
      limits
        .map(([name, stopWithin]) =>
          App.layer(
            name,
            Layer.effect(Context.Service<string>(`test/core/Limits/${name}`))(
              Effect.as(Shutdown.on("finalWrite", "save", Effect.void), name)
            ),
            { stopWithin }
          )
        )
        .reduce((below, app) => Layer.provide(app, below))
    const said = (apps: Layer.Layer<never, unknown, Host.Host>, options?: Host.HostOptions) => {
      const recorder = makeRecorder()
      return Effect.gen(function*() {
        const host = yield* launch(apps, options)
        yield* host.stop
        return linesAt(recorder.records, "Warn")
      }).pipe(Effect.provide(recorder.layer))
    }
    return Effect.gen(function*() {
      assert.deepStrictEqual(yield* said(chain(["db", "10 seconds"], ["api", "9 seconds"], ["web", "9 seconds"])), [
        "The stops of hub/web → hub/api → hub/db come one after the other and may take 28.0 s, and hub has 27.0 s of its " +
        "30.0 s for them. Lower their stopWithin or raise that of the host"
      ])
      assert.deepStrictEqual(yield* said(chain(["db", "10 seconds"], ["api", "8 seconds"], ["web", "9 seconds"])), [])
      // Only limits that somebody has set: the others follow what is left.
      assert.deepStrictEqual(yield* said(chain(["db", "20 seconds"], ["api", undefined], ["web", undefined])), [])
      assert.deepStrictEqual(
        yield* said(Layer.mergeAll(
          App.layer("a", Effect.void, { stopWithin: "20 seconds" }),
          App.layer("b", Effect.void, { stopWithin: "20 seconds" })
        )),
        []
      )
      assert.match(
        (yield* said(chain(["db", "3 seconds"], ["web", "3 seconds"]), { stopWithin: "5 seconds" }))[0]!,
        /may take 6\.0 s, and hub has 4\.5 s of its 5\.0 s for them/
      )
    })
  })

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
        extension: undefined,
        run: undefined
      })
    }))

  it.effect("of the phases and for more time come from environment variables, too", () =>
    Effect.gen(function*() {
      const limits = yield* fromEnv(
        {
          AMBIT_ANNOUNCE: "1 second",
          AMBIT_FINAL_WRITE: "6 seconds",
          AMBIT_CLOSING: "500 millis",
          AMBIT_EXTENSION: "1 minute",
          AMBIT_HOOK_STOP: "4 seconds"
        },
        { extension: "none", closing: "2 seconds" }
      )
      assert.deepInclude(limits, {
        announce: 1000,
        finalWrite: 6000,
        closing: 500,
        extension: 60_000,
        hookStop: 4000
      })
      assert.isUndefined((yield* fromEnv({ AMBIT_EXTENSION: "none" }, { extension: "1 minute" })).extension)
      for (const name of ["ANNOUNCE", "FINAL_WRITE", "CLOSING", "EXTENSION"]) {
        assert.strictEqual((yield* Effect.flip(fromEnv({ [`AMBIT_${name}`]: "soon" })))._tag, "ConfigError")
        assert.strictEqual((yield* Effect.flip(fromEnv({ [`AMBIT_${name}`]: "0 seconds" })))._tag, "InvalidOption")
      }
      const together = fromEnv({ AMBIT_FINAL_WRITE: "25 seconds" }, { appStop: "8 seconds" })
      assert.match((yield* Effect.flip(together)).message, /appStop \(8\.0 s\) \+ finalWrite \(25\.0 s\)/)
    }))

  it.effect("from the environment are refused when they make no sense or do not fit", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(fromEnv({ AMBIT_APP_STOP: "soon" })))._tag, "ConfigError")
      assert.strictEqual((yield* Effect.flip(fromEnv({ AMBIT_APP_STOP: "1 minute" })))._tag, "InvalidOption")
      assert.strictEqual((yield* Effect.flip(fromEnv({ AMBIT_DRAIN: "0 seconds" })))._tag, "InvalidOption")
    }))
})
