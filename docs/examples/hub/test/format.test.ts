import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { CliOutput } from "effect/cli"
import { age, bar, bytes, count, cut, percent, printable } from "../format.ts"

describe("numbers", () => {
  it("bytes have one digit behind the point and the unit that fits", () => {
    assert.deepStrictEqual([0, 1, 1023, 1536, 2 ** 30, 1.6].map(bytes), [
      "0 B",
      "1 B",
      "1023 B",
      "1.5 KiB",
      "1 GiB",
      "2 B"
    ])
  })

  it("a share is a whole number of percent, and one that is not known is a dash", () => {
    assert.deepStrictEqual([0, 0.256, 1, undefined].map(percent), ["0%", "26%", "100%", "–"])
  })

  it("a bar grows with its share, and is full only at the end", () => {
    assert.deepStrictEqual([-1, 0, 0.5, 0.99, 1, 2].map((share) => bar(share, 4)), [
      "░░░░",
      "░░░░",
      "██░░",
      "███░",
      "████",
      "████"
    ])
  })

  it("one is singular, all else is plural", () => {
    assert.deepStrictEqual([0, 1, 2].map((number) => count(number, "file")), ["0 files", "1 file", "2 files"])
  })

  it("an age has one unit, and the future is now", () => {
    const minute = 60_000
    assert.deepStrictEqual([-5, 1400, 90 * 1000, 3 * 60 * minute, 50 * 60 * minute].map(age), [
      "0 s",
      "1 s",
      "1 min",
      "3 h",
      "2 d"
    ])
  })
})

describe("text from outside", () => {
  it("cannot move the cursor, break the line or turn the text around", () => {
    assert.strictEqual(printable("a\nb\u001B[2Jc\u202Ed\u2028e"), "a�b�[2Jc�d�e")
  })

  it("stays as it is when it is harmless", () => {
    assert.strictEqual(printable("ordner/naïve 日本 👩‍👩‍👧.txt"), "ordner/naïve 日本 👩‍👩‍👧.txt")
  })
})

describe("a text cut to a terminal", () => {
  it("that fits stays whole", () => {
    assert.strictEqual(cut("cpu 5%", 6), "cpu 5%")
  })

  it("that does not fit ends in an ellipsis and fills the width", () => {
    assert.strictEqual(cut("cpu 50%", 6), "cpu 5…")
  })

  it("never shows half of a full-width character", () => {
    assert.strictEqual(cut("日本語", 4), "日…")
    assert.strictEqual(cut("日本語", 5), "日本…")
  })

  it("for no width at all is empty", () => {
    assert.strictEqual(cut("cpu", 0), "")
  })

  it.prop("is never wider than asked for", [
    Schema.String,
    Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))
  ], ([text, cells]) => CliOutput.displayWidth(cut(printable(text), cells)) <= cells)
})
