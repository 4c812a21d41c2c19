// Shares of the key that people have entered so far. Each share counts once; a set that does not open is thrown away.
import { randomUUID } from "node:crypto";
import { constantTimeEqual, type SecretBytes } from "#common/secret-bytes.ts";

export class UnsealProgress {
  #shares: SecretBytes[] = [];
  #nonce = "";

  get count(): number {
    return this.#shares.length;
  }
  /** Tells one attempt from another; "" before the first share. */
  get nonce(): string {
    return this.#nonce;
  }
  /** Takes the share over; one that is known already is disposed. */
  add(share: SecretBytes): void {
    if (this.#shares.some((known) => constantTimeEqual(known.expose(), share.expose()))) {
      share[Symbol.dispose]();
      return;
    }
    if (this.#nonce === "") this.#nonce = randomUUID();
    this.#shares.push(share);
  }
  shares(): readonly SecretBytes[] {
    return this.#shares;
  }
  reset(): void {
    for (const share of this.#shares) share[Symbol.dispose]();
    this.#shares = [];
    this.#nonce = "";
  }
}
