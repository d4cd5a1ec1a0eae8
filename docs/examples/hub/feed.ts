/**
 * The app that lives with a source that fails: it publishes what the sensor
 * gives. A failure climbs from the task to the app, and no further.
 */
import { App, Bus, Restart, Task } from "@ambit/core"
import { Schedule, Stream } from "effect"
import { type BatteryEmpty, Sensor, type SensorLost } from "./sensor.ts"
import { Temperatures } from "./topics.ts"

/** The task: a broken connection is made again after 1, 2, 4 and 8 seconds. Then it is for the app to begin afresh. */
const reconnect = Restart.permanent<SensorLost | BatteryEmpty>({
  schedule: Schedule.exponential("1 second"),
  healthyAfter: "10 seconds",
  budget: { restarts: 4, within: "1 minute" },
  onExhausted: "stopApp",
  // No further connection fills a battery.
  decide: (failure) => failure._tag === "Fail" && failure.error._tag === "BatteryEmpty" ? "giveUp" : "restart"
})

/** The app: three times, unless it works for a minute. Then it stays down: without a thermometer a hub is still a hub. */
const beginAfresh = Restart.permanent({
  schedule: Schedule.spaced("15 seconds"),
  budget: { restarts: 3, within: "10 minutes" },
  onExhausted: "giveUp"
})

export const feed = App.layer(
  "feed",
  Sensor.use(({ readings }) =>
    readings.pipe(
      Stream.runForEach((reading) => Bus.publish(Temperatures, reading)),
      Task.spawn("read", { restart: reconnect })
    )
  ),
  { restart: beginAfresh }
)
