// Quotas in storage: a record each and the index, always written together.
import { CofferError } from "#common/errors.ts";
import type { RecordKind, Transaction } from "../barrier/transaction.ts";
import {
  homeOf,
  leaseCountKind,
  leaseGuardKey,
  leaseGuardKind,
  NO_QUOTAS,
  QUOTA_INDEX_KEY,
  type QuotaIndex,
  type QuotaName,
  type QuotaRule,
  quotaIndexKind,
  quotaKey,
  rateLimitKind,
} from "./quota-record.ts";

/** Every request looks through the rules; a thousand take some microseconds and some 200 KB of one record. */
export const QUOTAS_MAX = 1_000;

export async function readQuotaIndex(tx: Transaction): Promise<QuotaIndex> {
  return (await tx.read(quotaIndexKind, QUOTA_INDEX_KEY)) ?? NO_QUOTAS;
}

export function writeQuotaIndex(tx: Transaction, index: QuotaIndex): void {
  tx.write(quotaIndexKind, QUOTA_INDEX_KEY, index);
}

export function readQuota<T>(tx: Transaction, kind: RecordKind<T>, rule: QuotaName) {
  return tx.read(kind, quotaKey(rule));
}

/** Writes a quota in place of the one of its name. Throws `invalid_request` when another is for the same requests. */
export async function putQuota<T extends { readonly rule: QuotaRule }>(
  tx: Transaction,
  kind: RecordKind<T>,
  quota: T,
): Promise<void> {
  const { rule } = quota;
  const index = await readQuotaIndex(tx);
  const others = index.rules.filter((other) => !isSame(other, rule));
  const twin = others.find((other) => isTwin(other, rule));
  if (twin) throw invalid(`quota rule with similar properties exists under the name ${JSON.stringify(twin.name)}`);
  if (others.length >= QUOTAS_MAX) throw invalid(`there are ${QUOTAS_MAX} quotas, which is the most there can be`);
  tx.write(kind, quotaKey(rule), quota);
  writeQuotaIndex(tx, { ...index, rules: [...others, rule] });
}

function isTwin(a: QuotaRule, b: QuotaRule): boolean {
  return a.kind === b.kind && a.namespace === b.namespace && a.path === b.path && a.role === b.role;
}

export async function deleteQuota(tx: Transaction, quota: QuotaName): Promise<void> {
  const index = await readQuotaIndex(tx);
  const rules = index.rules.filter((rule) => !isSame(rule, quota));
  if (rules.length === index.rules.length) return;
  if (quota.kind === "lease-count") await deleteGuard(tx, quota);
  tx.delete(quotaKey(quota));
  writeQuotaIndex(tx, { ...index, rules });
}

/** Deletes the quotas of a namespace that ends. `path` ends in a slash. */
export async function deleteQuotasOf(tx: Transaction, path: string): Promise<void> {
  const { rules } = await readQuotaIndex(tx);
  for (const rule of rules) if (`${rule.namespace}/` === path) await deleteQuota(tx, rule);
}

function isSame(a: QuotaName, b: QuotaName): boolean {
  return a.kind === b.kind && homeOf(a) === homeOf(b) && a.name === b.name;
}

async function deleteGuard(tx: Transaction, name: QuotaName): Promise<void> {
  const quota = await tx.read(leaseCountKind, quotaKey(name));
  const key = quota && leaseGuardKey(quota.id);
  if (key !== undefined && (await tx.read(leaseGuardKind, key))) tx.delete(key);
}

/** Lets the quotas of a mount follow it to another path. */
export async function moveQuotas(tx: Transaction, namespace: string, from: string, to: string): Promise<void> {
  const index = await readQuotaIndex(tx);
  const moves = (rule: QuotaRule) => rule.namespace === namespace && rule.mountPath === from;
  if (!index.rules.some(moves)) return;
  const moved = (rule: QuotaRule) => ({ ...rule, mountPath: to, path: to + rule.path.slice(from.length) });
  for (const rule of index.rules.filter(moves)) {
    if (rule.kind === "rate-limit") await rewriteRule(tx, rateLimitKind, rule, moved(rule));
    else await rewriteRule(tx, leaseCountKind, rule, moved(rule));
  }
  writeQuotaIndex(tx, { ...index, rules: index.rules.map((rule) => (moves(rule) ? moved(rule) : rule)) });
}

async function rewriteRule<T extends { readonly rule: QuotaRule }>(
  tx: Transaction,
  kind: RecordKind<T>,
  before: QuotaRule,
  rule: QuotaRule,
): Promise<void> {
  const quota = await readQuota(tx, kind, before);
  if (quota) tx.write(kind, quotaKey(rule), { ...quota, rule });
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
