/**
 * Memo maps that stand in front of another one and see what layers are asked for
 * and built. All state, and everything but the one method, is the original's.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { LayerCycle } from "../HostError.ts"

type AnyLayer = Layer.Layer<any, any, any>
type Build = Effect.Effect<Context.Context<any>, any, any>

const inFrontOf = (memoMap: Layer.MemoMap, watch: {
  /** Around every request, also for a layer that is there already. */
  readonly request: (layer: AnyLayer, request: Build) => Build
  /** Around the build itself. */
  readonly build: (layer: AnyLayer, build: Build) => Build
}): Layer.MemoMap =>
  Object.create(memoMap, {
    getOrElseMemoize: {
      // `this` is the frontmost map: what is built inside must meet all of them again.
      value: function(
        this: Layer.MemoMap,
        layer: AnyLayer,
        scope: Scope.Scope,
        build: (memoMap: Layer.MemoMap, scope: Scope.Scope) => Build
      ) {
        const watched = (memoMap: Layer.MemoMap, scope: Scope.Scope) => watch.build(layer, build(memoMap, scope))
        return watch.request(layer, memoMap.getOrElseMemoize.call(this, layer, scope, watched))
      }
    }
  })

/** The layers that are being built around this fiber, outermost first. */
const Building = Context.Reference<ReadonlyArray<AnyLayer>>("@ambit/core/internal/memo/Building", {
  defaultValue: () => []
})

/**
 * Refuses a layer that is built from itself. Effect's own map would wait for
 * that layer for ever.
 */
export const refuseCycles = (memoMap: Layer.MemoMap): Layer.MemoMap =>
  inFrontOf(memoMap, {
    request: (layer, request) =>
      Effect.flatMap(Building, (around) => around.includes(layer) ? Effect.fail(new LayerCycle()) : request),
    build: (layer, build) => Effect.updateService(build, Building, (around) => [...around, layer])
  })

/**
 * Runs something when a build fails, before the layers release what they have
 * acquired so far.
 */
export const beforeRelease = (
  memoMap: Layer.MemoMap,
  onFailure: (exit: Exit.Failure<unknown, unknown>) => Effect.Effect<unknown>
): Layer.MemoMap =>
  inFrontOf(memoMap, {
    request: (_, request) => request,
    build: (_, build) =>
      Effect.onExit(build, (exit) => exit._tag === "Failure" ? Effect.asVoid(onFailure(exit)) : Effect.void)
  })
