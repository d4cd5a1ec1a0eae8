import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { stubborn } from "../stubborn.ts"

describe("the stubborn app", () => {
  it.effect("holds the stop of a host for two seconds, and is named with the place where it is stuck", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(stubborn, { name: "hub", stopWithin: "5 seconds" })
      const report = yield* host.stop
      assert.strictEqual(report.took, 2000)
      assert.isFalse(report.clean)
      const [stuck, ...others] = report.tasks.filter((task) => task.outcome === "abandoned")
      assert.strictEqual(stuck?.path, "hub/stubborn/sulk")
      assert.match(stuck?.place ?? "", /^refuseToStop \(.*stubborn\.ts:\d+:\d+\)$/)
      assert.deepStrictEqual(others, [])
      yield* host.expectLeak("stubborn/sulk")
    }))
})
