// What happens, told to whoever listens. Events are noted on a transaction and published when it is committed: those of
// one that came to nothing go with it. Each is told once, to those who are connected now, here or (event-feed.ts) to
// another server of the storage. Who must not miss a change reads again; storage is the truth.
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { BackendEvent } from "../framework/event.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import { eventOfMount, type ServerEvent } from "./event.ts";
import type { EventFeed } from "./event-feed.ts";
import { type EventRelay, noRelay } from "./event-relay.ts";
import { type EventSelection, Subscription } from "./subscription.ts";

/** Subscribers of one node: each is a socket, a queue and a look at its token every few seconds. */
export const SUBSCRIPTIONS_MAX = 1_000;

/** Between asking for a subscription and having it; within this time nobody is taken off the relay for lack of one. */
const PREPARED_MILLIS = 60_000;
/** What another worker of this server did may come twice, from the worker and by the feed. */
const REMEMBERED_MAX = 4_096;

export class Events {
  readonly #clock: Clock;
  readonly #relay: EventRelay;
  readonly #feed: EventFeed | undefined;
  /** Ids of what was told here last, in order. */
  readonly #told = new Set<string>();
  #preparedUntil: Millis = 0;
  readonly #subscriptions = new Set<Subscription>();
  readonly #noted = new WeakMap<Transaction, ServerEvent[]>();
  constructor(clock: Clock, relay: EventRelay = noRelay, feed?: EventFeed) {
    this.#clock = clock;
    this.#relay = relay;
    this.#feed = feed;
    relay.onEvent((event) => this.#receive(event));
    const isReading = () => this.#subscriptions.size > 0 || this.#clock.now() < this.#preparedUntil;
    feed?.connect({ deliver: (event) => this.#offer(event), isReading });
  }

  /** Notes what a transaction does; nobody hears of it before `publish`. */
  note(tx: Transaction, event: BackendEvent, mount: ServerEvent["mount"], namespace = ""): void {
    const isWantedElsewhere = this.#feed?.isWanted() === true;
    if (this.#subscriptions.size === 0 && !this.#relay.isWanted() && !isWantedElsewhere) return;
    const made = eventOfMount(event, mount, { time: this.#clock.now(), namespace });
    const whole = namespaceView(tx, "");
    if (isWantedElsewhere) this.#feed?.write(whole, made);
    const noted = this.#noted.get(whole);
    if (noted) noted.push(made);
    else this.#noted.set(whole, [made]);
  }

  /** Tells what a transaction did; only once it is committed. */
  publish(tx: Transaction): void {
    const whole = namespaceView(tx, "");
    const noted = this.#noted.get(whole);
    if (!noted) return;
    this.#noted.delete(whole);
    for (const event of noted) {
      this.#offer(event);
      if (this.#relay.isWanted()) this.#relay.send(event);
    }
  }

  #offer(event: ServerEvent): void {
    if (this.#told.has(event.id)) return;
    this.#told.add(event.id);
    for (const id of this.#told) {
      if (this.#told.size <= REMEMBERED_MAX) break;
      this.#told.delete(id);
    }
    for (const subscription of this.#subscriptions) subscription.offer(event);
  }

  #receive(event: ServerEvent | "lost"): void {
    if (event === "lost") for (const subscription of this.#subscriptions) subscription.overflow();
    else if (this.#subscriptions.size > 0) this.#offer(event);
    else if (this.#clock.now() > this.#preparedUntil) void this.#unwant();
  }

  async #unwant(): Promise<void> {
    try {
      await this.#relay.want(false);
    } catch {
      // The next event that nobody wants asks again.
    }
  }

  /**
   * Before a subscription: resolves when what other worker processes do from now on will be told here; what other servers
   * do, about a second later.
   */
  async prepare(): Promise<void> {
    this.assertRoom();
    this.#preparedUntil = this.#clock.now() + PREPARED_MILLIS;
    await this.#relay.want(true);
    await this.#feed?.announce();
  }

  /** Throws `rate_limited` when this node has as many subscribers as it takes. */
  assertRoom(): void {
    if (this.#subscriptions.size >= SUBSCRIPTIONS_MAX)
      throw new CofferError("rate_limited", `this node has ${SUBSCRIPTIONS_MAX} subscribers already; try another`);
  }

  /** Whoever subscribes must close it. Throws as `assertRoom`. */
  subscribe(selection: EventSelection): Subscription {
    this.assertRoom();
    const subscription: Subscription = new Subscription(selection, () => this.#subscriptions.delete(subscription));
    this.#subscriptions.add(subscription);
    return subscription;
  }

  get subscribers(): number {
    return this.#subscriptions.size;
  }
}
