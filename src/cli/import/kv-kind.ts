// Kind `kv`: the secrets of all KV engines. Version 1 is compared and copied value by value; version 2 keeps all its
// versions with numbers and times through the destination's `import/`, and what a version says of itself (when it was
// made) tells whether it is there already, so values are read only for what is new. Values are never shown.
import type { ApiClient } from "#client/api-client.ts";
import type { Millis } from "#common/clock.ts";
import { parseDurationSeconds } from "#common/duration.ts";
import { encodeSorted, isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { isSame, namesBelow, pick, readOrNone } from "./compare-records.ts";
import type { Ends, ImportKind, Plan } from "./import-item.ts";
import { kvVersionOf, readMounts } from "./mount-tables.ts";

/** Of versions that are sent in one request: well below what every storage takes in one commit. */
const REQUEST_BYTES = 256 * 1024;
const REQUEST_VERSIONS = 50;

export const kv: ImportKind = {
  name: "kv",
  doc: "Secrets of KV engines, of version 2 with all versions and metadata. Paths begin with the mount.",
  async *items(ends) {
    for (const mount of (await readMounts(ends.source, "sys/mounts")).values()) {
      const version = kvVersionOf(mount);
      if (version === undefined) continue;
      const folder = version === "2" ? `${mount.path}metadata/` : mount.path;
      for await (const name of keysBelow(ends.source, folder))
        yield {
          path: mount.path + name,
          plan: () => (version === "2" ? planVersions(ends, mount.path, name) : planSecret(ends, mount.path + name)),
        };
    }
  },
};

/** Every path below a folder, depth first; one page of each level in memory. */
async function* keysBelow(client: ApiClient, folder: string, below = ""): AsyncGenerator<string> {
  for await (const name of namesBelow(client, folder + below)) {
    if (name.endsWith("/")) yield* keysBelow(client, folder, below + name);
    else yield below + name;
  }
}

async function planSecret(ends: Ends, path: string): Promise<Plan> {
  const [from, to] = [await readOrNone(ends.source, path), await readOrNone(ends.target, path)];
  if (from === undefined) return { action: "skip", reason: "it is gone from the source" };
  if (to !== undefined && encodeSorted(from) === encodeSorted(to)) return { action: "unchanged" };
  return { action: to === undefined ? "create" : "update", apply: () => ends.target.write(path, from) };
}

async function planVersions(ends: Ends, mount: string, name: string): Promise<Plan> {
  const at = `${mount}metadata/${name}`;
  const [from, to] = [await readOrNone(ends.source, at), await readOrNone(ends.target, at)];
  if (from === undefined) return { action: "skip", reason: "it is gone from the source" };
  const present = versionsOf(to ?? {});
  const wanted = await withReadability(ends.source, `${mount}data/${name}`, versionsOf(from), present);
  const foreign = [...present.values()].filter(({ number, created }) => {
    const here = wanted.get(number);
    return here === undefined ? number > Math.max(0, ...wanted.keys()) : here.created !== created;
  });
  if (foreign.length > 0) {
    const numbers = foreign.map(({ number }) => number).join(", ");
    return {
      action: "skip",
      reason: `the destination has versions of its own (${numbers}); remove the key there first`,
    };
  }
  const missing = [...wanted.values()].filter((version) => !isThere(version, present.get(version.number)));
  if (missing.length === 0 && to !== undefined && hasSettings(from, to)) return { action: "unchanged" };
  const lost = missing.filter((version) => isLost(version, present.get(version.number)));
  return {
    action: to === undefined ? "create" : "update",
    losses: lost.map(({ number }) => `version ${number} is deleted, so its data cannot be read; kept as destroyed`),
    apply: () => writeVersions({ ends, mount, name, from, missing, present }),
  };
}

interface VersionState {
  readonly number: number;
  /** Milliseconds: what the destination keeps of a time. */
  readonly created: number;
  readonly deleted: number | undefined;
  readonly isDestroyed: boolean;
  readonly isReadable: boolean;
  /** As the server told it. */
  readonly told: JsonObject;
}

function versionsOf(metadata: JsonObject): ReadonlyMap<number, VersionState> {
  const versions = isJsonObject(metadata["versions"]) ? metadata["versions"] : {};
  const states = Object.entries(versions).flatMap(([number, told]) =>
    isJsonObject(told) ? [stateOf(Number(number), told)] : [],
  );
  return new Map(states.map((state) => [state.number, state]));
}

/** A time of deletion may lie in the future of the server, whose clock is not this machine's. */
function stateOf(number: number, told: JsonObject): VersionState {
  const deleted = momentOf(told["deletion_time"]);
  const isDestroyed = told["destroyed"] === true;
  const isReadable = !isDestroyed && deleted === undefined;
  return { number, told, deleted, isDestroyed, isReadable, created: momentOf(told["created_time"]) ?? 0 };
}

/** Asks the source whether versions with a time of deletion can be read, where the destination has no data of them. */
async function withReadability(
  source: ApiClient,
  path: string,
  versions: ReadonlyMap<number, VersionState>,
  present: ReadonlyMap<number, VersionState>,
): Promise<ReadonlyMap<number, VersionState>> {
  const asked = new Map(versions);
  for (const [number, version] of versions) {
    if (version.deleted === undefined || version.isDestroyed || present.get(number)?.isDestroyed === false) continue;
    const isReadable = (await readOrNone(source, path, { query: { version: number } })) !== undefined;
    asked.set(number, { ...version, isReadable });
  }
  return asked;
}

function momentOf(time: JsonValue | undefined): Millis | undefined {
  const millis = typeof time === "string" && time !== "" ? Date.parse(time) : Number.NaN;
  return Number.isNaN(millis) ? undefined : millis;
}

/** Whether the destination has this version in this state. What cannot be read is kept there as destroyed. */
function isThere(version: VersionState, present: VersionState | undefined): boolean {
  if (present === undefined) return false;
  if (version.isDestroyed) return present.isDestroyed;
  return version.deleted === present.deleted && (!present.isDestroyed || !version.isReadable);
}

const isLost = (version: VersionState, present: VersionState | undefined) =>
  !version.isDestroyed && !version.isReadable && (present === undefined || present.isDestroyed);

function hasSettings(from: JsonObject, to: JsonObject): boolean {
  const seconds = ({ delete_version_after: after }: JsonObject) =>
    typeof after === "string" ? parseDurationSeconds(after) : 0;
  return isSame(from, to, ["max_versions", "cas_required", "custom_metadata"]) && seconds(from) === seconds(to);
}

interface VersionsToWrite {
  readonly ends: Ends;
  readonly mount: string;
  readonly name: string;
  /** The metadata of the source. */
  readonly from: JsonObject;
  readonly missing: readonly VersionState[];
  readonly present: ReadonlyMap<number, VersionState>;
}

/** In several requests when they are large; each says which version must be the current one. */
async function writeVersions({ ends, mount, name, from, missing, present }: VersionsToWrite): Promise<void> {
  const fields = [
    "created_time",
    "updated_time",
    "oldest_version",
    "max_versions",
    "cas_required",
    "delete_version_after",
  ];
  const settings = { ...pick(from, fields), custom_metadata: from["custom_metadata"] ?? {} };
  let cas = Math.max(0, ...present.keys());
  let [versions, bytes]: [Record<string, JsonObject>, number] = [{}, 0];
  const send = async () => {
    await ends.target.write(`${mount}import/${name}`, { ...settings, versions, cas });
    cas = Math.max(cas, ...Object.keys(versions).map(Number));
    [versions, bytes] = [{}, 0];
  };
  for (const version of missing) {
    const data = await dataOf(ends.source, `${mount}data/${name}`, version, present.get(version.number));
    const size = data === undefined ? 0 : Buffer.byteLength(JSON.stringify(data));
    const isFull = bytes + size > REQUEST_BYTES || Object.keys(versions).length >= REQUEST_VERSIONS;
    if (isFull && Object.keys(versions).length > 0) await send();
    versions[version.number] = data === undefined ? told(version, true) : { ...told(version, false), ...data };
    bytes += size;
  }
  await send();
}

function told({ told: { created_time = null, deletion_time = null } }: VersionState, destroyed: boolean): JsonObject {
  return { created_time, deletion_time, destroyed };
}

/** `{ data }`, `{}` when the destination has the data already, or undefined when there is none to be had. */
async function dataOf(
  source: ApiClient,
  path: string,
  { number, isDestroyed, isReadable }: VersionState,
  present: VersionState | undefined,
): Promise<JsonObject | undefined> {
  if (isDestroyed) return undefined;
  if (present !== undefined && !present.isDestroyed) return {};
  if (!isReadable) return undefined;
  const data = (await readOrNone(source, path, { query: { version: number } }))?.["data"];
  return isJsonObject(data) ? { data } : undefined;
}
