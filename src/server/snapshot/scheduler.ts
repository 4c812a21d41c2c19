// Takes snapshots at intervals, keeps the newest so many, and tries one now and then by restoring it to a scratch store.
// Every node runs this; the record of schedule-record.ts decides who does what.
import { randomUUID } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Metrics } from "#common/metrics.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { SnapshotsStanza } from "../config/server-config.ts";
import { type Destination, snapshotName } from "./destination.ts";
import { readSchedule, type ScheduleRecord, writeSchedule } from "./schedule-record.ts";
import type { TrialResult } from "./trial.ts";
import type { SnapshotStream } from "./write-snapshot.ts";

export interface SchedulerParts {
  readonly stanza: SnapshotsStanza;
  readonly open: () => Promise<Destination>;
  readonly take: () => Promise<SnapshotStream>;
  readonly verify: (bytes: AsyncIterable<Uint8Array>) => Promise<TrialResult>;
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly log: Log;
}

/** Between looks whether one is due. */
const LOOK_MILLIS: Millis = 5_000;
/** A turn of whoever has died goes to the next after this; who lives renews it, however long a snapshot takes. */
const CLAIM_MILLIS: Millis = 2 * 60_000;
const RENEW_MILLIS: Millis = 30_000;
const RETRY_MILLIS: Millis = 60_000;
/** Other nodes write the record once or twice an interval; more conflicts than this are a fault. */
const ATTEMPTS_MAX = 10;

export class Scheduler {
  readonly #parts: SchedulerParts;
  readonly #holder = randomUUID();
  #destination: Promise<Destination> | undefined;
  #running: Promise<void> | undefined;
  #last: ScheduleRecord = { slot: -1 };

  constructor(parts: SchedulerParts) {
    this.#parts = parts;
  }

  get stanza(): SnapshotsStanza {
    return this.#parts.stanza;
  }

  /** Runs until the signal aborts; what is under way comes to its end. */
  start(signal: AbortSignal): void {
    this.#running ??= this.#loop(signal);
  }

  async stopped(): Promise<void> {
    await this.#running;
  }

  destination(): Promise<Destination> {
    this.#destination ??= this.#parts.open().catch((error: unknown) => {
      this.#destination = undefined;
      throw error;
    });
    return this.#destination;
  }

  countBy(metrics: Metrics): void {
    const seconds = (pick: (last: ScheduleRecord) => number | undefined) => () => (pick(this.#last) ?? 0) / 1000;
    const taken = seconds(({ success }) => success?.at);
    metrics.gaugeOf(
      "coffer_snapshot_success_time_seconds",
      "When the last scheduled snapshot was stored.",
      taken,
      "max",
    );
    const tried = seconds(({ verified }) => verified?.at);
    metrics.gaugeOf(
      "coffer_snapshot_verified_time_seconds",
      "When a stored snapshot last passed a trial.",
      tried,
      "max",
    );
    const failing = () => (isFailing(this.#last) ? 1 : 0);
    metrics.gaugeOf("coffer_snapshot_failing", "1 while the last scheduled snapshot or trial failed.", failing, "max");
  }

  /** One look: takes a snapshot when one is due and nobody else has the turn. True when it did. */
  async look(): Promise<boolean> {
    const { clock, stanza } = this.#parts;
    const slot = Math.floor(clock.now() / stanza.intervalMillis);
    const claimed = await this.#change((record) => {
      const now = clock.now();
      const isTaken = record.slot >= slot || (record.claim !== undefined && record.claim.deadline > now);
      if (isTaken || (record.retryAt ?? 0) > now) return undefined;
      return { ...record, claim: this.#newClaim() };
    });
    if (!claimed) return false;
    await this.#takeTurn(slot);
    return true;
  }

  /** Tries a stored snapshot and notes how that went. Throws what is wrong with it. */
  async verify(name: string): Promise<TrialResult> {
    const { verify, clock } = this.#parts;
    try {
      const result = await verify(await (await this.destination()).get(name));
      const verified = { at: clock.now(), name, entries: result.entries };
      await this.#change(({ verifyFailure: _over, ...record }) => ({ ...record, verified }));
      return result;
    } catch (error) {
      const verifyFailure = { at: clock.now(), name, message: messageOf(error) };
      this.#parts.log.error("a stored snapshot did not pass its trial", { name, error: messageOf(error) });
      await this.#change((record) => ({ ...record, verifyFailure }));
      throw error;
    }
  }

  async #loop(signal: AbortSignal): Promise<void> {
    const { barrier, clock, log } = this.#parts;
    while (!signal.aborted) {
      try {
        if (!barrier.isSealed) await this.look();
      } catch (error) {
        if (!barrier.isSealed) log.warn("cannot look after the snapshots", { error: messageOf(error) });
      }
      await clock.sleep(LOOK_MILLIS, signal);
    }
  }

  async #takeTurn(slot: number): Promise<void> {
    const { clock, log } = this.#parts;
    const over = new AbortController();
    const lost = new AbortController();
    void this.#renew(over.signal, lost);
    try {
      const { name, entries } = await this.#store(lost.signal);
      const success = { at: clock.now(), name, entries };
      log.info("a snapshot was stored", { name, entries });
      const record = await this.#endTurn(({ retryAt: _no, failure: _past, ...rest }) => ({ ...rest, slot, success }));
      await this.#removeOld();
      if (record && this.#isTrialDue(record)) await this.verify(name).catch(() => {});
    } catch (error) {
      const failure = { at: clock.now(), message: messageOf(error) };
      log.error("a scheduled snapshot failed", { error: messageOf(error) });
      const retryAt = clock.now() + RETRY_MILLIS;
      await this.#endTurn((record) => ({ ...record, failure, retryAt }));
    } finally {
      over.abort("the turn is over");
    }
  }

  /** Gives the turn back with what came of it; nothing is noted by who has lost it meanwhile. */
  #endTurn(derive: (record: ScheduleRecord) => ScheduleRecord): Promise<ScheduleRecord | undefined> {
    return this.#change(({ claim, ...rest }) => (claim?.holder === this.#holder ? derive(rest) : undefined));
  }

  /** Keeps the turn until told that it is over; aborts `lost` when another has it. */
  async #renew(over: AbortSignal, lost: AbortController): Promise<void> {
    const { clock, log } = this.#parts;
    while (!over.aborted && !lost.signal.aborted) {
      await clock.sleep(RENEW_MILLIS, over);
      if (over.aborted) return;
      try {
        let isOwn = true;
        await this.#change((record) => {
          isOwn = record.claim?.holder === this.#holder;
          return isOwn ? { ...record, claim: this.#newClaim() } : undefined;
        });
        if (!isOwn && !over.aborted) lost.abort("the turn went to another node");
      } catch (error) {
        // A storage that does not answer now may do so before the turn ends.
        log.warn("cannot keep the turn of the scheduled snapshot", { error: messageOf(error) });
      }
    }
  }

  #newClaim() {
    return { holder: this.#holder, deadline: this.#parts.clock.now() + CLAIM_MILLIS };
  }

  async #store(lost: AbortSignal): Promise<{ readonly name: string; readonly entries: number }> {
    const destination = await this.destination();
    const snapshot = await this.#parts.take();
    const name = snapshotName(this.#parts.clock.now(), snapshot.id);
    const giveUp = () => snapshot.bytes.destroy(new CofferError("unavailable", String(lost.reason)));
    lost.addEventListener("abort", giveUp, { once: true });
    try {
      if (lost.aborted) giveUp();
      await destination.put(name, snapshot.bytes);
    } finally {
      lost.removeEventListener("abort", giveUp);
      snapshot.bytes.destroy();
    }
    return { name, entries: snapshot.entries() };
  }

  async #removeOld(): Promise<void> {
    const destination = await this.destination();
    const names = await destination.list();
    for (const name of names.slice(0, Math.max(0, names.length - this.stanza.retain))) await destination.remove(name);
  }

  #isTrialDue({ verified }: ScheduleRecord): boolean {
    const { verifyMillis } = this.stanza;
    return verifyMillis > 0 && this.#parts.clock.now() - (verified?.at ?? 0) >= verifyMillis;
  }

  /** The new record, or undefined when there was nothing to change. */
  async #change(derive: (record: ScheduleRecord) => ScheduleRecord | undefined): Promise<ScheduleRecord | undefined> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const tx = this.#parts.barrier.begin();
      this.#last = await readSchedule(tx);
      const next = derive(this.#last);
      if (next === undefined) return undefined;
      writeSchedule(tx, next);
      if ((await tx.commit()) === "conflict") continue;
      this.#last = next;
      return next;
    }
    return undefined;
  }
}

export function isFailing({ failure, verifyFailure }: ScheduleRecord): boolean {
  return failure !== undefined || verifyFailure !== undefined;
}
