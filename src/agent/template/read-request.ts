// Asks the server for a secret of a template: reads, lists, and writes with parameters. A path of KV version 2 may be
// written with its data/ or metadata/ (as its API has it) or without.
import type { Millis } from "#common/clock.ts";
import { fromAnswer, mountIfVisible, type Reading, readRaw, type SourceResult } from "../sources.ts";
import type { SecretRequest } from "./function.ts";

/** Rejects as the client does. */
export async function readRequest(
  request: SecretRequest,
  reading: Reading,
  signal: AbortSignal,
): Promise<SourceResult> {
  const place = { path: request.path, version: 0 };
  if (request.verb === "read") return readRaw(reading, place, signal);
  if (request.verb === "list") {
    const keys = await reading.client.list(await folderOf(request.path, reading, signal), { signal });
    return { kind: "data", data: { keys }, readAgainAt: undefined };
  }
  const answer = await reading.client.write(request.path, Object.fromEntries(request.parameters), { signal });
  const result = fromAnswer(place, answer, reading.clock, reading.replaceLeaseAt);
  if (result.kind !== "data" || result.readAgainAt !== undefined) return result;
  return { ...result, readAgainAt: renewalOf(answer.data?.["expiration"], reading) };
}

async function folderOf(path: string, { kv }: Reading, signal: AbortSignal): Promise<string> {
  const mount = await mountIfVisible(kv, path, signal);
  if (mount?.kvVersion !== 2) return path;
  const below = `${path}/`.slice(mount.path.length);
  return (below.startsWith("metadata/") ? path : `${mount.path}metadata/${below}`).replace(/\/+$/, "");
}

/** A certificate that was made for the template stands for a share of its life, though it has no lease. */
function renewalOf(expiration: unknown, { clock, replaceLeaseAt }: Reading): Millis | undefined {
  if (typeof expiration !== "number") return undefined;
  return clock.now() + Math.max(0, expiration * 1000 - clock.now()) * replaceLeaseAt;
}
