// What a handler sees of a request. Engines and auth methods get no more than this: their own part of the storage,
// the clock, and who asks.
import type { Clock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import type { StorageView, Transaction } from "../barrier/transaction.ts";
import type { Page } from "../storage/storage.ts";
import type { BackendEvent } from "./event.ts";
import type { OutsideJournal } from "./outside.ts";

export type Operation = "create" | "read" | "update" | "patch" | "delete" | "list" | "scan" | "help";

/** A body that comes as it is sent. */
export interface BodyStream {
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** The mount a request is for, with its time limits resolved against the server's. */
export interface MountInfo {
  /** With a slash at the end, "auth/" in front for auth methods. */
  readonly path: string;
  readonly type: string;
  readonly accessor: string;
  readonly uuid: string;
  readonly options: Readonly<Record<string, string>>;
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
}

/** Who asks, as far as a backend may know. */
export interface Caller {
  readonly tokenAccessor: string;
  readonly tokenHash: string;
  /** Where the token's own cubbyhole is; gone with the token. */
  readonly cubbyholeId: string;
  readonly policies: readonly string[];
  readonly displayName: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly entityId: string;
}

/** A namespace as requests know it. */
export interface NamespaceName {
  /** "" for the root namespace. */
  readonly id: string;
  /** From the root, with a slash at the end; "" for the root namespace. */
  readonly path: string;
}

export interface NamespaceScope extends NamespaceName {
  /** The root first, this namespace last. */
  readonly lineage: readonly NamespaceName[];
}

export interface Context {
  readonly operation: Operation;
  /** Below the mount, without a leading slash. */
  readonly path: string;
  readonly mount: MountInfo;
  readonly storage: StorageView;
  readonly clock: Clock;
  readonly log: Log;
  /** Undefined on public paths. */
  readonly caller: Caller | undefined;
  readonly remoteAddress: string;
  /** All that the client sent, unconverted. */
  readonly data: JsonObject;
  readonly page: Page;
  /** A password by a policy of sys/policies/password, or undefined when there is none of this name. */
  passwordByPolicy(name: string): Promise<string | undefined>;
  /** Tells subscribers of a change, once this transaction is committed. */
  emit(event: BackendEvent): void;
  /** For what is made outside of the server: journaled, so that nothing is left behind (invariant I5). */
  readonly outside: OutsideJournal;
}

/** Kinds of paths that want no token at a listener that says so: shares are proof enough there. */
export type OpenForm = "rekey" | "generate-root";

/** What the token and system backends get besides: the whole transaction and the request's outer side. */
export interface PrivilegedContext extends Context {
  readonly transaction: Transaction;
  /** The caller's token as it was sent; "" without. */
  readonly clientToken: string;
  readonly wrapTtlSeconds: number | undefined;
  /** True when the caller's policies give sudo on this path. */
  readonly hasSudo: boolean;
  /** Path of the namespace without slashes around; "" for the root namespace. */
  readonly namespace: string;
  readonly scope: NamespaceScope;
  readonly query: JsonObject;
  /** Of a path that takes a stream. Stays the same when the request runs again, and can be read once. */
  readonly bodyStream?: BodyStream | undefined;
  /** The client wants to go on with this protocol over the same connection. */
  readonly upgrade?: "websocket" | undefined;
  /** What the listener takes without a token. */
  readonly openForms?: readonly OpenForm[];
  /** The request's headers by their names in lower case, for the few paths that standards give some of their own. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
}
