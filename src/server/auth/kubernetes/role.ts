// Roles of the Kubernetes auth method: which ServiceAccounts may log in, and what their token is like. Names are lower
// case. Storage: `role/<name>`.
import { assertBlocks } from "#common/cidr.ts";
import { CofferError } from "#common/errors.ts";
import { matchesGlob } from "#common/glob.ts";
import { type Infer, list, object, oneOf, withDefault as recordDefault, string } from "#common/schema.ts";
import { recordKind, type StorageView } from "../../barrier/transaction.ts";
import { field } from "../../framework/fields.ts";
import { parseLabelSelector } from "../../framework/label-selector.ts";
import { namesPath } from "../../framework/listing.ts";
import { definePath } from "../../framework/path.ts";
import { dataReply, noContent } from "../../framework/reply.ts";
import { tokenAliases, tokenValues } from "../../framework/token-aliases.ts";
import {
  mergeTokenParameters,
  noTokenParameters,
  tokenFields,
  tokenParametersReply,
  tokenParametersSchema,
} from "../../framework/token-parameters.ts";

const ROLE_FOLDER = "role/";
/** Named in messages about what is in it. */
export const SELECTOR_FIELD = "bound_service_account_namespace_selector";
const aliasSource = oneOf("serviceaccount_uid", "serviceaccount_name");

const roleSchema = object({
  names: list(string),
  namespaces: list(string),
  /** A label selector as it was written, JSON or YAML; "" without. A namespace that it selects is bound as well. */
  namespaceSelector: recordDefault(string, ""),
  audience: string,
  aliasSource,
  token: tokenParametersSchema,
});
export type Role = Infer<typeof roleSchema>;
const roleKind = recordKind("kubernetes auth role", roleSchema, { cached: true });

const NEW_ROLE: Role = {
  names: [],
  namespaces: [],
  namespaceSelector: "",
  audience: "",
  aliasSource: "serviceaccount_uid",
  token: noTokenParameters,
};

export function readRole(storage: StorageView, name: string): Promise<Role | undefined> {
  return storage.read(roleKind, ROLE_FOLDER + name.toLowerCase());
}

/** Whether one of the patterns is the name. */
export function isBound(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matchesGlob(pattern, name));
}

export const rolesPath = namesPath("role", ROLE_FOLDER, "roles");

const roleFields = {
  ...tokenFields,
  ...tokenAliases,
  bound_service_account_names: field.list("ServiceAccounts that may log in; * stands for any characters."),
  bound_service_account_namespaces: field.list("Their namespaces; * stands for any characters."),
  [SELECTOR_FIELD]: field.text("Label selector, JSON or YAML, of namespaces that may log in besides those."),
  audience: field.text("Audience that the token must be for; without it, any."),
  alias_name_source: field.text("serviceaccount_uid or serviceaccount_name: what the identity's alias is named by."),
} as const;

export const rolePath = definePath("role/:name", {
  caseless: true,
  summary: "A role: who may log in, and what the token is like.",
  fields: roleFields,
  exists: async ({ storage }, { name }) => (await readRole(storage, name)) !== undefined,
  operations: {
    read: {
      summary: "Read a role.",
      handler: async ({ storage }, { name }) => {
        const role = await readRole(storage, name);
        return (
          role &&
          dataReply({
            ...tokenParametersReply(role.token),
            alias_name_source: role.aliasSource,
            ...(role.audience !== "" && { audience: role.audience }),
            bound_service_account_names: role.names,
            bound_service_account_namespaces: role.namespaces,
            [SELECTOR_FIELD]: role.namespaceSelector,
          })
        );
      },
    },
    update: {
      summary: "Make a role, or change what is sent of it.",
      handler: async ({ storage }, values) => {
        const before = (await readRole(storage, values.name)) ?? NEW_ROLE;
        const role: Role = {
          names: values.bound_service_account_names ?? before.names,
          namespaces: values.bound_service_account_namespaces ?? before.namespaces,
          namespaceSelector: values[SELECTOR_FIELD] ?? before.namespaceSelector,
          audience: values.audience ?? before.audience,
          aliasSource: values.alias_name_source ? parseAliasSource(values.alias_name_source) : before.aliasSource,
          token: mergeTokenParameters(tokenValues(values), before.token),
        };
        await assertRole(role);
        storage.write(roleKind, ROLE_FOLDER + values.name.toLowerCase(), role);
        return noContent;
      },
    },
    delete: {
      summary: "Delete a role.",
      handler: ({ storage }, { name }) => {
        storage.delete(ROLE_FOLDER + name.toLowerCase());
        return noContent;
      },
    },
  },
});

function parseAliasSource(text: string): Role["aliasSource"] {
  if (text === "serviceaccount_uid" || text === "serviceaccount_name") return text;
  throw new CofferError(
    "invalid_request",
    `invalid alias_name_source "${text}", must be one of: serviceaccount_uid, serviceaccount_name`,
  );
}

async function assertRole(role: Role): Promise<void> {
  assertBound("bound_service_account_names", role.names);
  if (role.namespaceSelector === "") assertBound("bound_service_account_namespaces", role.namespaces, SELECTOR_FIELD);
  else await parseLabelSelector(SELECTOR_FIELD, role.namespaceSelector);
  if (role.namespaces.length > 0) assertBound("bound_service_account_namespaces", role.namespaces);
  assertBlocks("token_bound_cidrs", role.token.boundCidrs);
}

function assertBound(name: string, patterns: readonly string[], otherwise?: string): void {
  const unless = otherwise === undefined ? "" : ` if "${otherwise}" is not set`;
  if (patterns.length === 0) throw new CofferError("invalid_request", `"${name}" can not be empty${unless}`);
  if (patterns.length > 1 && patterns.includes("*"))
    throw new CofferError("invalid_request", 'can not mix "*" with values');
}
