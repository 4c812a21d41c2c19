// The auth mount that an alias is for. Aliases are made by hand rarely, so the mounts are looked through one by one.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { isAuthMount, type MountRecord } from "../mounts/mount-record.ts";
import { listMounts } from "../mounts/mount-table.ts";

/** Throws `invalid_request` when no auth method has this accessor. */
export async function mountOfAccessor(tx: Transaction, accessor: string): Promise<MountRecord> {
  const mount = (await listMounts(tx)).find((candidate) => candidate.accessor === accessor && isAuthMount(candidate));
  if (!mount) throw new CofferError("invalid_request", `invalid mount accessor ${JSON.stringify(accessor)}`);
  return mount;
}
