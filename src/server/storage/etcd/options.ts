// The storage stanza and etcd's environment variables as one set of options. Names are those of Vault's stanza; a member
// of the stanza wins over the environment. Must not connect.
import type { Millis } from "#common/clock.ts";
import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import { isJsonArray, type JsonObject, type JsonValue } from "#common/json.ts";

export interface EtcdOptions {
  /** URLs without a path, one for each member or for a name that stands for several. */
  readonly addresses: readonly string[];
  /** Whether the members are asked for each other, so that those that come later are found. */
  readonly sync: boolean;
  /** Before every key; ends in "/". */
  readonly path: string;
  readonly credentials: Credentials | undefined;
  /** Files in PEM, read for each new connection. */
  readonly tls: TlsFiles;
  readonly requestTimeoutMillis: Millis;
  /** What the members' --max-request-bytes says. */
  readonly requestBytesMax: number;
  /** What the members' --quota-backend-bytes says, for those that do not tell (before 3.6). */
  readonly quotaBytes: number;
  /** How much history etcd keeps; undefined when somebody else compacts it. */
  readonly compactionMillis: Millis | undefined;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface TlsFiles {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_ADDRESS = "http://localhost:2379";
const DEFAULT_PATH = "coffer/";
const PATH_BYTES_MAX = 256;
const ADDRESSES_MAX = 64;
const DEFAULT_TIMEOUT_SECONDS = 5;
/** As kube-apiserver does: longer than any server is away from its watch without having to look at everything again. */
const DEFAULT_COMPACTION_SECONDS = 300;
/** etcd's default, 1.5 MiB. */
const DEFAULT_REQUEST_BYTES = 1_572_864;
const REQUEST_BYTES = { fallback: DEFAULT_REQUEST_BYTES, lowest: 64 * 1024, highest: 64 * 1024 * 1024 };
/** etcd's default is 2 GiB; beyond 8 GiB it warns. */
const QUOTA_BYTES = { fallback: 2 * 1024 ** 3, lowest: 1024 * 1024, highest: 1024 ** 4 };

const NAMES = [
  "address",
  "path",
  "sync",
  "username",
  "password",
  "tls_ca_file",
  "tls_cert_file",
  "tls_key_file",
  "request_timeout",
  "max_request_bytes",
  "quota_backend_bytes",
  "compaction",
];
/** Settings of Vault that change nothing here: every node is active, and members are found by their addresses. */
const WITHOUT_EFFECT = [
  "ha_enabled",
  "etcd_api",
  "lock_timeout",
  "max_receive_size",
  "redirect_addr",
  "disable_clustering",
];

/** Reads a stanza. Throws `invalid_request` naming the member. */
export function parseEtcdOptions(config: JsonObject, environment: Environment): EtcdOptions {
  for (const name of Object.keys(config)) assertKnown(name);
  const addresses = addressesOf(config["address"] ?? environment["ETCD_ADDR"] ?? DEFAULT_ADDRESS);
  return {
    addresses,
    sync: syncOf(text(config, "sync") ?? "true"),
    path: pathOf(text(config, "path") ?? DEFAULT_PATH),
    credentials: credentialsOf(config, environment),
    tls: tlsOf(config, addresses),
    requestTimeoutMillis: secondsOf(config, "request_timeout", DEFAULT_TIMEOUT_SECONDS, 1) * 1000,
    requestBytesMax: bytesOf(config, "max_request_bytes", REQUEST_BYTES),
    quotaBytes: bytesOf(config, "quota_backend_bytes", QUOTA_BYTES),
    compactionMillis: secondsOf(config, "compaction", DEFAULT_COMPACTION_SECONDS, 0) * 1000 || undefined,
  };
}

function assertKnown(name: string): void {
  if (NAMES.includes(name) || WITHOUT_EFFECT.includes(name)) return;
  if (name.startsWith("discovery_srv"))
    throw invalid(name, "be left out: list the members in storage.address, or one name that resolves to all of them");
  throw new CofferError("invalid_request", `storage.${name} is no setting of etcd; known are ${NAMES.join(", ")}`);
}

function addressesOf(value: JsonValue): readonly string[] {
  const given = isJsonArray(value) ? value : typeof value === "string" ? value.split(",") : [value];
  const addresses = given.map((address) => addressOf(address));
  if (addresses.length > 0 && addresses.length <= ADDRESSES_MAX) return [...new Set(addresses)];
  throw invalid("address", `name 1 to ${ADDRESSES_MAX} members`);
}

function addressOf(value: JsonValue): string {
  const given = typeof value === "string" ? value.trim() : "";
  const url = URL.parse(given);
  const plain = url !== null && url.username === "" && /^\/?$/.test(url.pathname + url.search + url.hash);
  if (plain && ["http:", "https:"].includes(url.protocol)) return url.origin;
  throw invalid("address", "be URLs such as https://etcd-0.etcd:2379, with commas between them");
}

function syncOf(given: string): boolean {
  if (given === "true" || given === "false") return given === "true";
  throw invalid("sync", "be true or false");
}

function pathOf(given: string): string {
  const path = given.replace(/^\/*/, "").replace(/\/*$/, "/");
  const valid = path !== "/" && path.isWellFormed() && Buffer.byteLength(path) <= PATH_BYTES_MAX;
  if (!valid) throw invalid("path", `be a prefix of 1 to ${PATH_BYTES_MAX - 1} bytes, such as coffer`);
  return path;
}

function credentialsOf(config: JsonObject, environment: Environment): Credentials | undefined {
  const username = text(config, "username") ?? environment["ETCD_USERNAME"];
  const password = text(config, "password") ?? environment["ETCD_PASSWORD"];
  if (username === undefined && password === undefined) return undefined;
  if (username !== undefined && password !== undefined) return { username, password };
  throw new CofferError("invalid_request", "storage.username and storage.password belong together; give both or none");
}

function tlsOf(config: JsonObject, addresses: readonly string[]): TlsFiles {
  const tls = {
    ca: text(config, "tls_ca_file"),
    cert: text(config, "tls_cert_file"),
    key: text(config, "tls_key_file"),
  };
  if ((tls.cert === undefined) !== (tls.key === undefined))
    throw new CofferError(
      "invalid_request",
      "storage.tls_cert_file and storage.tls_key_file belong together; give both or none",
    );
  const given = tls.ca !== undefined || tls.cert !== undefined;
  if (given && addresses.some((address) => address.startsWith("http:")))
    throw invalid("address", "begin with https:// when there are TLS files, or they would not be used");
  return tls;
}

function bytesOf(config: JsonObject, name: string, { fallback, lowest, highest }: typeof QUOTA_BYTES): number {
  const given = text(config, name);
  const value = given === undefined ? fallback : Number(given);
  if (Number.isInteger(value) && value >= lowest && value <= highest) return value;
  throw invalid(name, `be a whole number from ${lowest} to ${highest}`);
}

function secondsOf(config: JsonObject, name: string, fallback: number, least: number): number {
  const given = text(config, name);
  const seconds = given === undefined ? fallback : parseDurationSeconds(given);
  if (seconds !== undefined && seconds >= least) return seconds;
  throw invalid(name, `be a duration such as 10s, at least ${least}s`);
}

/** Numbers and words are both written with and without quotes in configuration files. */
function text(config: JsonObject, name: string): string | undefined {
  const value = config[name];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return String(value);
  throw invalid(name, "be a string");
}

function invalid(name: string, wanted: string): CofferError {
  return new CofferError("invalid_request", `storage.${name} must ${wanted}`);
}
