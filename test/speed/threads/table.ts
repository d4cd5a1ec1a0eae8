/**
 * Tables of medians in Markdown. A column with ratios is followed by the ratio
 * to the first row: of the medians, and in brackets the least and the greatest
 * of the rounds, each against the first row in the same round.
 */
import { ratioCell, render } from "../markdown.ts"
import { median } from "../statistics.ts"
import type { Row } from "./rounds.ts"

export interface Column<Metric extends string> {
  readonly title: string
  readonly metric: Metric
  readonly digits: number
  readonly ratio: boolean
}

const valuesOf = <Metric extends string>(row: Row<Metric>, metric: Metric): Array<number> =>
  row.rounds.flatMap((figures) => figures[metric] ?? [])

const cellsOf = <Metric extends string>(column: Column<Metric>, row: Row<Metric>, base: Row<Metric>): Array<string> => {
  const values = valuesOf(row, column.metric)
  const value = values.length === 0 ? "" : median(values).toFixed(column.digits)
  if (!column.ratio) return [value]
  return [value, values.length === 0 ? "" : ratioCell(values, valuesOf(base, column.metric))]
}

/** A table whose first row is what the ratios are against. */
export const renderTable = <Metric extends string>(
  title: string,
  columns: ReadonlyArray<Column<Metric>>,
  rows: ReadonlyArray<Row<Metric>>
): string => {
  const head = ["", ...columns.flatMap(({ ratio, title }) => ratio ? [title, "×"] : [title])]
  const body = rows.map((row) => [row.name, ...columns.flatMap((column) => cellsOf(column, row, rows[0]!))])
  return `${title}\n\n${render([head, ...body])}`
}
