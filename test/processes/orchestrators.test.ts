/**
 * What a host tells those who run it.
 */
import { App, Host } from "@ambit/core"
import { NodeHost } from "@ambit/node"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Program } from "../fixtures/hosts/run.ts"
import { childApp } from "../support/childApp.ts"
import { eventually } from "../support/eventually.ts"

const run = fileURLToPath(new URL("../fixtures/hosts/run.ts", import.meta.url))
const programs = fileURLToPath(new URL("../fixtures/hosts/programs.ts", import.meta.url))
const bin = fileURLToPath(new URL("../fixtures/bin", import.meta.url))

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "ambit-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** Waits until something outside of this process has happened. */
const until = (holds: () => boolean) => eventually(Effect.sync(holds))

/** What systemd was told. Each line is written by a program of its own, and one that is not yet whole does not count. */
const toldIn = (log: string) => (): ReadonlyArray<string> =>
  existsSync(log) ? readFileSync(log, "utf8").split("\n").slice(0, -1) : []

const program: Program = { apps: ["works"], stopWithin: 1500, under: "NodeRuntime" }

describe.skipIf(process.platform === "win32")("under systemd, a host", { timeout: 30_000 }, () => {
  const start = Effect.fnUntraced(function*(program: Program, env: Readonly<Record<string, string>> = {}) {
    const log = join(yield* folder, "notify.log")
    const host = yield* childApp([run, JSON.stringify(program)], {
      env: { NOTIFY_SOCKET: "/run/none", NOTIFY_LOG: log, PATH: `${bin}:${process.env["PATH"]}`, ...env }
    })
    yield* host.waitFor("hub is ready")
    return { host, told: toldIn(log) }
  })

  it.live("tells when it is ready, that it stops and why, and the phases", () =>
    Effect.gen(function*() {
      const { host, told } = yield* start(program)
      yield* until(() => told().length > 0)
      assert.deepStrictEqual(told(), ["READY=1 STATUS=hub is ready"])
      yield* host.send("SIGTERM")
      yield* host.end
      yield* until(() => told().length === 6)
      // Each is told by a program of its own, so they may overtake each other.
      assert.sameMembers(told().slice(1), [
        "STOPPING=1 STATUS=hub stops (SIGTERM): stopping",
        ...["draining", "interrupting", "finalWrite", "closing"].map((phase) => `STATUS=hub stops (SIGTERM): ${phase}`)
      ])
    }))

  it.live("asks for more time when something in its stop does", () =>
    Effect.gen(function*() {
      const { host, told } = yield* start({ ...program, apps: ["works", "asks-for-time"], extension: 2000 })
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 143)
      assert.include(end.stdout, "asks-for-time: flushed")
      assert.include(end.stdout, "asks-for-time asked for 2.0 s more to stop (much to flush); it got 2.0 s")
      const micros = () => /EXTEND_TIMEOUT_USEC=(\d+)/.exec(told().join("\n"))?.[1]
      yield* until(() => micros() !== undefined)
      // The stop, what it was granted, and the second in which the process ends.
      assert.isAtLeast(Number(micros()), 3_500_000)
      assert.isAtMost(Number(micros()), 4_500_000)
    }))

  it.live("gives a sign of life twice as often as it must", () =>
    Effect.gen(function*() {
      const { told } = yield* start(program, { WATCHDOG_USEC: "200000" })
      yield* until(() => told().filter((line) => line === "WATCHDOG=1").length >= 3)
    }))

  it.live("gives none when the watchdog is for another process", () =>
    Effect.gen(function*() {
      const { host, told } = yield* start(program, { WATCHDOG_USEC: "1000", WATCHDOG_PID: "1" })
      yield* until(() => told().length > 0)
      yield* host.send("SIGTERM")
      yield* host.end
      assert.notInclude(told(), "WATCHDOG=1")
    }))

  it.live("takes a reason for one line of text, whatever is in it", () =>
    Effect.gen(function*() {
      const log = join(yield* folder, "notify.log")
      const host = yield* childApp([programs, "odd-reason"], {
        env: { NOTIFY_SOCKET: "/run/none", NOTIFY_LOG: log, PATH: `${bin}:${process.env["PATH"]}` }
      })
      const end = yield* host.end
      assert.strictEqual(end.code, 0)
      const told = toldIn(log)
      yield* until(() => told().some((line) => line.includes("STATUS=hub stops (first READY=1 xxx")))
      assert.notMatch(told().join("\n"), /^READY=1/m)
    }))

  it.live("is not told of by a process that may start no programs, which goes on", () =>
    Effect.gen(function*() {
      const host = yield* childApp([programs, "works"], {
        env: { NOTIFY_SOCKET: "/run/none" },
        flags: ["--permission", "--allow-fs-read=*", "--allow-worker"]
      })
      yield* host.waitFor("systemd is not told how this process is")
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 143)
      assert.include(end.stdout, "works: released")
    }))

  it.live("that wants a sign of life once in an age gets no flood of them", () =>
    Effect.gen(function*() {
      const { host, told } = yield* start(program, { WATCHDOG_USEC: "18446744073709551615" })
      yield* until(() => told().length > 0)
      yield* host.send("SIGTERM")
      yield* host.end
      assert.notInclude(told(), "WATCHDOG=1")
    }))

  it.live("says once when systemd cannot be told, and goes on", () =>
    Effect.gen(function*() {
      const { host } = yield* start(program, { PATH: "/nowhere" })
      yield* host.waitFor("systemd is not told how this process is")
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 143)
      assert.strictEqual(end.stdout.split("systemd is not told").length, 2)
    }))
})

describe.skipIf(process.platform === "win32")("a health file", { timeout: 30_000 }, () => {
  it.live("is ready when all apps are, and not once the host stops", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "health.json")
      const health = () => existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {}
      const host = yield* childApp([run, JSON.stringify({ ...program, apps: ["works", "slow"], healthFile: path })])
      yield* host.waitFor("hub is ready")
      yield* until(() => health().ready === true)
      assert.deepStrictEqual(health(), {
        ready: true,
        live: true,
        state: "running",
        apps: { "hub/works": "ready", "hub/slow": "ready" }
      })
      yield* host.send("SIGTERM")
      yield* host.end
      assert.deepInclude(health(), { ready: false, state: "stopping" })
    }))

  it.live("holds the last state after a stop at any moment", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "health.json")
      const apps = Array.from({ length: 5 }, (_, index) => App.layer(`app-${index}`, Effect.sleep(index)))
      for (let moment = 0; moment < 30; moment++) {
        const stops = App.layer("stops", Effect.andThen(Effect.sleep(moment % 6), Host.requestStop("enough")))
        yield* Host.launch(Layer.mergeAll(Layer.empty, ...apps, stops, NodeHost.healthFile(path)))
        const { ready, state } = JSON.parse(readFileSync(path, "utf8"))
        assert.deepStrictEqual([moment, ready, state], [moment, false, "stopping"])
      }
    }))

  it.live("holds the state of an app that gets ready at any moment, while another one still starts", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "health.json")
      const states = () => existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).apps : {}
      for (let moment = 0; moment < 20; moment++) {
        const quick = App.layer("quick", Effect.repeat(Effect.yieldNow, { times: moment }))
        const slow = App.layer("slow", until(() => states()["host/quick"] === "ready"), { startWithin: "3 seconds" })
        const stops = App.layer("stops", Host.requestStop("enough"))
        const apps = Layer.provide(stops, slow)
        yield* Host.launch(Layer.mergeAll(apps, quick, NodeHost.healthFile(path)))
        rmSync(path)
      }
    }))

  it.live("that cannot be written keeps the host from starting, and says where", () =>
    Effect.gen(function*() {
      const host = yield* childApp([run, JSON.stringify({ ...program, healthFile: "/nowhere/health.json" })])
      const end = yield* host.end
      assert.strictEqual(end.code, 1)
      assert.include(end.stdout, "The health of the host cannot be written to /nowhere/health.json")
    }))
})
