// A namespace's part of a request's one transaction: every record lies below `ns/<id>/`, except the few that all
// namespaces share. The root namespace has the transaction itself, so it costs nothing where there are no namespaces.
// What is not named as shared belongs to the namespace: a record that is forgotten here is kept apart, not let out.
import type { KeyringChange } from "../barrier/open-keyring.ts";
import type { RecordKind, Transaction } from "../barrier/transaction.ts";
import type { Page, Range } from "../storage/storage.ts";

/**
 * Records that are found without knowing a namespace. Tokens are: their keys are HMACs of the token's text under one
 * salt, so whoever asks for one holds it, and a token's children and leases may be in namespaces below its own.
 */
const SHARED_PREFIXES: readonly string[] = [
  "mount/", // by the mount's uuid, which only its record tells
  "core/token/id/",
  "core/token/child/",
  "core/token-lease/",
  "core/token-dependents/",
  "core/expiry/", // its references name the namespace
  "core/journal-due/", // and so do these
  "core/journal-stuck/",
  "core/job/", // so do jobs
  "core/namespace/",
  "core/namespace-id/",
  "core/quota/", // rules name the namespace
  "core/quota-guard/",
  "core/config/", // of the whole server; written in the root namespace alone
  "core/version/",
  "core/ceremony/",
  "core/sealwrap/", // by the mounts' uuids
];
const SHARED_KEYS: ReadonlySet<string> = new Set([
  "core/token-salt",
  "core/sealed-text-key",
  "core/wrapping-key",
  "core/control-group-config",
  "core/audit",
  "core/cluster",
  "core/quota-index",
]);

/** Where all records of a namespace lie. */
export function namespacePrefix(id: string): string {
  return `ns/${id}/`;
}

/** The part of a transaction that is the namespace's with this id; "" is the root namespace. */
export function namespaceView(tx: Transaction, id: string): Transaction {
  if (namespaceIdOf(tx) === id) return tx;
  const whole = tx instanceof NamespaceTransaction ? tx.whole : tx;
  return id === "" ? whole : new NamespaceTransaction(whole, id);
}

/** Id of the namespace that this is the part of; "" for the root namespace. */
export function namespaceIdOf(tx: object): string {
  return tx instanceof NamespaceTransaction ? tx.id : "";
}

class NamespaceTransaction implements Transaction {
  readonly whole: Transaction;
  readonly id: string;
  readonly #prefix: string;
  constructor(whole: Transaction, id: string) {
    this.whole = whole;
    this.id = id;
    this.#prefix = namespacePrefix(id);
  }

  get dirty(): boolean {
    return this.whole.dirty;
  }
  get(key: string): Promise<Uint8Array | undefined> {
    return this.whole.get(this.#keyOf(key));
  }
  prefetch(keys: readonly string[]): Promise<void> {
    return this.whole.prefetch(keys.map((key) => this.#keyOf(key)));
  }
  put(key: string, value: Uint8Array, critical?: boolean): void {
    this.whole.put(this.#keyOf(key), value, critical);
  }
  delete(key: string): void {
    this.whole.delete(this.#keyOf(key));
  }
  list(prefix: string, page: Page): Promise<readonly string[]> {
    return this.whole.list(this.#keyOf(prefix), page);
  }
  async scan(range: Range): Promise<readonly string[]> {
    if (isShared(range.from)) return this.whole.scan(range);
    const keys = await this.whole.scan({ ...range, from: this.#prefix + range.from, to: this.#prefix + range.to });
    return keys.map((key) => key.slice(this.#prefix.length));
  }
  read<T>(kind: RecordKind<T>, key: string): Promise<T | undefined> {
    return this.whole.read(kind, this.#keyOf(key));
  }
  write<T extends object>(kind: RecordKind<T>, key: string, record: T, critical?: boolean): void {
    this.whole.write(kind, this.#keyOf(key), record, critical);
  }
  changeKeys(change: KeyringChange): void {
    this.whole.changeKeys(change);
  }
  isCurrent(): Promise<boolean> {
    return this.whole.isCurrent();
  }
  commit(): Promise<"committed" | "conflict"> {
    return this.whole.commit();
  }

  #keyOf(key: string): string {
    return isShared(key) ? key : this.#prefix + key;
  }
}

function isShared(key: string): boolean {
  return SHARED_KEYS.has(key) || SHARED_PREFIXES.some((prefix) => key.startsWith(prefix));
}
