/**
 * An empty host that says how long after the begin of the process it is ready.
 */
import * as Host from "@ambit/core/Host"
import * as NodeHost from "@ambit/node/NodeHost"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const said = Effect.gen(function*() {
  yield* Host.awaitReady
  yield* Effect.sync(() => process.stdout.write(`ready ${performance.now()}\n`))
  yield* Host.requestStop("measured")
})

NodeHost.runMain(Layer.effectDiscard(Effect.forkScoped(said)))
