// Response wrapping: an answer is kept in the cubbyhole of a token that can be used once, and the token is sent in its
// place. Whoever holds the token fetches the answer; a second fetch fails, which tells that somebody else was first.

import { CofferError } from "#common/errors.ts";
import { object, optional, string } from "#common/schema.ts";
import { storageView } from "../barrier/storage-view.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import { mountStoragePrefix } from "../mounts/mount-record.ts";
import { findMount } from "../mounts/mount-table.ts";
import { findToken } from "../tokens/reachable-token.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { TokenService } from "../tokens/token-service.ts";

/** The policy of wrapping tokens: their own cubbyhole and unwrap. */
export const WRAPPING_POLICY = "response-wrapping";

const wrappedKind = recordKind("wrapped answer", object({ response: string, wrappedAccessor: optional(string) }));

export interface Wrapped {
  readonly token: string;
  readonly record: TokenRecord;
}

/** Keeps an answer (JSON text) for `ttlSeconds`. */
export async function wrapAnswer(
  tx: Transaction,
  tokens: TokenService,
  wanted: { answer: string; path: string; ttlSeconds: number; wrappedAccessor?: string },
): Promise<Wrapped> {
  const { token, record } = await tokens.create(tx, {
    type: "service",
    parent: "",
    policies: [WRAPPING_POLICY],
    boundaries: [],
    path: wanted.path,
    displayName: "",
    numUses: 1,
    ttlSeconds: wanted.ttlSeconds,
    explicitMaxTtlSeconds: wanted.ttlSeconds,
    maxTtlSeconds: wanted.ttlSeconds,
    periodSeconds: 0,
    renewable: false,
    role: "",
    entityId: "",
    boundCidrs: [],
    wrappedPath: wanted.path,
  });
  const { view, key } = await cubbyhole(tx, record);
  view.write(wrappedKind, key, {
    response: wanted.answer,
    ...(wanted.wrappedAccessor !== undefined && { wrappedAccessor: wanted.wrappedAccessor }),
  });
  return { token, record };
}

/** The wrapping token of this text. Throws `invalid_request` when it is none, was used or has expired. */
export async function findWrapped(
  context: Pick<PrivilegedContext, "transaction" | "scope" | "clientToken">,
  tokens: TokenService,
  token: string,
): Promise<TokenRecord> {
  const record = await findToken(context, tokens, token);
  if (!record || record.wrappedPath === undefined) {
    throw new CofferError("invalid_request", "wrapping token is not valid or does not exist");
  }
  return record;
}

/** The answer that a wrapping token holds; the caller revokes the token in the same transaction. */
export async function readWrapped(tx: Transaction, record: TokenRecord): Promise<string> {
  const { view, key } = await cubbyhole(tx, record);
  const wrapped = await view.read(wrappedKind, key);
  if (!wrapped) throw new CofferError("invalid_request", "wrapping token is not valid or does not exist");
  return wrapped.response;
}

async function cubbyhole(tx: Transaction, record: TokenRecord) {
  const mount = await findMount(tx, "cubbyhole/");
  if (!mount) throw new Error("there is no cubbyhole");
  return { view: storageView(tx, mountStoragePrefix(mount)), key: `${record.cubbyholeId}/response` };
}
