import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { moduleName } from "./doctest.ts"
import { examplesIn, fencesIn, fencesOf, placeOf, root, shownFile } from "./examples.ts"

const markdown = "test/documents/fixtures/examples.md"
const source = "test/documents/fixtures/commented.ts"

const find = (file: string, name: string) => {
  const found = examplesIn(file).find((example) => (example.title ?? example.heading) === name)
  if (found === undefined) throw new Error(`${file} has no example "${name}"`)
  return found
}

/** The line of a text in a file, from 1. */
const lineOf = (file: string, text: string): number =>
  readFileSync(join(root, file), "utf8").split("\n").findIndex((line) => line.includes(text)) + 1

const run = (file: string, name: string): Promise<any> => import(/* @vite-ignore */ moduleName(find(file, name)))

describe("an example", () => {
  it("passes when every value is as expected", async () => {
    const { $unreached } = await run(markdown, "Values")
    expect($unreached()).toEqual([])
  })

  it("fails with file and line when a value is not as expected", async () => {
    const line = lineOf(markdown, "answer // => 42")
    await expect(run(markdown, "A wrong expectation")).rejects.toMatchObject({
      message: `${markdown}:${line}: expected 42, got 41`,
      stack: expect.stringContaining(`examples.md?doctest=1:${line}:`)
    })
  })

  it("fails in a doc comment as well, with file and line", async () => {
    await expect(run(source, "In a doc comment")).rejects.toThrow(
      `${source}:${lineOf(source, "Option.none() // =>")}: expected`
    )
  })

  it("fails when it throws, at the line that throws", async () => {
    const error: Error = await run(markdown, "It throws").catch((error: unknown) => error)
    expect(error.message).toBe("on purpose")
    expect(error.stack).toContain(`examples.md?doctest=3:${lineOf(markdown, "throw new Error")}:`)
  })

  it("names an expectation that was never reached", async () => {
    const { $unreached } = await run(markdown, "Never reached")
    expect($unreached()).toEqual([`${markdown}:${lineOf(markdown, "\"now\" // =>")}`])
  })

  it("is refused when an expectation follows no expression", async () => {
    await expect(run(markdown, "An expectation of nothing")).rejects.toThrow(
      `${markdown}:${lineOf(markdown, "nothing = 1 // =>")}: \`// =>\` must follow`
    )
  })

  it("imports another example of its file by that one's title", async () => {
    const { $unreached } = await run(markdown, "apps/test/one.test.ts")
    expect($unreached()).toEqual([])
  })

  it("may be indented in a comment", async () => {
    await expect(run(source, "Indented")).resolves.toBeDefined()
  })
})

describe("a fence", () => {
  it("is found with its place, heading, title and kind", () => {
    const fences = fencesIn(markdown)
    expect(fences).toHaveLength(8)
    expect(fences.map(placeOf)[1]).toBe(`${markdown}:${lineOf(markdown, "answer: number") - 1}`)
    expect(fences.at(-1)).toMatchObject({
      heading: "Not run",
      title: undefined,
      reason: "it would end the process",
      kind: "no-run",
      code: "process.exit(1)"
    })
  })

  it("may stand for a file, and say why it does not run", () => {
    const [fence] = fencesOf("docs/a.md", "```ts no-run title=\"a/main.ts: it runs until Ctrl-C\"\n```")
    expect(fence).toMatchObject({ title: "a/main.ts", reason: "it runs until Ctrl-C", kind: "no-run" })
  })

  it("may show a part of a file", () => {
    const shown = (info: string) => fencesOf("docs/a.md", `\`\`\`ts ${info}\n\`\`\``).map(shownFile)
    expect(shown("no-run title=\"it is in docs/examples/b.ts\"")).toEqual(["docs/examples/b.ts"])
    expect(shown("no-run title=\"it never ends\"")).toEqual([undefined])
  })

  it("without a marker is told apart", () => {
    expect(fencesIn(markdown).map((fence) => fence.kind)).not.toContain("unmarked")
    expect(fencesIn("test/documents/fixtures/unmarked.md").map((fence) => fence.kind)).toEqual(["unmarked"])
  })
})
