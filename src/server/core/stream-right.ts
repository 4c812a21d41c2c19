// The right to a stream that is under way: looked at before every delivery and every few seconds when nothing happens
// (invariant I2), so that a stream ends with the token or with what its policies give.
import type { Millis, Seconds } from "#common/clock.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { NamespaceScope } from "../framework/context.ts";
import { pathFrom } from "../namespaces/namespace-scope.ts";
import { entityOf } from "../namespaces/rights.ts";
import type { Acl } from "../policy/acl.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import { ownView } from "../tokens/token-store.ts";
import type { CoreServices } from "./request-state.ts";

/** A revoked token hears nothing more at once, and is told so after this long. */
const LOOK_MILLIS = 5_000;

/** Where the stream was asked for. */
export interface StreamRequest {
  readonly scope: NamespaceScope;
  /** Below the namespace. */
  readonly path: string;
}

export class StreamRight {
  readonly #services: CoreServices;
  readonly #token: TokenRecord;
  readonly #request: StreamRequest;
  readonly #allows: (acl: Acl, path: string) => boolean;
  /** `allows` gets the path as the token's own namespace names it. */
  constructor(
    services: CoreServices,
    token: TokenRecord,
    request: StreamRequest,
    allows: (acl: Acl, path: string) => boolean,
  ) {
    this.#services = services;
    this.#token = token;
    this.#request = request;
    this.#allows = allows;
  }

  /** How long the right may go without a look. */
  millisToLook(): Millis {
    return Math.min(LOOK_MILLIS, millisUntil(this.#token.expiresAtSeconds, this.#services.clock.now()));
  }

  /** What the token may do now; undefined when it may not have this stream at all. */
  async acl(tx: Transaction): Promise<Acl | undefined> {
    const services = this.#services;
    const token = await services.tokens.current(tx, this.#token);
    if (!token) return undefined;
    const entity = await entityOf(tx, services, token);
    if (entity?.disabled) return undefined;
    const acl = await services.policies.aclOfToken(ownView(tx, token), token, entity);
    const { scope, path } = this.#request;
    const prefix = pathFrom(scope, token.namespace);
    return prefix !== undefined && this.#allows(acl, prefix + path) ? acl : undefined;
  }
}

function millisUntil(seconds: Seconds, now: Millis): Millis {
  return seconds === 0 ? Number.POSITIVE_INFINITY : Math.max(seconds * 1000 - now, 1);
}
