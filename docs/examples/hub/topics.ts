/**
 * What the apps tell each other on the bus. Who publishes and who listens know
 * these, and not each other.
 */
import { Bus } from "@ambit/core"
import { Reading } from "./sensor.ts"
import { Change } from "./tree.ts"

/** Something in the folder has changed. */
export const Changes = Bus.topic("changes", Change)

/** It is so warm at this moment. */
export const Temperatures = Bus.topic("temperatures", Reading)
