/**
 * Finds the examples of the documents and of the doc comments: the fences of
 * language `ts`, with all that their info string says about them.
 *
 *   ts import.meta.vitest                          runs as a module of its own
 *   ts import.meta.vitest title="a/b.ts"           the same, and its neighbours can import it by that name
 *   ts no-run title="why it does not run"          is only type-checked
 *   ts no-run title="a/b.ts: why it does not run"  the same, where its neighbours are
 *   ts no-run title="it is in docs/examples/b.ts"  is a part of that file, which is checked with the others
 */
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../..", import.meta.url))

/** One fence of language `ts`. */
export interface Fence {
  /** The file it stands in, from the root. */
  readonly file: string
  /** The line of the opening fence, from 1. */
  readonly line: number
  /** The heading, or the name of the example, above it. */
  readonly heading: string
  /** The file that the example stands for. */
  readonly title: string | undefined
  /** Why it does not run. */
  readonly reason: string | undefined
  readonly kind: "run" | "no-run" | "unmarked"
  readonly code: string
}

/** The file that a fence shows a part of. Examples import it as any other, and so do threads. */
export const shownFile = ({ reason }: Fence): string | undefined => /^it is in (\S+)$/.exec(reason ?? "")?.[1]

/** The file and the place in it, as editors and terminals make it clickable. */
export const placeOf = (fence: Fence): string => `${fence.file}:${fence.line}`

const isSource = (file: string): boolean => file.endsWith(".ts")

/** A line of a doc comment without its star; `undefined` for code, which holds no fences. */
const contentOf = (line: string, source: boolean): string | undefined => {
  if (!source) return line
  const comment = /^\s*\*(?: |$)(.*)$/.exec(line)
  return comment?.[1]
}

const kindOf = (info: string): Fence["kind"] =>
  /(?:^|\s)import\.meta\.vitest(?:\s|$)/.test(info)
    ? "run"
    : /(?:^|\s)no-run(?:\s|$)/.test(info)
    ? "no-run"
    : "unmarked"

const titleOf = (info: string): Pick<Fence, "title" | "reason"> => {
  const [, title, reason] = /\btitle="(?:(\S+\.ts)(?:: |(?=")))?([^"]*)"/.exec(info) ?? []
  return { title, reason: reason === "" ? undefined : reason }
}

/** The fences of language `ts` in a text, in their order. */
export const fencesOf = (file: string, text: string): Array<Fence> => {
  const source = isSource(file)
  const fences: Array<Fence> = []
  let heading = ""
  let open: { readonly ticks: string; readonly indent: number; readonly fence: Fence | undefined } | undefined
  let code: Array<string> = []
  for (const [index, raw] of text.split("\n").entries()) {
    const line = contentOf(raw, source)
    if (line === undefined) {
      open = undefined
      continue
    }
    if (open !== undefined) {
      if (line.trim() === open.ticks) {
        if (open.fence !== undefined) fences.push({ ...open.fence, code: code.join("\n") })
        open = undefined
      } else {
        code.push(line.slice(Math.min(open.indent, line.length - line.trimStart().length)))
      }
      continue
    }
    const title = source ? /\*\*Example\*\* \((.+)\)/.exec(line) : /^#{1,6}\s+(.+?)\s*$/.exec(line)
    if (title !== null) heading = title[1]!
    const begin = /^(\s*)(`{3,})(?:(\S+)(.*))?$/.exec(line)
    if (begin === null) continue
    const info = begin[4] ?? ""
    code = []
    open = {
      indent: begin[1]!.length,
      ticks: begin[2]!,
      fence: begin[3] !== "ts" ? undefined : {
        file,
        line: index + 1,
        heading,
        ...titleOf(info),
        kind: kindOf(info),
        code: ""
      }
    }
  }
  return fences
}

/** The fences of a file on disk; `file` is relative to the root. */
export const fencesIn = (file: string): Array<Fence> => fencesOf(file, readFileSync(join(root, file), "utf8"))

/** The examples of a file that run, in their order. */
export const examplesIn = (file: string): Array<Fence> => fencesIn(file).filter((fence) => fence.kind === "run")

/** `// => value`: that the expression before it has this value. */
export interface Expectation {
  /** Where the comment begins and ends in the code. */
  readonly index: number
  readonly end: number
  /** An expression. One that opens a bracket at the end of its line goes on to the comment line that closes it. */
  readonly expected: string
}

const expectation = /\/\/ ?=>(.*[[{(](?:\n[ \t]*\/\/.*)*?\n[ \t]*\/\/ ?[\]})].*|.*)$/gm

export const expectationsOf = (code: string): Array<Expectation> =>
  [...code.matchAll(expectation)].map((match) => ({
    index: match.index,
    end: match.index + match[0].length,
    expected: match[1]!.replaceAll(/\n[ \t]*\/\//g, "\n").trim()
  }))

/** README and the pages, without what tools generate. */
export const documents: ReadonlyArray<string> = [
  ...globSync("README.md", { cwd: root }),
  ...globSync("packages/*/README.md", { cwd: root }),
  ...globSync("docs/**/*.md", { cwd: root, exclude: ["docs/api/**", "docs/**/node_modules/**", "docs/dist/**"] })
].toSorted()

/** The sources whose doc comments hold examples. */
export const sources: ReadonlyArray<string> = globSync("packages/*/src/**/*.ts", { cwd: root }).toSorted()
