/**
 * The links and headings of a Markdown page.
 */
import { existsSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { root } from "./examples.ts"

/** The lines of a page that are not inside of a fence; the others are left empty. */
const proseOf = (text: string): Array<string> => {
  let fence: string | undefined
  return text.split("\n").map((line) => {
    const ticks = /^\s*(`{3,})/.exec(line)?.[1]
    if (fence === undefined) {
      fence = ticks
      return ticks === undefined ? line : ""
    }
    if (ticks !== undefined && line.trim() === fence) fence = undefined
    return ""
  })
}

// As GitHub does it: small letters, no punctuation, a hyphen for every space.
const slugOf = (heading: string): string =>
  heading
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M}\s_-]/gu, "")
    .trim()
    .replaceAll(/\s/g, "-")

/** What a link can point at in a page; a second heading of the same text gets `-1`. */
export const anchorsOf = (text: string): Set<string> => {
  const anchors = new Set<string>()
  for (const line of proseOf(text)) {
    const heading = /^#{1,6}\s+(.+?)\s*#*$/.exec(line)?.[1]
    if (heading === undefined) continue
    const slug = slugOf(heading)
    let anchor = slug
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`
    anchors.add(anchor)
  }
  return anchors
}

export interface Link {
  readonly line: number
  readonly target: string
}

export const linksOf = (text: string): Array<Link> =>
  proseOf(text).flatMap((line, index) => {
    const prose = line.replaceAll(/`[^`]*`/g, (code) => " ".repeat(code.length))
    const targets = [
      ...prose.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g),
      ...prose.matchAll(/^\s*\[[^\]]+\]:\s+<?([^\s>]+)>?/g)
    ]
    return targets.map((match) => ({ line: index + 1, target: match[1]! }))
  })

/** Says what is wrong with the links of a page that stay in the repository. */
export const brokenLinksOf = (file: string, text: string): Array<string> =>
  linksOf(text).flatMap(({ line, target }) => {
    if (/^[a-z][a-z+.-]*:/i.test(target)) return []
    const [path, anchor] = target.split("#", 2) as [string, string?]
    const to = path === "" ? file : relative(root, join(root, dirname(file), decodeURI(path)))
    const said = `${file}:${line}: ${target}`
    if (path !== "" && (to.startsWith("..") || !existsSync(join(root, to)))) return [`${said}: there is no such file`]
    if (anchor === undefined) return []
    if (!to.endsWith(".md")) return [`${said}: only pages have headings`]
    const anchors = anchorsOf(path === "" ? text : readFileSync(join(root, to), "utf8"))
    return anchors.has(anchor) ? [] : [`${said}: there is no such heading`]
  })
