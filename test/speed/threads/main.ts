/**
 * Compares Ambit's threads with other pools, and prints tables.
 *
 *   pnpm speed:threads                 all parts, some six minutes
 *   pnpm speed:threads calls,mix       some parts
 *   pnpm speed:threads calls 3         a part, and how many rounds
 *
 * With `taskset -c 0` before it everything shares one core. That shows what the
 * code costs; on several cores most of a call is the waking of a thread.
 */
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { cpus } from "node:os"
import { affinity } from "./affinity.ts"
import { ask } from "./parts/ask.ts"
import { calls } from "./parts/calls.ts"
import { interrupt } from "./parts/interrupt.ts"
import { mix } from "./parts/mix.ts"
import type { Part } from "./parts/part.ts"
import { payloads } from "./parts/payloads.ts"
import { start } from "./parts/start.ts"

const parts: Readonly<Record<string, Part>> = { calls, payloads, mix, ask, interrupt, start }

const print = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n\n`))

const compare = (names: ReadonlyArray<string>, rounds: number | undefined) =>
  Effect.gen(function*() {
    const machine = `Node ${process.versions.node}, ${cpus()[0]?.model ?? "unknown processor"}, ${affinity()}`
    yield* print(`# Speed of threads\n\n${machine}. Medians of interleaved rounds; ratios are what counts.`)
    for (const name of names) {
      const part = parts[name]!
      const repetitions = rounds ?? part.rounds
      yield* print(`## ${name}, ${repetitions} ${repetitions === 1 ? "round" : "rounds"}`)
      for (const table of yield* part.run(repetitions)) yield* print(table)
    }
    // Some leave timers or threads behind.
    process.exit()
  })

const [asked = Object.keys(parts).join(), rounds] = process.argv.slice(2)
const names = asked.split(",")
const unknown = names.find((name) => !(name in parts))

if (globalThis.gc === undefined || unknown !== undefined) {
  const problem = unknown === undefined
    ? "it collects garbage between measurements"
    : `there is no part ${unknown}, only ${Object.keys(parts).join()}`
  process.stderr.write(`Run it as \`node --expose-gc test/speed/threads/main.ts [parts] [rounds]\`: ${problem}\n`)
  process.exitCode = 1
} else {
  // Pools warn when they are full, and when they end a thread: that is what is asked of them here.
  await Effect.runPromise(
    Effect.provideService(
      compare(names, rounds === undefined ? undefined : Number(rounds)),
      References.MinimumLogLevel,
      "None"
    )
  )
}
