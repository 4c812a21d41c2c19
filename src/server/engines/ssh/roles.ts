// Roles: who may have one-time passwords for which users on which hosts.
import { assertBlocks } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Context } from "../../framework/context.ts";
import { field, type Values, withDefault } from "../../framework/fields.ts";
import { withTrailingSlash } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, noContent, type Reply } from "../../framework/reply.ts";
import { ROLE_FOLDER, type Role, readRole, readZeroAddressRoles, writeRole, writeZeroAddressRoles } from "./records.ts";

const SSH_PORT = 22;
const PORT_MAX = 65_535;
/** Roles that may serve every address; they are one record, which every password reads. */
export const ZERO_ADDRESS_ROLES_MAX = 1_000;

const roleFields = {
  key_type: withDefault(field.text("otp: one-time passwords. Roles for certificates (ca) are not supported."), ""),
  default_user: withDefault(field.text("User that passwords are for when the client names none."), ""),
  allowed_users: withDefault(field.text("Other users that a client may name, a,b,c; * for all."), ""),
  cidr_list: withDefault(field.text("Blocks of addresses of the hosts, a,b,c."), ""),
  exclude_cidr_list: withDefault(field.text("Blocks of addresses within those that are left out."), ""),
  port: withDefault(field.integer("The hosts' SSH port, told to the client."), SSH_PORT),
} as const;

export const rolesPath = withTrailingSlash(
  definePath("roles", {
    summary: "All roles.",
    operations: {
      list: {
        summary: "List the roles.",
        handler: async ({ storage, page }) => {
          const keys = await storage.list(ROLE_FOLDER, page);
          if (keys.length === 0) return undefined;
          return dataReply({ keys, key_info: Object.fromEntries(keys.map((name) => [name, { key_type: "otp" }])) });
        },
      },
    },
  }),
);

export const rolePath = definePath("roles/:role", {
  summary: "A role: whom passwords are for, and where they are good.",
  fields: roleFields,
  operations: {
    read: {
      summary: "Show a role.",
      handler: async ({ storage }, { role }) => {
        const found = await readRole(storage, role);
        return found && dataReply(roleReply(found));
      },
    },
    update: {
      summary: "Write a role; it replaces what there was.",
      handler: ({ storage }, values) => {
        writeRole(storage, values.role, roleOf(values));
        return noContent;
      },
    },
    delete: { summary: "Delete a role.", handler: (context, { role }) => deleteRole(context, role) },
  },
});

function roleOf(values: Values<typeof roleFields>): Role {
  assertKeyType(values.key_type);
  if (values.default_user === "") throw invalid("missing default user");
  assertBlocks("cidr_list", listOf(values.cidr_list));
  assertBlocks("exclude_cidr_list", listOf(values.exclude_cidr_list));
  if (values.port < 1 || values.port > PORT_MAX) throw invalid(`port must be from 1 to ${PORT_MAX}`);
  return {
    defaultUser: values.default_user,
    allowedUsers: values.allowed_users,
    cidrList: values.cidr_list,
    excludeCidrList: values.exclude_cidr_list,
    port: values.port,
  };
}

function assertKeyType(keyType: string): void {
  if (keyType === "otp") return;
  if (keyType === "") throw invalid("missing key type");
  if (keyType === "ca")
    throw invalid("key type ca is not supported: this engine issues one-time passwords only; use key type otp");
  throw invalid("invalid key type");
}

function roleReply(role: Role): JsonObject {
  return {
    allowed_users: role.allowedUsers,
    cidr_list: role.cidrList,
    default_user: role.defaultUser,
    exclude_cidr_list: role.excludeCidrList,
    key_type: "otp",
    port: role.port,
  };
}

async function deleteRole({ storage }: Context, role: string): Promise<Reply> {
  storage.delete(ROLE_FOLDER + role);
  const everywhere = await readZeroAddressRoles(storage);
  // A role made again under this name must not serve every address because the old one did.
  if (everywhere.includes(role))
    writeZeroAddressRoles(
      storage,
      everywhere.filter((name) => name !== role),
    );
  return noContent;
}

export const zeroAddressPath = definePath("config/zeroaddress", {
  summary: "Roles whose passwords are good on every host.",
  fields: { roles: withDefault(field.list("Names of the roles; replaces what there was."), []) },
  operations: {
    read: {
      summary: "Show them.",
      handler: async ({ storage }) => {
        const roles = await readZeroAddressRoles(storage);
        return roles.length === 0 ? undefined : dataReply({ roles });
      },
    },
    update: { summary: "Set them.", handler: (context, { roles }) => setZeroAddressRoles(context, roles) },
    delete: {
      summary: "No role is good on every host any more.",
      handler: ({ storage }) => {
        writeZeroAddressRoles(storage, []);
        return noContent;
      },
    },
  },
});

async function setZeroAddressRoles({ storage }: Context, names: readonly string[]): Promise<Reply> {
  const roles = [...new Set(names)].toSorted();
  if (roles.length === 0) throw invalid("missing roles");
  if (roles.length > ZERO_ADDRESS_ROLES_MAX) throw invalid(`roles has more than ${ZERO_ADDRESS_ROLES_MAX} names`);
  for (const name of roles) {
    if (name === "" || !(await readRole(storage, name))) throw invalid(`role ${JSON.stringify(name)} does not exist`);
  }
  writeZeroAddressRoles(storage, roles);
  return noContent;
}

/** The parts of "a,b,c". */
export function listOf(text: string): readonly string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
