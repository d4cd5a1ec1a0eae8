/**
 * The examples of the page `guide/cross-threads.md`.
 */
import * as BlockingFunction from "@ambit/core/BlockingFunction"
import * as Thread from "@ambit/node/Thread"

export const Sensors = Thread.contract<{
  latest: (sensor: string) => number
  alarm: (text: string) => void
  watch: (sensor: string) => void
}>("sensors")

export const check = BlockingFunction.make(import.meta, "check", (sensor: string, limit: number): string => {
  const value = Thread.call(Sensors, "latest", sensor)
  return value > limit ? `${sensor} is at ${value}` : "fine"
})

export const guard = BlockingFunction.make(import.meta, "guard", (sensor: string): string => {
  Thread.post(Sensors, "alarm", `${sensor} is hot`)
  return Thread.spawn(Sensors, "watch", sensor)
})

export const diagnose = BlockingFunction.make(import.meta, "diagnose", (sensor: string): string => {
  try {
    return String(Thread.callWithin({ within: 20 }, Sensors, "latest", sensor))
  } catch (error) {
    return (error as Error).name
  }
})

export const scan = BlockingFunction.makeWithProgress(
  import.meta,
  "scan",
  (progress: BlockingFunction.Progress<number>, rows: number): string => {
    Thread.log("Info", "scan begins", { rows })
    for (let row = 0; row < rows; row++) progress(row / rows)
    return "scanned"
  }
)
