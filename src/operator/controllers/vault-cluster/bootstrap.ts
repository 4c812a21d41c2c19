// The API requests that a fresh server makes of itself in the transaction in which it is initialised, so that no root
// token is ever needed: the KV engine at secret/, the login of pods under a permission boundary made of the access rules,
// the login of the operator with the few rights it needs, and those of the administrators that the spec names.
//
// What the operator may do is part of this, and the operator itself may not change it: whoever steals its token can give
// pods no more than the boundary lets them have, and can read no secret.

import { AUTH_MOUNT, CHANGES_PATH, tokenAudience } from "#common/binding-names.ts";
import type { JsonObject } from "#common/json.ts";
import type { VaultCluster } from "../../api/vault-cluster.ts";
import { BOUNDARY_POLICY, OPERATOR_AUTH_MOUNT, OPERATOR_POLICY, OPERATOR_ROLE } from "../../cluster-names.ts";

/** The KV engine that is there by default. */
export const DEFAULT_KV_MOUNT = "secret";
export const ADMIN_POLICY = "coffer-admin";

const NAMESPACE = /\{namespace\}/g;
const CALLERS_NAMESPACE = "{{token.metadata.service_account_namespace}}";
const KUBERNETES_HOST = "https://kubernetes.default.svc";
/** The operator logs in again well before. */
const OPERATOR_TOKEN_SECONDS = 3600;
const ADMIN_TOKEN_SECONDS = 3600;

export interface OperatorIdentity {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** A request of the configuration's bootstrap stanza: its name, and what it asks. */
export type BootstrapRequest = readonly [name: string, request: JsonObject];

/** The requests, in order. */
export function bootstrapRequests(cluster: VaultCluster, operator: OperatorIdentity): readonly BootstrapRequest[] {
  const write = (path: string, data: JsonObject): JsonObject => ({ operation: "update", path, data });
  const policy = (name: string, text: string): BootstrapRequest => [
    `policy-${name}`,
    write(`sys/policies/acl/${name}`, { policy: text }),
  ];
  const kubernetes = (mount: string, description: string, config: JsonObject): readonly BootstrapRequest[] => [
    [`auth-${mount}`, write(`sys/auth/${mount}`, { type: "kubernetes", description, config })],
    [`auth-${mount}-config`, write(`auth/${mount}/config`, { kubernetes_host: KUBERNETES_HOST })],
  ];
  return [
    [
      `mount-${DEFAULT_KV_MOUNT}`,
      write(`sys/mounts/${DEFAULT_KV_MOUNT}`, { type: "kv", description: "secrets", options: { version: "2" } }),
    ],
    policy(BOUNDARY_POLICY, boundaryPolicy(cluster)),
    policy(OPERATOR_POLICY, operatorPolicy(cluster)),
    ...kubernetes(AUTH_MOUNT, "pods", { token_boundary_policies: [BOUNDARY_POLICY] }),
    ...kubernetes(OPERATOR_AUTH_MOUNT, "the operator and administrators", {}),
    [
      `role-${OPERATOR_ROLE}`,
      write(`auth/${OPERATOR_AUTH_MOUNT}/role/${OPERATOR_ROLE}`, operatorRole(cluster, operator)),
    ],
    ...adminRequests(cluster, policy, write),
  ];
}

function operatorRole(cluster: VaultCluster, operator: OperatorIdentity): JsonObject {
  return accountRole(cluster, operator, OPERATOR_POLICY, OPERATOR_TOKEN_SECONDS);
}

function accountRole(cluster: VaultCluster, account: OperatorIdentity, policy: string, seconds: number): JsonObject {
  return {
    bound_service_account_names: [account.serviceAccount],
    bound_service_account_namespaces: [account.namespace],
    audience: tokenAudience(cluster.metadata),
    token_policies: [policy],
    token_ttl: seconds,
    token_max_ttl: seconds,
  };
}

/** One role for each, because a role with several names and namespaces would admit every combination of them. */
function adminRequests(
  cluster: VaultCluster,
  policy: (name: string, text: string) => BootstrapRequest,
  write: (path: string, data: JsonObject) => JsonObject,
): readonly BootstrapRequest[] {
  const { admins } = cluster.spec.access;
  if (admins.length === 0) return [];
  const everything = rule("*", ["create", "read", "update", "patch", "delete", "list", "sudo"]);
  const roles = admins.map((admin): BootstrapRequest => {
    const name = adminRoleName(admin);
    const data = accountRole(cluster, admin, ADMIN_POLICY, ADMIN_TOKEN_SECONDS);
    return [`role-${name}`, write(`auth/${OPERATOR_AUTH_MOUNT}/role/${name}`, data)];
  });
  return [policy(ADMIN_POLICY, everything), ...roles];
}

/** The role that an administrator's ServiceAccount logs in to at auth/coffer-operator. */
export function adminRoleName({ namespace, serviceAccount }: OperatorIdentity): string {
  return `admin_${namespace}_${serviceAccount}`;
}

/** The boundary of everything that pods log in to: what the access rules allow to the caller's own namespace. */
export function boundaryPolicy({ spec }: VaultCluster): string {
  const templates = spec.access.rules.flatMap(({ paths }) => paths);
  const paths = templates.flatMap(apiPaths).map((path) => path.replace(NAMESPACE, CALLERS_NAMESPACE));
  return [
    ...[...new Set(paths)].sort().map((path) => rule(path, ["read", "subscribe"])),
    rule(CHANGES_PATH, ["subscribe"]),
    rule("auth/token/lookup-self", ["read"]),
    rule("auth/token/renew-self", ["update"]),
    rule("auth/token/revoke-self", ["update"]),
  ].join("");
}

/**
 * Where the API may keep what is known as `path`. The engine at secret/ has versions; of others that is not known, so
 * both forms are there. The plain form would let a namespace called "data" read all of an engine with versions.
 */
function apiPaths(path: string): readonly string[] {
  const { mount, rest } = splitMount(path);
  const versioned = `${mount}/data/${rest}`;
  return mount === DEFAULT_KV_MOUNT ? [versioned] : [versioned, path];
}

function splitMount(path: string): { mount: string; rest: string } {
  const slash = path.indexOf("/");
  return slash < 0 ? { mount: path, rest: "" } : { mount: path.slice(0, slash), rest: path.slice(slash + 1) };
}

/** Roles and policies of bindings, whether a secret exists and when it changes, what the boundary says. No value. */
export function operatorPolicy({ spec }: VaultCluster): string {
  const templates = spec.access.rules.flatMap(({ paths }) => paths);
  const metadata = templates.map((path) => {
    const { mount, rest } = splitMount(path);
    return `${mount}/metadata/${rest.replace(NAMESPACE, "+")}`;
  });
  const told = templates.flatMap(apiPaths).map((path) => path.replace(NAMESPACE, "+"));
  return [
    rule("sys/policies/acl/sb_*", ["create", "read", "update", "delete"]),
    rule("sys/policies/acl", ["list"]),
    rule(`sys/policies/acl/${BOUNDARY_POLICY}`, ["read"]),
    rule(`auth/${AUTH_MOUNT}/role/sb_*`, ["create", "read", "update", "delete"]),
    rule(`auth/${AUTH_MOUNT}/role`, ["list"]),
    ...[...new Set(metadata)].sort().map((path) => rule(path, ["read"])),
    ...[...new Set(told)].sort().map((path) => rule(path, ["subscribe"])),
    rule(CHANGES_PATH, ["subscribe"]),
  ].join("");
}

function rule(path: string, capabilities: readonly string[]): string {
  return `path ${JSON.stringify(path)} {\n  capabilities = ${JSON.stringify(capabilities)}\n}\n`;
}
