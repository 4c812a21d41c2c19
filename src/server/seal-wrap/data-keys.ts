// Seal-wrap keys in memory, and the data keys derived from them: one for each mount and one for the server's own records
// (HKDF-SHA-256, RFC 5869, the seal-wrap key as its input), so that one call of a seal serves all of them for a while.
// A seal-wrap key is zeroed when its time is over, and all at sealing. The data key of the server's own records stays
// until then, as the keyring does: every request needs it, and no running server may depend on a seal for each.
import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { SharedDataKeys } from "../core/siblings.ts";

/** How long a seal-wrap key serves without asking a seal again: twelve calls an hour and process. */
export const KEY_MILLIS = 300_000;
/** After a seal has not answered, it is not asked again for this long: requests must not queue up for it. */
export const REFUSAL_MILLIS = 5_000;
/** Generations at once in memory; more than two are there only while a rewrap is under way. */
const GENERATIONS_MAX = 8;
/** Derived keys that are kept with one seal-wrap key; deriving one takes 10 microseconds. */
const DERIVED_MAX = 1_024;
const KEY_BYTES = 32;
const CORE = "core";

interface Held {
  readonly key: SecretBytes;
  readonly derived: Map<string, KeyObject>;
  readonly untilMillis: Millis;
  /** It was zeroed: nothing may be derived from it any more. */
  isOver: boolean;
}

/** What the server's other workers know. */
export interface SharedKeys {
  readonly keys: SharedDataKeys;
  /** Tells this store from any other; nothing secret. Throws `sealed`. */
  storeId(): string;
}

function nameOf(generation: number, { storeId }: SharedKeys): string {
  return `${generation}/${storeId()}`;
}

export class DataKeys {
  readonly #clock: Clock;
  readonly #open: (generation: number) => Promise<SecretBytes>;
  readonly #shared: SharedKeys | undefined;
  readonly #held = new Map<number, Held>();
  readonly #core = new Map<number, KeyObject>();
  readonly #opening = new Map<number, Promise<Held>>();
  #refusal: { readonly error: unknown; readonly untilMillis: Millis } | undefined;
  /** Sealing while a seal is being asked: what it answers then is thrown away. */
  #epoch = 0;
  #opened = 0;

  /** `open` asks the seals; what it gives is owned here. */
  constructor(clock: Clock, open: (generation: number) => Promise<SecretBytes>, shared?: SharedKeys) {
    this.#clock = clock;
    this.#open = open;
    this.#shared = shared;
  }

  /** How often seals were asked since the start of this process. */
  get opened(): number {
    return this.#opened;
  }
  /** Generations whose key is in memory. */
  get generations(): readonly number[] {
    return [...this.#held.keys()];
  }

  atHand(generation: number, storageKey: string): KeyObject | undefined {
    const purpose = purposeOf(storageKey);
    const core = purpose === CORE ? this.#core.get(generation) : undefined;
    if (core) return core;
    const held = this.#held.get(generation);
    if (held === undefined || held.untilMillis <= this.#clock.now()) return undefined;
    return this.#derive(held, generation, purpose);
  }

  /** Throws as `open` does. */
  async get(generation: number, storageKey: string): Promise<KeyObject> {
    const known = this.atHand(generation, storageKey);
    if (known) return known;
    const purpose = purposeOf(storageKey);
    const found = purpose === CORE ? await this.#findCore(generation) : undefined;
    if (found) return found;
    const key = this.#derive(await this.#fetch(generation), generation, purpose);
    if (purpose === CORE && this.#shared)
      await this.#shared.keys.keep(nameOf(generation, this.#shared), new SecretBytes(key.export()));
    return key;
  }

  /** What another worker of this server had from a seal. */
  async #findCore(generation: number): Promise<KeyObject | undefined> {
    const epoch = this.#epoch;
    using bytes = this.#shared && (await this.#shared.keys.find(nameOf(generation, this.#shared)));
    if (bytes === undefined || epoch !== this.#epoch) return undefined;
    const key = bytes.toKeyObject();
    this.#core.set(generation, key);
    return key;
  }

  /** Zeroes what is over. */
  evict(): void {
    for (const [generation, held] of this.#held)
      if (held.untilMillis <= this.#clock.now()) this.#drop(generation, held);
  }

  /** Zeroes all. */
  clear(): void {
    this.#epoch++;
    for (const [generation, held] of this.#held) this.#drop(generation, held);
    this.#core.clear();
    this.#opening.clear();
    this.#refusal = undefined;
  }

  #fetch(generation: number): Promise<Held> {
    const refusal = this.#refusal;
    if (refusal && refusal.untilMillis > this.#clock.now()) return Promise.reject(refusal.error);
    const under = this.#opening.get(generation);
    if (under) return under;
    const opening = this.#ask(generation).finally(() => {
      if (this.#opening.get(generation) === opening) this.#opening.delete(generation);
    });
    this.#opening.set(generation, opening);
    return opening;
  }

  async #ask(generation: number): Promise<Held> {
    const epoch = this.#epoch;
    this.#opened++;
    try {
      const key = await this.#open(generation);
      const held = { key, derived: new Map(), untilMillis: this.#clock.now() + KEY_MILLIS, isOver: false };
      if (epoch === this.#epoch) this.#keep(generation, held);
      else this.#drop(generation, held);
      return held;
    } catch (error) {
      if (epoch === this.#epoch) this.#refusal = { error, untilMillis: this.#clock.now() + REFUSAL_MILLIS };
      throw error;
    }
  }

  #keep(generation: number, held: Held): void {
    const before = this.#held.get(generation);
    if (before) this.#drop(generation, before);
    this.#held.set(generation, held);
    const [oldest] = this.#held;
    if (oldest && this.#held.size > GENERATIONS_MAX) this.#drop(...oldest);
  }

  #drop(generation: number, held: Held): void {
    held.isOver = true;
    held.key[Symbol.dispose]();
    held.derived.clear();
    if (this.#held.get(generation) === held) this.#held.delete(generation);
  }

  #derive(held: Held, generation: number, purpose: string): KeyObject {
    if (held.isOver) throw new CofferError("sealed", "the server was sealed");
    const known = held.derived.get(purpose);
    if (known) return known;
    const key = deriveDataKey(held.key, purpose);
    if (purpose === CORE) this.#core.set(generation, key);
    else if (held.derived.size < DERIVED_MAX) held.derived.set(purpose, key);
    return key;
  }
}

/** The data key of a purpose; public for the worked example. */
export function deriveDataKey(wrapKey: SecretBytes, purpose: string): KeyObject {
  const bytes = Buffer.from(hkdfSync("sha256", wrapKey.toKeyObject(), "", `coffer seal wrap ${purpose}`, KEY_BYTES));
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return key;
}

/** "mount/<uuid>" for what is a mount's, "core" for all else. */
export function purposeOf(storageKey: string): string {
  const [first, uuid] = storageKey.split("/", 2);
  return first === "mount" && uuid !== undefined ? `mount/${uuid}` : CORE;
}
