// One writer's end of a device's chain: seals lines in order. Lines that were refused are sealed again with the same
// numbers, so a number names one entry only. The format is in common/audit-chain.ts.
import { createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes, timingSafeEqual } from "node:crypto";
import { type ChainPlace, DIGEST_BYTES, digestOf, PROOF_BYTES, withMac, withPlace } from "#common/audit-chain.ts";
import type { NewPlace } from "./audit-device.ts";

/** The key of the chain; nobody can get back from it to the salt, with which secrets could be guessed. */
export function chainKeyOf(salt: Uint8Array): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", salt, "", "coffer audit chain", 32)));
}

export interface ChainHead {
  readonly writer: string;
  /** Of the last line that the device took; 0 before the first. */
  readonly number: number;
  readonly mac: string;
}

export class ChainWriter {
  readonly #key: KeyObject;
  readonly #writer = randomBytes(8).toString("base64url");
  #number = 0;
  #mac = "";
  #place: NewPlace | undefined;
  #sealed: ChainHead | undefined;
  constructor(key: KeyObject) {
    this.#key = key;
  }

  get head(): ChainHead {
    return { writer: this.#writer, number: this.#number, mac: this.#mac };
  }

  /** The next lines go somewhere else; remembered until a line is accepted there. */
  moveTo(place: NewPlace): void {
    this.#place = place;
  }

  /** Lines with their chain. Nothing moves on before `accept`. */
  seal(entries: readonly string[]): readonly string[] {
    let head = this.head;
    const lines = entries.map((entry, i) => {
      const line = this.#seal(entry, head, i === 0);
      head = { ...head, number: head.number + 1, mac: line.mac };
      return line.text;
    });
    this.#sealed = head;
    return lines;
  }

  #seal(entry: string, head: ChainHead, first: boolean): { text: string; mac: string } {
    const covered = withPlace(entry, this.#placeOf(head, first));
    const mac = macOf(this.#key, digestOf(covered)).toString("base64url");
    return { text: withMac(covered, mac), mac };
  }

  #placeOf({ writer, number, mac }: ChainHead, first: boolean): ChainPlace {
    const place = first ? this.#place : undefined;
    if (number === 0) {
      return { writer, number: 1, previous: place?.previous ?? "", start: place?.start ?? "new" };
    }
    return { writer, number: number + 1, previous: mac, start: place?.start };
  }

  /** The lines of the last `seal` are where they belong. */
  accept(): void {
    if (!this.#sealed) return;
    this.#number = this.#sealed.number;
    this.#mac = this.#sealed.mac;
    this.#sealed = undefined;
    this.#place = undefined;
  }
}

function macOf(key: KeyObject, digest: Uint8Array): Buffer {
  return createHmac("sha256", key).update(digest).digest();
}

/** Which of these proofs (digest and MAC, 64 bytes each) are not true, by index. */
export function invalidProofs(key: KeyObject, proofs: Uint8Array): readonly number[] {
  const invalid: number[] = [];
  for (let i = 0; i * PROOF_BYTES < proofs.length; i++) {
    const proof = proofs.subarray(i * PROOF_BYTES, (i + 1) * PROOF_BYTES);
    const mac = macOf(key, proof.subarray(0, DIGEST_BYTES));
    if (proof.length !== PROOF_BYTES || !timingSafeEqual(mac, proof.subarray(DIGEST_BYTES))) invalid.push(i);
  }
  return invalid;
}
