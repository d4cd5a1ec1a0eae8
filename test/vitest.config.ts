import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { doctest } from "./documents/doctest.ts"

export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  plugins: [doctest()],
  test: {
    globalSetup: ["test/support/temporaryFolder.ts"],
    // Real processes and long runs of seeds; a machine under load is no failure.
    testTimeout: 30_000,
    // Many of them wait for real processes and threads, so two files at a time are no load for two cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    include: ["test/**/*.test.ts", "docs/**/*.test.ts"]
  }
})
