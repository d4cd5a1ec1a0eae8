import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

const Entry = Schema.Struct({
  id: Schema.Number,
  name: Schema.String,
  tags: Schema.Array(Schema.String),
  values: Schema.Array(Schema.Number),
  place: Schema.Struct({ x: Schema.Number, y: Schema.Number })
})

const Payload = Schema.Union([Entry, Schema.Array(Entry), Schema.String])

/** Calls with schemas. It has no buffers to move. */
export class RpcJobs extends RpcGroup.make(
  Rpc.make("triple", { payload: Schema.Number, success: Schema.Number }),
  Rpc.make("spin", { payload: Schema.Number, success: Schema.Number }),
  Rpc.make("echo", { payload: Payload, success: Payload })
) {}
