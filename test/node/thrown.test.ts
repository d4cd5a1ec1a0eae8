// @effect-diagnostics globalTimers:off
import { describe, expect, it } from "vitest"
import { after, cancelTimer } from "../../packages/node/src/internal/realTime.ts"
import { decodeThrown, encodeThrown } from "../../packages/node/src/internal/thrown.ts"

/** There and back, as between threads. */
const travelled = (thrown: unknown): unknown => decodeThrown(structuredClone(encodeThrown(thrown)))

const spite = (): never => {
  throw new Error("do not look at me")
}

const circular = (): Error => {
  const error = new Error("around")
  error.cause = error
  return error
}

const inItself = (): AggregateError => {
  const errors: Array<unknown> = []
  const error = new AggregateError(errors, "all of them")
  for (let n = 0; n < 100; n++) errors.push(error)
  error.errors = errors
  return error
}

describe("what was thrown", () => {
  it.each<[string, unknown]>([
    ["keys", new Proxy({}, { ownKeys: spite })],
    ["everything", new Proxy({}, { get: spite, getPrototypeOf: spite, has: spite, ownKeys: spite })],
    ["its prototype", Object.create(new Proxy({}, { get: spite, getPrototypeOf: spite }))],
    ["everything, as a function", new Proxy(() => {}, { get: spite })],
    ["a message", Object.defineProperty(new Error("x"), "message", { get: spite })],
    ["no text", Object.create(null)]
  ])("arrives though it throws when it is asked for %s", (_, thrown) => {
    expect(() => travelled(thrown)).not.toThrow()
  })

  it("arrives though its field gives something else each time", () => {
    let asked = 0
    const at = {
      get field() {
        return ++asked % 2 === 1 ? 1 : () => 1
      }
    }
    expect(travelled(Object.assign(new Error("x"), { at }))).toMatchObject({ message: "x" })
  })

  it("arrives though its causes or errors go in circles", () => {
    expect(travelled(circular())).toMatchObject({ message: "around", cause: { message: "around" } })
    expect(travelled(inItself())).toMatchObject({ message: "all of them" })
  })

  it("keeps the errors of an AggregateError", () => {
    const back = travelled(new AggregateError([new TypeError("one"), "two"], "both", { cause: "three" }))
    expect(back).toBeInstanceOf(AggregateError)
    expect(back).toMatchObject({ name: "AggregateError", message: "both", cause: "three" })
    expect((back as AggregateError).errors[0]).toBeInstanceOf(TypeError)
    expect((back as AggregateError).errors).toMatchObject([{ message: "one" }, "two"])
  })

  it("keeps the fields of an object of which one cannot be cloned", () => {
    expect(travelled({ _tag: "NotFound", path: "a.txt", message: "no", retry: () => 1 })).toMatchObject({
      _tag: "NotFound",
      path: "a.txt",
      message: "no"
    })
  })

  it("keeps a tag that stands on the class", () => {
    class NotFound {
      readonly path = "a.txt"
      get _tag() {
        return "NotFound"
      }
    }
    expect(travelled(new NotFound())).toEqual({ _tag: "NotFound", path: "a.txt" })
  })

  it("arrives though its name is one that every object has", () => {
    expect(travelled(Object.assign(new Error("x"), { name: "toString" }))).toMatchObject({ message: "x" })
  })
})

it("a timer for longer than Node can count does not run at once", async () => {
  let ran = false
  const timer = after(2 ** 31, () => {
    ran = true
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  cancelTimer(timer)
  expect(ran).toBe(false)
})
