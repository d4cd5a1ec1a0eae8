import { App, type Blocking, BlockingFunction, Host, type InvalidOption, type Task } from "@ambit/core"
import { FakePool, TestHost } from "@ambit/vitest"
import { Context, Effect, type Layer, type Scope } from "effect"
import { describe, expect, test } from "tstyche"

class Db extends Context.Service<Db, string>()("test/types/Db") {}
class Count extends Context.Service<Count, number>()("test/types/Count") {}

declare const counting: Layer.Layer<Count, "no", Db | Host.Host>
declare const host: TestHost.TestHost<Count, "no">

describe("TestHost.launch", () => {
  test("keeps what the apps provide and why they may fail, needs a scope, and provides the host", () => {
    type Expected = Effect.Effect<
      TestHost.TestHost<Count, "no">,
      TestHost.StartError<"no"> | TestHost.WouldHang,
      Db | Scope.Scope
    >
    expect(TestHost.launch(counting)).type.toBe<Expected>()
  })

  test("needs what reads the report needs", () => {
    const launched = TestHost.launch(App.layer("empty", Effect.void), { onReport: () => Effect.asVoid(Db) })
    expect<Effect.Services<typeof launched>>().type.toBe<Db | Scope.Scope>()
  })

  test("refuses what is no option", () => {
    expect(TestHost.launch).type.not.toBeCallableWith(counting, { awaitReady: "yes" })
    expect(TestHost.launch).type.not.toBeCallableWith(Effect.void)
  })
})

describe("a TestHost", () => {
  test("provides to run what the apps provide, and the host", () => {
    expect(host.run(Count)).type.toBe<Effect.Effect<number>>()
    expect(host.run(Host.tree)).type.toBe<Effect.Effect<Host.Tree>>()
    expect(host.run(Db)).type.toBe<Effect.Effect<string, never, Db>>()
  })

  test("waits with exact types", () => {
    expect(host.wait(Effect.as(Db, 1))).type.toBe<Effect.Effect<number, TestHost.WouldHang, Db>>()
    expect(host.awaitIdle()).type.toBe<
      Effect.Effect<void, TestHost.TestHostFailed | TestHost.WouldHang | InvalidOption>
    >()
    expect(host.task("a/b")).type.toBe<Effect.Effect<Task.Task, TestHost.NotFound>>()
  })
})

describe("FakePool.fake", () => {
  const hash = BlockingFunction.make({ url: "file:///a.ts" }, "hash", (path: string) => path.length)

  test("gives what the function gives, or an effect of it", () => {
    expect(FakePool.fake).type.toBeCallableWith(hash, (path: string) => path.length)
    expect(FakePool.fake).type.toBeCallableWith(hash, () => Effect.fail("no"))
    expect(FakePool.fake).type.not.toBeCallableWith(hash, () => "no number")
    expect(FakePool.fake).type.not.toBeCallableWith(hash, (path: number) => path)
  })

  test("makes a pool", () => {
    expect(FakePool.layer([FakePool.fake(hash, () => 1)])).type.toBe<Layer.Layer<Blocking.Blocking, InvalidOption>>()
  })
})
