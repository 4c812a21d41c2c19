// Which namespace a request is for: the header's, and below it those that its path begins with. Namespaces and mounts
// never share a path, so a path whose mount is there is in no deeper namespace, and that costs no read of its own.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { NamespaceScope } from "../framework/context.ts";
import type { MountRecord } from "../mounts/mount-record.ts";
import { findMount } from "../mounts/mount-table.ts";
import { NAMESPACE_DEPTH_MAX, type NamespaceRecord, namespaceKey, namespaceKind, pathsTo } from "./namespace-record.ts";
import { childScope, ROOT_SCOPE } from "./namespace-scope.ts";
import { namespaceView } from "./namespace-transaction.ts";
import { RESERVED_NAMES } from "./reserved-names.ts";

export interface Whereabouts {
  readonly scope: NamespaceScope;
  /** Below the namespace. */
  readonly path: string;
  readonly mount: MountRecord | undefined;
}

/** What still is answered in a namespace that is being deleted: what may keep it from being gone. */
const WHILE_TAINTED = "sys/leases/";
const UNLOCK_PATH = "sys/namespaces/api-lock/unlock";

/**
 * Finds namespace and mount of a request. `named` is the header's, without slashes around. Throws `not_found` when
 * there is no such namespace, and `unavailable` when one on the way is locked.
 */
export async function findNamespace(tx: Transaction, named: string, path: string): Promise<Whereabouts> {
  const start = named === "" || named === "root" ? ROOT_SCOPE : await scopeOf(tx, `${named}/`, path);
  if (!start) throw new CofferError("not_found", "namespace not found");
  return descend(tx, start, path);
}

/** The same from a namespace that is known already. */
export async function descend(tx: Transaction, start: NamespaceScope, path: string): Promise<Whereabouts> {
  let scope = start;
  let rest = path;
  for (;;) {
    const mount = await findMount(namespaceView(tx, scope.id), rest);
    if (mount) return { scope, path: rest, mount };
    const child = await childAt(tx, scope, rest);
    if (!child) return { scope, path: rest, mount: undefined };
    rest = rest.slice(child.path.length - scope.path.length);
    assertUnlocked(child, rest);
    scope = childScope(scope, child);
  }
}

async function childAt(tx: Transaction, scope: NamespaceScope, path: string): Promise<NamespaceRecord | undefined> {
  const name = path.split("/", 1)[0] ?? "";
  if (name === "" || RESERVED_NAMES.includes(name) || scope.lineage.length > NAMESPACE_DEPTH_MAX) return undefined;
  const child = await tx.read(namespaceKind, namespaceKey(`${scope.path}${name}/`));
  return child && isAnswered(child, path.slice(name.length + 1)) ? child : undefined;
}

async function scopeOf(tx: Transaction, named: string, path: string): Promise<NamespaceScope | undefined> {
  const paths = pathsTo(named);
  if (paths.length > NAMESPACE_DEPTH_MAX) return undefined;
  const keys = paths.map(namespaceKey);
  if (keys.length > 1) await tx.prefetch(keys);
  let scope = ROOT_SCOPE;
  for (const key of keys) {
    const record = await tx.read(namespaceKind, key);
    if (!record || !isAnswered(record, path)) return undefined;
    assertUnlocked(record, path);
    scope = childScope(scope, record);
  }
  return scope;
}

function isAnswered({ tainted }: NamespaceRecord, path: string): boolean {
  return !tainted || path.startsWith(WHILE_TAINTED);
}

function assertUnlocked({ path: namespace, lockedBy }: NamespaceRecord, path: string): void {
  if (lockedBy === undefined || path === UNLOCK_PATH || path.startsWith(`${UNLOCK_PATH}/`)) return;
  throw new CofferError(
    "unavailable",
    `API access to this namespace has been locked by an administrator - "${namespace}" must be unlocked to gain access.`,
  );
}
