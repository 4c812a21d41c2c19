// The audit devices, one record for all: every request reads it, and there are few of them.
import { boolean, type Infer, list, map, object, optional, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

const deviceSchema = object({
  /** With a slash at the end. */
  path: string,
  type: string,
  description: string,
  uuid: string,
  local: boolean,
  options: map(string),
  /** Base64; the key of the HMACs in this device's lines. */
  salt: string,
});
export type AuditDeviceRecord = Infer<typeof deviceSchema>;

/** Request headers that lines show, by their names in lower case. */
const headersSchema = map(object({ hmac: boolean }));
export type AuditedHeaders = Infer<typeof headersSchema>;

const tableSchema = object({ devices: list(deviceSchema), headers: optional(headersSchema) });
const tableKind = recordKind("audit table", tableSchema, { cached: true });
export type AuditTable = Infer<typeof tableKind.schema>;
export const AUDIT_TABLE_KEY = "core/audit";
const EMPTY: AuditTable = { devices: [] };

export async function readAuditTable(tx: Transaction): Promise<AuditTable> {
  return (await tx.read(tableKind, AUDIT_TABLE_KEY)) ?? EMPTY;
}

export function writeAuditTable(tx: Transaction, table: AuditTable): void {
  tx.write(tableKind, AUDIT_TABLE_KEY, table);
}
