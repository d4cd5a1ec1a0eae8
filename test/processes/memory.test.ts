import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { childApp } from "../support/childApp.ts"

const program = fileURLToPath(new URL("../fixtures/memory.ts", import.meta.url))

it.live("200,000 calls and 200 ended threads leave no memory behind", () =>
  Effect.gen(function*() {
    const child = yield* childApp(["--expose-gc", program], { within: 80_000 })
    const { code, stderr, stdout } = yield* child.end
    expect(stderr).toBe("")
    expect(code).toBe(0)
    const { afterCalls, afterKills, before, killed } = JSON.parse(stdout)
    expect(killed).toBe(220)
    // Megabytes. What grows with the calls would be ten times as much.
    expect(afterCalls.heap - before.heap).toBeLessThan(2)
    expect(afterKills.heap - before.heap).toBeLessThan(3)
    expect(afterKills.rss - before.rss).toBeLessThan(60)
  }).pipe(Effect.scoped), 90_000)
