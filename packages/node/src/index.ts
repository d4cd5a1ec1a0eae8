export * as BlockingPool from "./BlockingPool.ts"
export * as MainCalls from "./MainCalls.ts"
export * as Thread from "./Thread.ts"
