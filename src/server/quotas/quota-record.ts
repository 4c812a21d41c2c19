// Quotas as they are stored. The index says which quota is for which requests, so that a request reads one record that
// is nearly always in the cache; a quota that applies is read besides.
//
//   core/quota/rate-limit/[<namespace>:]<name>    RateLimitQuota; both percent-encoded
//   core/quota/lease-count/[<namespace>:]<name>   LeaseCountQuota
//   core/quota-index                                 QuotaIndex: all rules, and the settings of sys/quotas/config
import { boolean, type Infer, list, number, object, oneOf, optional, string } from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";

/** What tells who a quota is for. */
const ruleMembers = {
  kind: oneOf("rate-limit", "lease-count"),
  name: string,
  /** Whose requests it is for; "" is the root namespace. */
  namespace: string,
  /** Where it was made and is seen: a namespace above; left out where that is the same. */
  madeIn: optional(string),
  /** As it is shown: "" for everything of the namespace, a mount, or a path below one, perhaps with * at its end. */
  path: string,
  /** The mount that the path is of; "" for everything. */
  mountPath: string,
  /** Role of an auth method; "" for all. */
  role: string,
  /** Holds in the namespaces below as well. */
  inheritable: boolean,
};
const ruleSchema = object(ruleMembers);
export type QuotaRule = Infer<typeof ruleSchema>;
export type QuotaKind = QuotaRule["kind"];

export const GROUPINGS = ["ip", "none", "entity_then_ip", "entity_then_none"] as const;

const rateLimitSchema = object({
  rule: ruleSchema,
  /** New with every change, so that nobody's used-up allowance outlives it. */
  id: string,
  /** Requests in an interval; may be a fraction. */
  rate: number,
  intervalSeconds: number,
  /** How long a client that went beyond is refused altogether; 0: until it may again. */
  blockSeconds: number,
  groupBy: oneOf(...GROUPINGS),
});
export type RateLimitQuota = Infer<typeof rateLimitSchema>;
export const rateLimitKind = recordKind("rate limit quota", rateLimitSchema, { cached: true });

const leaseCountSchema = object({ rule: ruleSchema, id: string, maxLeases: number });
export type LeaseCountQuota = Infer<typeof leaseCountSchema>;
export const leaseCountKind = recordKind("lease count quota", leaseCountSchema, { cached: true });

const indexSchema = object({
  rules: list(ruleSchema),
  auditRefusals: boolean,
  responseHeaders: boolean,
  /** Relative to their namespace; a * at the end is for what begins so. */
  exemptPaths: list(string),
  /** The same, of the root namespace alone and full. */
  absoluteExemptPaths: list(string),
});
export type QuotaIndex = Infer<typeof indexSchema>;
export const quotaIndexKind = recordKind("quota index", indexSchema, { cached: true });
export const QUOTA_INDEX_KEY = "core/quota-index";

export const NO_QUOTAS: QuotaIndex = {
  rules: [],
  auditRefusals: false,
  responseHeaders: false,
  exemptPaths: [],
  absoluteExemptPaths: [],
};

/** Rewritten by whoever issues a lease under a lease-count quota, so that of two who count at once one counts again. */
export const leaseGuardKind = recordKind(
  "lease count guard",
  object({ issued: number, lastLeaseId: optional(string) }),
);

/** By what a quota is known: names are each namespace's own. */
export type QuotaName = Pick<QuotaRule, "kind" | "namespace" | "name"> & { readonly madeIn?: string | undefined };

/** The namespace in which a quota is seen. */
export function homeOf({ madeIn, namespace }: Pick<QuotaName, "madeIn" | "namespace">): string {
  return madeIn ?? namespace;
}

/** "" or the path of its namespace in front, with a character that no encoded name has. */
export function quotaKey(quota: QuotaName): string {
  const { kind, name } = quota;
  const home = homeOf(quota);
  const own = home === "" ? "" : `${encodeURIComponent(home)}:`;
  return `core/quota/${kind}/${own}${encodeURIComponent(name)}`;
}
export function leaseGuardKey(id: string): string {
  return `core/quota-guard/${id}`;
}
