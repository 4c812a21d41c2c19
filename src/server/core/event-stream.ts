// A subscription under way: what waits for its subscriber, as far as the token may see it at that moment. The token and
// its policies are looked at before every delivery, and every few seconds when nothing happens (invariant I2): a
// subscription ends with the right to it.
import type { Seconds } from "#common/clock.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { cloudEvent } from "../events/event.ts";
import type { EventSelection, Subscription } from "../events/subscription.ts";
import type { Acl } from "../policy/acl.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { CoreServices } from "./request-state.ts";

/** A revoked token hears nothing more at once, and is told so after this long. */
const LOOK_MILLIS = 5_000;

/** Close codes, RFC 6455 7.4.1 and the IANA registry of WebSocket close codes. */
const POLICY_VIOLATION = 1008;
const SERVICE_RESTART = 1012;
const TRY_AGAIN_LATER = 1013;

export interface StreamEnd {
  readonly code: number;
  /** At most 123 bytes. */
  readonly reason: string;
}

/** Texts to send, or why there are no more. */
export type Delivery = { readonly texts: readonly string[] } | { readonly end: StreamEnd };

export class EventStream {
  readonly #services: CoreServices;
  readonly #subscription: Subscription;
  readonly #token: TokenRecord;
  readonly #path: string;
  constructor(services: CoreServices, token: TokenRecord, path: string, selection: EventSelection) {
    this.#services = services;
    this.#token = token;
    this.#path = path;
    this.#subscription = services.events.subscribe(selection);
  }

  /** Aborts when the subscriber is too slow, even while it is being sent something. */
  get overflowed(): AbortSignal {
    return this.#subscription.overflowed;
  }

  close(): void {
    this.#subscription.close();
  }

  /** Waits until there is something to send or the stream ends; no texts when the signal aborts. */
  async next(signal: AbortSignal): Promise<Delivery> {
    const { clock, barrier } = this.#services;
    for (;;) {
      await this.#subscription.wait(clock, this.#millisToLook(), signal);
      if (signal.aborted) return { texts: [] };
      if (this.overflowed.aborted)
        return { end: { code: TRY_AGAIN_LATER, reason: "too slow: events were lost; read again and subscribe anew" } };
      if (barrier.isSealed) return { end: { code: SERVICE_RESTART, reason: "the server is sealed" } };
      const acl = await this.#acl(barrier.begin());
      if (!acl) return { end: { code: POLICY_VIOLATION, reason: "the token has ended or may not subscribe any more" } };
      const events = this.#subscription.take().filter(({ dataPath, type }) => acl.subscribes(dataPath, type));
      const { eventSource } = this.#services;
      if (events.length > 0) return { texts: events.map((event) => JSON.stringify(cloudEvent(event, eventSource))) };
    }
  }

  #millisToLook(): number {
    const { expiresAtSeconds } = this.#token;
    const left = millisUntil(expiresAtSeconds, this.#services.clock.now());
    return Math.min(LOOK_MILLIS, left);
  }

  /** What the token may see now; undefined when it may not subscribe at all. */
  async #acl(tx: Transaction): Promise<Acl | undefined> {
    const { tokens, identity, policies } = this.#services;
    const token = await tokens.current(tx, this.#token);
    if (!token) return undefined;
    const entity = token.entityId === "" ? undefined : await identity.view(tx, token.entityId);
    if (entity?.disabled) return undefined;
    const acl = await policies.aclOfToken(tx, token, entity);
    const { allowed } = acl.check({ operation: "read", path: this.#path, orCapability: "subscribe" });
    return allowed ? acl : undefined;
  }
}

function millisUntil(seconds: Seconds, now: number): number {
  return seconds === 0 ? Number.POSITIVE_INFINITY : Math.max(seconds * 1000 - now, 1);
}
