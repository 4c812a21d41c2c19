// User lockout: after too many wrong passwords in a row a user cannot log in for a while, with the right one neither.
// Counted in storage, so that attempts spread over nodes count together.
// Anybody can invent names: each failure also removes a few records that count no more, so that there are never many
// more of them than there were failures of late.
//
//   core/lockout/<mount accessor>/<SHA-256 of the alias, hex>   { aliasName, failures, lastFailureSeconds }
import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { number, object, string } from "#common/schema.ts";
import { recordKind, type Transaction } from "../barrier/transaction.ts";
import type { UserLockoutStanza } from "../config/server-config.ts";
import type { LockoutConfig, MountRecord } from "../mounts/mount-record.ts";

const failuresKind = recordKind(
  "login failures",
  object({ aliasName: string, failures: number, lastFailureSeconds: number }),
);
const PREFIX = "core/lockout/";
const PAGE = 1_000;
/** Records looked at with each failure, from a place taken by chance: several for each that is added. */
const SWEPT_AT_ONCE = 8;
/** Longer names are cut where they are shown; whether two are the same is decided by the whole name. */
const SHOWN_CHARACTERS_MAX = 256;

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

/** The way out for who has locked out everybody: set for the process, it counts before all settings. */
const OFF_VARIABLES = ["COFFER_DISABLE_USER_LOCKOUT", "VAULT_DISABLE_USER_LOCKOUT", "BAO_DISABLE_USER_LOCKOUT"];

function isOff(environment: Readonly<Record<string, string | undefined>>): boolean {
  return OFF_VARIABLES.some((name) => /^(1|t|true)$/i.test(environment[name] ?? ""));
}

export class Lockout {
  readonly #clock: Clock;
  readonly #stanzas: readonly UserLockoutStanza[];
  readonly #isOff: boolean;
  constructor(
    clock: Clock,
    stanzas: readonly UserLockoutStanza[],
    environment: Readonly<Record<string, string | undefined>> = {},
  ) {
    this.#clock = clock;
    this.#stanzas = stanzas;
    this.#isOff = isOff(environment);
  }

  async isLocked(tx: Transaction, mount: MountRecord, aliasName: string): Promise<boolean> {
    const config = this.#configOf(mount);
    if (!config) return false;
    const record = await tx.read(failuresKind, keyOf(mount.accessor, aliasName));
    return record !== undefined && this.#locks(record, config);
  }

  async noteFailure(tx: Transaction, mount: MountRecord, aliasName: string): Promise<void> {
    const config = this.#configOf(mount);
    if (!config) return;
    const key = keyOf(mount.accessor, aliasName);
    const before = await tx.read(failuresKind, key);
    if (before && this.#locks(before, config)) return; // the time runs from the failure that locked
    const counts =
      before !== undefined &&
      before.failures < config.threshold &&
      this.#ageSeconds(before) < config.counterResetSeconds;
    tx.write(failuresKind, key, {
      aliasName: aliasName.slice(0, SHOWN_CHARACTERS_MAX),
      failures: counts ? before.failures + 1 : 1,
      lastFailureSeconds: this.#nowSeconds(),
    });
    await this.#sweep(tx, mount, config);
  }

  /** Removes what counts no more, a little at a time. */
  async #sweep(tx: Transaction, mount: MountRecord, config: LockoutConfig): Promise<void> {
    const prefix = prefixOf(mount.accessor);
    const after = randomBytes(4).toString("hex");
    for (const name of await tx.list(prefix, { after, limit: SWEPT_AT_ONCE })) {
      const record = await tx.read(failuresKind, prefix + name);
      const isOver = record && this.#ageSeconds(record) >= Math.max(config.durationSeconds, config.counterResetSeconds);
      if (isOver) tx.delete(prefix + name);
    }
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
    const config = this.#configOf(mount);
    const prefix = prefixOf(mount.accessor);
    for (let after: string | undefined; config; ) {
      const names = await tx.list(prefix, { limit: PAGE, ...(after !== undefined && { after }) });
      await tx.prefetch(names.map((name) => prefix + name));
      for (const name of names) {
        const record = await tx.read(failuresKind, prefix + name);
        if (record && this.#locks(record, config)) locked.push(record.aliasName);
      }
      if (names.length < PAGE) break;
      after = names.at(-1);
    }
    return locked.sort();
  }

  #locks(record: { failures: number; lastFailureSeconds: number }, config: LockoutConfig): boolean {
    return record.failures >= config.threshold && this.#ageSeconds(record) < config.durationSeconds;
  }

  #configOf(mount: MountRecord): LockoutConfig | undefined {
    if (this.#isOff || !LOCKABLE_TYPES.includes(mount.type)) return undefined;
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
  return prefixOf(mountAccessor) + createHash("sha256").update(aliasName).digest("hex");
}

function prefixOf(mountAccessor: string): string {
  return `${PREFIX}${mountAccessor}/`;
}
