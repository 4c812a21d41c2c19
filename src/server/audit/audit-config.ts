// Audit devices that the configuration names: they exist from the first request on.
import type { Transaction } from "../barrier/transaction.ts";
import type { AuditStanza } from "../config/server-config.ts";
import { readAuditTable } from "./audit-record.ts";
import type { AuditService } from "./audit-service.ts";

/** Enables those that are not there yet. */
export async function enableAuditDevices(
  tx: Transaction,
  stanzas: readonly AuditStanza[],
  audit: AuditService,
): Promise<void> {
  const { devices } = await readAuditTable(tx);
  for (const { path, type, description, options } of stanzas) {
    if (devices.some((device) => device.path === path)) continue;
    await audit.enable(tx, { path, type, description, options, local: false });
  }
}
