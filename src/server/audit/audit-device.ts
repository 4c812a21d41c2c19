// The seam of audit devices: something that takes lines and says when it has them. What is common to all devices
// (queue, deadline, chain, metrics) is in device-queue.ts; a device knows its file or its peer and nothing else.
import type { ChainStart } from "#common/audit-chain.ts";
import type { Clock } from "#common/clock.ts";

/** Where the next lines go, when it is not where the last ones went. */
export interface NewPlace {
  readonly start: ChainStart;
  /** The MAC of the last line that is there, "" when it has none; for "continued". */
  readonly previous?: string;
}

export interface AuditDevice {
  /** A longer line is refused before it is queued. */
  readonly lineBytesMax?: number;
  /** Whether lines can be written now; asked once, when somebody enables the device. Throws `invalid_request`. */
  probe(signal: AbortSignal): Promise<void>;
  /** Called before every write, for devices that keep what they were given. */
  follow?(): Promise<NewPlace | undefined>;
  /**
   * Resolves when all lines (each without its newline) have been handed to the operating system or accepted by the
   * peer; rejects when that is not sure. The same lines then come again. Must give up when the signal aborts, if it can.
   */
  write(lines: readonly string[], signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface AuditHost {
  readonly clock: Clock;
}

export type DeviceOptions = Readonly<Record<string, string>>;

export interface AuditDeviceType {
  readonly type: string;
  /** Options besides those of every device: name and a sentence. Others are refused. */
  readonly options: Readonly<Record<string, string>>;
  /** What two devices cannot both write to without breaking each other's chain, as people call it. */
  ownPlace?(options: DeviceOptions): string | undefined;
  /** Makes a device without touching anything outside. Throws `invalid_request` naming the option that is wrong. */
  make(options: DeviceOptions, host: AuditHost): AuditDevice;
}
