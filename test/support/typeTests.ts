/**
 * Runs the type tests on the TypeScript 6 that is installed beside: the tool
 * cannot use the compiler of the build, and would else download one.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const { status } = spawnSync("tstyche", ["--root", "test", ...process.argv.slice(2)], {
  stdio: "inherit",
  env: { ...process.env, TSTYCHE_TYPESCRIPT_MODULE: fileURLToPath(import.meta.resolve("typescript6")) }
})
process.exitCode = status ?? 1
