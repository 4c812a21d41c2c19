// sys/journal: what the namespace's engines have made, or were about to make, outside of the server for requests that
// did not commit, until it is undone. Shows where and how far, never what: an entry's data is the engine's own.
import type { JsonObject } from "#common/json.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePrivilegedPath } from "../framework/path.ts";
import { dataReply, noContent } from "../framework/reply.ts";
import { type IntentRecord, isStuck } from "../journal/intent-record.ts";
import { forgetIntent, listIntents, readIntent, retryIntents } from "../journal/journal-store.ts";
import { isHeld } from "../leases/claim.ts";
import type { SysServices } from "./services.ts";

/** Entries that one request tries again. */
const RETRY_MAX = 200;

export function journalPaths({ expiration, log }: SysServices) {
  return [listPath(expiration), retryPath(expiration), entryPath(expiration, log)];
}

type Time = Pick<SysServices["expiration"], "nowSeconds">;

function listPath(time: Time) {
  return definePrivilegedPath("journal", {
    summary: "What was made outside and is not settled, by the ids of the entries.",
    access: "sudo",
    operations: {
      list: {
        summary: "List it.",
        handler: async ({ transaction, page }) => {
          const keys = await listIntents(transaction, page);
          const info: Record<string, JsonObject> = {};
          for (const id of keys) {
            const intent = await readIntent(transaction, id);
            if (intent) info[id] = shown(intent, time.nowSeconds());
          }
          return keys.length === 0 ? undefined : dataReply({ keys, key_info: info });
        },
      },
    },
  });
}

function retryPath(time: Time) {
  return definePrivilegedPath("journal/retry", {
    summary: "Tries again to undo what could not be undone.",
    access: "sudo",
    fields: { id: withDefault(field.text("The entry; without one, all of the namespace that are stuck."), "") },
    operations: {
      update: {
        summary: "Try again.",
        handler: async ({ transaction }, { id }) => {
          const retried = await retryIntents(transaction, time.nowSeconds(), { id, limit: RETRY_MAX });
          if (id !== "" && retried === 0) return undefined;
          const more = retried === RETRY_MAX ? ["There may be more; send the request again until retried is 0."] : [];
          return { ...dataReply({ retried }, more), status: 202 };
        },
      },
    },
  });
}

function entryPath(time: Time, log: SysServices["log"]) {
  return definePrivilegedPath("journal/:id", {
    summary: "An entry of the journal.",
    access: "sudo",
    operations: {
      read: {
        summary: "Show it.",
        handler: async ({ transaction }, { id }) => {
          const intent = await readIntent(transaction, id);
          return intent && dataReply({ id, ...shown(intent, time.nowSeconds()) });
        },
      },
      delete: {
        summary: "Forget it without undoing it: what was made may live on.",
        handler: async ({ transaction }, { id }) => {
          const { mountPath: mount, kind } = await forgetIntent(transaction, id);
          log.warn("an entry of the journal is forgotten; what it stood for may live on", { id, mount, kind });
          return noContent;
        },
      },
    },
  });
}

function shown(intent: IntentRecord, nowSeconds: number): JsonObject {
  return {
    mount_path: intent.mountPath,
    mount_accessor: intent.mountAccessor,
    kind: intent.kind,
    state: stateOf(intent, nowSeconds),
    created_time: time(intent.createdSeconds),
    age: Math.max(nowSeconds - intent.createdSeconds, 0),
    due_time: isStuck(intent) ? null : time(intent.dueSeconds),
    attempts: intent.attempts,
    error: intent.lastError ?? "",
  };
}

/** As docs/guides/journal.md explains them. */
function stateOf(intent: IntentRecord, nowSeconds: number): string {
  if (isStuck(intent)) return "stuck";
  if (isHeld(intent.claim, nowSeconds)) return "undoing";
  if (intent.undoneSeconds !== undefined) return "confirming";
  if (intent.attempts > 0) return "retrying";
  return intent.dueSeconds > nowSeconds ? "open" : "due";
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
