/**
 * A small machine monitor made of apps that depend on each other. See `hub.md`
 * beside this folder for how to read it.
 */
import { Bus, Host, ShutdownReport } from "@ambit/core"
import { BlockingPool, MainCalls, NodeHost, SyncApp } from "@ambit/node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Layer, Option, Schema } from "effect"
import { CliError, Command } from "effect/cli"
import { digest } from "./digest.ts"
import { feed } from "./feed.ts"
import { Files } from "./files.ts"
import { openFolder } from "./folder.ts"
import { journal } from "./journal.ts"
import * as Log from "./log.ts"
import { Machine } from "./machine.ts"
import { Metrics } from "./metrics.ts"
import { options } from "./options.ts"
import { Readings, Rules } from "./rules.ts"
import { Screen } from "./screen.ts"
import { Sensor } from "./sensor.ts"
import { stubborn } from "./stubborn.ts"
import { timer } from "./timer.ts"
import { sharesOf } from "./usage.ts"

const toJson = (report: ShutdownReport.ShutdownReport): string =>
  JSON.stringify(Schema.encodeSync(ShutdownReport.ShutdownReport)(report), null, 2)

// Hashing keeps its threads busy on purpose, which is nothing to warn of.
const threads = BlockingPool.layer({ threads: 2, saturation: "none" })

/** The rules run in a thread of their own and ask for what they look at. */
const rules = Layer.unwrap(Effect.map(Metrics, (metrics) =>
  Layer.provide(
    SyncApp.layer(Rules, { config: { limits: { cpu: 0.9, memory: 0.9 }, every: 10_000 } }),
    MainCalls.layer(Readings, { lastMinute: () => Effect.map(metrics.usage("1 minute"), sharesOf) })
  )))

const hub = Command.make("hub", options, (config) =>
  Effect.gen(function*() {
    const screen = yield* Screen
    const folder = yield* openFolder(config.folder)

    const sources = Layer.mergeAll(
      Layer.provide(Metrics.layer, Machine.layer),
      Files.layer(folder)
    )
    const apps = Layer.mergeAll(
      Layer.provide(Layer.merge(digest(config.every), rules), sources),
      journal,
      config.flaky ? Layer.provide(feed, Sensor.simulated) : Layer.empty,
      config.stubborn ? stubborn : Layer.empty,
      Option.match(config.duration, { onNone: () => Layer.empty, onSome: timer })
    ).pipe(Layer.provide(Bus.layer))

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
    // Around the host: the threads outlive the apps that use them, and the process ends whatever they do.
    Command.provide(({ json }) => Layer.mergeAll(Screen.layer(json ? "stderr" : "stdout"), threads, NodeHost.layer()))
  )

Command.run(hub, { version: "0.1.0" }).pipe(
  // @effect-diagnostics-next-line strictEffectProvide:off
  Effect.provide(Layer.provideMerge(Log.layer, NodeServices.layer)),
  NodeRuntime.runMain({ teardown: NodeHost.teardown })
)
