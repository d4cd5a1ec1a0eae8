import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { documents, expectationsOf, type Fence, fencesIn, fencesOf, root, shownFile, sources } from "./examples.ts"

// From here, the packages resolve as they do for a reader who puts the example into docs.
const parent = join(root, "docs/node_modules/.cache")
let folder = ""

beforeAll(() => {
  mkdirSync(parent, { recursive: true })
  folder = mkdtempSync(join(parent, "examples-"))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const typescript = createRequire(join(root, "package.json")).resolve("typescript/package.json")

// What an example expects is code as well, and uses what is imported for it.
const withExpectations = (code: string): string =>
  expectationsOf(code).reduceRight(
    (result, { end, expected, index }) => `${result.slice(0, index)}; (${expected});${result.slice(end)}`,
    code
  )

/** Where the examples of a page stand, as if they stood where the page is or where their title says. */
const folderOf = (name: string, { file }: Fence): string => `${name}/${file.replaceAll("/", "_")}`

/** Compiles examples and gives what the compiler says, with the places where they stand. */
const check = (fences: ReadonlyArray<Fence>, name: string): Array<string> => {
  const places = new Map<string, Fence>()
  for (const fence of fences) {
    const path = `${folderOf(name, fence)}/${fence.title ?? `${dirname(fence.file)}/line-${fence.line}.ts`}`
    places.set(path, fence)
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), "\n".repeat(fence.line) + withExpectations(fence.code))
  }
  writeFileSync(
    join(folder, `${name}.json`),
    JSON.stringify({
      extends: join(root, "tsconfig.base.json"),
      compilerOptions: {
        noEmit: true,
        composite: false,
        incremental: false,
        declarationMap: false,
        rootDir: root,
        // So an example finds the files around its page.
        rootDirs: [root, ...new Set(fences.map((fence) => folderOf(name, fence)))],
        types: ["node"],
        typeRoots: [join(root, "docs/node_modules/@types")],
        pretty: false
      },
      files: [...places.keys()]
    })
  )
  const compiler = join(dirname(typescript), "bin/tsc")
  const { error, status, stderr, stdout } = spawnSync(process.execPath, [compiler, "-p", `${name}.json`], {
    cwd: folder,
    encoding: "utf8"
  })
  if (error !== undefined) throw error
  if (status === 0) return []
  return (stdout + stderr).trim().split("\n").map((line) =>
    line.replace(
      /^(.+?)\((\d+),\d+\)/,
      (said, path: string, at: string) => places.has(path) ? `${places.get(path)!.file}:${at}` : said
    )
  )
}

it("every example passes the compiler, also those that do not run", { timeout: 60_000 }, () => {
  const whole = [...documents, ...sources].flatMap(fencesIn).filter((fence) => shownFile(fence) === undefined)
  expect(check(whole, "all")).toEqual([])
})

it("a wrong type is found, with file and line", { timeout: 60_000 }, () => {
  const page = ["```ts no-run title=\"wrong\"", "const answer: number = \"42\"", "export default answer", "```"].join(
    "\n"
  )
  expect(check(fencesOf("docs/page.md", page), "wrong")).toEqual([
    "docs/page.md:2: error TS2322: Type 'string' is not assignable to type 'number'."
  ])
})
