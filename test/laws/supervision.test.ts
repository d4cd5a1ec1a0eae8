/**
 * Law 10 over random trees of groups and random streams of failures, returns, stops and steps of time, against a model
 * that only knows who must be running. `AMBIT_LAWS` sets how many programs, a fifth of it here; `AMBIT_SEED` runs one.
 */
import { Restart, Supervisor, Task, TaskScope } from "@ambit/core"
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { TestClock } from "effect/testing"
import { makeRandom, type Random } from "../support/random.ts"
import { makeRecorder } from "../support/recorder.ts"
import { eachProgram } from "./eachProgram.ts"

// -----------------------------------------------------------------------------
// Programs
// -----------------------------------------------------------------------------

interface Budget {
  readonly restarts: number
  readonly within: number
}

interface Spec {
  readonly name: string
  readonly kind: Restart.RestartKind
  /** The wait before each restart. */
  readonly delay: number
  /** What it is made of, if it is a group. */
  readonly group: GroupSpec | undefined
}

interface GroupSpec {
  readonly strategy: Supervisor.Strategy
  readonly budget: Budget
  readonly members: ReadonlyArray<Spec>
}

const makeGroup = (random: Random, depth: number): GroupSpec => ({
  strategy: random.pick(["oneForOne", "oneForAll", "restForOne"]),
  budget: { restarts: random.between(1, 5), within: random.between(1, 20) * 1000 },
  members: Array.from({ length: random.between(1, 4) }, (_, index): Spec => ({
    name: `${"abcd"[index]}`,
    kind: random.pick(["permanent", "permanent", "transient", "temporary"]),
    delay: random.between(1, 40) * 100,
    group: depth > 0 && random.chance(0.35) ? makeGroup(random, depth - 1) : undefined
  }))
})

// -----------------------------------------------------------------------------
// Model
// -----------------------------------------------------------------------------

type State = "running" | "waiting" | "held" | "over"

interface Member {
  readonly spec: Spec
  readonly path: string
  readonly of: Group
  state: State
  due: number
  group: Group | undefined
}

interface Group {
  readonly spec: GroupSpec
  readonly self: Member | undefined
  readonly members: Array<Member>
  restarts: Array<number>
  round: { readonly members: Set<Member>; due: number } | undefined
}

class Model {
  now = 0
  state: "running" | "failed" | "completed" = "running"
  readonly running = new Set<string>()
  readonly groups = new Set<Group>()

  constructor(spec: GroupSpec) {
    this.startGroup(spec, "app/root", undefined)
  }

  startGroup(spec: GroupSpec, path: string, self: Member | undefined): Group {
    const group: Group = { spec, self, members: [], restarts: [], round: undefined }
    this.groups.add(group)
    for (const member of spec.members) {
      group.members.push({
        spec: member,
        path: `${path}/${member.name}`,
        of: group,
        state: "over",
        due: 0,
        group: undefined
      })
    }
    for (const member of group.members) this.start(member)
    return group
  }

  start(member: Member): void {
    member.state = "running"
    const { group } = member.spec
    if (group === undefined) this.running.add(member.path)
    else member.group = this.startGroup(group, member.path, member)
  }

  stop(member: Member): void {
    this.running.delete(member.path)
    if (member.group !== undefined) this.stopGroup(member.group)
    member.group = undefined
  }

  stopGroup(group: Group): void {
    this.groups.delete(group)
    for (const member of group.members) this.stop(member)
  }

  end(member: Member, failed: boolean): void {
    const { of: group, spec } = member
    this.stop(member)
    if (failed ? spec.kind === "temporary" : spec.kind !== "permanent") {
      member.state = "over"
      this.look(group)
      return
    }
    const { budget, members, strategy } = group.spec
    group.restarts = group.restarts.filter((at) => this.now - at < budget.within)
    if (group.restarts.length >= budget.restarts) return this.endGroup(group, true)
    group.restarts.push(this.now)
    if (strategy === "oneForOne") {
      member.state = "waiting"
      member.due = this.now + spec.delay
      return
    }
    const round = group.round ??= { members: new Set(), due: 0 }
    round.due = Math.max(round.due, this.now + spec.delay)
    member.state = "held"
    const first = strategy === "oneForAll" ? 0 : members.indexOf(spec)
    for (const other of group.members.slice(first)) {
      round.members.add(other)
      if (other.state !== "running") continue
      this.stop(other)
      other.state = other.spec.kind === "temporary" ? "over" : "held"
    }
  }

  endGroup(group: Group, failed: boolean): void {
    this.stopGroup(group)
    if (group.self === undefined) this.state = failed ? "failed" : "completed"
    else this.end(group.self, failed)
  }

  look(group: Group): void {
    if (group.round !== undefined || group.members.some(({ state }) => state !== "over")) return
    this.endGroup(group, false)
  }

  go(group: Group): void {
    const members = group.round!.members
    group.round = undefined
    for (const member of group.members) {
      if (!members.has(member)) continue
      if (member.state === "held" || member.spec.kind !== "temporary") this.start(member)
    }
  }

  advance(millis: number): void {
    const until = this.now + millis
    for (;;) {
      const dues: Array<{ readonly at: number; readonly fire: () => void }> = []
      for (const group of this.groups) {
        if (group.round !== undefined) dues.push({ at: group.round.due, fire: () => this.go(group) })
        for (const member of group.members) {
          if (member.state === "waiting") dues.push({ at: member.due, fire: () => this.start(member) })
        }
      }
      const next = dues.filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.now = next.at
      next.fire()
    }
    this.now = until
  }

  leaf(path: string): Member {
    return [...this.groups].flatMap(({ members }) => members)
      .find((member) => member.path === path && member.state === "running")!
  }
}

// -----------------------------------------------------------------------------
// The same, for real
// -----------------------------------------------------------------------------

type Runs = Map<string, Deferred.Deferred<void, string>>

const leafOf = (path: string, runs: Runs) =>
  Effect.suspend(() => {
    const run = Deferred.makeUnsafe<void, string>()
    if (runs.has(path)) return Effect.die(`${path} runs twice`)
    runs.set(path, run)
    return Effect.ensuring(Deferred.await(run), Effect.sync(() => runs.delete(path)))
  })

const policyOf = (kind: Restart.RestartKind, options: Restart.RestartOptions): Restart.Restart => {
  switch (kind) {
    case "permanent":
      return Restart.permanent(options)
    case "transient":
      return Restart.transient(options)
    case "temporary":
      return Restart.temporary
  }
}

const groupOf = (spec: GroupSpec, path: string, runs: Runs): Effect.Effect<void, unknown, TaskScope.TaskScope> =>
  Supervisor.group(
    spec.members.map(({ delay, group, kind, name }) => {
      const member = `${path}/${name}`
      return Supervisor.child(
        name,
        group === undefined ? leafOf(member, runs) : groupOf(group, member, runs),
        {
          onFailure: "ignore",
          restart: policyOf(kind, { schedule: Schedule.spaced(delay), healthyAfter: "1 day" })
        }
      )
    }),
    { strategy: spec.strategy, budget: spec.budget }
  )

const settle = Effect.repeat(Effect.yieldNow, { times: 12 })

const stateOf = ({ status }: Task.Task) => {
  if (status._tag !== "Ended") return "running"
  return status.outcome
}

const runProgram = (seed: number) =>
  Effect.gen(function*() {
    const random = makeRandom(seed)
    const spec = makeGroup(random, 2)
    const model = new Model(spec)
    const runs: Runs = new Map()
    const scope = yield* TaskScope.TaskScope
    const task = yield* Task.spawn(groupOf(spec, "app/root", runs), "root", { onFailure: "ignore" })
    const steps: Array<string> = []
    const compare = (step: string) => {
      steps.push(step)
      assert.deepStrictEqual(
        [[...runs.keys()].toSorted((a, b) => a < b ? -1 : 1), stateOf(task)],
        [[...model.running].toSorted((a, b) => a < b ? -1 : 1), model.state],
        `program ${seed} at ${model.now}; run it alone with AMBIT_SEED=${seed}\n${steps.join("\n")}\n${
          JSON.stringify(spec, null, 1)
        }`
      )
    }
    yield* settle
    compare("begin")
    for (let nth = random.between(5, 40); nth > 0; nth--) {
      const [first, ...others] = [...model.running]
      if (first === undefined || random.chance(0.4)) {
        const millis = random.between(1, 60) * 100
        yield* TestClock.adjust(millis)
        model.advance(millis)
        yield* settle
        compare(`advance ${millis}`)
        continue
      }
      const path = random.pick([first, ...others])
      const fails = random.chance(0.7)
      Deferred.doneUnsafe(runs.get(path)!, fails ? Effect.fail("broken") : Effect.void)
      model.end(model.leaf(path), fails)
      yield* settle
      compare(`${path} ${fails ? "fails" : "returns"}`)
    }
    const report = yield* TaskScope.close(scope)
    assert.deepStrictEqual([runs.size, report.tasks.some(({ outcome }) => outcome === "abandoned")], [0, false])
    yield* TestClock.adjust("1 hour")
    yield* settle
    assert.strictEqual(runs.size, 0, `program ${seed}: something was started after the stop`)
  }).pipe(Effect.provide(TaskScope.layer("app")), Effect.provide(makeRecorder().layer))

eachProgram("random trees of groups run whom the model runs", runProgram)
