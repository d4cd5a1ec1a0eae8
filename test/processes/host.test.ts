/**
 * Hosts as processes, with real signals: each ends within its budget, with the exit
 * code and the words that tell the cases apart, and with all clean-up that could run.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { closeSync, openSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { ProgramName } from "../fixtures/hosts/programs.ts"
import type { Program } from "../fixtures/hosts/run.ts"
import { childApp, type ChildAppOptions, type ChildEnd } from "../support/childApp.ts"

const run = fileURLToPath(new URL("../fixtures/hosts/run.ts", import.meta.url))

const start = (program: Program) => childApp([run, JSON.stringify(program)], { within: 20_000 })

const programs = fileURLToPath(new URL("../fixtures/hosts/programs.ts", import.meta.url))
const loopsInThreads = fileURLToPath(new URL("../fixtures/hosts/loopsInThreads.cjs", import.meta.url))

const startProgram = (name: ProgramName, options: ChildAppOptions = {}) =>
  childApp([programs, name], { within: 20_000, ...options })

/** Starts one of the programs, and gives its end, after signals if there are any. */
const endOf = Effect.fnUntraced(
  function*(name: ProgramName, signals: ReadonlyArray<NodeJS.Signals>, options: ChildAppOptions = {}) {
    const host = yield* startProgram(name, options)
    if (signals.length > 0) yield* host.waitFor("hub is ready", options.stdoutTo === undefined ? "stdout" : "stderr")
    for (const signal of signals) yield* host.send(signal)
    return yield* host.end
  }
)

/** Starts a host and waits until it is ready. */
const ready = Effect.fnUntraced(function*(program: Program) {
  const host = yield* start(program)
  yield* host.waitFor("hub is ready")
  return host
})

/** A second, and what a loaded machine adds to it. */
const slack = 1000

const stopWithin = 1500

const endsIn = ({ took }: ChildEnd, from: number, to: number): void => {
  assert.isAtLeast(took, from)
  assert.isBelow(took, to + slack)
}

const said = ({ stderr, stdout }: ChildEnd, ...lines: ReadonlyArray<string | RegExp>): void => {
  for (const line of lines) {
    const all = stdout + stderr
    assert.isTrue(typeof line === "string" ? all.includes(line) : line.test(all), `${String(line)} in\n${all}`)
  }
}

/** What an app says when it has come to what it does wrong, where that is later than the start of the host. */
const begun: Readonly<Record<string, string>> = {
  "stuck-at-start": "works: started",
  "native-worker": "native-worker: sleeps"
}

/** The good app beside the bad one has done all its clean-up. */
const goodOne = ["works: hook", "works: task ended", "works: released"]

describe.skipIf(process.platform === "win32")("a host as a process", { timeout: 60_000 }, () => {
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    for (const under of ["NodeHost", "NodeRuntime"] as const) {
      it.live(`under ${under}, stops on ${signal}, and its exit code is ${code} (Q7, Q9)`, () =>
        Effect.gen(function*() {
          const host = yield* ready({ apps: ["works"], stopWithin, under })
          yield* host.send(signal)
          const end = yield* host.end
          assert.strictEqual(end.code, code)
          endsIn(end, 0, 500)
          said(end, ...goodOne, `hub stopped cleanly in`, `reason: ${signal})`)
        }))
    }
  }

  it.live("that ends well by itself exits with 0, also with a timer left open, and names it", () =>
    Effect.gen(function*() {
      const host = yield* start({ apps: ["works", "leaves-a-timer", "stops-itself"], stopWithin })
      const end = yield* host.end
      assert.strictEqual(end.code, 0)
      said(end, ...goodOne, "reason: enough", "Still open after the stop of hub: timer.")
    }))

  it.live("waits for clean-up that is slow but in time", () =>
    Effect.gen(function*() {
      const host = yield* ready({ apps: ["slow", "slow-layer"], stopWithin })
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 143)
      endsIn(end, 300, stopWithin)
      said(end, "slow: task ended", "slow: released", "slow-layer: released", "hub stopped cleanly")
    }))

  for (
    const [app, blamed] of [
      ["hung-finalizer", /hub\/hung-finalizer .*gave up hub\/hung-finalizer\/\(resources\)/],
      ["hung-hook", /hub\/hung-hook\/hang .* abandoned/],
      ["hung-phases", /hub\/hung-phases\/hang-finalWrite .* abandoned/],
      ["uninterruptible", /hub\/uninterruptible\/deaf .* abandoned .*deafForever \(.*misbehaviours\.ts:\d+/],
      ["native-worker", /hub\/native-worker\/sleep\/sleepsInNative .* abandoned/],
      ["stuck-at-start", /hub\/stuck-at-start\/\(start\) .* abandoned .*hangsForever \(/]
    ] as const
  ) {
    it.live(`with an app that is ${app} ends within its budget, gives it up by name, and exits with 70`, () =>
      Effect.gen(function*() {
        const host = yield* start({ apps: ["works", app], stopWithin })
        yield* host.waitFor(begun[app] ?? "hub is ready")
        yield* host.send("SIGTERM")
        const end = yield* host.end
        assert.strictEqual(end.code, 70)
        endsIn(end, 0, stopWithin)
        said(end, ...goodOne, "hub stopped NOT cleanly", blamed)
      }))
  }

  it.live("gives onReport its half second also after a stop that has used up its budget, and no more than that", () =>
    Effect.gen(function*() {
      for (const readsFor of [450, 60_000]) {
        const host = yield* ready({ apps: ["works", "hung-finalizer"], stopWithin, readsFor })
        yield* host.send("SIGTERM")
        const end = yield* host.end
        assert.strictEqual(end.code, 70)
        endsIn(end, stopWithin, stopWithin)
        said(
          end,
          readsFor === 450 ? "gave up hub/hung-finalizer/(resources)" : "onReport did not end within half a second"
        )
      }
    }))

  it.live("ends a thread in an endless loop, which is no reason for another exit code", () =>
    Effect.gen(function*() {
      const host = yield* ready({ apps: ["works", "busy-worker", "polite-worker"], stopWithin })
      yield* host.waitFor("busy-worker: spins")
      yield* host.waitFor("polite-worker: spins")
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 143)
      endsIn(end, 0, stopWithin)
      said(end, ...goodOne, "busy-worker: released", "polite-worker: released", /busy-worker\/spin\/spins .* killed/)
      said(end, /polite-worker\/spin\/spinsPolitely .* interrupted/)
    }))

  for (
    const [app, reason] of [
      ["uncaught", "thrown in a callback"],
      ["rejection", "rejected and nobody looked"],
      ["throws-in-a-loop", "again and again"]
    ] as const
  ) {
    it.live(`with an app that has an error of the kind "${app}" logs it, runs its finalizers, and exits with 1 (Q9)`, () =>
      Effect.gen(function*() {
        const host = yield* start({ apps: ["works", app], stopWithin })
        const end = yield* host.end
        assert.strictEqual(end.code, 1)
        said(
          end,
          ...goodOne,
          `${app}: released`,
          reason,
          /hub stopped cleanly in .*; reason: (nobody caught an error|a promise was rejected)/
        )
        // Told, but not without an end.
        assert.isBelow((end.stdout + end.stderr).split(reason).length, 30)
      }))
  }

  it.live("whose task fails and asks for it exits with 1, as one whose start fails", () =>
    Effect.gen(function*() {
      for (const app of ["fails", "fails-at-start"] as const) {
        const end = yield* (yield* start({ apps: ["works", app], stopWithin })).end
        assert.strictEqual(end.code, 1)
        said(end, ...goodOne, app === "fails" ? "disk full" : "no such device")
      }
    }))

  it.live("whose main thread sits in a loop is ended all the same, with what was alive, and exits with 71", () =>
    Effect.gen(function*() {
      for (const app of ["blocks-in-clean-up", "sleeps-in-clean-up"] as const) {
        const host = yield* ready({ apps: ["works", app], stopWithin })
        yield* host.send("SIGTERM")
        const end = yield* host.end
        assert.strictEqual(end.code, 71)
        endsIn(end, stopWithin, stopWithin)
        said(end, "its main thread does not answer", `hub/${app}/poll (background`)
      }
    }))

  it.live("on a second signal skips what waits, interrupts and kills, and says what is alive (Q7)", () =>
    Effect.gen(function*() {
      const host = yield* ready({
        apps: ["works", "hung-hook", "busy-worker", "uninterruptible"],
        stopWithin: 60_000,
        forceWithin: 1000
      })
      yield* host.waitFor("busy-worker: spins")
      yield* host.send("SIGTERM")
      yield* host.waitFor("works: released")
      yield* host.send("SIGINT")
      const end = yield* host.end
      assert.strictEqual(end.code, 70)
      endsIn(end, 0, 1000)
      said(end, ...goodOne, "A second signal (SIGINT): no more patience. Still alive:", "hung-hook: released")
      said(end, /^ {2}hub\/uninterruptible\/deaf \(background, .*deafForever/m, /busy-worker\/spin\/spins .* killed/)
      said(end, /hub\/uninterruptible\/deaf .* abandoned/, "busy-worker: released")
    }))

  it.live("on a third signal prints what is alive and ends at once, with 71 (Q7)", () =>
    Effect.gen(function*() {
      const host = yield* ready({ apps: ["works", "native-worker", "uninterruptible"], stopWithin: 60_000 })
      yield* host.waitFor("native-worker: sleeps")
      yield* host.send("SIGTERM")
      yield* host.waitFor("works: released")
      yield* host.send("SIGTERM")
      yield* host.waitFor("no more patience")
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 71)
      endsIn(end, 0, 400)
      said(
        end,
        "The process ends at once: a third signal (SIGTERM). Still alive:",
        "hub/uninterruptible/deaf (background"
      )
    }))

  it.live("stops on a signal at any moment of its start", () =>
    Effect.forEach([0, 30, 60, 90, 120, 200], (wait) =>
      Effect.gen(function*() {
        const host = yield* start({ apps: ["listening", "works", "slow-layer"], stopWithin })
        yield* host.waitFor("listening: begins")
        yield* Effect.sleep(wait)
        yield* host.send("SIGTERM")
        const end = yield* host.end
        assert.strictEqual(end.code, 143)
        endsIn(end, 0, stopWithin)
      }), { discard: true }))

  it.live("whose program does not return after the host is interrupted, and one that fails says so", () =>
    Effect.gen(function*() {
      for (const [signal, code] of [["SIGTERM", 143], ["SIGHUP", 129]] as const) {
        const host = yield* ready({ apps: ["works"], stopWithin, under: "NodeRuntime", after: "never" })
        yield* host.send(signal)
        const end = yield* host.end
        assert.strictEqual(end.code, code)
        said(end, ...goodOne)
      }
      const host = yield* ready({ apps: ["works"], stopWithin, under: "NodeRuntime", after: "fail" })
      yield* host.send("SIGHUP")
      const end = yield* host.end
      assert.strictEqual(end.code, 1)
      said(end, ...goodOne, "too bad")
    }))

  it.live("whose program hangs without being interruptible is ended by the budget, with 71 (Q8)", () =>
    Effect.gen(function*() {
      const host = yield* ready({ apps: ["works"], stopWithin, under: "NodeRuntime", after: "hang" })
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 71)
      endsIn(end, stopWithin, stopWithin)
      said(end, ...goodOne, "The process ends at once: it did not end within its budget.")
    }))

  it.live("goes on when nobody reads its output any more, and still stops", () =>
    Effect.gen(function*() {
      const host = yield* ready({ apps: ["works", "talks"], stopWithin })
      yield* host.waitFor("talk talk")
      yield* host.stopReading("stdout")
      yield* host.stopReading("stderr")
      yield* Effect.sleep(200)
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 143)
      endsIn(end, 0, 1000)
    }))

  it.live.skipIf(process.platform !== "linux")(
    "goes on when there is no room for what it says",
    () =>
      Effect.gen(function*() {
        const full = yield* Effect.acquireRelease(
          Effect.sync(() => openSync("/dev/full", "w")),
          (full) => Effect.sync(() => closeSync(full))
        )
        const { code } = yield* endOf("says-on-stderr", ["SIGTERM"], { stdoutTo: full })
        assert.strictEqual(code, 143)
      })
  )

  it.live("that does not fit into what its orchestrator grants does not start", () =>
    Effect.gen(function*() {
      const host = yield* start({ apps: ["works"], stopWithin: 10_000, killAfter: 10_500 })
      const end = yield* host.end
      assert.strictEqual(end.code, 1)
      said(
        end,
        "killAfter of the process is \"10s 500ms\": the process may need 11s: 10s for the stop and 1s for its end"
      )
    }))
})

describe.skipIf(process.platform === "win32")("the end of a process", { timeout: 60_000 }, () => {
  it.live("waits for nothing that sits in the system, whoever has brought it there", () =>
    Effect.gen(function*() {
      for (
        const [program, signals, code] of [
          ["thread-from-before", ["SIGTERM"], 143],
          ["stuck-pool-of-node", ["SIGTERM"], 143],
          ["exits-at-stop", ["SIGTERM"], 5],
          ["exits-by-itself", [], 5]
        ] as const
      ) {
        const end = yield* endOf(program, signals)
        assert.strictEqual(end.code, code, program)
        if (signals.length > 0) endsIn(end, 0, 1000)
      }
    }))

  it.live("is not held up by handlers of exit", () =>
    Effect.gen(function*() {
      const loops = yield* endOf("exit-handler-loops", ["SIGTERM"])
      assert.strictEqual(loops.code, 143)
      endsIn(loops, 0, 1000)
      said(loops, "works: released", "The end of the process was held up")
      const throws = yield* endOf("exit-handler-throws", ["SIGTERM"])
      assert.strictEqual(throws.code, 1)
      said(throws, "works: released", "A handler of \"exit\" failed: Error: in a handler")
    }))

  it.live("comes although this process may start no thread", () =>
    Effect.gen(function*() {
      const end = yield* endOf("works", ["SIGTERM"], { flags: ["--permission", "--allow-fs-read=*"] })
      assert.strictEqual(end.code, 143)
      said(end, "No thread can be started that ends this process if its main thread hangs", "works: released")
    }))

  it.live("comes although what is preloaded hangs in threads", () =>
    Effect.gen(function*() {
      for (
        const options of [{ flags: ["--require", loopsInThreads] }, {
          env: { NODE_OPTIONS: `--require=${loopsInThreads}` }
        }]
      ) {
        const end = yield* endOf("blocks", ["SIGTERM"], options)
        assert.strictEqual(end.code, 71)
        endsIn(end, 1000, 1000)
      }
    }))

  it.live("is 1 for an error that nobody caught during the stop, and the log tells it", () =>
    Effect.gen(function*() {
      const end = yield* endOf("throws-at-stop", ["SIGTERM"])
      assert.strictEqual(end.code, 1)
      said(end, "too late", "works: released", "reason: SIGTERM")
    }))

  it.live("has the code of the error, if that is one", () =>
    Effect.gen(function*() {
      for (const [program, code] of [["code-3", 3], ["code-256", 1], ["code-1.5", 1]] as const) {
        assert.strictEqual((yield* endOf(program, [])).code, code, program)
      }
    }))

  it.live("comes after an error that cannot be shown, which is told as far as it can be", () =>
    Effect.gen(function*() {
      for (
        const [program, text] of [["unreadable-message", "cannot be shown"], [
          "unreadable-stack",
          "Error: hostile"
        ]] as const
      ) {
        const end = yield* endOf(program, [])
        assert.strictEqual(end.code, 1)
        assert.include(end.stderr, `In this process nobody caught an error; it stops: `)
        said(end, text, "works: released")
      }
    }))

  it.live("comes although a logger hangs at the first word of it", () =>
    Effect.gen(function*() {
      const end = yield* endOf("logger-hangs", [])
      assert.strictEqual(end.code, 71)
      said(end, "its main thread does not answer")
    }))

  it.live("comes no sooner because the budget is longer than a timer of Node", () =>
    Effect.gen(function*() {
      const end = yield* endOf("long-budget", ["SIGTERM"])
      assert.strictEqual(end.code, 143)
      said(end, "works: released")
      assert.notInclude(end.stderr, "TimeoutOverflowWarning")
    }))

  it.live("comes no later because of a second signal", () =>
    Effect.gen(function*() {
      const host = yield* startProgram("little-left")
      yield* host.waitFor("hub is ready")
      yield* host.send("SIGTERM")
      yield* host.waitFor("hub stops")
      yield* host.send("SIGTERM")
      const end = yield* host.end
      assert.strictEqual(end.code, 70)
      endsIn(end, 0, 1000)
      assert.notInclude(end.stdout, "what is left has 1m")
    }))

  it.live("comes when a reader that is slow has read the last line", () =>
    Effect.gen(function*() {
      const host = yield* startProgram("says-much")
      yield* host.waitFor("hub is ready")
      yield* host.pause("stdout")
      yield* host.send("SIGTERM")
      yield* Effect.sleep(120)
      yield* host.resume("stdout")
      const end = yield* host.end
      assert.strictEqual(end.code, 143)
      said(end, "hub stopped cleanly in")
    }))
})

describe.skipIf(process.platform === "win32")(
  "a process with several hosts",
  { timeout: 60_000 },
  () => {
    it.live("goes on when one of them has stopped by itself", () =>
      Effect.gen(function*() {
        const host = yield* startProgram("one-of-two-stops")
        yield* host.waitFor("first stopped cleanly")
        yield* host.waitFor("still here")
        yield* host.send("SIGTERM")
        const end = yield* host.end
        assert.strictEqual(end.code, 143)
        said(end, "works: released", "hub stopped cleanly")
      }))

    it.live("gives each of them its own budget", () =>
      Effect.gen(function*() {
        const end = yield* endOf("two-budgets", ["SIGTERM"])
        assert.strictEqual(end.code, 143)
        said(end, "quick: released", "slow: released")
      }))

    it.live("gives one that comes after the signal what is left, and no budget of its own", () =>
      Effect.gen(function*() {
        const end = yield* endOf("one-after-another", ["SIGHUP"])
        assert.strictEqual(end.code, 71)
        endsIn(end, 1000, 1000)
        said(end, "first: released", "second stops: SIGHUP")
      }))

    it.live("listens until the last owner has given it back", () =>
      Effect.gen(function*() {
        const end = yield* endOf("layer-inside", ["SIGTERM"])
        assert.strictEqual(end.code, 143)
        said(end, "works: released")
      }))

    it.live("refuses a second program", () =>
      Effect.gen(function*() {
        const end = yield* endOf("two-programs", [])
        assert.strictEqual(end.code, 1)
        said(end, "runMain is \"other\": this process already runs a program")
      }))
  }
)

// What Docker does without an init: no signal has a default action, and SIGKILL from inside does nothing.
describe.runIf(process.platform === "linux" && process.getuid?.() === 0)(
  "a host as process 1 of a container",
  { timeout: 60_000 },
  () => {
    const asFirst = Effect.fnUntraced(function*(program: Program) {
      const host = yield* childApp([run, JSON.stringify(program)], {
        within: 20_000,
        through: ["unshare", "--pid", "--fork", "--kill-child", "--"]
      })
      yield* host.waitFor("hub is ready")
      return host
    })

    it.live("stops on a signal, and gives up what it has to", () =>
      Effect.gen(function*() {
        for (const [app, code] of [["slow", 143], ["native-worker", 70], ["uninterruptible", 70]] as const) {
          const host = yield* asFirst({ apps: ["works", app], stopWithin })
          yield* host.waitFor(begun[app] ?? "hub is ready")
          yield* host.sendInside("SIGTERM")
          const end = yield* host.end
          assert.strictEqual(end.code, code, app)
          endsIn(end, 0, stopWithin)
          said(end, ...goodOne)
        }
      }))

    it.live("is ended although its main thread does not answer", () =>
      Effect.gen(function*() {
        const host = yield* asFirst({ apps: ["works", "blocks-in-clean-up"], stopWithin })
        yield* host.sendInside("SIGTERM")
        const end = yield* host.end
        assert.strictEqual(end.code, 71)
        endsIn(end, stopWithin, stopWithin)
      }))
  }
)
