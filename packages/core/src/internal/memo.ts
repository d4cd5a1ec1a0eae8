/**
 * Memo maps that stand in front of another one and see what layers are asked for
 * and built. All state, and everything but the one method, is the original's.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { LayerCycle } from "../HostError.ts"

export type AnyLayer = Layer.Layer<any, any, any>
type Build = Effect.Effect<Context.Context<any>, any, any>

const inFrontOf = (memoMap: Layer.MemoMap, watch: {
  /** Around every request, also for a layer that is there already. */
  readonly request: (layer: AnyLayer, request: Build) => Build
  /** Around the build itself, into a scope that is the layer's own. */
  readonly build: (layer: AnyLayer, build: Build, scope: Scope.Scope) => Build
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
        const watched = (memoMap: Layer.MemoMap, scope: Scope.Scope) => watch.build(layer, build(memoMap, scope), scope)
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

/** Whether something was begun by the build of a layer, judged by the context it runs in. */
export const isBuiltBy = (context: Context.Context<never>, layer: AnyLayer): boolean =>
  Context.get(context, Building).includes(layer)

/**
 * The map of one life of an app. What is there already around the app is used;
 * what is built is the app's own, and built again in its next life.
 */
export const ownMemoMap = (memoMap: Layer.MemoMap, watch: {
  /** When a build fails, before that layer releases anything. */
  readonly failed: (layer: AnyLayer, cause: Cause.Cause<unknown>) => Effect.Effect<void>
  /** Before a layer releases what it has acquired. */
  readonly released: (layer: AnyLayer) => Effect.Effect<void>
}): Layer.MemoMap =>
  inFrontOf(refuseCycles(Layer.forkMemoMapUnsafe(memoMap)), {
    request: (_, request) => request,
    build: (layer, build, scope) =>
      Effect.onExit(build, (exit) =>
        Effect.andThen(
          Exit.isFailure(exit) ? watch.failed(layer, exit.cause) : Effect.void,
          // The last finalizer is the first to run.
          Scope.addFinalizer(scope, watch.released(layer))
        ))
  })

/** A map that tells of layers that fail, begin their release and end it. */
export const watched = (memoMap: Layer.MemoMap, watch: {
  readonly failed: (cause: Cause.Cause<unknown>) => void
  readonly releasing: () => void
  readonly released: () => void
}): Layer.MemoMap =>
  inFrontOf(memoMap, {
    request: (_, request) => request,
    build: (_, build, scope) =>
      Effect.andThen(
        Scope.addFinalizer(scope, Effect.sync(watch.released)),
        Effect.onExit(build, (exit) => {
          if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) watch.failed(exit.cause)
          return Scope.addFinalizer(scope, Effect.sync(watch.releasing))
        })
      )
  })
