/**
 * What is still alive, for people who wait for it.
 */
import type { Tree } from "@ambit/core/Host"

/** More lines than that nobody reads in such a moment. */
export const mostAlive = 50

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

const linesOf = ({ calls, tasks }: Pick<Tree, "calls" | "tasks">): ReadonlyArray<string> => [
  ...tasks.map(({ age, kind, path, place, status }) =>
    `${path} (${kind}, ${status.toLowerCase()}, ${seconds(age)}${place === undefined ? "" : `, at ${place}`})`
  ),
  ...calls.map(({ age, name, task, thread }) =>
    `${task}/${name} (${thread === undefined ? "waits for a thread" : `on ${thread}`}, ${seconds(age)})`
  )
]

const linesOfAll = (tree: Tree): ReadonlyArray<string> => [
  ...tree.apps.flatMap((app) => [
    ...linesOf(app),
    ...(app.state === "stopped" || app.state === "failed" ? [] : [`${app.path} (app, ${app.state})`])
  ]),
  ...linesOf(tree)
]

/** A text of lines, or `undefined` when nothing is. */
export const aliveText = (trees: ReadonlyArray<Tree>): string | undefined => {
  const lines = trees.flatMap(linesOfAll)
  if (lines.length === 0) return undefined
  return [...lines.slice(0, mostAlive), ...(lines.length > mostAlive ? ["… and more"] : [])]
    .map((line) => `  ${line}\n`)
    .join("")
}
