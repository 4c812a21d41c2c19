// Batch tokens: the record itself, sealed, is the token. Nothing is stored, nothing can be revoked one by one.
//
//   "hvb." + base64url of:
//   offset  size  meaning
//        0     1  version, 1
//        1    16  salt: HMAC-SHA256(store's batch key, salt) is the key of this token alone, so that random nonces are
//                 never counted together (NIST SP 800-38D §8.3 allows 2^32 of them under one key)
//       17    12  nonce
//       29     n  ciphertext of the record's JSON; AAD is bytes 0 to 17
//     29+n    16  tag
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { parseJson } from "#common/json.ts";
import { object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import { type TokenRecord, tokenKind } from "./token-record.ts";

export const BATCH_PREFIX = "hvb.";
const VERSION = 1;
const SALT_END = 17;
const NONCE_END = 29;
const TAG_BYTES = 16;
/** A batch token travels in a header; Node takes 16 KiB of headers in all. */
export const BATCH_TOKEN_LENGTH_MAX = 8_192;

const keyKind = recordKind("batch token key", object({ key: string }), { cached: true });
const KEY = "core/batch-token-key";

/** Makes the store's key for batch tokens, once, at initialisation. */
export function writeBatchTokenKey(tx: Transaction): void {
  tx.write(keyKind, KEY, { key: randomBytes(32).toString("base64") });
}

export class BatchTokens {
  readonly #keys = new WeakMap<object, KeyObject>();

  async seal(tx: Transaction, record: TokenRecord): Promise<string> {
    const head = Buffer.concat([Buffer.of(VERSION), randomBytes(SALT_END - 1)]);
    const nonce = randomBytes(NONCE_END - SALT_END);
    const cipher = createCipheriv("aes-256-gcm", await this.#keyFor(tx, head), nonce).setAAD(head);
    const body = [cipher.update(JSON.stringify(record), "utf8"), cipher.final()];
    return BATCH_PREFIX + Buffer.concat([head, nonce, ...body, cipher.getAuthTag()]).toString("base64url");
  }

  /** The record of a batch token of this store, or undefined for anything else. */
  async open(tx: Transaction, token: string): Promise<TokenRecord | undefined> {
    if (!token.startsWith(BATCH_PREFIX) || token.length > BATCH_TOKEN_LENGTH_MAX) return undefined;
    const bytes = Buffer.from(token.slice(BATCH_PREFIX.length), "base64url");
    if (bytes[0] !== VERSION || bytes.length < NONCE_END + TAG_BYTES) return undefined;
    const head = bytes.subarray(0, SALT_END);
    const key = await this.#keyFor(tx, head);
    const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(SALT_END, NONCE_END)).setAAD(head);
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const plain = tryFinish(() =>
      Buffer.concat([decipher.update(bytes.subarray(NONCE_END, -TAG_BYTES)), decipher.final()]),
    );
    return plain && tokenKind.schema.parse(parseJson(plain.toString("utf8")), "batch token");
  }

  async #keyFor(tx: Transaction, head: Uint8Array): Promise<KeyObject> {
    const record = await tx.read(keyKind, KEY);
    if (!record) throw new Error("the store has no key for batch tokens");
    let master = this.#keys.get(record);
    if (!master) {
      master = createSecretKey(Buffer.from(record.key, "base64"));
      this.#keys.set(record, master);
    }
    return createSecretKey(createHmac("sha256", master).update(head).digest());
  }
}

function tryFinish(finish: () => Buffer): Buffer | undefined {
  try {
    return finish();
  } catch {
    return undefined; // the tag does not match: not our token
  }
}
