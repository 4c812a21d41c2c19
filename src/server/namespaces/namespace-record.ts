// A namespace as it is stored, in the part of the storage that all share:
//
//   core/namespace/<depth, 2 digits>/<path, percent-encoded>   NamespaceRecord
//   core/namespace-id/<id>                                     { path }
//
// The depth in front lets one scan find the children of a namespace and nothing below them.
import { boolean, type Infer, map, object, optional, string } from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";

/** Each level is one more record that every request in a namespace reads. */
export const NAMESPACE_DEPTH_MAX = 16;
/** Percent-encoded this is 1,536 bytes, which leaves room in a storage key for the rest. */
export const NAMESPACE_PATH_BYTES_MAX = 512;

const namespaceSchema = object({
  /** Six letters and digits; stands at the end of the texts of tokens, accessors and leases. */
  id: string,
  uuid: string,
  /** From the root, with a slash at the end. */
  path: string,
  customMetadata: map(string),
  /** Its API is locked: SHA-256 of the unlock key, in hexadecimal. */
  lockedBy: optional(string),
  /** It is being deleted. */
  tainted: boolean,
});
export type NamespaceRecord = Infer<typeof namespaceSchema>;
export const namespaceKind = recordKind("namespace", namespaceSchema, { cached: true });
export const namespacePathKind = recordKind("namespace id", object({ path: string }), { cached: true });

const PREFIX = "core/namespace/";

export function namespaceKey(path: string): string {
  return childrenPrefix(depthOf(path)) + encodeURIComponent(path);
}

/** Where all namespaces of a depth are; those of the root's children is 1. */
export function childrenPrefix(depth: number): string {
  return `${PREFIX}${String(depth).padStart(2, "0")}/`;
}

export function namespaceIdKey(id: string): string {
  return `core/namespace-id/${id}`;
}

/** How many segments a path with a slash at its end has; "" has none. */
export function depthOf(path: string): number {
  return path.split("/").length - 1;
}

/** "a/b/c/" -> "a/", "a/b/", "a/b/c/". */
export function pathsTo(path: string): readonly string[] {
  const segments = path.split("/").slice(0, -1);
  return segments.map((_, i) => `${segments.slice(0, i + 1).join("/")}/`);
}
