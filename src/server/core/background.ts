// What happens without a request: leases that are due end, jobs go on, what was made outside in vain is undone, the
// keyring rotates. No leader: every node does this. Where one transaction is all there is to it, who comes second meets
// a conflict and moves on; what acts outside or takes many transactions is claimed (docs/adr/0019-claims.md).
import { randomUUID } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { AuditService } from "../audit/audit-service.ts";
import type { SystemEvent } from "../audit/system-entry.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { EventFeed } from "../events/event-feed.ts";
import type { Events } from "../events/events.ts";
import type { NamespaceName } from "../framework/context.ts";
import type { Undoing } from "../journal/undoing.ts";
import type { Expiration } from "../leases/expiration.ts";
import { runSlice } from "../leases/job-runner.ts";
import { listJobs, type RevocationJob, readJob } from "../leases/revocation-job.ts";
import { namespaceNameOf } from "../namespaces/namespace-scope.ts";
import { namespaceView } from "../namespaces/namespace-transaction.ts";
import { Lanes } from "./lanes.ts";
import type { SweepCounts } from "./sweep-counts.ts";
import { journalCounter, sweepJournal } from "./sweep-journal.ts";
import { sweepLeases } from "./sweep-leases.ts";
import { tell, transact } from "./sweep-work.ts";

/** Between two looks at the expiry index when nothing is due: leases end at most this much late. */
const IDLE_MILLIS = 1_000;
/** What is under way outside when the server stops gets this long; the claims of the rest lapse. */
const STOP_MILLIS_MAX = 5_000;

/** A worker's turn among the workers of one server, which do not all look at the same instant: `index` from 0. */
export interface Turn {
  readonly index: number;
  readonly count: number;
}

export interface BackgroundDependencies {
  readonly barrier: Barrier;
  readonly expiration: Expiration;
  readonly undoing: Undoing;
  readonly counts: SweepCounts;
  /** What happens here happens for nobody's request, and is told all the same. */
  readonly audit: Pick<AuditService, "recordSystem">;
  readonly events: Pick<Events, "publish">;
  readonly eventFeed: Pick<EventFeed, "run">;
  /** Work with a pace of its own, because it waits for seals. */
  readonly sealWrap?: {
    run(signal: AbortSignal): Promise<void>;
    readonly terms: { retireIfDue(): Promise<readonly number[]> };
  };
  readonly clock: Clock;
  readonly log: Log;
  /** The only worker's by default. */
  readonly turn?: Turn | undefined;
}

export class Background {
  readonly #deps: BackgroundDependencies;
  readonly #lanes: Lanes;
  readonly #countJournal: ReturnType<typeof journalCounter>;
  /** Those under way. */
  readonly #jobs = new Set<string>();
  /** Of this process's claims on jobs. */
  readonly #holder = randomUUID();
  #running: Promise<void> | undefined;
  constructor(dependencies: BackgroundDependencies) {
    this.#deps = dependencies;
    this.#lanes = new Lanes(dependencies.clock);
    this.#countJournal = journalCounter(dependencies.clock);
  }

  /** Runs until the signal aborts; pauses while the server is sealed. */
  start(signal: AbortSignal): void {
    this.#running ??= Promise.all([
      this.#loop(signal),
      this.#deps.eventFeed.run(signal),
      this.#deps.sealWrap?.run(signal),
    ]).then(() => {});
  }

  async stopped(): Promise<void> {
    await this.#running;
    await this.#lanes.rest(STOP_MILLIS_MAX);
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
    const deps = this.#deps;
    if (await deps.barrier.rotateIfDue())
      await tell(deps, { operation: "rotate", path: "sys/rotate", data: { term: deps.barrier.keyStatus().term } });
    await this.#retireTerms();
    const jobsLeft = await this.#doJobs();
    const leasesLeft = await sweepLeases(deps, this.#lanes);
    const journalLeft = await sweepJournal(deps, this.#lanes);
    await this.#countJournal(deps);
    await this.#lanes.rest();
    return jobsLeft || leasesLeft || journalLeft;
  }

  async #retireTerms(): Promise<void> {
    const terms = (await this.#deps.sealWrap?.terms.retireIfDue()) ?? [];
    if (terms.length === 0) return;
    this.#deps.log.info("keys of the keyring were retired", { terms: terms.join(", ") });
    await tell(this.#deps, { operation: "rotate", path: "sys/rotate/retire", data: { terms: [...terms] } });
  }

  async #doJobs(): Promise<boolean> {
    let more = false;
    for (let after: string | undefined; ; ) {
      const ids = await listJobs(this.#deps.barrier.begin(), after);
      for (const id of ids) {
        if (this.#jobs.has(id)) continue;
        this.#jobs.add(id);
        const done = async () => {
          more = (await this.#doJob(id)) || more;
        };
        // One that ends leases outside may take long, so it is a lane of its own.
        if (!(await this.#lanes.start(id, () => done().finally(() => this.#jobs.delete(id))))) this.#jobs.delete(id);
        await this.#lanes.rest();
      }
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
      const slice = await transact(this.#deps, "jobs", (tx) => runSlice(tx, id, expiration, this.#holder));
      if (slice === "not ours") return false;
      if (job && namespace && !(await readJob(barrier.begin(), id))) await tell(this.#deps, jobEnd(job, namespace));
      return slice === "more";
    } catch (error) {
      if (!barrier.isSealed) log.warn("a job failed; it will be tried again", { job: id, error: messageOf(error) });
      return false;
    }
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

function jobEnd({ kind, target }: RevocationJob, namespace: NamespaceName): SystemEvent {
  const path = kind === "namespace" ? "sys/namespaces" : "sys/leases/revoke-prefix";
  return { operation: "revoke", path, namespace, data: { kind, target } };
}
