/**
 * Compares what spawning, closing and waiting cost in Ambit, in Effect and
 * elsewhere, and prints tables.
 *
 *   pnpm speed                    all sizes, some five minutes
 *   pnpm speed 1e3,1e5            some sizes
 *   pnpm speed 1e5 3              a size, and how many rounds
 */
import * as Effect from "effect/Effect"
import { cpus } from "node:os"
import { candidates } from "./candidates.ts"
import { runRounds } from "./rounds.ts"
import { renderTables } from "./table.ts"

/** How many rounds a size gets, so that all of them fit in a few minutes. */
const defaultRounds = (size: number): number => size < 1e4 ? 21 : size < 1e6 ? 5 : 2

const machine = (): string => {
  const cores = cpus()
  return `Node ${process.versions.node}, ${cores[0]?.model ?? "unknown processor"}, ${cores.length} cores`
}

const print = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n\n`))

const compare = (sizes: ReadonlyArray<number>, rounds: number | undefined) =>
  Effect.gen(function*() {
    yield* print(`# Speed\n\n${machine()}. Medians of interleaved rounds; ratios are what counts.`)
    for (const size of sizes) {
      const repetitions = rounds ?? defaultRounds(size)
      yield* print(renderTables(size, repetitions, yield* runRounds(candidates, size, repetitions)))
    }
  })

const [sizes = "1e3,1e5,1e6", rounds] = process.argv.slice(2)

if (globalThis.gc === undefined) {
  process.stderr.write("Run it as `node --expose-gc test/speed/main.ts`: it collects garbage between measurements\n")
  process.exitCode = 1
} else {
  await Effect.runPromise(compare(sizes.split(",").map(Number), rounds === undefined ? undefined : Number(rounds)))
}
