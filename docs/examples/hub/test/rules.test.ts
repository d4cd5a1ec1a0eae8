import { MainCalls, SyncApp } from "@ambit/node"
import { TestHost } from "@ambit/vitest"
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Readings, Rules } from "../rules.ts"

it.live("the rules say once what is out of the ordinary, and once that it is over", () =>
  Effect.gen(function*() {
    const cpu = [0.5, 0.95, 0.96, 0.2]
    const seen: Array<ReadonlyArray<string>> = []
    const rules = SyncApp.layer(Rules, { config: { limits: { cpu: 0.9, memory: 0.9 } } }).pipe(
      Layer.provide(
        MainCalls.layer(Readings, { lastMinute: () => Effect.sync(() => ({ cpu: cpu[seen.length]!, memory: 0.5 })) })
      )
    )
    const host = yield* TestHost.launch(rules)
    while (seen.length < cpu.length) seen.push(yield* host.run(SyncApp.run(Rules, "look")))
    assert.deepStrictEqual(seen, [[], ["cpu has been at 95% for a minute"], [], ["cpu is back to 20%"]])
    assert.isTrue((yield* host.stop).clean)
  }))
