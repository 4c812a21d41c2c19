// The keyring while the barrier is open: kept equal to storage, changed only by commits that name the version they
// change, because several processes share it. Also books encryptions before they are made. Lives from unseal to seal;
// must not encrypt or decrypt values (barrier.ts does).
//
// The root key can be replaced by another process. It then leaves the new one at ROOT_KEY_KEY, as an envelope under the
// active term, so that processes that hold the keyring can follow without asking the seals.
import type { KeyObject } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import type { Entry, Storage } from "../storage/storage.ts";
import { envelopeTerm, openEnvelope, sealEnvelope } from "./envelope.ts";
import { KEYRING_KEY, Keyring } from "./keyring.ts";
import { type PlainWrite, plainBatch } from "./plain-store.ts";

/** Where a replaced root key is left for other processes. */
export const ROOT_KEY_KEY = "core/root-key";
/** Encryptions are booked in steps of this many: one commit in 65,536, and that many lost to the count by a crash. */
export const RESERVATION = 65_536;
/** A change of the keyring loses only against another one, which are rare. */
const CHANGE_ATTEMPTS_MAX = 10;

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
    const entry = await readKeyring(context.storage);
    const state = openState(entry, rootKey.clone());
    return state === undefined ? undefined : new OpenKeyring(context, state);
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
  /** True when that many encryptions are booked; takes them. */
  take(encryptions: number): boolean {
    if (this.#budget < encryptions) return false;
    this.#budget -= encryptions;
    return true;
  }

  /** Books encryptions, on a new term when the active one has done enough. */
  reserve(encryptions: number): Promise<void> {
    return this.#exclusive(async () => {
      if (this.#budget >= encryptions) return;
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

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#budget = 0;
    this.#watch[Symbol.dispose]();
    this.#state.keyring.dispose();
    this.#state.rootKey[Symbol.dispose]();
  }

  async #change(derive: (keyring: Keyring) => Keyring | undefined): Promise<number | undefined> {
    for (let attempt = 0; attempt < CHANGE_ATTEMPTS_MAX; attempt++) {
      const { keyring, rootKeyObject, version } = this.#state;
      const next = derive(keyring);
      if (next === undefined) return undefined;
      const writes = new Map([[KEYRING_KEY, next.encrypt(rootKeyObject)]]);
      next.dispose(keyring); // A fresh key comes back by the reload; this copy has done its work.
      const expected = new Map([[KEYRING_KEY, version]]);
      const result = await this.#context.storage.commit({ expected, writes });
      await this.#reload();
      if (result === "committed") return next.active.term;
    }
    throw tooContended();
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
    const entry = await readKeyring(this.#context.storage);
    this.#assertOpen();
    if (entry.version === this.#state.version) return;
    const { rootKey, keyring } = this.#state;
    const state = openState(entry, rootKey.clone()) ?? (await this.#followRootKey(entry));
    this.#assertOpen(state);
    if (state.keyring.active.term !== keyring.active.term) this.#budget = 0;
    this.#state = state;
    keyring.dispose();
    rootKey[Symbol.dispose]();
  }

  async #followRootKey(entry: Entry): Promise<State> {
    const [left] = await this.#context.storage.get([ROOT_KEY_KEY]);
    const term = left === undefined ? undefined : envelopeTerm(left.value);
    const key = term === undefined ? undefined : this.#state.keyring.keyOf(term);
    const bytes = left && key ? openEnvelope(key, ROOT_KEY_KEY, left.value) : undefined;
    const state = bytes === undefined ? undefined : openState(entry, new SecretBytes(bytes));
    if (state === undefined)
      throw new CofferError("sealed", "the root key was replaced and this process cannot follow; unseal it again");
    return state;
  }

  #reloadInBackground(): void {
    this.reload().catch((error: unknown) => {
      if (!this.#disposed) this.#context.log.error("cannot read the changed keyring", { error: messageOf(error) });
    });
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

async function readKeyring(storage: Storage): Promise<Entry> {
  const [entry] = await storage.get([KEYRING_KEY]);
  if (entry === undefined)
    throw new CofferError(
      "internal",
      `nothing is stored at path ${KEYRING_KEY}, which opens all else; restore a snapshot`,
    );
  return entry;
}

/** Takes ownership of the root key: it is zeroed when it is not the right one. */
function openState(entry: Entry, rootKey: SecretBytes): State | undefined {
  const rootKeyObject = rootKey.toKeyObject();
  const keyring = Keyring.open(entry.value, rootKeyObject);
  if (keyring !== undefined) return { rootKey, rootKeyObject, keyring, version: entry.version };
  rootKey[Symbol.dispose]();
  return undefined;
}

function tooContended(): CofferError {
  return new CofferError("conflict", "other processes kept changing the keyring; try again");
}
