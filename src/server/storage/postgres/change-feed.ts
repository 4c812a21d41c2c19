// Tells of changes by other servers. Keys go by NOTIFY, gathered, because a NOTIFY in each commit would cost two thirds
// of the throughput; and the sequence of versions is looked at, which needs no message to arrive: that finds what a
// server has committed just before it died, and works where there is no LISTEN (behind a pool of transactions).
import { createHash, randomUUID } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { parseJson } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import { list, object, optional, string } from "#common/schema.ts";
import type { Session } from "./session.ts";
import type { SessionPool } from "./session-pool.ts";
import type { Statements } from "./statements.ts";

export type ChangeListener = (keys: readonly string[] | "all") => void;

/** How long keys are gathered before they are told. */
const GATHER_MILLIS: Millis = 20;
/** How often the sequence is looked at. */
const POLL_MILLIS: Millis = 500;
/** A payload must be shorter than 8,000 bytes, and it is sent in hexadecimal. */
const PAYLOAD_BYTES_MAX = 3_990;

const payloadSchema = object({ from: string, keys: optional(list(string)) });

export interface FeedContext {
  readonly pool: SessionPool;
  readonly statements: Statements;
  readonly table: string;
  /** Where there is no LISTEN, the look at the versions is what there is. */
  readonly hasNotify: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export class ChangeFeed {
  readonly #context: FeedContext;
  readonly #id = randomUUID();
  readonly #channel: string;
  readonly #listeners = new Set<ChangeListener>();
  readonly #own = new OwnCommits();
  #listening: Session | undefined;
  #running: Promise<unknown> | undefined;
  /** Keys that were committed here and not told yet. */
  #untold = new Set<string>();

  constructor(context: FeedContext) {
    this.#context = context;
    this.#channel = channelOf(context.table);
  }

  add(onChange: ChangeListener): Disposable {
    // A wrapper, so that the same function given twice is two watches.
    const listener: ChangeListener = (keys) => onChange(keys);
    this.#listeners.add(listener);
    this.start();
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** Runs until the pool is closed. */
  start(): void {
    this.#running ??= Promise.all([
      this.#repeat(GATHER_MILLIS, () => this.#tell()),
      this.#repeat(POLL_MILLIS, () => this.#look()),
    ]);
  }

  /** Wraps a group of commits that takes one version: its keys are told to others. */
  async committing<T>(keys: Iterable<string>, commit: () => Promise<T>): Promise<T> {
    this.start();
    const result = await this.#own.counted(commit);
    for (const key of keys) this.#untold.add(key);
    return result;
  }

  /** Resolves when nothing runs any more; the pool must have been told to close. */
  async stopped(): Promise<void> {
    await this.#running;
    await this.#listening?.end();
  }

  async #repeat(pause: Millis, work: () => Promise<void>): Promise<void> {
    const { pool, clock, log } = this.#context;
    while (!pool.closing.aborted) {
      await clock.sleep(pause, pool.closing);
      if (pool.closing.aborted) return;
      await work().catch((error: unknown) => {
        log.debug("cannot follow the changes of other servers", { error: messageOf(error) });
      });
    }
  }

  /** What cannot be told is lost here and found by the others' look at the sequence. */
  async #tell(): Promise<void> {
    if (this.#untold.size === 0) return;
    const keys = [...this.#untold];
    this.#untold.clear();
    if (!this.#listening?.alive || !this.#context.hasNotify) return;
    const text = JSON.stringify({ from: this.#id, keys });
    const payload = Buffer.byteLength(text) > PAYLOAD_BYTES_MAX ? JSON.stringify({ from: this.#id }) : text;
    // In hexadecimal: names and keys need no quoting then, whatever is in them.
    await this.#listening.script(`SELECT pg_notify('${this.#channel}', '${Buffer.from(payload).toString("hex")}')`);
  }

  async #look(): Promise<void> {
    if (this.#context.hasNotify) await this.#listen();
    const { pool, statements } = this.#context;
    const before = this.#own.finished;
    const [rows] = await pool.use((session) => session.run([{ statement: statements.position, values: [] }]));
    const [last, oldest, next] = (rows?.[0] ?? []).map((column) => BigInt(column ?? 0));
    if (last === undefined || oldest === undefined || next === undefined) return;
    if (this.#own.othersSince({ last, oldest, next }, before)) this.#announce("all");
  }

  /** Keeps a session that listens. After a gap something may have been missed. */
  async #listen(): Promise<void> {
    if (this.#listening?.alive) return;
    const isAgain = this.#listening !== undefined;
    const session = await this.#context.pool.connect();
    session.onNotification((payload) => this.#receive(payload));
    // Where the server has no LISTEN, the look at the sequence is what there is.
    await session.script(`LISTEN "${this.#channel}"`).catch((error: unknown) => {
      this.#context.log.warn("the database has no LISTEN; changes are looked for", { error: messageOf(error) });
    });
    this.#listening = session;
    if (isAgain) this.#announce("all");
  }

  #receive(payload: string): void {
    const { from, keys } = payloadSchema.parse(parseJson(Buffer.from(payload, "hex").toString("utf8")));
    if (from !== this.#id) this.#announce(keys ?? "all");
  }

  #announce(keys: readonly string[] | "all"): void {
    for (const listener of this.#listeners) listener(keys);
  }
}

/** PostgreSQL takes no longer name of a channel: NAMEDATALEN - 1. */
const CHANNEL_BYTES_MAX = 63;

/** The channel of a table whose name has been checked; one name, though a dot separates schema and table. */
function channelOf(table: string): string {
  const plain = `coffer ${table}`;
  return plain.length <= CHANNEL_BYTES_MAX ? plain : `coffer ${createHash("sha256").update(table).digest("base64url")}`;
}

/** Where the store is: the last version that was taken, the oldest running transaction and the next to come. */
interface Position {
  readonly last: bigint;
  readonly oldest: bigint;
  readonly next: bigint;
}

/**
 * Tells versions that were taken here from those of others, by counting. Those on their way may be counted by the
 * sequence or not yet, so there is a least and a most that others can have taken. Errs on telling too often.
 */
class OwnCommits {
  #begun = 0n;
  #finished = 0n;
  /** What others had certainly taken at the last look. */
  #seen: bigint | undefined;
  /** A version is taken before its commit can be seen: look again until all that ran then has ended. */
  #until: bigint | undefined;

  get finished(): bigint {
    return this.#finished;
  }

  async counted<T>(commit: () => Promise<T>): Promise<T> {
    this.#begun++;
    try {
      const result = await commit();
      this.#finished++;
      return result;
    } catch (error) {
      // If a version was taken after all, it counts as another's.
      this.#begun--;
      throw error;
    }
  }

  /** Whether others may have committed since the last call; `finished` is what it was before the look. */
  othersSince({ last, oldest, next }: Position, finished: bigint): boolean {
    const most = last - finished;
    const least = last - this.#begun;
    const isFirst = this.#seen === undefined;
    const changed = most > (this.#seen ?? most);
    if (this.#seen === undefined || least > this.#seen) this.#seen = least;
    if (changed || isFirst) this.#until = next;
    const pending = this.#until !== undefined;
    if (this.#until !== undefined && oldest >= this.#until) this.#until = undefined;
    return changed || pending;
  }
}
