// Where things are below the path of a store, and its mark. Format 1 of a store whose `path` is P:
//
//   P "format"   {"format":"coffer","version":1}
//   P "gate"     there while a commit with a large read set is made (gate.ts); no other commit is made then
//   P "pins/" id the revision that a snapshot is being read at, under a lease (snapshot.ts); not compacted away
//   P "kv/" key  the value; the key in UTF-8, its version is the mod_revision
import { CofferError } from "#common/errors.ts";
import { isJsonObject, parseJson } from "#common/json.ts";
import { type EtcdCluster, METHOD } from "./cluster.ts";
import { commitRequest, parseRange, parseTxn, rangeRequest } from "./messages.ts";

const FORMAT_VERSION = 1;

export const formatKey = (path: string) => Buffer.from(`${path}format`);
export const gateKey = (path: string) => Buffer.from(`${path}gate`);
export const pinsPrefix = (path: string) => `${path}pins/`;
export const formatRecord = () => Buffer.from(JSON.stringify({ format: "coffer", version: FORMAT_VERSION }));
/** Before every key of the store. */
export const dataPrefix = (path: string) => `${path}kv/`;
/** The first key past all that have this prefix, which ends in "/": "0" is the character after it. */
export const pastPrefix = (prefix: string) => Buffer.from(`${prefix.slice(0, -1)}0`);

/** Makes the store where there is nothing. Throws `invalid_request` for another program's data or a newer format. */
export async function prepareStore(cluster: EtcdCluster, path: string): Promise<void> {
  for (;;) {
    const key = formatKey(path);
    const [found] = parseRange(await cluster.call(METHOD.range, rangeRequest(key), "read")).entries;
    if (found !== undefined) return assertFormat(found.value, path);
    const options = { end: pastPrefix(path), limit: 1, keysOnly: true };
    const others = parseRange(await cluster.call(METHOD.range, rangeRequest(Buffer.from(path), options), "read"));
    if (others.entries.length > 0 && !(await exists(cluster, key))) throw foreign(path);
    const create = commitRequest({ comparisons: [{ key, modRevision: 0n }], writes: [[key, formatRecord()]] });
    if (parseTxn(await cluster.call(METHOD.txn, create, "write")).succeeded) return;
  }
}

/** Another server may have made the store between two looks. */
async function exists(cluster: EtcdCluster, key: Buffer): Promise<boolean> {
  return parseRange(await cluster.call(METHOD.range, rangeRequest(key), "read")).entries.length > 0;
}

function assertFormat(record: Buffer, path: string): void {
  const { format, version } = recordOf(record);
  if (format !== "coffer" || typeof version !== "number") throw foreign(path);
  if (version <= FORMAT_VERSION) return;
  const message = `the store at ${path} in etcd has format ${version}, and this program reads ${FORMAT_VERSION}; use a newer one`;
  throw new CofferError("invalid_request", message);
}

function recordOf(record: Buffer): { readonly format?: unknown; readonly version?: unknown } {
  try {
    const parsed = parseJson(record.toString("utf8"));
    return isJsonObject(parsed) ? parsed : {};
  } catch {
    return {};
  }
}

function foreign(path: string): CofferError {
  const message = `what is at ${path} in etcd is another program's; choose another storage.path`;
  return new CofferError("invalid_request", message);
}
