// The mount that something belongs to which outlives requests (a lease, an intent), wherever the mount is by now.
import type { Transaction } from "../barrier/transaction.ts";
import type { MountRecord } from "../mounts/mount-record.ts";
import { listMounts, readEndedMount, readMount, readMovedMount } from "../mounts/mount-table.ts";
import { listDescendants, readNamespace } from "../namespaces/namespace-store.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";

const NAMESPACES_PAGE = 500;

export interface MountPlace {
  readonly mount: MountRecord;
  /** The part of the transaction that is the mount's namespace's. */
  readonly view: Transaction;
}

/**
 * Usually where it was, else disabled, or moved to another path of the namespace. Mounts that were moved before a word
 * was left of it are looked for among all.
 */
export async function mountOf(tx: Transaction, path: string, uuid: string): Promise<MountRecord | undefined> {
  const mounted = await readMount(tx, path);
  if (mounted?.uuid === uuid) return mounted;
  const known = (await readEndedMount(tx, uuid)) ?? (await readMovedMount(tx, uuid));
  return known ?? (await listMounts(tx)).find((mount) => mount.uuid === uuid);
}

/** The same, or moved to another namespace: looks through all of them, which hardly ever has to happen. */
export async function mountAnywhere(tx: Transaction, path: string, uuid: string): Promise<MountPlace | undefined> {
  const here = await mountOf(tx, path, uuid);
  if (here) return { mount: here, view: tx };
  const whole = namespaceView(tx, "");
  const found = await placeIn(whole, uuid);
  if (found) return found;
  for (let after: string | undefined; ; ) {
    const paths = await listDescendants(whole, "", { limit: NAMESPACES_PAGE, ...(after !== undefined && { after }) });
    for (const each of paths) {
      const namespace = await readNamespace(whole, each);
      const place = namespace && (await placeIn(namespaceView(whole, namespace.id), uuid));
      if (place) return place;
    }
    after = paths.at(-1);
    if (after === undefined) return undefined;
  }
}

async function placeIn(view: Transaction, uuid: string): Promise<MountPlace | undefined> {
  const mount = await mountOf(view, "", uuid);
  return mount && { mount, view };
}
