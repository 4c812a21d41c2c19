// sys/remount: a mount moves to another path with all its data. It is one change of one record, so it is over when the
// answer comes; the status is kept for clients that ask for it.
//
//   core/remount/<id>   { from, to }
import { randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { object, string } from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, type Reply } from "../framework/reply.ts";
import { leaseIdsBelow } from "../leases/lease-store.ts";
import { isAuthMount, mountKey } from "../mounts/mount-record.ts";
import { assertFree, readMount, writeMount } from "../mounts/mount-table.ts";
import { moveQuotas } from "../quotas/quota-store.ts";
import { assertMountPath } from "./mount-paths.ts";
import type { SysServices } from "./services.ts";

const remountKind = recordKind("remount", object({ from: string, to: string }));
const PREFIX = "core/remount/";
/** Leases that are ended in the one transaction of a move. */
const LEASES_MAX = 100;
const UNMOVABLE = ["sys/", "auth/token/", "cubbyhole/", "identity/"];

export function remountPaths(services: SysServices) {
  return [
    definePrivilegedPath("remount", {
      summary: "Moves a mount to another path.",
      access: "sudo",
      fields: {
        from: withDefault(field.text("Where it is, auth/ in front for auth methods."), ""),
        to: withDefault(field.text("Where it goes."), ""),
      },
      operations: {
        update: { summary: "Move it.", handler: (context, { from, to }) => remount(context, services, from, to) },
      },
    }),
    definePrivilegedPath("remount/status/:migration_id", {
      summary: "How a move went.",
      operations: {
        read: {
          summary: "Show it.",
          handler: async ({ transaction }, { migration_id }) => {
            const record = await transaction.read(remountKind, PREFIX + encodeURIComponent(migration_id));
            if (!record) return undefined;
            const { from: source_mount, to: target_mount } = record;
            return dataReply({ migration_id, migration_info: { source_mount, target_mount, status: "success" } });
          },
        },
      },
    }),
  ];
}

async function remount(context: PrivilegedContext, services: SysServices, from: string, to: string): Promise<Reply> {
  const { transaction: tx } = context;
  const [source, target] = [pathOf(from, "from"), pathOf(to, "to")];
  if (source === target) throw invalid("source and target mounts must be different");
  if (UNMOVABLE.includes(source)) throw invalid(`cannot remount ${JSON.stringify(source)}`);
  const mount = await readMount(tx, source);
  if (!mount) throw invalid(`no matching mount at ${JSON.stringify(source)}`);
  if (isAuthMount(mount) !== target.startsWith("auth/")) throw invalid("cannot remount between auth and secret mounts");
  assertMountPath(isAuthMount(mount), isAuthMount(mount) ? target.slice("auth/".length) : target);
  // Leases name the path that made them, so they end here; in the background their backend would not be found again.
  if ((await leaseIdsBelow(tx, source, LEASES_MAX + 1)).length > LEASES_MAX)
    throw invalid(`${source} has more than ${LEASES_MAX} leases; end them first: sys/leases/revoke-prefix/${source}`);
  await services.expiration.revokePrefix(tx, source, { force: false });
  tx.delete(mountKey(source));
  await assertFree(tx, target);
  writeMount(tx, { ...mount, path: target });
  await moveQuotas(tx, context.namespace, source, target);
  const id = randomUUID();
  tx.write(remountKind, PREFIX + id, { from: source, to: target });
  return { data: { migration_id: id }, repeatAtTop: true };
}

function pathOf(text: string, name: string): string {
  const path = text.replace(/^\/+|\/+$/g, "");
  if (path === "") throw invalid(`'${name}' must be given: the path of a mount`);
  return `${path}/`;
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
