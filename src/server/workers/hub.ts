// What the workers of one server have in common, kept by the supervisor: the root key while the server is unsealed, the
// shares entered so far, who asks the seals, what is counted for all. A star: workers talk to this hub alone. Opens no
// store and no socket, starts and ends no process (supervisor.ts does); a worker that does not follow is killed, because
// one that stayed unsealed when the others are sealed would be worse than one that is gone.
import type { Clock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log, LogLevel } from "#common/log.ts";
import type { Metrics } from "#common/metrics.ts";
import { countsOf, type MetricsSnapshot, mergeMetrics } from "#common/metrics-snapshot.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { SealHealth } from "../core/seal-watch.ts";
import type { SealTrouble } from "../core/siblings.ts";
import { EnteredShares } from "../core/unseal-progress.ts";
import { RateLimiter } from "../quotas/rate-limiter.ts";
import type { Channel } from "./channel.ts";
import {
  type Answer,
  type Attached,
  done,
  type RelayedLine,
  type ToSupervisor,
  type ToWorker,
  type Wanted,
} from "./messages.ts";

/** Opening a keyring takes milliseconds; a process that is this late has something wrong with it. */
const FOLLOW_MILLIS_MAX = 10_000;
/** A worker that is slower is counted with what it said the last time. */
const GATHER_MILLIS_MAX = 2_000;
/** Between two looks whether a worker still answers, and how long it may take to. */
const WATCH_MILLIS = 10_000;
/** One may be missed when the whole machine stood still. */
const MISSES_MAX = 3;
/** Shamir's x coordinates are one byte, so more different shares than this are no shares. */
const SHARES_MAX = 255;

export type WorkerChannel = Channel<ToWorker, ToSupervisor, Answer>;

/** One worker process as the hub knows it. */
export interface Member {
  readonly number: number;
  readonly channel: WorkerChannel;
  kill(): void;
}

interface Seat {
  wants: Wanted;
  /** What it was told that others want. */
  told: Wanted;
  metrics: MetricsSnapshot;
}

export interface HubDependencies {
  readonly clock: Clock;
  readonly log: Log;
  /** The supervisor's own. */
  readonly metrics: Metrics;
  /** All workers are to read the configuration again. */
  reread?(): void;
}

/** More generations at once are there only while a rewrap is under way. */
const DATA_KEYS_MAX = 8;

const NOTHING_WANTED: Wanted = { events: false, log: false };

export class Hub {
  readonly #deps: HubDependencies;
  readonly #begunAt: number;
  readonly #rates: RateLimiter;
  readonly #entered = new EnteredShares();
  /** Workers that follow, in the order in which they came. */
  readonly #seats = new Map<Member, Seat>();
  #rootKey: SecretBytes | undefined;
  /** By generation and store; what each worker has in memory until sealing. */
  readonly #dataKeys = new Map<string, SecretBytes>();
  /** Somebody sealed the server: nobody asks the seals until it is unsealed again. */
  #isSealedByHand = false;
  #lead: Member | undefined;
  /** Who looks after the seals, for as long as it lives, and what it said when it was asked last. */
  #watcher: Member | undefined;
  #sealHealth: readonly SealHealth[] | undefined;
  #level: LogLevel | undefined;
  #troubles: readonly SealTrouble[] = [];
  /** What workers counted that have ended. */
  #ended: MetricsSnapshot = [];

  constructor(dependencies: HubDependencies) {
    this.#deps = dependencies;
    this.#begunAt = dependencies.clock.now();
    this.#rates = new RateLimiter(dependencies.clock);
    dependencies.log.taps.relayBy({
      isWanted: () => [...this.#seats.values()].some(({ wants }) => wants.log),
      send: (level, render) => this.#sendLine({ level, json: render("json"), text: render("text") }),
      want: () => {},
    });
  }

  get size(): number {
    return this.#seats.size;
  }

  /** Answers a worker's message. */
  receive(from: Member, message: ToSupervisor): Promise<Answer> | Answer {
    switch (message.kind) {
      case "attach":
        return this.#attach(from);
      case "add-share":
        return this.#addShare(new SecretBytes(message.share));
      case "progress":
        return { kind: "progress", progress: this.#entered.status };
      case "reset-shares":
        this.#entered.reset();
        return done;
      case "opened":
        return this.#opened(from, new SecretBytes(message.rootKey));
      case "sealed":
        return this.#sealed(from);
      case "data-key":
        return this.#keepDataKey(message.name, new SecretBytes(message.key));
      case "find-data-key":
        return { kind: "found-data-key", key: this.#dataKeys.get(message.name)?.expose() };
      case "take":
        return { kind: "verdict", verdict: this.#rates.take(message.client, message.allowance) };
      case "all-metrics":
        return this.#allMetrics();
      case "all-in-flight":
        return this.#allInFlight();
      case "seal-health":
        return this.#askSealHealth();
      case "level":
        this.#level = message.level;
        return this.#toOthers(undefined, message);
      case "reread":
        this.#deps.reread?.();
        return done;
      case "want":
        return this.#want(from, { [message.topic]: message.wanted });
      default:
        this.#passOn(from, message);
        return done;
    }
  }

  /** The process has ended. */
  leave(member: Member): void {
    const seat = this.#seats.get(member);
    if (!seat) return;
    this.#seats.delete(member);
    this.#ended = mergeMetrics([this.#ended, countsOf(seat.metrics)]);
    if (this.#lead === member) this.#lead = undefined;
    this.#appointLead();
    if (this.#watcher === member) this.#appointWatcher();
    void this.#tellWanted();
  }

  /** The supervisor's own line, for those who read the log at a worker. */
  #sendLine(line: RelayedLine): void {
    for (const [{ channel }, { wants }] of this.#seats)
      if (wants.log) channel.offer({ kind: "line", line }, { kind: "lost" });
  }

  /**
   * Ends a worker that follows no more without having ended: it may hold the store's lock for writers, and clients wait
   * for it. Runs until the signal aborts.
   */
  async watch(member: Member, signal: AbortSignal): Promise<void> {
    for (let missed = 0; !signal.aborted && missed < MISSES_MAX; ) {
      await this.#deps.clock.sleep(WATCH_MILLIS, signal);
      if (signal.aborted || !this.#seats.has(member)) continue;
      missed = (await this.#answers(member)) ? 0 : missed + 1;
    }
    if (signal.aborted) return;
    this.#deps.log.error("a worker does not answer and is ended", { worker: member.number });
    member.kill();
  }

  async #answers({ channel }: Member): Promise<boolean> {
    try {
      await channel.ask({ kind: "ping" }, WATCH_MILLIS);
      return true;
    } catch {
      return false; // whyever: the third time it is ended
    }
  }

  /** Zeroes what it holds. */
  close(): void {
    this.#forgetKey();
    this.#forgetDataKeys();
    this.#entered.reset();
  }

  #attach(member: Member): Attached {
    const seat = { wants: NOTHING_WANTED, told: NOTHING_WANTED, metrics: [] };
    this.#seats.set(member, seat);
    seat.told = this.#wantedBeside(member);
    const isSealed = this.#rootKey === undefined && !this.#isSealedByHand;
    if (isSealed) this.#lead ??= member;
    this.#watcher ??= member;
    return {
      kind: "attached",
      rootKey: this.#rootKey?.expose(),
      lead: this.#lead === member,
      watch: this.#watcher === member,
      level: this.#level,
      wanted: seat.told,
      troubles: this.#troubles,
    };
  }

  #addShare(share: SecretBytes): Answer {
    if (this.#entered.status.count >= SHARES_MAX) this.#entered.reset();
    this.#entered.add(share);
    return { kind: "entered", shares: this.#entered.exposed() };
  }

  async #opened(from: Member, rootKey: SecretBytes): Promise<Answer> {
    this.#forgetKey();
    this.#rootKey = rootKey;
    this.#isSealedByHand = false;
    this.#lead = undefined;
    this.#troubles = [];
    return this.#toOthers(from, { kind: "open", rootKey: rootKey.expose() });
  }

  async #sealed(from: Member): Promise<Answer> {
    this.#forgetKey();
    this.#forgetDataKeys();
    this.#entered.reset();
    this.#isSealedByHand = true;
    this.#lead = undefined;
    return this.#toOthers(from, { kind: "seal" });
  }

  /** One that comes late, from before the sealing, is of no use to anybody. */
  #keepDataKey(name: string, key: SecretBytes): Answer {
    this.#dataKeys.get(name)?.[Symbol.dispose]();
    if (!this.#isSealedByHand) this.#dataKeys.set(name, key);
    else key[Symbol.dispose]();
    const [oldest] = this.#dataKeys;
    if (oldest && this.#dataKeys.size > DATA_KEYS_MAX) {
      oldest[1][Symbol.dispose]();
      this.#dataKeys.delete(oldest[0]);
    }
    return done;
  }

  #forgetDataKeys(): void {
    for (const key of this.#dataKeys.values()) key[Symbol.dispose]();
    this.#dataKeys.clear();
  }

  #forgetKey(): void {
    this.#rootKey?.[Symbol.dispose]();
    this.#rootKey = undefined;
  }

  #appointLead(): void {
    if (this.#lead || this.#rootKey || this.#isSealedByHand) return;
    const [next] = this.#seats.keys();
    this.#lead = next;
    next?.channel.tell({ kind: "lead" });
  }

  #appointWatcher(): void {
    const [next] = this.#seats.keys();
    this.#watcher = next;
    next?.channel.tell({ kind: "watch" });
  }

  /** One that is slow to answer has the seals as it said the last time. */
  async #askSealHealth(): Promise<Answer> {
    const answer = this.#watcher && (await this.#gather(this.#watcher, { kind: "seal-health" }));
    if (answer?.kind === "seal-health") this.#sealHealth = answer.health;
    return { kind: "seal-health", health: this.#sealHealth };
  }

  /** Resolves when all have followed or are ended. */
  async #toOthers(from: Member | undefined, message: ToWorker): Promise<Answer> {
    const others = [...this.#seats.keys()].filter((member) => member !== from);
    await Promise.all(others.map((member) => this.#require(member, message)));
    return done;
  }

  async #require(member: Member, message: ToWorker): Promise<void> {
    try {
      await member.channel.ask(message, FOLLOW_MILLIS_MAX);
    } catch (error) {
      if (!this.#seats.has(member)) return;
      const facts = { worker: member.number, what: message.kind, error: messageOf(error) };
      // What others want to hear is best effort; a worker that hangs is ended by `watch`.
      const mustFollow = message.kind === "open" || message.kind === "seal";
      this.#deps.log.error(mustFollow ? "a worker did not follow and is ended" : "a worker did not follow", facts);
      if (mustFollow) member.kill();
    }
  }

  async #want(from: Member, change: Partial<Wanted>): Promise<Answer> {
    const seat = this.#seats.get(from);
    if (seat) seat.wants = { ...seat.wants, ...change };
    await this.#tellWanted();
    return done;
  }

  async #tellWanted(): Promise<void> {
    const changed = [...this.#seats].filter(([member, seat]) => !isSame(seat.told, this.#wantedBeside(member)));
    await Promise.all(
      changed.map(([member, seat]) => {
        seat.told = this.#wantedBeside(member);
        return this.#require(member, { kind: "wanted", wanted: seat.told });
      }),
    );
  }

  #wantedBeside(member: Member): Wanted {
    const others = [...this.#seats].filter(([other]) => other !== member).map(([, seat]) => seat.wants);
    return { events: others.some(({ events }) => events), log: others.some(({ log }) => log) };
  }

  #passOn(from: Member, message: ToSupervisor): void {
    if (message.kind === "troubles") this.#troubles = message.troubles;
    for (const [member, { wants }] of this.#seats) {
      if (member === from) continue;
      if (message.kind === "troubles") member.channel.tell(message);
      else if (message.kind === "event" && wants.events) member.channel.offer(message, { kind: "lost" });
      else if (message.kind === "line" && wants.log) member.channel.offer(message, { kind: "lost" });
      else if (message.kind === "lost" && wants.events) member.channel.tell(message);
    }
  }

  /** A count never goes back: of a worker that does not answer, or has ended, the last known counts stay. */
  async #allMetrics(): Promise<Answer> {
    await Promise.all([...this.#seats].map(([member, seat]) => this.#askMetrics(member, seat)));
    const alive = [...this.#seats.values()].map(({ metrics }) => metrics);
    const snapshot = mergeMetrics([this.#deps.metrics.snapshot(), ...alive, this.#ended]);
    return { kind: "metrics", snapshot, seconds: (this.#deps.clock.now() - this.#begunAt) / 1000 };
  }

  async #askMetrics(member: Member, seat: Seat): Promise<void> {
    const answer = await this.#gather(member, { kind: "metrics" });
    if (answer?.kind === "metrics") seat.metrics = answer.snapshot;
  }

  async #allInFlight(): Promise<Answer> {
    const answers = await Promise.all([...this.#seats.keys()].map((one) => this.#gather(one, { kind: "in-flight" })));
    const notes = answers.flatMap((answer) => (answer?.kind === "in-flight" ? answer.notes : []));
    return { kind: "in-flight", notes };
  }

  async #gather({ channel, number }: Member, message: ToWorker): Promise<Answer | undefined> {
    try {
      return await channel.ask(message, GATHER_MILLIS_MAX);
    } catch (error) {
      this.#deps.log.warn("a worker did not answer", { worker: number, what: message.kind, error: messageOf(error) });
      return undefined;
    }
  }
}

function isSame(a: Wanted, b: Wanted): boolean {
  return a.events === b.events && a.log === b.log;
}
