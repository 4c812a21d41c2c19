// Mounts that were made with seal_wrap before this program wrapped anything have no mark by their uuid yet
// (mounts/wrapped-mount.ts). Run once, before a store's first seal-wrap key is made; running it again changes nothing.
import { CofferError } from "#common/errors.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { Backends } from "../mounts/backends.ts";
import type { MountRecord } from "../mounts/mount-record.ts";
import { listMounts, readMount } from "../mounts/mount-table.ts";
import { markWrappedMount } from "../mounts/wrapped-mount.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";

const NAMESPACE_IDS = "core/namespace-id/";
const PAGE = 1_000;

/** Marks in one commit: etcd takes 128 operations in one. */
const MARKS_MAX = 32;

/** Throws `conflict` when mounts are being changed; the next look tries again. */
export async function markOlderMounts(barrier: Barrier, backends: Backends): Promise<void> {
  for (const id of ["", ...(await namespaceIds(barrier.begin()))]) {
    const wrapped = (await listMounts(namespaceView(barrier.begin(), id))).filter(({ sealWrap }) => sealWrap);
    for (let at = 0; at < wrapped.length; at += MARKS_MAX)
      await mark(barrier, backends, id, wrapped.slice(at, at + MARKS_MAX));
  }
}

async function mark(barrier: Barrier, backends: Backends, id: string, mounts: readonly MountRecord[]): Promise<void> {
  const tx = barrier.begin();
  for (const { path, uuid } of mounts) {
    const mount = await readMount(namespaceView(tx, id), path);
    if (mount?.uuid === uuid) markWrappedMount(tx, mount, backends);
  }
  if ((await tx.commit()) === "conflict") throw new CofferError("conflict", "mounts are being changed");
}

async function namespaceIds(tx: Transaction): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let after: string | undefined; ; after = ids.at(-1)) {
    const page = await tx.list(NAMESPACE_IDS, { limit: PAGE, ...(after !== undefined && { after }) });
    ids.push(...page);
    if (page.length < PAGE) return ids;
  }
}
