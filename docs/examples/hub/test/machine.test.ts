// @effect-diagnostics strictEffectProvide:off
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { CountersUnreadable, Machine } from "../machine.ts"

const texts: Record<string, string> = {
  "/proc/stat": "cpu 1 2 3 4\n",
  "/proc/meminfo": "MemTotal: 10 kB\nMemFree: 4 kB\n",
  "/proc/diskstats": "8 0 sda 9 9 2 9 9 9 4 9\n",
  "/proc/net/dev": "eth0: 1000 9 0 0 0 0 0 0 200 9\n"
}

/** A machine that has these files only. */
const machineWith = (files: Record<string, string>) =>
  Layer.provide(
    Machine.layer,
    FileSystem.layerNoop({
      exists: (path) => Effect.succeed(path in files),
      readFileString: (path) =>
        path in files ? Effect.succeed(files[path]!) : FileSystem.makeNoop({}).readFileString(path)
    })
  )

const read = Effect.flatMap(Machine, (machine) => machine.read)

describe("the counters of a machine", () => {
  it.effect("come from /proc where there is one", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* read, {
        cpu: { busy: 6, total: 10 },
        memory: { used: 6 * 1024, total: 10 * 1024 },
        disk: { read: 1024, written: 2048 },
        network: { read: 1000, written: 200 }
      })
    }).pipe(Effect.provide(machineWith(texts))))

  it.effect("come without disk and network where a container hides them", () => {
    const { "/proc/diskstats": _disk, "/proc/net/dev": _network, ...visible } = texts
    return Effect.gen(function*() {
      const { cpu, disk, network } = yield* read
      assert.deepStrictEqual({ cpu, disk, network }, {
        cpu: { busy: 6, total: 10 },
        disk: undefined,
        network: undefined
      })
    }).pipe(Effect.provide(machineWith(visible)))
  })

  it.effect("are a typed error when what must be there is not, or is not understood", () =>
    Effect.gen(function*() {
      for (const stat of [{}, { "/proc/stat": "who knows" }]) {
        const { "/proc/meminfo": _memory, ...others } = texts
        const error = yield* Effect.flip(read).pipe(Effect.provide(machineWith({ ...others, ...stat })))
        assert.instanceOf(error, CountersUnreadable)
      }
    }))

  it.effect("come from Node on other systems", () =>
    Effect.gen(function*() {
      const { cpu, disk, memory, network } = yield* read
      assert.isTrue(cpu.busy > 0 && cpu.busy < cpu.total)
      assert.isTrue(memory.used > 0 && memory.used < memory.total)
      assert.deepStrictEqual([disk, network], [undefined, undefined])
    }).pipe(Effect.provide(machineWith({}))))

  it.live("are there on this machine", () =>
    Effect.gen(function*() {
      const { cpu, memory } = yield* read
      assert.isTrue(cpu.busy > 0 && cpu.busy < cpu.total)
      assert.isTrue(memory.used > 0 && memory.used < memory.total)
    }).pipe(Effect.provide(Layer.provide(Machine.layer, NodeServices.layer))))
})
