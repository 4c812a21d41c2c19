// Looks at the CloudHSM cluster behind a seal every few minutes, in the background of a server, and keeps what it found
// for status and metrics. Tells the log what has changed. Whatever fails here, the seal goes on: it needs no AWS API.
import { randomInt } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import type { SealBackground } from "../../seal-types.ts";
import type { ClusterLook, Warning } from "./cluster-facts.ts";
import { newestReady, shownLook, warningsOf } from "./cluster-facts.ts";
import type { ControlPlane } from "./control-plane.ts";
import { ControlPlaneError } from "./control-plane-error.ts";

/** Clusters change by hand and backups once a day: a few minutes are soon enough, and cost two calls. */
const LOOK_MILLIS: Millis = 300_000;
const RANDOM_STEPS = 1 << 16;

export interface ClusterWatchOptions {
  readonly seal: string;
  readonly plane: Pick<ControlPlane, "look" | "config" | "close">;
  readonly clock: Clock;
  readonly background: SealBackground;
  /** 0 (included) to 1 (excluded); for tests. */
  readonly random?: () => number;
}

interface Failure {
  readonly reason: string;
  readonly message: string;
  readonly sinceMillis: Millis;
}

export class ClusterWatch {
  readonly #options: ClusterWatchOptions;
  readonly #stop = new AbortController();
  readonly #stopped: Promise<undefined>;
  #running: Promise<void> | undefined;
  #look: ClusterLook | undefined;
  #warnings: readonly Warning[] = [];
  #failure: Failure | undefined;
  constructor(options: ClusterWatchOptions) {
    this.#options = options;
    this.#stopped = new Promise((resolve) => {
      this.#stop.signal.addEventListener("abort", () => resolve(undefined), { once: true });
    });
  }

  /** Begins, once; the first look is now. */
  start(): void {
    this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort("closed");
    await this.#running;
    await this.#options.plane.close();
  }

  /** What is known: the last look that worked, its warnings, and why the last one did not if so. */
  report(): JsonObject {
    const { config } = this.#options.plane;
    const failure = this.#failure;
    return {
      ...{ kind: "cloudhsm", region: config.region, cluster_id: config.clusterId },
      ...(this.#look !== undefined && shownLook(this.#look)),
      warnings: this.#warnings.map(({ reason, message }) => ({ reason, message })),
      ...(failure !== undefined && {
        error: { reason: failure.reason, message: failure.message, since: new Date(failure.sinceMillis).toISOString() },
      }),
    };
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#stop.signal.aborted) {
      await this.lookNow();
      await clock.sleep(this.#pause(), this.#stop.signal);
    }
  }

  /** Between three quarters and five quarters of the time, so that many servers do not knock at once. */
  #pause(): Millis {
    const random = this.#options.random ?? (() => randomInt(RANDOM_STEPS) / RANDOM_STEPS);
    return Math.round(LOOK_MILLIS * (0.75 + random() / 2));
  }

  /** One look. Never throws. */
  async lookNow(): Promise<void> {
    try {
      // Fetching credentials heeds no signal, and must not keep a server from ending.
      const look = await Promise.race([this.#options.plane.look(this.#stop.signal), this.#stopped]);
      if (look !== undefined) this.#note(look);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#noteFailure(error);
    }
    if (!this.#stop.signal.aborted) this.#tell();
  }

  #note(look: ClusterLook): void {
    const { seal, plane, background } = this.#options;
    if (this.#failure !== undefined) background.log.info("the CloudHSM API answers again", { seal });
    const before = this.#look?.cluster;
    if (before !== undefined && stateText(before) !== stateText(look.cluster))
      background.log.info("the CloudHSM cluster has changed", {
        seal,
        before: stateText(before),
        now: stateText(look.cluster),
      });
    const warnings = warningsOf(look, plane.config.backupMaxAgeMillis);
    for (const { reason, message } of warnings)
      if (!this.#warnings.some((known) => known.reason === reason)) background.log.warn(message, { seal, reason });
    for (const { reason } of this.#warnings)
      if (!warnings.some((still) => still.reason === reason))
        background.log.info("a warning is over", { seal, reason });
    this.#look = look;
    this.#warnings = warnings;
    this.#failure = undefined;
  }

  #noteFailure(error: unknown): void {
    const { seal, clock, background } = this.#options;
    const reason = error instanceof ControlPlaneError ? error.fault : "Failed";
    const message = messageOf(error);
    if (this.#failure?.reason !== reason)
      background.log.warn("the CloudHSM cluster cannot be looked at; sealing does not need it", {
        seal,
        reason,
        error: message,
      });
    this.#failure = { reason, message, sinceMillis: this.#failure?.sinceMillis ?? clock.now() };
  }

  #tell(): void {
    const { seal, clock, background } = this.#options;
    const newest = this.#look && newestReady(this.#look.backups)?.createdMillis;
    background.noteMachinery?.({
      seal,
      warnings: this.#warnings.length,
      isKnown: this.#failure === undefined,
      active: this.#look?.cluster.hsms.filter(({ state }) => state === "ACTIVE").length,
      backupAgeMillis: newest === undefined ? undefined : clock.now() - newest,
    });
  }
}

function stateText({ state, hsms }: ClusterLook["cluster"]): string {
  return [state, ...hsms.map((hsm) => `${hsm.id} ${hsm.zone} ${hsm.state}`).toSorted()].join(", ");
}
