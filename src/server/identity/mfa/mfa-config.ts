// Methods and enforcements in storage.
import type { Transaction } from "../../barrier/transaction.ts";
import {
  ENFORCEMENTS_KEY,
  type Enforcement,
  enforcementsKind,
  METHOD_PREFIX,
  type Method,
  methodKey,
  methodKind,
  methodNameKey,
  methodPointerKind,
} from "./mfa-records.ts";

/** Methods that one list shows. */
export const METHODS_MAX = 10_000;

export function readMethod(tx: Transaction, id: string): Promise<Method | undefined> {
  return tx.read(methodKind, methodKey(id));
}

/** A method by its id or its name. */
export async function methodOfHandle(tx: Transaction, handle: string): Promise<Method | undefined> {
  if (handle === "") return undefined;
  const byId = await readMethod(tx, handle);
  if (byId) return byId;
  const pointer = await tx.read(methodPointerKind, methodNameKey(handle));
  return pointer && readMethod(tx, pointer.id);
}

export async function allMethods(tx: Transaction): Promise<readonly Method[]> {
  const ids = (await tx.list(METHOD_PREFIX, { limit: METHODS_MAX })).map(decodeURIComponent);
  await tx.prefetch(ids.map(methodKey));
  const methods = await Promise.all(ids.map((id) => readMethod(tx, id)));
  return methods.filter((method) => method !== undefined);
}

export async function readEnforcements(tx: Transaction): Promise<readonly Enforcement[]> {
  return (await tx.read(enforcementsKind, ENFORCEMENTS_KEY))?.enforcements ?? [];
}

export function writeEnforcements(tx: Transaction, enforcements: readonly Enforcement[]): void {
  tx.write(enforcementsKind, ENFORCEMENTS_KEY, { enforcements });
}
