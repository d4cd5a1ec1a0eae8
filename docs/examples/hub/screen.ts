/**
 * Where the hub shows what it has to say. On a terminal the digest is one line
 * that is written anew; elsewhere each digest is a line with its time.
 */
import { Context, DateTime, Effect, Layer, Schema, Stdio, Stream, Terminal } from "effect"
import { cut } from "./format.ts"

/** The reader of the output has ended, as in `hub | head -1`. */
export class ScreenGone extends Schema.TaggedError<ScreenGone>("@ambit/docs/examples/hub/screen/ScreenGone")(
  "ScreenGone",
  { cause: Schema.Defect() }
) {
  override get message(): string {
    return "nobody reads the output any more"
  }
}

export class Screen extends Context.Service<Screen, {
  /** Whether a line takes the place of the last one, as on a terminal. */
  readonly live: boolean
  /** Shows a line in place of the last one. */
  readonly show: (line: string) => Effect.Effect<void, ScreenGone>
  /** Shows a line in place of the last one, and leaves it there. */
  readonly keep: (line: string) => Effect.Effect<void, ScreenGone>
  /** Prints a text on stdout as it is. */
  readonly print: (text: string) => Effect.Effect<void, ScreenGone>
}>()("@ambit/docs/examples/hub/screen") {
  /** `lines` is where the lines go; one that wants to parse stdout has them on stderr. */
  static readonly layer = (lines: "stdout" | "stderr") => Layer.effect(Screen, make(lines))
}

/** Back to the first column, and the whole line away. */
export const eraseLine = "\r\u001B[K"

// A terminal answers Ctrl-C with `^C` behind the line. If that wrapped, half of the line would stay.
const reserved = 3

/** For a terminal that does not tell its width. */
const usualColumns = 80

const make = Effect.fnUntraced(function*(lines: "stdout" | "stderr") {
  const stdio = yield* Stdio.Stdio
  const terminal = yield* Terminal.Terminal

  const write = (text: string, output: "stdout" | "stderr") =>
    Stream.make(text).pipe(
      Stream.run(output === "stdout" ? stdio.stdout() : stdio.stderr()),
      Effect.mapError((cause) => new ScreenGone({ cause }))
    )

  const onTerminal = yield* lines === "stdout" ? stdio.stdoutIsTerminal : stdio.stderrIsTerminal
  if (!onTerminal) {
    const timed = (line: string) =>
      Effect.flatMap(DateTime.now, (now) => write(`${DateTime.formatIso(now)} ${line}\n`, lines))
    return Screen.of({ live: false, show: timed, keep: timed, print: (text) => write(`${text}\n`, "stdout") })
  }

  const draw = (line: string, end: string) =>
    Effect.flatMap(
      terminal.columns,
      (columns) => write(`${eraseLine}${cut(line, (columns || usualColumns) - reserved)}${end}`, lines)
    )
  return Screen.of({
    live: true,
    show: (line) => draw(line, ""),
    keep: (line) => draw(line, "\n"),
    print: (text) => Effect.andThen(write(eraseLine, lines), write(`${text}\n`, "stdout"))
  })
})
