/**
 * The app that ends the hub after a while.
 */
import { App, Host, Task } from "@ambit/core"
import { Duration, Effect } from "effect"

export const timer = (after: Duration.Duration) =>
  App.layer(
    "timer",
    Host.awaitReady.pipe(
      Effect.andThen(Effect.sleep(after)),
      Effect.andThen(Host.requestStop(`it has run for ${Duration.format(after)}`)),
      Task.spawn("wait")
    )
  )
