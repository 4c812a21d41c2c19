// Batch tokens: the record itself, sealed (sealed-text.ts), is the token. Nothing is stored, nothing can be revoked one
// by one.
import { parseJson } from "#common/json.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { SEALED_TEXT_LENGTH_MAX, SealedTexts } from "./sealed-text.ts";
import { type TokenRecord, tokenKind } from "./token-record.ts";

export const BATCH_PREFIX = "hvb.";
export const BATCH_TOKEN_LENGTH_MAX = SEALED_TEXT_LENGTH_MAX + BATCH_PREFIX.length;

export class BatchTokens {
  readonly #texts = new SealedTexts("batch token");

  async seal(tx: Transaction, record: TokenRecord): Promise<string> {
    return BATCH_PREFIX + (await this.#texts.seal(tx, JSON.stringify(record)));
  }

  /** The record of a batch token of this store, or undefined for anything else. */
  async open(tx: Transaction, token: string): Promise<TokenRecord | undefined> {
    if (!token.startsWith(BATCH_PREFIX)) return undefined;
    const [sealed = "", namespace = ""] = token.slice(BATCH_PREFIX.length).split(".");
    const text = await this.#texts.open(tx, sealed);
    const record = text === undefined ? undefined : tokenKind.schema.parse(parseJson(text), "batch token");
    return record?.namespace === namespace ? record : undefined;
  }
}
