/**
 * What a host costs at its start and at its stop, each in a process of its own.
 *
 *   pnpm speed:hosts          15 rounds
 *   pnpm speed:hosts 5        how many rounds
 *
 * The packages are measured as they are published: compiled.
 */
import { spawnSync } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { cpus, tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { compiled, install } from "../../support/installed.ts"
import { render } from "../markdown.ts"
import { median } from "../statistics.ts"

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

const run = (...args: ReadonlyArray<string>): string => {
  const { status, stderr, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" })
  if (status !== 0) throw new Error(`${args.join(" ")} ended with ${status}\n${stdout}\n${stderr}`)
  return stdout
}

/** The number that a program says after a word. */
const numberOf = (program: string, word: string): number => {
  const said = run(program)
  const found = new RegExp(`^${word} ([\\d.]+)$`, "m").exec(said)?.[1]
  if (found === undefined) throw new Error(`${program} did not say "${word}": ${said}`)
  return Number(found)
}

const folder = await mkdtemp(join(tmpdir(), "ambit-speed-"))

/** The modules of Effect that a module of ours imports, itself or by way of others of ours. */
const effectModules = async (path: string, seen: Set<string>, found: Set<string>): Promise<void> => {
  if (seen.has(path)) return
  seen.add(path)
  const source = await readFile(path, "utf8")
  await Promise.all([...source.matchAll(/from "([^"]+)"/g)].map(async ([, name = ""]) => {
    if (name.startsWith("effect/")) found.add(name)
    else if (name.startsWith("@ambit/core/")) {
      await effectModules(join(folder, "node_modules/@ambit/core/dist", `${name.slice(12)}.js`), seen, found)
    } else if (name.startsWith(".")) await effectModules(join(dirname(path), name), seen, found)
  }))
}

const rounds = Number(process.argv[2] ?? 15)
try {
  run(at("../../../node_modules/typescript/bin/tsc"), "-b", compiled)
  await install(folder, [at("ready.ts"), at("stop.ts")])
  const modules = new Set<string>()
  await effectModules(join(folder, "node_modules/@ambit/node/dist/NodeHost.js"), new Set(), modules)
  await writeFile(
    join(folder, "imports.js"),
    [...[...modules].map((name) => `import "${name}"`), "console.log(`imported ${performance.now()}`)"].join("\n")
  )
  const imports: Array<number> = []
  const ready: Array<number> = []
  const stop: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    imports.push(numberOf(join(folder, "imports.js"), "imported"))
    ready.push(numberOf(join(folder, "ready.js"), "ready"))
    stop.push(numberOf(join(folder, "stop.js"), "stopped"))
  }
  const row = (what: string, values: ReadonlyArray<number>) => [
    what,
    median(values).toFixed(0),
    Math.min(...values).toFixed(0),
    Math.max(...values).toFixed(0)
  ]
  const more = ready.map((value, round) => value - imports[round]!)
  process.stdout.write(`${
    [
      `Node ${process.versions.node}, ${
        cpus()[0]?.model ?? "unknown processor"
      }, ${cpus().length} cores, ${rounds} rounds.`,
      render([
        ["ms", "median", "least", "greatest"],
        row("the modules of Effect that a host needs, imported", imports),
        row("an empty host is ready", ready),
        row("the one more than the other", more),
        row("stop of 3 apps with 10,000 idle tasks", stop)
      ])
    ].join("\n\n")
  }\n`)
} finally {
  await rm(folder, { recursive: true, force: true })
}
