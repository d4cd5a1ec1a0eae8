/**
 * What the threads of every candidate run.
 */

/** A number in, a number out: what is left is the cost of the call. */
export const triple = (n: number): number => n * 3

export const echo = (value: unknown): unknown => value

/** A hundred steps of a shift register. */
const hundredSteps = (start: number): number => {
  let state = start | 0
  for (let step = 0; step < 100; step++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
  }
  return state
}

/** Keeps a core busy for so many hundred steps, whether other threads share that core or not. */
export const spin = (hundreds: number): number => {
  let state = 88675123
  for (let done = 0; done < hundreds; done++) state = hundredSteps(state)
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
