// The shares of a rekey as they were handed out, kept for whoever loses the answer: only ever encrypted to the people
// they are for. Until somebody deletes them, or the next rekey with a backup takes their place.
//
//   core/share-backup/<noun>   ShareBackup
import { type Infer, list, object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

const backupSchema = object({
  nonce: string,
  /** An OpenPGP message each, base64, and the fingerprint of whose key it is encrypted to. */
  shares: list(object({ fingerprint: string, share: string })),
});
export type ShareBackup = Infer<typeof backupSchema>;
const backupKind = recordKind("share-backup", backupSchema);

type Noun = "barrier" | "recovery" | "emergency";

function keyOf(noun: Noun): string {
  return `core/share-backup/${noun}`;
}

/** The kept shares, or undefined. */
export function readShareBackup(tx: Transaction, noun: Noun): Promise<ShareBackup | undefined> {
  return tx.read(backupKind, keyOf(noun));
}

export function writeShareBackup(tx: Transaction, noun: Noun, backup: ShareBackup): void {
  tx.write(backupKind, keyOf(noun), backup);
}

export function deleteShareBackup(tx: Transaction, noun: Noun): void {
  tx.delete(keyOf(noun));
}
