// Roles of AppRole: `role`, `role/<name>`, `role/<name>/role-id`. Names are lower case.
import { randomUUID } from "node:crypto";
import { assertBlocks } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Context } from "../../framework/context.ts";
import { field, type Values } from "../../framework/fields.ts";
import { namesPath } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { tokenAliases, tokenValues } from "../../framework/token-aliases.ts";
import {
  mergeTokenParameters,
  noTokenParameters,
  tokenFields,
  tokenParametersReply,
} from "../../framework/token-parameters.ts";
import { deleteRole, markRemoved, ROLE_FOLDER, type Role, readRole, requireRole, writeRole } from "./records.ts";
import { purgeSecrets } from "./tidy.ts";

export const roleFields = {
  ...tokenFields,
  policies: tokenAliases.policies,
  period: tokenAliases.period,
  bind_secret_id: field.flag("A login needs a secret id besides the role id."),
  bound_cidr_list: field.list("Use secret_id_bound_cidrs.", { deprecated: true }),
  secret_id_bound_cidrs: field.list("Blocks of addresses from which logins may come."),
  secret_id_num_uses: field.integer("Logins that a secret id is good for; 0 is without limit."),
  secret_id_ttl: field.seconds("How long a secret id lives; 0 is for ever."),
  local_secret_ids: field.flag("Secret ids stay within the cluster. Only when the role is made."),
  role_id: field.text("A role id of your own."),
} as const;
type AllValues = Values<typeof roleFields>;
export type RoleValues = { readonly [K in keyof AllValues]?: AllValues[K] };

/** What bounds the role id, as it is stored under its hash and shown to clients. */
const ROLE_ID_BYTES_MAX = 4_096;

export const rolesPath = namesPath("role", ROLE_FOLDER, "roles");

export const rolePath = definePath("role/:role_name", {
  caseless: true,
  summary: "A role: who may log in, and what the token is like.",
  fields: roleFields,
  exists: async ({ storage }, { role_name }) => (await readRole(storage, role_name.toLowerCase())) !== undefined,
  operations: {
    read: {
      summary: "Read a role.",
      handler: async ({ storage }, { role_name }) => {
        const role = await readRole(storage, role_name.toLowerCase());
        return role && dataReply(roleReply(role));
      },
    },
    update: {
      summary: "Make a role, or change what is sent of it.",
      handler: async (context, values) => {
        const name = values.role_name.toLowerCase();
        const before = await readRole(context.storage, name);
        return storeRole(context, name, before, values);
      },
    },
    delete: {
      summary: "Delete a role with its secret ids.",
      handler: (context, { role_name }) => removeRole(context, role_name.toLowerCase()),
    },
  },
});

export const roleIdPath = definePath("role/:role_name/role-id", {
  caseless: true,
  summary: "A role's role id.",
  fields: { role_id: roleFields.role_id },
  operations: {
    read: {
      summary: "Read the role id.",
      handler: async ({ storage }, { role_name }) => {
        const role = await readRole(storage, role_name.toLowerCase());
        return role && dataReply({ role_id: role.roleId });
      },
    },
    update: {
      summary: "Set a role id of your own.",
      handler: async (context, { role_name, role_id }) => {
        if (!role_id) throw new CofferError("invalid_request", "missing role_id");
        return changeRole(context, role_name, { role_id });
      },
    },
  },
});

/** Changes a role that is there. Throws `not_found`. */
export async function changeRole(context: Context, roleName: string, values: RoleValues): Promise<Reply> {
  const name = roleName.toLowerCase();
  return storeRole(context, name, await requireRole(context.storage, name), values);
}

async function storeRole(context: Context, name: string, before: Role | undefined, values: RoleValues): Promise<Reply> {
  if (before !== undefined && (values.local_secret_ids ?? before.localSecretIds) !== before.localSecretIds)
    throw new CofferError("invalid_request", "local_secret_ids can only be set when the role is made");
  const role = mergeRole(before ?? newRole(), values);
  assertRole(role);
  await writeRole(context.storage, name, role, before);
  return overlongTtl(context, role);
}

function newRole(): Role {
  return {
    uid: randomUUID(),
    roleId: randomUUID(),
    bindSecretId: true,
    secretIdBoundCidrs: [],
    secretIdNumUses: 0,
    secretIdTtlSeconds: 0,
    localSecretIds: false,
    token: noTokenParameters,
  };
}

function mergeRole(before: Role, values: RoleValues): Role {
  return {
    uid: before.uid,
    roleId: values.role_id || before.roleId,
    bindSecretId: values.bind_secret_id ?? before.bindSecretId,
    secretIdBoundCidrs: values.secret_id_bound_cidrs ?? values.bound_cidr_list ?? before.secretIdBoundCidrs,
    secretIdNumUses: values.secret_id_num_uses ?? before.secretIdNumUses,
    secretIdTtlSeconds: values.secret_id_ttl ?? before.secretIdTtlSeconds,
    localSecretIds: values.local_secret_ids ?? before.localSecretIds,
    token: mergeTokenParameters(tokenValues(values), before.token),
  };
}

function assertRole(role: Role): void {
  assertBlocks("secret_id_bound_cidrs", role.secretIdBoundCidrs);
  assertBlocks("token_bound_cidrs", role.token.boundCidrs);
  if (role.secretIdNumUses < 0) throw new CofferError("invalid_request", "secret_id_num_uses cannot be negative");
  if (role.secretIdTtlSeconds < 0) throw new CofferError("invalid_request", "secret_id_ttl cannot be negative");
  if (Buffer.byteLength(role.roleId) > ROLE_ID_BYTES_MAX)
    throw new CofferError("invalid_request", `role_id is longer than ${ROLE_ID_BYTES_MAX} bytes`);
  if (!role.bindSecretId && role.secretIdBoundCidrs.length === 0 && role.token.boundCidrs.length === 0)
    throw new CofferError("invalid_request", "at least one constraint should be enabled on the role");
}

function overlongTtl({ mount }: Context, role: Role): Reply {
  if (role.token.maxTtlSeconds <= mount.maxTtlSeconds) return noContent;
  return {
    warnings: [
      "token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will be truncated",
    ],
  };
}

/** A role as a read answers it. */
export function roleReply(role: Role): JsonObject {
  return {
    ...tokenParametersReply(role.token),
    bind_secret_id: role.bindSecretId,
    local_secret_ids: role.localSecretIds,
    secret_id_bound_cidrs: role.secretIdBoundCidrs.length === 0 ? null : role.secretIdBoundCidrs,
    secret_id_num_uses: role.secretIdNumUses,
    secret_id_ttl: role.secretIdTtlSeconds,
  };
}

async function removeRole({ storage }: Context, name: string): Promise<Reply> {
  const role = await readRole(storage, name);
  if (role === undefined) return noContent;
  deleteRole(storage, name, role);
  if (!(await purgeSecrets(storage, role.uid))) markRemoved(storage, role.uid);
  return noContent;
}
