// How many entries a store has, how large they are, and one digest of all of it: SHA-256 over each entry in the order of
// keys, as 4 bytes length of the key (big-endian) | key in UTF-8 | 4 bytes length of the value | value.
import { createHash } from "node:crypto";

export interface StoreTotals {
  readonly entries: number;
  /** Of keys and values. */
  readonly bytes: number;
  readonly largest: { readonly key: string; readonly bytes: number };
  /** Hexadecimal. */
  readonly digest: string;
}

export class StoreDigest {
  readonly #hash = createHash("sha256");
  #entries = 0;
  #bytes = 0;
  #largest = { key: "", bytes: 0 };

  add(key: string, value: Uint8Array): void {
    const name = Buffer.from(key);
    this.#hash.update(lengthOf(name)).update(name).update(lengthOf(value)).update(value);
    this.#entries++;
    this.#bytes += name.length + value.length;
    if (value.length > this.#largest.bytes) this.#largest = { key, bytes: value.length };
  }

  get entries(): number {
    return this.#entries;
  }

  /** Ends the digest; nothing can be added any more. */
  finish(): StoreTotals {
    const digest = this.#hash.digest("hex");
    return { entries: this.#entries, bytes: this.#bytes, largest: this.#largest, digest };
  }
}

function lengthOf(bytes: Uint8Array): Buffer {
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(bytes.length);
  return length;
}
