/**
 * The error of a task for which there is no room.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const countOf = (tasks: number): string => tasks === 1 ? "1 task" : `${tasks} tasks`

const waitOf = (tasks: number): string => tasks === 1 ? "waits" : "wait"

const problemOf = ({ limit, scope, waiting, why }: TaskRefused): string => {
  const allowed = `as its ${why === "name" ? "onDuplicate" : "maxTasks"} says`
  if (why === "maxTasks") {
    const more = waiting === 0 ? "" : ` and ${waiting} more ${waitOf(waiting)}`
    return `scope ${scope} has ${countOf(limit)}${more}, ${allowed}. Raise that, or spawn less at once`
  }
  return waiting === 0
    ? "a task of that name is there already. Wait for its end, or choose another onDuplicate, such as \"skip\""
    : `${countOf(waiting)} of that name ${waitOf(waiting)} already, ${allowed}. Raise its queue, or spawn less often`
}

/**
 * A task was refused, because another one has its name or because its scope has
 * as many tasks as it may have.
 *
 * **Details**
 *
 * What was refused has not run. `why` says what was full: `name` for the option `onDuplicate` of the task, `maxTasks` for
 * that of its scope. `limit` is how many there may be at once, `waiting` how many more may wait.
 *
 * **Example** (Only one at a time)
 *
 * ```ts import.meta.vitest
 * import { Task, TaskScope } from "@ambit/core"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function*() {
 *   yield* Task.spawn(Effect.never, "import", { onDuplicate: "fail" })
 *   return yield* Effect.flip(Task.spawn(Effect.never, "import", { onDuplicate: "fail" }))
 * })
 * const error = await Effect.runPromise(Effect.provide(program, TaskScope.layer("app")))
 * error._tag === "TaskRefused" && [error.path, error.why, error.limit] // => ["app/import", "name", 1]
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TaskRefused extends Schema.TaggedError<TaskRefused>("@ambit/core/TaskRefused")("TaskRefused", {
  /** The path that was refused. */
  path: Schema.String,
  /** The scope that refused it. */
  scope: Schema.String,
  why: Schema.Literals(["name", "maxTasks"]),
  limit: Schema.Finite,
  waiting: Schema.Finite
}) {
  override get message(): string {
    return `${this.path} was refused and has not run: ${problemOf(this)}`
  }
}
