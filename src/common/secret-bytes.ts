// Key material (invariant I7): zeroed when its scope ends, compared in constant time, never printed.
import { createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";

/** Bytes that must not leak. Take ownership of a buffer with the constructor; `using` zeroes it at the end of scope. */
export class SecretBytes implements Disposable {
  readonly #bytes: Buffer;
  /** Takes ownership: the given buffer itself is zeroed on dispose. */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  static random(length: number): SecretBytes {
    return new SecretBytes(randomBytes(length));
  }
  get length(): number {
    return this.#bytes.length;
  }
  /** The bytes themselves. Do not keep a reference beyond this object's life. */
  expose(): Buffer {
    return this.#bytes;
  }
  clone(): SecretBytes {
    return new SecretBytes(Buffer.from(this.#bytes));
  }
  /** For node:crypto, which is four times faster with a KeyObject than with a Buffer. */
  toKeyObject(): KeyObject {
    return createSecretKey(this.#bytes);
  }
  equals(other: SecretBytes): boolean {
    return constantTimeEqual(this.#bytes, other.#bytes);
  }
  [Symbol.dispose](): void {
    this.#bytes.fill(0);
  }
  toString(): string {
    return "[redacted]";
  }
  toJSON(): string {
    return "[redacted]";
  }
  [inspect.custom](): string {
    return "[redacted]";
  }
}

/** Compares without telling by its duration where two values differ; lengths are not secret. */
export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
