// Answers of the server that hold a lease or a token, in memory, by the request that they answer. An entry lives as long
// as what it holds: until that is revoked through the proxy, cannot be renewed any more, or its token goes. Of requests
// it keeps a keyed hash; nothing of it is written anywhere.
import { createHmac, randomBytes } from "node:crypto";
import { type Auth, type Envelope, parseEnvelope } from "#client/envelope.ts";
import type { Clock, Millis } from "#common/clock.ts";
import { parseJson } from "#common/json.ts";
import type { Eviction } from "./evictions.ts";
import type { ProxyAnswer, ProxyRequest } from "./exchange.ts";

/** What is beyond these limits is passed on and not kept. */
export const ENTRIES_MAX = 1_000;
export const CACHE_BYTES_MAX = 8 * 1024 * 1024;
/** Share of a lease or ttl after which it is renewed; the rest is for retries. */
const RENEW_AT = 2 / 3;

export interface CacheEntry {
  readonly key: string;
  readonly kind: "lease" | "token";
  /** Logical, as in the request. */
  readonly path: string;
  readonly namespace: string;
  /** That the request was made with; "" for a login. */
  readonly token: string;
  /** Of a lease. */
  readonly leaseId: string;
  /** That the answer gave. */
  readonly ownToken: string;
  readonly accessor: string;
  readonly answer: ProxyAnswer;
  readonly storedAt: Millis;
  readonly firstTtlMillis: Millis;
  readonly renewAt: Millis;
  readonly expiresAt: Millis;
  /** It ran into its maximum: when it is due it goes. */
  readonly isLast: boolean;
}

export interface CacheOptions {
  readonly clock: Clock;
  /** The agent's token, whose leases are cached too. */
  readonly autoAuthToken: () => string | undefined;
  readonly entriesMax?: number;
}

export class ResponseCache {
  readonly #options: CacheOptions;
  readonly #entries = new Map<string, CacheEntry>();
  readonly #hashKey = randomBytes(32);
  #bytes = 0;
  #wake = new AbortController();
  constructor(options: CacheOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Names a request: everything that could make its answer another one. */
  keyOf({ method, target, headers, token, namespace, body }: ProxyRequest): string {
    const told = Object.entries(headers)
      .filter(([name]) => name.startsWith("x-vault-") && name !== "x-vault-token" && name !== "x-vault-request")
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const about = JSON.stringify([method, target, token ?? "", namespace ?? "", told]);
    return createHmac("sha256", this.#hashKey).update(about).update("\0").update(body).digest("base64url");
  }

  /** The answer kept for a request, with its age. */
  find(key: string): ProxyAnswer | undefined {
    const entry = this.#entries.get(key);
    const now = this.#options.clock.now();
    if (entry === undefined || entry.expiresAt <= now) return undefined;
    const age = String(Math.floor((now - entry.storedAt) / 1000));
    return { ...entry.answer, headers: { ...entry.answer.headers, "x-cache": "HIT", age } };
  }

  /** Keeps an answer if it is one to be kept; tells whether it did. */
  store(key: string, request: ProxyRequest, answer: ProxyAnswer): boolean {
    const what = this.#cacheable(request, answer);
    const limit = this.#options.entriesMax ?? ENTRIES_MAX;
    if (what === undefined || this.#entries.size >= limit) return false;
    if (this.#bytes + answer.body.length > CACHE_BYTES_MAX) return false;
    const now = this.#options.clock.now();
    const { path, namespace = "", token = "" } = request;
    this.#put({
      key,
      path,
      namespace,
      token,
      answer,
      storedAt: now,
      isLast: false,
      ...what,
      ...timesOf(what.ttl, now),
    });
    return true;
  }

  /** After a renewal: `seconds` from now. */
  renewed(entry: CacheEntry, seconds: number): void {
    if (this.#entries.get(entry.key) !== entry) return;
    const now = this.#options.clock.now();
    const { renewAt, expiresAt } = timesOf(seconds, now);
    // A renewal that gives half of the first ran into the maximum.
    const isLast = seconds * 1000 < entry.firstTtlMillis / 2;
    this.#put({ ...entry, renewAt, expiresAt, isLast });
  }

  /** After a renewal that failed and may succeed later. */
  postpone(entry: CacheEntry, millis: Millis): void {
    if (this.#entries.get(entry.key) === entry) {
      this.#put({ ...entry, renewAt: this.#options.clock.now() + millis });
    }
  }

  remove({ key, answer }: CacheEntry): void {
    if (this.#entries.delete(key)) this.#bytes -= answer.body.length;
  }

  entries(): readonly CacheEntry[] {
    return [...this.#entries.values()];
  }

  /** Resolves when something is due, or was added, or the signal aborts. */
  async untilDue(signal: AbortSignal): Promise<void> {
    const next = Math.min(...this.entries().map(({ renewAt }) => renewAt));
    this.#wake = new AbortController();
    const { clock } = this.#options;
    await clock.sleep(next - clock.now(), AbortSignal.any([signal, this.#wake.signal]));
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  evict(eviction: Eviction): void {
    const { kind } = eviction;
    if (kind === "token") this.#evictToken(eviction.token, eviction.keepsChildren ?? false);
    for (const entry of this.entries()) {
      if (kind === "accessor" && entry.accessor === eviction.accessor) this.#evictToken(entry.ownToken, false);
      else if (kind === "lease" && entry.leaseId === eviction.leaseId) this.remove(entry);
      else if (kind === "prefix" && (entry.leaseId || entry.path).startsWith(eviction.prefix)) this.#evictEntry(entry);
    }
  }

  /** Whatever was asked for at paths that begin so. */
  evictPath(prefix: string, namespace: string): void {
    for (const entry of this.entries()) {
      if (entry.namespace === namespace && entry.path.startsWith(prefix)) this.#evictEntry(entry);
    }
  }

  #evictEntry(entry: CacheEntry): void {
    this.remove(entry);
    if (entry.ownToken !== "") this.#evictToken(entry.ownToken, false);
  }

  /** The token, its leases, and the tokens made with it, which the server ends with it. */
  #evictToken(token: string, keepsChildren: boolean): void {
    for (const entry of this.entries()) {
      if (entry.ownToken === token) this.remove(entry);
      else if (entry.token === token && entry.kind === "lease") this.remove(entry);
      else if (entry.token === token && !keepsChildren && this.#entries.has(entry.key)) this.#evictEntry(entry);
    }
  }

  #put(entry: CacheEntry): void {
    const before = this.#entries.get(entry.key);
    this.#bytes += entry.answer.body.length - (before?.answer.body.length ?? 0);
    this.#entries.set(entry.key, entry);
    this.#wake.abort("changed");
  }

  #cacheable(request: ProxyRequest, answer: ProxyAnswer): Found | undefined {
    if (answer.status !== 200 || answer.rest !== undefined) return undefined;
    const envelope = envelopeOf(answer.body);
    if (envelope === undefined || envelope.wrap_info !== undefined) return undefined;
    const { auth, lease_id: leaseId, lease_duration: ttl, renewable } = envelope;
    if (auth !== undefined && auth.client_token !== "") return this.#cacheableToken(request, auth);
    if (leaseId === "" || !renewable || ttl <= 0 || !this.#isOurs(request.token)) return undefined;
    return { kind: "lease", leaseId, ttl, ownToken: "", accessor: "", firstTtlMillis: ttl * 1000 };
  }

  /** Tokens of logins, and those that a token of ours made. Renewing a token is no making of one. */
  #cacheableToken({ path, token }: ProxyRequest, auth: Auth): Found | undefined {
    const { client_token: ownToken, accessor, lease_duration: ttl, renewable } = auth;
    const isRenewal = /^auth\/token\/renew/.test(path);
    const isMade = path.startsWith("auth/token/");
    if (isRenewal || !renewable || ttl <= 0 || (isMade && !this.#isOurs(token))) return undefined;
    return { kind: "token", leaseId: "", ttl, ownToken, accessor, firstTtlMillis: ttl * 1000 };
  }

  /** A token whose end the agent hears of: its own, or one that was made through it. */
  #isOurs(token: string | undefined): boolean {
    if (token === undefined) return false;
    return token === this.#options.autoAuthToken() || this.entries().some(({ ownToken }) => ownToken === token);
  }
}

type Found = Pick<CacheEntry, "kind" | "leaseId" | "ownToken" | "accessor" | "firstTtlMillis"> & {
  /** In seconds. */
  readonly ttl: number;
};

function timesOf(seconds: number, now: Millis): Pick<CacheEntry, "renewAt" | "expiresAt"> {
  return { renewAt: now + seconds * 1000 * RENEW_AT, expiresAt: now + seconds * 1000 };
}

function envelopeOf(body: Buffer): Envelope | undefined {
  if (body.length === 0) return undefined;
  try {
    return parseEnvelope(parseJson(body.toString("utf8")));
  } catch {
    return undefined; // no answer of the API that could be kept
  }
}
