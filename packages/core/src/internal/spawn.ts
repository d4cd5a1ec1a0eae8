/**
 * The one way in which a task comes to be: check the options, then fork.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Result from "effect/Result"
import { InvalidOption } from "../InvalidOption.ts"
import { ScopeClosed } from "../ScopeClosed.ts"
import type { SpawnError, SpawnOptions } from "../Task.ts"
import type { TaskRefused } from "../TaskRefused.ts"
import { now } from "./clock.ts"
import { admit, checkDuplicates, enter, Entry, waitOf, withdraw } from "./duplicates.ts"
import { observe } from "./endTask.ts"
import { checkLimit } from "./limit.ts"
import { checkName, isValidName, joinPath } from "./names.ts"
import { emit, listened } from "./say.ts"
import { shown } from "./shown.ts"
import {
  CurrentErrand,
  CurrentScope,
  CurrentTask,
  defaultSettings,
  link,
  pending,
  refusingScope,
  running,
  type ScopeImpl,
  type Settings,
  TaskImpl
} from "./state.ts"
import { interruptFiber } from "./stopTask.ts"

const failurePolicies = ["report", "stopApp", "stopHost", "ignore"] as const
const kinds = ["foreground", "background"] as const
const stopPhases = ["stopping", "interrupting"] as const

const oneOf = (option: string, value: unknown, valid: ReadonlyArray<string>): InvalidOption | undefined =>
  valid.some((choice) => choice === value) ? undefined : new InvalidOption({
    option,
    value: shown(value),
    problem: "there is no such choice",
    remedy: `Choose one of ${valid.map((choice) => `"${choice}"`).join(", ")}`
  })

/** Checks the options of a task and gives what it keeps of them. */
export const settingsOf = (
  scope: ScopeImpl,
  name: string,
  options: Omit<SpawnOptions, "within">
): Settings | InvalidOption => {
  const task = joinPath(scope.path, name, 1)
  const onFailure = options.onFailure ?? "report"
  const early = options.stopAt === "stopping"
  const invalid = oneOf(`onFailure of task "${task}"`, onFailure, failurePolicies) ??
    (options.kind === undefined ? undefined : oneOf(`kind of task "${task}"`, options.kind, kinds)) ??
    (options.stopAt === undefined ? undefined : oneOf(`stopAt of task "${task}"`, options.stopAt, stopPhases)) ??
    checkDuplicates(task, options.onDuplicate)
  if (invalid !== undefined) return invalid
  if (options.stopWithin === undefined) {
    return onFailure === "report" && !early ? defaultSettings : { onFailure, stopWithin: undefined, early }
  }
  const limit = checkLimit(`stopWithin of task "${task}"`, options.stopWithin, {
    name: `stopWithin of scope "${scope.path}"`,
    millis: scope.stopWithin
  })
  return Result.isFailure(limit) ? limit.failure : { onFailure, stopWithin: limit.success, early }
}

export const spawn = <A, E, R>(
  scope: ScopeImpl,
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  name: string,
  options: Omit<SpawnOptions, "within"> | undefined,
  /** What the task waits for before it begins. */
  delay?: Effect.Effect<void>
): TaskImpl<A, E> | SpawnError => {
  if (!isValidName(name)) {
    const checked = checkName(`a task of "${scope.path}"`, name)
    if (Result.isFailure(checked)) return checked.failure
  }
  if (options === undefined || options === null) {
    return scope.gate?.room === undefined
      ? fork(scope, context, effect, name, scope.defaultForeground, defaultSettings, delay, undefined)
      : forkAdmitted(scope, context, effect, name, scope.defaultForeground, defaultSettings, delay, "parallel")
  }
  const settings = settingsOf(scope, name, options)
  if (settings instanceof InvalidOption) return settings
  const foreground = options.kind === undefined ? scope.defaultForeground : options.kind === "foreground"
  const aTurnLater = options.startImmediately === false ? Effect.yieldNow : undefined
  const before = delay ?? aTurnLater
  const { onDuplicate = "parallel" } = options
  return onDuplicate === "parallel" && scope.gate?.room === undefined
    ? fork(scope, context, effect, name, foreground, settings, before, undefined)
    : forkAdmitted(scope, context, effect, name, foreground, settings, before, onDuplicate)
}

const ofScope: Settings = { onFailure: "ignore", stopWithin: undefined, early: false }

/** Starts a task that a scope itself is made of. It is none of those that the scope has for others. */
export const spawnOwn = <A, E, R>(
  scope: ScopeImpl,
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  name: string
): TaskImpl<A, E> | ScopeClosed =>
  fork(scope, context, effect, name, scope.defaultForeground, ofScope, undefined, undefined)

/** What came of `spawn`, for an effect to give. */
export const handed = <A, E>(
  spawned: TaskImpl<A, E> | SpawnError
): Effect.Effect<TaskImpl<A, E>, SpawnError> =>
  spawned instanceof TaskImpl ? Effect.succeed(spawned) : Effect.fail(spawned)

// A task that starts at once runs in its spawner's stack. Tasks that spawn tasks that spawn tasks would overflow it
// after some 1,700 levels, so from here on they start a turn later.
const deepest = 256
let depth = 0

/** Makes a task, if it may begin beside the others or wait for them. */
const forkAdmitted = <A, E, R>(
  scope: ScopeImpl,
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  name: string,
  foreground: boolean,
  settings: Settings,
  delay: Effect.Effect<void> | undefined,
  onDuplicate: NonNullable<SpawnOptions["onDuplicate"]>
): TaskImpl<A, E> | SpawnError => {
  const refusing = refusingScope(scope, settings.early)
  if (refusing !== undefined) return refusalBy(refusing, joinPath(scope.path, name, 1))
  const admitted = admit(scope, name, onDuplicate)
  if (!(admitted instanceof Entry)) return admitted as TaskImpl<A, E> | TaskRefused
  const task = fork(scope, context, effect, name, foreground, settings, waitOf(admitted, delay), admitted)
  // What it replaces has closed the scope in its clean-up.
  if (!(task instanceof TaskImpl)) withdraw(admitted)
  return task
}

/**
 * Makes a task and starts it. The caller has checked the options.
 */
const fork = <A, E, R>(
  scope: ScopeImpl,
  context: Context.Context<R>,
  effect: Effect.Effect<A, E, R>,
  name: string,
  foreground: boolean,
  settings: Settings,
  delay: Effect.Effect<void> | undefined,
  entry: Entry | undefined
): TaskImpl<A, E> | ScopeClosed => {
  const refusing = refusingScope(scope, settings.early)
  if (refusing !== undefined) return refusalBy(refusing, joinPath(scope.path, name, 1))
  const ordinal = scope.names.take(name)
  const before = delay ?? (depth >= deepest ? Effect.yieldNow : undefined)
  const task = new TaskImpl<A, E>(
    scope,
    name,
    ordinal,
    foreground,
    settings,
    now(scope.clock),
    before === undefined ? running : pending
  )
  if (settings.stopWithin !== undefined) scope.ownLimits = true
  if (settings.early) scope.earlyTasks = true
  link(scope, task)
  if (entry !== undefined) enter(entry, task)
  if (listened(scope)) emit(scope, { _tag: "Started", path: task.path, kind: task.kind })

  const taskContext = Context.add(sharedContext(scope, context), CurrentTask, task as TaskImpl)

  depth++
  try {
    task.fiber = Effect.runForkWith(taskContext)(
      before === undefined ? effect : startAfter(before, task, effect)
    )
  } finally {
    depth--
  }

  const exit = task.fiber.pollUnsafe()
  if (exit !== undefined) {
    observe(task, exit, taskContext)
  } else {
    scope.names.keep(name)
    observeLater(task)
    // Somebody asked it to stop before the fork returned, when there was no fiber to interrupt yet.
    if (task.phase._tag === "Stopping") interruptFiber(task, undefined)
  }
  return task
}

// Who spawns, often spawns many tasks from one context. What these have in common is made once.
const sharedContext = <R>(scope: ScopeImpl, context: Context.Context<R>): Context.Context<R> => {
  if (scope.lastShared?.from === context) return scope.lastShared.context as Context.Context<R>
  let shared = context
  const annotations = Context.get(context, References.CurrentLogAnnotations)
  if (annotations.task !== pathOfCurrentTask) {
    shared = Context.add(shared, References.CurrentLogAnnotations, { ...annotations, task: pathOfCurrentTask })
  }
  if (Context.get(context, CurrentErrand) !== undefined) shared = Context.add(shared, CurrentErrand, undefined)
  // A task spawned into a scope other than the spawner's spawns into its own in turn.
  if (Context.getOrUndefined(context, CurrentScope) !== scope) shared = Context.add(shared, CurrentScope, scope)
  scope.lastShared = { from: context, context: shared }
  return shared
}

// Every line a task logs names it. One value serves all tasks: it is read when a line is written, in the fiber that
// writes it.
const pathOfCurrentTask = {
  toString: (): string => Fiber.getCurrent()?.getRef(CurrentTask)?.path ?? "",
  toJSON: (): string => pathOfCurrentTask.toString(),
  [Symbol.for("nodejs.util.inspect.custom")]: (): string => `'${pathOfCurrentTask.toString()}'`
}

// Apart from `fork`, so that a task which has ended by now costs no closure and none of its context.
export const observeLater = <A, E>(task: TaskImpl<A, E>): void => {
  task.fiber.addObserver((exit) => observe(task, exit, task.fiber.context))
}

const startAfter = <A, E, R>(
  before: Effect.Effect<void>,
  task: TaskImpl<A, E>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(before, () => {
    // Interruption ends the task in the line above, so here it has begun.
    if (task.phase._tag === "Pending") task.phase = running
    return effect
  })

export const refusal = (scope: ScopeImpl, name: string): ScopeClosed =>
  refusalBy(refusingScope(scope) ?? scope, joinPath(scope.path, name, 1))

export const refusalBy = (refusing: ScopeImpl, path: string): ScopeClosed => {
  const { state } = refusing
  return new ScopeClosed({
    path,
    scope: refusing.path,
    state: state._tag === "Closed" ? "closed" : "stopping",
    reason: state._tag === "Stopping" ? state.reason : state._tag === "Closed" ? state.report.reason : ""
  })
}
