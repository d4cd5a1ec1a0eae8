import { ShutdownReport } from "@ambit/core"
import { assert, describe, it } from "@effect/vitest"

const empty = { path: "hub", reason: "done", startedAt: 0, took: 12, budget: 30_000, tasks: [], hooks: [], apps: [] }

const task = (outcome: ShutdownReport.TaskOutcome, took: number, path = "hub/a/poll") => ({
  path,
  kind: "background" as const,
  outcome,
  age: 1000,
  took
})

describe("a shutdown report", () => {
  it("is clean when everything ended in time and nothing failed", () => {
    const withTask = (outcome: ShutdownReport.TaskOutcome) =>
      new ShutdownReport.ShutdownReport({ ...empty, tasks: [task(outcome, 1)] }).clean
    assert.deepStrictEqual(
      (["completed", "interrupted", "neverStarted", "failed", "timedOut", "killed", "abandoned"] as const).map(
        withTask
      ),
      [true, true, true, false, false, false, false]
    )
    const hook = { path: "hub/a/flush", took: 1, within: 5 }
    assert.isTrue(new ShutdownReport.ShutdownReport({ ...empty, hooks: [{ ...hook, outcome: "completed" }] }).clean)
    for (const outcome of ["failed", "abandoned", "neverStarted"] as const) {
      assert.isFalse(new ShutdownReport.ShutdownReport({ ...empty, hooks: [{ ...hook, outcome }] }).clean)
    }
    const app = { path: "hub/a", resources: "released" as const, took: 1, budget: 5 }
    assert.isTrue(new ShutdownReport.ShutdownReport({ ...empty, apps: [{ ...app, outcome: "stopped" }] }).clean)
    assert.isFalse(new ShutdownReport.ShutdownReport({ ...empty, apps: [{ ...app, outcome: "failed" }] }).clean)
    for (const resources of ["failed", "abandoned"] as const) {
      const apps = [{ ...app, outcome: "stopped" as const, resources }]
      assert.isFalse(new ShutdownReport.ShutdownReport({ ...empty, apps }).clean)
    }
  })

  it("is a table of no more rows than are asked for, and of some when that is no number of rows", () => {
    const report = new ShutdownReport.ShutdownReport({
      ...empty,
      tasks: [task("interrupted", 2), task("interrupted", 1)]
    })
    const rows = (count: number) => ShutdownReport.format(report, { rows: count }).split("\n").slice(3).length
    assert.strictEqual(rows(2), 2)
    assert.include(ShutdownReport.format(report, { rows: 1 }), "… and 1 more")
    for (const count of [Number.NaN, -1]) assert.strictEqual(rows(count), 2)
  })

  it("is said in one line", () => {
    assert.strictEqual(
      ShutdownReport.summary(
        new ShutdownReport.ShutdownReport({ ...empty, tasks: [task("interrupted", 1), task("abandoned", 12)] })
      ),
      "hub stopped NOT cleanly in 12 ms of 30.0 s (2 tasks: 1 interrupted, 1 abandoned; reason: done)"
    )
  })

  it("is a table with the slowest first, and where or why it went wrong", () => {
    const report = new ShutdownReport.ShutdownReport({
      ...empty,
      took: 5012,
      tasks: [
        task("interrupted", 3, "hub/a/quick"),
        { ...task("abandoned", 5000, "hub/a/stuck"), place: "flush (src/db.ts:12:3)" },
        { ...task("failed", 20, "hub/a/bad"), error: "Error: disk | full\n    at deep" }
      ],
      hooks: [{ path: "hub/a/bye", outcome: "completed", took: 70, within: 5000 }],
      apps: [{ path: "hub/a", outcome: "failed", resources: "released", took: 5012, budget: 10_000 }]
    })
    assert.deepStrictEqual(ShutdownReport.format(report).split("\n"), [
      "hub stopped NOT cleanly in 5.0 s of 30.0 s (3 tasks: 1 interrupted, 1 abandoned, 1 failed; reason: done)",
      "| path        | what       | outcome     |  took | where or why           |",
      "| :---------- | :--------- | :---------- | ----: | :--------------------- |",
      "| hub/a       | app        | failed      | 5.0 s |                        |",
      "| hub/a/stuck | background | abandoned   | 5.0 s | flush (src/db.ts:12:3) |",
      "| hub/a/bye   | hook       | completed   | 70 ms |                        |",
      "| hub/a/bad   | background | failed      | 20 ms | Error: disk \\| full    |",
      "| hub/a/quick | background | interrupted |  3 ms |                        |"
    ])
  })

  it("of many tasks is cut to the rows that were asked for, and says so", () => {
    const tasks = Array.from({ length: 250 }, (_, i) => task("interrupted", i))
    const report = new ShutdownReport.ShutdownReport({ ...empty, tasks })
    assert.isTrue(ShutdownReport.format(report).endsWith("… and 150 more"))
    assert.isTrue(ShutdownReport.format(report, { rows: 2 }).endsWith("… and 248 more"))
    assert.strictEqual(ShutdownReport.format(report, { rows: 250 }).split("\n").length, 253)
  })

  it("says below the table that it was hurried, got more time, and what it left open", () => {
    const fields = { extended: 2000, hurried: true as const, leftOpen: ["timer", "server on ::1:80"] }
    const report = new ShutdownReport.ShutdownReport({ ...empty, ...fields })
    const notes = [
      "Hooks and waits were cut short, since somebody lost patience.",
      "2.0 s more than its limit were granted.",
      "Still open: timer, server on ::1:80."
    ]
    assert.deepStrictEqual(ShutdownReport.format(report).split("\n").slice(1), notes)
    const withTask = new ShutdownReport.ShutdownReport({ ...report, tasks: [task("interrupted", 1)] })
    assert.deepStrictEqual(ShutdownReport.format(withTask).split("\n").slice(-3), notes)
  })
})
