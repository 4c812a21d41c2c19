// A device of the table as it is used: its record read once, which entries it takes, how it shows them, and its queue.
import { createSecretKey } from "node:crypto";
import { type Clock, within } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import type { AuditDevice, AuditDeviceType } from "./audit-device.ts";
import { type AuditEntry, type AuditFormat, formatEntry } from "./audit-entry.ts";
import type { AuditMetrics } from "./audit-metrics.ts";
import type { AuditDeviceRecord, AuditedHeaders } from "./audit-record.ts";
import { ChainWriter, chainKeyOf } from "./chain-writer.ts";
import { type CommonOptions, parseCommonOptions } from "./device-options.ts";
import { DeviceQueue } from "./device-queue.ts";
import { applyExclusions } from "./selection/exclusions.ts";
import type { Lookup } from "./selection/expression.ts";

export interface DeviceParts {
  readonly clock: Clock;
  readonly log: Log;
  metrics(): AuditMetrics | undefined;
}

export class OpenDevice {
  readonly queue: DeviceQueue;
  readonly isFallback: boolean;
  readonly #options: CommonOptions;
  readonly #format: AuditFormat;
  readonly #device: AuditDevice;
  readonly #clock: Clock;

  /** Touches nothing outside. Throws `invalid_request` naming the option that is wrong. */
  constructor(record: AuditDeviceRecord, type: AuditDeviceType, parts: DeviceParts) {
    const options = parseCommonOptions(record.options, type.options);
    const salt = Buffer.from(record.salt, "base64");
    this.#options = options;
    this.#clock = parts.clock;
    this.isFallback = options.fallback;
    this.#format = {
      key: createSecretKey(salt),
      raw: options.raw,
      hmacAccessor: options.hmacAccessor,
      ofTokens: new WeakMap(),
      elideListResponses: options.elideListResponses,
    };
    this.#device = type.make(record.options, { clock: parts.clock });
    this.queue = new DeviceQueue({
      ...{ clock: parts.clock, log: parts.log, metrics: parts.metrics },
      path: record.path,
      device: this.#device,
      chain: new ChainWriter(chainKeyOf(salt)),
      timeoutMillis: options.timeoutMillis,
      lostLine: (lines) =>
        this.#line({ time: new Date(parts.clock.now()).toISOString(), type: "lost", lines_lost: lines }),
    });
  }

  /** Whether the device's filter lets an entry pass; a fallback waits for what others reject. */
  takes(names: Lookup): boolean {
    return !this.isFallback && (this.#options.filter?.(names) ?? true);
  }

  /** Resolves when the device has the entry. */
  write(entry: AuditEntry, headers: AuditedHeaders, names: Lookup): Promise<void> {
    const shown = formatEntry(this.#format, entry, headers);
    const { exclusions } = this.#options;
    return this.queue.write(this.#line(exclusions.length === 0 ? shown : applyExclusions(exclusions, shown, names)));
  }

  #line(entry: JsonObject): string {
    return this.#options.prefix + JSON.stringify(entry);
  }

  /** Whether it can be written to. Throws `invalid_request` when it cannot within its deadline. */
  async probe(): Promise<void> {
    if (this.#options.skipTest) return;
    const { timeoutMillis } = this.#options;
    const cut = new AbortController();
    try {
      if ((await within(this.#clock, timeoutMillis, this.#device.probe(cut.signal))) !== "late") return;
      throw new CofferError(
        "invalid_request",
        `sanity check failed; the device did not answer within ${timeoutMillis} ms`,
      );
    } finally {
      cut.abort();
    }
  }

  close(): Promise<void> {
    return this.queue.close();
  }
}
