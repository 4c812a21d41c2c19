// Records of a snapshot, decrypted by this store's keyring: what is needed to bring one item back without the rest. A
// snapshot of other keys is refused, for nothing here could open it.
import { CofferError } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { RecordKind } from "../barrier/transaction.ts";
import { MOUNT_PREFIX, type MountRecord, mountKind } from "../mounts/mount-record.ts";
import { namespaceKey, namespaceKind } from "../namespaces/namespace-record.ts";
import { namespacePrefix } from "../namespaces/namespace-transaction.ts";
import { type PolicyRecord, policyKey, policyKind } from "../policy/policy-kind.ts";
import { requireOwnKeys } from "./own-keys.ts";
import type { Spool } from "./spool.ts";

/** What one request brings back at most: it is one transaction, and etcd's have limits. */
export const ITEM_RECORDS_MAX = 5_000;
export const ITEM_BYTES_MAX = 16 * 1024 * 1024;

export type Records = ReadonlyMap<string, Uint8Array>;

export class SnapshotItems {
  readonly #spool: Spool;
  readonly #barrier: Barrier;

  /** Throws `invalid_request` for a snapshot that was not made under this store's keys. */
  constructor(spool: Spool, barrier: Barrier) {
    using _keys = requireOwnKeys(spool, barrier);
    this.#spool = spool;
    this.#barrier = barrier;
  }

  /** The records of these keys, and their plaintexts. Throws `too_large` when there are more than one request may hold. */
  async records(isWanted: (key: string) => boolean): Promise<Records> {
    const found = new Map<string, Uint8Array>();
    using keys = requireOwnKeys(this.#spool, this.#barrier);
    let bytes = 0;
    for await (const chunk of this.#spool.chunks()) {
      for (const { key, value } of chunk) {
        if (!isWanted(key)) continue;
        bytes += value.length;
        if (found.size >= ITEM_RECORDS_MAX || bytes > ITEM_BYTES_MAX) throw tooMuch();
        found.set(key, await this.#barrier.reveal(key, value, keys.former));
      }
    }
    return found;
  }

  /** The id that a namespace of this path ("team/a/") had then; "" for the root, undefined when there was none. */
  async namespaceId(path: string): Promise<string | undefined> {
    return path === "" ? "" : (await this.#one(namespaceKind, namespaceKey(path)))?.id;
  }

  /** The mount that served a path of the API then, in the namespace of this id. */
  async mountOf(path: string, namespaceId: string): Promise<MountRecord | undefined> {
    const folder = partOf(namespaceId) + MOUNT_PREFIX;
    const found = await this.records((key) => key.startsWith(folder));
    return [...found.values()].map(parsed(mountKind)).find((mount) => `${path}/`.startsWith(mount.path));
  }

  /** A policy as it was then, by its name in lower case. */
  policy(name: string, namespaceId: string): Promise<PolicyRecord | undefined> {
    return this.#one(policyKind, partOf(namespaceId) + policyKey(name));
  }

  async #one<T>(kind: RecordKind<T>, wanted: string): Promise<T | undefined> {
    return [...(await this.records((key) => key === wanted)).values()].map(parsed(kind))[0];
  }
}

/** What the keys of a namespace's own records begin with. */
function partOf(namespaceId: string): string {
  return namespaceId === "" ? "" : namespacePrefix(namespaceId);
}

function parsed<T>({ schema, name }: RecordKind<T>): (bytes: Uint8Array) => T {
  return (bytes) => schema.parse(parseJson(Buffer.from(bytes).toString("utf8")), name);
}

function tooMuch(): CofferError {
  const most = `${ITEM_RECORDS_MAX} records or ${ITEM_BYTES_MAX} bytes`;
  return new CofferError(
    "too_large",
    `the item has more than ${most}; restore the snapshot to another server and copy it from there`,
  );
}
