/**
 * Which tasks may begin: one after the other among those of one name, and only so many of a scope at once.
 *
 * A scope has a gate once a task of it has asked about its namesakes, or when it has a limit. Nobody else pays for it.
 *
 * Invariants, all of them tested in core/Task.duplicates.test.ts
 * - A task that asks about its namesakes is in the line of its name, behind all that are alive, until it has ended or was
 *   given up. It begins when it is the first. Those that ask nothing are found when somebody asks, and never wait.
 * - What a task has left behind, on a thread or as a promise, has the place of that task in the line.
 * - A task gets one of the places of its scope when it is the first of its line, and `taken` counts those that have one.
 *   It waits for a place only while all are taken, in the order in which it came to that.
 * - A replacement takes over the place of what it replaces, so nothing is stopped for a task that is then refused.
 * - What waits does not begin while its scope is asking tasks to stop: it will be asked itself.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { InvalidOption } from "../InvalidOption.ts"
import type { SpawnOptions } from "../Task.ts"
import { TaskRefused } from "../TaskRefused.ts"
import type { Drops, TaskScopeOptions } from "../TaskScope.ts"
import { Chain, type Link } from "./chain.ts"
import { now } from "./clock.ts"
import { registerMetrics } from "./gateMetrics.ts"
import { joinPath } from "./names.ts"
import { say } from "./say.ts"
import { shown } from "./shown.ts"
import { isLive, type ScopeImpl, type TaskImpl } from "./state.ts"
import { keptBack, Throttle } from "./throttle.ts"

// -----------------------------------------------------------------------------
// Options
// -----------------------------------------------------------------------------

type Policy = NonNullable<SpawnOptions["onDuplicate"]>

/** How many tasks a scope may have at once, and how many more may wait. */
export interface Room {
  readonly atOnce: number
  readonly queue: number
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1

const fieldOf = (value: unknown, field: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[field] : undefined

const words: ReadonlyArray<unknown> = ["parallel", "skip", "replace", "fail"] satisfies ReadonlyArray<Policy>

export const checkDuplicates = (task: string, value: unknown): InvalidOption | undefined => {
  if (value === undefined || words.includes(value) || isCount(fieldOf(value, "queue"))) return undefined
  const isQueue = typeof value === "object" && value !== null && "queue" in value
  return new InvalidOption({
    option: `onDuplicate of task "${task}"`,
    value: shown(value),
    problem: isQueue ? "how many wait must be a whole number from 1 on" : "there is no such choice",
    remedy: "Choose one of \"parallel\", \"skip\", \"replace\", \"fail\" and { queue: n }"
  })
}

export const checkMaxTasks = (
  of: string,
  value: TaskScopeOptions["maxTasks"]
): Result.Result<Room | undefined, InvalidOption> => {
  if (value === undefined) return Result.succeed(undefined)
  if (isCount(value)) return Result.succeed({ atOnce: value, queue: 0 })
  const atOnce = fieldOf(value, "atOnce")
  const queue = fieldOf(value, "queue")
  if (isCount(atOnce) && isCount(queue)) return Result.succeed({ atOnce, queue })
  return Result.fail(
    new InvalidOption({
      option: `maxTasks of ${of}`,
      value: shown(value),
      problem: "how many tasks there may be must be a whole number from 1 on",
      remedy: "Give it a number such as 10, or { atOnce: 10, queue: 100 } to let more of them wait"
    })
  )
}

// -----------------------------------------------------------------------------
// State
// -----------------------------------------------------------------------------

export class Gate {
  readonly scope: ScopeImpl
  readonly room: Room | undefined
  readonly drops: { -readonly [count in keyof Drops]: number } = { skipped: 0, replaced: 0, refused: 0 }
  /** How many tasks wait here. */
  waiting = 0
  taken = 0
  /** Those that wait for a place. */
  readonly forPlace = new Chain<Entry>()
  readonly lines = new Map<string, Line>()
  readonly entries = new Map<TaskImpl, Entry>()

  constructor(scope: ScopeImpl, room: Room | undefined) {
    this.scope = scope
    this.room = room
    const removeMetrics = registerMetrics(this, scope.context)
    ;(scope.atStop ??= new Set()).add(removeMetrics)
  }

  /** A task has ended or was given up. */
  left(task: TaskImpl): void {
    const entry = this.entries.get(task)
    if (entry === undefined) return
    this.entries.delete(task)
    waitsNoMore(entry)
    if (entry.forPlace !== undefined) this.forPlace.remove(entry.forPlace)
    if (entry.hasPlace) this.taken--
    const next = leaveLine(entry)
    if (next !== undefined) comesFirst(next)
    handOver(this)
  }

  /** A task is about to end, and what it has begun goes on as a task of its own. */
  leftBehind(by: TaskImpl | undefined, work: TaskImpl): void {
    const owner = by && this.entries.get(by)
    if (owner?.inLine === undefined) return
    const entry = new Entry(this, owner.name, "left")
    entry.task = work
    this.entries.set(work, entry)
    entry.inLine = owner.line!.entries.add(entry, owner.inLine)
    entry.line = owner.line
    // It has its limit as well.
    ask(entry)
  }
}

/** The tasks of one name that live. */
class Line {
  readonly entries = new Chain<Entry>()
  /** How many of them have the name, and are not only left behind. */
  named = 0
  waiting = 0
}

/** A task that has passed the gate or waits there. */
export class Entry {
  readonly gate: Gate
  /** That of its line. */
  readonly name: string
  /** Whether it is one of its name, one of no line, or what another one has left behind. */
  kind: "named" | "plain" | "left"
  task!: TaskImpl
  line: Line | undefined = undefined
  inLine: Link<Entry> | undefined = undefined
  hasPlace = false
  /** While it waits for a place. */
  forPlace: Link<Entry> | undefined = undefined
  waits = false
  /** Lets it begin, once its fiber waits. */
  begin = () => {}
  /** Whether it was asked to stop for a newer one. */
  asked = false

  constructor(gate: Gate, name: string, kind: Entry["kind"]) {
    this.gate = gate
    this.name = name
    this.kind = kind
  }
}

const joinLine = (entry: Entry): void => {
  const { gate, name } = entry
  const line = gate.lines.get(name) ?? new Line()
  gate.lines.set(name, line)
  entry.line = line
  entry.inLine = line.entries.add(entry)
  line.named++
}

/** Gives who is the first now, when it has waited for that. */
const leaveLine = (entry: Entry): Entry | undefined => {
  const { gate, inLine, kind, line, name } = entry
  if (line === undefined || inLine === undefined) return undefined
  line.entries.remove(inLine)
  entry.inLine = undefined
  if (kind === "named") line.named--
  const { first } = line.entries
  if (first === undefined) gate.lines.delete(name)
  return inLine.previous === undefined && first?.value.waits === true ? first.value : undefined
}

/** The task waits for no other one of its name; in a scope with a limit it may wait for a place. */
const comesFirst = (entry: Entry): void => {
  const { forPlace, gate, hasPlace } = entry
  if (gate.room === undefined || hasPlace) return begin(entry)
  if (forPlace === undefined) entry.forPlace = gate.forPlace.add(entry)
}

/** Gives the places that are free to those that wait for one. */
const handOver = (gate: Gate): void => {
  if (gate.room === undefined) return
  for (let at = gate.forPlace.first; at !== undefined && gate.taken < gate.room.atOnce; at = gate.forPlace.first) {
    gate.forPlace.remove(at)
    at.value.forPlace = undefined
    takePlace(at.value)
    begin(at.value)
  }
}

const takePlace = (entry: Entry): void => {
  entry.hasPlace = true
  entry.gate.taken++
}

const begin = (entry: Entry): void => {
  waitsNoMore(entry)
  entry.begin()
}

const count = ({ gate, line }: Entry, by: 1 | -1): void => {
  gate.waiting += by
  if (line !== undefined) line.waiting += by
}

const waitsNoMore = (entry: Entry): void => {
  if (!entry.waits) return
  entry.waits = false
  count(entry, -1)
}

// -----------------------------------------------------------------------------
// Admission
// -----------------------------------------------------------------------------

/** The gate of a scope; there is one from the first use on. */
const gateOf = (scope: ScopeImpl): Gate => scope.gate ??= new Gate(scope, undefined)

/**
 * Decides what becomes of a new task: an entry for it, the task that is there instead, or a refusal. The caller has
 * checked that the scope takes tasks in, and lets the task enter in this very turn.
 */
export const admit = (scope: ScopeImpl, name: string, policy: Policy): Entry | TaskImpl | TaskRefused => {
  const gate = gateOf(scope)
  const asks = policy !== "parallel"
  const line = asks ? lineOf(gate, name) : undefined
  const isTaken = line !== undefined && line.named > 0
  if (policy === "skip" && isTaken) {
    gate.drops.skipped++
    return runningIn(line)
  }
  if (policy === "fail" && isTaken) return refuse(gate, name, "name", 1, 0)
  if (typeof policy === "object" && line !== undefined && line.waiting >= policy.queue) {
    return refuse(gate, name, "name", 1, policy.queue)
  }

  // Who waits behind others of its name needs no place yet.
  if (line === undefined && isFull(gate)) return refuse(gate, name, "maxTasks", gate.room!.atOnce, gate.room!.queue)

  const entry = new Entry(gate, name, asks ? "named" : "plain")
  if (policy === "replace") replaceAll(entry, namedIn(line))
  entry.waits = (asks && gate.lines.has(name)) || (!entry.hasPlace && areTaken(gate))
  return entry
}

/** Whether there is neither a place nor room to wait for one. */
const isFull = (gate: Gate): boolean => areTaken(gate) && gate.forPlace.size >= gate.room!.queue

const areTaken = ({ room, taken }: Gate): boolean => room !== undefined && taken >= room.atOnce

const replaceAll = (entry: Entry, replaced: ReadonlyArray<Entry>): void => {
  const { gate, name } = entry
  // Before one of them ends, or somebody else would get its place.
  if (replaced.some(({ hasPlace }) => hasPlace)) takePlace(entry)
  for (const namesake of replaced) ask(namesake)
  // Also those that their clean-up has spawned.
  for (const namesake of namedIn(lineOf(gate, name))) ask(namesake)
}

/** A task that was admitted does not come to be after all. */
export const withdraw = ({ gate, hasPlace }: Entry): void => {
  if (!hasPlace) return
  gate.taken--
  handOver(gate)
}

/** The line of a name, with all that live. */
const lineOf = (gate: Gate, name: string): Line | undefined => {
  const known = gate.lines.get(name)?.named ?? 0
  // Also counts what was given up, and child scopes; then there may be nothing to find.
  if (gate.scope.names.count(name) > known) findOthers(gate, name)
  return gate.lines.get(name)
}

const namedIn = (line: Line | undefined): ReadonlyArray<Entry> =>
  line?.entries.values.filter(({ kind }) => kind === "named") ?? []

/** The oldest task of a line, but one that is about to end only when there is no other. */
const runningIn = (line: Line): TaskImpl => {
  const named = namedIn(line)
  return (named.find(({ task }) => task.phase._tag !== "Stopping") ?? named[0]!).task
}

// Those that were spawned without a question.
const findOthers = (gate: Gate, name: string): void => {
  for (let task = gate.scope.first; task !== undefined; task = task.next) {
    if (task.name !== name || !isLive(task)) continue
    const entry = gate.entries.get(task) ?? new Entry(gate, name, "named")
    if (entry.inLine !== undefined) continue
    entry.task = task
    entry.kind = "named"
    gate.entries.set(task, entry)
    joinLine(entry)
    // It waits for a place, and was counted without a line.
    if (entry.waits) entry.line!.waiting++
  }
}

/** Has a task stopped within its limit; nobody waits for that but who is behind it in its line. */
const ask = (entry: Entry): void => {
  if (entry.asked) return
  entry.asked = true
  const { gate: { drops, scope }, task } = entry
  if (task.phase._tag === "Pending" || task.phase._tag === "Running") drops.replaced++
  Effect.runForkWith(scope.context)(scope.interruptTask(task, "a newer task of its name replaces it"))
}

/** A task that was admitted is in the list of its scope now, and takes no step before this. */
export const enter = (entry: Entry, task: TaskImpl): void => {
  const { gate } = entry
  entry.task = task
  gate.entries.set(task, entry)
  if (entry.kind === "named") joinLine(entry)
  if (entry.waits) count(entry, 1)
  if (gate.room === undefined || entry.hasPlace || entry.inLine?.previous !== undefined) return
  if (areTaken(gate)) entry.forPlace = gate.forPlace.add(entry)
  else takePlace(entry)
}

/** What a task that was admitted waits for before it begins, beside what it waits for anyway. */
export const waitOf = (entry: Entry, delay: Effect.Effect<void> | undefined): Effect.Effect<void> | undefined => {
  if (!entry.waits) return delay
  const wait = Effect.suspend(() => entry.waits ? Effect.flatMap(untilDue(entry), () => ownTurn(entry)) : Effect.void)
  return delay === undefined ? wait : Effect.andThen(delay, wait)
}

const untilDue = (entry: Entry): Effect.Effect<void> =>
  Effect.callback((resume) => {
    entry.begin = () => resume(Effect.void)
    // Its fiber may have lost its turn just before this.
    if (!entry.waits) entry.begin()
  })

// A turn later, so that a line of tasks that never wait neither overflows the stack nor keeps the others waiting.
const ownTurn = (entry: Entry): Effect.Effect<void> =>
  Effect.flatMap(Effect.yieldNow, () => isAsking(entry.gate.scope) ? ownTurn(entry) : Effect.void)

const isAsking = (scope: ScopeImpl): boolean => {
  for (let at: ScopeImpl | undefined = scope; at !== undefined; at = at.parent) if (at.asking > 0) return true
  return false
}

// -----------------------------------------------------------------------------
// Refusal
// -----------------------------------------------------------------------------

const refuse = (gate: Gate, name: string, why: TaskRefused["why"], limit: number, waiting: number): TaskRefused => {
  const { drops, scope } = gate
  drops.refused++
  const refused = new TaskRefused({ path: joinPath(scope.path, name, 1), scope: scope.path, why, limit, waiting })
  if (!isAnswer(refused)) sayRefused(gate.scope, name, refused)
  return refused
}

/** Whether a refusal is what was asked for, as with `onDuplicate: "fail"`: who asked gets the answer, and nobody else. */
export const isAnswer = ({ waiting, why }: TaskRefused): boolean => why === "name" && waiting === 0

const said = new Throttle<ScopeImpl>()

const sayRefused = (scope: ScopeImpl, name: string, refused: TaskRefused): void => {
  const turn = said.turn(scope, name, now(scope.clock))
  const { limit, message, path, waiting } = refused
  say(scope.context, turn === undefined ? "Debug" : "Warn", message + keptBack(turn ?? 0), {
    task: path,
    limit,
    waiting
  })
}
