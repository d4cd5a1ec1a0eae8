import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { LayerCycle } from "../HostError.ts"

type AnyLayer = Layer.Layer<any, any, any>

/** The layers that are being built around this fiber, outermost first. */
const Building = Context.Reference<ReadonlyArray<AnyLayer>>("@ambit/core/internal/memo/Building", {
  defaultValue: () => []
})

/**
 * A memo map that refuses a layer which is built from itself. Effect's own would
 * wait for that layer for ever.
 */
export const refuseCycles = (memoMap: Layer.MemoMap): Layer.MemoMap => {
  // It stands in front of the original, so everything but this one method, and all state, is the original's.
  const refusing: Layer.MemoMap = Object.create(memoMap, {
    getOrElseMemoize: {
      value: (
        layer: AnyLayer,
        scope: Scope.Scope,
        build: (memoMap: Layer.MemoMap, scope: Scope.Scope) => Effect.Effect<Context.Context<any>, any, any>
      ) =>
        Effect.flatMap(Building, (around) =>
          around.includes(layer)
            ? Effect.fail(new LayerCycle())
            : memoMap.getOrElseMemoize.call(
              refusing,
              layer,
              scope,
              (memoMap, scope) => Effect.provideService(build(memoMap, scope), Building, [...around, layer])
            ))
    }
  })
  return refusing
}
