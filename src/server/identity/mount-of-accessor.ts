// The auth mount that an alias is for. Auth methods are few beside other mounts, so they are looked through one by one.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { MountRecord } from "../mounts/mount-record.ts";
import { listAuthMounts } from "../mounts/mount-table.ts";

/** Throws `invalid_request` when no auth method has this accessor. */
export async function mountOfAccessor(tx: Transaction, accessor: string): Promise<MountRecord> {
  const mount = (await listAuthMounts(tx)).find((candidate) => candidate.accessor === accessor);
  if (!mount) throw new CofferError("invalid_request", `invalid mount accessor ${JSON.stringify(accessor)}`);
  return mount;
}
