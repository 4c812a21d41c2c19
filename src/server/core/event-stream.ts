// A subscription under way: what waits for its subscriber, as far as the token may see it at that moment. The token and
// its policies are looked at before every delivery, and every few seconds when nothing happens (invariant I2): a
// subscription ends with the right to it.
import { cloudEvent, type ServerEvent } from "../events/event.ts";
import type { EventSelection, Subscription } from "../events/subscription.ts";
import type { Acl } from "../policy/acl.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { CoreServices } from "./request-state.ts";
import { type StreamRequest, StreamRight } from "./stream-right.ts";

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
  readonly #request: StreamRequest;
  readonly #right: StreamRight;
  constructor(services: CoreServices, token: TokenRecord, request: StreamRequest, selection: EventSelection) {
    this.#services = services;
    this.#token = token;
    this.#request = request;
    this.#right = new StreamRight(services, token, request, (acl, path) => {
      return acl.check({ operation: "read", path, orCapability: "subscribe" }).allowed;
    });
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
      await this.#subscription.wait(clock, this.#right.millisToLook(), signal);
      if (signal.aborted) return { texts: [] };
      if (this.overflowed.aborted)
        return { end: { code: TRY_AGAIN_LATER, reason: "too slow: events were lost; read again and subscribe anew" } };
      if (barrier.isSealed) return { end: { code: SERVICE_RESTART, reason: "the server is sealed" } };
      const acl = await this.#right.acl(barrier.begin());
      if (!acl) return { end: { code: POLICY_VIOLATION, reason: "the token has ended or may not subscribe any more" } };
      const events = this.#subscription.take().filter((event) => this.#maySee(acl, event));
      const { eventSource } = this.#services;
      if (events.length > 0) return { texts: events.map((event) => JSON.stringify(cloudEvent(event, eventSource))) };
    }
  }

  /** The token's policies name paths from its own namespace and say nothing of what is beside or above that. */
  #maySee(acl: Acl, { namespace, dataPath, type }: ServerEvent): boolean {
    const own = this.#request.scope.lineage.find(({ id }) => id === this.#token.namespace)?.path;
    const full = namespace === "" ? dataPath : `${namespace}/${dataPath}`;
    return own !== undefined && full.startsWith(own) && acl.subscribes(full.slice(own.length), type);
  }
}
