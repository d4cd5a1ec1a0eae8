/**
 * What `Thread` throws into blocking functions. Threads load this file, so it
 * imports no Effect.
 */

/** Thrown by `Thread.throwIfCancelled`, and by a wait that is cut short: the call is to stop. */
export class Cancelled extends Error {
  readonly _tag = "Cancelled"
  override readonly name = "Cancelled"
  constructor() {
    super(
      "This call is to stop: nobody waits for it any more, or its scope or pool stops. " +
        "Clean up and return; its thread is ended after the grace"
    )
  }
}

/** The main thread did not answer in time. */
export class CallTimeout extends Error {
  readonly _tag = "CallTimeout"
  override readonly name = "CallTimeout"
  readonly contract: string
  readonly method: string
  /** Milliseconds. */
  readonly within: number
  /** Whether the main thread had begun; then the effect has been interrupted. */
  readonly begun: boolean
  constructor(contract: string, method: string, within: number, begun: boolean) {
    super(
      `${contract}.${method} did not end within ${within} ms; ` +
        (begun
          ? "the effect is interrupted. Raise the limit of the call, or make the effect quicker"
          : "it has not run and will not. The main thread is blocked: look for synchronous work there")
    )
    this.contract = contract
    this.method = method
    this.within = within
    this.begun = begun
  }
}

/**
 * The main thread did not run it, or not to its end: nobody offers it, it was interrupted, the pool stops, or there is
 * no main thread to wait for.
 */
export class CallRefused extends Error {
  readonly _tag = "CallRefused"
  override readonly name = "CallRefused"
  readonly contract: string
  readonly method: string
  readonly why: "closing" | "interrupted" | "notOffered" | "noScope" | "onMainThread" | "notInThread"
  /** Whether the main thread had begun; then the effect has been interrupted. */
  readonly begun: boolean
  constructor(contract: string, method: string, why: CallRefused["why"], begun = why === "interrupted") {
    super(refusals[why](`${contract}.${method}`, begun))
    this.contract = contract
    this.method = method
    this.why = why
    this.begun = begun
  }
}

const refusals: Record<CallRefused["why"], (what: string, begun: boolean) => string> = {
  closing: (what, begun) => `${what} ${begun ? "is interrupted" : "has not run"}: the pool of this thread is stopping`,
  interrupted: (what) =>
    `${what} was interrupted, and not by a stop of this call or its pool: its effect interrupted itself, or waited ` +
    "for a fiber or task that was interrupted. Let the effect handle that, or fail with an error that says what it means",
  notOffered: (what) =>
    `${what} has not run: nobody offers it. Put MainCalls.offer around the code that calls Blocking.run`,
  noScope: (what) =>
    `${what} has not run: the code that calls Blocking.run is in no app or task scope, and somebody must own the task`,
  onMainThread: (what) =>
    `${what} has not run: the main thread cannot wait for itself. There, run the effect that is offered for it`,
  notInThread: (what) => `${what} needs a blocking function around it that a pool runs`
}
