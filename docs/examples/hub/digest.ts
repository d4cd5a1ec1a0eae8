/**
 * The app that says how things are: every few seconds it reads the other two
 * and shows a line.
 */
import { App, Host, Task } from "@ambit/core"
import { Clock, Duration, Effect } from "effect"
import { Files, type FilesSummary } from "./files.ts"
import { digestLine } from "./line.ts"
import { Metrics } from "./metrics.ts"
import { Screen } from "./screen.ts"

/** A bar that moves once in two seconds looks as if it were stuck. */
const frame = Duration.millis(200)

export const digest = (every: Duration.Duration) =>
  App.layer(
    "digest",
    Effect.gen(function*() {
      const files = yield* Files
      const metrics = yield* Metrics
      const screen = yield* Screen

      const lineOf = Effect.fnUntraced(function*(summary: FilesSummary) {
        return digestLine({
          now: yield* Clock.currentTimeMillis,
          usage: yield* metrics.usage(every),
          minute: yield* metrics.usage("1 minute"),
          files: summary,
          live: screen.live
        })
      })

      const show = Effect.gen(function*() {
        const summary = yield* files.summary
        yield* Effect.flatMap(lineOf(summary), screen.show)
        const grows = screen.live && (summary.walking || summary.hashing !== undefined)
        yield* Effect.sleep(grows ? Duration.min(every, frame) : every)
      })

      const print = yield* Effect.forever(show).pipe(
        // Without a reader there is nothing left to do.
        Effect.catchTag("ScreenGone", (gone) => Host.requestStop(gone.message)),
        // And a hub that shows nothing, for whatever reason, helps nobody.
        Task.spawn("print", { onFailure: "stopHost" })
      )

      const lastLine = print.interrupt("the last line comes next").pipe(
        Effect.andThen(Effect.flatMap(files.summary, lineOf)),
        Effect.flatMap(screen.keep),
        Effect.catchTag("ScreenGone", () => Effect.void)
      )
      yield* App.onStop("last-line", lastLine, { within: "1 second" })
    })
  )
