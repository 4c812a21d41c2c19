// One leader among the replicas of a deployment, by a coordination.k8s.io Lease.
//
// Clocks of different machines are never compared: a candidate waits for the Lease's duration on its own clock since it
// last saw the Lease change. The holder stops leading (its signal aborts) when it could not renew for the renew
// deadline, which is shorter than the duration, so that it has stopped before anybody else can have started.
// That is not fencing: a write already on its way, or of a process that was frozen, may still arrive after another has
// taken over. Therefore whatever a leader writes must be safe for two writers: server-side apply, preconditions on
// resource versions, or a record that carries the Lease's number of transitions.
import { type Clock, type Millis, systemClock } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import type { Log } from "#common/log.ts";
import { jitterMillis } from "./backoff.ts";
import { withDeadline } from "./deadline.ts";
import type { KubeClient } from "./kube-client.ts";
import { isKubeError } from "./kube-error.ts";
import type { KubeObject } from "./kube-object.ts";
import { microTime } from "./micro-time.ts";
import { LEASE } from "./resource-kinds.ts";

export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Unique among the replicas: the pod's name. */
  readonly identity: string;
  /** 15 s, 10 s and 2 s when absent, as client-go has them. */
  readonly leaseDurationMillis?: Millis | undefined;
  readonly renewDeadlineMillis?: Millis | undefined;
  readonly retryMillis?: Millis | undefined;
  readonly clock?: Clock | undefined;
  readonly log: Log;
}

export interface LeaderElection {
  /** True while leading and the last renewal is recent enough, even if timers are late. */
  isLeader(): boolean;
  /** Who holds the Lease as last seen; undefined when nobody does. */
  holder(): string | undefined;
  /**
   * Campaigns until the signal aborts. Each time it wins it runs `lead`, whose signal aborts when the Lease is lost,
   * waits for it to end, and campaigns again. At the end the Lease is released so that another can start at once.
   */
  run(signal: AbortSignal, lead: (signal: AbortSignal) => Promise<void>): Promise<void>;
}

const LEASE_DURATION_MILLIS: Millis = 15_000;
const RENEW_DEADLINE_MILLIS: Millis = 10_000;
const RETRY_MILLIS: Millis = 2000;

export function createLeaderElection(options: LeaderElectionOptions): LeaderElection {
  return new Election(options);
}

class Election implements LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #clock: Clock;
  readonly #duration: Millis;
  readonly #deadline: Millis;
  readonly #retry: Millis;
  /** The Lease as last seen, and when it was first seen so. */
  #seen: { lease: KubeObject; at: Millis } | undefined;
  #leading = false;
  #renewedAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#duration = options.leaseDurationMillis ?? LEASE_DURATION_MILLIS;
    this.#deadline = options.renewDeadlineMillis ?? RENEW_DEADLINE_MILLIS;
    this.#retry = options.retryMillis ?? RETRY_MILLIS;
  }

  isLeader(): boolean {
    return this.#leading && this.#clock.now() - this.#renewedAt < this.#deadline;
  }
  holder(): string | undefined {
    const holder = specOf(this.#seen?.lease)["holderIdentity"];
    return typeof holder === "string" && holder !== "" ? holder : undefined;
  }

  async run(signal: AbortSignal, lead: (signal: AbortSignal) => Promise<void>): Promise<void> {
    while (!signal.aborted) {
      if (!(await this.#tryHold(signal))) {
        await this.#clock.sleep(this.#retry + jitterMillis(this.#retry / 2), signal);
        continue;
      }
      await this.#term(signal, lead);
      // Work that ends at once must not become a storm of elections.
      await this.#clock.sleep(this.#retry, signal);
    }
  }

  async #term(signal: AbortSignal, lead: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const lost = new AbortController();
    const stop = () => lost.abort();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    this.#leading = true;
    this.#options.log.info("leading", { lease: this.#options.name, identity: this.#options.identity });
    const renewing = this.#renewUntilLost(lost);
    try {
      await lead(lost.signal);
    } catch (error) {
      this.#options.log.error("the leader's work failed", { error: messageOf(error) });
    }
    stop();
    await renewing;
    signal.removeEventListener("abort", stop);
    this.#leading = false;
    await this.#release();
    this.#options.log.info("no longer leading", { lease: this.#options.name });
  }

  async #renewUntilLost(lost: AbortController): Promise<void> {
    while (!lost.signal.aborted) {
      await this.#clock.sleep(this.#retry, lost.signal);
      if (lost.signal.aborted) return;
      const left = this.#renewedAt + this.#deadline - this.#clock.now();
      if (left <= 0) return lost.abort();
      await withDeadline(this.#clock, left, lost.signal, (inner) => this.#tryHold(inner));
      if (this.holder() !== this.#options.identity) return lost.abort();
    }
  }

  /** One try to take or renew the Lease. False when another holds it or the API server did not let us. */
  async #tryHold(signal: AbortSignal): Promise<boolean> {
    // Counted from before the request: the others' waiting starts no earlier than that.
    const startedAt = this.#clock.now();
    try {
      const lease = await this.#options.client.get(LEASE, this.#ref(), { signal });
      if (lease !== undefined) this.#see(lease);
      if (lease !== undefined && !this.#mayTake(lease)) return false;
      this.#see(await this.#write(lease, signal));
      this.#renewedAt = startedAt;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (!isKubeError(error, "Conflict", "AlreadyExists"))
        this.#options.log.warn("cannot reach the lease", { lease: this.#options.name, error: messageOf(error) });
      return false;
    }
  }

  #mayTake(lease: KubeObject): boolean {
    const holder = this.holder();
    if (holder === undefined || holder === this.#options.identity) return true;
    const seconds = specOf(lease)["leaseDurationSeconds"];
    const duration = typeof seconds === "number" ? seconds * 1000 : this.#duration;
    return this.#seen !== undefined && this.#clock.now() - this.#seen.at >= duration;
  }

  #see(lease: KubeObject): void {
    if (this.#seen?.lease.metadata.resourceVersion === lease.metadata.resourceVersion) return;
    this.#seen = { lease, at: this.#clock.now() };
  }

  async #write(old: KubeObject | undefined, signal: AbortSignal): Promise<KubeObject> {
    const now = microTime(this.#clock.now());
    const before = specOf(old);
    const isRenewal = before["holderIdentity"] === this.#options.identity;
    const transitions = typeof before["leaseTransitions"] === "number" ? before["leaseTransitions"] : 0;
    const spec: JsonObject = {
      ...before,
      holderIdentity: this.#options.identity,
      leaseDurationSeconds: Math.ceil(this.#duration / 1000),
      acquireTime: isRenewal ? (before["acquireTime"] ?? now) : now,
      renewTime: now,
      leaseTransitions: isRenewal || old === undefined ? transitions : transitions + 1,
    };
    const { client } = this.#options;
    if (old === undefined) return client.create(LEASE, { metadata: this.#ref(), spec }, { signal });
    return client.replace(LEASE, { ...old, spec }, { signal });
  }

  // Best effort: without it the others wait for the duration.
  async #release(): Promise<void> {
    const lease = this.#seen?.lease;
    if (lease === undefined || this.holder() !== this.#options.identity) return;
    const spec = {
      ...specOf(lease),
      holderIdentity: "",
      leaseDurationSeconds: 1,
      renewTime: microTime(this.#clock.now()),
    };
    try {
      this.#see(await this.#options.client.replace(LEASE, { ...lease, spec }));
    } catch (error) {
      this.#options.log.warn("could not release the lease", { lease: this.#options.name, error: messageOf(error) });
    }
  }

  #ref() {
    return { namespace: this.#options.namespace, name: this.#options.name };
  }
}

function specOf(lease: KubeObject | undefined): JsonObject {
  const spec = lease?.["spec"];
  return isJsonObject(spec) ? spec : {};
}
