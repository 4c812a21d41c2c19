// Shares of the key that people have entered so far. Each share counts once; a set that does not open is thrown away.
// Where several processes are one server they are kept in one place, hence the interface.
import { randomUUID } from "node:crypto";
import { constantTimeEqual, type SecretBytes } from "#common/secret-bytes.ts";

export interface ProgressStatus {
  readonly count: number;
  /** Tells one attempt from another; "" before the first share. */
  readonly nonce: string;
}

export interface UnsealProgress {
  /** Takes the share over; gives copies of all that have been entered, which the caller disposes. */
  add(share: SecretBytes): Promise<readonly SecretBytes[]>;
  status(): Promise<ProgressStatus>;
  /** Throws the shares away. */
  reset(): Promise<void>;
  /** This process ends: what it holds itself is zeroed. */
  close(): void;
}

export class EnteredShares {
  #shares: SecretBytes[] = [];
  #nonce = "";

  get status(): ProgressStatus {
    return { count: this.#shares.length, nonce: this.#nonce };
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
  /** The shares themselves, to be copied at once. */
  exposed(): readonly Buffer[] {
    return this.#shares.map((share) => share.expose());
  }
  copies(): readonly SecretBytes[] {
    return this.#shares.map((share) => share.clone());
  }
  reset(): void {
    for (const share of this.#shares) share[Symbol.dispose]();
    this.#shares = [];
    this.#nonce = "";
  }
}

/** The progress of a server of one process. */
export function ownProgress(): UnsealProgress {
  const entered = new EnteredShares();
  return {
    add: async (share) => {
      entered.add(share);
      return entered.copies();
    },
    status: async () => entered.status,
    reset: async () => entered.reset(),
    close: () => entered.reset(),
  };
}
