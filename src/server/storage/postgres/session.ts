// One connection to a PostgreSQL that can be written to: finds the host, negotiates TLS, fixes the settings that the
// statements depend on, runs pipelines. Sessions are shared out by session-pool.ts.
import { readFile } from "node:fs/promises";
import { Client, type ClientConfig, type Notification } from "pg";
import { CofferError, messageOf } from "#common/errors.ts";
import type { ConnectOptions, HostAddress } from "./connect-options.ts";
import { endsSession, isConfigurationFault, isNetworkFault, isServerError } from "./faults.ts";
import type { PasswordSource } from "./password-source.ts";
import { type BoundStatement, Pipeline, type Row } from "./pipeline.ts";

/** How soon the kernel asks whether an idle server is still there. */
const KEEP_ALIVE_MILLIS = 10_000;
/** A lock is held for the time of one commit; who waits longer waits for something that hangs. */
const LOCK_TIMEOUT_MILLIS = 10_000;

/**
 * What every statement relies on: read committed, so that a statement sees what was committed before the locks were
 * taken; plans that go by the index however small the table was when they were made; commits that are on disk.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  default_transaction_isolation: "read committed",
  enable_seqscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  enable_bitmapscan: "off",
  jit: "off",
  plan_cache_mode: "force_generic_plan",
  lock_timeout: String(LOCK_TIMEOUT_MILLIS),
  bytea_output: "hex",
};

export interface SessionState {
  readonly host: HostAddress;
  readonly encrypted: boolean;
  /** Of the server: with fsync off nothing it says is durable. */
  readonly fsync: boolean;
}

export class Session {
  readonly state: SessionState;
  readonly #client: Client;
  readonly #prepared = new Set<string>();
  #alive = true;

  constructor(client: Client, state: SessionState) {
    this.#client = client;
    this.state = state;
    client.on("error", () => this.destroy());
    client.on("end", () => this.destroy());
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Runs prepared statements as one transaction in one round trip. Gives the rows of each. */
  run(statements: readonly BoundStatement[]): Promise<readonly (readonly Row[])[]> {
    return this.#client.query(new Pipeline(statements, this.#prepared)).rows;
  }

  /** The same for a database that wants to be told where a transaction begins and ends. */
  async runTransaction(statements: readonly BoundStatement[]): Promise<readonly (readonly Row[])[]> {
    try {
      return await this.#client.query(new Pipeline(statements, this.#prepared, true)).rows;
    } catch (error) {
      if (isServerError(error) && !endsSession(error)) await this.script("ROLLBACK").catch(() => this.destroy());
      throw error;
    }
  }

  /** Runs plain SQL; gives the rows of the last statement, each column as text. */
  async script(text: string): Promise<readonly Row[]> {
    return runScript(this.#client, text);
  }

  onNotification(listener: (payload: string) => void): void {
    this.#client.on("notification", (notification: Notification) => listener(notification.payload ?? ""));
  }

  onEnd(listener: () => void): void {
    this.#client.once("end", listener);
  }

  /** Says goodbye; a statement on its way is cut off. */
  async end(): Promise<void> {
    this.#alive = false;
    await this.#client.end();
  }

  /** Cuts the connection; whoever waits for an answer gets an error. */
  destroy(): void {
    this.#alive = false;
    this.#client.connection.stream.destroy();
  }
}

/** Connects to the first host that can be written to, `first` before the others. Throws `unavailable`. */
export async function connectSession(
  options: ConnectOptions,
  passwords: PasswordSource,
  first?: HostAddress,
): Promise<Session> {
  const hosts = first === undefined ? options.hosts : [first, ...options.hosts.filter((host) => host !== first)];
  const failures: string[] = [];
  let cause: unknown;
  for (const host of hosts) {
    try {
      return await connectTo(host, options, passwords);
    } catch (error) {
      if (isConfigurationFault(error) && hosts.length === 1) throw configurationFault(host, error);
      failures.push(`${nameOf(host)}: ${messageOf(error)}`);
      cause = error;
    }
  }
  const message = `no PostgreSQL that can be written to answers (${failures.join("; ")}); check that it runs`;
  throw new CofferError("unavailable", message, { cause });
}

async function connectTo(host: HostAddress, options: ConnectOptions, passwords: PasswordSource): Promise<Session> {
  const tries = host.host.startsWith("/") ? [false] : tlsTries(options);
  for (const [i, encrypted] of tries.entries()) {
    try {
      return await connectOnce(host, options, passwords, encrypted);
    } catch (error) {
      if (i === tries.length - 1 || isNetworkFault(error)) throw error;
    }
  }
  throw new CofferError("internal", "no way of connecting is left");
}

/** libpq's table of sslmode: which ways are tried, in order; true is with TLS. */
function tlsTries({ sslMode }: ConnectOptions): readonly boolean[] {
  if (sslMode === "disable") return [false];
  if (sslMode === "allow") return [false, true];
  return sslMode === "prefer" ? [true, false] : [true];
}

async function connectOnce(
  host: HostAddress,
  options: ConnectOptions,
  passwords: PasswordSource,
  encrypted: boolean,
): Promise<Session> {
  const password = () => passwords.passwordFor(host);
  const client = new Client({ ...(await clientConfig(host, options, encrypted)), password });
  // An error without a listener ends the process; those of connecting come through the promise as well.
  client.on("error", () => {});
  try {
    await client.connect();
    const [inRecovery, readOnly, fsync] = await setUp(client, options);
    if (inRecovery === "t" || readOnly === "on") throw new CofferError("unavailable", "it is read-only");
    return new Session(client, { host, encrypted, fsync: fsync !== "off" });
  } catch (error) {
    client.connection.stream.destroy();
    throw error;
  }
}

async function clientConfig(host: HostAddress, options: ConnectOptions, encrypted: boolean): Promise<ClientConfig> {
  const { user, database, applicationName, connectTimeoutMillis, serverOptions } = options;
  return {
    ...host,
    user,
    database,
    application_name: applicationName,
    connectionTimeoutMillis: connectTimeoutMillis,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MILLIS,
    ssl: encrypted ? await tlsOptions(options) : false,
    ...(serverOptions !== undefined && { options: serverOptions }),
  };
}

/** As libpq: `require` checks the chain when there is a root certificate, `verify-full` the name as well. */
async function tlsOptions({ sslMode, sslRootCert, sslCert, sslKey }: ConnectOptions) {
  const pem = async (file: string | undefined) => (file === undefined ? undefined : await readFile(file));
  const [ca, cert, key] = [await pem(sslRootCert), await pem(sslCert), await pem(sslKey)];
  const verify = sslMode === "verify-ca" || sslMode === "verify-full" || (sslMode === "require" && ca !== undefined);
  return {
    rejectUnauthorized: verify,
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(sslMode !== "verify-full" && { checkServerIdentity: () => undefined }),
  };
}

/** Whether it is a standby, whether it is read-only, and fsync; undefined where the database does not know such things. */
async function setUp(client: Client, options: ConnectOptions): Promise<Row> {
  if (!options.isPortable) {
    try {
      return (await runScript(client, setupScript(options)))[0] ?? [];
    } catch (error) {
      if (!isServerError(error) || endsSession(error) || isConfigurationFault(error)) throw error;
    }
  }
  // A database that only speaks the protocol: it may know some of them. Its isolation is left as it is.
  const { default_transaction_isolation: _isolation, ...settings } = SETTINGS;
  const all = { ...settings, statement_timeout: String(options.statementTimeoutMillis), synchronous_commit: "on" };
  for (const [name, value] of Object.entries(all)) await tolerant(client, `SET ${name} = '${value}'`);
  const [inRecovery] = (await tolerant(client, "SELECT pg_is_in_recovery()"))[0] ?? [];
  const [readOnly] = (await tolerant(client, "SHOW transaction_read_only"))[0] ?? [];
  return [inRecovery ?? null, readOnly ?? null, null];
}

async function tolerant(client: Client, text: string): Promise<readonly Row[]> {
  try {
    return await runScript(client, text);
  } catch (error) {
    if (!isServerError(error) || endsSession(error)) throw error;
    return [];
  }
}

function setupScript({ statementTimeoutMillis }: ConnectOptions): string {
  const settings = { ...SETTINGS, statement_timeout: String(statementTimeoutMillis) };
  const set = Object.entries(settings).map(([name, value]) => `SET ${name} = '${value}'`);
  return `${set.join("; ")};
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
    SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('fsync')`;
}

async function runScript(client: Client, text: string): Promise<readonly Row[]> {
  const types = { getTypeParser: () => (value: string) => value };
  const result: unknown = await client.query({ text, rowMode: "array", types });
  // Several statements in one text give a list of results; the typings know only one.
  const last: unknown = Array.isArray(result) ? result.at(-1) : result;
  return typeof last === "object" && last !== null && "rows" in last && Array.isArray(last.rows) ? last.rows : [];
}

function configurationFault(host: HostAddress, error: unknown): CofferError {
  const message = `PostgreSQL at ${nameOf(host)} refuses the connection (${messageOf(error)}); check storage.connection_url`;
  return new CofferError("invalid_request", message, { cause: error });
}

const nameOf = ({ host, port }: HostAddress) => (host.startsWith("/") ? host : `${host}:${port}`);
