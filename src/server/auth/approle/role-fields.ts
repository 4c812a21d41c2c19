// A path for each field of a role, so that policies can allow one field only: `role/<name>/policies`, … Each reads,
// sets and clears what its row of the table says.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Context } from "../../framework/context.ts";
import type { Fields } from "../../framework/fields.ts";
import { definePath, type Path } from "../../framework/path.ts";
import { dataReply, noContent } from "../../framework/reply.ts";
import { type Role, readRole } from "./records.ts";
import { changeRole, type RoleValues, roleFields } from "./role.ts";

interface RoleField {
  readonly path: string;
  /** Fields that a write takes; none: the path can only be read. */
  readonly fields: Partial<typeof roleFields>;
  readonly cleared: RoleValues;
  show(role: Role): JsonObject;
}

const cidrsOrNull = (role: Role) => (role.secretIdBoundCidrs.length === 0 ? null : role.secretIdBoundCidrs);

const table: readonly RoleField[] = [
  {
    path: "policies",
    fields: { token_policies: roleFields.token_policies, policies: roleFields.policies },
    cleared: { token_policies: [] },
    show: ({ token }) => ({ token_policies: token.policies }),
  },
  {
    path: "bind-secret-id",
    fields: { bind_secret_id: roleFields.bind_secret_id },
    cleared: { bind_secret_id: true },
    show: (role) => ({ bind_secret_id: role.bindSecretId }),
  },
  {
    path: "bound-cidr-list",
    fields: { bound_cidr_list: roleFields.bound_cidr_list },
    cleared: { secret_id_bound_cidrs: [] },
    show: (role) => ({ bound_cidr_list: cidrsOrNull(role) }),
  },
  {
    path: "secret-id-bound-cidrs",
    fields: { secret_id_bound_cidrs: roleFields.secret_id_bound_cidrs },
    cleared: { secret_id_bound_cidrs: [] },
    show: (role) => ({ secret_id_bound_cidrs: cidrsOrNull(role) }),
  },
  {
    path: "secret-id-num-uses",
    fields: { secret_id_num_uses: roleFields.secret_id_num_uses },
    cleared: { secret_id_num_uses: 0 },
    show: (role) => ({ secret_id_num_uses: role.secretIdNumUses }),
  },
  {
    path: "secret-id-ttl",
    fields: { secret_id_ttl: roleFields.secret_id_ttl },
    cleared: { secret_id_ttl: 0 },
    show: (role) => ({ secret_id_ttl: role.secretIdTtlSeconds }),
  },
  {
    path: "token-bound-cidrs",
    fields: { token_bound_cidrs: roleFields.token_bound_cidrs },
    cleared: { token_bound_cidrs: [] },
    show: ({ token }) => ({ token_bound_cidrs: token.boundCidrs }),
  },
  {
    path: "token-max-ttl",
    fields: { token_max_ttl: roleFields.token_max_ttl },
    cleared: { token_max_ttl: 0 },
    show: ({ token }) => ({ token_max_ttl: token.maxTtlSeconds }),
  },
  {
    path: "token-num-uses",
    fields: { token_num_uses: roleFields.token_num_uses },
    cleared: { token_num_uses: 0 },
    show: ({ token }) => ({ token_num_uses: token.numUses }),
  },
  {
    path: "token-ttl",
    fields: { token_ttl: roleFields.token_ttl },
    cleared: { token_ttl: 0 },
    show: ({ token }) => ({ token_ttl: token.ttlSeconds }),
  },
  {
    path: "period",
    fields: { token_period: roleFields.token_period, period: roleFields.period },
    cleared: { token_period: 0 },
    show: ({ token }) => ({ token_period: token.periodSeconds }),
  },
  {
    path: "local-secret-ids",
    fields: {},
    cleared: {},
    show: (role) => ({ local_secret_ids: role.localSecretIds }),
  },
];

export const roleFieldPaths: readonly Path<Context>[] = table.map(fieldPath);

function fieldPath(row: RoleField): Path<Context> {
  const fields: Fields = row.fields;
  const change = {
    update: {
      summary: "Set the field.",
      // The values are those of the row's own fields, which are fields of a role.
      handler: (context: Context, { role_name, ...values }: RoleValues & { role_name: string }) => {
        if (Object.values(values).every((value) => value === undefined))
          throw new CofferError("invalid_request", `missing ${Object.keys(fields)[0]}`);
        return changeRole(context, role_name, values);
      },
    },
    delete: {
      summary: "Set the field back to its default.",
      handler: async (context: Context, { role_name }: { role_name: string }) => {
        const role = await readRole(context.storage, role_name.toLowerCase());
        return role ? changeRole(context, role_name, row.cleared) : noContent;
      },
    },
  };
  return definePath(`role/:role_name/${row.path}`, {
    caseless: true,
    summary: `The role's field ${row.path}.`,
    fields,
    operations: {
      read: {
        summary: "Read the field.",
        handler: async ({ storage }, { role_name }) => {
          const role = await readRole(storage, role_name.toLowerCase());
          return role && dataReply(row.show(role));
        },
      },
      ...(Object.keys(fields).length > 0 && change),
    },
  });
}
