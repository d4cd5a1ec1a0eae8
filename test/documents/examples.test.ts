import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { moduleName } from "./doctest.ts"
import { documents, examplesIn, type Fence, placeOf, sources } from "./examples.ts"

interface ExampleModule {
  readonly $unreached: () => ReadonlyArray<string>
}

const run = (example: Fence): Promise<ExampleModule> => import(/* @vite-ignore */ moduleName(example))

const titleOf = (example: Fence): string => `${placeOf(example)} ${example.title ?? example.heading}`

// Tests register themselves while they are imported, so they are imported in a block of their own.
const hasTests = (example: Fence): boolean => /from "(?:@effect\/)?vitest"/.test(example.code)

// What examples log is theirs, and not for the reader of a test run.
beforeAll(() => {
  for (const method of ["debug", "error", "info", "log", "trace", "warn"] as const) {
    vi.spyOn(console, method).mockImplementation(() => undefined)
  }
})

for (const file of [...documents, ...sources]) {
  for (const example of examplesIn(file)) {
    if (hasTests(example)) {
      describe(titleOf(example), async () => {
        const { $unreached } = await run(example)
        afterAll(() => expect($unreached()).toEqual([]))
      })
    } else {
      it(titleOf(example), async () => {
        const { $unreached } = await run(example)
        expect($unreached(), "these expectations were never reached").toEqual([])
      })
    }
  }
}
