/**
 * What is alive in a host, as plain data.
 */
import * as Deferred from "effect/Deferred"
import type { Health, Tree, TreeApp, TreeCall, TreeTask } from "../Host.ts"
import type { HostState } from "../HostOwner.ts"
import { type AppImpl, stateNames } from "./app.ts"
import { now } from "./clock.ts"
import type { HostImpl } from "./host.ts"
import { placeOf } from "./place.ts"
import { callsOf, type ScopeImpl, tasksOf } from "./state.ts"

const treeTasks = (scope: ScopeImpl, most: number): Array<TreeTask> => [
  ...tasksOf(scope).slice(0, most).map((task) => ({
    path: task.path,
    kind: task.kind,
    status: task.status._tag,
    age: now(scope.clock) - task.startedAt,
    restarts: task.restarts,
    place: placeOf(task.fiber)
  })),
  // An app inside of an app has a line of its own.
  ...[...scope.children].filter((child) => child.stop === undefined).flatMap((child) => treeTasks(child, most))
]

const treeCalls = (scope: ScopeImpl): Array<TreeCall> => [
  ...callsOf(scope).map((call) => {
    const state = call.job.state()
    return {
      task: call.taskPath,
      name: call.name,
      thread: state._tag === "Running" ? state.thread : undefined,
      age: now(scope.clock) - call.startedAt
    }
  }),
  ...[...scope.children].filter((child) => child.stop === undefined).flatMap(treeCalls)
]

const treeApp = (app: AppImpl, most: number): TreeApp => ({
  path: app.path,
  state: stateNames[app.phase._tag],
  restarts: app.restarts,
  dependsOn: [...app.dependencies].map((dependency) => dependency.path),
  tasks: scopesOf(app).flatMap((scope) => treeTasks(scope, most)),
  calls: scopesOf(app).flatMap(treeCalls)
})

// Also what an earlier life had to give up.
const scopesOf = (app: AppImpl): Array<ScopeImpl> =>
  [...app.parent?.children ?? []].filter((scope) => scope.path === app.path)

/** The tree of a host, with at most so many tasks of each scope. */
export const treeOf = (host: HostImpl, most = Infinity): Tree => ({
  path: host.name,
  tasks: treeTasks(host.root, most),
  calls: treeCalls(host.root),
  apps: [...host.apps.values()].map((app) => treeApp(app, most))
})

const hostStateOf = (host: HostImpl): HostState => {
  switch (host.root.state._tag) {
    case "Open":
      return Deferred.isDoneUnsafe(host.ready) ? "running" : "starting"
    case "Stopping":
      return "stopping"
    case "Closed":
      return host.over ? "stopped" : "stopping"
  }
}

export const healthOf = (host: HostImpl): Health => {
  const state = hostStateOf(host)
  const apps = [...host.apps.values()].map((app) => [app.path, stateNames[app.phase._tag]] as const)
  return {
    ready: state === "running" && apps.every(([, state]) => state === "ready"),
    live: apps.every(([, state]) => state !== "failed"),
    state,
    apps: Object.fromEntries(apps)
  }
}
