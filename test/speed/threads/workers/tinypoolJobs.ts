import { Tinypool } from "tinypool"

export { echo, forever, spin, triple } from "./jobs.ts"

export const move = (buffer: ArrayBuffer): unknown => Tinypool.move(buffer)
