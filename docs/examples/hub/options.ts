/**
 * What can be said on the command line.
 */
import { Duration, Option } from "effect"
import { Argument, Flag } from "effect/cli"
import { fileURLToPath } from "node:url"

const repository = fileURLToPath(new URL("../../..", import.meta.url))

/** Shorter ones would only burn time, and longer ones would look as if nothing happened. */
const range = { minimum: Duration.millis(100), maximum: Duration.days(1) }

const duration = (name: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("duration"),
    Flag.filterMap(
      (text) => Option.filter(Duration.fromInput(text as Duration.Input), Duration.between(range)),
      () =>
        `a duration from ${Duration.format(range.minimum)} to ${Duration.format(range.maximum)}, such as "2 seconds"`
    )
  )

export const options = {
  folder: Argument.String("folder").pipe(
    Argument.withMetavar("path"),
    Argument.withDescription("The folder to watch, this repository by default"),
    Argument.withDefault(repository)
  ),
  every: duration("every").pipe(
    Flag.withDescription("The time between two lines, \"2 seconds\" by default"),
    Flag.withDefault(Duration.seconds(2))
  ),
  duration: duration("for").pipe(
    Flag.withDescription("Stop after this time. Without it, the hub runs until it is told to stop"),
    Flag.optional
  ),
  flaky: Flag.Boolean("flaky").pipe(
    Flag.withDescription("Add an app whose source fails now and then"),
    Flag.withDefault(false)
  ),
  stubborn: Flag.Boolean("stubborn").pipe(
    Flag.withDescription("Add an app that refuses to stop"),
    Flag.withDefault(false)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("Print the report as JSON, and nothing else on stdout"),
    Flag.withDefault(false)
  )
}
