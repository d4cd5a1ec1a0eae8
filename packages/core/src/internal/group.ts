/**
 * A group of tasks that are started again by one strategy.
 *
 * A member is Running → Waiting (its own restart is due) → Running, or Held (it starts again with others) → Running, or Over,
 * when it does not run any more. From there only a start together with others brings it back.
 *
 * The restart of several members is a round: all of them end, the wait passes, then they start. A failure meanwhile joins it.
 *
 * Invariants
 * - Members start in the order of the list, and none before all that start with it have ended or were left. (Supervisor.test.ts)
 * - Whatever happens in the first step of a member, in its clean-up or by hand, a round goes at last. (laws/groups.test.ts)
 * - A failure takes one restart from the budget of the group, however many members start again. (Supervisor.test.ts)
 * - A group ends when all members are over, when its budget is used up, or when its scope begins to stop. (Supervisor.test.ts)
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { InvalidOption } from "../InvalidOption.ts"
import type { RestartExhausted } from "../RestartExhausted.ts"
import { formatMillis } from "../ShutdownReport.ts"
import type { Child, GroupOptions, Strategy } from "../Supervisor.ts"
import { now } from "./clock.ts"
import { startClose } from "./close.ts"
import { runLimitOf, withinLimit } from "./limitedTask.ts"
import { makeScope } from "./makeScope.ts"
import { checkName, joinPath } from "./names.ts"
import {
  causeOf,
  checkBudget,
  checkRestart,
  defaultBudget,
  exhaustedBy,
  inGroup,
  makeRestart,
  type Next,
  type Policy,
  Restarter,
  usedUp,
  Window
} from "./restart.ts"
import { say } from "./say.ts"
import { shown } from "./shown.ts"
import { settingsOf, spawn } from "./spawn.ts"
import { CurrentScope, CurrentTask, refusingScope, type ScopeImpl, type Supervision, TaskImpl } from "./state.ts"
import { countRestart, type Decision, type Governor, pause, type Run, supervised } from "./supervised.ts"
import { interruptQuietly } from "./timeLimit.ts"

export const ChildTypeId = "~@ambit/core/Supervisor/Child"

export type AnyContext = Context.Context<never>

type MemberState =
  | { readonly _tag: "Running" }
  | { readonly _tag: "Waiting" }
  | { readonly _tag: "Held"; readonly go: Deferred.Deferred<void> }
  | { readonly _tag: "Over" }

const running: MemberState = { _tag: "Running" }
const waiting: MemberState = { _tag: "Waiting" }
const over: MemberState = { _tag: "Over" }

/** What a child has become in a group. */
interface Member {
  readonly child: Child<unknown>
  readonly index: number
  readonly policy: Policy
  readonly supervision: Supervision
  /** Milliseconds for a run that was asked to end. */
  readonly stopWithin: number
  state: MemberState
  /** The newest one; one before it may have been given up. There is none before its first start. */
  task: TaskImpl | undefined
  restarter: Restarter | undefined
  run: Run | undefined
  /** Whether its run was asked to end, so that it can start with others. */
  recalled: boolean
  /** What the group fails with when the task of the member has ended. */
  exhausted: Cause.Cause<RestartExhausted> | undefined
}

interface Round {
  readonly members: Set<Member>
  due: number
  /** Ends when it is due. */
  timer: Fiber.Fiber<void> | undefined
}

export class GroupImpl {
  readonly scope: ScopeImpl
  readonly context: AnyContext
  readonly strategy: Strategy
  readonly window: Window
  readonly members: ReadonlyArray<Member>
  /** Ends with the group. */
  readonly done = Deferred.makeUnsafe<void, RestartExhausted>()
  round: Round | undefined = undefined
  /** Whether all members have had their start. */
  begun = false
  over = false

  constructor(
    scope: ScopeImpl,
    context: AnyContext,
    strategy: Strategy,
    window: Window,
    members: ReadonlyArray<Member>
  ) {
    this.scope = scope
    this.context = context
    this.strategy = strategy
    this.window = window
    this.members = members
  }
}

// -----------------------------------------------------------------------------
// Begin and end
// -----------------------------------------------------------------------------

const strategies = ["oneForOne", "oneForAll", "restForOne"] as const

const refuse = (option: string, value: unknown, problem: string, remedy: string): Result.Result<never, InvalidOption> =>
  Result.fail(new InvalidOption({ option, value: shown(value), problem, remedy }))

/** Where a group is: its scope has the path of the task that it is. */
export interface Place {
  readonly name: string
  readonly path: string
  readonly parent: ScopeImpl
  readonly stopWithin: number
  readonly context: AnyContext
}

/** Inside of a task, a group has the path of the task. */
export const placeOfGroup = (context: AnyContext): Place => {
  const task = Context.get(context, CurrentTask)
  const parent = task?.scope ?? Context.getUnsafe(context as Context.Context<any>, CurrentScope)
  const name = task?.name ?? "(group)"
  return {
    name,
    path: task?.path ?? joinPath(parent.path, name, 1),
    parent,
    stopWithin: task?.settings.stopWithin ?? parent.stopWithin,
    context
  }
}

const memberOf = (scope: ScopeImpl, child: Child<unknown>, index: number): Result.Result<Member, InvalidOption> =>
  Result.gen(function*() {
    const { name, options } = child
    const of = `member "${name}" of group "${scope.path}"`
    yield* checkName(`a member of group "${scope.path}"`, name)
    if (!Effect.isEffect(child.effect)) {
      return yield* refuse(
        of,
        child.effect,
        "a member is an Effect",
        "Wrap a function in Effect.sync or Effect.promise"
      )
    }
    const settings = settingsOf(scope, name, options)
    if (settings instanceof InvalidOption) return yield* Result.fail(settings)
    yield* runLimitOf(scope, name, options, undefined)
    return {
      child,
      index,
      policy: yield* checkRestart(of, options.restart ?? makeRestart("permanent", {}), inGroup),
      supervision: { restarts: 0, waiting: undefined, last: undefined },
      stopWithin: settings.stopWithin ?? scope.stopWithin,
      state: over,
      task: undefined,
      restarter: undefined,
      run: undefined,
      recalled: false,
      exhausted: undefined
    }
  })

/** Checks what a group is made of, makes its scope, and starts its members. */
export const beginGroup = (
  place: Place,
  children: ReadonlyArray<Child<unknown>>,
  options: GroupOptions
): Result.Result<GroupImpl, InvalidOption> =>
  Result.gen(function*() {
    const { context, parent, path } = place
    const strategy = options.strategy ?? "oneForOne"
    if (!strategies.includes(strategy)) {
      const choices = strategies.map((choice) => `"${choice}"`).join(", ")
      return yield* refuse(
        `strategy of group "${path}"`,
        strategy,
        "there is no such strategy",
        `Choose one of ${choices}`
      )
    }
    const budget = yield* checkBudget(`budget of group "${path}"`, options.budget, defaultBudget)
    const names = new Set<string>()
    for (const { name } of children) {
      if (names.has(name)) {
        return yield* refuse(`a name in group "${path}"`, name, "two members have it", "Give each member its own name")
      }
      names.add(name)
    }
    const stopParent = (reason: string) => void startClose(parent, { reason })
    const scope = makeScope({
      ...place,
      clock: parent.clock,
      context: context,
      owner: parent.owner ?? { path: parent.path, host: false, stopApp: stopParent, stopHost: stopParent },
      defaultForeground: false,
      apart: false,
      room: undefined
    })
    const checked = Result.all(children.map((child, index) => memberOf(scope, child, index)))
    if (Result.isFailure(checked)) {
      void startClose(scope, { reason: "a member was refused" })
      return yield* Result.fail(checked.failure)
    }
    const members = checked.success
    const group = new GroupImpl(scope, context, strategy, new Window(budget), members)
    scope.atStop = new Set([() => endGroup(group, Exit.void)])
    for (const member of members) {
      // One before it may have failed by now, and starts again together with it.
      if (!isInRound(group, member)) start(group, member)
    }
    group.begun = true
    look(group)
    return group
  })

const endGroup = (group: GroupImpl, exit: Exit.Exit<void, RestartExhausted>): void => {
  if (group.over) return
  group.over = true
  group.round?.timer?.interruptUnsafe()
  Deferred.doneUnsafe(group.done, exit)
}

const start = (group: GroupImpl, member: Member): void => {
  const { context, scope } = group
  const { effect, name, options } = member.child
  if (group.over) return
  member.state = running
  member.recalled = false
  member.supervision.last = undefined
  const limit = Result.getOrThrow(runLimitOf(scope, name, options, undefined))
  const governor = (task: TaskImpl): Governor => governorOf(group, member, task)
  const run = withinLimit(effect as Effect.Effect<unknown, unknown>, limit)
  const task = spawn(scope, context, supervised(run, governor), name, options)
  if (!(task instanceof TaskImpl)) return leave(group, member)
  member.task = task
  // After the end of the task is booked, for its failure is not to be taken for one of a group that is over.
  task.fiber.addObserver(() => {
    if (member.task === task) leave(group, member)
  })
}

// -----------------------------------------------------------------------------
// What comes after a run
// -----------------------------------------------------------------------------

const governorOf = (group: GroupImpl, member: Member, task: TaskImpl): Governor => {
  task.supervision = member.supervision
  const restarter = member.restarter ??= new Restarter(member.policy, task.path, group.scope.clock)
  return {
    began: (run) => {
      member.run = run
      if (member.recalled) endRun(group, member, run)
    },
    after: (exit, took) => {
      if (member.recalled) return Effect.sync(() => endRecalled(group, member))
      return Effect.map(
        restarter.next(exit, took),
        (next) => member.recalled ? endRecalled(group, member) : decide(group, member, task, exit, next)
      )
    },
    wait: (of, decision) =>
      member.state._tag === "Held" ? Deferred.await(member.state.go) : Effect.map(pause(of, decision), () => {
        member.state = running
      }),
    consequence: (last) => last === "escalate" ? `group ${group.scope.path} gives up` : undefined
  }
}

const decide = (
  group: GroupImpl,
  member: Member,
  task: TaskImpl,
  exit: Exit.Exit<unknown, unknown>,
  next: Next
): Decision => {
  switch (next._tag) {
    case "Done":
      return next
    case "Last":
      if (next.last === "escalate" && next.exhausted !== undefined) {
        member.exhausted = groupCauseOf(next.exhausted, exit)
      }
      return next
    case "Again": {
      const { window } = group
      if (!window.take(now(group.scope.clock))) {
        const exhausted = exhaustedBy(task.path, exit, window.budget, group.scope.path)
        member.exhausted = groupCauseOf(exhausted, exit)
        return usedUp("escalate", exhausted)
      }
      if (group.strategy === "oneForOne") member.state = waiting
      else joinRound(group, member, next.delay)
      return next
    }
  }
}

// A group has no errors of its members, but their defects.
const groupCauseOf = (
  exhausted: RestartExhausted,
  exit: Exit.Exit<unknown, unknown>
): Cause.Cause<RestartExhausted> => {
  const defects = causeOf(exhausted, exit).reasons.filter(Cause.isDieReason)
  return Cause.combine(Cause.fail(exhausted), Cause.fromReasons<never>(defects))
}

/** The task of a member has ended. */
const leave = (group: GroupImpl, member: Member): void => {
  member.state = over
  if (member.exhausted === undefined) look(group)
  else endGroup(group, Exit.failCause(member.exhausted))
}

// -----------------------------------------------------------------------------
// Rounds
// -----------------------------------------------------------------------------

const joinRound = (group: GroupImpl, failed: Member, delay: number): void => {
  const { clock } = group.scope
  const round = group.round ??= { members: new Set(), due: 0, timer: undefined }
  round.due = Math.max(round.due, now(clock) + delay)
  failed.state = { _tag: "Held", go: Deferred.makeUnsafe() }
  const affected = group.strategy === "oneForAll" ? group.members : group.members.slice(failed.index)
  const joining = affected.filter((member) => !round.members.has(member))
  for (const member of joining) round.members.add(member)
  sayRound(group, failed, joining)
  round.timer?.interruptUnsafe()
  const left = Math.max(0, Math.ceil(round.due - now(clock) - 1e-4))
  const timer = Effect.runForkWith(group.scope.context)(clock.sleep(Duration.millis(left)))
  round.timer = timer
  for (const member of joining) if (member.state._tag === "Running") recall(group, member)
  // On a virtual clock it may have ended by now, so not before the others were asked.
  timer.addObserver((exit) => {
    if (Exit.isFailure(exit) || round.timer !== timer) return
    round.timer = undefined
    look(group)
  })
}

/** Asks a run to end, so that its member can start again with others. */
const recall = (group: GroupImpl, member: Member): void => {
  member.recalled = true
  if (member.run !== undefined) endRun(group, member, member.run)
}

const endRun = (group: GroupImpl, member: Member, run: Run): void => {
  const { clock, context } = group.scope
  interruptQuietly(run.fiber, undefined)
  if (run.fiber.pollUnsafe() !== undefined) return
  const { stopWithin } = member
  const timer = Effect.runForkWith(context)(clock.sleep(Duration.millis(stopWithin)))
  run.fiber.addObserver(() => timer.interruptUnsafe())
  timer.addObserver((exit) => {
    if (Exit.isFailure(exit) || group.over) return
    const { path, phase } = member.task!
    const text = `Task ${path} did not stop within ${
      formatMillis(stopWithin)
    }, and its group starts again without waiting`
    say(context, "Warn", text, { task: path })
    // A task that somebody has stopped by itself ends with its run, or was given up.
    if (phase._tag === "Running") run.leave()
    else leave(group, member)
  })
}

/** Its run has ended as it was asked to. What runs once has had its run. */
const endRecalled = (group: GroupImpl, member: Member): Decision =>
  member.policy.kind === "temporary" ? { _tag: "Done" } : hold(group, member)

const hold = (group: GroupImpl, member: Member): Decision => {
  member.recalled = false
  member.state = { _tag: "Held", go: Deferred.makeUnsafe() }
  look(group)
  return { _tag: "Recalled", delay: Math.max(0, (group.round?.due ?? 0) - now(group.scope.clock)) }
}

const sayRound = (group: GroupImpl, failed: Member, joining: ReadonlyArray<Member>): void => {
  const { context, path } = group.scope
  const startsAgain = (member: Member) => member.task !== undefined && member.policy.kind !== "temporary"
  const others = joining.filter((member) => member !== failed && startsAgain(member)).map(({ child }) => child.name)
  if (others.length === 0) return
  const text = `Group ${path} starts again ${others.join(", ")} together with ${failed.child.name}`
  say(context, "Warn", text, { group: path })
}

const isInRound = ({ round }: GroupImpl, member: Member): boolean => round?.members.has(member) === true

/** Whether it starts with others when it does not run. */
const comesBack = ({ policy, task }: Member): boolean => policy.kind !== "temporary" || task === undefined

const isReady = ({ state }: Member): boolean => state._tag === "Held" || state._tag === "Over"

/** Whatever has changed: whether a round can go, or the group has ended. */
const look = (group: GroupImpl): void => {
  if (group.over || !group.begun) return
  const { round } = group
  if (group.members.every(({ state }) => state._tag === "Over")) {
    // Once a stop is announced, nothing is started again.
    if (round === undefined || refusingScope(group.scope, true) !== undefined) return endGroup(group, Exit.void)
  }
  if (round === undefined) return
  if (round.timer !== undefined || ![...round.members].every(isReady)) return
  group.round = undefined
  for (const member of group.members) {
    // One before it may have failed by now, and starts again together with it, or has already.
    if (!round.members.has(member) || isInRound(group, member)) continue
    const { state } = member
    if (state._tag === "Held") {
      member.state = running
      Deferred.doneUnsafe(state.go, Exit.void)
    } else if (state._tag === "Over" && comesBack(member)) {
      if (member.task !== undefined) countRestart(group.scope, member.supervision)
      start(group, member)
    }
  }
}
