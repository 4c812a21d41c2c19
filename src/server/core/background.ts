// What happens without a request: leases that are due end, jobs go on, the keyring rotates. No leader: every node does
// this, each item in a transaction of its own, and who comes second meets a conflict and moves on.
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { AuditService } from "../audit/audit-service.ts";
import type { SystemEvent } from "../audit/system-entry.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Transaction } from "../barrier/transaction.ts";
import type { Events } from "../events/events.ts";
import type { NamespaceName } from "../framework/context.ts";
import type { Expiration } from "../leases/expiration.ts";
import { runSlice } from "../leases/job-runner.ts";
import {
  EXPIRY_PREFIX,
  expiryBucket,
  expiryKey,
  type LeaseRecord,
  leaseReferenceKind,
} from "../leases/lease-record.ts";
import { readLease } from "../leases/lease-store.ts";
import { listJobs, type RevocationJob, readJob } from "../leases/revocation-job.ts";
import { namespaceNameOf } from "../namespaces/namespace-scope.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";

/** Between two looks at the expiry index when nothing is due: leases end at most this much late. */
const IDLE_MILLIS = 1_000;
const DUE_PAGE = 200;
/** Leases that are ended at the same time: enough to share commits, few enough for the systems behind them. */
const AT_ONCE = 16;
const ATTEMPTS_MAX = 10;

/** A worker's turn among the workers of one server, which do not all look at the same instant: `index` from 0. */
export interface Turn {
  readonly index: number;
  readonly count: number;
}

export interface BackgroundDependencies {
  readonly barrier: Barrier;
  readonly expiration: Expiration;
  /** What happens here happens for nobody's request, and is told all the same. */
  readonly audit: Pick<AuditService, "recordSystem">;
  readonly events: Pick<Events, "publish">;
  readonly clock: Clock;
  readonly log: Log;
  /** The only worker's by default. */
  readonly turn?: Turn | undefined;
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
      await clock.sleep(busy ? 0 : millisToTurn(clock.now(), this.#deps.turn), signal);
    }
  }

  /** One round. True when more is waiting. */
  async sweep(): Promise<boolean> {
    if (await this.#deps.barrier.rotateIfDue())
      await this.#tell({ operation: "rotate", path: "sys/rotate", data: this.#term() });
    const jobsLeft = await this.#doJobs();
    const leasesLeft = await this.#endDueLeases();
    return jobsLeft || leasesLeft;
  }

  async #endDueLeases(): Promise<boolean> {
    const now = Math.floor(this.#deps.clock.now() / 1000);
    const tx = this.#deps.barrier.begin();
    const keys = await tx.scan({ from: EXPIRY_PREFIX, to: expiryBucket(now + 1), limit: DUE_PAGE });
    for (let i = 0; i < keys.length; i += AT_ONCE) {
      await Promise.all(keys.slice(i, i + AT_ONCE).map((key) => this.#endDue(key)));
    }
    return keys.length === DUE_PAGE;
  }

  async #endDue(key: string): Promise<void> {
    try {
      const ended = await this.#transact(async (tx) => {
        const due = await this.#leaseAt(tx, key);
        if (due) await this.#deps.expiration.end(due.view, due.lease.leaseId);
        else tx.delete(key);
        return due && (await placeOf(due));
      });
      if (ended) await this.#tell(leaseEnd(ended));
    } catch (error) {
      if (this.#deps.barrier.isSealed) throw error;
      await this.#postpone(key, error);
    }
  }

  /** The lease of an index key; undefined when the key is left over from another expiry of it. */
  async #leaseAt(tx: Transaction, key: string): Promise<DueLease | undefined> {
    const reference = await tx.read(leaseReferenceKind, key);
    const view = namespaceView(tx, reference?.namespace ?? "");
    const lease = reference && (await readLease(view, reference.leaseId));
    return lease && expiryKey(lease) === key ? { lease, view } : undefined;
  }

  async #postpone(key: string, cause: unknown): Promise<void> {
    const postponed = await this.#transact(async (tx) => {
      const due = await this.#leaseAt(tx, key);
      if (!due) return undefined;
      this.#deps.expiration.postpone(due.view, due.lease, cause);
      this.#deps.log.warn("a lease could not be ended", { leaseId: due.lease.leaseId, error: messageOf(cause) });
      return placeOf(due);
    });
    if (postponed) await this.#tell({ ...leaseEnd(postponed), error: messageOf(cause) });
  }

  async #doJobs(): Promise<boolean> {
    let more = false;
    for (let after: string | undefined; ; ) {
      const ids = await listJobs(this.#deps.barrier.begin(), after);
      for (const id of ids) more = (await this.#doJob(id)) || more;
      after = ids.at(-1);
      if (after === undefined) return more;
    }
  }

  /** A slice of a job. True when it can go on at once. One that fails must not keep the others from being done. */
  async #doJob(id: string): Promise<boolean> {
    const { barrier, expiration, log } = this.#deps;
    try {
      const before = barrier.begin();
      const job = await readJob(before, id);
      const namespace = job && (await namespaceNameOf(namespaceView(before, job.namespace)));
      const more = (await this.#transact((tx) => runSlice(tx, id, expiration))) === true;
      if (job && namespace && !(await readJob(barrier.begin(), id))) await this.#tell(jobEnd(job, namespace));
      return more;
    } catch (error) {
      if (barrier.isSealed) throw error;
      log.warn("a job failed; it will be tried again", { job: id, error: messageOf(error) });
      return false;
    }
  }

  #term(): { term: number } {
    return { term: this.#deps.barrier.keyStatus().term };
  }

  #tell(event: SystemEvent): Promise<void> {
    return this.#deps.audit.recordSystem(this.#deps.barrier.begin(), event);
  }

  /** What the work answered, or undefined when others were always in the way: then they did it, or the next round does. */
  async #transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T | undefined> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const tx = this.#deps.barrier.begin();
      const result = await work(tx);
      if ((await tx.commit()) !== "committed") continue;
      this.#deps.events.publish(tx);
      return result;
    }
    return undefined;
  }
}

/**
 * Until the next look. Of several workers each has every n-th second to itself, so that together they look as often as
 * one would; when one is away, what was due in its second waits for the next one's.
 */
export function millisToTurn(now: Millis, turn: Turn = { index: 0, count: 1 }): Millis {
  const { index, count } = turn;
  if (count <= 1) return IDLE_MILLIS;
  const round = count * IDLE_MILLIS;
  const wait = (((index * IDLE_MILLIS - now) % round) + round) % round;
  return wait === 0 ? round : wait;
}

/** A lease whose time has come, and its namespace's part of the transaction. */
interface DueLease {
  readonly lease: LeaseRecord;
  readonly view: Transaction;
}

interface LeasePlace {
  readonly leaseId: string;
  readonly namespace: NamespaceName;
}

async function placeOf({ lease, view }: DueLease): Promise<LeasePlace> {
  return { leaseId: lease.leaseId, namespace: await namespaceNameOf(view) };
}

function leaseEnd({ leaseId, namespace }: LeasePlace): SystemEvent {
  return { operation: "revoke", path: "sys/leases/revoke", namespace, data: { lease_id: leaseId } };
}

function jobEnd({ kind, target }: RevocationJob, namespace: NamespaceName): SystemEvent {
  const path = kind === "namespace" ? "sys/namespaces" : "sys/leases/revoke-prefix";
  return { operation: "revoke", path, namespace, data: { kind, target } };
}
