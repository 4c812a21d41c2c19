// The end of a namespace, a slice at a time in the background: nobody gets in any more (the record says so, and every
// request in it has read the record), then tokens and mounts end, their leases through their backends as always, and
// when all of them have, what is left of the records goes. A lease that cannot be ended keeps the namespace there,
// tainted; sys/leases still answers in it.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { JOURNAL_PREFIX } from "../journal/intent-record.ts";
import type { Expiration } from "../leases/expiration.ts";
import { deleteBelow, isAnyBelow, type Progress } from "../leases/job-progress.ts";
import { LEASE_PREFIX } from "../leases/lease-record.ts";
import { putJob } from "../leases/revocation-job.ts";
import { ENDED_MOUNT_PREFIX, mountStoragePrefix } from "../mounts/mount-record.ts";
import { listMounts } from "../mounts/mount-table.ts";
import { SYSTEM_MOUNTS } from "../mounts/system-mounts.ts";
import { deleteQuotasOf } from "../quotas/quota-store.ts";
import { ACCESSOR_PREFIX } from "../tokens/token-record.ts";
import { readTokenByAccessor } from "../tokens/token-store.ts";
import { type NamespaceRecord, namespaceIdKey, namespaceKey } from "./namespace-record.ts";
import { listChildren, readNamespace, writeNamespace } from "./namespace-store.ts";
import { namespacePrefix, namespaceView } from "./namespace-transaction.ts";

/** Tokens and mounts that one transaction ends, each with as much of what hangs on it as fits. */
const ENDED_AT_ONCE = 20;

/** Lets a namespace end. Answers it as it is now. Throws `invalid_request` while there are others below it. */
export async function endNamespace(tx: Transaction, record: NamespaceRecord): Promise<NamespaceRecord> {
  if ((await listChildren(tx, record.path, { limit: 1 })).length > 0)
    throw new CofferError(
      "invalid_request",
      `cannot delete namespace (${JSON.stringify(record.path)}) containing child namespaces`,
    );
  if (record.tainted) return record;
  const tainted = { ...record, tainted: true };
  writeNamespace(tx, tainted);
  putJob(namespaceView(tx, ""), { kind: "namespace", target: record.path });
  return tainted;
}

/** One transaction of it. */
export async function removeNamespaceSlice(tx: Transaction, path: string, expiration: Expiration): Promise<Progress> {
  const record = await readNamespace(tx, path);
  if (!record?.tainted) return "done";
  const view = namespaceView(tx, record.id);
  if (await endTokens(view, expiration)) return "more";
  if (await endMounts(view, expiration)) return "more";
  if (await isAnyBelow(view, LEASE_PREFIX)) return "waiting";
  if (await isAnyBelow(view, ENDED_MOUNT_PREFIX)) return "waiting";
  if (await isAnyBelow(view, JOURNAL_PREFIX)) return "waiting";
  return (await removeRecords(tx, record)) ? "done" : "more";
}

/** True when there were some. */
async function endTokens(view: Transaction, expiration: Expiration): Promise<boolean> {
  const accessors = await view.list(ACCESSOR_PREFIX, { limit: ENDED_AT_ONCE });
  for (const accessor of accessors) {
    const token = await readTokenByAccessor(view, accessor);
    if (token) await expiration.revokeToken(view, token.hash);
    else view.delete(ACCESSOR_PREFIX + accessor);
  }
  return accessors.length > 0;
}

async function endMounts(view: Transaction, expiration: Expiration): Promise<boolean> {
  const mounts = (await listMounts(view)).filter(({ path }) => !SYSTEM_MOUNTS.some((mount) => mount.path === path));
  for (const mount of mounts.slice(0, ENDED_AT_ONCE)) await expiration.endMount(view, mount);
  return mounts.length > 0;
}

/** True when nothing is left. The record itself goes last, so that the name is free only then. */
async function removeRecords(tx: Transaction, record: NamespaceRecord): Promise<boolean> {
  const whole = namespaceView(tx, "");
  for (const mount of await listMounts(namespaceView(tx, record.id))) {
    // The cubbyholes of all namespaces are in one place and end with their tokens.
    if (mount.type !== "cubbyhole" && !(await deleteBelow(whole, mountStoragePrefix(mount)))) return false;
  }
  if (!(await deleteBelow(whole, namespacePrefix(record.id)))) return false;
  await deleteQuotasOf(whole, record.path);
  whole.delete(namespaceKey(record.path));
  whole.delete(namespaceIdKey(record.id));
  return true;
}
