/**
 * The programs that run until Ctrl-C: each is started as a reader would start
 * it, and gets the signal when its host is ready.
 */
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest"
import { documents, type Fence, fencesIn, placeOf, root } from "./examples.ts"

const programs = documents.flatMap(fencesIn).filter((fence) => fence.reason === "it runs until Ctrl-C")

const parent = join(root, "docs/dist")
let folder = ""

beforeAll(() => {
  mkdirSync(parent, { recursive: true })
  folder = mkdtempSync(join(parent, "programs-"))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Writes a program and the files beside it, and gives its path. */
const write = (program: Fence): string => {
  const pathOf = (fence: Fence) => join(folder, `${program.line}`, fence.title ?? "main.ts")
  for (const fence of [...fencesIn(program.file).filter(({ title }) => title !== undefined), program]) {
    mkdirSync(dirname(pathOf(fence)), { recursive: true })
    writeFileSync(pathOf(fence), fence.code)
  }
  return pathOf(program)
}

/** Runs a program up to the Ctrl-C that it gets when its host is ready. */
const run = (path: string): Promise<{ readonly code: number | null; readonly output: string }> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path], { cwd: root, stdio: ["ignore", "pipe", "pipe"] })
    onTestFinished(() => void child.kill("SIGKILL"))
    let output = ""
    let asked = false
    const read = (chunk: Buffer) => {
      output += chunk.toString()
      if (asked || !output.includes("is ready")) return
      asked = true
      child.kill("SIGINT")
    }
    child.stdout.on("data", read)
    child.stderr.on("data", read)
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, output }))
  })

describe.skipIf(process.platform === "win32")("a program that runs until Ctrl-C", () => {
  it("is found", () => expect(programs).not.toEqual([]))

  it.each(programs.map((program) => ({ program, place: placeOf(program) })))(
    "$place starts, and stops cleanly",
    { timeout: 30_000 },
    async ({ program }) => {
      const { code, output } = await run(write(program))
      expect(output).toContain("stopped cleanly")
      expect(code).toBe(130)
    }
  )
})
