/**
 * Gives the tests a temporary folder of their own, which goes with all that is in
 * it: examples of the documentation and programs that are killed clean up nothing.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export default (): () => void => {
  const folder = mkdtempSync(join(tmpdir(), "ambit-tests-"))
  process.env["TMPDIR"] = folder
  return () => rmSync(folder, { recursive: true, force: true })
}
