/**
 * A thermometer that is far away, and how it fails.
 */
import { Context, Effect, Layer, Random, Schema, Stream } from "effect"

export const Reading = Schema.Struct({ celsius: Schema.Finite })
export type Reading = typeof Reading.Type

/** The connection is broken. The next one may do better. */
export class SensorLost
  extends Schema.TaggedError<SensorLost>("@ambit/docs/examples/hub/sensor/SensorLost")("SensorLost", {})
{
  override get message(): string {
    return "the connection to the sensor is broken"
  }
}

/** Somebody has to go there, so no further connection does better. */
export class BatteryEmpty
  extends Schema.TaggedError<BatteryEmpty>("@ambit/docs/examples/hub/sensor/BatteryEmpty")("BatteryEmpty", {})
{
  override get message(): string {
    return "the battery of the sensor is empty"
  }
}

/** Reads the thermometer. Tests provide one of their own. */
export class Sensor extends Context.Service<Sensor, {
  /** Connects, and gives a reading a second until the connection ends. */
  readonly readings: Stream.Stream<Reading, SensorLost | BatteryEmpty>
}>()("@ambit/docs/examples/hub/sensor") {
  /** No thermometer at all, but as unreliable as one: a connection breaks when chance wants it. */
  static readonly simulated = Layer.sync(Sensor, () => {
    let charge = readingsOfABattery
    const read = Effect.gen(function*() {
      yield* Effect.sleep("1 second")
      if (charge === 0) return yield* new BatteryEmpty()
      if ((yield* Random.next) < breaks) return yield* new SensorLost()
      charge--
      return { celsius: 20 + 2 * (yield* Random.next) }
    })
    return Sensor.of({ readings: Stream.fromEffectRepeat(read) })
  })
}

/** Long enough to see connections break, and short enough to see the end. */
const readingsOfABattery = 30

/** The chance that a connection breaks instead of giving a reading. */
const breaks = 0.3
