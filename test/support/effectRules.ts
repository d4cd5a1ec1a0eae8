/**
 * Runs the Effect rules over projects and makes sure that they looked at files:
 * without its plugin entry in a tsconfig the tool checks nothing and passes.
 */
import { spawnSync } from "node:child_process"

const projects = process.argv.slice(2)

const run = (project: string): number => {
  const args = ["diagnostics", "--project", `${project}/tsconfig.json`, "--strict", "--format", "text"]
  const { status, stderr, stdout } = spawnSync("effect-tsgo", args, { encoding: "utf8" })
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  if (status !== 0) return status ?? 1
  const checked = /Checked (\d+) files?/.exec(stdout + stderr)?.[1]
  if (checked !== undefined && Number(checked) > 0) return 0
  process.stderr.write(`The Effect rules checked no file of ${project}; its tsconfig lacks the plugin entry\n`)
  return 1
}

if (projects.length === 0) {
  process.stderr.write("Give the folders of the projects to check\n")
  process.exitCode = 1
} else {
  process.exitCode = Math.max(...projects.map(run))
}
