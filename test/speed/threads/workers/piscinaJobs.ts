import { move as moved } from "piscina"

export { echo, forever, spin, triple } from "./jobs.ts"

export const move = (buffer: ArrayBuffer): unknown => moved(buffer)
