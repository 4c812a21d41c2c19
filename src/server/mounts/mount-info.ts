// A mount as its backend sees it: time limits resolved against the server's.
import type { MountInfo } from "../framework/context.ts";
import type { MountRecord } from "./mount-record.ts";

/** The server's own limits, from its configuration. */
export interface TtlDefaults {
  readonly defaultLeaseTtlSeconds: number;
  readonly maxLeaseTtlSeconds: number;
}

/** 768 h, the default that clients of Vault expect for both. */
export const TTL_DEFAULTS: TtlDefaults = { defaultLeaseTtlSeconds: 2_764_800, maxLeaseTtlSeconds: 2_764_800 };

export function mountInfo(mount: MountRecord, server: TtlDefaults): MountInfo {
  const maxTtlSeconds = mount.config.maxLeaseTtlSeconds || server.maxLeaseTtlSeconds;
  return {
    path: mount.path,
    type: mount.type,
    accessor: mount.accessor,
    uuid: mount.uuid,
    options: mount.options,
    defaultTtlSeconds: Math.min(mount.config.defaultLeaseTtlSeconds || server.defaultLeaseTtlSeconds, maxTtlSeconds),
    maxTtlSeconds,
  };
}
