// Ending leases: by request, by prefix, by time. A secret's lease is ended through the backend that made it, in the
// transaction that deletes the lease.

import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import { storageView } from "../barrier/storage-view.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { LeaseContext, LeaseKind } from "../framework/backend.ts";
import type { Backends } from "../mounts/backends.ts";
import { mountInfo, type TtlDefaults } from "../mounts/mount-info.ts";
import { mountStoragePrefix } from "../mounts/mount-record.ts";
import { readMount } from "../mounts/mount-table.ts";
import { revokeTokenTree } from "../tokens/token-store.ts";
import type { LeaseRecord } from "./lease-record.ts";
import { deleteLease, leaseIdsBelow, moveLease, readLease } from "./lease-store.ts";
import { putJob } from "./revocation-job.ts";

/** After this many failures a lease is irrevocable: kept with its error, for an administrator to look at. */
export const REVOKE_ATTEMPTS_MAX = 6;
/** First wait after a failure; doubles with each. */
const BACKOFF_SECONDS = 10;

/** Leases of a prefix that one transaction ends. */
const PREFIX_BUDGET = 200;

export interface ExpirationDependencies {
  backends(): Backends;
  readonly clock: Clock;
  readonly log: Log;
  readonly ttl: TtlDefaults;
}

export class Expiration {
  readonly #deps: ExpirationDependencies;
  constructor(dependencies: ExpirationDependencies) {
    this.#deps = dependencies;
  }

  /** Ends a token with all that hangs on it; a tree too large for one transaction is finished in the background. */
  async revokeToken(tx: Transaction, hash: string): Promise<void> {
    if (!(await this.endToken(tx, hash))) putJob(tx, { kind: "token", target: hash, force: false });
  }

  /** Ends every lease whose id begins with a prefix; what does not fit one transaction goes to the background. */
  async revokePrefix(tx: Transaction, prefix: string, options: { force: boolean }): Promise<void> {
    if (!(await this.revokeSome(tx, prefix, options)))
      putJob(tx, { kind: "prefix", target: prefix, force: options.force });
  }

  /** A slice of that. True when nothing is left. */
  async revokeSome(tx: Transaction, prefix: string, options: { force: boolean }): Promise<boolean> {
    const ids = await leaseIdsBelow(tx, prefix, PREFIX_BUDGET);
    for (const id of ids) {
      if (!(await this.end(tx, id, options))) return false;
    }
    return ids.length < PREFIX_BUDGET;
  }

  /** Ends one lease, whatever it stands for. Unknown ids are no error. Returns false when a token tree has more. */
  async end(tx: Transaction, leaseId: string, options: { force?: boolean } = {}): Promise<boolean> {
    const lease = await readLease(tx, leaseId);
    if (!lease) return true;
    if (lease.kind === "token") return this.endToken(tx, lease.tokenHash);
    await this.#revokeSecret(tx, lease, options.force ?? false);
    deleteLease(tx, lease);
    return true;
  }

  endToken(tx: Transaction, hash: string): Promise<boolean> {
    return revokeTokenTree(tx, hash, { endLease: async (t, leaseId) => void (await this.end(t, leaseId)) });
  }

  async #revokeSecret(tx: Transaction, lease: LeaseRecord, force: boolean): Promise<void> {
    try {
      const found = await this.#leaseKind(tx, lease);
      if (found) await found.kind.revoke(found.context, found.internal);
    } catch (error) {
      if (!force) throw error;
      this.#deps.log.warn("lease ended by force; what it stood for may live on", {
        leaseId: lease.leaseId,
        error: messageOf(error),
      });
    }
  }

  /** The backend's part of a lease; undefined when its mount is gone with all its data. */
  async #leaseKind(
    tx: Transaction,
    lease: LeaseRecord,
  ): Promise<{ kind: LeaseKind; context: LeaseContext; internal: LeaseRecordInternal } | undefined> {
    const { secret } = lease;
    if (!secret) return undefined;
    const mount = await readMount(tx, secret.mountPath);
    if (!mount || mount.uuid !== secret.mountUuid) return undefined;
    const kind = this.#deps.backends().of(mount).backend.leaseKinds?.[secret.kind];
    if (!kind) throw new CofferError("internal", `the backend of ${mount.path} has no lease kind "${secret.kind}"`);
    const { clock, log, ttl } = this.#deps;
    const context = { storage: storageView(tx, mountStoragePrefix(mount)), clock, log, mount: mountInfo(mount, ttl) };
    return { kind, context, internal: secret.internal };
  }

  /** Moves a secret's lease on. Throws `invalid_request` when it cannot be renewed. */
  async renew(tx: Transaction, lease: LeaseRecord, incrementSeconds: number): Promise<LeaseRecord> {
    const { secret } = lease;
    if (!secret) throw new CofferError("invalid_request", "tokens cannot be renewed through this endpoint");
    if (secret.renewable === "no") throw new CofferError("invalid_request", "lease is not renewable");
    const found = await this.#leaseKind(tx, lease);
    await found?.kind.renew?.(found.context, found.internal);
    const now = Math.floor(this.#deps.clock.now() / 1000);
    const wanted = now + (incrementSeconds > 0 ? incrementSeconds : secret.ttlSeconds);
    const after = { ...lease, lastRenewalSeconds: now, expiresAtSeconds: Math.min(wanted, secret.maxExpiresAtSeconds) };
    moveLease(tx, lease, after);
    return after;
  }

  /** Notes that ending a lease failed, and when to try again. */
  postpone(tx: Transaction, lease: LeaseRecord, error: unknown): void {
    const attempts = (lease.attempts ?? 0) + 1;
    const now = Math.floor(this.#deps.clock.now() / 1000);
    const irrevocable = attempts >= REVOKE_ATTEMPTS_MAX;
    const after = {
      ...lease,
      attempts,
      lastError: messageOf(error).slice(0, 500),
      expiresAtSeconds: irrevocable ? 0 : now + BACKOFF_SECONDS * 2 ** (attempts - 1),
    };
    moveLease(tx, lease, after);
  }
}

type LeaseRecordInternal = NonNullable<LeaseRecord["secret"]>["internal"];
