// Reads the sources: KV paths of both versions through the mount's own description, every other engine by a plain read
// of the path. Tells apart why a source cannot be read, because each reason has another person to act.
import type { ApiClient } from "#client/api-client.ts";
import { hasStatus } from "#client/api-error.ts";
import { createKv, type Kv } from "#client/kv.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { SourceConfig } from "./config.ts";

/** Why a source has no data. `denied` and `missing` need a person; `unavailable` passes by itself. */
export type SourceProblem = "denied" | "missing" | "unavailable";

export type SourceResult =
  | {
      readonly kind: "data";
      readonly data: JsonObject;
      /** When a leased credential has to be read anew; undefined for data without a lease. */
      readonly readAgainAt: Millis | undefined;
    }
  | { readonly kind: SourceProblem; readonly reason: string };

/** What every source gave, by its name. */
export type SourceResults = ReadonlyMap<string, SourceResult>;

/** Share of a lease after which its credential is replaced; both are valid during the rest. */
const REPLACE_AT = 2 / 3;

export interface SourceReader {
  /** Reads all that is due. Rejects only when aborted. */
  read(signal: AbortSignal): Promise<SourceResults>;
  /** Forgets leased credentials, which end with the token that they were read with. */
  forgetLeases(): void;
}

/** A reader that keeps leased credentials for two thirds of their lease, since each read of such a path makes new ones. */
export function createSourceReader(options: {
  client: ApiClient;
  sources: readonly SourceConfig[];
  clock: Clock;
}): SourceReader {
  const { client, sources, clock } = options;
  const leased = new Map<string, SourceResult>();
  return {
    forgetLeases: () => leased.clear(),
    async read(signal) {
      const results = new Map<string, SourceResult>();
      const kv = createKv(client);
      // One after another: an agent has few sources, and a pod's start must not be a burst on the server.
      for (const source of sources) {
        const kept = leased.get(source.name);
        const isDue = kept?.kind !== "data" || (kept.readAgainAt ?? 0) <= clock.now();
        const result = isDue ? await attempt(source, () => readOne(client, kv, source, clock, signal), signal) : kept;
        results.set(source.name, result);
        if (result.kind === "data" && result.readAgainAt !== undefined) leased.set(source.name, result);
      }
      return results;
    },
  };
}

async function readOne(
  client: ApiClient,
  kv: Kv,
  source: SourceConfig,
  clock: Clock,
  signal: AbortSignal,
): Promise<SourceResult> {
  const mount = await kv.mountOf(source.path, { signal });
  if (mount.kvVersion !== undefined) {
    const { data } = await kv.read(source.path, { version: source.version, signal });
    return { kind: "data", data, readAgainAt: undefined };
  }
  const { data, lease_id, lease_duration } = await client.read(source.path, { signal });
  if (data === undefined) return missing(source);
  const readAgainAt = lease_id === "" ? undefined : clock.now() + lease_duration * 1000 * REPLACE_AT;
  return { kind: "data", data, readAgainAt };
}

async function attempt(
  source: SourceConfig,
  read: () => Promise<SourceResult>,
  signal: AbortSignal,
): Promise<SourceResult> {
  try {
    return await read();
  } catch (error) {
    if (signal.aborted) throw error;
    if (hasStatus(error, 404)) return missing(source);
    if (hasStatus(error, 403)) return denied(source);
    return { kind: "unavailable", reason: `"${source.path}" cannot be read: ${messageOf(error)}` };
  }
}

function missing({ path, version }: SourceConfig): SourceResult {
  const which = version === 0 ? "" : ` in version ${version}`;
  return { kind: "missing", reason: `there is nothing at "${path}"${which} (404); write the secret there` };
}

function denied({ path }: SourceConfig): SourceResult {
  const reason = `the role may not read "${path}" (403); a policy of the role, or a mount at that path, is missing`;
  return { kind: "denied", reason };
}
