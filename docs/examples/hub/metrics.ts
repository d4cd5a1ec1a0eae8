/**
 * The app that knows what the machine does: it reads the counters every second
 * and keeps a minute of them.
 */
import { App, Task } from "@ambit/core"
import { Clock, Context, Duration, Effect, Layer, Ref, Schedule } from "effect"
import { Machine } from "./machine.ts"
import { addSample, type Sample, type Usage, usageOf, type Window } from "./usage.ts"

export class Metrics extends Context.Service<Metrics, {
  /** The usage of the last time, up to a minute. */
  readonly usage: (last: Duration.Input) => Effect.Effect<Usage>
}>()("@ambit/docs/examples/hub/metrics") {
  static readonly layer = App.layer("metrics", Layer.effect(Metrics, Effect.suspend(() => start)))
}

const start = Effect.gen(function*() {
  const machine = yield* Machine

  const sample = Effect.all([machine.read, Clock.monotonicTimeNanos]).pipe(
    Effect.map(([counters, nanos]): Sample => ({ ...counters, at: Number(nanos) / 1_000_000 }))
  )

  // A machine that tells nothing at all fails the start of the app.
  const window = yield* Ref.make<Window>([yield* sample])

  yield* sample.pipe(
    Effect.tapError((error) => Effect.logWarning(`${error.message}. Trying again`)),
    Effect.retry(backoff),
    Effect.flatMap((next) => Ref.update(window, (samples) => addSample(samples, next))),
    Effect.schedule(Schedule.spaced("1 second")),
    Task.spawn("sample")
  )

  return Metrics.of({
    usage: (last) => Effect.map(Ref.get(window), (samples) => usageOf(samples, Duration.toMillis(last)))
  })
})

/** 1, 2, 4 seconds and so on, and never more than half a minute. */
const backoff = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")])
