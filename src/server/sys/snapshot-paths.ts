// Snapshots of all that the storage holds: sys/storage/snapshot, and the paths under sys/storage/raft that clients of
// Vault know, which do the same whatever the storage is. What a snapshot is stands in snapshot/format.ts.
import { CofferError, messageOf } from "#common/errors.ts";
import { formatTime } from "#common/rfc3339.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import type { Reply } from "../framework/reply.ts";
import { assertSnapshotName } from "../snapshot/destination.ts";
import { readSchedule, type ScheduleRecord } from "../snapshot/schedule-record.ts";
import { isFailing } from "../snapshot/scheduler.ts";
import type { SysServices } from "./services.ts";

const CONTENT_TYPE = "application/gzip";

export function snapshotPaths(services: Pick<SysServices, "snapshots">) {
  return [
    ...["storage/snapshot", "storage/raft/snapshot"].map((pattern) => snapshotPath(pattern, services)),
    ...["storage/snapshot-force", "storage/raft/snapshot-force"].map((pattern) => forcePath(pattern, services)),
    verifyPath(services),
    statusPath(services),
    storedPath(services),
  ];
}

function snapshotPath(pattern: string, { snapshots }: Pick<SysServices, "snapshots">) {
  return definePrivilegedPath(pattern, {
    summary: "A snapshot of everything: take it, or put one of this store back.",
    description:
      "Reading it gives all entries of one instant, as they are stored (ciphertext), as gzip. Writing one back replaces " +
      "everything; it must have been made under this store's keys. Needs sudo to write. The body is the snapshot itself.",
    rootOnly: true,
    takesStream: true,
    operations: {
      read: {
        summary: "Take one.",
        handler: () => ({ download: { contentType: CONTENT_TYPE, open: async () => (await snapshots.take()).bytes } }),
      },
      update: { summary: "Restore one.", handler: (context) => restore(context, { snapshots }, false) },
    },
  });
}

function forcePath(pattern: string, { snapshots }: Pick<SysServices, "snapshots">) {
  return definePrivilegedPath(pattern, {
    summary: "Puts a snapshot of another cluster in the place of everything, its keys included.",
    description:
      "Afterwards the store opens by the seals that the snapshot was made under: a server whose seals do not open it " +
      "stays sealed. Needs sudo. The body is the snapshot itself.",
    rootOnly: true,
    takesStream: true,
    operations: { update: { summary: "Restore one.", handler: (context) => restore(context, { snapshots }, true) } },
  });
}

async function restore(
  context: PrivilegedContext,
  { snapshots }: Pick<SysServices, "snapshots">,
  isForced: boolean,
): Promise<Reply> {
  const prepared = await snapshots.restorer.receive(bodyOf(context), isForced);
  // No content, as clients expect; what ends the server's ability to commit comes when everything else is done.
  return { afterwards: () => snapshots.restorer.apply(prepared) };
}

function verifyPath({ snapshots }: Pick<SysServices, "snapshots">) {
  return definePrivilegedPath("storage/snapshot-verify", {
    summary: "Tries a snapshot: restores it to a scratch store and opens every value. Changes nothing.",
    description: "Needs sudo. The body is the snapshot itself.",
    rootOnly: true,
    takesStream: true,
    operations: {
      update: {
        summary: "Try one.",
        handler: async (context) => {
          const { seals, ...found } = await snapshots.verify(bodyOf(context).bytes);
          return { data: { ...found, seals: { ...seals } } };
        },
      },
    },
  });
}

function statusPath({ snapshots }: Pick<SysServices, "snapshots">) {
  return definePrivilegedPath("storage/snapshot-status", {
    summary: "How the scheduled snapshots go, and which are stored.",
    access: "sudo",
    rootOnly: true,
    operations: {
      read: {
        summary: "Show it.",
        handler: async ({ transaction }) => {
          const { scheduler } = snapshots;
          if (!scheduler) return { data: { scheduled: false } };
          const record = await readSchedule(transaction);
          const destination = await scheduler.destination();
          const { intervalMillis, retain } = scheduler.stanza;
          const [names, trouble] = await destination.list().then(
            (found) => [found, ""] as const,
            (error: unknown) => [[], messageOf(error)] as const,
          );
          return {
            data: {
              ...{ scheduled: true, destination: destination.place, interval: intervalMillis / 1000, retain },
              ...{ failing: isFailing(record), stored: names, destination_error: trouble },
              last_success: shownOutcome(record.success),
              last_failure: shownOutcome(record.failure),
              last_verified: shownOutcome(record.verified),
              last_verify_failure: shownOutcome(record.verifyFailure),
            },
          };
        },
      },
    },
  });
}

function storedPath({ snapshots }: Pick<SysServices, "snapshots">) {
  return definePrivilegedPath("storage/snapshot-stored/:name/verify", {
    summary: "Tries a stored snapshot: restores it to a scratch store and opens every value. Changes nothing.",
    access: "sudo",
    rootOnly: true,
    // There is no body; what takes a stream has no deadline, and a trial takes as long as the snapshot is large.
    takesStream: true,
    operations: {
      update: {
        summary: "Try it.",
        handler: async (_context, { name }) => {
          if (!snapshots.scheduler)
            throw new CofferError(
              "invalid_request",
              "no snapshots are scheduled: the configuration has no snapshots stanza",
            );
          assertSnapshotName(name);
          const { entries, decrypted, seals } = await snapshots.scheduler.verify(name);
          return { data: { name, entries, decrypted, seals: { ...seals } } };
        },
      },
    },
  });
}

function shownOutcome(outcome: ScheduleRecord["success"]) {
  if (outcome === undefined) return null;
  const { at, name = "", entries = 0, message = "" } = outcome;
  return { time: formatTime(at), name, entries, error: message };
}

function bodyOf({ bodyStream, hasSudo }: PrivilegedContext) {
  if (!hasSudo) throw new CofferError("permission_denied", "permission denied");
  if (!bodyStream) throw new CofferError("invalid_request", "the body must be a snapshot");
  return bodyStream;
}
