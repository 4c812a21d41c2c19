// An intent: something that a request makes outside of the server, written before it is made and removed by the commit
// of the request. What is left when its time has come is undone by the sweep. One record each, in the namespace of its
// mount, and beside it a key in one of two indexes that all namespaces share, so that the sweep reads only what is due.
//
//   core/journal/<intent id>                             IntentRecord; the id begins with the mount's uuid
//   core/journal-due/<unix seconds, 12 digits>/<id>      { id, namespace }
//   core/journal-stuck/<namespace's id, or root>/<id>    { id, namespace }: what nothing tries to undo any more
import { randomBytes } from "node:crypto";
import { boolean, type Infer, jsonObject, number, object, optional, string, withDefault } from "#common/schema.ts";
import { recordKind } from "../barrier/transaction.ts";
import { claimSchema } from "../leases/claim.ts";

const intentSchema = object({
  id: string,
  mountPath: string,
  mountUuid: string,
  mountAccessor: string,
  /** Name of an effect of the backend. */
  kind: string,
  /** What undoing needs; never shown. */
  data: jsonObject,
  createdSeconds: number,
  /** When the sweep is to see to it; 0: never again by itself. */
  dueSeconds: number,
  /** Who made the effect has said that it is over; else somebody may still be about to make it. */
  settled: boolean,
  /** It was undone then, and is undone once more because it was not settled. */
  undoneSeconds: optional(number),
  /** Failed attempts to undo it, and what the last one said. */
  attempts: number,
  lastError: optional(string),
  claim: optional(claimSchema),
});
export type IntentRecord = Infer<typeof intentSchema>;
export const intentKind = recordKind("intent", intentSchema);

/** `namespace`: id of the one whose intent it is; left out for the root namespace. */
export const intentReferenceKind = recordKind(
  "intent reference",
  object({ id: string, namespace: withDefault(string, "") }),
);

export const JOURNAL_PREFIX = "core/journal/";
export const DUE_PREFIX = "core/journal-due/";
export const STUCK_PREFIX = "core/journal-stuck/";

export function newIntentId(mountUuid: string): string {
  return `${mountUuid}-${randomBytes(8).toString("hex")}`;
}

export function intentKey(id: string): string {
  return JOURNAL_PREFIX + id;
}

/** What the keys of a mount's intents begin with. */
export function intentPrefix(mountUuid: string): string {
  return `${JOURNAL_PREFIX}${mountUuid}-`;
}

/** All keys of intents that are due before this second sort below it. */
export function dueBucket(seconds: number): string {
  return DUE_PREFIX + String(seconds).padStart(12, "0");
}

/** Where an intent stands beside its record. */
export function indexKey({ id, dueSeconds }: Pick<IntentRecord, "id" | "dueSeconds">, namespace: string): string {
  return dueSeconds > 0 ? `${dueBucket(dueSeconds)}/${id}` : stuckPrefix(namespace) + id;
}

/** What the keys of a namespace's stuck intents begin with. */
export function stuckPrefix(namespace: string): string {
  return `${STUCK_PREFIX}${namespace || "root"}/`;
}

export function isStuck({ dueSeconds }: Pick<IntentRecord, "dueSeconds">): boolean {
  return dueSeconds === 0;
}
