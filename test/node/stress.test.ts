/**
 * Calls of all kinds under random interruption: nobody waits for ever, nothing is
 * counted twice, and the pool is as it was.
 */
import { Blocking } from "@ambit/core"
import { BlockingPool } from "@ambit/node"
import { expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as functions from "../fixtures/functions.ts"
import { gate } from "../support/gate.ts"
import { randomFrom } from "../support/random.ts"

const callCount = 2000
