// One record per mount (a table in one record would limit their number and make every change a conflict).
// Stored at core/mount/<path, percent-encoded>, so that one listing level holds all of them whatever their depth.
import {
  boolean,
  type Infer,
  list,
  map,
  number,
  object,
  oneOf,
  optional,
  string,
  withDefault,
} from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";

const lockoutSchema = object({
  threshold: number,
  durationSeconds: number,
  counterResetSeconds: number,
  disabled: boolean,
});
export type LockoutConfig = Infer<typeof lockoutSchema>;

const mountConfigSchema = object({
  /** 0: the server's default. */
  defaultLeaseTtlSeconds: number,
  /** 0: the server's maximum. */
  maxLeaseTtlSeconds: number,
  forceNoCache: boolean,
  /** Auth methods only. */
  tokenType: optional(string),
  listingVisibility: optional(oneOf("hidden", "unauth")),
  auditNonHmacRequestKeys: withDefault(list(string), []),
  auditNonHmacResponseKeys: withDefault(list(string), []),
  passthroughRequestHeaders: withDefault(list(string), []),
  allowedResponseHeaders: withDefault(list(string), []),
  /** Permission boundary of every token that this auth method issues. */
  boundaryPolicies: withDefault(list(string), []),
  /** Set by tune; otherwise the server's configuration decides. */
  userLockout: optional(lockoutSchema),
});
export type MountConfig = Infer<typeof mountConfigSchema>;

const mountSchema = object({
  /** With a slash at the end; auth methods begin with "auth/". */
  path: string,
  type: string,
  accessor: string,
  uuid: string,
  description: string,
  local: boolean,
  sealWrap: boolean,
  options: map(string),
  config: mountConfigSchema,
});
export type MountRecord = Infer<typeof mountSchema>;
export const mountKind = recordKind("mount", mountSchema, { cached: true });

export const noMountConfig: MountConfig = {
  defaultLeaseTtlSeconds: 0,
  maxLeaseTtlSeconds: 0,
  forceNoCache: false,
  auditNonHmacRequestKeys: [],
  auditNonHmacResponseKeys: [],
  passthroughRequestHeaders: [],
  allowedResponseHeaders: [],
  boundaryPolicies: [],
};

export const MOUNT_PREFIX = "core/mount/";

export function mountKey(path: string): string {
  return MOUNT_PREFIX + encodeURIComponent(path);
}

export const ENDED_MOUNT_PREFIX = "core/ended-mount/";
/** Where a mount's record is after it was disabled, until nothing of it is left. */
export function endedMountKey(uuid: string): string {
  return ENDED_MOUNT_PREFIX + uuid;
}

/** Where a mount is that has moved to another path, for what names the old one: { path }. */
export function movedMountKey(uuid: string): string {
  return `core/moved-mount/${uuid}`;
}
export const movedMountKind = recordKind("moved mount", object({ path: string }));

/** Where the mount keeps its data. By uuid: a new mount at an old path never sees the old one's records. */
export function mountStoragePrefix(mount: MountRecord): string {
  return `mount/${mount.uuid}/`;
}

export function isAuthMount(mount: MountRecord): boolean {
  return mount.path.startsWith("auth/");
}

/** The path as `sys/auth` and `sys/mounts` name it: auth methods without their prefix. */
export function shownPath(mount: MountRecord): string {
  return isAuthMount(mount) ? mount.path.slice("auth/".length) : mount.path;
}
