// The mount table: which mount serves a path. It lives in storage alone (invariant I2): every request reads what it
// routes by through its own transaction, so a mount that is gone on one node is gone on all for the next request.
import { randomBytes, randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import {
  endedMountKey,
  MOUNT_PREFIX,
  type MountConfig,
  type MountRecord,
  mountKey,
  mountKind,
  movedMountKey,
  movedMountKind,
  noMountConfig,
} from "./mount-record.ts";
import { unmarkWrappedMount } from "./wrapped-mount.ts";

/** Deeper mount paths are refused: each level is one more key to look at for every request. */
export const MOUNT_SEGMENTS_MAX = 16;
const LIST_PAGE = 1_000;
/** Past all that encodeURIComponent emits. */
const PAST_ENCODED = "\u{7f}";
/** Path of the mount that was made last; every creation writes it. */
const CREATION_KEY = "core/mount-creation";

/**
 * The mount of a request path, or undefined. Mounts never nest, so at most one matches, and while it is there no other
 * can come between: most paths have theirs at the first segment and need one key, in their read set too.
 */
export async function findMount(tx: Transaction, path: string): Promise<MountRecord | undefined> {
  const [first, ...deeper] = ancestors(path).map(mountKey);
  const mount = first === undefined ? undefined : await tx.read(mountKind, first);
  if (mount) return mount;
  if (deeper.length > 1) await tx.prefetch(deeper);
  for (const key of deeper) {
    const mount = await tx.read(mountKind, key);
    if (mount) return mount;
  }
  return undefined;
}

/** Where a request path's mount most likely is: the first key that `findMount` looks at. */
export function firstMountKey(path: string): string | undefined {
  const [first] = ancestors(path);
  return first === undefined ? undefined : mountKey(first);
}

/** The mount with exactly this path (slash at the end). */
export function readMount(tx: Transaction, path: string): Promise<MountRecord | undefined> {
  return tx.read(mountKind, mountKey(path));
}

/** "a/b/c" -> "a/", "a/b/", "a/b/c/": every mount path that could serve it. "auth/" alone is no mount. */
function ancestors(path: string): readonly string[] {
  const found: string[] = [];
  for (let at = path.indexOf("/"); at >= 0 && found.length < MOUNT_SEGMENTS_MAX; at = path.indexOf("/", at + 1)) {
    found.push(path.slice(0, at + 1));
  }
  if (!path.endsWith("/") && found.length < MOUNT_SEGMENTS_MAX) found.push(`${path}/`);
  return found[0] === "auth/" ? found.slice(1) : found;
}

/** The auth methods alone, however many other mounts there are: their keys stand together. */
export async function listAuthMounts(tx: Transaction): Promise<readonly MountRecord[]> {
  const first = mountKey("auth/");
  const mounts: MountRecord[] = [];
  for (let from = first; ; ) {
    const keys = await tx.scan({ from, to: first + PAST_ENCODED, limit: LIST_PAGE });
    await tx.prefetch(keys);
    for (const key of keys) {
      const mount = await tx.read(mountKind, key);
      if (mount) mounts.push(mount);
    }
    const last = keys.at(-1);
    if (last === undefined || keys.length < LIST_PAGE) return mounts;
    from = `${last}\0`;
  }
}

/** All mounts, in the order of their paths. */
export async function listMounts(tx: Transaction): Promise<readonly MountRecord[]> {
  const mounts: MountRecord[] = [];
  for (let after: string | undefined; ; ) {
    const names = await tx.list(MOUNT_PREFIX, { limit: LIST_PAGE, ...(after !== undefined && { after }) });
    await tx.prefetch(names.map((name) => MOUNT_PREFIX + name));
    for (const name of names) {
      const mount = await tx.read(mountKind, MOUNT_PREFIX + name);
      if (mount) mounts.push(mount);
    }
    if (names.length < LIST_PAGE) return mounts;
    after = names.at(-1);
  }
}

export interface NewMount {
  readonly path: string;
  readonly type: string;
  readonly description?: string;
  readonly options?: Readonly<Record<string, string>>;
  readonly config?: MountConfig;
  readonly local?: boolean;
  readonly sealWrap?: boolean;
  /** Where its data is; a new place by default. */
  readonly uuid?: string;
}

/** Adds a mount. Throws `invalid_request` when its path is taken, lies below or above another mount's. */
export async function createMount(tx: Transaction, wanted: NewMount): Promise<MountRecord> {
  await assertFree(tx, wanted.path);
  const isAuth = wanted.path.startsWith("auth/");
  const mount: MountRecord = {
    path: wanted.path,
    type: wanted.type,
    accessor: `${isAuth ? "auth_" : ""}${wanted.type}_${randomBytes(4).toString("hex")}`,
    uuid: wanted.uuid ?? randomUUID(),
    description: wanted.description ?? "",
    local: wanted.local ?? false,
    sealWrap: wanted.sealWrap ?? false,
    options: wanted.options ?? {},
    config: wanted.config ?? noMountConfig,
  };
  tx.write(mountKind, mountKey(mount.path), mount);
  return mount;
}

/** Throws `invalid_request` unless a mount may be made or moved there. */
export async function assertFree(tx: Transaction, path: string): Promise<void> {
  assertMountDepth(path);
  // A scan notices no mount that is made at the same time below this one; that both change this key does. Read first:
  // what commits after this makes us run again, what committed before is seen by the scan.
  await tx.get(CREATION_KEY);
  tx.put(CREATION_KEY, Buffer.from(path, "utf8"));
  const taken = (await findMount(tx, path)) ?? (await firstBelow(tx, path));
  if (!taken) return;
  const shown = path.startsWith("auth/") ? taken.path.slice("auth/".length) : taken.path;
  throw new CofferError("invalid_request", `path is already in use at ${shown}`);
}

/** Routing looks at no more levels, so a deeper mount would never be found. */
function assertMountDepth(path: string): void {
  const segments = path.slice(0, -1).split("/");
  if (segments.includes("")) throw new CofferError("invalid_request", "a mount's path must not have empty segments");
  if (segments.length > MOUNT_SEGMENTS_MAX)
    throw new CofferError("invalid_request", `a mount's path has at most ${MOUNT_SEGMENTS_MAX} segments`);
}

async function firstBelow(tx: Transaction, path: string): Promise<MountRecord | undefined> {
  const from = mountKey(path);
  const [key] = await tx.scan({ from, to: from + PAST_ENCODED, limit: 1 });
  return key === undefined ? undefined : tx.read(mountKind, key);
}

export function writeMount(tx: Transaction, mount: MountRecord): void {
  tx.write(mountKind, mountKey(mount.path), mount);
}

export function removeMount(tx: Transaction, mount: MountRecord): void {
  tx.delete(mountKey(mount.path));
}

/** Takes a mount out of the table for good; its record is kept for those who clear up what it leaves behind. */
export function endMount(tx: Transaction, mount: MountRecord): void {
  removeMount(tx, mount);
  if (mount.sealWrap) unmarkWrappedMount(tx, mount);
  tx.delete(movedMountKey(mount.uuid));
  tx.write(mountKind, endedMountKey(mount.uuid), mount);
}

/** Moves a mount, and leaves a word for leases that name where it was. */
export function writeMovedMount(tx: Transaction, mount: MountRecord): void {
  writeMount(tx, mount);
  tx.write(movedMountKind, movedMountKey(mount.uuid), { path: mount.path });
}

/** A mount of the namespace that has moved to another path. */
export async function readMovedMount(tx: Transaction, uuid: string): Promise<MountRecord | undefined> {
  const moved = await tx.read(movedMountKind, movedMountKey(uuid));
  const mount = moved && (await readMount(tx, moved.path));
  return mount?.uuid === uuid ? mount : undefined;
}

/** A mount that was disabled and has leases or data left. */
export function readEndedMount(tx: Transaction, uuid: string): Promise<MountRecord | undefined> {
  return tx.read(mountKind, endedMountKey(uuid));
}

export function forgetEndedMount(tx: Transaction, uuid: string): void {
  tx.delete(endedMountKey(uuid));
}
