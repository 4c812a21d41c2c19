// User lockout: after too many wrong passwords in a row a user cannot log in for a while, with the right one neither.
// Counted in storage, so that attempts spread over nodes count together.
//
//   core/lockout/<mount accessor>/<alias, percent-encoded>   { failures, lastFailureSeconds }
import type { Clock } from "#common/clock.ts";
import { number, object } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import type { UserLockoutStanza } from "../config/server-config.ts";
import type { LockoutConfig, MountRecord } from "../mounts/mount-record.ts";

const failuresKind = recordKind("login failures", object({ failures: number, lastFailureSeconds: number }));
const PREFIX = "core/lockout/";
const PAGE = 1_000;

/** Five failures lock for a quarter of an hour: what clients of Vault expect. */
export const LOCKOUT_DEFAULTS: LockoutConfig = {
  threshold: 5,
  durationSeconds: 900,
  counterResetSeconds: 900,
  disabled: false,
};
/** Methods whose users can be guessed. Others check what a machine holds. */
const LOCKABLE_TYPES = ["userpass", "ldap", "approle"];

/** What holds for a mount: its own settings over the configuration's for its type, over those for all. */
export function lockoutOf(mount: MountRecord, stanzas: readonly UserLockoutStanza[]): LockoutConfig {
  const stanza = stanzas.find(({ type }) => type === mount.type) ?? stanzas.find(({ type }) => type === "all");
  return { ...LOCKOUT_DEFAULTS, ...stanza, ...mount.config.userLockout };
}

export class Lockout {
  readonly #clock: Clock;
  readonly #stanzas: readonly UserLockoutStanza[];
  constructor(clock: Clock, stanzas: readonly UserLockoutStanza[]) {
    this.#clock = clock;
    this.#stanzas = stanzas;
  }

  async isLocked(tx: Transaction, mount: MountRecord, aliasName: string): Promise<boolean> {
    const config = this.#configOf(mount);
    if (!config) return false;
    const record = await tx.read(failuresKind, keyOf(mount.accessor, aliasName));
    return (
      record !== undefined && record.failures >= config.threshold && this.#ageSeconds(record) < config.durationSeconds
    );
  }

  async noteFailure(tx: Transaction, mount: MountRecord, aliasName: string): Promise<void> {
    const config = this.#configOf(mount);
    if (!config) return;
    const key = keyOf(mount.accessor, aliasName);
    const before = await tx.read(failuresKind, key);
    const isLocked =
      before !== undefined && before.failures >= config.threshold && this.#ageSeconds(before) < config.durationSeconds;
    if (isLocked) return; // the time runs from the failure that locked
    const counts =
      before !== undefined &&
      before.failures < config.threshold &&
      this.#ageSeconds(before) < config.counterResetSeconds;
    tx.write(failuresKind, key, { failures: counts ? before.failures + 1 : 1, lastFailureSeconds: this.#nowSeconds() });
  }

  async noteSuccess(tx: Transaction, mount: MountRecord, aliasName: string): Promise<void> {
    if (!this.#configOf(mount)) return;
    const key = keyOf(mount.accessor, aliasName);
    if (await tx.read(failuresKind, key)) tx.delete(key);
  }

  unlock(tx: Transaction, mountAccessor: string, aliasName: string): void {
    tx.delete(keyOf(mountAccessor, aliasName));
  }

  /** Names of a mount's users that are locked now. */
  async lockedUsers(tx: Transaction, mount: MountRecord): Promise<readonly string[]> {
    const locked: string[] = [];
    for (const name of await tx.list(`${PREFIX}${mount.accessor}/`, { limit: PAGE })) {
      const aliasName = decodeURIComponent(name);
      if (await this.isLocked(tx, mount, aliasName)) locked.push(aliasName);
    }
    return locked;
  }

  #configOf(mount: MountRecord): LockoutConfig | undefined {
    if (!LOCKABLE_TYPES.includes(mount.type)) return undefined;
    const config = lockoutOf(mount, this.#stanzas);
    return config.disabled ? undefined : config;
  }

  #nowSeconds(): number {
    return Math.floor(this.#clock.now() / 1000);
  }

  #ageSeconds(record: { lastFailureSeconds: number }): number {
    return this.#nowSeconds() - record.lastFailureSeconds;
  }
}

function keyOf(mountAccessor: string, aliasName: string): string {
  return `${PREFIX}${mountAccessor}/${encodeURIComponent(aliasName)}`;
}
