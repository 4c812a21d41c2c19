// Writes audit lines to every enabled device. A request goes on when at least one device has the line; when all of
// them refuse, it fails (invariant I3). Which devices there are is read through the request's own transaction.
import { createSecretKey, type KeyObject, randomBytes, randomUUID } from "node:crypto";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { AuditDevice, AuditDeviceType } from "./audit-device.ts";
import { type AuditFormat, auditHmac, formatEntry } from "./audit-entry.ts";
import { type AuditDeviceRecord, type AuditedHeaders, readAuditTable, writeAuditTable } from "./audit-record.ts";

interface OpenDevice {
  readonly device: Promise<AuditDevice>;
  readonly format: AuditFormat;
}

export type AuditEntry = Parameters<typeof formatEntry>[1];

export class AuditService {
  readonly #types: readonly AuditDeviceType[];
  readonly #log: Log;
  readonly #open = new Map<string, OpenDevice>();
  constructor(types: readonly AuditDeviceType[], log: Log) {
    this.#types = types;
    this.#log = log;
  }

  /** Writes one entry. Throws `audit_failed` when there are devices and none took it. */
  async record(tx: Transaction, entry: AuditEntry): Promise<void> {
    const { devices, headers = {} } = await readAuditTable(tx);
    if (devices.length === 0) return;
    const results = await Promise.allSettled(devices.map((record) => this.#write(record, entry, headers)));
    for (const [i, result] of results.entries()) {
      if (result.status === "rejected") {
        this.#log.error("audit device failed", { device: devices[i]?.path, error: messageOf(result.reason) });
      }
    }
    if (results.every((result) => result.status === "rejected")) {
      throw new CofferError("audit_failed", "no audit device accepted the entry; see the server's log for the cause");
    }
  }

  async #write(record: AuditDeviceRecord, entry: AuditEntry, headers: AuditedHeaders): Promise<void> {
    const { device, format } = this.#device(record);
    const line = formatEntry(format, entry, headers);
    await (await device).write((record.options["prefix"] ?? "") + line);
  }

  #device(record: AuditDeviceRecord): OpenDevice {
    const known = this.#open.get(record.uuid);
    if (known) return known;
    const opened: OpenDevice = { device: this.#type(record.type).open(record.options), format: formatOf(record) };
    this.#open.set(record.uuid, opened);
    opened.device.catch(() => this.#open.delete(record.uuid)); // the next request tries again
    return opened;
  }

  #type(type: string): AuditDeviceType {
    const found = this.#types.find((candidate) => candidate.type === type);
    if (!found) throw new CofferError("invalid_request", `unknown backend type: "${type}"`);
    return found;
  }

  /** Adds a device after opening it once, so that a wrong path is told at once and not by failing requests. */
  async enable(
    tx: Transaction,
    wanted: Pick<AuditDeviceRecord, "path" | "type" | "description" | "local" | "options">,
  ): Promise<void> {
    const table = await readAuditTable(tx);
    const { devices } = table;
    if (devices.some((device) => device.path.startsWith(wanted.path) || wanted.path.startsWith(device.path))) {
      throw new CofferError("invalid_request", "path already in use");
    }
    const record = { ...wanted, uuid: randomUUID(), salt: randomBytes(32).toString("base64") };
    await this.#device(record).device;
    writeAuditTable(tx, { ...table, devices: [...devices, record] });
  }

  async disable(tx: Transaction, path: string): Promise<boolean> {
    const table = await readAuditTable(tx);
    const { devices } = table;
    const rest = devices.filter((device) => device.path !== path);
    if (rest.length === devices.length) return false;
    writeAuditTable(tx, { ...table, devices: rest });
    return true;
  }

  async hash(tx: Transaction, path: string, input: string): Promise<string> {
    const { devices } = await readAuditTable(tx);
    const record = devices.find((device) => device.path === path);
    if (!record) throw new CofferError("invalid_request", `unknown audit backend: "${path}"`);
    return auditHmac(this.#device(record).format.key, input);
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map(async (open) => (await open.device).close()));
    this.#open.clear();
  }
}

function formatOf(record: AuditDeviceRecord): AuditFormat {
  const flag = (name: string, fallback: boolean) => (record.options[name] ?? String(fallback)) === "true";
  const key: KeyObject = createSecretKey(Buffer.from(record.salt, "base64"));
  return {
    key,
    raw: flag("log_raw", false),
    hmacAccessor: flag("hmac_accessor", true),
    elideListResponses: flag("elide_list_responses", false),
  };
}
