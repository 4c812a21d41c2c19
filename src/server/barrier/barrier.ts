// The barrier: between everything above it and storage, which sees only ciphertext (invariant I4). Owns initialising,
// unsealing, sealing and the encryption of values; the keyring's life is in open-keyring.ts. Must not know about seals:
// it is given the root key, whoever unwrapped it.
import assert from "node:assert";
import type { Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";
import { BarrierTransaction, type Cryptor } from "./barrier-transaction.ts";
import { type DerivedKey, deriveKey } from "./derived-key.ts";
import {
  type EnvelopeHead,
  envelopeHead,
  KEY_BYTES,
  openEnvelope,
  sealEnvelope,
  sealWrappedEnvelope,
} from "./envelope.ts";
import { KEYRING_KEY, Keyring, type RotationPolicy } from "./keyring.ts";
import { type KeyringChange, type KeyringContext, OpenKeyring, RESERVATION } from "./open-keyring.ts";
import { type PlainWrite, plainBatch } from "./plain-store.ts";
import { RecordCache } from "./record-cache.ts";
import { assertRotationPolicy } from "./rotation-policy.ts";
import { FENCE_KEY } from "./term-fence.ts";
import type { Transaction } from "./transaction.ts";
import type { ValueWrapper } from "./value-wrapper.ts";
import { unwrapValue, wrapValue } from "./wrapped-value.ts";

/** Terms that may begin while one commit is under way; more is no accident. */
const FENCE_ATTEMPTS_MAX = 3;

export interface KeyStatus {
  readonly term: number;
  readonly installedAt: Millis;
  /** An upper bound: other processes book ahead. */
  readonly encryptions: number;
}

export interface Initialisation {
  readonly rootKey: SecretBytes;
  /** The seals' blobs, written in the same commit as the keyring. */
  readonly plain: readonly PlainWrite[];
  /** The first records (mounts, policies, a root token), also in that commit. */
  readonly fill?: (tx: Transaction) => Promise<void>;
}

export class Barrier {
  readonly #context: KeyringContext;
  readonly #cache = new RecordCache();
  readonly #cryptor: Cryptor;
  #open: OpenKeyring | undefined;
  #wrapper: ValueWrapper | undefined;
  #damagedReads = 0;

  constructor(context: KeyringContext) {
    this.#context = context;
    this.#cryptor = {
      decrypt: (key, envelope) => this.#decrypt(key, envelope),
      decryptAfterReload: (key, envelope) => this.#decryptAfterReload(key, envelope),
      commit: (expected, writes, critical, keys) => this.#commit(expected, writes, critical, keys),
    };
  }

  /** Reads since the start of this process that met bytes which this barrier has not written there. */
  get damagedReads(): number {
    return this.#damagedReads;
  }

  /** Critical values get the seal's layer from now on; it needs an open barrier itself, so it comes later. */
  wrapBy(wrapper: ValueWrapper): void {
    this.#wrapper = wrapper;
  }

  get isSealed(): boolean {
    return this.#open === undefined;
  }

  /** Whether a keyring is stored. Works while sealed. */
  async isInitialized(): Promise<boolean> {
    const [entry] = await this.#context.storage.get([KEYRING_KEY]);
    return entry !== undefined;
  }

  /**
   * Makes the keyring and stores it with the seals' blobs and the first records, all in one commit. The barrier stays
   * sealed. "conflict": somebody else has initialised this store, or one of the plain blobs was there already.
   */
  async initialize(init: Initialisation): Promise<"committed" | "conflict"> {
    assert(init.rootKey.length === KEY_BYTES, "a root key has 32 bytes");
    const keyring = Keyring.create(this.#context.clock.now()).charged(RESERVATION);
    try {
      const commit: Cryptor["commit"] = (read, values) => this.#commitFirst(init, keyring, read, values);
      const tx = new BarrierTransaction(this.#context.storage, { ...nothingToDecrypt, commit }, new RecordCache());
      await init.fill?.(tx);
      return tx.dirty ? await tx.commit() : await commit(new Map(), new Map(), new Set());
    } finally {
      keyring.dispose();
    }
  }

  /** Opens the barrier; keeps a copy of the root key. Throws `internal` when there is no keyring. */
  async unseal(rootKey: SecretBytes): Promise<"unsealed" | "wrong_key"> {
    if (rootKey.length !== KEY_BYTES) return "wrong_key";
    const opened = await OpenKeyring.open(this.#context, rootKey);
    if (opened === undefined) return "wrong_key";
    this.#open?.[Symbol.dispose]();
    this.#open = opened;
    return "unsealed";
  }

  /** Zeroes all keys and forgets all records. Transactions that are under way fail with `sealed`. */
  seal(): void {
    this.#open?.[Symbol.dispose]();
    this.#open = undefined;
    this.#wrapper?.forget();
    this.#cache.clear();
  }

  /** Throws `sealed`. */
  begin(): Transaction {
    this.#unsealed();
    return new BarrierTransaction(this.#context.storage, this.#cryptor, this.#cache);
  }

  /** What `read` finds in a transaction of its own, with the version at which a key of it was. Throws `sealed`. */
  async readVersioned<T>(
    key: string,
    read: (tx: Transaction) => Promise<T>,
  ): Promise<{ readonly record: T; readonly version: bigint | undefined }> {
    this.#unsealed();
    const tx = new BarrierTransaction(this.#context.storage, this.#cryptor, this.#cache);
    return { record: await read(tx), version: tx.versionOf(key) };
  }

  /** Begins a new term by the transaction's commit; what is stored stays readable. */
  rotate(tx: Transaction): void {
    const now = this.#context.clock.now();
    this.#changeKeys(tx, (keyring) => keyring.rotated(now));
  }

  /**
   * Gives up all terms up to this one by the transaction's commit. The caller's read set proves that nothing is under them
   * and that nothing can come: see `fenceOff`. Throws `invalid_request` for the active term.
   */
  async retire(tx: Transaction, through: number): Promise<void> {
    const open = this.#unsealed();
    if (through >= (await open.fenced()))
      throw new CofferError("invalid_request", `term ${through} is in use; rotate first`);
    tx.changeKeys(await open.withoutTerms(through));
  }

  /**
   * Makes sure that nobody can write under older terms than the active one any more, whatever they know. Gives the active
   * term: what is written from now on is under it or a later one.
   */
  fenceOff(): Promise<number> {
    return this.#unsealed().fenced();
  }

  /**
   * A keyring that this store had once, with terms that were retired since: undefined when its root key was another one.
   * The caller disposes it. Throws `sealed`.
   */
  formerKeyring(stored: Uint8Array): Keyring | undefined {
    return this.#unsealed().former(stored);
  }

  /** The change by which the keyring has these terms (again), for whoever brings back values. Throws `invalid_request`. */
  async keepTerms(terms: ReadonlySet<number>, stored: Uint8Array | undefined): Promise<KeyringChange> {
    const change = await this.#unsealed().withTerms(terms, stored);
    if (change === undefined)
      throw new CofferError("invalid_request", "the keys of these values were retired, and nothing here has them");
    return change;
  }

  /** All terms that there are, oldest first. The last one is the active one. */
  terms(): readonly KeyStatus[] {
    const open = this.#unsealed();
    const own = this.keyStatus();
    return open.current.terms.map((term) => (term.term === own.term ? own : term));
  }

  /** For background work: begins a new term when the policy says so. True when it did. */
  async rotateIfDue(): Promise<boolean> {
    const open = this.#unsealed();
    const before = open.current.active.term;
    const now = this.#context.clock.now();
    await open.change((keyring) => (keyring.rotationDue(now, 0) ? keyring.rotated(now) : undefined));
    return open.current.active.term !== before;
  }

  keyStatus(): KeyStatus {
    const open = this.#unsealed();
    const { term, installedAt, encryptions } = open.current.active;
    return { term, installedAt, encryptions: encryptions - open.unusedBudget };
  }

  rotationPolicy(): RotationPolicy {
    return this.#unsealed().current.rotation;
  }

  /** By the transaction's commit. Throws `invalid_request` for a policy outside the bounds. */
  setRotationPolicy(tx: Transaction, policy: RotationPolicy): void {
    assertRotationPolicy(policy);
    this.#changeKeys(tx, (keyring) => keyring.withRotation(policy));
  }

  /** A copy of the root key, for seals to wrap. The caller disposes it. Throws `sealed`. */
  cloneRootKey(): SecretBytes {
    return this.#unsealed().rootKey.clone();
  }

  /**
   * A key for another purpose than values, derived from a term's key (HKDF, RFC 5869): of the active term without one.
   * Undefined for a term that there is not. Throws `sealed`.
   */
  derivedKey(purpose: string, term?: number): DerivedKey | undefined {
    return deriveKey(this.#unsealed().current, purpose, term);
  }

  /**
   * Whether what stands at a storage key opens: it is whole and was written there by this barrier. The seal is not asked
   * for its layer, which is inside of ours. `former`: for terms that were retired. Throws `sealed`.
   */
  isGenuine(key: string, envelope: Uint8Array, former?: Keyring): boolean {
    const head = envelopeHead(envelope);
    const termKey = head && (this.#unsealed().current.keyOf(head.term) ?? former?.keyOf(head.term));
    const plaintext = termKey && openEnvelope(termKey, key, envelope);
    plaintext?.fill(0);
    return plaintext !== undefined;
  }

  /**
   * The plaintext of what stood at a storage key, for readers of snapshots. Throws `internal` when it does not open,
   * `unavailable` when it takes a seal that does not answer. `former`: for terms that were retired.
   */
  async reveal(key: string, envelope: Uint8Array, former?: Keyring): Promise<Uint8Array> {
    return this.#decrypt(key, envelope) ?? (await this.#decryptAfterReload(key, envelope, former));
  }

  /** How what stands at storage keys was encrypted; undefined where nothing stands, or nothing of this barrier's. */
  async heads(keys: readonly string[]): Promise<readonly (EnvelopeHead | undefined)[]> {
    const entries = await this.#context.storage.get(keys);
    return entries.map((entry) => entry && envelopeHead(entry.value));
  }

  /** Replaces the root key, in one commit with the seals' new blobs. "conflict": one of those has changed. */
  rekey(newRootKey: SecretBytes, plain: readonly PlainWrite[]): Promise<"committed" | "conflict"> {
    assert(newRootKey.length === KEY_BYTES, "a root key has 32 bytes");
    return this.#unsealed().rekey(newRootKey, plain);
  }

  /** Stores the seals' new copies of this root key. "conflict": the copies, or the root key, have changed meanwhile. */
  commitCopies(rootKey: SecretBytes, plain: readonly PlainWrite[]): Promise<"committed" | "conflict"> {
    return this.#unsealed().commitCopies(rootKey, plain);
  }

  #unsealed(): OpenKeyring {
    if (this.#open === undefined) throw new CofferError("sealed", "the server is sealed; unseal it first");
    return this.#open;
  }

  #decrypt(key: string, envelope: Uint8Array): Uint8Array | undefined {
    const head = envelopeHead(envelope);
    if (head === undefined) throw this.#damaged(key);
    const termKey = this.#unsealed().current.keyOf(head.term);
    if (termKey === undefined) return undefined;
    const { generation } = head;
    const dataKey = generation === undefined ? undefined : this.#wrapper?.keyAtHand(generation, key);
    if (generation !== undefined && dataKey === undefined) return undefined;
    const opened = openEnvelope(termKey, key, envelope);
    const plaintext = opened && dataKey ? unwrapValue(dataKey, key, opened) : opened;
    if (plaintext === undefined) throw this.#damaged(key);
    return plaintext;
  }

  #damaged(key: string): CofferError {
    this.#damagedReads++;
    return undecryptable(key);
  }

  async #decryptAfterReload(key: string, envelope: Uint8Array, former?: Keyring): Promise<Uint8Array> {
    const head = envelopeHead(envelope);
    if (head === undefined) throw this.#damaged(key);
    if (this.#unsealed().current.keyOf(head.term) === undefined) await this.#unsealed().reload();
    const termKey = this.#unsealed().current.keyOf(head.term) ?? former?.keyOf(head.term);
    const opened = termKey && openEnvelope(termKey, key, envelope);
    if (opened === undefined) throw this.#damaged(key);
    if (head.generation === undefined) return opened;
    const wrapper = this.#wrapper;
    if (wrapper === undefined) throw new CofferError("internal", `what is at path ${key} is wrapped by a seal`);
    const dataKey = await wrapper.key(head.generation, key);
    this.#unsealed(); // Sealing may have come meanwhile.
    const plaintext = unwrapValue(dataKey, key, opened);
    if (plaintext === undefined) throw this.#damaged(key);
    return plaintext;
  }

  #changeKeys(tx: Transaction, derive: (keyring: Keyring) => Keyring): void {
    const change = this.#unsealed().changed(derive);
    if (change) tx.changeKeys(change);
  }

  async #commit(
    expected: Map<string, bigint | undefined>,
    writes: ReadonlyMap<string, Uint8Array | null>,
    critical: ReadonlySet<string>,
    keys?: KeyringChange,
  ): Promise<"committed" | "conflict"> {
    const wrapped = await this.#wrap(expected, writes, critical);
    if (keys) return this.#commitWithKeys(expected, writes, wrapped, keys);
    for (let attempt = 0; attempt < FENCE_ATTEMPTS_MAX; attempt++) {
      const { open, values } = await this.#encrypted(expected, writes, wrapped);
      const fence = open.fence;
      if ((await this.#context.storage.commit({ expected, writes: values })) === "committed") return "committed";
      // A term that has begun meanwhile is no reason to do a request again: its values are encrypted anew.
      if (!(await open.isOvertaken(fence))) return "conflict";
    }
    return "conflict";
  }

  /** The same, and the keyring changes with it; both or none. */
  async #commitWithKeys(
    expected: Map<string, bigint | undefined>,
    writes: ReadonlyMap<string, Uint8Array | null>,
    wrapped: Wrapped,
    keys: KeyringChange,
  ): Promise<"committed" | "conflict"> {
    const { open, values } = await this.#encrypted(expected, writes, wrapped);
    for (const [key, version] of keys.expected) expected.set(key, version);
    const all = new Map([...values, ...keys.writes]);
    const result = await this.#context.storage.commit({ expected, writes: all });
    await open.follow();
    return result;
  }

  /** Encrypts by the keyring of this moment, and expects its fence: whoever was overtaken by a new term commits nothing. */
  async #encrypted(
    expected: Map<string, bigint | undefined>,
    writes: ReadonlyMap<string, Uint8Array | null>,
    wrapped: Wrapped,
  ): Promise<{ readonly open: OpenKeyring; readonly values: Map<string, Uint8Array | null> }> {
    while (!this.#unsealed().take(writes.size)) await this.#unsealed().reserve(writes.size);
    const open = this.#unsealed();
    expected.set(FENCE_KEY, open.fence);
    return { open, values: encryptAll(open.current, writes, wrapped) };
  }

  /** Puts the seal's layer on what is critical, and the record that names its key into the read set. */
  async #wrap(
    expected: Map<string, bigint | undefined>,
    writes: ReadonlyMap<string, Uint8Array | null>,
    critical: ReadonlySet<string>,
  ): Promise<Wrapped> {
    const wrapper = this.#wrapper;
    if (wrapper === undefined) return NOTHING_WRAPPED;
    const chosen = [...writes].filter(([key]) => critical.has(key) || wrapper.isAlwaysCritical(key));
    if (chosen.length === 0) return NOTHING_WRAPPED;
    const current = await wrapper.current();
    if (current === undefined) return NOTHING_WRAPPED;
    const { generation, fence } = current;
    // When the transaction has seen another version itself, that one stands, and the commit meets a conflict.
    if (!expected.has(fence.key)) expected.set(fence.key, fence.version);
    const values = new Map<string, Uint8Array>();
    for (const [key, value] of chosen) if (value) values.set(key, wrapValue(await current.keyFor(key), key, value));
    return { generation, values };
  }

  #commitFirst(
    init: Initialisation,
    keyring: Keyring,
    read: ReadonlyMap<string, bigint | undefined>,
    values: ReadonlyMap<string, Uint8Array | null>,
  ): Promise<"committed" | "conflict"> {
    assert(values.size <= RESERVATION, "the first records stay within the first booking of encryptions");
    const plain = plainBatch(init.plain);
    const expected = new Map([...read, ...plain.expected, [KEYRING_KEY, undefined] as const]);
    const stored = keyring.encrypt(init.rootKey.toKeyObject());
    const writes = new Map([...encryptAll(keyring, values), ...plain.values, [KEYRING_KEY, stored] as const]);
    return this.#context.storage.commit({ expected, writes });
  }
}

/** Before initialising there is no key: whatever stands in storage was not written by this barrier. */
const nothingToDecrypt: Pick<Cryptor, "decrypt" | "decryptAfterReload"> = {
  decrypt: (key) => {
    throw undecryptable(key);
  },
  decryptAfterReload: (key) => Promise.reject(undecryptable(key)),
};

/** Values with the seal's layer on them, and the generation of its key. */
interface Wrapped {
  readonly generation: number;
  readonly values: ReadonlyMap<string, Uint8Array>;
}
const NOTHING_WRAPPED: Wrapped = { generation: 0, values: new Map() };

function encryptAll(
  keyring: Keyring,
  writes: ReadonlyMap<string, Uint8Array | null>,
  { generation, values }: Wrapped = NOTHING_WRAPPED,
): Map<string, Uint8Array | null> {
  const encrypted = new Map<string, Uint8Array | null>();
  const { activeKey, active } = keyring;
  const { term } = active;
  for (const [key, value] of writes) {
    const wrapped = values.get(key);
    if (wrapped) encrypted.set(key, sealWrappedEnvelope(activeKey, { term, generation }, key, wrapped));
    else encrypted.set(key, value === null ? null : sealEnvelope(activeKey, term, key, value));
  }
  return encrypted;
}

function undecryptable(key: string): CofferError {
  return new CofferError("internal", `cannot decrypt what is stored at path ${key}; it was changed outside of Coffer`);
}
