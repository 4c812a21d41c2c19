// What bindings have on a server: policies, roles, and whether their secrets exist. Reads before it writes, so that a
// look that changes nothing writes nothing. Never reads a secret's value, which the operator may not do anyway.
import type { ApiClient } from "#client/api-client.ts";
import { hasStatus } from "#client/api-error.ts";
import { createKv, type Kv } from "#client/kv.ts";
import { AUTH_MOUNT, type BindingRole, CHANGES_PATH, policyName } from "#common/binding-names.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { encodeSorted, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { type BindingSource, type SecretBinding, sourcesOf } from "../../api/secret-binding.ts";
import type { ServerEntries, SourceState } from "./decide.ts";

/** Pods' tokens; agents renew them, and a binding that is deleted ends them within this time at most. */
const TOKEN_SECONDS = 3600;
const POLICIES = "sys/policies/acl";
const ROLES = `auth/${AUTH_MOUNT}/role`;

/** What is known of a server already: mounts by session, and policies that it had a moment ago. */
export interface ServerMemory {
  kvOf(client: ApiClient): Kv;
  /** Whether the policy was seen on the server as it should be, not long ago. */
  hasPolicy(name: string, text: string): boolean;
  sawPolicy(name: string, text: string): void;
  forgetPolicy(name: string): void;
}

/** What others changed on a server is found and put right within this time. */
export const CHECKED_MILLIS: Millis = 600_000;

/** Of one cluster. What it forgets is merely asked for again. */
export function createServerMemory(clock: Clock): ServerMemory {
  const kvs = new WeakMap<ApiClient, Kv>();
  const policies = new Map<string, { readonly text: string; readonly at: Millis }>();
  return {
    kvOf(client) {
      const kv = kvs.get(client) ?? createKv(client);
      kvs.set(client, kv);
      return kv;
    },
    hasPolicy(name, text) {
      const seen = policies.get(name);
      return seen?.text === text && clock.now() - seen.at < CHECKED_MILLIS;
    },
    forgetPolicy: (name) => void policies.delete(name),
    sawPolicy: (name, text) => void policies.set(name, { text, at: clock.now() }),
  };
}

/** Writes the binding's own policy and says how its sources are. Throws ApiError. */
export async function syncBinding(
  client: ApiClient,
  memory: ServerMemory,
  binding: SecretBinding,
  now: Millis,
  signal: AbortSignal,
): Promise<readonly SourceState[]> {
  const kv = memory.kvOf(client);
  const sources = sourcesOf(binding.spec);
  const located = await Promise.all(sources.map((source) => locate(kv, source, signal)));
  const paths = [...new Set(located.flatMap(({ at }) => (at === undefined ? [] : [at])))].sort();
  const text = bindingPolicy(paths);
  const { namespace, name } = binding.metadata;
  const policy = policyName(namespace, name);
  if (!memory.hasPolicy(policy, text)) await writePolicy(client, policy, text, signal);
  memory.sawPolicy(policy, text);
  return Promise.all(located.map((place) => stateOf(kv, place, now, signal)));
}

/** Reads the paths, and hears of their changes. "" without any. */
export function bindingPolicy(paths: readonly string[]): string {
  if (paths.length === 0) return "";
  const rule = (path: string, capabilities: string) =>
    `path ${JSON.stringify(path)} {\n  capabilities = [${capabilities}]\n}\n`;
  return [...paths.map((path) => rule(path, '"read", "subscribe"')), rule(CHANGES_PATH, '"subscribe"')].join("");
}

interface Place {
  readonly source: BindingSource;
  /** Path of the API; undefined when nothing is mounted there as far as the operator can see. */
  readonly at: string | undefined;
  readonly isVersioned: boolean;
}

async function locate(kv: Kv, source: BindingSource, signal: AbortSignal): Promise<Place> {
  try {
    const { kvVersion } = await kv.mountOf(source.path, { signal });
    return { source, at: await kv.locate(source.path, { signal }), isVersioned: kvVersion === 2 };
  } catch (error) {
    if (hasStatus(error, 403)) return { source, at: undefined, isVersioned: false };
    throw error;
  }
}

async function stateOf(
  kv: Kv,
  { source, at, isVersioned }: Place,
  now: Millis,
  signal: AbortSignal,
): Promise<SourceState> {
  const { name } = source;
  if (at === undefined) return { name, state: "Denied" };
  // Elsewhere one cannot tell whether a secret is there without reading it.
  if (!isVersioned) return { name, state: "Unknown" };
  try {
    const metadata = await kv.readMetadata(source.path, { signal });
    const current = metadata["current_version"];
    const version = source.version > 0 ? source.version : typeof current === "number" ? current : 0;
    return isReadable(metadata, version, now) ? { name, version, state: "Fresh" } : { name, state: "Missing" };
  } catch (error) {
    if (hasStatus(error, 404)) return { name, state: "Missing" };
    if (hasStatus(error, 403)) return { name, state: "Denied" };
    throw error;
  }
}

/** A version counts until it is destroyed or its deletion time has come. */
function isReadable(metadata: JsonObject, version: number, now: Millis): boolean {
  const versions = isJsonObject(metadata["versions"]) ? metadata["versions"] : {};
  const entry = versions[String(version)];
  if (!isJsonObject(entry) || entry["destroyed"] === true) return false;
  const deletion = entry["deletion_time"];
  return typeof deletion !== "string" || deletion === "" || Date.parse(deletion) > now;
}

async function writePolicy(client: ApiClient, name: string, policy: string, signal: AbortSignal): Promise<void> {
  const path = `${POLICIES}/${name}`;
  const before = await readOrNothing(client, path, signal);
  // Without a single path there is nothing to grant, and an empty policy would be refused.
  if (policy === "") return before === undefined ? undefined : void (await client.delete(path, { signal }));
  if (before?.["policy"] !== policy) await client.write(path, { policy }, { signal });
}

/** Makes the roles of a namespace what they should be. Throws ApiError. */
export async function syncRolesOf(client: ApiClient, entries: ServerEntries, signal: AbortSignal): Promise<void> {
  for (const role of entries.roles) await writeRole(client, role, entries.audience, signal);
}

/**
 * Removes the roles and policies of a namespace that should not be. It lists all that the server has, so it is for when
 * something has gone, and now and then. Throws ApiError.
 */
export async function pruneNamespace(
  client: ApiClient,
  memory: ServerMemory,
  namespace: string,
  entries: ServerEntries,
  signal: AbortSignal,
): Promise<void> {
  const wanted = new Set(entries.roles.map(({ name }) => name));
  // Names of namespaces hold no underscore, so these are this namespace's and nobody else's.
  const isOurs = (name: string) => name === `sb_${namespace}` || name.startsWith(`sb_${namespace}_`);
  const stale = (names: readonly string[], keep: ReadonlySet<string>) =>
    names.filter((name) => isOurs(name) && !keep.has(name));
  for (const name of stale(await client.list(ROLES, { signal }), wanted))
    await client.delete(`${ROLES}/${name}`, { signal });
  for (const name of stale(await client.list(POLICIES, { signal }), new Set(entries.policies))) {
    memory.forgetPolicy(name);
    await client.delete(`${POLICIES}/${name}`, { signal });
  }
}

async function writeRole(client: ApiClient, role: BindingRole, audience: string, signal: AbortSignal): Promise<void> {
  const path = `${ROLES}/${role.name}`;
  const wanted: JsonObject = {
    bound_service_account_names: role.serviceAccounts,
    bound_service_account_namespaces: [role.namespace],
    audience,
    token_policies: role.policies,
    token_ttl: TOKEN_SECONDS,
  };
  const before = await readOrNothing(client, path, signal);
  const isSame = before !== undefined && Object.entries(wanted).every(([name, value]) => isEqual(before[name], value));
  if (!isSame) await client.write(path, wanted, { signal });
}

function isEqual(a: JsonValue | undefined, b: JsonValue): boolean {
  return a !== undefined && encodeSorted(a) === encodeSorted(b);
}

async function readOrNothing(client: ApiClient, path: string, signal: AbortSignal): Promise<JsonObject | undefined> {
  try {
    return (await client.read(path, { signal })).data;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}
