import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { documents, type Fence, fencesIn, placeOf, root, shownFile, sources } from "./examples.ts"
import { anchorsOf, brokenLinksOf } from "./pages.ts"

const contentOf = (file: string): string => readFileSync(join(root, file), "utf8")

const namesOf = (fences: ReadonlyArray<Fence>): Array<string> => fences.map(placeOf)

// An example shows something when it expects a value, holds a test, or is a file that another example imports.
const shows = (example: Fence): boolean =>
  example.title !== undefined || /\/\/ ?=>/.test(example.code) || /from "(?:@effect\/)?vitest"/.test(example.code)

describe("the documents", () => {
  it("are found", () => {
    expect(documents).toContain("README.md")
    expect(documents.filter((file) => file.startsWith("docs/"))).not.toEqual([])
    expect(documents.filter((file) => file.includes("node_modules"))).toEqual([])
  })

  it.each([...documents, ...sources])("%s has no fence of TypeScript that nobody runs", (file) => {
    const fences = fencesIn(file)
    expect(namesOf(fences.filter((fence) => fence.kind === "unmarked"))).toEqual([])
    expect(namesOf(fences.filter((fence) => fence.kind === "no-run" && fence.reason === undefined))).toEqual([])
  })

  it.each([...documents, ...sources])("%s has no example that shows nothing, and no two of one title", (file) => {
    const examples = fencesIn(file).filter((fence) => fence.kind === "run")
    expect(namesOf(examples.filter((example) => !shows(example)))).toEqual([])
    const titles = examples.flatMap((example) => example.title ?? [])
    expect(titles).toEqual([...new Set(titles)])
  })

  it.each(documents)("%s shows parts of files as they are there", (file) => {
    const differs = fencesIn(file).filter((fence) => {
      const shown = shownFile(fence)
      return shown !== undefined && !(existsSync(join(root, shown)) && contentOf(shown).includes(fence.code))
    })
    expect(namesOf(differs)).toEqual([])
  })

  it.each(documents)("%s has no link to nothing", (file) => {
    expect(brokenLinksOf(file, contentOf(file))).toEqual([])
  })
})

describe("the look at links", () => {
  const page = [
    "# One `two`, three!",
    "## Same",
    "## Same",
    "[a](pages.ts) [b](#same-1) [c](https://example.org/x) `[not](a-link.md)`",
    "```md",
    "[d](in-a-fence.md)",
    "```",
    "[e](missing.md) [f](#nowhere) [g](../documents/missing.md#x) [h](pages.ts#x)",
    "[i]: ./gone.md"
  ].join("\n")

  it("knows the headings as GitHub does", () => {
    expect([...anchorsOf(page)]).toEqual(["one-two-three", "same", "same-1"])
  })

  it("names what is missing with file and line", () => {
    expect(brokenLinksOf("test/documents/page.md", page)).toEqual([
      "test/documents/page.md:8: missing.md: there is no such file",
      "test/documents/page.md:8: #nowhere: there is no such heading",
      "test/documents/page.md:8: ../documents/missing.md#x: there is no such file",
      "test/documents/page.md:8: pages.ts#x: only pages have headings",
      "test/documents/page.md:9: ./gone.md: there is no such file"
    ])
  })
})
