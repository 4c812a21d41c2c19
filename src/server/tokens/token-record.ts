// A service token as it is stored. The token itself is stored nowhere: its record lies under a keyed hash of it.
//
//   core/token/id/<hash>                 TokenRecord
//   core/token/accessor/<accessor>       { hash }, in the part of the storage that is the namespace's
//   core/token/child/<parent>/<child>    { hash }: the tree that revocation walks
import {
  boolean,
  type Infer,
  list,
  map,
  number,
  object,
  oneOf,
  optional,
  string,
  withDefault,
} from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";
import { suffixOf } from "../namespaces/namespace-scope.ts";

const tokenSchema = object({
  hash: string,
  /** Id of the namespace whose policies and identity it goes by; "" for the root namespace. */
  namespace: withDefault(string, ""),
  accessor: string,
  /** Hash of the parent; "" for orphans. */
  parent: string,
  type: oneOf("service", "batch"),
  policies: list(string),
  /** Each list is one permission boundary: all of them must allow what the policies allow. */
  boundaries: withDefault(list(list(string)), []),
  /** Request path of its creation. */
  path: string,
  metadata: optional(map(string)),
  displayName: string,
  /** Uses left; 0 is without limit, -1 is used up and about to be revoked. */
  numUses: number,
  issuedAtSeconds: number,
  /** The TTL it was created with. */
  ttlSeconds: number,
  /** 0: never (root). */
  expiresAtSeconds: number,
  explicitMaxTtlSeconds: number,
  /** The same as a token role says it: it binds, but lookups show only the token's own. */
  roleMaxTtlSeconds: optional(number),
  /** What the mount and the role allow at most, counted from creation. */
  maxTtlSeconds: number,
  periodSeconds: number,
  renewable: boolean,
  lastRenewalSeconds: optional(number),
  role: withDefault(string, ""),
  entityId: withDefault(string, ""),
  boundCidrs: withDefault(list(string), []),
  /** Blocks of the tokens that this one descends from: all of them hold as well. */
  addressLimits: withDefault(list(list(string)), []),
  /**
   * What the auth method says of whoever logged in. Templates of policies and boundaries are filled from this alone,
   * never from `metadata`, which clients choose; children have it unchanged.
   */
  vouched: optional(map(string)),
  cubbyholeId: string,
  /** Wrapping tokens: the path whose answer they hold. */
  wrappedPath: optional(string),
});
export type TokenRecord = Infer<typeof tokenSchema>;
export const tokenKind = recordKind("token", tokenSchema, { cached: true });
export const tokenReferenceKind = recordKind("token reference", object({ hash: string }));

export function tokenKey(hash: string): string {
  return `core/token/id/${hash}`;
}
export function accessorKey(accessor: string): string {
  return `core/token/accessor/${accessor}`;
}
export const ACCESSOR_PREFIX = "core/token/accessor/";
export function childPrefix(parent: string): string {
  return `core/token/child/${parent}/`;
}

/** Id of the lease that is the token's own life. */
export function tokenLeaseId(token: Pick<TokenRecord, "path" | "hash" | "namespace">): string {
  return `${token.path}/h${token.hash}${suffixOf(token.namespace)}`;
}
