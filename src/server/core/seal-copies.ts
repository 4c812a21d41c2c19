// The seals' copies of root and recovery key on a server that is unsealed: makes them anew, proves that they open, drops
// those that nobody wants any more. Each change is one commit that names the version of what it changes, so that several
// nodes can do this at the same time. When to do it is for seal-watch.ts and seal-change.ts to say.
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { AutoSeal, WrappedKey } from "../seal/seal.ts";
import { SealError } from "../seal/seal.ts";
import type { Storage } from "../storage/storage.ts";
import {
  datedCopies,
  type KeyCopy,
  RECOVERY_PURPOSE,
  ROOT_PURPOSE,
  readSeal,
  type SealKeys,
  type StoredSeal,
  sealKeysWrite,
} from "./seal-store.ts";

/** A commit loses only against other nodes that do the same, or against a change of keys; both are rare. */
const ATTEMPTS_MAX = 5;

export interface SealCopiesDependencies {
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly clock: Clock;
}

export class SealCopies {
  readonly #deps: SealCopiesDependencies;
  constructor(dependencies: SealCopiesDependencies) {
    this.#deps = dependencies;
  }

  /** Throws `uninitialized`. */
  async stored(): Promise<StoredSeal> {
    const stored = await readSeal(this.#deps.storage);
    if (stored) return stored;
    throw new CofferError("uninitialized", "the server is not initialised");
  }

  /**
   * Copies of both keys by these seals, each proved to open before it is kept. `openers` are asked for the recovery key,
   * which only seals know. Throws SealError of a seal that does not wrap, `unavailable` when nobody opens the recovery
   * key, `conflict`, `sealed`.
   */
  async renew(seals: readonly AutoSeal[], openers: readonly AutoSeal[]): Promise<void> {
    if (seals.length === 0) return;
    await this.#change(async (stored, rootKey) => {
      const root = await wrapAll(seals, rootKey, ROOT_PURPOSE);
      const recovery = await this.#wrapRecovery(stored, seals, openers);
      return this.#with(stored.keys, { root, recovery });
    });
  }

  async #wrapRecovery(
    { keys }: StoredSeal,
    seals: readonly AutoSeal[],
    openers: readonly AutoSeal[],
  ): Promise<readonly WrappedKey[]> {
    if (keys.recovery.length === 0) return [];
    using recoveryKey = await openByAny(keys.recovery, RECOVERY_PURPOSE, openers);
    return await wrapAll(seals, recoveryKey, RECOVERY_PURPOSE);
  }

  #with(keys: SealKeys, made: { root: readonly WrappedKey[]; recovery: readonly WrappedKey[] }): SealKeys {
    const now = this.#deps.clock.now();
    const merged = (old: readonly KeyCopy[], news: readonly WrappedKey[]) => [
      ...old.filter((copy) => !news.some(({ seal }) => seal === copy.seal)),
      ...datedCopies(news, old, now),
    ];
    return { ...keys, root: merged(keys.root, made.root), recovery: merged(keys.recovery, made.recovery) };
  }

  /** Forgets the copies of seals of these names. Throws `conflict`, `sealed`. */
  async drop(names: readonly string[]): Promise<void> {
    const isKept = ({ seal }: KeyCopy) => !names.includes(seal);
    await this.#change(async ({ keys }) => {
      const { root, recovery, emergency } = keys;
      if ([...root, ...recovery, ...(emergency ? [emergency] : [])].every(isKept)) return undefined;
      const kept = { root: root.filter(isKept), recovery: recovery.filter(isKept) };
      return { ...kept, emergency: emergency && isKept(emergency) ? emergency : undefined };
    });
  }

  /** Whether the seal opens its stored copies and they are the keys of today. Throws SealError when it does not answer. */
  async holds(seal: AutoSeal): Promise<boolean> {
    const { keys } = await this.stored();
    if (!isComplete(keys, seal.name)) return false;
    using current = this.#deps.barrier.cloneRootKey();
    const root = keys.root.find((copy) => copy.seal === seal.name);
    if (!root || !(await opensTo(seal, root, ROOT_PURPOSE, current))) return false;
    const recovery = keys.recovery.find((copy) => copy.seal === seal.name);
    if (!recovery) return true;
    using recoveryKey = await opened(seal, recovery, RECOVERY_PURPOSE);
    return recoveryKey !== undefined;
  }

  async #change(make: (stored: StoredSeal, rootKey: SecretBytes) => Promise<SealKeys | undefined>): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const stored = await this.stored();
      using rootKey = this.#deps.barrier.cloneRootKey();
      const keys = await make(stored, rootKey);
      if (!keys) return;
      const write = sealKeysWrite(keys, stored.keysVersion);
      if ((await this.#deps.barrier.commitCopies(rootKey, [write])) === "committed") return;
    }
    throw new CofferError("conflict", "other servers keep changing the keys; try again");
  }
}

/** Whether the seal has a copy of each key that there is. */
export function isComplete({ root, recovery }: SealKeys, name: string): boolean {
  const has = (copies: readonly KeyCopy[]) => copies.some(({ seal }) => seal === name);
  return has(root) && (recovery.length === 0 || has(recovery));
}

/** The key from the first of its copies that a seal opens; the caller disposes it. Throws `unavailable`. */
export async function openByAny(
  copies: readonly WrappedKey[],
  purpose: string,
  openers: readonly AutoSeal[],
): Promise<SecretBytes> {
  const faults: string[] = [];
  for (const seal of openers) {
    const copy = copies.find((candidate) => candidate.seal === seal.name);
    if (!copy) continue;
    try {
      return await seal.unwrap(copy, purpose);
    } catch (error) {
      faults.push(`seal ${seal.name}: ${messageOf(error)}`);
    }
  }
  const what = purpose === RECOVERY_PURPOSE ? "recovery key" : "root key";
  throw new CofferError(
    "unavailable",
    `no seal could open the ${what}: ${faults.join("; ") || "none of them has a copy"}`,
  );
}

/** Each copy is opened again before anybody relies on it. */
async function wrapAll(seals: readonly AutoSeal[], key: SecretBytes, purpose: string): Promise<readonly WrappedKey[]> {
  return Promise.all(
    seals.map(async (seal) => {
      const copy = await seal.wrap(key, purpose);
      if (await opensTo(seal, copy, purpose, key)) return copy;
      const message = `seal ${seal.name} does not open what it has just wrapped`;
      throw new SealError("Failed", message, { transient: false });
    }),
  );
}

async function opensTo(seal: AutoSeal, copy: WrappedKey, purpose: string, key: SecretBytes): Promise<boolean> {
  using found = await opened(seal, copy, purpose);
  return found?.equals(key) ?? false;
}

/** Undefined: the seal works and this copy is none of its own. Throws SealError for what says nothing of the copy. */
async function opened(seal: AutoSeal, copy: WrappedKey, purpose: string): Promise<SecretBytes | undefined> {
  try {
    return await seal.unwrap(copy, purpose);
  } catch (error) {
    const isAboutCopy =
      error instanceof SealError && (error.fault === "InvalidCiphertext" || error.fault === "KeyNotFound");
    if (isAboutCopy) return undefined;
    throw error;
  }
}
