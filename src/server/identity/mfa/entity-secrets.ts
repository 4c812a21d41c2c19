// What becomes of the keys of authenticator apps when their entity ends: they go with it, or to the entity that it is
// merged into.
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { attemptsKey, attemptsKind, METHOD_PREFIX, secretKey, secretKind } from "./mfa-records.ts";

/** Methods are configuration: some handful. */
const METHODS_MAX = 1_000;

async function methodIds(tx: Transaction): Promise<readonly string[]> {
  const names = await tx.list(METHOD_PREFIX, { limit: METHODS_MAX });
  return names.map(decodeURIComponent);
}

/** Takes away all keys of these entities. */
export async function dropSecrets(tx: Transaction, entityIds: readonly string[]): Promise<void> {
  for (const method of await methodIds(tx)) {
    for (const entity of entityIds) {
      tx.delete(secretKey(method, entity));
      tx.delete(attemptsKey(method, entity));
    }
  }
}

/**
 * Hands the keys of one entity to another. Where both have one of the same method the other keeps its own with `force`;
 * throws `invalid_request` without.
 */
export async function moveSecrets(tx: Transaction, from: string, to: string, force: boolean): Promise<void> {
  for (const method of await methodIds(tx)) {
    const secret = await tx.read(secretKind, secretKey(method, from));
    if (!secret) continue;
    if (await tx.read(secretKind, secretKey(method, to))) {
      if (!force) throw conflict(method, from);
      continue;
    }
    tx.write(secretKind, secretKey(method, to), secret);
    const attempts = await tx.read(attemptsKind, attemptsKey(method, from));
    if (attempts) tx.write(attemptsKind, attemptsKey(method, to), attempts);
  }
  await dropSecrets(tx, [from]);
}

function conflict(method: string, entity: string): CofferError {
  return new CofferError(
    "invalid_request",
    `conflicting MFA config ID ${JSON.stringify(method)} in entity ID ${JSON.stringify(entity)}; ` +
      "with force the entity that stays keeps its own",
  );
}
