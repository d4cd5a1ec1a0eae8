import { Blocking, type BlockingFunction, Task, TaskScope } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { movedBy, type Work } from "../work.ts"
import { echo, move, spin, triple } from "../workers/ambitFunctions.ts"
import type { JobName } from "../workers/jobs.ts"
import type { Candidate } from "./candidate.ts"
import { overEffects } from "./loops.ts"

const functionOf: Readonly<Record<JobName, BlockingFunction.BlockingFunction<[never], unknown>>> = {
  triple,
  echo,
  spin,
  move
}

const call = (work: Work, input: unknown) => {
  const asked = Blocking.run(functionOf[work.job], input as never)
  const transfer = movedBy(work, input)
  return transfer.length === 0 ? asked : Blocking.withOptions(asked, { transfer })
}

/** Calls from a task of an app, as most are. */
export const ambit: Candidate = {
  name: "Ambit Blocking.run",
  moves: true,
  open: (threads) =>
    Effect.gen(function*() {
      const pool = yield* BlockingPool.make({ threads })
      const scope = yield* TaskScope.make("speed")
      const loop = overEffects(call)
      return {
        run: (work, count, inFlight) =>
          loop(work, count, inFlight).pipe(
            Task.spawn("caller"),
            Effect.flatMap((task) => Fiber.join(task.fiber)),
            Effect.provideService(Blocking.Blocking, pool),
            Effect.provideService(TaskScope.TaskScope, scope)
          )
      }
    })
}

/** Calls from a fiber that belongs to nobody: they are in no tree and no report. */
export const ambitWithoutTask: Candidate = {
  name: "Ambit Blocking.run, no task",
  moves: true,
  open: (threads) =>
    Effect.map(BlockingPool.make({ threads }), (pool) => {
      const loop = overEffects(call)
      return {
        run: (work, count, inFlight) => Effect.provideService(loop(work, count, inFlight), Blocking.Blocking, pool)
      }
    })
}
