// @effect-diagnostics strictEffectProvide:off
import { assert, describe, it } from "@effect/vitest"
import { Console, Effect, Layer, PlatformError, Sink, Stdio, Terminal } from "effect"
import * as Log from "../log.ts"
import { Screen, ScreenGone } from "../screen.ts"

type Output = "stdout" | "stderr"

/** A program's two outputs, each a terminal or not, as one text in the order of writing. */
const makeOutputs = (terminals: ReadonlyArray<Output>, columns = 40) => {
  const written: Record<Output, string> = { stdout: "", stderr: "" }
  const screen = { text: "" }
  const write = (output: Output, text: string) => {
    written[output] += text
    if (terminals.includes(output)) screen.text += text
  }
  const sink = (output: Output) => () =>
    Sink.forEach((text: string | Uint8Array) => Effect.sync(() => write(output, String(text))))
  const stdio = Stdio.layerTest({
    stdoutIsTerminal: Effect.succeed(terminals.includes("stdout")),
    stderrIsTerminal: Effect.succeed(terminals.includes("stderr")),
    stdout: sink("stdout"),
    stderr: sink("stderr")
  })
  const errors: Console.Console = Object.assign(Object.create(console), {
    error: (text: string) => write("stderr", `${text}\n`)
  })
  return {
    written,
    screen,
    layer: Layer.mergeAll(stdio, terminalOf(columns), Layer.succeed(Console.Console, errors))
  }
}

const unused = Effect.die("not used here")

const terminalOf = (columns: number) =>
  Layer.succeed(
    Terminal.Terminal,
    Terminal.make({
      columns: Effect.succeed(columns),
      rows: unused,
      size: unused,
      readInput: unused,
      readLine: unused,
      display: () => unused
    })
  )

/** What a person sees: carriage return and the erasing of a line are all that is used. */
const rowsOf = (text: string): Array<string> => {
  const rows = [""]
  for (const part of text.replaceAll("\r\u001B[K", "\r").split(/(?=[\r\n])/)) {
    if (part.startsWith("\n")) rows.push(part.slice(1))
    else if (part.startsWith("\r")) rows[rows.length - 1] = part.slice(1)
    else rows[rows.length - 1] += part
  }
  return rows
}

describe("on a terminal", () => {
  it.effect("a line takes the place of the last one, one that is kept stays, and a text comes below", () => {
    const outputs = makeOutputs(["stdout", "stderr"])
    return Effect.gen(function*() {
      const screen = yield* Screen
      yield* screen.show("the first and longer line")
      yield* screen.show("second")
      assert.deepStrictEqual(rowsOf(outputs.screen.text), ["second"])
      yield* screen.keep("third")
      yield* screen.show("fourth")
      yield* screen.print("a table\nof two rows")
      assert.deepStrictEqual(rowsOf(outputs.screen.text), ["third", "a table", "of two rows", ""])
    }).pipe(Effect.provide(Layer.provideMerge(Screen.layer("stdout"), outputs.layer)))
  })

  it.effect("a line leaves room for the answer to Ctrl-C, so nothing wraps", () => {
    const outputs = makeOutputs(["stdout"], 10)
    return Effect.gen(function*() {
      const screen = yield* Screen
      yield* screen.show("a line that is too long")
      assert.deepStrictEqual(rowsOf(outputs.screen.text), ["a line…"])
    }).pipe(Effect.provide(Layer.provideMerge(Screen.layer("stdout"), outputs.layer)))
  })

  it.effect("a log record comes above the line and never in the middle of it", () => {
    const outputs = makeOutputs(["stdout", "stderr"])
    return Effect.gen(function*() {
      const screen = yield* Screen
      yield* screen.show("cpu 5%")
      yield* Effect.logWarning("careful")
      yield* screen.show("cpu 6%")
      assert.match(outputs.written.stderr, /\d\d:\d\d:\d\d WARN {2}careful\n$/)
      const [record, line, ...others] = rowsOf(outputs.screen.text)
      assert.match(record ?? "", /^\d\d:\d\d:\d\d WARN {2}careful$/)
      assert.strictEqual(line, "cpu 6%")
      assert.deepStrictEqual(others, [])
    }).pipe(Effect.provide(Layer.provideMerge(Layer.merge(Screen.layer("stdout"), Log.layer), outputs.layer)))
  })
})

describe("on a terminal, with stdout in a file", () => {
  it.effect("a log record does not tear the line either, and stdout holds the printed text only", () => {
    const outputs = makeOutputs(["stderr"])
    return Effect.gen(function*() {
      const screen = yield* Screen
      yield* screen.show("cpu 5%")
      yield* Effect.logWarning("careful")
      yield* screen.show("cpu 6%")
      yield* screen.print("{}")
      assert.match(rowsOf(outputs.screen.text).join("\n"), /^\d\d:\d\d:\d\d WARN {2}careful\n$/)
      assert.strictEqual(outputs.written.stdout, "{}\n")
    }).pipe(Effect.provide(Layer.provideMerge(Layer.merge(Screen.layer("stderr"), Log.layer), outputs.layer)))
  })
})

describe("where there is no terminal", () => {
  it.effect("each line is one of its own, with its time and without control characters", () => {
    const outputs = makeOutputs([])
    return Effect.gen(function*() {
      const screen = yield* Screen
      yield* screen.show("one")
      yield* screen.keep("two")
      yield* screen.print("done")
      assert.deepStrictEqual(outputs.written, {
        stdout: "1970-01-01T00:00:00.000Z one\n1970-01-01T00:00:00.000Z two\ndone\n",
        stderr: ""
      })
    }).pipe(Effect.provide(Layer.provideMerge(Screen.layer("stdout"), outputs.layer)))
  })

  it.effect("a log record has no control characters, also when stdout is a terminal", () => {
    const outputs = makeOutputs(["stdout"])
    return Effect.gen(function*() {
      yield* Effect.logInfo("hello")
      assert.match(outputs.written.stderr, /^\d\d:\d\d:\d\d INFO {2}hello\n$/)
    }).pipe(Effect.provide(Layer.provideMerge(Log.layer, outputs.layer)))
  })

  it.effect("lines can go to stderr, and stdout then holds the printed text only", () => {
    const outputs = makeOutputs([])
    return Effect.gen(function*() {
      const screen = yield* Screen
      yield* screen.show("one")
      yield* screen.print("{}")
      assert.strictEqual(outputs.written.stdout, "{}\n")
      assert.include(outputs.written.stderr, "one")
    }).pipe(Effect.provide(Layer.provideMerge(Screen.layer("stderr"), outputs.layer)))
  })

  it.effect("a reader that has gone is a typed error", () => {
    const gone = PlatformError.systemError({ _tag: "Unknown", module: "Stdio", method: "stdout" })
    const stdio = Stdio.layerTest({ stdout: () => Sink.fail(gone) })
    return Effect.gen(function*() {
      const screen = yield* Screen
      const error = yield* Effect.flip(screen.show("one"))
      assert.instanceOf(error, ScreenGone)
    }).pipe(Effect.provide(Layer.provide(Screen.layer("stdout"), [stdio, terminalOf(80)])))
  })
})

describe("a log record", () => {
  it.effect("tells the whole cause of a failure", () => {
    const outputs = makeOutputs([])
    return Effect.gen(function*() {
      yield* Effect.sandbox(Effect.die(new Error("no disk"))).pipe(
        Effect.catch((cause) => Effect.logError("failed", cause))
      )
      assert.match(outputs.written.stderr, /ERROR failed\nError: no disk\n {4}at /)
    }).pipe(Effect.provide(Layer.provideMerge(Log.layer, outputs.layer)))
  })
})
