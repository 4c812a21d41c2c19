// The keyring while the barrier is open: kept equal to storage, changed only by commits that name the version they
// change, because several processes share it. Also books encryptions before they are made. Lives from unseal to seal;
// must not encrypt or decrypt values (barrier.ts does).
//
// The root key can be replaced by another process. It then leaves the new one at ROOT_KEY_KEY, as an envelope under the
// active term, so that processes that hold the keyring can follow without asking the seals.
//
// Beside the keyring stands the fence (term-fence.ts), which every commit that encrypts has in its read set: once a term
// has begun, no process can write under an older one any more, however long it slept. A term is given up (`withoutTerms`)
// only by a commit that has the proof that nothing is under it in its own read set (docs/adr/0025-retired-terms.md).
import assert from "node:assert";
import type { KeyObject } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { RESTORE_KEY } from "../storage/restore-record.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { envelopeTerm, openEnvelope, sealEnvelope } from "./envelope.ts";
import { KEYRING_KEY, Keyring } from "./keyring.ts";
import { type PlainWrite, plainBatch } from "./plain-store.ts";
import { FENCE_KEY, fenceOf, isFenceOf } from "./term-fence.ts";

/** Where a replaced root key is left for other processes. */
export const ROOT_KEY_KEY = "core/root-key";
/** Encryptions are booked in steps of this many: one commit in 65,536, and that many lost to the count by a crash. */
export const RESERVATION = 65_536;
/** A change of the keyring loses only against another one, which are rare. */
const CHANGE_ATTEMPTS_MAX = 10;
/** A rotation between two reads of one call; not twice in a row. */
const READ_ATTEMPTS_MAX = 3;

export interface KeyringContext {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: Log;
}

interface State {
  readonly rootKey: SecretBytes;
  readonly rootKeyObject: KeyObject;
  readonly keyring: Keyring;
  /** Of the entry at KEYRING_KEY. */
  readonly version: bigint;
  /** Of the entry at FENCE_KEY; undefined in a new store, until the keyring changes for the first time. */
  readonly fence: bigint | undefined;
  /** False: what stands there is of another term, as after a rotation by a program that knew of no fence. */
  readonly isFenced: boolean;
}

/** A change of the keyring as a part of a transaction's commit. */
export interface KeyringChange {
  readonly expected: ReadonlyMap<string, bigint | undefined>;
  readonly writes: ReadonlyMap<string, Uint8Array>;
}

export class OpenKeyring implements Disposable {
  readonly #context: KeyringContext;
  readonly #watch: Disposable;
  #state: State;
  /** Encryptions that are booked on the active term and not made yet. */
  #budget = 0;
  #disposed = false;
  /** Changes and reloads follow one another: each begins with what the last one left. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(context: KeyringContext, state: State) {
    this.#context = context;
    this.#state = state;
    this.#watch = context.storage.watch((keys) => {
      if (keys === "all" || keys.includes(KEYRING_KEY)) this.#reloadInBackground();
    });
  }

  /** Opens the stored keyring with a copy of the root key; undefined when that is not its key. Throws `internal`. */
  static async open(context: KeyringContext, rootKey: SecretBytes): Promise<OpenKeyring | undefined> {
    const state = await readState(context.storage, rootKey);
    return state === "wrong_key" ? undefined : new OpenKeyring(context, state);
  }

  get current(): Keyring {
    return this.#state.keyring;
  }
  get unusedBudget(): number {
    return this.#budget;
  }
  get rootKey(): SecretBytes {
    return this.#state.rootKey;
  }
  /** What a commit that encrypts by `current` expects at FENCE_KEY. */
  get fence(): bigint | undefined {
    return this.#state.fence;
  }
  /** True when that many encryptions are booked; takes them. */
  take(encryptions: number): boolean {
    if (this.#budget < encryptions || !this.#state.isFenced) return false;
    this.#budget -= encryptions;
    return true;
  }

  /** Books encryptions, on a new term when the active one has done enough. */
  reserve(encryptions: number): Promise<void> {
    return this.#exclusive(async () => {
      if (this.#budget >= encryptions && this.#state.isFenced) return;
      const step = Math.max(RESERVATION, encryptions);
      const now = this.#context.clock.now();
      const next = await this.#change((k) => (k.rotationDue(now, step) ? k.rotated(now) : k).charged(step));
      // When yet another process rotated in between, what was booked is on a term that is over.
      if (next === this.current.active.term) this.#budget += step;
    });
  }

  /** Derives a new keyring and stores it; `derive` runs again when another process was first, undefined leaves it. */
  change(derive: (keyring: Keyring) => Keyring | undefined): Promise<void> {
    return this.#exclusive(async () => {
      await this.#change(derive);
    });
  }

  /**
   * A change for a transaction, as the keyring is now; undefined when `derive` leaves it. Whoever commits it calls `reload`
   * afterwards, whatever came of it.
   */
  changed(derive: (keyring: Keyring) => Keyring | undefined): KeyringChange | undefined {
    const { keyring } = this.#state;
    const next = derive(keyring);
    return next && this.#changeTo(next);
  }

  /**
   * The change that gives up all terms up to this one. A restore must not be under way: it may bring back what is under
   * them. The root key that was left for other processes is encrypted anew if need be.
   */
  async withoutTerms(through: number): Promise<KeyringChange> {
    const { keyring, fence, isFenced, rootKey } = this.#state;
    assert(fence !== undefined && isFenced, "a term is given up behind a fence");
    const { expected, writes } = this.#changeTo(keyring.without(through));
    const [left] = await this.#context.storage.get([ROOT_KEY_KEY]);
    this.#assertOpen();
    const all = new Map([...expected, [FENCE_KEY, fence], [RESTORE_KEY, undefined]]);
    if (left === undefined || (envelopeTerm(left.value) ?? 0) > through) return { expected: all, writes };
    const { activeKey, active } = keyring;
    const again = sealEnvelope(activeKey, active.term, ROOT_KEY_KEY, rootKey.expose());
    return {
      expected: all.set(ROOT_KEY_KEY, left.version),
      writes: new Map([...writes, [ROOT_KEY_KEY, again]]),
    };
  }

  /**
   * A keyring of before, where this root key still opens it and it is of the same history. The caller disposes it.
   */
  former(stored: Uint8Array): Keyring | undefined {
    const { keyring, rootKeyObject } = this.#state;
    const former = Keyring.open(stored, rootKeyObject);
    if (former === undefined || keyring.withTermsOf(former, new Set()) !== undefined) return former;
    former.dispose();
    return undefined;
  }

  /** The change that has these terms in the keyring, from a stored one where they are missing; undefined: it cannot. */
  async withTerms(terms: ReadonlySet<number>, stored: Uint8Array | undefined): Promise<KeyringChange | undefined> {
    await this.reload();
    const { keyring, version } = this.#state;
    const isMissing = (from: Keyring) => [...terms].some((term) => from.keyOf(term) === undefined);
    if (!isMissing(keyring)) return { expected: new Map([[KEYRING_KEY, version]]), writes: new Map() };
    const former = stored && this.former(stored);
    const next = former && keyring.withTermsOf(former, terms);
    const change = next && !isMissing(next) ? this.#changeTo(next) : undefined;
    former?.dispose();
    return change;
  }

  /** Puts up the fence where there is none yet. Gives the active term: nobody can write under an older one any more. */
  fenced(): Promise<number> {
    return this.#exclusive(async () => {
      await this.#reload();
      if (this.#state.fence === undefined || !this.#state.isFenced) await this.#change((keyring) => keyring.charged(0));
      return this.current.active.term;
    });
  }

  /** Whether somebody has begun a new term since the fence was of this version; then this process follows. */
  async isOvertaken(fence: bigint | undefined): Promise<boolean> {
    const [entry] = await this.#context.storage.get([FENCE_KEY]);
    if (entry?.version === fence) return false;
    await this.reload();
    return true;
  }

  /** Puts the keyring under a new root key, together with plain blobs; "conflict" when one of those has changed. */
  rekey(newRootKey: SecretBytes, plain: readonly PlainWrite[]): Promise<"committed" | "conflict"> {
    return this.#exclusive(async () => {
      for (let attempt = 0; attempt < CHANGE_ATTEMPTS_MAX; attempt++) {
        const { version } = this.#state;
        if ((await this.#commitRekey(newRootKey, plain)) === "committed") return "committed";
        await this.#reload();
        if (this.#state.version === version) return "conflict";
      }
      throw tooContended();
    });
  }

  /**
   * Stores plain blobs that hold copies of this root key. "conflict": one of them has changed, or the root key is another
   * by now, whoever replaced it.
   */
  commitCopies(rootKey: SecretBytes, plain: readonly PlainWrite[]): Promise<"committed" | "conflict"> {
    return this.#exclusive(async () => {
      const { expected, values } = plainBatch(plain);
      for (let attempt = 0; attempt < CHANGE_ATTEMPTS_MAX; attempt++) {
        await this.#reload();
        const { version } = this.#state;
        if (!this.rootKey.equals(rootKey)) return "conflict";
        expected.set(KEYRING_KEY, version);
        if ((await this.#context.storage.commit({ expected, writes: values })) === "committed") return "committed";
        await this.#reload();
        if (this.#state.version === version) return "conflict";
      }
      throw tooContended();
    });
  }

  /** Looks for a newer keyring in storage. */
  reload(): Promise<void> {
    return this.#exclusive(() => this.#reload());
  }

  /** The same after a commit that is done, whose outcome must not depend on it. */
  async follow(): Promise<void> {
    await this.reload().catch((error: unknown) => this.#complain(error));
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#budget = 0;
    this.#watch[Symbol.dispose]();
    this.#state.keyring.dispose();
    this.#state.rootKey[Symbol.dispose]();
  }

  async #change(derive: (keyring: Keyring) => Keyring | undefined): Promise<number | undefined> {
    for (let attempt = 0; attempt < CHANGE_ATTEMPTS_MAX; attempt++) {
      const next = derive(this.#state.keyring);
      if (next === undefined) return undefined;
      const result = await this.#context.storage.commit(this.#changeTo(next));
      await this.#reload();
      if (result === "committed") return next.active.term;
    }
    throw tooContended();
  }

  #changeTo(next: Keyring): KeyringChange {
    const { keyring, rootKeyObject, version, fence, isFenced } = this.#state;
    const expected = new Map<string, bigint | undefined>([[KEYRING_KEY, version]]);
    const writes = new Map([[KEYRING_KEY, next.encrypt(rootKeyObject)]]);
    const isPut = next.active.term !== keyring.active.term || fence === undefined || !isFenced;
    if (isPut) {
      expected.set(FENCE_KEY, fence);
      writes.set(FENCE_KEY, fenceOf(next));
    }
    next.dispose(keyring); // A fresh key comes back by the reload; this copy has done its work.
    return { expected, writes };
  }

  async #commitRekey(newRootKey: SecretBytes, plain: readonly PlainWrite[]): Promise<"committed" | "conflict"> {
    const { keyring, version } = this.#state;
    const { expected, values } = plainBatch(plain);
    const newKey = newRootKey.toKeyObject();
    expected.set(KEYRING_KEY, version);
    values.set(KEYRING_KEY, keyring.encrypt(newKey));
    const { activeKey, active } = keyring;
    values.set(ROOT_KEY_KEY, sealEnvelope(activeKey, active.term, ROOT_KEY_KEY, newRootKey.expose()));
    const result = await this.#context.storage.commit({ expected, writes: values });
    if (result === "committed") this.#adoptRootKey(newRootKey.clone());
    if (result === "committed") await this.#reload();
    return result;
  }

  #adoptRootKey(rootKey: SecretBytes): void {
    this.#state.rootKey[Symbol.dispose]();
    this.#state = { ...this.#state, rootKey, rootKeyObject: rootKey.toKeyObject() };
  }

  async #reload(): Promise<void> {
    this.#assertOpen();
    const { version, fence, isFenced } = this.#state;
    const [entry, fenceEntry] = await readKeyring(this.#context.storage);
    this.#assertOpen();
    if (entry.version === version && fenceEntry?.version === fence && isFenced) return;
    const { rootKey, keyring } = this.#state;
    const same = await readState(this.#context.storage, rootKey);
    const state = same === "wrong_key" ? await this.#followRootKey() : same;
    this.#assertOpen(state);
    if (state.keyring.active.term !== keyring.active.term) this.#budget = 0;
    this.#state = state;
    keyring.dispose();
    rootKey[Symbol.dispose]();
  }

  async #followRootKey(): Promise<State> {
    const [left] = await this.#context.storage.get([ROOT_KEY_KEY]);
    const term = left === undefined ? undefined : envelopeTerm(left.value);
    const key = term === undefined ? undefined : this.#state.keyring.keyOf(term);
    const bytes = left && key ? openEnvelope(key, ROOT_KEY_KEY, left.value) : undefined;
    using newKey = bytes && new SecretBytes(bytes);
    const state = newKey ? await readState(this.#context.storage, newKey) : "wrong_key";
    if (state === "wrong_key")
      throw new CofferError("sealed", "the root key was replaced and this process cannot follow; unseal it again");
    return state;
  }

  #reloadInBackground(): void {
    void this.follow();
  }

  #complain(error: unknown): void {
    if (!this.#disposed) this.#context.log.error("cannot read the changed keyring", { error: messageOf(error) });
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work);
    this.#last = run.catch(() => {});
    return run;
  }

  /** Sealing may come at any await; what was decrypted since then must not stay. */
  #assertOpen(fresh?: State): void {
    if (!this.#disposed) return;
    fresh?.keyring.dispose();
    fresh?.rootKey[Symbol.dispose]();
    throw new CofferError("sealed", "the server was sealed");
  }
}

/** The keyring's entry and the fence's. */
async function readKeyring(storage: Storage): Promise<readonly [Entry, Entry | undefined]> {
  const [entry, fence] = await storage.get([KEYRING_KEY, FENCE_KEY]);
  if (entry === undefined)
    throw new CofferError(
      "internal",
      `nothing is stored at path ${KEYRING_KEY}, which opens all else; restore a snapshot`,
    );
  return [entry, fence];
}

/** Opens what is stored; keeps a copy of the root key. Throws `internal`. */
async function readState(storage: Storage, rootKey: SecretBytes): Promise<State | "wrong_key"> {
  for (let attempt = 1; ; attempt++) {
    const [entry, fence] = await readKeyring(storage);
    const rootKeyObject = rootKey.toKeyObject();
    const keyring = Keyring.open(entry.value, rootKeyObject);
    if (keyring === undefined) return "wrong_key";
    const isFenced = fence === undefined || isFenceOf(keyring, fence.value);
    // Two entries of one call may be of different moments; the next call comes after both.
    if (isFenced || attempt >= READ_ATTEMPTS_MAX)
      return {
        rootKey: rootKey.clone(),
        ...{ rootKeyObject, keyring, version: entry.version, fence: fence?.version, isFenced },
      };
    keyring.dispose();
  }
}

function tooContended(): CofferError {
  return new CofferError("conflict", "other processes kept changing the keyring; try again");
}
