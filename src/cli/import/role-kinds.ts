// Kinds of records that are fields by name: `approle`, `kubernetes`, `userpass`, `token-roles` and
// `password-policies`. What proves an identity cannot
// be read through any API, and is named for each item.
import type { JsonObject } from "#common/json.ts";
import { namesBelow, pick, planRecord, readOrNone } from "./compare-records.ts";
import { type Ends, type ImportItem, type ImportKind, type Plan, skipped } from "./import-item.ts";
import { readMounts } from "./mount-tables.ts";

const TOKEN_FIELDS = [
  "token_ttl",
  "token_max_ttl",
  "token_policies",
  "token_bound_cidrs",
  "token_explicit_max_ttl",
  "token_no_default_policy",
  "token_num_uses",
  "token_period",
  "token_type",
];
const APPROLE_FIELDS = [
  ...TOKEN_FIELDS,
  "bind_secret_id",
  "secret_id_bound_cidrs",
  "secret_id_num_uses",
  "secret_id_ttl",
  "role_id",
];
const KUBERNETES_FIELDS = [
  ...TOKEN_FIELDS,
  "bound_service_account_names",
  "bound_service_account_namespaces",
  "bound_service_account_namespace_selector",
  "audience",
  "alias_name_source",
];
const KUBERNETES_CONFIG_FIELDS = [
  "kubernetes_host",
  "kubernetes_ca_cert",
  "pem_keys",
  "issuer",
  "disable_iss_validation",
  "disable_local_ca_jwt",
  "use_annotations_as_alias_metadata",
];
const TOKEN_ROLE_FIELDS = [
  "allowed_policies",
  "allowed_policies_glob",
  "disallowed_policies",
  "disallowed_policies_glob",
  "allowed_entity_aliases",
  "orphan",
  "renewable",
  "path_suffix",
  "token_bound_cidrs",
  "token_explicit_max_ttl",
  "token_no_default_policy",
  "token_num_uses",
  "token_period",
  "token_type",
];

async function mountsOfType(ends: Ends, type: string): Promise<readonly string[]> {
  const table = await readMounts(ends.source, "sys/auth");
  return [...table.values()].filter((mount) => mount.type === type).map(({ path }) => `auth/${path}`);
}

export const approle: ImportKind = {
  name: "approle",
  doc: "AppRole roles with their role ids; secret ids cannot be read.",
  async *items(ends) {
    for (const mount of await mountsOfType(ends, "approle"))
      for await (const name of namesBelow(ends.source, `${mount}role`)) {
        const path = `${mount}role/${name}`;
        yield { path, plan: () => planAppRole(ends, path) };
      }
  },
};

async function planAppRole(ends: Ends, path: string): Promise<Plan> {
  const [wanted, present] = [await readRoleWithId(ends, "source", path), await readRoleWithId(ends, "target", path)];
  if (wanted === undefined) return { action: "skip", reason: "it is gone from the source" };
  const losses: string[] = [];
  for await (const _accessor of namesBelow(ends.source, `${path}/secret-id`)) {
    losses.push("its secret ids cannot be read; make new ones and hand them out");
    break;
  }
  return planRecord({
    ...{ wanted, present, losses, fields: APPROLE_FIELDS },
    write: (body) => ends.target.write(path, body),
  });
}

async function readRoleWithId(ends: Ends, end: "source" | "target", path: string): Promise<JsonObject | undefined> {
  const role = await readOrNone(ends[end], path);
  return role && { ...role, ...pick((await readOrNone(ends[end], `${path}/role-id`)) ?? {}, ["role_id"]) };
}

export const kubernetes: ImportKind = {
  name: "kubernetes",
  doc: "Configuration and roles of the Kubernetes auth method; the reviewer's token cannot be read.",
  async *items(ends) {
    for (const mount of await mountsOfType(ends, "kubernetes")) {
      yield { path: `${mount}config`, plan: () => planKubernetesConfig(ends, `${mount}config`) };
      yield* recordsBelow(ends, `${mount}role`, KUBERNETES_FIELDS);
    }
  },
};

async function planKubernetesConfig(ends: Ends, path: string): Promise<Plan> {
  const [wanted, present] = [await readOrNone(ends.source, path), await readOrNone(ends.target, path)];
  if (wanted === undefined) return { action: "skip", reason: "it was never configured in the source" };
  const hasToken = wanted["token_reviewer_jwt_set"] === true;
  return planRecord({
    ...{ wanted, present, fields: KUBERNETES_CONFIG_FIELDS },
    losses: hasToken ? ["token_reviewer_jwt cannot be read; set it again, or let the server use its own token"] : [],
    write: (body) => ends.target.write(path, body),
  });
}

export const tokenRoles: ImportKind = {
  name: "token-roles",
  doc: "Roles of the token auth method.",
  items: (ends) => recordsBelow(ends, "auth/token/roles", TOKEN_ROLE_FIELDS),
};

export const passwordPolicies: ImportKind = {
  name: "password-policies",
  doc: "Rules for passwords that the server makes.",
  items: (ends) => recordsBelow(ends, "sys/policies/password", ["policy"]),
};

export const userpass: ImportKind = {
  name: "userpass",
  doc: "Users of userpass: named only, because neither passwords nor their hashes can be read.",
  async *items(ends) {
    for (const mount of await mountsOfType(ends, "userpass"))
      for await (const name of namesBelow(ends.source, `${mount}users`)) {
        const path = `${mount}users/${name}`;
        const present = () => readOrNone(ends.target, path);
        const missing = skipped("its password cannot be read; create the user with a new one");
        yield { path, plan: async () => ((await present()) === undefined ? missing() : { action: "unchanged" }) };
      }
  },
};

async function* recordsBelow(ends: Ends, folder: string, fields: readonly string[]): AsyncGenerator<ImportItem> {
  for await (const name of namesBelow(ends.source, folder)) {
    const path = `${folder}/${name}`;
    yield { path, plan: () => planByPath(ends, path, fields) };
  }
}

async function planByPath(ends: Ends, path: string, fields: readonly string[]): Promise<Plan> {
  const [wanted, present] = [await readOrNone(ends.source, path), await readOrNone(ends.target, path)];
  if (wanted === undefined) return { action: "skip", reason: "it is gone from the source" };
  return planRecord({ wanted, present, fields, write: (body) => ends.target.write(path, body) });
}
