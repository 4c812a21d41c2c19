// How a token becomes the key of its record: HMAC-SHA256 with a salt of the store. Whoever reads the store cannot log
// in with what is there, and cannot test guesses without the salt, which is encrypted.
import { createHmac, createSecretKey, type KeyObject, randomBytes, randomInt } from "node:crypto";
import { object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";

const saltKind = recordKind("token salt", object({ salt: string }), { cached: true });
export const SALT_KEY = "core/token-salt";

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** 28 characters of 62 are 166 bits. */
const TOKEN_LENGTH = 28;
const ACCESSOR_LENGTH = 24;

/** Random letters and digits; a character is 5.95 bits. */
export function randomText(length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += BASE62[randomInt(BASE62.length)];
  return text;
}

export function newServiceToken(): string {
  return `hvs.${randomText(TOKEN_LENGTH)}`;
}
export function newAccessor(): string {
  return randomText(ACCESSOR_LENGTH);
}

/** Makes the store's salt, once, at initialisation. */
export function writeTokenSalt(tx: Transaction): void {
  tx.write(saltKind, SALT_KEY, { salt: randomBytes(32).toString("base64") });
}

interface Foreseen {
  readonly token: string;
  readonly key: KeyObject;
  readonly hash: string;
}

export class TokenHasher {
  readonly #keys = new WeakMap<object, KeyObject>();
  /** Under the newest salt that was seen; believed only when the transaction reads that very salt. */
  readonly #foreseen = new WeakMap<Transaction, Foreseen>();
  #newest: KeyObject | undefined;

  /**
   * What `hash` will most likely answer, before the salt is read: for reading ahead and nothing else. Undefined until
   * a salt was seen. `tx`: the whole one.
   */
  foresee(tx: Transaction, token: string): string | undefined {
    const key = this.#newest;
    if (!key) return undefined;
    const hash = hashOf(key, token);
    this.#foreseen.set(tx, { token, key, hash });
    return hash;
  }

  async hash(tx: Transaction, token: string): Promise<string> {
    const record = await tx.read(saltKind, SALT_KEY);
    if (!record) throw new Error("the store has no token salt");
    let key = this.#keys.get(record);
    if (!key) {
      key = createSecretKey(Buffer.from(record.salt, "base64"));
      this.#keys.set(record, key);
    }
    this.#newest = key;
    const foreseen = this.#foreseen.get(namespaceView(tx, ""));
    return foreseen?.token === token && foreseen.key === key ? foreseen.hash : hashOf(key, token);
  }
}

function hashOf(key: KeyObject, token: string): string {
  return createHmac("sha256", key).update(token).digest("hex");
}
