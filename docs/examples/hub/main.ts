/**
 * A small machine monitor made of apps that depend on each other. See `hub.md`
 * beside this folder for how to read it.
 */
import { Host, ShutdownReport } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Layer, Option, Schema } from "effect"
import { CliError, Command } from "effect/cli"
import { digest } from "./digest.ts"
import { Files } from "./files.ts"
import { openFolder } from "./folder.ts"
import * as Log from "./log.ts"
import { Machine } from "./machine.ts"
import { Metrics } from "./metrics.ts"
import { options } from "./options.ts"
import { Screen } from "./screen.ts"
import { stubborn } from "./stubborn.ts"
import { timer } from "./timer.ts"

const toJson = (report: ShutdownReport.ShutdownReport): string =>
  JSON.stringify(Schema.encodeSync(ShutdownReport.ShutdownReport)(report), null, 2)

// Hashing keeps its threads busy on purpose, which is nothing to warn of.
const threads = BlockingPool.layer({ threads: 2, saturation: "none" })

const hub = Command.make("hub", options, (config) =>
  Effect.gen(function*() {
    const screen = yield* Screen
    const folder = yield* openFolder(config.folder)

    const sources = Layer.mergeAll(
      Layer.provide(Metrics.layer, Machine.layer),
      Files.layer(folder)
    )
    const apps = Layer.mergeAll(
      Layer.provide(digest(config.every), sources),
      config.stubborn ? stubborn : Layer.empty,
      Option.match(config.duration, { onNone: () => Layer.empty, onSome: timer })
    )

    yield* Host.launch(apps, {
      name: "hub",
      stopWithin: "5 seconds",
      onReport: (report) => Effect.ignore(screen.print(config.json ? toJson(report) : ShutdownReport.format(report)))
    })
  }).pipe(
    // These two tell the user what to put right. Any other error is one of the program, and is logged.
    Effect.catchTag(
      ["FolderUnusable", "CountersUnreadable"],
      (cause) => Effect.fail(new CliError.UserError({ cause }))
    )
  )).pipe(
    Command.withDescription("Shows what this machine does and what changes in a folder, until Ctrl-C"),
    // Around the host, so that the threads outlive the apps that use them.
    Command.provide(({ json }) => Layer.merge(Screen.layer(json ? "stderr" : "stdout"), threads))
  )

Command.run(hub, { version: "0.1.0" }).pipe(
  // @effect-diagnostics-next-line strictEffectProvide:off
  Effect.provide(Layer.provideMerge(Log.layer, NodeServices.layer)),
  NodeRuntime.runMain
)
