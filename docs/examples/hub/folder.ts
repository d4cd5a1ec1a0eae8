/**
 * The folder that the hub looks at.
 */
import { Effect, FileSystem, Schema } from "effect"
import type { PlatformError } from "effect/PlatformError"

/** A folder that could be listed. */
export interface Folder {
  /** Absolute, without links. */
  readonly path: string
  readonly device: bigint
}

/** The folder is not there, is no folder, or is closed to us. */
export class FolderUnusable
  extends Schema.TaggedError<FolderUnusable>("@ambit/docs/examples/hub/folder/FolderUnusable")("FolderUnusable", {
    folder: Schema.String,
    problem: Schema.String
  })
{
  override get message(): string {
    return `${this.folder} cannot be watched: ${this.problem}`
  }
}

const problemOf = ({ message, reason }: PlatformError): string => {
  switch (reason._tag) {
    case "NotFound":
      return "there is no such folder"
    case "PermissionDenied":
      return "you may not open it"
    default:
      return message
  }
}

/** Makes sure that there is a folder, and that it can be listed. */
export const openFolder = Effect.fn("openFolder")(
  function*(folder: string) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* fs.realPath(folder)
    const { dev, type } = yield* fs.stat(path)
    if (type !== "Directory") return yield* new FolderUnusable({ folder, problem: "it is no folder" })
    yield* fs.readDirectory(path)
    return { path, device: dev } satisfies Folder
  },
  (opened, folder) =>
    Effect.catchTag(opened, "PlatformError", (error) => new FolderUnusable({ folder, problem: problemOf(error) }))
)
