// A subscription under way: what waits for its subscriber, as far as the token may see it at that moment. The token and
// its policies are looked at before every delivery, and every few seconds when nothing happens (invariant I2): a
// subscription ends with the right to it.
import type { Seconds } from "#common/clock.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { cloudEvent, type ServerEvent } from "../events/event.ts";
import type { EventSelection, Subscription } from "../events/subscription.ts";
import type { NamespaceScope } from "../framework/context.ts";
import { pathFrom } from "../namespaces/namespace-scope.ts";
import { entityOf } from "../namespaces/rights.ts";
import type { Acl } from "../policy/acl.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { ownView } from "../tokens/token-store.ts";
import type { CoreServices } from "./request-state.ts";

/** A revoked token hears nothing more at once, and is told so after this long. */
const LOOK_MILLIS = 5_000;

/** Close codes, RFC 6455 7.4.1 and the IANA registry of WebSocket close codes. */
const POLICY_VIOLATION = 1008;
const SERVICE_RESTART = 1012;
const TRY_AGAIN_LATER = 1013;

/** Where the subscription was asked for. */
export interface StreamRequest {
  readonly scope: NamespaceScope;
  /** Below the namespace. */
  readonly path: string;
}

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
  readonly #request: StreamRequest;
  constructor(services: CoreServices, token: TokenRecord, request: StreamRequest, selection: EventSelection) {
    this.#services = services;
    this.#token = token;
    this.#request = request;
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
      const events = this.#subscription.take().filter((event) => this.#maySee(acl, event));
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
    const services = this.#services;
    const token = await services.tokens.current(tx, this.#token);
    if (!token) return undefined;
    const entity = await entityOf(tx, services, token);
    if (entity?.disabled) return undefined;
    const acl = await services.policies.aclOfToken(ownView(tx, token), token, entity);
    const { scope, path } = this.#request;
    const prefix = pathFrom(scope, token.namespace);
    if (prefix === undefined) return undefined;
    const { allowed } = acl.check({ operation: "read", path: prefix + path, orCapability: "subscribe" });
    return allowed ? acl : undefined;
  }

  /** The token's policies name paths from its own namespace and say nothing of what is beside or above that. */
  #maySee(acl: Acl, { namespace, dataPath, type }: ServerEvent): boolean {
    const own = this.#request.scope.lineage.find(({ id }) => id === this.#token.namespace)?.path;
    const full = namespace === "" ? dataPath : `${namespace}/${dataPath}`;
    return own !== undefined && full.startsWith(own) && acl.subscribes(full.slice(own.length), type);
  }
}

function millisUntil(seconds: Seconds, now: number): number {
  return seconds === 0 ? Number.POSITIVE_INFINITY : Math.max(seconds * 1000 - now, 1);
}
