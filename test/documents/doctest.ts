/**
 * Serves the examples of a file as modules: `file?doctest=2` is the third fence
 * of it that is marked `ts import.meta.vitest`. Types are removed, and a line
 *
 *   expression // => expected
 *
 * becomes a comparison. The code keeps the line numbers of the file it stands in.
 */
import { stripTypeScriptTypes } from "node:module"
import { join, posix, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { type Plugin } from "vitest/config"
import { parseAst } from "vitest/node"
import { examplesIn, expectationsOf, type Fence, placeOf, root } from "./examples.ts"

const query = /\?doctest=(\d+)$/

const checkModule = fileURLToPath(new URL("check.ts", import.meta.url))

// What an example cannot resolve from where it stands, as in README, resolves as if it stood in docs.
const docs = join(root, "docs/package.json")

export const doctest = (): Plugin => ({
  name: "ambit-doctest",
  enforce: "pre",

  async resolveId(source, importer) {
    // Between modules, Vite names files from the root.
    if (query.test(source)) return source.startsWith(root) ? source : join(root, source)
    const importing = importer === undefined ? undefined : exampleOf(importer)
    if (importing === undefined) return undefined
    if (source.startsWith(".")) return resolveRelative(source, importing)
    const own = await this.resolve(source, join(root, importing.file), { skipSelf: true })
    return own ?? await this.resolve(source, docs, { skipSelf: true })
  },

  load(id) {
    const example = exampleOf(id)
    return example === undefined ? undefined : { code: moduleOf(example), map: null, moduleType: "js" }
  }
})

const exampleOf = (id: string): Fence | undefined => {
  const index = query.exec(id)?.[1]
  if (index === undefined) return undefined
  const file = relative(root, id.replace(query, "")).replaceAll("\\", "/")
  const example = examplesIn(file)[Number(index)]
  if (example === undefined) throw new Error(`${file} has no example ${index}`)
  return example
}

// An example with a title stands where the title says, and finds its neighbours by theirs.
const resolveRelative = (source: string, from: Fence): string => {
  const folder = posix.dirname(from.title ?? from.file)
  const target = posix.join(folder, source)
  const index = examplesIn(from.file).findIndex((example) => example.title === target)
  return index === -1 ? join(root, target) : `${join(root, from.file)}?doctest=${index}`
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The module of an example: JavaScript in which every expectation is compared. */
export const moduleOf = (example: Fence): string => {
  // The first line of the code comes right after the opening fence.
  const code = withoutTypes("\n".repeat(example.line) + example.code)
  const statements = expressionsIn(code, example)
  const lines: Array<number> = []
  const edits: Array<Edit> = []
  for (const { expected, index } of expectationsOf(code)) {
    const line = code.slice(0, index).split("\n").length
    const before = statements.find(({ end }) => end <= index && /^[\s;]*$/.test(code.slice(end, index)))
    if (before === undefined || expected === "") {
      throw new Error(`${example.file}:${line}: \`// =>\` must follow an expression and name what it is`)
    }
    lines.push(line)
    edits.push(
      { start: before.start, end: before.start, text: `$expect.check(${line}, (` },
      { start: before.end, end: index, text: `), (${expected.replaceAll("\n", " ")}))` }
    )
  }
  const head = `import { expectations as $expectations } from ${JSON.stringify(checkModule)}; ` +
    `const $expect = $expectations(${JSON.stringify(example.file)}, ${JSON.stringify(lines)}); ` +
    `export const $unreached = $expect.unreached`
  return head + edited(code, edits)
}

// Node says once that this is experimental, which is no news to whoever reads the output of a test.
const withoutTypes = (code: string): string => {
  // oxlint-disable-next-line typescript/unbound-method -- it is put back as it was
  const { emitWarning } = process
  process.emitWarning = () => undefined
  try {
    return stripTypeScriptTypes(code, { mode: "strip" })
  } finally {
    process.emitWarning = emitWarning
  }
}

const edited = (code: string, edits: ReadonlyArray<Edit>): string => {
  let result = ""
  let at = 0
  for (const { end, start, text } of edits.toSorted((a, b) => a.start - b.start)) {
    result += code.slice(at, start) + text
    // What is replaced takes its line breaks along, so they are put back.
    result += code.slice(start, end).replaceAll(/[^\n]/g, "")
    at = end
  }
  return result + code.slice(at)
}

interface Span {
  readonly start: number
  readonly end: number
}

/** Where the expressions of all expression statements are, also inside functions. */
const expressionsIn = (code: string, example: Fence): Array<Span> => {
  const spans: Array<Span> = []
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (typeof node !== "object" || node === null) return
    if ("type" in node && node.type === "ExpressionStatement" && "expression" in node) {
      spans.push(node.expression as Span)
    }
    Object.values(node).forEach(visit)
  }
  try {
    visit(parseAst(code))
  } catch (error) {
    throw new Error(`${placeOf(example)}: the example does not parse`, { cause: error })
  }
  return spans
}

/** The name by which a test imports an example. */
export const moduleName = (example: Fence): string => {
  const index = examplesIn(example.file).findIndex((other) => other.line === example.line)
  return `${join(root, example.file)}?doctest=${index}`
}
