/**
 * The least that asks the main thread and waits: a message, a futex, a message.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads"

const { port, wake } = workerData as { readonly port: MessagePort; readonly wake: Int32Array }

const ask = (value: number): number => {
  const before = Atomics.load(wake, 0)
  port.postMessage(value)
  for (;;) {
    const answer = receiveMessageOnPort(port)
    if (answer !== undefined) return answer.message as number
    Atomics.wait(wake, 0, before)
  }
}

parentPort!.on("message", (count: number) => {
  const begin = performance.now()
  let value = 0
  for (let asked = 0; asked < count; asked++) value = ask(value)
  parentPort!.postMessage({ took: performance.now() - begin, value })
})
