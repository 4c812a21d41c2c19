// A backend: a named set of paths behind a mount. An engine or an auth method is a function from its mount's options
// to one of these, and one line in a registry.
import type { Clock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import type { Context } from "./context.ts";
import type { HeavyWork } from "./heavy-work.ts";
import type { EffectKind } from "./outside.ts";
import type { Path } from "./path.ts";

/** How a kind of lease ends and is prolonged. Both run in a transaction of their own and may run again after a crash. */
export interface LeaseKind {
  /**
   * Ends what the lease stands for, by one node at a time. It is idempotent, and has to be: after a failure, a crash or
   * a conflict it is called again until it returns. Throws to be called again later.
   */
  revoke(context: LeaseContext, internal: JsonObject): Promise<void>;
  /** Called before the lease's time is moved; throws to refuse. */
  renew?(context: LeaseContext, internal: JsonObject): Promise<void>;
  /**
   * Ending it touches the mount's storage alone, so the transaction is all it needs. Left out, ending it does something
   * outside: a claim, a commit more, keeps other nodes from doing it at the same time.
   */
  readonly confined?: true;
}

export type LeaseContext = Pick<Context, "storage" | "clock" | "log" | "mount"> & {
  /** While something outside is ended: aborts when the time of this attempt is over. */
  readonly signal?: AbortSignal;
};

export interface ItemRecords {
  /** Folders that hold records of the item and may hold more of them now. */
  readonly folders: readonly string[];
  has(key: string): boolean;
}

export interface Backend<C = Context> {
  readonly type: string;
  readonly summary: string;
  /** In order of precedence: the first whose pattern matches answers. */
  readonly paths: readonly Path<C>[];
  readonly leaseKinds?: Readonly<Record<string, LeaseKind>>;
  /** What its handlers make outside through `context.outside`, and how that is undone. */
  readonly effects?: Readonly<Record<string, EffectKind>>;
  /**
   * Converts the data of a mount whose options were others before, in the transaction that changes them, and once more
   * afterwards for what was written meanwhile. Answers warnings.
   */
  upgrade?(
    context: Pick<Context, "storage" | "clock" | "log">,
    before: Readonly<Record<string, string>>,
  ): Promise<readonly string[]>;
  /** Which of its records are those of one item, for bringing that back from a snapshot. */
  itemRecords?(path: string): ItemRecords;
  /** Prefixes of its storage that hold keys: what seal wrap covers. */
  readonly sealWrapped?: readonly string[];
}

/** What the host lends to a backend that needs the world outside. */
export interface BackendHost {
  readonly clock: Clock;
  readonly log: Log;
  /** Reads a small local file (a ServiceAccount's token); throws when there is none. */
  readFile(path: string): Promise<string>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where hashes of passwords and other long work on Node's threads have to go: shared by all mounts. */
  readonly heavy: HeavyWork;
}

/** A registry's line: how a mount of this type becomes a backend. */
export interface BackendType {
  readonly type: string;
  /** There is one mount of it from the start, and no other can be made. */
  readonly single?: boolean;
  /** Names of the kinds of databases that it serves, for the plugin catalogue. */
  readonly databasePlugins?: readonly string[];
  /** Options such as KV's version; throws `invalid_request` when they make no sense. */
  create(options: Readonly<Record<string, string>>, host: BackendHost): Backend;
}
