// The keys of the barrier: one per term, the newest encrypts, all decrypt. Owns the keyring's form in storage and the
// decision when a term has done enough. Must not touch storage (barrier.ts does).
//
// Stored at KEYRING_KEY as an envelope (envelope.ts) under the root key, with term 0. Its plaintext:
//
//   offset  size  meaning
//        0     1  version, 1
//        1     4  m: length of the description in bytes, big-endian
//        5     m  description, JSON: { "terms": [{ "term", "installed_at" (ms), "encryptions" }], "rotation": {…} }
//      5+m  32*k  the keys, in the order of `terms`
//
// The keys stand outside the JSON so that no JavaScript string, which cannot be zeroed, ever holds them. The highest
// term is the active one. "encryptions" counts what was *reserved*: an upper bound of what happened.
import assert from "node:assert";
import type { KeyObject } from "node:crypto";
import type { Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { encodeSorted, parseJson } from "#common/json.ts";
import { boolean, type Infer, list, number, object, optional } from "#common/schema.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { KEY_BYTES, openEnvelope, ROOT_TERM, sealEnvelope } from "./envelope.ts";

/** Where the keyring is stored. */
export const KEYRING_KEY = "core/keyring";

const VERSION = 1;
const DESCRIPTION_AT = 5;
/** More terms than a day-by-day rotation makes in a century; a longer keyring is not one of ours. */
const TERMS_MAX = 40_000;

/** 90 % of 2^32, the bound of NIST SP 800-38D §8.3 for random nonces; also the most that Vault's API accepts. */
export const ENCRYPTIONS_CEILING = 3_865_470_566;
/** A term ends by itself here by default: half of the bound. */
export const ENCRYPTIONS_DEFAULT = 2 ** 31;

const rotationSchema = object({
  enabled: boolean,
  max_encryptions: number,
  interval_millis: number,
  retire_after_millis: optional(number),
});
/**
 * When the keyring rotates by itself, and gives up terms that are over. `interval_millis` 0: never because of age;
 * `retire_after_millis` missing: never.
 */
export type RotationPolicy = Infer<typeof rotationSchema>;
export const ROTATION_DEFAULT: RotationPolicy = {
  enabled: true,
  max_encryptions: ENCRYPTIONS_DEFAULT,
  interval_millis: 0,
};

const descriptionSchema = object({
  terms: list(object({ term: number, installed_at: number, encryptions: number })),
  rotation: rotationSchema,
});

interface Term {
  readonly term: number;
  readonly installedAt: Millis;
  readonly encryptions: number;
  readonly secret: SecretBytes;
  readonly key: KeyObject;
}

/** An immutable set of terms; a change makes a new keyring that shares the keys. */
export class Keyring {
  readonly #terms: ReadonlyMap<number, Term>;
  readonly rotation: RotationPolicy;
  readonly active: { readonly term: number; readonly installedAt: Millis; readonly encryptions: number };
  readonly activeKey: KeyObject;

  private constructor(terms: readonly Term[], rotation: RotationPolicy) {
    const last = terms.at(-1);
    assert(last !== undefined, "a keyring has at least one term");
    this.#terms = new Map(terms.map((term) => [term.term, term]));
    this.rotation = rotation;
    this.active = last;
    this.activeKey = last.key;
  }

  /** A new keyring with a random key as term 1. */
  static create(now: Millis): Keyring {
    return new Keyring([makeTerm(1, now, 0, SecretBytes.random(KEY_BYTES))], ROTATION_DEFAULT);
  }

  /** Decrypts a stored keyring, or gives undefined when the root key is not its key. Throws `internal` if malformed. */
  static open(stored: Uint8Array, rootKey: KeyObject): Keyring | undefined {
    const plain = openEnvelope(rootKey, KEYRING_KEY, stored);
    if (plain === undefined) return undefined;
    using _bytes = new SecretBytes(plain);
    return decode(plain, (terms, rotation) => new Keyring(terms, rotation));
  }

  /** The keyring as it is stored, under the root key. */
  encrypt(rootKey: KeyObject): Uint8Array {
    using plain = new SecretBytes(encode([...this.#terms.values()], this.rotation));
    return sealEnvelope(rootKey, ROOT_TERM, KEYRING_KEY, plain.expose());
  }

  /** The key of a term, or undefined when this keyring is older than the term. */
  keyOf(term: number): KeyObject | undefined {
    return this.#terms.get(term)?.key;
  }

  get terms(): readonly { readonly term: number; readonly installedAt: Millis; readonly encryptions: number }[] {
    return [...this.#terms.values()];
  }

  /** This keyring with a fresh key as its next term. */
  rotated(now: Millis): Keyring {
    const next = makeTerm(this.active.term + 1, now, 0, SecretBytes.random(KEY_BYTES));
    return new Keyring([...this.#terms.values(), next], this.rotation);
  }

  /** This keyring with more encryptions booked on the active term. */
  charged(encryptions: number): Keyring {
    const terms = [...this.#terms.values()].map((term) =>
      term.term === this.active.term ? { ...term, encryptions: term.encryptions + encryptions } : term,
    );
    return new Keyring(terms, this.rotation);
  }

  /** This keyring without the terms up to this one, none of which may be the active one. */
  without(through: number): Keyring {
    assert(through < this.active.term, "the active term stays");
    return new Keyring(
      [...this.#terms.values()].filter(({ term }) => term > through),
      this.rotation,
    );
  }

  /**
   * This keyring with those of these terms that it has not, from another one; undefined when that is not of the same
   * history: a term has two keys, or is newer than this one's newest.
   */
  withTermsOf(other: Keyring, wanted: ReadonlySet<number>): Keyring | undefined {
    const terms = new Map(this.#terms);
    for (const term of other.#terms.values()) {
      const own = this.#terms.get(term.term);
      if (own ? !own.secret.equals(term.secret) : term.term > this.active.term) return undefined;
      if (own === undefined && wanted.has(term.term)) terms.set(term.term, term);
    }
    return new Keyring(
      [...terms.values()].sort((a, b) => a.term - b.term),
      this.rotation,
    );
  }

  withRotation(rotation: RotationPolicy): Keyring {
    return new Keyring([...this.#terms.values()], rotation);
  }

  /** Whether the active term must end before `more` encryptions are made. The ceiling holds even when disabled. */
  rotationDue(now: Millis, more: number): boolean {
    const { term: _term, installedAt, encryptions } = this.active;
    const policy = this.rotation;
    if (encryptions + more > ENCRYPTIONS_CEILING) return true;
    if (!policy.enabled) return false;
    if (encryptions > 0 && encryptions + more > policy.max_encryptions) return true;
    return policy.interval_millis > 0 && now - installedAt >= policy.interval_millis;
  }

  /** Zeroes the keys that `successor` does not share (all without one). */
  dispose(successor?: Keyring): void {
    for (const term of this.#terms.values()) {
      const kept = successor ? successor.#terms.get(term.term)?.secret : undefined;
      if (kept !== term.secret) term.secret[Symbol.dispose]();
    }
  }
}

function makeTerm(term: number, installedAt: Millis, encryptions: number, secret: SecretBytes): Term {
  assert(secret.length === KEY_BYTES, "a key of the barrier has 32 bytes");
  return { term, installedAt, encryptions, secret, key: secret.toKeyObject() };
}

function encode(terms: readonly Term[], { retire_after_millis, ...policy }: RotationPolicy): Buffer {
  const rotation = { ...policy, ...(retire_after_millis !== undefined && { retire_after_millis }) };
  const description = Buffer.from(
    encodeSorted({
      terms: terms.map((t) => ({ term: t.term, installed_at: t.installedAt, encryptions: t.encryptions })),
      rotation,
    }),
  );
  const out = Buffer.alloc(DESCRIPTION_AT + description.length + KEY_BYTES * terms.length);
  out[0] = VERSION;
  out.writeUInt32BE(description.length, 1);
  out.set(description, DESCRIPTION_AT);
  let at = DESCRIPTION_AT + description.length;
  for (const term of terms) {
    out.set(term.secret.expose(), at);
    at += KEY_BYTES;
  }
  return out;
}

function decode<K>(plain: Buffer, build: (terms: readonly Term[], rotation: RotationPolicy) => K): K {
  if (plain.length < DESCRIPTION_AT || plain[0] !== VERSION) throw malformed("has an unknown version");
  const keysAt = DESCRIPTION_AT + plain.readUInt32BE(1);
  if (keysAt > plain.length) throw malformed("is cut short");
  const { terms, rotation } = descriptionSchema.parse(parseJson(plain.toString("utf8", DESCRIPTION_AT, keysAt)));
  if (terms.length === 0 || terms.length > TERMS_MAX) throw malformed("has an impossible number of terms");
  if (plain.length !== keysAt + terms.length * KEY_BYTES) throw malformed("does not have one key for each term");
  const built = terms.map((t, i) => {
    const at = keysAt + i * KEY_BYTES;
    const secret = new SecretBytes(Buffer.from(plain.subarray(at, at + KEY_BYTES)));
    return makeTerm(t.term, t.installed_at, t.encryptions, secret);
  });
  return build(built, rotation);
}

function malformed(what: string): CofferError {
  return new CofferError("internal", `the keyring at path ${KEYRING_KEY} ${what}; it was written by something newer`);
}
