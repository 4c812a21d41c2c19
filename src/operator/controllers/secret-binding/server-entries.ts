// What bindings have on a server: policies, roles, and whether their secrets exist. Reads before it writes, so that a
// look that changes nothing writes nothing. Never reads a secret's value, which the operator may not do anyway.
import type { ApiClient } from "#client/api-client.ts";
import { hasStatus } from "#client/api-error.ts";
import { createKv, type Kv } from "#client/kv.ts";
import { AUTH_MOUNT, type BindingRole, CHANGES_PATH, policyName } from "#common/binding-names.ts";
import type { Millis } from "#common/clock.ts";
import { encodeSorted, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { type BindingSource, type SecretBinding, sourcesOf } from "../../api/secret-binding.ts";
import type { ServerEntries, SourceState } from "./decide.ts";

/** Pods' tokens; agents renew them, and a binding that is deleted ends them within this time at most. */
const TOKEN_SECONDS = 3600;
const POLICIES = "sys/policies/acl";
const ROLES = `auth/${AUTH_MOUNT}/role`;

/** Writes the binding's own policy and says how its sources are. Throws ApiError. */
export async function syncBinding(
  client: ApiClient,
  binding: SecretBinding,
  now: Millis,
  signal: AbortSignal,
): Promise<readonly SourceState[]> {
  const kv = createKv(client);
  const sources = sourcesOf(binding.spec);
  const located = await Promise.all(sources.map((source) => locate(kv, source, signal)));
  const paths = [...new Set(located.flatMap(({ at }) => (at === undefined ? [] : [at])))].sort();
  const text = bindingPolicy(paths);
  const { namespace, name } = binding.metadata;
  await writePolicy(client, policyName(namespace, name), text, signal);
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

/**
 * Makes the roles of a namespace what they should be and removes its roles and policies that should not be. Throws
 * ApiError.
 */
export async function syncNamespace(
  client: ApiClient,
  namespace: string,
  entries: ServerEntries,
  signal: AbortSignal,
): Promise<void> {
  for (const role of entries.roles) await writeRole(client, role, entries.audience, signal);
  const wanted = new Set(entries.roles.map(({ name }) => name));
  // Names of namespaces hold no underscore, so these are this namespace's and nobody else's.
  const isOurs = (name: string) => name === `sb_${namespace}` || name.startsWith(`sb_${namespace}_`);
  const stale = (names: readonly string[], keep: ReadonlySet<string>) =>
    names.filter((name) => isOurs(name) && !keep.has(name));
  for (const name of stale(await client.list(ROLES, { signal }), wanted))
    await client.delete(`${ROLES}/${name}`, { signal });
  for (const name of stale(await client.list(POLICIES, { signal }), new Set(entries.policies)))
    await client.delete(`${POLICIES}/${name}`, { signal });
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
