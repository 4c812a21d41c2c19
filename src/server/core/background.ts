// What happens without a request: leases that are due end, jobs go on, the keyring rotates. No leader: every node does
// this, each item in a transaction of its own, and who comes second meets a conflict and moves on.
import type { Clock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { Expiration } from "../leases/expiration.ts";
import { EXPIRY_PREFIX, expiryBucket, leaseReferenceKind } from "../leases/lease-record.ts";
import { readLease } from "../leases/lease-store.ts";
import { deleteJob, listJobs, type RevocationJob, readJob } from "../leases/revocation-job.ts";

/** Between two looks at the expiry index when nothing is due: leases end at most this much late. */
const IDLE_MILLIS = 1_000;
const DUE_PAGE = 200;
const DATA_PAGE = 1_000;
const ATTEMPTS_MAX = 10;

export interface BackgroundDependencies {
  readonly barrier: Barrier;
  readonly expiration: Expiration;
  readonly clock: Clock;
  readonly log: Log;
}

export class Background {
  readonly #deps: BackgroundDependencies;
  #running: Promise<void> | undefined;
  constructor(dependencies: BackgroundDependencies) {
    this.#deps = dependencies;
  }

  /** Runs until the signal aborts; pauses while the server is sealed. */
  start(signal: AbortSignal): void {
    this.#running ??= this.#loop(signal);
  }

  async stopped(): Promise<void> {
    await this.#running;
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { barrier, clock, log } = this.#deps;
    while (!signal.aborted) {
      let busy = false;
      try {
        if (!barrier.isSealed) busy = await this.sweep();
      } catch (error) {
        if (!barrier.isSealed) log.warn("background work failed; it will be tried again", { error: messageOf(error) });
      }
      await clock.sleep(busy ? 0 : IDLE_MILLIS, signal);
    }
  }

  /** One round. True when more is waiting. */
  async sweep(): Promise<boolean> {
    await this.#deps.barrier.rotateIfDue();
    const jobsLeft = await this.#doJobs();
    const leasesLeft = await this.#endDueLeases();
    return jobsLeft || leasesLeft;
  }

  async #endDueLeases(): Promise<boolean> {
    const now = Math.floor(this.#deps.clock.now() / 1000);
    const tx = this.#deps.barrier.begin();
    const keys = await tx.scan({ from: EXPIRY_PREFIX, to: expiryBucket(now + 1), limit: DUE_PAGE });
    for (const key of keys) await this.#endDue(key);
    return keys.length === DUE_PAGE;
  }

  async #endDue(key: string): Promise<void> {
    try {
      await this.#transact(async (tx) => {
        const reference = await tx.read(leaseReferenceKind, key);
        if (!reference) return;
        await this.#deps.expiration.end(tx, reference.leaseId);
      });
    } catch (error) {
      await this.#postpone(key, error);
    }
  }

  async #postpone(key: string, cause: unknown): Promise<void> {
    await this.#transact(async (tx) => {
      const reference = await tx.read(leaseReferenceKind, key);
      const lease = reference && (await readLease(tx, reference.leaseId));
      if (!lease) return;
      this.#deps.expiration.postpone(tx, lease, cause);
      this.#deps.log.warn("a lease could not be ended", { leaseId: lease.leaseId, error: messageOf(cause) });
    });
  }

  async #doJobs(): Promise<boolean> {
    const ids = await listJobs(this.#deps.barrier.begin());
    let left = false;
    for (const id of ids) {
      await this.#transact(async (tx) => {
        const job = await readJob(tx, id);
        if (!job) return;
        if (await this.#slice(tx, job)) deleteJob(tx, id);
        else left = true;
      });
    }
    return left;
  }

  #slice(tx: Transaction, job: RevocationJob): Promise<boolean> {
    switch (job.kind) {
      case "token":
        return this.#deps.expiration.endToken(tx, job.target);
      case "prefix":
        return this.#deps.expiration.revokeSome(tx, job.target, { force: job.force });
      case "data":
        return deleteBelow(tx, job.target);
    }
  }

  async #transact(work: (tx: Transaction) => Promise<void>): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const tx = this.#deps.barrier.begin();
      await work(tx);
      if ((await tx.commit()) === "committed") return;
    }
  }
}

async function deleteBelow(tx: Transaction, prefix: string): Promise<boolean> {
  const keys = await tx.scan({ from: prefix, to: `${prefix}\u{10ffff}`, limit: DATA_PAGE });
  for (const key of keys) tx.delete(key);
  return keys.length < DATA_PAGE;
}
