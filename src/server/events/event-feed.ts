// How events come to subscribers of other servers on one storage. A server that has subscribers says so in a record; the
// others then write each event beside the change it tells of, in the same commit, and the reader looks for new ones
// several times a second. Where nobody subscribes, or only here, nothing is written.
//
//   core/event-reader/<process>      { untilMillis, server }    worker processes of one server have the same `server`
//   core/event/<15 digits>-<event>   { server, event }    the digits are the event's time in ms; kept for a minute
//
// Best effort as events are: who comes to be read later than ten seconds after its time (clocks that differ, a commit
// that took long) is lost to other servers.
import { randomUUID } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { map, number, object, string } from "#common/schema.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import type { ServerEvent } from "./event.ts";

const READER_PREFIX = "core/event-reader/";
const EVENT_PREFIX = "core/event/";
const readerKind = recordKind("event reader", object({ untilMillis: number, server: string }), { cached: true });
const eventSchema = object({
  id: string,
  time: number,
  type: string,
  namespace: string,
  dataPath: string,
  metadata: map(string),
  mount: object({ path: string, type: string, accessor: string, options: map(string) }),
});
const eventKind = recordKind("event", object({ server: string, event: eventSchema }));

/** A reader that does not say so again in this time is gone. */
const READER_MILLIS = 30_000;
const RENEW_MILLIS = 10_000;
/** How far back a reader looks: as late as a commit may be, and as far apart as clocks may be. */
const OVERLAP_MILLIS = 10_000;
export const EVENT_KEPT_MILLIS = 60_000;
const TIDY_MILLIS = 10_000;
/** Between two looks: with subscribers here, and without. */
const READING_MILLIS = 250;
const IDLE_MILLIS = 1_000;
const PAGE = 500;
/** More servers than that on one storage are not looked at. */
const READERS_MAX = 1_000;

export interface EventFeedDependencies {
  readonly barrier: Pick<Barrier, "begin" | "isSealed">;
  readonly clock: Clock;
  readonly log: Log;
  /** What the worker processes of one server have in common: they tell each other without the storage. */
  readonly server?: string | undefined;
}

/** What this server does with events of others. */
export interface FeedReader {
  deliver(event: ServerEvent): void;
  /** Whether anybody is subscribed here, or about to be. */
  isReading(): boolean;
}

export class EventFeed {
  readonly #deps: EventFeedDependencies;
  readonly #process = randomUUID();
  readonly #server: string;
  readonly #seen = new Set<string>();
  #reader: FeedReader = { deliver: () => {}, isReading: () => false };
  #isWanted = false;
  /** 0: no record says that somebody reads here. */
  #renewedAt: Millis = 0;
  #tidiedAt: Millis = 0;
  constructor(dependencies: EventFeedDependencies) {
    this.#deps = dependencies;
    this.#server = dependencies.server ?? this.#process;
  }

  connect(reader: FeedReader): void {
    this.#reader = reader;
  }

  /** Whether somebody on another server wants events, as of the last look. */
  isWanted(): boolean {
    return this.#isWanted;
  }

  /** Puts an event beside the change that it tells of. `tx` is the whole transaction. */
  write(tx: Transaction, event: ServerEvent): void {
    tx.write(eventKind, eventKey(event), { server: this.#server, event });
  }

  /** Before a subscription: others write their events from their next look on, within about a second. */
  async announce(): Promise<void> {
    if (this.#renewedAt > 0) return;
    const now = this.#deps.clock.now();
    await this.#renew(now);
    for (const key of await this.#recentKeys(now)) this.#seen.add(key);
  }

  /** Runs until the signal aborts; pauses while the server is sealed. */
  async run(signal: AbortSignal): Promise<void> {
    const { barrier, clock, log } = this.#deps;
    while (!signal.aborted) {
      try {
        await this.look();
      } catch (error) {
        if (!barrier.isSealed) log.debug("events of other servers could not be read", { error: messageOf(error) });
      }
      await clock.sleep(this.#reader.isReading() ? READING_MILLIS : IDLE_MILLIS, signal);
    }
  }

  /** One look: who reads, what is new, what is old. */
  async look(): Promise<void> {
    const { barrier, clock } = this.#deps;
    if (barrier.isSealed) return;
    const now = clock.now();
    await this.#say(now);
    this.#isWanted = await this.#findReaders(now);
    if (this.#reader.isReading()) await this.#deliverNew(now);
    if (now - this.#tidiedAt >= TIDY_MILLIS) await this.#tidy(now);
  }

  async #say(now: Millis): Promise<void> {
    if (!this.#reader.isReading()) return this.#leave();
    if (now - this.#renewedAt >= RENEW_MILLIS) await this.#renew(now);
  }

  async #renew(now: Millis): Promise<void> {
    const tx = this.#deps.barrier.begin();
    tx.write(readerKind, READER_PREFIX + this.#process, { untilMillis: now + READER_MILLIS, server: this.#server });
    await tx.commit();
    this.#renewedAt = now;
  }

  async #leave(): Promise<void> {
    if (this.#renewedAt === 0) return;
    const tx = this.#deps.barrier.begin();
    tx.delete(READER_PREFIX + this.#process);
    await tx.commit();
    this.#renewedAt = 0;
    this.#seen.clear();
  }

  async #findReaders(now: Millis): Promise<boolean> {
    const tx = this.#deps.barrier.begin();
    const others = (await tx.list(READER_PREFIX, { limit: READERS_MAX })).filter((name) => name !== this.#process);
    await tx.prefetch(others.map((name) => READER_PREFIX + name));
    let isWanted = false;
    for (const name of others) {
      const reader = await tx.read(readerKind, READER_PREFIX + name);
      if (reader && reader.untilMillis > now) isWanted ||= reader.server !== this.#server;
      else if (reader) tx.delete(READER_PREFIX + name);
    }
    // Whoever has renewed it meanwhile makes this a conflict, and stays.
    if (tx.dirty) await tx.commit();
    return isWanted;
  }

  async #deliverNew(now: Millis): Promise<void> {
    const keys = await this.#recentKeys(now);
    const fresh = keys.filter((key) => !this.#seen.has(key));
    const tx = this.#deps.barrier.begin();
    await tx.prefetch(fresh);
    for (const key of fresh) {
      this.#seen.add(key);
      const record = await tx.read(eventKind, key);
      if (record && record.server !== this.#server) this.#reader.deliver(record.event);
    }
    const oldest = EVENT_PREFIX + digits(now - OVERLAP_MILLIS);
    for (const key of this.#seen) if (key < oldest) this.#seen.delete(key);
  }

  async #recentKeys(now: Millis): Promise<readonly string[]> {
    const tx = this.#deps.barrier.begin();
    const found: string[] = [];
    for (let from = EVENT_PREFIX + digits(now - OVERLAP_MILLIS); ; ) {
      const keys = await tx.scan({ from, to: `${EVENT_PREFIX}\u{10ffff}`, limit: PAGE });
      found.push(...keys);
      const last = keys.at(-1);
      if (keys.length < PAGE || last === undefined) return found;
      from = `${last}\0`; // the first key that can follow
    }
  }

  /** Any server removes what is old, whoever wrote it. */
  async #tidy(now: Millis): Promise<void> {
    const tx = this.#deps.barrier.begin();
    const to = EVENT_PREFIX + digits(now - EVENT_KEPT_MILLIS);
    const keys = await tx.scan({ from: EVENT_PREFIX, to, limit: PAGE });
    for (const key of keys) tx.delete(key);
    if (tx.dirty) await tx.commit();
    // More is left: go on at the next look.
    if (keys.length < PAGE) this.#tidiedAt = now;
  }
}

function eventKey({ time, id }: ServerEvent): string {
  return `${EVENT_PREFIX}${digits(time)}-${id}`;
}

function digits(millis: Millis): string {
  return String(Math.max(Math.floor(millis), 0)).padStart(15, "0");
}
