// Access tokens of providers: sealed texts that say whose claims may be read by whom, and until when. They are no tokens
// of the server: a client that holds one can read what it was promised and nothing else.

import { parseJson } from "#common/json.ts";
import { type Infer, list, number, object, string } from "#common/schema.ts";
import type { Transaction } from "../../barrier/transaction.ts";
import { SealedTexts } from "../../tokens/sealed-text.ts";

const schema = object({
  provider: string,
  clientId: string,
  /** "" where the client itself is the subject. */
  entityId: string,
  scopes: list(string),
  expiresAtSeconds: number,
});
export type AccessToken = Infer<typeof schema>;

export class AccessTokens {
  readonly #texts = new SealedTexts("oidc access token");

  seal(tx: Transaction, token: AccessToken): Promise<string> {
    return this.#texts.seal(tx, JSON.stringify(token));
  }

  /** Undefined for what is no access token of this store, or no longer. */
  async open(tx: Transaction, text: string, nowSeconds: number): Promise<AccessToken | undefined> {
    const opened = await this.#texts.open(tx, text);
    if (opened === undefined) return undefined;
    const token = schema.parse(parseJson(opened));
    return nowSeconds < token.expiresAtSeconds ? token : undefined;
  }
}
