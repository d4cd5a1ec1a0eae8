import { median } from "./statistics.ts"

/** A Markdown table; the first row is the head, and the first column is text. */
export const render = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  const pad = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
  const rule = widths.map((width, column) => column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)
  const [head, ...body] = rows.map((row) => row.map(pad))
  return [line(head!), line(rule), ...body.map(line)].join("\n")
}

/** A ratio of medians, with the least and the greatest of a round. */
export const ratioCell = (values: ReadonlyArray<number>, base: ReadonlyArray<number>): string => {
  const ratios = values.map((value, round) => value / base[round]!)
  const [ratio, least, greatest] = [median(values) / median(base), Math.min(...ratios), Math.max(...ratios)]
  return `${ratio.toFixed(2)} (${least.toFixed(2)}–${greatest.toFixed(2)})`
}
