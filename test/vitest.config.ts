import { defineConfig } from "vitest/config"
import { doctest } from "./documents/doctest.ts"

export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  plugins: [doctest()],
  test: {
    // Real processes and long runs of seeds; a machine under load is no failure.
    testTimeout: 30_000,
    include: ["test/**/*.test.ts", "docs/**/*.test.ts"]
  }
})
