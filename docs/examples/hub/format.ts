/**
 * Numbers, times and names as short text. Pure.
 */
import { ByteSize } from "effect"
import * as CliOutput from "effect/cli/CliOutput"

/** `1.5 MiB` */
export const bytes = (count: number): string => ByteSize.format(ByteSize.bytes(Math.round(count)), { precision: 1 })

/** `7%`, and `–` for what is not known yet. */
export const percent = (share: number | undefined): string => share === undefined ? "–" : `${Math.round(share * 100)}%`

/** `███░░░░░░░`, as wide as so many cells. It is full only when nothing is left. */
export const bar = (share: number, cells: number): string => {
  const full = Math.floor(Math.min(1, Math.max(0, share)) * cells)
  return "█".repeat(full) + "░".repeat(cells - full)
}

/** `1 folder`, `2 folders` */
export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`

/** `3 s`, `12 min`, `5 h`, `2 d`: one unit is enough to tell fresh from old. */
export const age = (millis: number): string => {
  const seconds = Math.max(0, Math.round(millis / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/**
 * A text from outside, such as the name of a file, made safe to show: a name
 * may hold a line break, or the codes that move the cursor.
 */
export const printable = (text: string): string => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, "�")

const graphemes = new Intl.Segmenter()

/** Cuts a text to the cells of a terminal line; a full-width character takes two. */
export const cut = (text: string, cells: number): string => {
  if (CliOutput.displayWidth(text) <= cells) return text
  let shown = ""
  let left = cells - 1
  for (const { segment } of graphemes.segment(text)) {
    left -= CliOutput.displayWidth(segment)
    if (left < 0) break
    shown += segment
  }
  return cells <= 0 ? "" : `${shown}…`
}
