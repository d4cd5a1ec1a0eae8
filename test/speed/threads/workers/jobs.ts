/**
 * What the threads of every candidate run.
 */

/** A number in, a number out: what is left is the cost of the call. */
export const triple = (n: number): number => n * 3

export const echo = (value: unknown): unknown => value

/** Keeps a core busy for so many steps, whether other threads share that core or not. */
export const spin = (steps: number): number => {
  let state = 2463534242
  for (let step = 0; step < steps; step++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
  }
  return state
}

/** Says that it runs, then never ends. */
export const forever = (begun: Int32Array): never => {
  Atomics.store(begun, 0, 1)
  Atomics.notify(begun, 0)
  for (;;) Math.sqrt(2)
}

/** The jobs by name. `move` gives a buffer back; how it moves is the candidate's affair. */
export const jobs = { triple, echo, spin, move: (buffer: ArrayBuffer): ArrayBuffer => buffer }

export type JobName = keyof typeof jobs

/** What a thread without a library runs for a message. */
export const runJob = (job: JobName, input: unknown): unknown => jobs[job](input as never)
