/**
 * Three apps with 10,000 idle tasks, and how long their host takes to stop.
 */
import * as App from "@ambit/core/App"
import * as Host from "@ambit/core/Host"
import * as Task from "@ambit/core/Task"
import * as NodeHost from "@ambit/node/NodeHost"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const tasks = 3334

const idle = (name: string) =>
  App.layer(
    name,
    Effect.forEach(Array.from({ length: tasks }, (_, index) => index), () => Task.spawn(Effect.never, "idle"))
  )

let began = 0
const stop = App.layer(
  "stop",
  Task.spawn(
    Effect.gen(function*() {
      yield* Host.awaitReady
      began = performance.now()
      yield* Host.requestStop("measured")
    }),
    "stop"
  )
)

NodeHost.runMain(Layer.mergeAll(idle("a"), idle("b"), idle("c"), stop), {
  onReport: () => Effect.sync(() => process.stdout.write(`stopped ${performance.now() - began}\n`))
})
