// Tokens as the rest of the server sees them: make one, find the one that a request carries. The only place that
// handles token texts.
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { suffixOf } from "../namespaces/namespace-scope.ts";
import { namespaceIdOf, namespaceView } from "../namespaces/namespace-transaction.ts";
import { BATCH_PREFIX, BATCH_TOKEN_LENGTH_MAX, BatchTokens } from "./batch-token.ts";
import { ForeseenRights } from "./foreseen-rights.ts";
import { SEALED_TEXT_KEY, writeSealedTextKey } from "./sealed-text.ts";
import { newAccessor, newServiceToken, SALT_KEY, TokenHasher, writeTokenSalt } from "./token-hash.ts";
import { type TokenRecord, tokenKey } from "./token-record.ts";
import { putToken, readToken } from "./token-store.ts";

/** What a new token is to be; the rest follows from it. */
export type NewToken = Omit<
  TokenRecord,
  "hash" | "namespace" | "accessor" | "issuedAtSeconds" | "expiresAtSeconds" | "cubbyholeId"
> & {
  /** A token text that the client chose. */
  readonly id?: string;
};

export interface IssuedToken {
  readonly token: string;
  readonly record: TokenRecord;
}

export class TokenService {
  readonly #clock: Clock;
  readonly #hasher = new TokenHasher();
  readonly #batch = new BatchTokens();
  readonly #foreseen = new ForeseenRights();
  readonly #standIns = new WeakMap<Transaction, { readonly text: string; readonly record: TokenRecord }>();
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Writes what all tokens of a store depend on; part of initialisation. */
  static initialize(tx: Transaction): void {
    writeTokenSalt(tx);
    writeSealedTextKey(tx);
  }

  nowSeconds(): number {
    return Math.floor(this.#clock.now() / 1000);
  }

  /**
   * A token of the namespace that the transaction is the view of. Throws `invalid_request` for a text that is taken and
   * for a batch token that no header could hold.
   */
  async create(tx: Transaction, wanted: NewToken): Promise<IssuedToken> {
    const { id, ...rest } = wanted;
    const namespace = namespaceIdOf(tx);
    const issuedAtSeconds = this.nowSeconds();
    const expiresAtSeconds = wanted.ttlSeconds > 0 ? issuedAtSeconds + wanted.ttlSeconds : 0;
    const common = { ...rest, namespace, issuedAtSeconds, expiresAtSeconds };
    if (wanted.type === "batch") {
      const record: TokenRecord = { ...common, hash: "", accessor: "", cubbyholeId: "", renewable: false };
      return { token: (await this.#sealBatch(tx, record)) + suffixOf(namespace), record };
    }
    const token = (id ?? newServiceToken()) + suffixOf(namespace);
    const hash = await this.#hasher.hash(tx, token);
    if (id !== undefined && (await readToken(tx, hash)))
      throw new CofferError("invalid_request", "cannot create a token with a duplicate ID");
    const accessor = newAccessor() + suffixOf(namespace);
    const record: TokenRecord = { ...common, hash, accessor, cubbyholeId: newAccessor() };
    putToken(tx, record);
    return { token, record };
  }

  async #sealBatch(tx: Transaction, record: TokenRecord): Promise<string> {
    const token = await this.#batch.seal(tx, record);
    if (token.length <= BATCH_TOKEN_LENGTH_MAX) return token;
    throw new CofferError(
      "invalid_request",
      `the batch token would be longer than ${BATCH_TOKEN_LENGTH_MAX} characters; give it less metadata or fewer policies`,
    );
  }

  /**
   * Keys that a request with this token ("" for none) will most likely read, to be read ahead. `tx`: the whole one.
   * Nothing is found out by it: `find` says whether there is such a token.
   */
  foresee(tx: Transaction, token: string): readonly string[] {
    if (token.startsWith(BATCH_PREFIX)) return [SEALED_TEXT_KEY];
    const hash = token === "" ? undefined : this.#hasher.foresee(tx, token);
    return hash === undefined ? [SALT_KEY] : [SALT_KEY, tokenKey(hash), ...this.#foreseen.keysOf(hash)];
  }

  hash(tx: Transaction, token: string): Promise<string> {
    return this.#hasher.hash(tx, token);
  }

  /**
   * The live token of this text, of whatever namespace, or undefined: unknown, expired, or child of a parent that is
   * gone.
   */
  async find(tx: Transaction, token: string): Promise<TokenRecord | undefined> {
    const standIn = this.#standIns.get(namespaceView(tx, ""));
    if (standIn?.text === token) return standIn.record;
    const record = token.startsWith(BATCH_PREFIX)
      ? await this.#batch.open(tx, token)
      : await readToken(tx, await this.#hasher.hash(tx, token));
    if (record) this.#foreseen.note(record);
    return record && this.#living(tx, record);
  }

  /**
   * A text that stands for a token within one transaction, for a request that is done in its name while the token itself
   * is with its holder alone.
   */
  standIn(tx: Transaction, record: TokenRecord): string {
    const text = `held.${newAccessor()}`;
    this.#standIns.set(namespaceView(tx, ""), { text, record });
    return text;
  }

  /** The record of a token as it is now, of the one that was found before; undefined when it has ended since. */
  async current(tx: Transaction, known: TokenRecord): Promise<TokenRecord | undefined> {
    const record = known.type === "batch" ? known : await readToken(tx, known.hash);
    return record && record.numUses >= 0 ? this.#living(tx, record) : undefined;
  }

  async #living(tx: Transaction, record: TokenRecord): Promise<TokenRecord | undefined> {
    if (!this.isLive(record)) return undefined;
    if (record.type === "batch" && record.parent !== "" && !(await this.#isAlive(tx, record.parent))) return undefined;
    return record;
  }

  async #isAlive(tx: Transaction, hash: string): Promise<boolean> {
    const record = await readToken(tx, hash);
    return record !== undefined && this.isLive(record);
  }

  isLive(record: TokenRecord): boolean {
    return record.expiresAtSeconds === 0 || this.#clock.now() < record.expiresAtSeconds * 1000;
  }
}
