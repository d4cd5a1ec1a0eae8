/**
 * A folder with the packages as they are published: compiled, with the exports of
 * the published manifest, beside a program of plain JavaScript.
 */
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises"
import { stripTypeScriptTypes } from "node:module"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"

const packages = fileURLToPath(new URL("../../packages/", import.meta.url))

/** The argument of `tsc -b` that compiles all that is installed. */
export const compiled = join(packages, "node")

const installPackage = async (folder: string, name: string): Promise<void> => {
  const installed = join(folder, "node_modules/@ambit", name)
  const manifest = JSON.parse(await readFile(join(packages, name, "package.json"), "utf8"))
  await mkdir(installed, { recursive: true })
  await cp(join(packages, name, "dist"), join(installed, "dist"), { recursive: true })
  await writeFile(
    join(installed, "package.json"),
    JSON.stringify({ ...manifest, exports: manifest.publishConfig.exports })
  )
}

const putProgram = async (folder: string, program: string): Promise<void> => {
  const source = stripTypeScriptTypes(await readFile(program, "utf8"))
  await writeFile(join(folder, basename(program).replace(".ts", ".js")), source.replaceAll(".ts\"", ".js\""))
}

/** Installs the packages, which are compiled by now, and puts programs beside them, without their types. */
export const install = async (folder: string, programs: ReadonlyArray<string>): Promise<void> => {
  await Promise.all(["core", "node"].map((name) => installPackage(folder, name)))
  await Promise.all(
    ["effect", "markdown-table"].map((name) =>
      symlink(join(packages, "core/node_modules", name), join(folder, "node_modules", name))
    )
  )
  await writeFile(join(folder, "package.json"), "{\"type\":\"module\"}")
  await Promise.all(programs.map((program) => putProgram(folder, program)))
}
