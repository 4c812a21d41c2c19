// sys/leases: look up, list, renew, revoke.
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { permissionDenied } from "../framework/multi-error.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, listReply, noContent, type Reply } from "../framework/reply.ts";
import { busy } from "../leases/expiration.ts";
import { LEASE_PREFIX, type LeaseRecord } from "../leases/lease-record.ts";
import { leaseIdsBelow, readLease } from "../leases/lease-store.ts";
import { putJob } from "../leases/revocation-job.ts";
import { isWithin, namespaceOfText } from "../namespaces/namespace-scope.ts";
import { namespaceIdOf, namespaceView } from "../namespaces/namespace-transaction.ts";
import { readToken } from "../tokens/token-store.ts";
import type { SysServices } from "./services.ts";

/** A path and what makes it unlike others. */
const LEASE_ID_BYTES_MAX = 2_200;

const leaseFields = {
  lease_id: withDefault(field.text("The lease.", { bytesMax: LEASE_ID_BYTES_MAX }), ""),
  url_lease_id: withDefault(
    field.text("The same, by the name that it has in the path.", { bytesMax: LEASE_ID_BYTES_MAX }),
    "",
  ),
  increment: withDefault(field.seconds("How long it is to live from now."), 0),
  sync: withDefault(field.flag("Wait until it has ended; false leaves it to the background, which tries again."), true),
} as const;

export function leasePaths(services: SysServices) {
  return [...lookupPaths(services), ...renewPaths(services), ...revokePaths(services)];
}

function lookupPaths(services: SysServices) {
  return [
    definePrivilegedPath("leases/lookup", {
      summary: "Shows a lease.",
      fields: leaseFields,
      operations: {
        update: {
          summary: "Show it.",
          handler: async (context, { lease_id }) => {
            if (lease_id === "") throw new CofferError("invalid_request", "lease_id must be specified");
            const lease = await liveLease(context, services, lease_id);
            if (!lease) throw new CofferError("invalid_request", "invalid lease");
            return dataReply(await shownLease(context, services, lease));
          },
        },
        // Without the slash at its end this is the same path as the lookup, which needs no sudo.
        list: {
          summary: "List all, one level; wants sudo.",
          handler: (context) => {
            if (!context.hasSudo) throw permissionDenied();
            return listLeases(context);
          },
        },
      },
    }),
    ...["leases/lookup/", "leases/lookup/:prefix*"].map((pattern) =>
      definePrivilegedPath(pattern, {
        summary: "Leases below a prefix, one level.",
        access: "sudo",
        operations: { list: { summary: "List them.", handler: listLeases } },
      }),
    ),
  ];
}

async function listLeases(context: PrivilegedContext): Promise<Reply | undefined> {
  const prefix = context.path.slice("leases/lookup".length).replace(/^\//, "");
  const folder = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
  return listReply(await context.transaction.list(LEASE_PREFIX + folder, context.page));
}

/** The namespace's part of the transaction that a lease's id names, if it is this one or one below. */
async function viewOfLease({ transaction, scope }: PrivilegedContext, leaseId: string): Promise<Transaction> {
  const namespace = namespaceOfText(leaseId);
  const isBelow = namespace !== "" && (await isWithin(transaction, namespace, scope));
  return isBelow ? namespaceView(transaction, namespace) : transaction;
}

async function liveLease(
  context: PrivilegedContext,
  services: SysServices,
  leaseId: string,
): Promise<LeaseRecord | undefined> {
  const lease = await readLease(await viewOfLease(context, leaseId), leaseId);
  const expired = lease && lease.expiresAtSeconds > 0 && lease.expiresAtSeconds <= services.tokens.nowSeconds();
  return expired || lease?.claim ? undefined : lease;
}

async function shownLease(context: PrivilegedContext, services: SysServices, lease: LeaseRecord): Promise<JsonObject> {
  const token = lease.kind === "token" ? await readToken(context.transaction, lease.tokenHash) : undefined;
  const lastRenewal = token?.lastRenewalSeconds ?? lease.lastRenewalSeconds;
  return {
    expire_time: lease.expiresAtSeconds === 0 ? null : time(lease.expiresAtSeconds),
    id: lease.leaseId,
    issue_time: time(lease.issuedAtSeconds),
    last_renewal: lastRenewal === undefined ? null : time(lastRenewal),
    path: lease.path,
    renewable: token ? token.renewable : lease.secret?.renewable === "yes",
    ...(lease.lastError && { revoke_error: lease.lastError }),
    ttl: lease.expiresAtSeconds === 0 ? 0 : lease.expiresAtSeconds - services.tokens.nowSeconds(),
  };
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

function renewPaths(services: SysServices) {
  const renew = async (context: PrivilegedContext, leaseId: string, increment: number): Promise<Reply> => {
    if (leaseId === "") throw new CofferError("invalid_request", "lease_id must be specified");
    const lease = await liveLease(context, services, leaseId);
    if (!lease) throw new CofferError("invalid_request", "lease not found");
    const after = await services.expiration.renew(await viewOfLease(context, leaseId), lease, increment);
    const seconds = after.expiresAtSeconds - services.tokens.nowSeconds();
    return { renewedLease: { leaseId, seconds, renewable: true } };
  };
  const patterns = ["leases/renew", "renew"];
  return [
    ...patterns.map((pattern) =>
      definePrivilegedPath(pattern, {
        summary: "Prolongs a lease.",
        fields: leaseFields,
        operations: {
          update: {
            summary: "Renew it.",
            handler: (context, { lease_id, url_lease_id, increment }) =>
              renew(context, lease_id || url_lease_id, increment),
          },
        },
      }),
    ),
    ...patterns.map((pattern) =>
      definePrivilegedPath(`${pattern}/:url_lease_id*`, {
        summary: "Prolongs a lease.",
        fields: leaseFields,
        operations: {
          update: {
            summary: "Renew it.",
            handler: (context, values) => renew(context, lastOf(context, pattern), values.increment),
          },
        },
      }),
    ),
  ];
}

/** The lease id in a path, whose own slashes the pattern must not touch. */
function lastOf(context: PrivilegedContext, pattern: string): string {
  return context.path.slice(pattern.length + 1);
}

/** Leaves leases to the background, which ends them through their backends and tries again when that fails. */
function revokeLater(view: Transaction, prefix: string, options: { force: boolean; nowSeconds: number }): Reply {
  if (options.force) putJob(view, { kind: "force", target: prefix });
  else putJob(view, { kind: "expire", target: prefix, beforeSeconds: options.nowSeconds });
  return { status: 202 };
}

/** Between two looks whether the background is done, and how often one looks: a minute in all, less than requests have. */
const LOOK_MILLIS = 100;
const LOOKS_MAX = 600;

async function revokeBelow(
  context: PrivilegedContext,
  services: SysServices,
  prefix: string,
  { force, sync }: { force: boolean; sync: boolean },
): Promise<Reply> {
  const { transaction } = context;
  if (!sync) return revokeLater(transaction, prefix, { force, nowSeconds: services.tokens.nowSeconds() });
  const isDone = await services.expiration.revokePrefix(transaction, prefix, { force });
  const namespace = namespaceIdOf(transaction);
  return isDone ? noContent : { awaited: () => untilEnded(services, namespace, prefix) };
}

/** Waits for the job that is left of a revocation; says so when it takes longer than a client waits. */
async function untilEnded({ barrier, clock }: SysServices, namespace: string, prefix: string): Promise<Reply> {
  for (let looks = 0; looks < LOOKS_MAX; looks++) {
    const left = await leaseIdsBelow(namespaceView(barrier.begin(), namespace), prefix, 1);
    if (left.length === 0) return noContent;
    await clock.sleep(LOOK_MILLIS);
  }
  const warnings = ["The leases are being ended in the background; sys/leases/jobs says how far it is."];
  return { status: 202, warnings };
}

function revokePaths(services: SysServices) {
  const revoke = async (context: PrivilegedContext, leaseId: string, sync: boolean): Promise<Reply> => {
    if (leaseId === "") throw new CofferError("invalid_request", "lease_id must be specified");
    const view = await viewOfLease(context, leaseId);
    if (!sync) return revokeLater(view, leaseId, { force: false, nowSeconds: services.tokens.nowSeconds() });
    if ((await services.expiration.end(view, leaseId)) === "busy") throw busy(leaseId);
    return noContent;
  };
  const byPrefix = (pattern: string, force: boolean) =>
    definePrivilegedPath(`${pattern}/:prefix*`, {
      summary: force ? "Ends leases even where their backend fails." : "Ends all leases below a prefix.",
      access: "sudo",
      fields: { sync: leaseFields.sync },
      operations: {
        update: {
          summary: "Revoke them.",
          handler: async (context, { sync }) => {
            const prefix = lastOf(context, pattern);
            return revokeBelow(context, services, prefix.endsWith("/") ? prefix : `${prefix}/`, { force, sync });
          },
        },
      },
    });
  return [
    byPrefix("leases/revoke-prefix", false),
    byPrefix("revoke-prefix", false),
    byPrefix("leases/revoke-force", true),
    byPrefix("revoke-force", true),
    ...["leases/revoke", "revoke"].flatMap((pattern) => [
      definePrivilegedPath(pattern, {
        summary: "Ends a lease.",
        fields: leaseFields,
        operations: {
          update: {
            summary: "Revoke it.",
            handler: (context, { lease_id, url_lease_id, sync }) => revoke(context, lease_id || url_lease_id, sync),
          },
        },
      }),
      definePrivilegedPath(`${pattern}/:url_lease_id*`, {
        summary: "Ends a lease.",
        fields: leaseFields,
        operations: {
          update: {
            summary: "Revoke it.",
            handler: (context, { sync }) => revoke(context, lastOf(context, pattern), sync),
          },
        },
      }),
    ]),
  ];
}
