/**
 * The app that keeps a journal: it listens to what the others say, whoever they
 * are, and shows at each full minute what has happened since the last one.
 */
import { App, Bus, Host, Job, Task } from "@ambit/core"
import { DateTime, Effect, Stream } from "effect"
import { count } from "./format.ts"
import { Screen } from "./screen.ts"
import type { Reading } from "./sensor.ts"
import { Changes, Temperatures } from "./topics.ts"

const everyFullMinute = "* * * * *"

/** Numbers only, so it is as small after a day as at the begin. */
interface Page {
  changes: number
  readings: number
  /** That of the last reading. */
  celsius: number | undefined
  /** How often what was started again, by path. */
  readonly restarts: Map<string, number>
}

const emptyPage = (): Page => ({ changes: 0, readings: 0, celsius: undefined, restarts: new Map() })

/** A part for each kind of thing that has happened. */
const partsOf = ({ celsius, changes, readings, restarts }: Page): ReadonlyArray<string> => [
  ...(changes === 0 ? [] : [count(changes, "change")]),
  ...(celsius === undefined ? [] : [`${count(readings, "reading")}, the last ${celsius.toFixed(1)} °C`]),
  ...[...restarts].map(([path, times]) => `${count(times, "restart")} of ${path}`)
]

export const journal = App.layer(
  "journal",
  Effect.gen(function*() {
    const screen = yield* Screen
    let page = emptyPage()

    const countChange = Job.callback("count-change", () => {
      page.changes++
    })
    const keepReading = Job.callback("keep-reading", ({ celsius }: Reading) => {
      page.readings++
      page.celsius = celsius
    })
    yield* Bus.on(Changes, countChange)
    yield* Bus.on(Temperatures, keepReading)

    yield* Host.events.pipe(
      Stream.filter(({ _tag }) => _tag === "Restarting" || _tag === "AppRestarting"),
      Stream.runForEach(({ path }) => Effect.sync(() => page.restarts.set(path, (page.restarts.get(path) ?? 0) + 1))),
      Task.spawn("count-restarts")
    )

    const turnPage = Effect.gen(function*() {
      const parts = partsOf(page)
      page = emptyPage()
      // Who looks at the screen the next morning wants to see the minutes in which something happened.
      if (parts.length === 0) return
      const time = DateTime.formatLocal(yield* DateTime.now, { locale: "en-GB", timeStyle: "short" })
      yield* screen.keep([time, ...parts].join(" | "))
    })
    yield* turnPage.pipe(
      Effect.catchTag("ScreenGone", (gone) => Host.requestStop(gone.message)),
      Task.cron("turn-page", everyFullMinute)
    )
  })
)
