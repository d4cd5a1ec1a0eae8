export * as FakePool from "./FakePool.ts"
export * as TestHost from "./TestHost.ts"
