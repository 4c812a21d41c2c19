// Removal of secret ids that ended, and of those that roles left behind. One call does a bounded part of the work in
// its transaction and says when there is more: nothing runs on behind the answer.
import type { Millis } from "#common/clock.ts";
import type { StorageView } from "../../barrier/transaction.ts";
import type { Context } from "../../framework/context.ts";
import { definePath } from "../../framework/path.ts";
import type { Reply } from "../../framework/reply.ts";
import {
  accessorFolder,
  deleteSecret,
  EXPIRY_FOLDER,
  parseExpiryName,
  REMOVED_FOLDER,
  readSecret,
  secretKey,
  secretOfAccessor,
} from "./records.ts";

/** Secret ids removed in one transaction: it has some three keys for each, and storages limit a commit's size. */
export const TIDY_BATCH = 500;

export const tidyPath = definePath("tidy/secret-id", {
  summary: "Removal of secret ids that ended.",
  operations: { update: { summary: "Remove them.", handler: tidy } },
});

async function tidy({ storage, clock }: Context): Promise<Reply> {
  const ended = await removeEnded(storage, clock.now(), TIDY_BATCH);
  const left = TIDY_BATCH - ended;
  const done = left > 0 && (await removeLeftBehind(storage, left));
  const outcome = done ? "Nothing is left to remove." : "There is more to remove: run tidy again.";
  return { status: 202, warnings: [`Tidy operation finished. ${outcome}`] };
}

/** Removes at most `limit` that are over; answers how many it looked at. */
async function removeEnded(storage: StorageView, now: Millis, limit: number): Promise<number> {
  const names = await storage.list(EXPIRY_FOLDER, { limit });
  const ended = names.map((name) => ({ name, ...parseExpiryName(name) })).filter(({ expires }) => expires <= now);
  await storage.prefetch(ended.map(({ uid, hmac }) => secretKey(uid, hmac)));
  for (const { name, uid, hmac } of ended) {
    const secret = await readSecret(storage, uid, hmac);
    if (secret !== undefined) deleteSecret(storage, uid, hmac, secret);
    storage.delete(EXPIRY_FOLDER + name);
  }
  return ended.length;
}

/** Secret ids of deleted roles; true when none are left. */
async function removeLeftBehind(storage: StorageView, limit: number): Promise<boolean> {
  const [uid, another] = await storage.list(REMOVED_FOLDER, { limit: 2 });
  if (uid === undefined) return true;
  if (!(await purgeSecrets(storage, uid, limit))) return false;
  storage.delete(REMOVED_FOLDER + uid);
  return another === undefined;
}

/** Removes at most `limit` secret ids of a role; true when none are left. */
export async function purgeSecrets(storage: StorageView, uid: string, limit = TIDY_BATCH): Promise<boolean> {
  const folder = accessorFolder(uid);
  const accessors = await storage.list(folder, { limit: limit + 1 });
  const batch = accessors.slice(0, limit);
  await storage.prefetch(batch.map((accessor) => folder + accessor));
  const hmacs: string[] = [];
  for (const accessor of batch) hmacs.push((await secretOfAccessor(storage, uid, accessor)) ?? "");
  await storage.prefetch(hmacs.map((hmac) => secretKey(uid, hmac)));
  for (const [i, accessor] of batch.entries()) {
    const secret = await readSecret(storage, uid, hmacs[i] ?? "");
    if (secret !== undefined) deleteSecret(storage, uid, hmacs[i] ?? "", secret);
    storage.delete(folder + accessor);
  }
  return accessors.length <= limit;
}
