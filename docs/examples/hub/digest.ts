/**
 * The app that says how things are: every few seconds it reads the other two
 * and shows a line.
 */
import { App, Host, Task } from "@ambit/core"
import { Clock, type Duration, Effect, Schedule } from "effect"
import { Files } from "./files.ts"
import { digestLine } from "./line.ts"
import { Metrics } from "./metrics.ts"
import { Screen } from "./screen.ts"

export const digest = (every: Duration.Duration) =>
  App.layer(
    "digest",
    Effect.gen(function*() {
      const files = yield* Files
      const metrics = yield* Metrics
      const screen = yield* Screen

      const line = Effect.gen(function*() {
        return digestLine({
          now: yield* Clock.currentTimeMillis,
          usage: yield* metrics.usage(every),
          minute: yield* metrics.usage("1 minute"),
          files: yield* files.summary
        })
      })

      const print = yield* Effect.flatMap(line, screen.show).pipe(
        Effect.repeat(Schedule.fixed(every)),
        // Without a reader there is nothing left to do.
        Effect.catchTag("ScreenGone", (gone) => Host.requestStop(gone.message)),
        // And a hub that shows nothing, for whatever reason, helps nobody.
        Task.spawn("print", { onFailure: "stopHost" })
      )

      const lastLine = print.interrupt("the last line comes next").pipe(
        Effect.andThen(Effect.flatMap(line, screen.keep)),
        Effect.catchTag("ScreenGone", () => Effect.void)
      )
      yield* App.onStop("last-line", lastLine, { within: "1 second" })
    })
  )
