import { App, Host, Task, TaskScope } from "@ambit/core"
import { TestHost } from "@ambit/vitest"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { asTest, errorsOf, reported } from "../support/asTest.ts"

const failing = (name: string, error: unknown, after = 0) =>
  Task.spawn(Effect.andThen(Effect.sleep(after), Effect.fail(error)), name)

const sensor = (start: Effect.Effect<unknown, unknown, App.App | TaskScope.TaskScope | Host.Host | Scope.Scope>) =>
  App.layer("sensor", start)

const failuresIn = (error: unknown): ReadonlyArray<string> => {
  assert.instanceOf(error, TestHost.TestHostFailed)
  return error.failures.map(({ path }) => path)
}

describe("a failure that nobody expects", () => {
  it.live("fails the test at its end, in one error that lists all of them with path and cause (T2, A8)", () =>
    Effect.gen(function*() {
      const exit = yield* asTest(Effect.gen(function*() {
        const start = Effect.gen(function*() {
          yield* failing("poll", new Error("no broker"), 1000)
          yield* failing("read", { code: 7 }, 2000)
          yield* Task.spawn(Effect.die("a bug"), "parse")
        })
        const host = yield* TestHost.launch(sensor(start), { name: "hub" })
        yield* TestClock.adjust("5 seconds")
        return yield* host.stop
      }))
      const error = reported(exit)
      assert.deepStrictEqual(failuresIn(error), ["hub/sensor/parse", "hub/sensor/poll", "hub/sensor/read"])
      const { message } = error as TestHost.TestHostFailed
      assert.match(message, /^3 tasks of hub failed, and the test did not expect it:\n/)
      assert.match(message, /\n {2}hub\/sensor\/poll: Error: no broker\n {8}at .*TestHost\.failures\.test\.ts:\d+:\d+/)
      assert.match(message, /\n {2}hub\/sensor\/read: Error: \{"code":7\}/)
      assert.match(message, /\nA failure that is meant to be is taken with host\.expectFailure\.$/)
      assert.strictEqual((error as TestHost.TestHostFailed).cause, "a bug")
      assert.lengthOf(errorsOf(exit), 1)
    }))

  it.live("counts as well when it comes with the stop, in a test that does not stop", () =>
    Effect.gen(function*() {
      const start = Task.spawn(Effect.ensuring(Effect.never, Effect.die("broken clean-up")), "poll")
      const exit = yield* asTest(TestHost.launch(sensor(start)))
      assert.deepStrictEqual(failuresIn(reported(exit)), ["host/sensor/poll"])
    }))

  it.live("counts in a scope inside of an app, and outside of every app", () =>
    Effect.gen(function*() {
      const inner = Effect.flatMap(TaskScope.make("session"), (scope) =>
        TaskScope.spawn(scope, Effect.fail("no"), "read"))
      const exit = yield* asTest(TestHost.launch(sensor(inner)))
      assert.deepStrictEqual(failuresIn(reported(exit)), ["host/sensor/session/read"])
    }))

  it.live("does not hide what failed in the test itself: that stays the error, and it comes second", () =>
    Effect.gen(function*() {
      const test = (end: Effect.Effect<unknown, unknown>) =>
        asTest(Effect.andThen(TestHost.launch(sensor(failing("poll", "no broker"))), end))
      const assertion = Effect.sync(() => assert.strictEqual(1, 2, "the assertion"))
      for (const end of [assertion, Effect.fail(new Error("the assertion"))]) {
        const [first, second, ...others] = errorsOf(yield* test(end))
        assert.match(String(first), /the assertion/)
        assert.deepStrictEqual(failuresIn(second), ["host/sensor/poll"])
        assert.deepStrictEqual(others, [])
        assert.match(String(reported(yield* test(end))), /the assertion/)
      }
    }))

  it.live("does not hide what the start failed with, and a failed start is no failed task", () =>
    Effect.gen(function*() {
      const exit = yield* asTest(TestHost.launch(sensor(Effect.fail(new Error("no port")))))
      assert.deepStrictEqual(errorsOf(exit).map(String), ["Error: no port"])
      const expected = yield* asTest(Effect.flip(TestHost.launch(sensor(Effect.fail("no port")))))
      assert.deepStrictEqual(expected, Exit.succeed("no port"))
    }))

  it.live("of a start that nobody waited for fails the test", () =>
    Effect.gen(function*() {
      const start = Effect.andThen(Effect.sleep("1 second"), Effect.fail(new Error("no port")))
      const launched = TestHost.launch(sensor(start), { awaitReady: false })
      const exit = yield* asTest(Effect.andThen(launched, TestClock.adjust("1 second")))
      assert.deepStrictEqual(errorsOf(exit).map(String), ["Error: no port"])
      const seen = yield* asTest(Effect.gen(function*() {
        const host = yield* launched
        const error: unknown = yield* Effect.flip(host.awaitReady)
        return String(error)
      }))
      assert.deepStrictEqual(seen, Exit.succeed("Error: no port"))
    }))

  it.live("is told once: what awaitIdle has listed does not come again", () =>
    Effect.gen(function*() {
      const start = Task.spawn(Effect.fail("no paper"), "print", { kind: "foreground" })
      const exit = yield* asTest(
        Effect.flatMap(TestHost.launch(sensor(start)), (host) => Effect.flip(host.awaitIdle()))
      )
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(failuresIn(Exit.isSuccess(exit) ? exit.value : undefined), ["host/sensor/print"])
    }))
})

describe("a failure that is expected", () => {
  it.effect("is given with its path and cause, and is off the list (A10)", () =>
    Effect.gen(function*() {
      const host = yield* TestHost.launch(sensor(failing("poll", "no broker", 1000)))
      yield* TestClock.adjust("1 second")
      const failure = yield* host.expectFailure("sensor/poll")
      assert.deepStrictEqual([failure.path, failure.kind], ["host/sensor/poll", "background"])
      assert.deepStrictEqual(failure.cause, Cause.fail("no broker"))
      const again = yield* Effect.flip(host.expectFailure("host/sensor/poll"))
      assert.instanceOf(again, TestHost.NotFound)
    }))

  it.effect("is the oldest that fits, one at a time", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        yield* failing("poll", 1, 1000)
        yield* failing("poll", 2, 2000)
        yield* failing("read", 3, 3000)
      })
      const host = yield* TestHost.launch(sensor(start))
      yield* TestClock.adjust("3 seconds")
      const error = ({ cause }: Task.TaskFailure) => Cause.squash(cause)
      assert.strictEqual(error(yield* host.expectFailure((failure) => Cause.squash(failure.cause) === 2)), 2)
      assert.strictEqual(error(yield* host.expectFailure(() => true)), 1)
      assert.strictEqual(error(yield* host.expectFailure("sensor/read")), 3)
    }))

  it.effect("that is not there is an error that says what has become of the task, and what has failed", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        yield* failing("poll", "no broker")
        yield* Task.spawn(Effect.sleep("1 second"), "warm-up")
      })
      const host = yield* TestHost.launch(sensor(start), { name: "hub" })
      yield* TestClock.adjust("1 second")
      const { message } = yield* Effect.flip(host.expectFailure("sensor/warm-up"))
      assert.strictEqual(
        message,
        "hub has no failure sensor/warm-up: it has ended (completed) at 1000 ms. There is hub/sensor/poll"
      )
      yield* host.expectFailure("sensor/poll")
      const none = yield* Effect.flip(host.expectFailure(() => true))
      assert.strictEqual(
        none.message,
        "hub has no failure that fits the function: none fits. There is none at all"
      )
    }))

  it.effect("is one whose task ignores it, and an interruption is none (A9)", () =>
    Effect.gen(function*() {
      const start = Effect.gen(function*() {
        yield* Task.spawn(Effect.fail("no matter"), "poll", { onFailure: "ignore" })
        yield* Task.spawn(Effect.never, "wait")
      })
      const host = yield* TestHost.launch(sensor(start))
      assert.isTrue(yield* Effect.flatMap(host.task("sensor/wait"), (task) => task.interrupt()))
    }))

  it.effect("may stop the host, which a test sees at its end", () =>
    Effect.gen(function*() {
      const start = Task.spawn(Effect.fail("no disk"), "write", { onFailure: "stopHost" })
      const host = yield* TestHost.launch(sensor(start))
      const report = yield* host.stop
      assert.strictEqual(report.reason, "task host/sensor/write failed")
      yield* host.expectFailure("sensor/write")
      const exit = yield* host.exit
      assert.instanceOf(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, Host.HostFailed)
    }))
})
