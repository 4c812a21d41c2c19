// sys/internal/inspect: how this server sees its routes and the request that asks, for who looks for a fault. Only where
// the configuration says so (introspection_endpoint).
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { readCluster } from "../core/initial-records.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, type Reply } from "../framework/reply.ts";
import { type MountRecord, mountStoragePrefix, shownPath } from "../mounts/mount-record.ts";
import { listMounts } from "../mounts/mount-table.ts";

/** What a client of OpenBao may ask for: orders of one table here, where every lookup is a record in storage. */
const ORDERS: ReadonlyMap<string, (mount: MountRecord) => string> = new Map([
  ["root", (mount: MountRecord) => mount.path],
  ["uuid", (mount: MountRecord) => mount.uuid],
  ["accessor", (mount: MountRecord) => mount.accessor],
  ["storage", mountStoragePrefix],
]);

export function inspectPaths() {
  return [
    definePrivilegedPath("internal/inspect/router/:tag", {
      summary: "The mounts of this namespace as requests find them: root, uuid, accessor or storage.",
      access: "sudo",
      operations: { read: { summary: "Show them.", handler: (context, { tag }) => showRouter(context, tag) } },
    }),
    definePrivilegedPath("internal/inspect/request", {
      summary: "The request that asks, as a handler sees it; neither its token nor its headers.",
      access: "sudo",
      operations: { read: { summary: "Show it.", handler: showRequest } },
    }),
  ];
}

async function showRouter({ transaction, scope }: PrivilegedContext, tag: string): Promise<Reply> {
  const orderOf = ORDERS.get(tag);
  if (!orderOf)
    throw new CofferError(
      "invalid_request",
      `invalid tag ${JSON.stringify(tag)}; use ${[...ORDERS.keys()].join(", ")}`,
    );
  const withStorage = tag === "root" || tag === "storage";
  const mounts = [...(await listMounts(transaction))].sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  const shown = mounts.map((mount): JsonObject => {
    const { accessor, type, uuid } = mount;
    const storage = { storage_prefix: mountStoragePrefix(mount), tainted: false };
    const place = { mount_namespace: scope.path, mount_path: shownPath(mount), mount_type: type };
    return { accessor, ...place, ...(withStorage && storage), uuid };
  });
  return dataReply({ [tag]: shown });
}

async function showRequest(context: PrivilegedContext): Promise<Reply> {
  const { transaction, caller, operation, path, mount, remoteAddress, data, scope, hasSudo } = context;
  const cluster = await readCluster(transaction);
  return dataReply({
    cluster_id: cluster?.id ?? "",
    entity: caller?.entityId ? { ID: caller.entityId } : null,
    req: {
      operation,
      path: mount.path + path,
      mount_point: mount.path,
      mount_type: mount.type,
      mount_accessor: mount.accessor,
      namespace: { id: scope.id || "root", path: scope.path },
      data,
      remote_address: remoteAddress,
      client_token_accessor: caller?.tokenAccessor ?? "",
      display_name: caller?.displayName ?? "",
      policies: caller?.policies ?? [],
      has_sudo: hasSudo,
    },
  });
}
