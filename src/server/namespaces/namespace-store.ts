// Namespaces in storage: make, find, list, change. How one ends is in namespace-removal.ts.
import { randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { NamespaceName } from "../framework/context.ts";
import { assertFree, createMount, readMount } from "../mounts/mount-table.ts";
import { SYSTEM_MOUNTS } from "../mounts/system-mounts.ts";
import type { Page } from "../storage/storage.ts";
import { randomText } from "../tokens/token-hash.ts";
import {
  childrenPrefix,
  depthOf,
  NAMESPACE_DEPTH_MAX,
  type NamespaceRecord,
  namespaceIdKey,
  namespaceKey,
  namespaceKind,
  namespacePathKind,
  pathsTo,
} from "./namespace-record.ts";
import { namespaceView } from "./namespace-transaction.ts";
import { assertNamespaceName } from "./reserved-names.ts";

const ID_LENGTH = 6;
/** Past all that encodeURIComponent emits. */
const PAST = "\u{7f}";

export function readNamespace(tx: Transaction, path: string): Promise<NamespaceRecord | undefined> {
  return tx.read(namespaceKind, namespaceKey(path));
}

/** Reads several in one round trip, so that `readNamespace` finds them. */
export function prefetchNamespaces(tx: Transaction, paths: readonly string[]): Promise<void> {
  return tx.prefetch(paths.map(namespaceKey));
}

export function writeNamespace(tx: Transaction, record: NamespaceRecord): void {
  tx.write(namespaceKind, namespaceKey(record.path), record);
}

/** Makes a namespace with the mounts that every one has. Throws `invalid_request` for a name it cannot have. */
export async function createNamespace(
  tx: Transaction,
  parent: NamespaceName,
  name: string,
  customMetadata: Readonly<Record<string, string>>,
): Promise<NamespaceRecord> {
  const path = `${parent.path}${name}/`;
  assertNamespaceName(parent.path, depthOf(path), name);
  await assertFree(namespaceView(tx, parent.id), `${name}/`);
  const record = { id: await newId(tx), uuid: randomUUID(), path, customMetadata, tainted: false };
  writeNamespace(tx, record);
  tx.write(namespacePathKind, namespaceIdKey(record.id), { path });
  await createSystemMounts(tx, parent, record.id);
  return record;
}

/** A token has one cubbyhole in whatever namespace it looks: its place follows from the token alone. */
async function createSystemMounts(tx: Transaction, parent: NamespaceName, id: string): Promise<void> {
  const cubbyhole = await readMount(namespaceView(tx, parent.id), "cubbyhole/");
  const view = namespaceView(tx, id);
  for (const mount of SYSTEM_MOUNTS)
    await createMount(view, { ...mount, ...(mount.type === "cubbyhole" && cubbyhole && { uuid: cubbyhole.uuid }) });
}

async function newId(tx: Transaction): Promise<string> {
  for (;;) {
    const id = randomText(ID_LENGTH);
    if (!(await tx.read(namespacePathKind, namespaceIdKey(id)))) return id;
  }
}

/** Names of the namespaces right below one, in order; each ends in a slash. */
export async function listChildren(tx: Transaction, path: string, page: Page): Promise<readonly string[]> {
  const keys = await scanBelow(tx, path, depthOf(path) + 1, page.limit, page.after);
  return keys.map((key) => pathIn(key).slice(path.length));
}

/** The same with those further below. */
export async function listDescendants(tx: Transaction, path: string, page: Page): Promise<readonly string[]> {
  const found: string[] = [];
  for (let depth = depthOf(path) + 1; depth <= NAMESPACE_DEPTH_MAX; depth++) {
    // Every level gives a whole page, so that what comes first in order is among them.
    const keys = await scanBelow(tx, path, depth, page.limit, page.after);
    if (keys.length === 0 && page.after === undefined) break;
    found.push(...keys.map((key) => pathIn(key).slice(path.length)));
  }
  return found.sort().slice(0, page.limit);
}

function scanBelow(tx: Transaction, path: string, depth: number, limit: number, after: string | undefined) {
  const folder = childrenPrefix(depth) + encodeURIComponent(path);
  const from = after === undefined ? folder : `${folder}${encodeURIComponent(after)}\0`;
  return tx.scan({ from, to: folder + PAST, limit });
}

function pathIn(key: string): string {
  return decodeURIComponent(key.slice(childrenPrefix(0).length));
}

/** Throws `invalid_request` when a mount's path would begin with a namespace's, which would hide one of them. */
export async function assertNoNamespace(tx: Transaction, scope: NamespaceName, mountPath: string): Promise<void> {
  const [first] = pathsTo(mountPath);
  if (first === undefined || !(await readNamespace(tx, scope.path + first))) return;
  throw new CofferError("invalid_request", `path is already in use at ${first}: there is a namespace of this name`);
}
