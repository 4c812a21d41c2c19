// Ending leases: by request, by prefix, by time. A secret's lease is ended through the backend that made it, in the
// transaction that deletes the lease. Where that does something outside of the server, a claim keeps others from doing
// it at the same time, and the transaction is one of its own: what is done outside cannot be taken back with a request.

import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import { forEachAtOnce } from "#common/for-each-at-once.ts";
import type { Log } from "#common/log.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { Events } from "../events/events.ts";
import type { LeaseContext, LeaseKind } from "../framework/backend.ts";
import type { Backends } from "../mounts/backends.ts";
import { mountInfo, type TtlDefaults } from "../mounts/mount-info.ts";
import type { MountRecord } from "../mounts/mount-record.ts";
import { endMount } from "../mounts/mount-table.ts";
import { mountStorage } from "../mounts/wrapped-mount.ts";
import { namespaceNameOf } from "../namespaces/namespace-scope.ts";
import { namespaceIdOf, namespaceView } from "../namespaces/namespace-transaction.ts";
import { revokeOrphaning, revokeToken } from "../tokens/revoke-token.ts";
import { expireToken, readToken } from "../tokens/token-store.ts";
import { type Claim, isHeld, newClaim, underClaim } from "./claim.ts";
import { leaseEvent } from "./lease-events.ts";
import { isIrrevocable, type LeaseRecord } from "./lease-record.ts";
import { deleteLease, irrevocablePage, leaseIdsBelow, moveLease, readLease } from "./lease-store.ts";
import { mountOf } from "./mount-of.ts";
import { putJob, type RevocationJob } from "./revocation-job.ts";

/** After this many failures a lease is irrevocable: kept with its error, for an administrator to look at. */
export const REVOKE_ATTEMPTS_MAX = 6;
/** First wait after a failure; doubles with each. */
const BACKOFF_SECONDS = 10;

/** Commits of a claim, or of what came of it, that others may be in the way of. */
const COMMITS_MAX = 10;

/** Leases that one request or job ends outside at the same time: as many as the sweep has for a mount. */
const OUTSIDE_AT_ONCE = 8;

/** Leases of a prefix that one transaction ends. */
export const PREFIX_BUDGET = 200;

export interface ExpirationDependencies {
  backends(): Backends;
  readonly clock: Clock;
  readonly log: Log;
  readonly ttl: TtlDefaults;
  readonly events: Events;
  begin(): Transaction;
  /** How long one attempt at ending something outside may take. */
  readonly claimSeconds: number;
}

/** "busy": another request or node is at it. */
export type Ended = "ended" | "busy";

export class Expiration {
  readonly #deps: ExpirationDependencies;
  constructor(dependencies: ExpirationDependencies) {
    this.#deps = dependencies;
  }

  /** Ends a token with all that hangs on it. False when a job is left for what did not fit one transaction. */
  revokeToken(tx: Transaction, hash: string): Promise<boolean> {
    return revokeToken(tx, hash, this.nowSeconds());
  }

  /** Ends a token and leaves its children alive as orphans. */
  revokeOrphaning(tx: Transaction, hash: string): Promise<void> {
    return revokeOrphaning(tx, hash, this.nowSeconds());
  }

  /**
   * Ends every lease whose id begins with a prefix. False when a job is left for what did not fit one transaction.
   * Throws what a backend throws, unless forced.
   */
  async revokePrefix(tx: Transaction, prefix: string, options: { force: boolean }): Promise<boolean> {
    if ((await this.endSome(tx, prefix, options)) < PREFIX_BUDGET) return true;
    if (options.force) putJob(tx, { kind: "force", target: prefix });
    else putJob(tx, { kind: "expire", target: prefix, beforeSeconds: this.nowSeconds() });
    return false;
  }

  /** Ends a slice of the leases whose id begins with a prefix, and answers their number: PREFIX_BUDGET when there may be more. */
  async endSome(tx: Transaction, prefix: string, options: { force: boolean }): Promise<number> {
    const ids = await leaseIdsBelow(tx, prefix, PREFIX_BUDGET);
    const here: string[] = [];
    await forEachAtOnce(ids, OUTSIDE_AT_ONCE, async (id) => {
      const outcome = await this.#endIfOutside(namespaceIdOf(tx), id, options.force);
      if (outcome === "busy") throw busy(id);
      if (outcome === "not outside") here.push(id);
    });
    for (const id of here) await this.endHere(tx, id, options.force);
    return ids.length;
  }

  /**
   * Lets irrevocable leases of the namespace end now, by the sweep, as if nothing had failed: this one, or a slice of
   * all of them. Answers how many; `more` when others may be left.
   */
  async retryIrrevocable(tx: Transaction, leaseId: string): Promise<{ retried: number; more: boolean }> {
    const one = leaseId === "" ? undefined : await readLease(tx, leaseId);
    const page = leaseId === "" ? await irrevocablePage(tx, PREFIX_BUDGET) : undefined;
    const leases = (page?.leases ?? [one]).filter((lease) => lease !== undefined && isIrrevocable(lease));
    for (const lease of leases)
      if (lease) moveLease(tx, lease, { ...lease, attempts: 0, expiresAtSeconds: this.nowSeconds() });
    return { retried: leases.length, more: page?.after !== undefined };
  }

  /** Disables a mount: its leases and tokens end, then its data goes, all of it finished in the background. */
  async endMount(tx: Transaction, mount: MountRecord): Promise<void> {
    const beforeSeconds = this.nowSeconds();
    await this.expireSome(tx, { target: mount.path, beforeSeconds });
    endMount(tx, mount);
    // Begins anew: until this commits others may issue leases of the mount, which the list above does not have.
    putJob(tx, { kind: "expire", target: mount.path, beforeSeconds });
    putJob(tx, { kind: "mount", target: mount.uuid });
  }

  /** Lets a slice of a job's leases end now, by the sweep. Answers how many, and its last id when there may be more. */
  async expireSome(
    tx: Transaction,
    job: Pick<RevocationJob, "target" | "after" | "beforeSeconds">,
  ): Promise<{ done: number; after: string | undefined }> {
    const ids = await leaseIdsBelow(tx, job.target, PREFIX_BUDGET, job.after);
    for (const id of ids) await this.#expire(tx, id, job.beforeSeconds ?? this.nowSeconds());
    return { done: ids.length, after: ids.length < PREFIX_BUDGET ? undefined : ids.at(-1) };
  }

  async #expire(tx: Transaction, leaseId: string, beforeSeconds: number): Promise<void> {
    const lease = await readLease(tx, leaseId);
    const now = this.nowSeconds();
    if (!lease || lease.issuedAtSeconds > beforeSeconds) return;
    if ((lease.expiresAtSeconds > 0 && lease.expiresAtSeconds <= now) || isHeld(lease.claim, now)) return;
    const token = lease.kind === "token" ? await readToken(tx, lease.tokenHash) : undefined;
    if (token) expireToken(tx, token, now);
    else moveLease(tx, lease, { ...lease, attempts: 0, expiresAtSeconds: now });
  }

  /**
   * Ends one lease, whatever it stands for. Unknown ids are no error. Throws what the backend throws, unless forced;
   * where it acts outside, the failure is noted and the sweep tries again.
   */
  async end(tx: Transaction, leaseId: string, options: { force?: boolean } = {}): Promise<Ended> {
    const outcome = await this.#endIfOutside(namespaceIdOf(tx), leaseId, options.force);
    if (outcome !== "not outside") return outcome;
    await this.endHere(tx, leaseId, options.force);
    return "ended";
  }

  /** Looks through a transaction of its own: what ends by itself must not make the request's run again. */
  async #endIfOutside(namespace: string, leaseId: string, force = false): Promise<Ended | "not outside"> {
    const tx = namespaceView(this.#deps.begin(), namespace);
    const lease = await readLease(tx, leaseId);
    const isOutside = lease && (await this.endsOutside(tx, lease)) !== undefined;
    return isOutside ? this.endOutside(namespace, leaseId, force) : "not outside";
  }

  /** Uuid of the mount that ends a lease outside of the server; undefined when the transaction is all it takes. */
  async endsOutside(tx: Transaction, lease: LeaseRecord): Promise<string | undefined> {
    // What keeps it from being found is told by whoever ends it.
    const found = await this.#leaseKind(tx, lease).catch(() => undefined);
    return found && !found.kind.confined ? found.context.mount.uuid : undefined;
  }

  /** Ends a lease for which the transaction is all it takes. Throws what the backend throws, unless forced. */
  async endHere(tx: Transaction, leaseId: string, force = false): Promise<void> {
    const lease = await readLease(tx, leaseId);
    if (!lease) return;
    if (lease.kind === "token") await this.revokeToken(tx, lease.tokenHash);
    else await this.#revokeSecret(tx, lease, force);
    deleteLease(tx, lease);
  }

  async #revokeSecret(tx: Transaction, lease: LeaseRecord, force: boolean): Promise<void> {
    try {
      const found = await this.#leaseKind(tx, lease);
      if (!found) return;
      await found.kind.revoke(found.context, found.internal);
      await this.#tell(tx, "revoke", lease, found.context);
    } catch (error) {
      if (!force) throw error;
      this.#warnOfForce(lease.leaseId, error);
    }
  }

  #warnOfForce(leaseId: string, error: unknown): void {
    this.#deps.log.warn("lease ended by force; what it stood for may live on", { leaseId, error: messageOf(error) });
  }

  /**
   * Ends a lease outside, in transactions of its own: from here on it ends, whatever becomes of who wanted it. Throws
   * what the backend throws, unless forced; the failure is noted, and the sweep tries again.
   */
  async endOutside(namespace: string, leaseId: string, force = false): Promise<Ended> {
    const begin = () => namespaceView(this.#deps.begin(), namespace);
    const claim = await this.#claim(begin, leaseId, force);
    if (claim === "gone") return "ended";
    if (claim === "busy") return "busy";
    try {
      const { clock, events } = this.#deps;
      const tx = await underClaim({ begin, clock }, claim, (own, signal) =>
        this.#endClaimed(own, leaseId, claim, signal),
      );
      if (tx) events.publish(tx);
      return tx ? "ended" : "busy";
    } catch (error) {
      await this.#noteFailure(begin, leaseId, claim, force ? undefined : error);
      if (!force) throw error;
      this.#warnOfForce(leaseId, error);
      return "ended";
    }
  }

  /** Takes the lease for itself; by force from another too. It is due again when the claim's time is over. */
  async #claim(begin: () => Transaction, leaseId: string, force: boolean): Promise<Claim | "gone" | "busy"> {
    for (let commit = 0; commit < COMMITS_MAX; commit++) {
      const tx = begin();
      const lease = await readLease(tx, leaseId);
      if (!lease) return "gone";
      const now = this.nowSeconds();
      if (isHeld(lease.claim, now) && !force) return "busy";
      const claim = newClaim(now, this.#deps.claimSeconds);
      moveLease(tx, lease, { ...lease, claim, expiresAtSeconds: claim.untilSeconds });
      if ((await tx.commit()) === "committed") return claim;
    }
    return "busy";
  }

  async #endClaimed(tx: Transaction, leaseId: string, claim: Claim, signal: AbortSignal): Promise<boolean> {
    const lease = await readLease(tx, leaseId);
    if (lease?.claim?.holder !== claim.holder) return false;
    const found = await this.#leaseKind(tx, lease);
    if (found) await found.kind.revoke({ ...found.context, signal }, found.internal);
    if (found) await this.#tell(tx, "revoke", lease, found.context);
    deleteLease(tx, lease);
    return true;
  }

  /** Notes that an attempt failed; without an error the lease goes all the same. */
  async #noteFailure(begin: () => Transaction, leaseId: string, claim: Claim, error: unknown): Promise<void> {
    for (let commit = 0; commit < COMMITS_MAX; commit++) {
      const tx = begin();
      const lease = await readLease(tx, leaseId);
      if (lease?.claim?.holder !== claim.holder) return;
      if (error === undefined) deleteLease(tx, lease);
      else this.postpone(tx, lease, error);
      if ((await tx.commit()) === "committed") return;
    }
  }

  /** The backend's part of a lease, a disabled mount's too; undefined when the mount is gone with all its data. */
  async #leaseKind(tx: Transaction, lease: LeaseRecord): Promise<FoundKind | undefined> {
    const { secret } = lease;
    if (!secret) return undefined;
    const mount = await mountOf(tx, secret.mountPath, secret.mountUuid);
    if (!mount) return undefined;
    const backends = this.#deps.backends();
    const kind = backends.of(mount).backend.leaseKinds?.[secret.kind];
    if (!kind) throw new CofferError("internal", `the backend of ${mount.path} has no lease kind "${secret.kind}"`);
    const { clock, log, ttl } = this.#deps;
    const context = { storage: mountStorage(tx, mount, backends), clock, log, mount: mountInfo(mount, ttl) };
    return { kind, context, internal: secret.internal };
  }

  /** Moves a secret's lease on. Throws `invalid_request` when it cannot be renewed. */
  async renew(tx: Transaction, lease: LeaseRecord, incrementSeconds: number): Promise<LeaseRecord> {
    const { secret } = lease;
    if (!secret) throw new CofferError("invalid_request", "tokens cannot be renewed through this endpoint");
    if (secret.renewable === "no" || isIrrevocable(lease))
      throw new CofferError("invalid_request", "lease is not renewable");
    if (lease.claim || (lease.attempts ?? 0) > 0)
      throw new CofferError("invalid_request", "lease is being ended and cannot be renewed");
    const found = await this.#leaseKind(tx, lease);
    await found?.kind.renew?.(found.context, found.internal);
    const now = this.nowSeconds();
    const wanted = now + (incrementSeconds > 0 ? incrementSeconds : secret.ttlSeconds);
    const after = { ...lease, lastRenewalSeconds: now, expiresAtSeconds: Math.min(wanted, secret.maxExpiresAtSeconds) };
    moveLease(tx, lease, after);
    if (found) await this.#tell(tx, "renew", after, found.context);
    return after;
  }

  async #tell(tx: Transaction, what: "renew" | "revoke", lease: LeaseRecord, { mount }: LeaseContext): Promise<void> {
    const event = leaseEvent(what, lease);
    const { path } = await namespaceNameOf(tx);
    if (event) this.#deps.events.note(tx, event, mount, path.replace(/\/$/, ""));
  }

  /** Notes that ending a lease failed, and when to try again. */
  postpone(tx: Transaction, lease: LeaseRecord, error: unknown): void {
    const attempts = (lease.attempts ?? 0) + 1;
    const irrevocable = attempts >= REVOKE_ATTEMPTS_MAX;
    const { claim: _, ...rest } = lease;
    const after = {
      ...rest,
      attempts,
      lastError: messageOf(error).slice(0, 500),
      expiresAtSeconds: irrevocable ? 0 : this.nowSeconds() + BACKOFF_SECONDS * 2 ** (attempts - 1),
    };
    moveLease(tx, lease, after);
  }

  /** The time as jobs and leases keep it. */
  nowSeconds(): number {
    return Math.floor(this.#deps.clock.now() / 1000);
  }
}

interface FoundKind {
  readonly kind: LeaseKind;
  readonly context: LeaseContext;
  readonly internal: NonNullable<LeaseRecord["secret"]>["internal"];
}

/** To whoever wants a lease ended that somebody is ending already: it may come to nothing. */
export function busy(leaseId: string): CofferError {
  return new CofferError("unavailable", `the lease ${leaseId} is being ended by another request; look again shortly`);
}
