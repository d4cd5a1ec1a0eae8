import { parentPort } from "node:worker_threads"
import { type JobName, runJob } from "./jobs.ts"

const main = parentPort!

main.on("message", ([id, job, input]: [number, JobName, unknown]) => {
  const output = runJob(job, input)
  if (job === "move") main.postMessage([id, output], [output as ArrayBuffer])
  else main.postMessage([id, output])
})
