import workerpool from "workerpool"
import { jobs } from "./jobs.ts"

workerpool.worker({ ...jobs, move: (buffer: ArrayBuffer) => new workerpool.Transfer(buffer, [buffer]) })
