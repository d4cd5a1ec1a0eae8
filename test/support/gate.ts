/**
 * Shared memory in which a thread and a test tell each other how far they are.
 */
import * as Effect from "effect/Effect"

export const gate = (words = 4): Int32Array => new Int32Array(new SharedArrayBuffer(words * 4))

/** Waits, without blocking the loop, until a word is at least a value. */
export const reaches = (memory: Int32Array, word: number, value: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const now = Atomics.load(memory, word)
    if (now >= value) return Effect.void
    return Effect.andThen(
      Effect.promise(async () => {
        await Atomics.waitAsync(memory, word, now).value
      }),
      reaches(memory, word, value)
    )
  })

/** Sets a word and wakes whoever waits for it. */
export const set = (memory: Int32Array, word: number, value: number): void => {
  Atomics.store(memory, word, value)
  Atomics.notify(memory, word)
}

/** Blocks this thread until a word has a value, which only another thread can write, or a time is over. */
export const blockUntil = (memory: Int32Array, word: number, value: number, within = Infinity): void => {
  const begin = performance.now()
  while (Atomics.load(memory, word) < value && performance.now() - begin < within) {
    Atomics.wait(memory, word, Atomics.load(memory, word), 10)
  }
}
