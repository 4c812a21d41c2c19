// Texts that only this store can have made and only this store can read: batch tokens and the ids of decisions. Nothing
// is stored for one; any node opens what any other sealed.
//
//   base64url of:
//   offset  size  meaning
//        0     1  version, 1
//        1    16  salt: HMAC-SHA256(store's key, salt and purpose) is the key of this text alone, so that random nonces
//                 are never counted together (NIST SP 800-38D §8.3 allows 2^32 of them under one key)
//       17    12  nonce
//       29     n  ciphertext; AAD is bytes 0 to 17 and the purpose
//     29+n    16  tag
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";

const VERSION = 1;
const SALT_END = 17;
const NONCE_END = 29;
const TAG_BYTES = 16;
/** Sealed texts travel in headers; Node takes 16 KiB of headers in all. */
export const SEALED_TEXT_LENGTH_MAX = 8_192;

const keyKind = recordKind("key of sealed texts", object({ key: string }), { cached: true });
export const SEALED_TEXT_KEY = "core/sealed-text-key";

/** Makes the store's key, once, at initialisation. */
export function writeSealedTextKey(tx: Transaction): void {
  tx.write(keyKind, SEALED_TEXT_KEY, { key: randomBytes(32).toString("base64") });
}

/** Seals and opens texts of one purpose; one of another purpose does not open. */
export class SealedTexts {
  readonly #purpose: Buffer;
  readonly #keys = new WeakMap<object, KeyObject>();
  constructor(purpose: string) {
    this.#purpose = Buffer.from(purpose);
  }

  async seal(tx: Transaction, text: string): Promise<string> {
    const head = Buffer.concat([Buffer.of(VERSION), randomBytes(SALT_END - 1)]);
    const nonce = randomBytes(NONCE_END - SALT_END);
    const bound = Buffer.concat([head, this.#purpose]);
    const cipher = createCipheriv("aes-256-gcm", await this.#keyFor(tx, bound), nonce).setAAD(bound);
    const body = [cipher.update(text, "utf8"), cipher.final()];
    return Buffer.concat([head, nonce, ...body, cipher.getAuthTag()]).toString("base64url");
  }

  /** The text, or undefined for anything that this store did not seal for this purpose. */
  async open(tx: Transaction, sealed: string): Promise<string | undefined> {
    if (sealed.length > SEALED_TEXT_LENGTH_MAX) return undefined;
    const bytes = Buffer.from(sealed, "base64url");
    if (bytes[0] !== VERSION || bytes.length < NONCE_END + TAG_BYTES) return undefined;
    const bound = Buffer.concat([bytes.subarray(0, SALT_END), this.#purpose]);
    const decipher = createDecipheriv(
      "aes-256-gcm",
      await this.#keyFor(tx, bound),
      bytes.subarray(SALT_END, NONCE_END),
    );
    decipher.setAAD(bound).setAuthTag(bytes.subarray(-TAG_BYTES));
    return tryFinish(
      () => decipher.update(bytes.subarray(NONCE_END, -TAG_BYTES), undefined, "utf8") + decipher.final("utf8"),
    );
  }

  async #keyFor(tx: Transaction, bound: Uint8Array): Promise<KeyObject> {
    const record = await tx.read(keyKind, SEALED_TEXT_KEY);
    if (!record) throw new Error("the store has no key for sealed texts");
    let master = this.#keys.get(record);
    if (!master) {
      master = createSecretKey(Buffer.from(record.key, "base64"));
      this.#keys.set(record, master);
    }
    return createSecretKey(createHmac("sha256", master).update(bound).digest());
  }
}

function tryFinish(finish: () => string): string | undefined {
  try {
    return finish();
  } catch {
    return undefined; // the tag does not match: not ours
  }
}
