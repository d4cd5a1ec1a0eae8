/**
 * The digest of the moment as one line, the most important first, because a
 * narrow terminal cuts the end off. Pure.
 */
import type { FilesSummary } from "./files.ts"
import { age, bar, bytes, count, percent, printable } from "./format.ts"
import type { Traffic } from "./procfs.ts"
import type { Usage } from "./usage.ts"

export interface Digest {
  /** Milliseconds since 1970. */
  readonly now: number
  /** Since the last line. */
  readonly usage: Usage
  /** Over the last minute. */
  readonly minute: Usage
  readonly files: FilesSummary
  /** Whether the line takes the place of the last one, so that a bar in it grows. */
  readonly live: boolean
}

export const digestLine = ({ files, live, minute, now, usage }: Digest): string =>
  [
    `cpu ${percent(usage.cpu).padStart(4)} (1 min ${percent(minute.cpu)})`,
    `mem ${bytes(usage.memory.used)} of ${bytes(usage.memory.total)}`,
    filesPart(files),
    ...hashingPart(files, live),
    ...changePart(files, now),
    ...trafficPart("disk", "read", "written", usage.disk),
    ...trafficPart("net", "in", "out", usage.network)
  ].join(" | ")

const filesPart = ({ bytes: size, files, folders, unreadable, walking }: FilesSummary): string => {
  const counting = walking ? ", counting" : ""
  const closed = unreadable === 0 ? "" : `, ${unreadable} unreadable`
  return `${count(files, "file")} in ${count(folders, "folder")}, ${bytes(size)}${counting}${closed}`
}

const hashingPart = ({ hashing }: FilesSummary, live: boolean): ReadonlyArray<string> =>
  hashing === undefined ? [] : [`hashing ${live ? `${bar(hashing, barCells)} ` : ""}${Math.floor(hashing * 100)}%`]

const barCells = 10

const changePart = ({ changes: [newest], newestHash }: FilesSummary, now: number): ReadonlyArray<string> => {
  if (newest === undefined) return []
  const hash = newestHash === undefined ? "" : `, sha256 ${newestHash.slice(0, 8)}`
  return [`${printable(newest.path)} ${newest.what} ${age(now - newest.at)} ago${hash}`]
}

const trafficPart = (
  name: string,
  read: string,
  written: string,
  traffic: Traffic | undefined
): ReadonlyArray<string> =>
  traffic === undefined ? [] : [`${name} ${bytes(traffic.read)}/s ${read}, ${bytes(traffic.written)}/s ${written}`]
