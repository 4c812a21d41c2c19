// Which mounts have the seal's layer on what is critical of them. The mount's own record says so to whoever serves it;
// here it stands by the mount's uuid, for the rewrap, which meets keys and not paths.
//
//   core/sealwrap/mount/<uuid>   { prefixes: [...] }: of the mount's storage, what is critical
import { list, object, string } from "#common/schema.ts";
import { storageView } from "../barrier/storage-view.ts";
import { recordKind, type StorageView, type Transaction } from "../barrier/transaction.ts";
import type { Backends } from "./backends.ts";
import { type MountRecord, mountStoragePrefix } from "./mount-record.ts";

export const WRAPPED_MOUNT_PREFIX = "core/sealwrap/mount/";
const wrappedMountKind = recordKind("wrapped mount", object({ prefixes: list(string) }), { cached: true });

/** The mount's part of a transaction as its backend sees it. */
export function mountStorage(tx: Transaction, mount: MountRecord, backends: Backends): StorageView {
  return storageView(tx, mountStoragePrefix(mount), criticalPrefixes(mount, backends));
}

function criticalPrefixes(mount: MountRecord, backends: Backends): readonly string[] | undefined {
  return mount.sealWrap ? backends.of(mount).backend.sealWrapped : undefined;
}

/** Keeps the mark of a mount as its record is; for whoever makes or changes a mount. */
export function markWrappedMount(tx: Transaction, mount: MountRecord, backends: Backends): void {
  const prefixes = criticalPrefixes(mount, backends);
  if (prefixes === undefined || prefixes.length === 0) unmarkWrappedMount(tx, mount);
  else tx.write(wrappedMountKind, WRAPPED_MOUNT_PREFIX + mount.uuid, { prefixes });
}

export function unmarkWrappedMount(tx: Transaction, { uuid }: MountRecord): void {
  tx.delete(WRAPPED_MOUNT_PREFIX + uuid);
}

/** What is critical of a mount's storage; nothing where it is not wrapped. */
export async function readWrappedPrefixes(tx: Transaction, uuid: string): Promise<readonly string[]> {
  return (await tx.read(wrappedMountKind, WRAPPED_MOUNT_PREFIX + uuid))?.prefixes ?? [];
}
