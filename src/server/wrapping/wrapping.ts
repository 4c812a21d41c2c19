// Response wrapping: an answer is kept in the cubbyhole of a token that can be used once, and the token is sent in its
// place. Whoever holds the token fetches the answer; a second fetch fails, which tells that somebody else was first.

import { CofferError } from "#common/errors.ts";
import { type Infer, number, object, optional, string } from "#common/schema.ts";
import { storageView } from "../barrier/storage-view.ts";
import { recordKind, type StorageView, type Transaction } from "../barrier/transaction.ts";
import type { PrivilegedContext } from "../framework/context.ts";
import type { WrapInfo } from "../framework/reply.ts";
import { mountStoragePrefix } from "../mounts/mount-record.ts";
import { findMount } from "../mounts/mount-table.ts";
import { findToken } from "../tokens/reachable-token.ts";
import type { TokenRecord } from "../tokens/token-record.ts";
import type { TokenService } from "../tokens/token-service.ts";
import { isJwt, openWrapping, signWrapping } from "./wrapping-jwt.ts";

/** The policy of wrapping tokens: their own cubbyhole and unwrap. */
export const WRAPPING_POLICY = "response-wrapping";

const rawSchema = object({ status: number, contentType: string, base64: string });
const wrappedSchema = object({
  response: string,
  wrappedAccessor: optional(string),
  /** An answer that is no envelope, as it would have been sent. */
  raw: optional(rawSchema),
});
export type WrappedAnswer = Infer<typeof wrappedSchema>;
const wrappedKind = recordKind("wrapped answer", wrappedSchema);

export interface Wrapped {
  /** As its client gets it: the ordinary form or a JWT. */
  readonly token: string;
  readonly record: TokenRecord;
}

/** What a wrapping token is to be. */
export interface WantedWrapping {
  readonly path: string;
  readonly ttlSeconds: number;
  readonly format?: "jwt" | undefined;
}

/** Keeps an answer for a time, under a new wrapping token. */
export async function wrapAnswer(
  tx: Transaction,
  tokens: TokenService,
  wanted: WantedWrapping & { readonly answer: WrappedAnswer },
): Promise<Wrapped> {
  const wrapped = await newWrappingToken(tx, tokens, wanted);
  const { view, folder } = await wrappingStore(tx, wrapped.record);
  view.write(wrappedKind, `${folder}response`, wanted.answer);
  return wrapped;
}

/** A wrapping token that holds nothing yet. */
export async function newWrappingToken(
  tx: Transaction,
  tokens: TokenService,
  { path, ttlSeconds, format }: WantedWrapping,
): Promise<Wrapped> {
  const { token, record } = await tokens.create(tx, {
    ...{ type: "service", parent: "", policies: [WRAPPING_POLICY], boundaries: [], path, displayName: "", numUses: 1 },
    ...{ ttlSeconds, explicitMaxTtlSeconds: ttlSeconds, maxTtlSeconds: ttlSeconds, periodSeconds: 0, renewable: false },
    ...{ role: "", entityId: "", boundCidrs: [], addressLimits: [], wrappedPath: path },
  });
  return { token: format === "jwt" ? await signWrapping(tx, token, record) : token, record };
}

/** What the client is told of it. */
export function wrapInfoOf({ token, record }: Wrapped, wrappedAccessor?: string): WrapInfo {
  return {
    token,
    accessor: record.accessor,
    ttl: record.ttlSeconds,
    creation_time: new Date(record.issuedAtSeconds * 1000).toISOString(),
    creation_path: record.wrappedPath ?? "",
    ...(wrappedAccessor !== undefined && { wrapped_accessor: wrappedAccessor }),
  };
}

/** The wrapping token of this text. Throws `invalid_request` when it is none, was used or has expired. */
export async function findWrapped(
  context: Pick<PrivilegedContext, "transaction" | "scope" | "clientToken">,
  tokens: TokenService,
  token: string,
): Promise<TokenRecord> {
  const inner = (isJwt(token) ? await openWrapping(context.transaction, token) : token) ?? "";
  const clientToken = token === context.clientToken ? inner : context.clientToken;
  const record = await findToken({ ...context, clientToken }, tokens, inner);
  if (!record || record.wrappedPath === undefined) {
    throw new CofferError("invalid_request", "wrapping token is not valid or does not exist");
  }
  return record;
}

/** The answer that a wrapping token holds; the caller revokes the token in the same transaction. */
export async function readWrapped(tx: Transaction, record: TokenRecord): Promise<WrappedAnswer> {
  const { view, folder } = await wrappingStore(tx, record);
  const wrapped = await view.read(wrappedKind, `${folder}response`);
  if (!wrapped) throw new CofferError("invalid_request", "wrapping token is not valid or does not exist");
  return wrapped;
}

/** Where what a wrapping token stands for is kept: its own cubbyhole, which goes away with it. */
export async function wrappingStore(
  tx: Transaction,
  record: TokenRecord,
): Promise<{ view: StorageView; folder: string }> {
  const mount = await findMount(tx, "cubbyhole/");
  if (!mount) throw new Error("there is no cubbyhole");
  return { view: storageView(tx, mountStoragePrefix(mount)), folder: `${record.cubbyholeId}/` };
}
