import { Blocking, Task, TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { expect, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as functions from "../fixtures/functions.ts"
import { gate, reaches, set } from "../support/gate.ts"

layer(BlockingPool.layer({ threads: 2, saturation: "none" }), { excludeTestServices: true })(
  "tasks of one name on threads",
  (it) => {
    it.effect("a replacement begins when the thread of the old one is free", () =>
      Effect.gen(function*() {
        const [one, two] = [gate(), gate()]
        const hold = (at: Int32Array) =>
          Task.spawn(Blocking.run(functions.hold, at), "hold", { onDuplicate: "replace" })
        yield* hold(one)
        yield* reaches(one, 0, 1)
        const next = yield* hold(two)
        expect(next.status._tag).toBe("Pending")
        expect(two[0]).toBe(0)
        set(one, 1, 1)
        yield* reaches(two, 0, 1)
        set(two, 1, 1)
        yield* next.join
      }).pipe(Effect.provide(TaskScope.layer("app"))))
  }
)
