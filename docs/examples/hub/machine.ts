/**
 * The counters of this machine, read at one moment.
 */
import { Context, Effect, FileSystem, Layer, Schema } from "effect"
import * as os from "node:os"
import { type CpuTime, type Memory, parseCpu, parseDisks, parseMemory, parseNetwork, type Traffic } from "./procfs.ts"

/** All that grows only grows, so a rate is the difference of two readings. */
export interface Counters {
  readonly cpu: CpuTime
  readonly memory: Memory
  /** `undefined` where the system does not tell. */
  readonly disk: Traffic | undefined
  readonly network: Traffic | undefined
}

/** The system did not tell what it always should. */
export class CountersUnreadable
  extends Schema.TaggedError<CountersUnreadable>("@ambit/docs/examples/hub/machine/CountersUnreadable")(
    "CountersUnreadable",
    { source: Schema.String, problem: Schema.String }
  )
{
  override get message(): string {
    return `${this.source} cannot be read: ${this.problem}`
  }
}

/** Reads the counters. Tests provide a machine of their own. */
export class Machine extends Context.Service<Machine, {
  readonly read: Effect.Effect<Counters, CountersUnreadable>
}>()("@ambit/docs/examples/hub/machine") {
  static readonly layer = Layer.effect(
    Machine,
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const linux = yield* Effect.orElseSucceed(files.exists("/proc/stat"), () => false)
      return Machine.of({ read: linux ? fromProc(files) : fromNode })
    })
  )
}

const fromProc = (files: FileSystem.FileSystem): Effect.Effect<Counters, CountersUnreadable> => {
  const needed = <A>(source: string, parse: (text: string) => A | undefined) =>
    files.readFileString(source).pipe(
      Effect.mapError((error) => new CountersUnreadable({ source, problem: error.message })),
      Effect.flatMap((text) => {
        const parsed = parse(text)
        return parsed === undefined
          ? Effect.fail(new CountersUnreadable({ source, problem: "it has an unknown format" }))
          : Effect.succeed(parsed)
      })
    )
  // Containers often hide these two.
  const wanted = <A>(source: string, parse: (text: string) => A | undefined) =>
    Effect.orElseSucceed(needed(source, parse), () => undefined)

  return Effect.all({
    cpu: needed("/proc/stat", parseCpu),
    memory: needed("/proc/meminfo", parseMemory),
    disk: wanted("/proc/diskstats", parseDisks),
    network: wanted("/proc/net/dev", parseNetwork)
  }, { concurrency: "unbounded" })
}

const fromNode: Effect.Effect<Counters> = Effect.sync(() => {
  const times = os.cpus().map(({ times }) => times)
  const total = times.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0)
  const idle = times.reduce((sum, { idle }) => sum + idle, 0)
  return {
    cpu: { busy: total - idle, total },
    memory: { used: os.totalmem() - os.freemem(), total: os.totalmem() },
    disk: undefined,
    network: undefined
  }
})
