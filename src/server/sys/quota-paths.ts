// sys/quotas: how often clients may ask, and how many leases there may be. Records and rules: src/server/quotas.
import { randomUUID } from "node:crypto";
import { CofferError } from "#common/errors.ts";
import { isNumberLiteral, type JsonObject, type JsonValue } from "#common/json.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, listReply, noContent, type Reply } from "../framework/reply.ts";
import { isAuthMount } from "../mounts/mount-record.ts";
import { findMount } from "../mounts/mount-table.ts";
import { readNamespace } from "../namespaces/namespace-store.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import {
  GROUPINGS,
  homeOf,
  leaseCountKind,
  type QuotaKind,
  type QuotaRule,
  type RateLimitQuota,
  rateLimitKind,
} from "../quotas/quota-record.ts";
import { deleteQuota, putQuota, readQuota, readQuotaIndex, writeQuotaIndex } from "../quotas/quota-store.ts";
import { countLeases } from "../quotas/quotas.ts";

/** A day: longer allowances are budgets, and a restart forgets them. */
export const INTERVAL_SECONDS_MAX = 24 * 3600;
/** Leases are counted when one is issued; so many keys take some tens of milliseconds. */
export const MAX_LEASES_MAX = 100_000;
/** More exceptions than this are a quota that should be of a mount. */
const EXEMPT_PATHS_MAX = 1_000;

const ruleFields = {
  path: withDefault(
    field.text("A mount or a path below one, * at its end for all that begins so, or a namespace; empty for all."),
    "",
  ),
  role: withDefault(field.text("Of logins with this role alone; the path must be an auth method."), ""),
  inheritable: withDefault(field.flag("Holds in the namespaces below as well."), false),
} as const;

const rateFields = {
  ...ruleFields,
  type: withDefault(field.text("rate-limit, which is what it is anyway."), "rate-limit"),
  rate: field.json("Requests of a client in an interval; may be a fraction."),
  interval: withDefault(field.seconds("The interval; 1 second by default."), 1),
  block_interval: withDefault(field.seconds("How long who went beyond is refused altogether."), 0),
  group_by: withDefault(field.text(`What a client is: ${GROUPINGS.join(", ")}.`), "ip"),
} as const;

const leaseFields = {
  ...ruleFields,
  type: withDefault(field.text("lease-count, which is what it is anyway."), "lease-count"),
  max_leases: withDefault(field.integer("Leases that there may be."), 0),
} as const;

export function quotaPaths() {
  return [
    configPath(),
    listPath("rate-limit", "quotas/rate-limit"),
    listPath("lease-count", "quotas/lease-count"),
    definePrivilegedPath("quotas/rate-limit/:name", {
      summary: "A rate limit.",
      fields: rateFields,
      operations: {
        read: { summary: "Show it.", handler: showRateLimit },
        update: { summary: "Write it.", handler: writeRateLimit },
        delete: { summary: "Delete it.", handler: (context, { name }) => remove(context, "rate-limit", name) },
      },
    }),
    definePrivilegedPath("quotas/lease-count/:name", {
      summary: "A limit to the number of leases.",
      fields: leaseFields,
      operations: {
        read: { summary: "Show it.", handler: showLeaseCount },
        update: { summary: "Write it.", handler: writeLeaseCount },
        delete: { summary: "Delete it.", handler: (context, { name }) => remove(context, "lease-count", name) },
      },
    }),
  ];
}

function listPath(kind: QuotaKind, pattern: "quotas/rate-limit" | "quotas/lease-count") {
  return definePrivilegedPath(pattern, {
    summary: kind === "rate-limit" ? "All rate limits." : "All limits to the number of leases.",
    operations: {
      list: {
        summary: "List them.",
        handler: async ({ transaction, namespace }) => {
          const { rules } = await readQuotaIndex(transaction);
          return listReply(
            rules
              .filter((rule) => rule.kind === kind && homeOf(rule) === namespace)
              .map(({ name }) => name)
              .sort(),
          );
        },
      },
    },
  });
}

async function remove({ transaction, namespace }: PrivilegedContext, kind: QuotaKind, name: string): Promise<Reply> {
  await deleteQuota(transaction, { kind, namespace, name });
  return noContent;
}

interface RuleValues {
  readonly name: string;
  readonly type: string;
  readonly path: string;
  readonly role: string;
  readonly inheritable: boolean;
}

async function ruleOf(context: PrivilegedContext, kind: QuotaKind, values: RuleValues): Promise<QuotaRule> {
  const { name, role, inheritable } = values;
  if (values.type !== kind) throw invalid(`'type' must be ${kind} here, not ${JSON.stringify(values.type)}`);
  const { namespace, view, path } = await placeOf(context, values.path.replace(/^\/+/, ""));
  const madeIn = namespace === context.namespace ? {} : { madeIn: context.namespace };
  const common = { kind, name, namespace, ...madeIn, role, inheritable };
  if (path === "") {
    if (role !== "") throw invalid("a quota with a role must have the path of an auth method");
    return { ...common, path, mountPath: "" };
  }
  const mount = await findMount(view, path);
  if (!mount) throw invalid(`invalid mount path ${JSON.stringify(path)}`);
  if (role !== "" && !isAuthMount(mount)) throw invalid(`${mount.path} is no auth method; leave out 'role'`);
  return { ...common, path: `${path}/` === mount.path ? mount.path : path, mountPath: mount.path };
}

/** The namespace that a path begins with, if it does, and what is left of the path there. */
async function placeOf({ transaction, scope, namespace }: PrivilegedContext, path: string) {
  let place = { namespace, view: transaction, path };
  for (let at = path.indexOf("/"); ; at = path.indexOf("/", at + 1)) {
    const name = at < 0 ? path : path.slice(0, at);
    const record = name === "" ? undefined : await readNamespace(transaction, `${scope.path}${name}/`);
    if (!record) return place;
    const below = record.path.replace(/\/$/, "");
    place = { namespace: below, view: namespaceView(transaction, record.id), path: path.slice(name.length + 1) };
    if (at < 0) return place;
  }
}

type RateValues = RuleValues & {
  readonly rate: JsonValue | undefined;
  readonly interval: number;
  readonly block_interval: number;
  readonly group_by: string;
};

async function writeRateLimit(context: PrivilegedContext, values: RateValues): Promise<Reply> {
  const rate = numberOf(values.rate);
  if (rate === undefined || rate <= 0) throw invalid("'rate' is invalid");
  assertWithin("interval", values.interval, 1, INTERVAL_SECONDS_MAX);
  assertWithin("block_interval", values.block_interval, 0, INTERVAL_SECONDS_MAX);
  const groupBy = GROUPINGS.find((known) => known === values.group_by);
  if (!groupBy) throw invalid(`'group_by' must be one of ${GROUPINGS.join(", ")}`);
  await putQuota(context.transaction, rateLimitKind, {
    rule: await ruleOf(context, "rate-limit", values),
    id: randomUUID(),
    rate,
    intervalSeconds: values.interval,
    blockSeconds: values.block_interval,
    groupBy,
  });
  return noContent;
}

function numberOf(value: JsonValue | undefined): number | undefined {
  if (value === undefined || value === "" || (typeof value === "object" && !isNumberLiteral(value))) return undefined;
  const number = Number(isNumberLiteral(value) ? value.rawJSON : value);
  return Number.isFinite(number) ? number : undefined;
}

function assertWithin(name: string, seconds: number, least: number, most: number): void {
  if (seconds < least || seconds > most) throw invalid(`'${name}' must be from ${least} to ${most} seconds`);
}

async function showRateLimit({ transaction, namespace }: PrivilegedContext, { name }: { name: string }) {
  const quota = await readQuota(transaction, rateLimitKind, { kind: "rate-limit", namespace, name });
  return quota && dataReply({ ...shownRule(quota.rule), ...shownRate(quota) });
}

function shownRate({ rate, intervalSeconds, blockSeconds, groupBy }: RateLimitQuota): JsonObject {
  return { rate, interval: intervalSeconds, block_interval: blockSeconds, group_by: groupBy };
}

function shownRule({ kind, name, namespace, madeIn, path, role, inheritable }: QuotaRule): JsonObject {
  // As it was written: from the namespace that sees it.
  const below = madeIn === undefined ? "" : `${namespace.slice(madeIn === "" ? 0 : madeIn.length + 1)}/`;
  return { type: kind, name, path: below + path, role, inheritable };
}

async function writeLeaseCount(
  context: PrivilegedContext,
  values: RuleValues & { readonly max_leases: number },
): Promise<Reply> {
  const { max_leases: maxLeases, role } = values;
  if (maxLeases < 1 || maxLeases > MAX_LEASES_MAX) throw invalid(`'max_leases' must be from 1 to ${MAX_LEASES_MAX}`);
  if (role !== "") throw invalid("leases are counted by the path that made them; give that path in place of 'role'");
  const rule = await ruleOf(context, "lease-count", values);
  const before = await readQuota(context.transaction, leaseCountKind, rule);
  await putQuota(context.transaction, leaseCountKind, { rule, id: before?.id ?? randomUUID(), maxLeases });
  return noContent;
}

async function showLeaseCount({ transaction, namespace }: PrivilegedContext, { name }: { name: string }) {
  const quota = await readQuota(transaction, leaseCountKind, { kind: "lease-count", namespace, name });
  if (!quota) return undefined;
  const counter = await countLeases(transaction, quota, MAX_LEASES_MAX);
  return dataReply({ ...shownRule(quota.rule), max_leases: quota.maxLeases, counter });
}

function configPath() {
  return definePrivilegedPath("quotas/config", {
    summary: "What holds for all rate limits.",
    fields: {
      rate_limit_exempt_paths: field.list("Paths that are not limited, * at the end for all that begins so."),
      absolute_rate_limit_exempt_paths: field.list("The same with the path of the namespace in front."),
      enable_rate_limit_audit_logging: field.flag("Whether refusals are audited."),
      enable_rate_limit_response_headers: field.flag("Whether clients are told what is left of their allowance."),
    },
    operations: {
      read: {
        summary: "Show it.",
        handler: async ({ transaction }) => {
          const index = await readQuotaIndex(transaction);
          return dataReply({
            rate_limit_exempt_paths: index.exemptPaths,
            absolute_rate_limit_exempt_paths: index.absoluteExemptPaths,
            enable_rate_limit_audit_logging: index.auditRefusals,
            enable_rate_limit_response_headers: index.responseHeaders,
          });
        },
      },
      update: {
        summary: "Change it.",
        handler: async ({ transaction }, values) => {
          const index = await readQuotaIndex(transaction);
          writeQuotaIndex(transaction, {
            ...index,
            exemptPaths: exemptions(values.rate_limit_exempt_paths) ?? index.exemptPaths,
            absoluteExemptPaths: exemptions(values.absolute_rate_limit_exempt_paths) ?? index.absoluteExemptPaths,
            auditRefusals: values.enable_rate_limit_audit_logging ?? index.auditRefusals,
            responseHeaders: values.enable_rate_limit_response_headers ?? index.responseHeaders,
          });
          return noContent;
        },
      },
    },
  });
}

function exemptions(paths: readonly string[] | undefined): readonly string[] | undefined {
  if (paths && paths.length > EXEMPT_PATHS_MAX) throw invalid(`more than ${EXEMPT_PATHS_MAX} paths are exempt`);
  return paths?.map((path) => path.replace(/^\/?(v1\/)?/, ""));
}

function invalid(message: string): CofferError {
  return new CofferError("invalid_request", message);
}
