// Writes audit entries to the enabled devices. A request goes on when at least one device has the line; when all of
// those that should take it refuse, it fails (invariant I3). Which devices there are is read through the request's own
// transaction; what is open here is no more than a consequence of that.
import { createSecretKey, randomBytes, randomUUID } from "node:crypto";
import { type Clock, systemClock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { AuditDeviceType } from "./audit-device.ts";
import { type AuditEntry, auditHmac } from "./audit-entry.ts";
import type { AuditMetrics } from "./audit-metrics.ts";
import { type AuditDeviceRecord, readAuditTable, writeAuditTable } from "./audit-record.ts";
import { type ChainHead, chainKeyOf, invalidProofs } from "./chain-writer.ts";
import { firstAcceptance } from "./first-acceptance.ts";
import { OpenDevice } from "./open-device.ts";
import type { Lookup } from "./selection/expression.ts";
import { type SystemEvent, systemEntry } from "./system-entry.ts";

export class AuditService {
  readonly #types: readonly AuditDeviceType[];
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #open = new Map<string, OpenDevice>();
  #seen: readonly AuditDeviceRecord[] | undefined;
  #metrics: AuditMetrics | undefined;
  constructor(types: readonly AuditDeviceType[], log: Log, clock: Clock = systemClock) {
    this.#types = types;
    this.#log = log;
    this.#clock = clock;
  }

  /** Counts from now on. */
  countBy(metrics: AuditMetrics): void {
    this.#metrics = metrics;
  }

  /**
   * Writes one entry. Throws `audit_failed` when there are devices whose filters let it pass and none took it. An entry
   * that all filters reject, without a fallback, is written nowhere and no failure.
   */
  async record(tx: Transaction, entry: AuditEntry): Promise<void> {
    const { devices, headers = {} } = await readAuditTable(tx);
    this.#closeGone(devices);
    if (devices.length === 0) return;
    const names = namesOf(entry);
    const opened = devices.map((record) => this.#opened(record));
    const open = opened.filter((device) => device !== undefined);
    const takers = open.filter((device) => device.takes(names));
    const wanted = takers.length > 0 ? takers : open.filter((device) => device.isFallback);
    if (wanted.length === 0 && open.length > 0) return;
    const writes = wanted.map((device) => ({ queue: device.queue, done: device.write(entry, headers, names) }));
    if (!(await firstAcceptance(writes, this.#clock)))
      throw new CofferError("audit_failed", "no audit device accepted the entry; see the server's log for the cause");
  }

  /** Writes what the server did by itself. It is done already, so a failure is logged and stops nothing. */
  async recordSystem(tx: Transaction, event: SystemEvent): Promise<void> {
    try {
      await this.record(tx, systemEntry(event, this.#clock.now()));
    } catch (error) {
      this.#log.error("work of the server itself is not in any audit log", {
        operation: event.operation,
        path: event.path,
        error: messageOf(error),
      });
    }
  }

  /** Undefined for a record that this version cannot use: one device less, which is logged. */
  #opened(record: AuditDeviceRecord): OpenDevice | undefined {
    try {
      return this.#device(record);
    } catch (error) {
      this.#log.error("audit device cannot be used", { device: record.path, error: messageOf(error) });
      return undefined;
    }
  }

  #device(record: AuditDeviceRecord): OpenDevice {
    const known = this.#open.get(record.uuid);
    if (known) return known;
    const parts = { clock: this.#clock, log: this.#log, metrics: () => this.#metrics };
    const opened = new OpenDevice(record, this.#type(record.type), parts);
    this.#open.set(record.uuid, opened);
    return opened;
  }

  #closeGone(devices: readonly AuditDeviceRecord[]): void {
    if (devices === this.#seen) return;
    this.#seen = devices;
    for (const [uuid, device] of this.#open) {
      if (!devices.some((record) => record.uuid === uuid)) this.#close(uuid, device);
    }
  }

  #close(uuid: string, device: OpenDevice): void {
    this.#open.delete(uuid);
    device.close().catch((error: unknown) => {
      this.#log.warn("an audit device did not close", { error: messageOf(error) });
    });
  }

  #type(type: string): AuditDeviceType {
    const found = this.#types.find((candidate) => candidate.type === type);
    if (!found) throw new CofferError("invalid_request", `unknown backend type: "${type}"`);
    return found;
  }

  /** Adds a device after trying it once, so that a wrong path is told at once and not by failing requests. */
  async enable(
    tx: Transaction,
    wanted: Pick<AuditDeviceRecord, "path" | "type" | "description" | "local" | "options">,
  ): Promise<void> {
    const table = await readAuditTable(tx);
    const { devices } = table;
    if (devices.some((device) => device.path.startsWith(wanted.path) || wanted.path.startsWith(device.path))) {
      throw new CofferError("invalid_request", "path already in use");
    }
    this.#assertOwnPlace(wanted, devices);
    const record = { ...wanted, uuid: randomUUID(), salt: randomBytes(32).toString("base64") };
    const device = this.#device(record);
    try {
      if (device.isFallback && devices.some((other) => this.#opened(other)?.isFallback))
        throw new CofferError("invalid_request", "there is a fallback device already; disable it first");
      await device.probe();
    } catch (error) {
      this.#close(record.uuid, device);
      throw error;
    }
    writeAuditTable(tx, { ...table, devices: [...devices, record] });
  }

  #assertOwnPlace(
    { type, options }: Pick<AuditDeviceRecord, "type" | "options">,
    devices: readonly AuditDeviceRecord[],
  ) {
    const placeOf = this.#types.find((candidate) => candidate.type === type)?.ownPlace;
    const place = placeOf?.(options);
    const owner = place && devices.find((other) => other.type === type && placeOf?.(other.options) === place);
    if (owner)
      throw new CofferError(
        "invalid_request",
        `the device ${owner.path} writes to ${place} already; give this one another, or neither's chain of lines holds`,
      );
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
    const { salt } = await this.#find(tx, path);
    return auditHmac(createSecretKey(Buffer.from(salt, "base64")), input);
  }

  /** Which proofs of lines (digest and MAC) are not true, by index. */
  async verify(tx: Transaction, path: string, proofs: Uint8Array): Promise<readonly number[]> {
    const { salt } = await this.#find(tx, path);
    return invalidProofs(chainKeyOf(Buffer.from(salt, "base64")), proofs);
  }

  /** The last line that this process wrote to a device. */
  async head(tx: Transaction, path: string): Promise<ChainHead> {
    return this.#device(await this.#find(tx, path)).queue.head;
  }

  async #find(tx: Transaction, path: string): Promise<AuditDeviceRecord> {
    const { devices } = await readAuditTable(tx);
    const record = devices.find((device) => device.path === path);
    if (!record) throw new CofferError("invalid_request", `unknown audit backend "${path}"`);
    return record;
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map((device) => device.close()));
    this.#open.clear();
  }
}

/** What filters can ask for. */
function namesOf({ request }: AuditEntry): Lookup {
  const names: Readonly<Record<string, string>> = {
    mount_point: request.mountPath,
    mount_type: request.mountType,
    namespace: request.namespace.path,
    operation: request.operation,
    path: request.path,
  };
  return (selector) => names[selector];
}
