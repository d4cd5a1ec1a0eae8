import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads"
import { type JobName, runJob } from "./jobs.ts"

const { port } = workerData as { readonly port: MessagePort }

const serve = ([id, job, input]: [number, JobName, unknown]): void => {
  const output = runJob(job, input)
  if (job === "move") port.postMessage([id, output], [output as ArrayBuffer])
  else port.postMessage([id, output])
}

port.on("message", (message) => {
  serve(message)
  for (let more = receiveMessageOnPort(port); more !== undefined; more = receiveMessageOnPort(port)) serve(more.message)
})
