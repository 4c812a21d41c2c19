// The storage stanza and PostgreSQL's environment variables as one set of options. A member of the stanza wins over the
// connection string, which wins over the environment. Names are those of Vault's stanza and of libpq. Must not connect.
import type { Millis } from "#common/clock.ts";
import { parseDurationSeconds } from "#common/duration.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { parseDsn } from "./dsn.ts";
import { LONGEST_SUFFIX } from "./statements.ts";

export interface HostAddress {
  /** A name, an address, or the directory of a Unix socket. */
  readonly host: string;
  readonly port: number;
}

export const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
export type SslMode = (typeof SSL_MODES)[number];

export interface ConnectOptions {
  /** Tried in this order until one can be written to. */
  readonly hosts: readonly HostAddress[];
  readonly user: string;
  readonly database: string;
  readonly password: string | undefined;
  /** Read for each new connection, for passwords that change. */
  readonly passwordFile: string | undefined;
  /** The password is a token of the process's AWS identity; the region where the host's name does not tell it. */
  readonly iam: { readonly region: string | undefined } | undefined;
  readonly sslMode: SslMode;
  /** Files in PEM, read for each new connection. */
  readonly sslRootCert: string | undefined;
  readonly sslCert: string | undefined;
  readonly sslKey: string | undefined;
  readonly applicationName: string;
  /** Settings for the server process, as libpq's `options`. */
  readonly serverOptions: string | undefined;
  readonly connectTimeoutMillis: Millis;
  readonly statementTimeoutMillis: Millis;
  /** Of the settings of a session only what the database takes, and its own isolation. */
  readonly isPortable: boolean;
}

/** How commits are kept apart: by PostgreSQL's advisory locks, or by a row that each of them writes. */
export const LOCKINGS = ["advisory", "row"] as const;
export type Locking = (typeof LOCKINGS)[number];

export interface PostgresOptions {
  readonly connect: ConnectOptions;
  readonly table: string;
  /** Connections at most, besides the one that listens. */
  readonly connectionsMax: number;
  readonly mayCreateTable: boolean;
  /** Undefined: as the store has it, and a new one as the database allows. */
  readonly locking: Locking | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_PORT = 5432;
const PORT_MAX = 65_535;
const DEFAULT_TABLE = "coffer_kv";
/** PostgreSQL cuts longer names. */
const NAME_BYTES_MAX = 63;
const TABLE = /^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?$/;
/** Batches make a few connections enough; each costs the server a process. */
const DEFAULT_CONNECTIONS = 16;
const CONNECTIONS_MIN = 3;
const CONNECTIONS_MAX = 512;
const DEFAULT_CONNECT_SECONDS = 5;
const DEFAULT_STATEMENT_SECONDS = 15;

/** libpq's keyword -> its environment variable. */
const KEYWORDS: Readonly<Record<string, string>> = {
  host: "PGHOST",
  port: "PGPORT",
  user: "PGUSER",
  password: "PGPASSWORD",
  dbname: "PGDATABASE",
  sslmode: "PGSSLMODE",
  sslrootcert: "PGSSLROOTCERT",
  sslcert: "PGSSLCERT",
  sslkey: "PGSSLKEY",
  application_name: "PGAPPNAME",
  options: "PGOPTIONS",
  connect_timeout: "PGCONNECT_TIMEOUT",
  target_session_attrs: "PGTARGETSESSIONATTRS",
};
/** Other names of keywords in the stanza. */
const STANZA_NAMES: Readonly<Record<string, string>> = { dbname: "database", user: "username" };
const STANZA_ONLY = [
  "connection_url",
  "table",
  "max_parallel",
  "max_idle_connections",
  "password_file",
  "statement_timeout",
  "skip_create_table",
  "locking",
  "auth_type",
  "aws_region",
];
/** Settings of Vault and of other drivers that change nothing here. */
const WITHOUT_EFFECT = [
  "ha_enabled",
  "ha_table",
  "max_connect_retries",
  "binary_parameters",
  "channel_binding",
  "gssencmode",
  "keepalives",
  "fallback_application_name",
  "pool_max_conns",
];

/** Reads a stanza. Throws `invalid_request` naming the member. */
export function parsePostgresOptions(config: JsonObject, environment: Environment): PostgresOptions {
  const text = reader(config, environment);
  const target = text("target_session_attrs") ?? "read-write";
  if (!["read-write", "primary", "any"].includes(target))
    throw invalid("target_session_attrs", "be read-write: only a server that can be written to holds a store");
  return {
    connect: connectOptions(config, text, environment),
    table: tableOf(textMember(config, "table") ?? DEFAULT_TABLE),
    connectionsMax: integerOf(
      "max_parallel",
      textMember(config, "max_parallel"),
      DEFAULT_CONNECTIONS,
      CONNECTIONS_MIN,
      CONNECTIONS_MAX,
    ),
    mayCreateTable: textMember(config, "skip_create_table") !== "true",
    locking: lockingOf(textMember(config, "locking")),
  };
}

type Reader = (keyword: string) => string | undefined;

function reader(config: JsonObject, environment: Environment): Reader {
  const url = environment["VAULT_PG_CONNECTION_URL"] ?? textMember(config, "connection_url");
  const dsn = url === undefined ? new Map<string, string>() : parseDsn(url);
  for (const name of [...Object.keys(config), ...dsn.keys()]) assertKnown(name);
  return (keyword) => {
    const alias = STANZA_NAMES[keyword];
    const own = textMember(config, keyword) ?? (alias && textMember(config, alias));
    const found = own ?? dsn.get(keyword) ?? environment[KEYWORDS[keyword] ?? ""];
    return found === "" ? undefined : found;
  };
}

function assertKnown(name: string): void {
  const known = [...Object.keys(KEYWORDS), ...Object.values(STANZA_NAMES), ...STANZA_ONLY];
  if (known.includes(name) || WITHOUT_EFFECT.includes(name) || name.startsWith("keepalives_")) return;
  throw new CofferError("invalid_request", `storage.${name} is no setting of postgres; known are ${known.join(", ")}`);
}

function connectOptions(config: JsonObject, text: Reader, environment: Environment): ConnectOptions {
  const user = text("user");
  if (user === undefined)
    throw new CofferError(
      "invalid_request",
      "storage.connection_url names no user; write postgres://user@host/database",
    );
  const [sslCert, sslKey] = [text("sslcert"), text("sslkey")];
  if ((sslCert === undefined) !== (sslKey === undefined))
    throw new CofferError("invalid_request", "storage.sslcert and storage.sslkey belong together; give both or none");
  const sslMode = sslModeOf(text("sslmode"));
  return {
    hosts: hostsOf(text),
    user,
    database: text("dbname") ?? user,
    password: text("password"),
    passwordFile: textMember(config, "password_file"),
    iam: iamOf(config, environment, sslMode),
    sslMode,
    sslRootCert: text("sslrootcert"),
    sslCert,
    sslKey,
    applicationName: text("application_name") ?? "coffer",
    serverOptions: text("options"),
    connectTimeoutMillis: millisOf("connect_timeout", text("connect_timeout"), DEFAULT_CONNECT_SECONDS),
    statementTimeoutMillis: millisOf(
      "statement_timeout",
      textMember(config, "statement_timeout"),
      DEFAULT_STATEMENT_SECONDS,
    ),
    isPortable: textMember(config, "locking") === "row",
  };
}

function hostsOf(text: Reader): readonly HostAddress[] {
  const hosts = (text("host") ?? "localhost").split(",").map((host) => host.trim() || "localhost");
  const ports = (text("port") ?? "").split(",").map((port) => port.trim());
  if (ports.length !== 1 && ports.length !== hosts.length)
    throw invalid("port", "be one for all hosts, or one for each");
  return hosts.map((host, i) => {
    const port = ports.length === 1 ? ports[0] : ports[i];
    return { host, port: integerOf("port", port === "" ? undefined : port, DEFAULT_PORT, 1, PORT_MAX) };
  });
}

function sslModeOf(text = "prefer"): SslMode {
  const mode = SSL_MODES.find((known) => known === text);
  if (mode === undefined) throw invalid("sslmode", `be one of ${SSL_MODES.join(", ")}`);
  return mode;
}

/** A token opens the database for a quarter of an hour, so it travels encrypted alone. */
function iamOf(config: JsonObject, environment: Environment, sslMode: SslMode): ConnectOptions["iam"] {
  const type = textMember(config, "auth_type") ?? "password";
  if (type === "password") return undefined;
  if (type !== "aws_iam") throw invalid("auth_type", "be password or aws_iam");
  if (!["require", "verify-ca", "verify-full"].includes(sslMode))
    throw invalid("sslmode", "be verify-full (or verify-ca, require) with auth_type aws_iam");
  for (const name of ["password", "password_file"])
    if (textMember(config, name) !== undefined) throw invalid(name, "be left out with auth_type aws_iam");
  return { region: textMember(config, "aws_region") ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"] };
}

function lockingOf(text: string | undefined): Locking | undefined {
  const locking = LOCKINGS.find((known) => known === text);
  if (locking === undefined && text !== undefined) throw invalid("locking", `be one of ${LOCKINGS.join(", ")}`);
  return locking;
}

function tableOf(table: string): string {
  const longest = Math.max(...table.split(".").map((part) => part.length)) + LONGEST_SUFFIX.length;
  if (TABLE.test(table) && longest <= NAME_BYTES_MAX) return table;
  const shape = `be a name of letters, digits and _, at most ${NAME_BYTES_MAX - LONGEST_SUFFIX.length} of them`;
  throw invalid("table", `${shape}; a schema may stand before it with a dot`);
}

/** Numbers and words are both written with and without quotes in configuration files. */
function textMember(config: JsonObject, name: string): string | undefined {
  const value = config[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return String(value);
  throw invalid(name, "be a string");
}

function integerOf(name: string, text: string | undefined, fallback: number, min: number, max: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid(name, `be a whole number from ${min} to ${max}`);
}

function millisOf(name: string, text: string | undefined, fallbackSeconds: number): Millis {
  const seconds = text === undefined ? fallbackSeconds : parseDurationSeconds(text);
  if (seconds !== undefined && seconds > 0) return seconds * 1000;
  throw invalid(name, "be a duration such as 10s");
}

function invalid(name: string, wanted: string): CofferError {
  return new CofferError("invalid_request", `storage.${name} must ${wanted}`);
}
