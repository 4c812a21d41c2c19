// sys/locked-users: who is locked out after wrong passwords, and the way back in.
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent, type Reply } from "../framework/reply.ts";
import { listMounts } from "../mounts/mount-table.ts";
import { shownId } from "../namespaces/namespace-scope.ts";
import type { SysServices } from "./services.ts";

export function lockedUserPaths(services: SysServices) {
  return [
    definePrivilegedPath("locked-users", {
      summary: "The users that are locked out.",
      fields: { mount_accessor: withDefault(field.text("Of this auth method only."), "") },
      operations: {
        read: {
          summary: "Show them.",
          handler: (context, { mount_accessor }) => show(context, services, mount_accessor),
        },
      },
    }),
    definePrivilegedPath("locked-users/:mount_accessor/unlock/:alias_identifier", {
      summary: "Lets a locked user log in again.",
      operations: {
        update: {
          summary: "Unlock.",
          handler: (context, { mount_accessor, alias_identifier }) => {
            services.lockout.unlock(context.transaction, mount_accessor, alias_identifier);
            return noContent;
          },
        },
      },
    }),
  ];
}

async function show(context: PrivilegedContext, { lockout }: SysServices, accessor: string): Promise<Reply> {
  const mounts = (await listMounts(context.transaction)).filter(
    (mount) => accessor === "" || mount.accessor === accessor,
  );
  const found: { mount_accessor: string; counts: number; alias_identifiers: readonly string[] }[] = [];
  for (const mount of mounts) {
    const users = await lockout.lockedUsers(context.transaction, mount);
    if (users.length > 0)
      found.push({ mount_accessor: mount.accessor, counts: users.length, alias_identifiers: users });
  }
  const total = found.reduce((sum, { counts }) => sum + counts, 0);
  const byNamespace =
    total === 0
      ? []
      : [
          {
            namespace_id: shownId(context.scope.id),
            namespace_path: context.scope.path,
            counts: total,
            mount_accessors: found,
          },
        ];
  return dataReply({ by_namespace: byNamespace, total });
}
