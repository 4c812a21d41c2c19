// One item out of a snapshot, looked at or brought back, while everything else stays as it is: a KV path with all its
// versions, a policy, a mount. Who may do this: sudo here, and what the live path asks for. The snapshot is the body,
// or a stored one by its name; what is wanted stands in the query.
import { CofferError } from "#common/errors.ts";
import { type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { Operation, PrivilegedContext } from "../framework/context.ts";
import { permissionDenied } from "../framework/multi-error.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { Reply } from "../framework/reply.ts";
import { type MountRecord, mountStoragePrefix } from "../mounts/mount-record.ts";
import { createMount, findMount } from "../mounts/mount-table.ts";
import { markWrappedMount } from "../mounts/wrapped-mount.ts";
import { assertNoNamespace, readNamespace } from "../namespaces/namespace-store.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import { aclSeenFrom, entityOf } from "../namespaces/rights.ts";
import { isCritical } from "../seal-wrap/critical.ts";
import type { Records, SnapshotItems } from "../snapshot/items.ts";
import { findToken } from "../tokens/reachable-token.ts";
import type { SysServices } from "./services.ts";

type Services = Pick<SysServices, "snapshots" | "backends" | "tokens" | "policies" | "identity">;

export function snapshotItemPaths(services: SysServices) {
  const shared = { rootOnly: true, takesStream: true } as const;
  const description =
    "Query: kind (kv, policy or mount), path (secret/app/db, the policy's name, or the mount's path), namespace when the " +
    "item is in one below the root, and name for a stored snapshot in place of one in the body. Needs sudo, and the " +
    "right to the live path.";
  return [
    definePrivilegedPath("storage/snapshot-read", {
      ...shared,
      description,
      summary: "Shows one item of a snapshot.",
      operations: { update: { summary: "Show it.", handler: (context) => serve(context, services, "read") } },
    }),
    definePrivilegedPath("storage/snapshot-recover", {
      ...shared,
      description,
      summary: "Brings one item of a snapshot back, in place of what is there now.",
      operations: { update: { summary: "Bring it back.", handler: (context) => serve(context, services, "recover") } },
    }),
  ];
}

interface Asked {
  readonly context: PrivilegedContext;
  readonly services: Services;
  readonly items: SnapshotItems;
  /** With a slash at the end; "" for the root. */
  readonly namespace: string;
  /** The namespace's id in the snapshot. */
  readonly then: string;
  /** Below the namespace. */
  readonly path: string;
  readonly isRecovered: boolean;
}

const KINDS: Readonly<Record<string, (asked: Asked) => Promise<JsonObject>>> = {
  kv: kvItem,
  policy: policyItem,
  mount: mountItem,
};

async function serve(context: PrivilegedContext, services: Services, what: "read" | "recover"): Promise<Reply> {
  const { bodyStream, hasSudo, query } = context;
  if (!hasSudo) throw permissionDenied();
  const kind = textOf(query, "kind");
  const item = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (!item) throw new CofferError("invalid_request", `kind must be one of ${Object.keys(KINDS).join(", ")}`);
  const path = textOf(query, "path").replace(/^\/+|\/+$/g, "");
  if (path === "") throw new CofferError("invalid_request", "path must name the item");
  if (!bodyStream)
    throw new CofferError("invalid_request", "the body must be a snapshot, or name that of a stored one");
  const namespace = namespaceOf(query);
  const items = await services.snapshots.items(bodyStream, textOf(query, "name"));
  try {
    const then = await items.namespaceId(namespace);
    if (then === undefined) throw missing(`the snapshot has no namespace ${namespace}`);
    const data = await item({ context, services, items, namespace, then, path, isRecovered: what === "recover" });
    return { data, afterwards: () => services.snapshots.forget(bodyStream) };
  } catch (error) {
    await services.snapshots.forget(bodyStream);
    throw error;
  }
}

function namespaceOf(query: JsonObject): string {
  const named = textOf(query, "namespace").replace(/^\/+|\/+$/g, "");
  return named === "" || named === "root" ? "" : `${named}/`;
}

/** The namespace's part of the transaction, as it is now. Throws `not_found`. */
async function liveView({ context, namespace }: Asked): Promise<Transaction> {
  if (namespace === "") return context.transaction;
  const live = await readNamespace(context.transaction, namespace);
  if (!live || live.tainted) throw missing(`there is no namespace ${namespace} now; make it first`);
  return namespaceView(context.transaction, live.id);
}

function textOf(query: JsonObject, name: string): string {
  const value = query[name] ?? "";
  if (typeof value === "string") return value;
  throw new CofferError("invalid_request", `${name} must be given once`);
}

/** Throws `permission_denied` unless the caller may do this on the live path, which is one of the item's namespace. */
async function assertMay(asked: Asked, path: string, needsSudo = false): Promise<void> {
  const { context, services, namespace, isRecovered } = asked;
  const operations: readonly Operation[] = isRecovered ? ["create", "update"] : ["read"];
  const tx = context.transaction;
  const token = await findToken(context, services.tokens, context.clientToken);
  if (!token) throw permissionDenied();
  const entity = await entityOf(tx, services, token);
  const acl = entity?.disabled ? undefined : await aclSeenFrom(context.scope, tx, services, token, entity);
  for (const operation of operations) {
    const decision = acl?.check({ operation, path: namespace + path });
    if (!decision?.allowed || (needsSudo && !decision.sudo)) throw permissionDenied();
  }
}

async function kvItem(asked: Asked): Promise<JsonObject> {
  const { services, items, path, isRecovered } = asked;
  const then = await items.mountOf(path, asked.then);
  if (then?.type !== "kv") throw missing(`the snapshot has no kv mount for ${path}`);
  const below = path.slice(then.path.length);
  const livePath = then.options["version"] === "2" ? `${then.path}data/${below}` : path;
  await assertMay(asked, livePath);
  const layout = services.backends().of(then).backend.itemRecords?.(below);
  if (!layout) throw new CofferError("internal", "kv says of no item what records it has");
  const prefix = mountStoragePrefix(then);
  const isOfItem = (key: string) => key.startsWith(prefix) && layout.has(key.slice(prefix.length));
  const records = await items.records(isOfItem);
  if (records.size === 0) throw missing(`the snapshot has nothing at ${path}`);
  const shown = Object.fromEntries([...records].map(([key, bytes]) => [key.slice(prefix.length), jsonOf(bytes)]));
  if (!isRecovered) return { kind: "kv", path, mount: then.path, records: shown };
  const tx = await liveView(asked);
  const live = await liveKv(tx, path, then);
  const livePrefix = mountStoragePrefix(live);
  for (const folder of layout.folders)
    for (const name of await tx.list(livePrefix + folder, { limit: LIVE_RECORDS_MAX }))
      if (!name.endsWith("/") && layout.has(folder + name)) tx.delete(livePrefix + folder + name);
  for (const [key, bytes] of records) {
    const liveKey = livePrefix + key.slice(prefix.length);
    // Read first: whoever writes the item at the same time changes one of these, and this runs again.
    await tx.get(liveKey);
    tx.put(liveKey, bytes, await isCritical(tx, liveKey));
  }
  return { kind: "kv", path, records: records.size };
}

/** Versions of a KV item that are there now and not in the snapshot. */
const LIVE_RECORDS_MAX = 10_000;

async function liveKv(tx: Transaction, path: string, then: MountRecord): Promise<MountRecord> {
  const live = await findMount(tx, path);
  const isSame = live?.path === then.path && live.type === "kv" && live.options["version"] === then.options["version"];
  if (live && isSame) return live;
  throw new CofferError(
    "invalid_request",
    `there is no kv mount of the same version at ${then.path} now; make it first`,
  );
}

async function policyItem(asked: Asked): Promise<JsonObject> {
  const { services, items, isRecovered } = asked;
  const name = asked.path.toLowerCase();
  await assertMay(asked, `sys/policies/acl/${name}`);
  const then = await items.policy(name, asked.then);
  if (!then) throw missing(`the snapshot has no policy ${name}`);
  if (isRecovered) {
    const tx = await liveView(asked);
    const now = await services.policies.get(tx, name);
    // With its end and what it asks of writers, which would be a wider policy without them.
    await services.policies.set(tx, name, then.text, { ...then, cas: now?.version ?? 0 });
  }
  return { kind: "policy", name, policy: then.text };
}

async function mountItem(asked: Asked): Promise<JsonObject> {
  const { context, items, isRecovered, services, namespace } = asked;
  const path = `${asked.path}/`;
  const isAuth = path.startsWith("auth/");
  await assertMay(asked, isAuth ? `sys/${asked.path}` : `sys/mounts/${asked.path}`, isAuth);
  const then = await items.mountOf(asked.path, asked.then);
  if (then?.path !== path) throw missing(`the snapshot has no mount at ${path}`);
  if (services.backends().isSingleton(then.type))
    throw new CofferError("invalid_request", `${path} is always there; bring back what is in it by other means`);
  const prefix = mountStoragePrefix(then);
  const records: Records = await items.records((key) => key.startsWith(prefix));
  const shown = { kind: "mount", path, type: then.type, options: { ...then.options }, records: records.size };
  if (!isRecovered) return { ...shown, description: then.description };
  const { type, description, options, config, local, sealWrap } = then;
  const tx = await liveView(asked);
  await assertNoNamespace(context.transaction, { id: "", path: namespace }, path);
  const mount = await createMount(tx, { path, type, description, options, config, local, sealWrap });
  if (mount.sealWrap) markWrappedMount(tx, mount, services.backends());
  for (const [key, bytes] of records) {
    const newKey = mountStoragePrefix(mount) + key.slice(prefix.length);
    tx.put(newKey, bytes, await isCritical(tx, newKey));
  }
  return { ...shown, accessor: mount.accessor };
}

/** What KV stores is JSON; what is not is shown as base64. */
function jsonOf(bytes: Uint8Array): JsonValue {
  const text = Buffer.from(bytes).toString("utf8");
  try {
    return parseJson(text);
  } catch {
    return Buffer.from(bytes).toString("base64");
  }
}

function missing(message: string): CofferError {
  return new CofferError("not_found", message);
}
