// What the API can do with snapshots, as one service: take, restore, try. Owns nothing that must survive the process.
import type { Clock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { SnapshotsStanza } from "../config/server-config.ts";
import { readCluster } from "../core/initial-records.ts";
import type { Node } from "../core/node.ts";
import type { SealSet } from "../core/seal-set.ts";
import type { BodyStream } from "../framework/context.ts";
import type { Storage } from "../storage/storage.ts";
import { openDestination } from "./destination.ts";
import { SnapshotItems } from "./items.ts";
import { RestoreWatch } from "./restore-watch.ts";
import { limitsOf, Restorer } from "./restorer.ts";
import { Scheduler } from "./scheduler.ts";
import { Spool } from "./spool.ts";
import { type TrialResult, tryRestore } from "./trial.ts";
import { type SnapshotStream, takeSnapshot } from "./write-snapshot.ts";

export interface SnapshotParts {
  readonly storage: Storage;
  readonly storageType: string;
  readonly barrier: Barrier;
  readonly node: Node;
  /** All seals, those included that only open what they wrapped. */
  readonly seals: Pick<SealSet, "all">;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  /** Undefined: nothing is scheduled. */
  readonly snapshots?: SnapshotsStanza | undefined;
}

export class Snapshots implements Disposable {
  readonly restorer: Restorer;
  readonly watch: RestoreWatch;
  /** Undefined when nothing is scheduled. */
  readonly scheduler: Scheduler | undefined;
  readonly #parts: SnapshotParts;
  readonly #spools = new WeakMap<BodyStream, Promise<Spool>>();

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
    this.watch = new RestoreWatch(parts);
    const stanza = parts.snapshots;
    this.scheduler =
      stanza &&
      new Scheduler({
        ...parts,
        stanza,
        open: () => openDestination(stanza, parts.clock),
        take: () => this.take(),
        verify: (bytes) => this.verify(bytes),
      });
    this.restorer = new Restorer({ ...parts, watch: this.watch });
  }

  /** Lets go of what waits; nothing more begins. */
  [Symbol.dispose](): void {
    this.watch[Symbol.dispose]();
    this.restorer[Symbol.dispose]();
  }

  /** Throws `sealed` or `unavailable`. */
  async take(): Promise<SnapshotStream> {
    const { barrier } = this.#parts;
    const cluster = await readCluster(barrier.begin());
    return takeSnapshot({ ...this.#parts, clusterName: cluster?.name ?? "", clusterId: cluster?.id ?? "" });
  }

  /** A snapshot's records: of the body, or of a stored one by its name. Taken in once for each body. */
  async items(body: BodyStream, name: string): Promise<SnapshotItems> {
    const known = this.#spools.get(body);
    if (known) return new SnapshotItems(await known, this.#parts.barrier);
    if (name !== "" && !this.scheduler)
      throw new CofferError("invalid_request", "no snapshots are stored: the configuration has no snapshots stanza");
    const bytes = this.scheduler && name !== "" ? await (await this.scheduler.destination()).get(name) : body.bytes;
    const received = Spool.receive(bytes, limitsOf(this.#parts.storageType));
    this.#spools.set(body, received);
    return new SnapshotItems(await received, this.#parts.barrier);
  }

  /** Removes what `items` took in for a body. */
  async forget(body: BodyStream): Promise<void> {
    const spool = await this.#spools.get(body);
    this.#spools.delete(body);
    await spool?.[Symbol.asyncDispose]();
  }

  /** Takes in a snapshot and restores it to a scratch store. Throws `invalid_request` with what is wrong with it. */
  async verify(
    bytes: AsyncIterable<Uint8Array>,
  ): Promise<TrialResult & { readonly id: string; readonly created: string }> {
    await using spool = await Spool.receive(bytes, limitsOf(this.#parts.storageType));
    const { id, created } = spool.checked.meta;
    return { id, created, ...(await tryRestore(spool, this.#parts)) };
  }
}
