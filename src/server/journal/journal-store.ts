// Intents in storage. Every function works inside the caller's transaction, of the intent's namespace; the record and
// its index key belong together and are written nowhere else.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { namespaceIdOf } from "../namespaces/namespace-transaction.ts";
import type { Page } from "../storage/storage.ts";
import {
  DUE_PREFIX,
  type IntentRecord,
  indexKey,
  intentKey,
  intentKind,
  intentReferenceKind,
  isStuck,
  JOURNAL_PREFIX,
  STUCK_PREFIX,
  stuckPrefix,
} from "./intent-record.ts";

export function readIntent(tx: Transaction, id: string): Promise<IntentRecord | undefined> {
  return tx.read(intentKind, intentKey(id));
}

export function putIntent(tx: Transaction, intent: IntentRecord): void {
  tx.write(intentKind, intentKey(intent.id), intent);
  const namespace = namespaceIdOf(tx);
  tx.write(intentReferenceKind, indexKey(intent, namespace), { id: intent.id, namespace });
}

/** Another time for it; other members may change too, but not what it is. */
export function moveIntent(tx: Transaction, before: IntentRecord, after: IntentRecord): void {
  tx.delete(indexKey(before, namespaceIdOf(tx)));
  putIntent(tx, after);
}

export function deleteIntent(tx: Transaction, intent: Pick<IntentRecord, "id" | "dueSeconds">): void {
  tx.delete(intentKey(intent.id));
  tx.delete(indexKey(intent, namespaceIdOf(tx)));
}

/** Ids of the namespace's intents, in their order. */
export function listIntents(tx: Transaction, page: Page): Promise<readonly string[]> {
  return tx.list(JOURNAL_PREFIX, page);
}

/** Stuck intents of the namespace are tried again now: this one, or a slice of all of them. Answers how many. */
export async function retryIntents(
  tx: Transaction,
  nowSeconds: number,
  { id, limit }: { readonly id: string; readonly limit: number },
): Promise<number> {
  const ids = id === "" ? await tx.list(stuckPrefix(namespaceIdOf(tx)), { limit }) : [id];
  let retried = 0;
  for (const each of ids) {
    const intent = await readIntent(tx, each);
    if (!intent || !isStuck(intent)) continue;
    moveIntent(tx, intent, { ...intent, attempts: 0, dueSeconds: nowSeconds });
    retried++;
  }
  return retried;
}

/** Forgets an intent: what it stands for may live on. Throws `not_found`. */
export async function forgetIntent(tx: Transaction, id: string): Promise<IntentRecord> {
  const intent = await readIntent(tx, id);
  if (!intent) throw new CofferError("not_found", "there is no such entry of the journal");
  deleteIntent(tx, intent);
  return intent;
}

/** Counting stops here: beyond, only "that many or more" matters to anybody. */
export const COUNT_MAX = 10_000;

/** How many are waiting and how many are stuck in all namespaces, up to COUNT_MAX each. */
export async function countIntents(whole: Transaction): Promise<{ waiting: number; stuck: number }> {
  const count = async (prefix: string) =>
    (await whole.scan({ from: prefix, to: `${prefix}\u{10ffff}`, limit: COUNT_MAX })).length;
  return { waiting: await count(DUE_PREFIX), stuck: await count(STUCK_PREFIX) };
}
