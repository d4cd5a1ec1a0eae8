/**
 * The same module with a blocking function, wherever such modules are used.
 */
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { rolldown } from "rolldown"
import { childApp } from "../support/childApp.ts"
import { compiled, install } from "../support/installed.ts"

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const places = at("../fixtures/places/")

const temporary = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "ambit-places-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

/** Runs a program and gives what it says. */
const said = (...args: ReadonlyArray<string>) => saidTo(undefined, ...args)

const saidTo = (input: string | undefined, ...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const child = yield* childApp(args, { within: 60_000, input })
    const { code, stderr, stdout } = yield* child.end
    expect(stderr).toBe("")
    expect(code).toBe(0)
    return stdout
  })

const limit = 90_000

it.live("runs as TypeScript", () =>
  Effect.gen(function*() {
    expect(yield* said(join(places, "main.ts"))).toBe("42 on a thread\n")
  }), limit)

// Threads get the flags of the program, and so what these say about its text.
const program = `import(${JSON.stringify(pathToFileURL(join(places, "main.ts")).href)})`
const text = (...flags: ReadonlyArray<string>) => said(...flags, "--eval", program)

it.live.each<[string, ReadonlyArray<string>]>([
  ["of no said kind", []],
  ["that is a module", ["--input-type=module"]],
  ["that is a script", ["--input-type=commonjs"]],
  ["that is a module in TypeScript", ["--input-type=module-typescript"]]
])("runs in a program that Node is given as a text %s", ([, flags]) =>
  Effect.gen(function*() {
    expect(yield* text(...flags)).toBe("42 on a thread\n")
  }), limit)

it.live.each<[ReadonlyArray<string>]>([[[]], [["--input-type=module"]], [["--input-type=module", "-"]]])(
  "runs in a program that Node reads from its input, with the flags %s",
  ([flags]) =>
    Effect.gen(function*() {
      expect(yield* saidTo(program, ...flags)).toBe("42 on a thread\n")
    }),
  limit
)

it.live.each(["--print", "-p"])(
  "runs in a program whose value Node prints (%s), and threads print none",
  (flag) =>
    Effect.gen(function*() {
      const output = yield* said(flag, `${program};"a value"`)
      expect(output.trim().split("\n").toSorted()).toEqual(["42 on a thread", "a value"])
    }),
  limit
)

it.live("runs in a test of Node's own runner, in a process of its own or not", () =>
  Effect.gen(function*() {
    for (const isolation of ["process", "none"]) {
      const output = yield* said("--test", `--test-isolation=${isolation}`, join(places, "main.ts"))
      expect(output).toContain("42 on a thread")
      expect(output).toContain("pass 1")
    }
  }), limit)

it.live.each(["--import", "--require"])(
  "what Node loads first (%s) is loaded by each thread as well",
  (flag) =>
    Effect.gen(function*() {
      const output = yield* text("--input-type=module", `${flag}=${join(places, "preload.cjs")}`)
      expect(output.trim().split("\n").toSorted()).toEqual(["42 on a thread", "loaded first", "loaded first"])
    }),
  limit
)

it.live(
  "in a process that may have no threads fails the start of the pool, with the reason of Node",
  () =>
    Effect.gen(function*() {
      const child = yield* childApp(["--permission", "--allow-fs-read=*", join(places, "main.ts")], { within: 60_000 })
      const { stderr } = yield* child.end
      expect(stderr).toContain("@ambit/node/PoolStartFailed: No thread of pool blocking starts: Access to this API")
      expect(stderr).toContain("--allow-worker")
    }).pipe(Effect.scoped),
  limit
)

it.live("runs compiled, with the packages as they are published", () =>
  Effect.gen(function*() {
    const folder = yield* temporary
    yield* said(at("../../node_modules/typescript/bin/tsc"), "-b", compiled)
    yield* Effect.promise(() => install(folder, [join(places, "main.ts"), join(places, "double.ts")]))
    expect(yield* said(join(folder, "main.js"))).toBe("42 on a thread\n")
  }).pipe(Effect.scoped), limit)

it.live("a host runs compiled, and ends on a signal with its exit code", () =>
  Effect.gen(function*() {
    const folder = yield* temporary
    yield* said(at("../../node_modules/typescript/bin/tsc"), "-b", compiled)
    yield* Effect.promise(() => install(folder, [at("../fixtures/hosts/greeter.ts")]))
    const host = yield* childApp([join(folder, "greeter.js")])
    yield* host.waitFor("hub is ready with 1 app")
    yield* host.send("SIGTERM")
    const { code, stdout } = yield* host.end
    expect(code).toBe(143)
    expect(stdout).toContain("hub stopped cleanly")
  }).pipe(Effect.scoped), limit)

it.live("runs bundled, with the module and the code of threads as inputs of their own", () =>
  Effect.gen(function*() {
    const folder = yield* temporary
    yield* Effect.promise(async () => {
      const bundle = await rolldown({
        cwd: places,
        platform: "node",
        logLevel: "silent",
        input: { main: "./main.ts", double: "./double.ts", threadMain: "@ambit/node/threadMain" }
      })
      await bundle.write({ dir: folder, format: "esm" })
      await bundle.close()
      await writeFile(join(folder, "package.json"), "{\"type\":\"module\"}")
    })
    expect(yield* said(join(folder, "main.js"))).toBe("42 on a thread\n")
  }).pipe(Effect.scoped), limit)

it.live(
  "that is also the program starts no threads from a thread, and says what is wrong",
  () =>
    Effect.gen(function*() {
      const output = yield* said(join(places, "folded.ts"))
      expect(output).toContain("this is a thread of a pool already")
      expect(output).toContain("42\n")
    }).pipe(Effect.scoped),
  limit
)

it.live.each(["forks", "threads", "vmForks", "vmThreads"])(
  "runs in the %s pool of Vitest",
  (pool) =>
    Effect.gen(function*() {
      const child = yield* childApp(
        [
          at("../../node_modules/vitest/vitest.mjs"),
          "run",
          "--config",
          join(places, "vitest.config.ts"),
          `--pool=${pool}`
        ],
        { within: 60_000 }
      )
      const { code, stdout } = yield* child.end
      expect(stdout).toContain("1 passed")
      expect(code).toBe(0)
    }).pipe(Effect.scoped),
  limit
)
