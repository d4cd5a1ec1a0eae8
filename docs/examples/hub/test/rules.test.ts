import { App, Host, Task } from "@ambit/core"
import { MainCalls, SyncApp } from "@ambit/node"
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Readings, Rules } from "../rules.ts"

it.live("the rules say once what is out of the ordinary, and once that it is over", () =>
  Effect.gen(function*() {
    const values = [{ cpu: 0.5, memory: 0.5 }, { cpu: 0.95, memory: 0.5 }, { cpu: 0.96, memory: 0.5 }, {
      cpu: 0.2,
      memory: 0.5
    }]
    const seen: Array<ReadonlyArray<string>> = []
    const rules = SyncApp.layer(Rules, { config: { limits: { cpu: 0.9, memory: 0.9 } } }).pipe(
      Layer.provide(MainCalls.layer(Readings, { lastMinute: () => Effect.sync(() => values[seen.length]!) }))
    )
    const looker = App.layer(
      "looker",
      Task.spawn(
        Effect.gen(function*() {
          while (seen.length < values.length) seen.push(yield* SyncApp.run(Rules, "look"))
        }),
        "look",
        { kind: "foreground", onFailure: "stopHost" }
      )
    )
    const report = yield* Host.launch(Layer.provideMerge(looker, rules), { stopWhenIdle: true })
    assert.deepStrictEqual(seen, [[], ["cpu has been at 95% for a minute"], [], ["cpu is back to 20%"]])
    assert.isTrue(report.clean)
  }))
