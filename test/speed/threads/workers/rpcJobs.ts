import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

const Entry = Schema.Struct({
  id: Schema.Finite,
  name: Schema.String,
  tags: Schema.Array(Schema.String),
  values: Schema.Array(Schema.Finite),
  place: Schema.Struct({ x: Schema.Finite, y: Schema.Finite })
})

const Payload = Schema.Union([Entry, Schema.Array(Entry), Schema.String])

/** Calls with schemas. It has no buffers to move. */
export class RpcJobs extends RpcGroup.make(
  Rpc.make("triple", { payload: Schema.Finite, success: Schema.Finite }),
  Rpc.make("spin", { payload: Schema.Finite, success: Schema.Finite }),
  Rpc.make("echo", { payload: Payload, success: Payload })
) {}
