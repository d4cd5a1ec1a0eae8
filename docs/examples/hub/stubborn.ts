/**
 * An app that cannot be stopped, to see what a bounded stop looks like.
 */
import { App, Task } from "@ambit/core"
import { Effect } from "effect"

// Inside an `Effect.fn`, so that the report can name the place: function, file and line.
const refuseToStop = Effect.fn("refuseToStop")(function*() {
  return yield* Effect.uninterruptible(Effect.never)
})

export const stubborn = App.layer("stubborn", Task.spawn(refuseToStop(), "sulk"), { taskStopWithin: "2 seconds" })
