import { type TaskFunction, ThreadWorker } from "poolifier"
import { echo, spin, triple } from "./jobs.ts"

export default new ThreadWorker<unknown, unknown>({
  triple: triple as TaskFunction<unknown, unknown>,
  echo: echo as TaskFunction<unknown, unknown>,
  spin: spin as TaskFunction<unknown, unknown>
})
