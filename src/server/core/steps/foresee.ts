// What nearly every request will read, whatever it asks for, so that storage is asked once for all of it: with a store
// across a network each question is a round trip. It is a guess at keys alone. Who needs a record reads it from the
// transaction as ever, where its version stands in the read set.
import { AUDIT_TABLE_KEY } from "../../audit/audit-record.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { firstMountKey } from "../../mounts/mount-table.ts";
import { QUOTA_INDEX_KEY } from "../../quotas/quota-record.ts";
import type { TokenService } from "../../tokens/token-service.ts";
import type { Request } from "../request.ts";

/** Probes ask below it, and need little of what others do; what else is there is seldom asked. */
const SELDOM = "sys/";

/** Reads ahead into the whole transaction, which is the root namespace's. */
export async function foresee(tx: Transaction, request: Request, tokens: TokenService): Promise<void> {
  const { path, namespace, clientToken } = request;
  if (path.startsWith(SELDOM)) return;
  const keys = [AUDIT_TABLE_KEY, QUOTA_INDEX_KEY, ...tokens.foresee(tx, clientToken)];
  // In another namespace the mount has a place that only the namespace's record tells.
  const mount = namespace === "" ? firstMountKey(path) : undefined;
  await tx.prefetch(mount === undefined ? keys : [...keys, mount]);
}
