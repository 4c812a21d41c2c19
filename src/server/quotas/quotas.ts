// The quotas as the pipeline sees them: may this request go on, may this lease be issued. Definitions come from storage
// through the request's own transaction; see rate-limiter.ts for what is counted in memory.
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { leaseKey } from "../leases/lease-record.ts";
import { listDescendants, readNamespace } from "../namespaces/namespace-store.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import { holdsBelow, isExempt, matchQuota, type QuotaSubject } from "./quota-match.ts";
import {
  type LeaseCountQuota,
  leaseCountKind,
  leaseGuardKey,
  leaseGuardKind,
  type QuotaIndex,
  type QuotaRule,
  type RateLimitQuota,
  rateLimitKind,
} from "./quota-record.ts";
import { readQuota, readQuotaIndex } from "./quota-store.ts";
import { type RateCounter, RateLimiter, type RateVerdict } from "./rate-limiter.ts";

export interface QuotaClient {
  readonly address: string;
  readonly entityId: string;
}

export interface RateLimitOutcome {
  readonly verdict: RateVerdict;
  /** Whether clients are told by headers how much is left. */
  readonly responseHeaders: boolean;
  readonly auditRefusals: boolean;
}

/** Keys of one look at storage while leases are counted. */
const COUNT_PAGE = 10_000;
const NAMESPACE_PAGE = 1_000;

export class Quotas {
  readonly #counter: RateCounter;
  /** `counter`: where requests are counted, in this process by default. */
  constructor(clock: Clock, counter: RateCounter = new RateLimiter(clock)) {
    this.#counter = counter;
  }

  /** Counts a request against the quota that is for it; undefined when there is none. */
  async countRequest(
    tx: Transaction,
    subject: QuotaSubject,
    client: QuotaClient,
  ): Promise<RateLimitOutcome | undefined> {
    const index = await readQuotaIndex(tx);
    const rule = matchQuota(index.rules, "rate-limit", subject);
    if (!rule || isExcepted(index, subject)) return undefined;
    const quota = await readQuota(tx, rateLimitKind, rule);
    if (!quota) return undefined;
    const verdict = await this.#counter.take(`${quota.id} ${clientKey(quota, client)}`, quota);
    return { verdict, responseHeaders: index.responseHeaders, auditRefusals: index.auditRefusals };
  }

  /**
   * Makes sure that one more lease fits, counting the leases that there are below the quota's path. Of two requests
   * that count at the same time, on whatever nodes, only one commits: both rewrite the quota's guard, and the other
   * one runs again and counts again. `written`: leases that this transaction has written already. Throws `rate_limited`.
   */
  async reserveLease(tx: Transaction, subject: QuotaSubject, written: number): Promise<void> {
    const { rules } = await readQuotaIndex(tx);
    const rule = matchQuota(rules, "lease-count", subject);
    const quota = rule && (await readQuota(tx, leaseCountKind, rule));
    if (!quota) return;
    const key = leaseGuardKey(quota.id);
    // Before the count: what is committed after this read makes this transaction fail.
    const guard = await tx.read(leaseGuardKind, key);
    const most = quota.maxLeases + written;
    if ((await countLeases(tx, quota, most)) >= most)
      throw new CofferError("rate_limited", `request path ${JSON.stringify(subject.path)}: lease count quota exceeded`);
    tx.write(leaseGuardKind, key, { issued: (guard?.issued ?? 0) + 1 });
  }
}

function isExcepted(index: QuotaIndex, { namespace, path }: QuotaSubject): boolean {
  const full = namespace === "" ? path : `${namespace}/${path}`;
  return isExempt(index.exemptPaths, path) || isExempt(index.absoluteExemptPaths, full);
}

function clientKey({ groupBy }: RateLimitQuota, { address, entityId }: QuotaClient): string {
  if (groupBy === "none") return "";
  if (groupBy === "ip" || entityId === "") return groupBy === "entity_then_none" ? "" : `ip ${address}`;
  return `entity ${entityId}`;
}

/** Leases that a quota is for, counted no further than `max`: of its namespace, and of those below where it holds there. */
export async function countLeases(tx: Transaction, { rule }: LeaseCountQuota, max: number): Promise<number> {
  const own = rule.namespace === "" ? "" : `${rule.namespace}/`;
  let count = await countIn(await viewOf(tx, own), rule, max);
  if (!holdsBelow(rule)) return count;
  for (let after: string | undefined; count < max; ) {
    const names = await listDescendants(tx, own, { limit: NAMESPACE_PAGE, ...(after !== undefined && { after }) });
    for (const name of names) count += await countIn(await viewOf(tx, own + name), rule, max - count);
    after = names.at(-1);
    if (names.length < NAMESPACE_PAGE) break;
  }
  return count;
}

async function viewOf(tx: Transaction, path: string): Promise<Transaction> {
  return namespaceView(tx, path === "" ? "" : ((await readNamespace(tx, path))?.id ?? ""));
}

async function countIn(tx: Transaction, rule: QuotaRule, max: number): Promise<number> {
  const prefix = leaseKey(rule.path.endsWith("*") ? rule.path.slice(0, -1) : withSlash(rule.path));
  const to = `${prefix}\u{10ffff}`;
  let count = 0;
  for (let from = prefix; count < max; ) {
    const limit = Math.min(COUNT_PAGE, max - count);
    const keys = await tx.scan({ from, to, limit });
    count += keys.length;
    const last = keys.at(-1);
    if (keys.length < limit || last === undefined) return count;
    from = `${last}\0`; // the first key that can follow
  }
  return count;
}

/** A lease's id is the path that made it, a slash and a random part. */
function withSlash(path: string): string {
  return path === "" || path.endsWith("/") ? path : `${path}/`;
}
