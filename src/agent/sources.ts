// Reads the sources: KV paths of both versions through the mount's own description, every other engine by a plain read
// of the path. Tells apart why a source cannot be read, because each reason has another person to act.
import type { ApiClient } from "#client/api-client.ts";
import { hasStatus } from "#client/api-error.ts";
import type { Envelope } from "#client/envelope.ts";
import { createKv, type Kv, type Mount } from "#client/kv.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { SourceConfig } from "./config.ts";
import { LeaseBook } from "./lease-book.ts";
import type { SavedLease } from "./state/agent-state.ts";
import type { TemplateSet } from "./template/template-set.ts";

/** Why a source has no data. `denied` and `missing` need a person; `unavailable` passes by itself. */
export type SourceProblem = "denied" | "missing" | "unavailable";

export interface Lease {
  /** "" when there is none. */
  readonly id: string;
  readonly seconds: number;
  readonly renewable: boolean;
}

export type SourceResult =
  | {
      readonly kind: "data";
      readonly data: JsonObject;
      /** When a leased credential has to be read anew; undefined for data without a lease. */
      readonly readAgainAt: Millis | undefined;
      /** Of an answer as it is; undefined for what was read as KV, which has none. */
      readonly lease?: Lease;
    }
  | { readonly kind: SourceProblem; readonly reason: string };

/** What every source gave, by its name. */
export type SourceResults = ReadonlyMap<string, SourceResult>;

/** Share of a lease after which its credential is replaced; both are valid during the rest. */
const REPLACE_AT = 2 / 3;

export interface SourceReader {
  /** Reads all that is due. Rejects only when aborted. */
  read(signal: AbortSignal): Promise<SourceResults>;
  /** Where the API keeps the KV secrets that were read, by all sources and templates so far. */
  readonly kvPaths: ReadonlySet<string>;
  /** Leased credentials, which end with the token that they were read with. */
  readonly leases: LeaseBook;
}

/** A reader that keeps leased credentials for a share of their lease, since each read of such a path makes new ones. */
export function createSourceReader(options: {
  client: ApiClient;
  sources: readonly SourceConfig[];
  clock: Clock;
  replaceLeaseAt?: number | undefined;
  /** Asked what more is wanted, after the sources are read. */
  templates?: TemplateSet | undefined;
  /** Of before a restart. */
  savedLeases?: readonly SavedLease[] | undefined;
}): SourceReader {
  const { client, sources, clock, templates, replaceLeaseAt = REPLACE_AT, savedLeases: saved } = options;
  const leases = new LeaseBook({ client, clock, renewAt: replaceLeaseAt, saved });
  const kvPaths = new Set<string>();
  return {
    kvPaths,
    leases,
    async read(signal) {
      const results = new Map<string, SourceResult>();
      const reading = { client, kv: createKv(client), clock, replaceLeaseAt, kvPaths };
      const take = async (name: string, place: Place, read: () => Promise<SourceResult>) => {
        const kept = await leases.current(name, place.path, signal);
        const fresh = kept ?? (await attempt(place, read, signal));
        const result = fresh.kind === "unavailable" ? (leases.stillValid(name, place.path) ?? fresh) : fresh;
        results.set(
          name,
          kept === undefined && result === fresh ? keepLeased(leases, name, place.path, result) : result,
        );
      };
      // One after another: an agent has few sources, and a pod's start must not be a burst on the server.
      for (const source of sources) await take(source.name, source, () => readOne(reading, source, signal));
      await templates?.gather(results, ({ name, request }) =>
        take(name, { path: request.path, version: 0 }, () => templates.read(request, reading, signal)),
      );
      leases.sweep(new Set(results.keys()));
      return results;
    },
  };
}

function keepLeased(leases: LeaseBook, name: string, path: string, result: SourceResult): SourceResult {
  if (result.kind !== "data" || result.readAgainAt === undefined) return result;
  const { kind, data, readAgainAt, lease = { id: "", seconds: 0, renewable: false } } = result;
  return leases.keep(name, path, { kind, data, lease }, readAgainAt);
}

/** What a message names. */
type Place = Pick<SourceConfig, "path" | "version">;

export interface Reading {
  readonly client: ApiClient;
  readonly kv: Kv;
  readonly clock: Clock;
  readonly replaceLeaseAt: number;
  /** Paths of KV secrets are added to it. */
  readonly kvPaths: Set<string>;
}

/** Rejects as the client does. */
export async function readOne(reading: Reading, source: SourceConfig, signal: AbortSignal): Promise<SourceResult> {
  const { client, kv, clock, replaceLeaseAt, kvPaths } = reading;
  if (source.raw) return readRaw(reading, source, signal);
  const mount = await kv.mountOf(source.path, { signal });
  if (mount.kvVersion !== undefined) {
    kvPaths.add(await kv.locate(source.path, { signal }));
    const { data } = await kv.read(source.path, { version: source.version, signal });
    return { kind: "data", data, readAgainAt: undefined };
  }
  const answer = await client.read(source.path, { signal });
  return fromAnswer(source, answer, clock, replaceLeaseAt);
}

/** A path of the API, or a logical one: on a KV v2 mount "data/" is put in when neither it nor "metadata/" is there. */
export async function readRaw(
  { client, kv, clock, replaceLeaseAt, kvPaths }: Reading,
  source: Place,
  signal: AbortSignal,
): Promise<SourceResult> {
  const [given = "", parameters = ""] = source.path.split("?", 2);
  const path = given.replace(/^\/+/, "");
  const query = Object.fromEntries(new URLSearchParams(parameters));
  const mount = await mountIfVisible(kv, path, signal);
  const below = mount === undefined ? "" : path.slice(mount.path.length);
  const isLogical = mount?.kvVersion === 2 && !/^(data|metadata)(\/|$)/.test(below);
  const at = isLogical ? await kv.locate(path, { signal }) : path;
  if (mount?.kvVersion !== undefined) kvPaths.add(at);
  const answer = await client.read(at, { query, signal });
  return fromAnswer(source, answer, clock, replaceLeaseAt);
}

/** Undefined where the token may not know of a mount, as for what belongs to every token. */
export async function mountIfVisible(kv: Kv, path: string, signal: AbortSignal): Promise<Mount | undefined> {
  try {
    return await kv.mountOf(path, { signal });
  } catch (error) {
    if (hasStatus(error, 403)) return undefined;
    throw error;
  }
}

export function fromAnswer(
  source: Place,
  { data, lease_id, lease_duration, renewable }: Envelope,
  clock: Clock,
  replaceLeaseAt: number,
): SourceResult {
  if (data === undefined) return missing(source);
  const readAgainAt = lease_id === "" ? undefined : clock.now() + lease_duration * 1000 * replaceLeaseAt;
  return { kind: "data", data, readAgainAt, lease: { id: lease_id, seconds: lease_duration, renewable } };
}

async function attempt(source: Place, read: () => Promise<SourceResult>, signal: AbortSignal): Promise<SourceResult> {
  try {
    return await read();
  } catch (error) {
    if (signal.aborted) throw error;
    if (hasStatus(error, 404)) return missing(source);
    if (hasStatus(error, 403)) return denied(source);
    return { kind: "unavailable", reason: `"${source.path}" cannot be read: ${messageOf(error)}` };
  }
}

function missing({ path, version }: Place): SourceResult {
  const which = version === 0 ? "" : ` in version ${version}`;
  return { kind: "missing", reason: `there is nothing at "${path}"${which} (404); write the secret there` };
}

function denied({ path }: Place): SourceResult {
  const reason = `the role may not read "${path}" (403); a policy of the role, or a mount at that path, is missing`;
  return { kind: "denied", reason };
}
