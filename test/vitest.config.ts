import { defineConfig } from "vitest/config"
import { doctest } from "./documents/doctest.ts"

export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  plugins: [doctest()],
  test: {
    // Real processes and long runs of seeds; a machine under load is no failure.
    testTimeout: 30_000,
    // Those that run beside each other start processes, and mostly wait for them.
    maxConcurrency: 2,
    include: ["test/**/*.test.ts", "docs/**/*.test.ts"]
  }
})
