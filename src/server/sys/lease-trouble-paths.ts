// sys/leases: what an administrator sees to. Leases that could not be ended, with their cause; trying them again; how
// far the jobs are that end leases in the background. Leases of one's own: lease-paths.ts.
import { CofferError, messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply } from "../framework/reply.ts";
import type { LeaseRecord } from "../leases/lease-record.ts";
import { irrevocablePage } from "../leases/lease-store.ts";
import { listJobs, readJob } from "../leases/revocation-job.ts";
import { listMounts, readEndedMount } from "../mounts/mount-table.ts";
import { isWithin, namespaceOfText, pathOfNamespace } from "../namespaces/namespace-scope.ts";
import { listDescendants, readNamespace } from "../namespaces/namespace-store.ts";
import { namespaceIdOf, namespaceView } from "../namespaces/namespace-transaction.ts";
import type { SysServices } from "./services.ts";

/** Leases that one answer tells of: what clients of Vault get at most without asking for more. */
const SHOWN_MAX = 10_000;
const PAGE = 500;
/** Jobs that one answer tells of. */
const JOBS_MAX = 1_000;
/** What leases are counted under whose mount is gone with all its data. */
const GONE = "deleted mount";

const typeFields = {
  type: withDefault(field.text('Which leases; "irrevocable" are those that could not be ended.'), ""),
  include_child_namespaces: withDefault(field.flag("Those of the namespaces below as well."), false),
};
const listFields = {
  ...typeFields,
  limit: withDefault(field.text("How many leases to show, or none for as many as one answer holds."), ""),
};

export function leaseTroublePaths(services: SysServices) {
  return [...irrevocablePaths(), retryPath(services), jobsPath(), tidyPath()];
}

function irrevocablePaths() {
  return [
    definePrivilegedPath("leases", {
      summary: "Leases that could not be ended, with the cause.",
      access: "sudo",
      fields: listFields,
      operations: {
        read: {
          summary: "Show them.",
          handler: async (context, { type, include_child_namespaces, limit }) => {
            assertType(type);
            const max = shownMax(limit);
            const found = await gather(context, include_child_namespaces, max);
            const warnings =
              found.count > found.leases.length ? [`Only the first ${max} of ${found.count} leases are shown.`] : [];
            return { ...dataReply({ lease_count: found.count, leases: found.leases }), warnings };
          },
        },
      },
    }),
    definePrivilegedPath("leases/count", {
      summary: "How many leases could not be ended, by the mounts that issued them.",
      fields: typeFields,
      operations: {
        read: {
          summary: "Count them.",
          handler: async (context, { type, include_child_namespaces }) => {
            assertType(type);
            const { count, counts } = await gather(context, include_child_namespaces, 0);
            return dataReply({ lease_count: count, counts });
          },
        },
      },
    }),
  ];
}

function assertType(type: string): void {
  if (type.toLowerCase() !== "irrevocable")
    throw new CofferError("invalid_request", "unknown type of leases; send type=irrevocable (the only one there is)");
}

function shownMax(limit: string): number {
  if (limit === "" || limit === "none") return SHOWN_MAX;
  const wanted = Number(limit);
  if (!Number.isInteger(wanted) || wanted < 1)
    throw new CofferError("invalid_request", 'limit must be a whole number above 0, or "none"');
  return Math.min(wanted, SHOWN_MAX);
}

interface Gathered {
  count: number;
  /** By the accessors of mounts. */
  readonly counts: Record<string, number>;
  readonly leases: JsonObject[];
}

async function gather(context: PrivilegedContext, below: boolean, max: number): Promise<Gathered> {
  const found: Gathered = { count: 0, counts: {}, leases: [] };
  await gatherIn(context.transaction, found, max);
  if (!below) return found;
  const whole = namespaceView(context.transaction, "");
  const { path } = context.scope;
  for (let after: string | undefined; ; ) {
    const names = await listDescendants(whole, path, { limit: PAGE, ...(after !== undefined && { after }) });
    for (const name of names) {
      const namespace = await readNamespace(whole, path + name);
      if (namespace) await gatherIn(namespaceView(whole, namespace.id), found, max);
    }
    after = names.at(-1);
    if (after === undefined) return found;
  }
}

async function gatherIn(view: Transaction, found: Gathered, max: number): Promise<void> {
  const accessorOf = await accessors(view);
  for (let after: string | undefined; ; ) {
    const page = await irrevocablePage(view, PAGE, after);
    for (const lease of page.leases) {
      const accessor = await accessorOf(lease);
      found.count++;
      found.counts[accessor] = (found.counts[accessor] ?? 0) + 1;
      if (found.leases.length < max) found.leases.push(shown(view, lease, accessor));
    }
    after = page.after;
    if (after === undefined) return;
  }
}

function shown(view: Transaction, lease: LeaseRecord, accessor: string): JsonObject {
  return {
    lease_id: lease.leaseId,
    error: lease.lastError ?? "",
    attempts: lease.attempts ?? 0,
    mount_accessor: accessor,
    namespace_id: namespaceIdOf(view) || "root",
    path: lease.path,
  };
}

/** Answers a lease's mount by its accessor, a disabled mount's too. */
async function accessors(view: Transaction): Promise<(lease: LeaseRecord) => Promise<string>> {
  let mounts: Awaited<ReturnType<typeof listMounts>> | undefined;
  return async ({ secret, path }) => {
    mounts ??= await listMounts(view);
    const mounted = mounts.find((mount) => (secret ? mount.uuid === secret.mountUuid : path.startsWith(mount.path)));
    return (mounted ?? (secret && (await readEndedMount(view, secret.mountUuid))))?.accessor ?? GONE;
  };
}

function retryPath({ expiration }: SysServices) {
  return definePrivilegedPath("leases/retry", {
    summary: "Tries again to end leases that could not be ended.",
    access: "sudo",
    fields: { lease_id: withDefault(field.text("The lease; without one, all of the namespace."), "") },
    operations: {
      update: {
        summary: "Try again.",
        handler: async (context, { lease_id }) => {
          const { transaction, scope } = context;
          const namespace = namespaceOfText(lease_id);
          const isBelow = namespace !== "" && (await isWithin(transaction, namespace, scope));
          const view = isBelow ? namespaceView(transaction, namespace) : transaction;
          const { retried, more } = await expiration.retryIrrevocable(view, lease_id);
          if (lease_id !== "" && retried === 0)
            throw new CofferError("invalid_request", "lease_id is none of a lease that could not be ended");
          const warnings = more ? ["There may be more; send the request again until retried is 0."] : [];
          return { ...dataReply({ retried }), warnings, status: 202 };
        },
      },
    },
  });
}

function jobsPath() {
  return definePrivilegedPath("leases/jobs", {
    summary: "What is being ended in the background, and how far it is.",
    access: "sudo",
    operations: {
      read: { summary: "Show the jobs.", handler: async (context) => dataReply(await shownJobs(context)) },
    },
  });
}

async function shownJobs({ transaction, scope }: PrivilegedContext): Promise<JsonObject> {
  const jobs: Record<string, JsonObject> = {};
  let seen = 0;
  for (let after: string | undefined; seen < JOBS_MAX; ) {
    const ids = await listJobs(transaction, after);
    for (const id of ids) {
      const job = await shownJob(transaction, id, scope);
      if (job) jobs[id] = job;
    }
    seen += ids.length;
    after = ids.at(-1);
    if (after === undefined) break;
  }
  return jobs;
}

/** Undefined for one that is done by now, or of another namespace. One that cannot be read must not hide the others. */
async function shownJob(
  tx: Transaction,
  id: string,
  scope: PrivilegedContext["scope"],
): Promise<JsonObject | undefined> {
  try {
    const job = await readJob(tx, id);
    if (!job || !(await isWithin(tx, job.namespace, scope))) return undefined;
    const { kind, target, namespace, done = 0, startedSeconds } = job;
    const started = startedSeconds === undefined ? null : new Date(startedSeconds * 1000).toISOString();
    return { kind, target, done, started, namespace_path: (await pathOfNamespace(tx, namespace)) ?? namespace };
  } catch (error) {
    return scope.id === "" ? { kind: "unreadable", error: messageOf(error) } : undefined;
  }
}

function tidyPath() {
  return definePrivilegedPath("leases/tidy", {
    summary: "Kept for clients: index entries cannot outlive their lease here.",
    operations: {
      update: {
        summary: "Tidy.",
        handler: () => ({
          status: 202,
          warnings: ["Leases and their index entries are written in one commit; there is nothing to tidy."],
        }),
      },
    },
  });
}
