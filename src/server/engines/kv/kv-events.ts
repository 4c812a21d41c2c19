// What KV tells of its changes: types and members as clients of Vault know them.
// https://developer.hashicorp.com/vault/docs/concepts/events
import type { Context } from "../../framework/context.ts";
import type { Key } from "./v2-records.ts";

/** A secret of version 1 was written or deleted. */
export function tellV1(context: Context, what: "write" | "delete", path: string): void {
  context.emit({ type: `kv-v1/${what}`, path, dataPath: path, metadata: {} });
}

export interface Change {
  readonly what: string;
  /** Below the mount, as the client sent it: "delete/a". */
  readonly path: string;
  /** "data/a", "metadata/a". */
  readonly dataPath: string;
  /** The key after the change; undefined when it is gone. */
  readonly key?: Key | undefined;
  readonly more?: Readonly<Record<string, string>>;
}

/** Something of version 2 changed. */
export function tellV2(context: Context, { what, path, dataPath, key, more }: Change): void {
  const versions = key && { current_version: String(key.current), oldest_version: String(key.oldest) };
  context.emit({ type: `kv-v2/${what}`, path, dataPath, metadata: { ...versions, ...more } });
}
