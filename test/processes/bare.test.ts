import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}.ts`, import.meta.url))

/** Runs a fixture, sends a signal when it says that it is ready, and gives how it ended. */
const run = async (name: string, signal?: NodeJS.Signals) => {
  const child = spawn(process.execPath, [fixture(name)], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 15_000,
    killSignal: "SIGKILL"
  })
  let output = ""
  let signalledAt = 0
  const listen = (chunk: Buffer) => {
    output += chunk.toString()
    if (signal !== undefined && signalledAt === 0 && output.includes("ready")) {
      signalledAt = performance.now()
      child.kill(signal)
    }
  }
  child.stdout.on("data", listen)
  child.stderr.on("data", listen)
  const [code] = (await once(child, "close")) as [number | null]
  return { code, output, took: performance.now() - signalledAt }
}

describe("an app under Layer.launch and NodeRuntime.runMain, without a host", () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`starts, and stops on ${signal} with its hooks, tasks and resources`, async () => {
      const { code, output } = await run("bare-app", signal)
      assert.strictEqual(code, 130)
      const order = ["hook", "task ended", "resource released", "sensor stopped cleanly"].map((line) =>
        output.indexOf(line)
      )
      assert.deepStrictEqual(order, order.toSorted((a, b) => a - b), output)
      assert.isAbove(order[0]!, -1, output)
    })
  }

  it("stops in time although a task cannot be interrupted, and names it", async () => {
    const { code, output, took } = await run("bare-stubborn-app", "SIGINT")
    assert.strictEqual(code, 130)
    assert.isAtLeast(took, 500)
    assert.isBelow(took, 2500)
    assert.match(
      output,
      /Task sensor\/deaf did not stop within 500 ms; .* at listenForever \(.*bare-stubborn-app\.ts:\d+:\d+\)/
    )
  })
})

describe("a host under NodeRuntime.runMain", () => {
  it("exits with 1 after an escalated failure, which is logged once", async () => {
    const { code, output } = await run("failing-host")
    assert.strictEqual(code, 1)
    assert.strictEqual(output.split("disk full").length - 1, 1, output)
  })

  it("exits with the code that was requested", async () => {
    const { code } = await run("exit-code-host")
    assert.strictEqual(code, 75)
  })
})
