// sys/remount: a mount moves to another path with all its data. It is one change of one record, so it is over when the
// answer comes; the status is kept for clients that ask for it.
//
//   core/remount/<id>   { from, to }
import { randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import type { NamespaceScope, PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, type Reply } from "../framework/reply.ts";
import { leaseIdsBelow } from "../leases/lease-store.ts";
import { isAuthMount, mountKey } from "../mounts/mount-record.ts";
import { assertFree, readMount, writeMovedMount } from "../mounts/mount-table.ts";
import { descend } from "../namespaces/find-namespace.ts";
import { assertNoNamespace } from "../namespaces/namespace-store.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
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
  const [source, target] = [await placeOf(context, pathOf(from, "from")), await placeOf(context, pathOf(to, "to"))];
  const isSameNamespace = source.scope.id === target.scope.id;
  if (isSameNamespace && source.path === target.path) throw invalid("source and target mounts must be different");
  if (UNMOVABLE.includes(source.path)) throw invalid(`cannot remount ${JSON.stringify(source.path)}`);
  const mount = await readMount(source.view, source.path);
  if (!mount) throw invalid(`no matching mount at ${JSON.stringify(source.path)}`);
  const isAuth = isAuthMount(mount);
  if (isAuth !== target.path.startsWith("auth/")) throw invalid("cannot remount between auth and secret mounts");
  assertMountPath(isAuth, isAuth ? target.path.slice("auth/".length) : target.path);
  await endLeases(source, services);
  source.view.delete(mountKey(source.path));
  await assertNoNamespace(tx, target.scope, target.path);
  await assertFree(target.view, target.path);
  writeMovedMount(target.view, { ...mount, path: target.path });
  // A quota belongs to a namespace, so it does not follow a mount to another.
  if (isSameNamespace) await moveQuotas(tx, source.scope.path.slice(0, -1), source.path, target.path);
  const id = randomUUID();
  tx.write(remountKind, PREFIX + id, { from: pathOf(from, "from"), to: pathOf(to, "to") });
  return { data: { migration_id: id }, repeatAtTop: true };
}

interface Place {
  readonly scope: NamespaceScope;
  /** The namespace's part of the transaction. */
  readonly view: Transaction;
  /** Below the namespace. */
  readonly path: string;
}

/** Paths may lead into the namespaces below. */
async function placeOf({ transaction: tx, scope: from }: PrivilegedContext, wanted: string): Promise<Place> {
  const { scope, path } = await descend(tx, from, wanted);
  if (path === "") throw invalid(`${JSON.stringify(wanted)} is a namespace; name a mount in it`);
  return { scope, path, view: namespaceView(tx, scope.id) };
}

/** Leases name the path that made them, so they end here; in the background their backend would not be found again. */
async function endLeases({ view, path }: Place, services: SysServices): Promise<void> {
  if ((await leaseIdsBelow(view, path, LEASES_MAX + 1)).length > LEASES_MAX)
    throw invalid(`${path} has more than ${LEASES_MAX} leases; end them first: sys/leases/revoke-prefix/${path}`);
  await services.expiration.revokePrefix(view, path, { force: false });
}

function pathOf(text: string, name: string): string {
  const path = text.replace(/^\/+|\/+$/g, "");
  if (path === "") throw invalid(`'${name}' must be given: the path of a mount`);
  return `${path}/`;
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
