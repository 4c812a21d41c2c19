// The mounts of both servers: tables of sys/mounts and sys/auth, enabling and tuning, and which mount of one server is
// which of the other. Accessors are made by each server, so whatever names one has to be translated.
import type { ApiClient } from "#client/api-client.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "#common/json.ts";
import { isSame, pick } from "./compare-records.ts";
import type { Ends, Plan } from "./import-item.ts";

export interface MountRow {
  /** With the slash at its end. */
  readonly path: string;
  readonly type: string;
  readonly accessor: string;
  readonly description: string;
  readonly options: JsonObject;
  readonly config: JsonObject;
  readonly sealWrap: boolean;
}

export type MountGroup = "sys/mounts" | "sys/auth";

/** Settings of a mount that both servers know. */
const TUNE_FIELDS = [
  "default_lease_ttl",
  "max_lease_ttl",
  "listing_visibility",
  "audit_non_hmac_request_keys",
  "audit_non_hmac_response_keys",
  "passthrough_request_headers",
  "allowed_response_headers",
  "token_type",
];

export async function readMounts(client: ApiClient, group: MountGroup): Promise<ReadonlyMap<string, MountRow>> {
  const data = (await client.read(group)).data ?? {};
  const rows = Object.entries(data).flatMap(([path, row]) => (isJsonObject(row) ? [rowOf(path, row)] : []));
  return new Map(rows.filter(({ type }) => type !== "").map((row) => [row.path, row]));
}

function rowOf(path: string, row: JsonObject): MountRow {
  const text = (name: string) => (typeof row[name] === "string" ? row[name] : "");
  const object = (name: string) => (isJsonObject(row[name]) ? row[name] : {});
  return {
    ...{ path, type: text("type"), accessor: text("accessor"), description: text("description") },
    ...{ options: object("options"), config: object("config"), sealWrap: row["seal_wrap"] === true },
  };
}

/** KV's version of a mount, or undefined when it is no KV engine. "generic" is what it was called before versions. */
export function kvVersionOf({ type, options }: MountRow): "1" | "2" | undefined {
  if (type !== "kv" && type !== "generic") return undefined;
  return options["version"] === "2" ? "2" : "1";
}

/** Enables the mount or tunes it until it is as in the source. */
export function planMount(ends: Ends, group: MountGroup, wanted: MountRow, present: MountRow | undefined): Plan {
  const place = `${group}/${wanted.path.slice(0, -1)}`;
  const type = wanted.type === "generic" ? "kv" : wanted.type;
  if (present === undefined) {
    const body = {
      ...{ type, description: wanted.description, seal_wrap: wanted.sealWrap, options: wanted.options },
      config: textTimes(pick(wanted.config, TUNE_FIELDS)),
    };
    return { action: "create", apply: () => ends.target.write(place, body) };
  }
  if (present.type !== type || kvVersionOf(present) !== kvVersionOf(wanted))
    return { action: "skip", reason: `the destination has another engine at ${wanted.path}; move or disable that one` };
  const isTuned =
    isSame(plain(wanted.config), plain(present.config), TUNE_FIELDS) && wanted.description === present.description;
  if (isTuned) return { action: "unchanged" };
  const cleared = Object.fromEntries(
    TUNE_FIELDS.filter((name) => present.config[name]).map((name) => [name, EMPTY[name] ?? ""]),
  );
  const tune = { ...cleared, ...textTimes(pick(wanted.config, TUNE_FIELDS)), description: wanted.description };
  return { action: "update", apply: () => ends.target.write(`${place}/tune`, tune) };
}

/** Without what a server may say or leave out: these settings are so by themselves. */
function plain(config: JsonObject): JsonObject {
  const isDefault = (name: string, value: JsonValue) =>
    (name === "listing_visibility" && value === "hidden") || (name === "token_type" && value === "default-service");
  return Object.fromEntries(Object.entries(config).filter(([name, value]) => !isDefault(name, value)));
}

/** How a setting of the destination that the source does not have is set back. */
const EMPTY: Readonly<Record<string, string | readonly string[]>> = {
  default_lease_ttl: "0",
  max_lease_ttl: "0",
  listing_visibility: "hidden",
  token_type: "default-service",
  audit_non_hmac_request_keys: [],
  audit_non_hmac_response_keys: [],
  passthrough_request_headers: [],
  allowed_response_headers: [],
};

/** Tables give times in seconds, and take them as durations. */
function textTimes(config: JsonObject): JsonObject {
  const times = ["default_lease_ttl", "max_lease_ttl"];
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => [name, times.includes(name) ? `${Number(value)}s` : value]),
  );
}

/** Accessor of the source -> the auth mount's path, and the destination's accessor where it has that mount. */
export async function accessorsOf(
  ends: Ends,
): Promise<ReadonlyMap<string, { path: string; target: string | undefined }>> {
  const [from, to] = [await readMounts(ends.source, "sys/auth"), await readMounts(ends.target, "sys/auth")];
  const rows = [...from.values()].filter(({ accessor }) => accessor !== "");
  return new Map(rows.map(({ path, accessor }) => [accessor, { path, target: to.get(path)?.accessor }]));
}
