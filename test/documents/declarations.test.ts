import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { root } from "./examples.ts"

const declaration =
  /^export (?:declare )?(?:default )?(?:abstract )?(?:async )?(?:const|let|var|function\*?|class|interface|type|enum|namespace) (?!\{)([\w$]+)/

/** Says which exported declarations of a module lack a doc comment, or a tag in it. */
const undocumented = (file: string, text: string): Array<string> => {
  const lines = text.split("\n")
  return lines.flatMap((line, index) => {
    const name = declaration.exec(line)?.[1]
    if (name === undefined) return []
    const said = `${file}:${index + 1}: ${name}`
    if (lines[index - 1]?.endsWith("*/") !== true) return [`${said} has no doc comment`]
    const begin = lines.slice(0, index).findLastIndex((before) => before.startsWith("/**"))
    const comment = lines.slice(begin, index).join("\n")
    if (comment.includes("@internal")) return []
    return ["@since", "@category"].flatMap((tag) =>
      new RegExp(`^ \\* ${tag} \\S`, "m").test(comment) ? [] : [`${said} has no ${tag}`]
    )
  })
}

const modules = globSync("packages/*/src/*.ts", { cwd: root }).toSorted()

describe("the public modules", () => {
  it("are found", () => expect(modules).toContain("packages/core/src/Task.ts"))

  it.each(modules)("%s documents what it exports, with @since and @category", (file) => {
    expect(undocumented(file, readFileSync(join(root, file), "utf8"))).toEqual([])
  })
})

/** Says which lines name a key of another package; an import is how one package knows another. */
const foreignKeys = (file: string, text: string): Array<string> => {
  const own = /^packages\/(\w+)\//.exec(file)![1]!
  return text.split("\n").flatMap((line, index) => {
    const named = /(?<!from )(?<!import\()"@ambit\/(\w+)\//.exec(line)?.[1]
    return named === undefined || named === own ? [] : [`${file}:${index + 1}: ${line.trim()}`]
  })
}

it.each(globSync("packages/*/src/**/*.ts", { cwd: root }).toSorted())("%s names no key of another package", (file) => {
  expect(foreignKeys(file, readFileSync(join(root, file), "utf8"))).toEqual([])
})

it("the look at declarations names what is missing", () => {
  const text = [
    "/**",
    " * Good.",
    " *",
    " * @category models",
    " * @since 0.1.0",
    " */",
    "export interface Good {}",
    "export const bare = 1",
    "/** Half. */",
    "export class Half {}",
    "/** @internal */",
    "export const hidden = 1",
    "",
    "export { other } from \"./other.ts\"",
    "export type { Other } from \"./other.ts\"",
    "export * as Namespace from \"./other.ts\""
  ].join("\n")
  expect(undocumented("a.ts", text)).toEqual([
    "a.ts:8: bare has no doc comment",
    "a.ts:10: Half has no @since",
    "a.ts:10: Half has no @category"
  ])
})
