// Storage in a table of PostgreSQL, shared by any number of servers: all of them read and write, the database's locks
// decide. Each operation is one round trip, and those that arrive together share it. The SQL is in statements.ts, the
// protocol of commits in commit-group.ts, connections in session-pool.ts.
import { randomInt } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { Batcher } from "../batcher.ts";
import { assertKey, assertKeyText, assertPrefix, assertWrites, listStart, nameBelow, pastFolder } from "../key.ts";
import type { CommitBatch, Entry, Page, Range, Storage, StorageUsage, StoredEntry } from "../storage.ts";
import { byteaArray, int8Array } from "./binary-array.ts";
import { ChangeFeed } from "./change-feed.ts";
import { groupStatements, type PreparedCommit, prepareCommit, rowStatements, takeGroup } from "./commit-group.ts";
import type { Locking, PostgresOptions } from "./connect-options.ts";
import {
  endsSession,
  isOutOfLocks,
  isReadOnly,
  isServerError,
  isTransient,
  isUnknown,
  storageError,
} from "./faults.ts";
import type { BoundStatement, Row } from "./pipeline.ts";
import { migrateSchema, prepareSchema } from "./schema.ts";
import { SessionPool } from "./session-pool.ts";
import { readSnapshot } from "./snapshot.ts";
import { type Statements, statementsFor } from "./statements.ts";
import { TableSize } from "./table-size.ts";

export interface PostgresContext {
  readonly log: Log;
  readonly clock: Clock;
}

type Outcome = "committed" | "conflict";
interface Lookup {
  readonly keys: readonly string[];
}
interface QueuedCommit {
  readonly commit: PreparedCommit;
  readonly keys: readonly string[];
}

/** Keys of one round trip: about a page of the server's answer for small values. */
const KEYS_MAX = 512;
/** Deadlocks and serialisation failures are not to be expected; more than this is a server in trouble. */
const ATTEMPTS_MAX = 5;
const PAUSE_MILLIS_MAX = 50;
/** More than there can be keys; a LIMIT must be a whole number. */
const NO_LIMIT = 2 ** 31;
/** No byte of UTF-8 is 0xff, so all keys come before it. */
const PAST_ALL_KEYS = Buffer.from([0xff]);
const NUL = "\0";

/** Connects, and makes the store when there is none. Throws `invalid_request` or `unavailable`. */
export async function openPostgresStorage(options: PostgresOptions, context: PostgresContext): Promise<Storage> {
  const pool = new SessionPool(options.connect, options.connectionsMax, context.clock);
  try {
    const locking = await pool.use(async (session) => {
      const { table, mayCreateTable: mayCreate } = options;
      const found = await prepareSchema(session, { table, mayCreate, locking: options.locking });
      await migrateSchema(session, table);
      const { host, encrypted, fsync } = session.state;
      if (!fsync) context.log.warn("fsync of the database is off; what it acknowledges may be lost", { ...host });
      context.log.info("connected to the database", { ...host, tls: encrypted, locking: found });
      return found;
    });
    return new PostgresStorage(pool, options, locking, context);
  } catch (error) {
    await pool.close();
    throw error instanceof CofferError ? error : storageError("open the store", error);
  }
}

class PostgresStorage implements Storage {
  readonly #pool: SessionPool;
  readonly #clock: Clock;
  readonly #table: string;
  readonly #locking: Locking;
  readonly #timeoutMillis: Millis;
  readonly #statements: Statements;
  readonly #size: TableSize;
  readonly #feed: ChangeFeed;
  readonly #lookups: Batcher<Lookup, readonly (Entry | undefined)[]>;
  readonly #commits: Batcher<QueuedCommit, Outcome | CofferError>;

  constructor(pool: SessionPool, options: PostgresOptions, locking: Locking, { clock, log }: PostgresContext) {
    const { table, connectionsMax } = options;
    this.#pool = pool;
    this.#clock = clock;
    this.#table = table;
    this.#locking = locking;
    this.#timeoutMillis = options.connect.statementTimeoutMillis;
    this.#statements = statementsFor(table, locking);
    this.#size = new TableSize(pool, table, clock);
    const hasNotify = locking === "advisory";
    this.#feed = new ChangeFeed({ pool, statements: this.#statements, table, hasNotify, clock, log });
    // A connection is left for lists and scans.
    const lanes = Math.max(1, Math.floor((connectionsMax - 1) / 2));
    this.#lookups = new Batcher({ lanes, take: takeLookups, run: (batch) => this.#lookUp(batch) });
    // All commits write the one row, so a second group would only wait for the first.
    const commitLanes = locking === "row" ? 1 : lanes;
    this.#commits = new Batcher({ lanes: commitLanes, take: takeCommits, run: (group) => this.#commitGroup(group) });
  }

  async get(keys: readonly string[]): Promise<readonly (Entry | undefined)[]> {
    this.#pool.assertOpen();
    for (const key of keys) assertKey(key);
    return keys.length === 0 ? [] : this.#lookups.add({ keys });
  }

  async list(prefix: string, page: Page): Promise<readonly string[]> {
    assertPrefix(prefix);
    this.#pool.assertOpen();
    if (page.limit <= 0) return [];
    const { from, inclusive } = listStart(prefix, page.after);
    const values = [
      Buffer.from(inclusive ? from : from + NUL),
      prefix === "" ? PAST_ALL_KEYS : Buffer.from(pastFolder(prefix)),
      String(Buffer.byteLength(prefix) + 1),
      limitText(page.limit),
    ];
    const rows = await this.#read([{ statement: this.#statements.list, values }]);
    return rows.map(([key]) => nameBelow(prefix, keyOf(key)));
  }

  async scan({ from, to, limit }: Range): Promise<readonly string[]> {
    assertKeyText(from);
    assertKeyText(to);
    this.#pool.assertOpen();
    if (to === "" || limit <= 0) return [];
    const values = [Buffer.from(from), Buffer.from(to), limitText(limit)];
    const rows = await this.#read([{ statement: this.#statements.scan, values }]);
    return rows.map(([key]) => keyOf(key));
  }

  async commit(batch: CommitBatch): Promise<Outcome> {
    for (const key of batch.expected.keys()) assertKey(key);
    assertWrites(batch.writes);
    this.#pool.assertOpen();
    const commit = prepareCommit(batch, this.#table);
    if (batch.writes.size === 0) return this.#check(commit);
    const outcome = await this.#commits.add({ commit, keys: [...batch.writes.keys()] });
    if (typeof outcome !== "string") throw outcome;
    return outcome;
  }

  watch(onChange: (keys: readonly string[] | "all") => void): Disposable {
    return this.#feed.add(onChange);
  }

  snapshot(): AsyncGenerator<readonly StoredEntry[]> {
    return readSnapshot(this.#pool, this.#table);
  }

  usage(): StorageUsage | undefined {
    return this.#size.usage;
  }

  async close(): Promise<void> {
    const closed = this.#pool.close();
    await this.#feed.stopped();
    await closed;
  }

  /** One statement sees one moment, so a read set without writes needs no lock. */
  async #check({ reads }: PreparedCommit): Promise<Outcome> {
    const values = [byteaArray(reads.map(({ key }) => key)), int8Array(reads.map(({ version }) => version))];
    const [row] = await this.#read([{ statement: this.#statements.check, values }]);
    return row?.[0] === "0" ? "committed" : "conflict";
  }

  async #lookUp(batch: readonly Lookup[]): Promise<readonly (readonly (Entry | undefined)[])[]> {
    const keys = [...new Set(batch.flatMap((lookup) => lookup.keys))];
    const values = [byteaArray(keys.map((key) => Buffer.from(key)))];
    const found = new Map<string, Entry>();
    for (const [position, version, value] of await this.#read([{ statement: this.#statements.get, values }])) {
      const key = keys[Number(position) - 1];
      if (key !== undefined) found.set(key, { value: bytesOf(value), version: BigInt(version ?? 0) });
    }
    return batch.map((lookup) => lookup.keys.map((key) => found.get(key)));
  }

  /** Reads change nothing, so they are simply done again on another connection when theirs has broken. */
  async #read(statements: readonly BoundStatement[]): Promise<readonly Row[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        const [rows] = await this.#pool.use((session) => session.run(statements));
        return rows ?? [];
      } catch (error) {
        const again = !(error instanceof CofferError) && (endsSession(error) || isTransient(error));
        if (!again || attempt >= 2) throw storageError("read", error);
      }
    }
  }

  async #commitGroup(group: readonly QueuedCommit[]): Promise<readonly (Outcome | CofferError)[]> {
    try {
      return await this.#commitTogether(group);
    } catch (error) {
      // The server has refused the group, so nothing of it is written: whose fault it is shows when each goes alone.
      const isRefused = isServerError(error) && !endsSession(error) && !isUnknown(error);
      if (group.length === 1 || !isRefused) throw unwritten(error);
    }
    return Promise.all(group.map((one) => this.#commitAlone(one)));
  }

  async #commitAlone(one: QueuedCommit): Promise<Outcome | CofferError> {
    try {
      const [outcome] = await this.#commitTogether([one]);
      return outcome ?? "conflict";
    } catch (error) {
      return unwritten(error);
    }
  }

  async #commitTogether(group: readonly QueuedCommit[]): Promise<readonly Outcome[]> {
    const keys = group.flatMap((one) => one.keys);
    const deadline = this.#clock.now() + this.#timeoutMillis;
    let exclusive = false;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#feed.committing(keys, () => this.#attempt(group, exclusive));
      } catch (error) {
        // By row servers meet in each commit, where the database decides at the end: as long as there is time.
        const isLast = this.#locking === "row" ? this.#clock.now() >= deadline : attempt >= ATTEMPTS_MAX;
        if (isLast || !(isTransient(error) || isOutOfLocks(error))) throw error;
        exclusive ||= isOutOfLocks(error);
        await this.#clock.sleep(randomInt(PAUSE_MILLIS_MAX * Math.min(attempt, ATTEMPTS_MAX)));
      }
    }
  }

  async #attempt(group: readonly QueuedCommit[], exclusive: boolean): Promise<readonly Outcome[]> {
    const commits = group.map(({ commit }) => commit);
    if (this.#locking === "row") {
      const statements = rowStatements(this.#statements, commits);
      const [, rows] = await this.#pool.use((session) => session.runTransaction(statements));
      return rowOutcomesOf(rows ?? [], commits);
    }
    const statements = groupStatements(this.#statements, commits, this.#table, exclusive);
    const [, rows] = await this.#pool.use((session) => session.run(statements));
    return outcomesOf(rows?.[0], group.length);
  }
}

function outcomesOf(row: Row | undefined, length: number): readonly Outcome[] {
  const stale = new Set((row?.[1] ?? "").split(","));
  return Array.from({ length }, (_, owner) => (stale.has(String(owner)) ? "conflict" : "committed"));
}

/** The keys that were written; a commit writes all of its keys or none. */
function rowOutcomesOf(rows: readonly Row[], commits: readonly PreparedCommit[]): readonly Outcome[] {
  const written = new Set(rows.map(([key]) => key));
  return commits.map(({ writes: [first] }) =>
    written.has(`\\x${first?.key.toString("hex")}`) ? "committed" : "conflict",
  );
}

/** With the connection gone before the answer, nobody knows whether it was written. */
function unwritten(error: unknown): CofferError {
  if (error instanceof CofferError || isReadOnly(error) || !(endsSession(error) || isUnknown(error)))
    return storageError("write", error);
  const message =
    "the connection to PostgreSQL broke during a write, which may or may not have been done; look, then try again";
  return new CofferError("unconfirmed", message, { cause: error });
}

function takeLookups(waiting: readonly Lookup[]): Lookup[] {
  const taken: Lookup[] = [];
  let keys = 0;
  for (const lookup of waiting) {
    if (taken.length > 0 && keys + lookup.keys.length > KEYS_MAX) break;
    taken.push(lookup);
    keys += lookup.keys.length;
  }
  return taken;
}

function takeCommits(waiting: readonly QueuedCommit[]): QueuedCommit[] {
  const group = new Set(takeGroup(waiting.map(({ commit }) => commit)));
  return waiting.filter(({ commit }) => group.has(commit));
}

const limitText = (limit: number) => String(Math.min(limit, NO_LIMIT));
/** bytea in its hexadecimal form: \x and two digits a byte. */
const bytesOf = (column: string | null | undefined) => Buffer.from((column ?? "").slice(2), "hex");
const keyOf = (column: string | null | undefined) => bytesOf(column).toString("utf8");
