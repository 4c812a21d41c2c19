// Commits whose read set is larger than a transaction of etcd may be: they close a gate that every commit checks, look
// at the read set in pieces, and write while it is still closed. The gate is a key under a lease, so that a server that
// dies while holding it holds nobody up for long. Why this is correct: docs/adr/0017-etcd.md.
import { randomBytes, randomInt } from "node:crypto";
import type { Clock, Millis } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import { type EtcdCluster, METHOD } from "./cluster.ts";
import { gateKey } from "./format.ts";
import { type Comparison, commitRequest, leaseRequest, parseTxn, type TxnResult, type Write } from "./messages.ts";

/** Longer than reading thousands of versions takes; what outlives it is not written. */
const LEASE_SECONDS = 5;
/** How long others wait for the gate to open: a holder that died, and an ordinary holder behind it. */
const WAIT_MILLIS: Millis = 2 * LEASE_SECONDS * 1000;
const PAUSE_MILLIS_MAX = 20;
/** etcd's lease identifiers are 63 bits; this many are read back exactly, and two servers will not meet. */
const LEASE_ID_BYTES = 6;

export class Gate {
  readonly #cluster: EtcdCluster;
  readonly #clock: Clock;
  readonly #key: Buffer;

  constructor(cluster: EtcdCluster, path: string, clock: Clock) {
    this.#cluster = cluster;
    this.#clock = clock;
    this.#key = gateKey(path);
  }

  /** Holds for every commit: the gate is open. */
  get isOpen(): Comparison {
    return { key: this.#key, modRevision: 0n };
  }

  /** Runs a commit that compares `isOpen` and reads the gate's key when it fails; waits while the gate is closed. */
  async whenOpen(commit: () => Promise<TxnResult>): Promise<TxnResult> {
    const deadline = this.#clock.now() + WAIT_MILLIS;
    for (;;) {
      const result = await commit();
      if (result.succeeded || result.ranges[0]?.entries.length !== 1) return result;
      if (this.#clock.now() > deadline)
        throw new CofferError("unavailable", "large writes hold up all others; try again");
      await this.#clock.sleep(1 + randomInt(PAUSE_MILLIS_MAX), this.#cluster.closing);
    }
  }

  /** The key to read when a commit fails. */
  get key(): Uint8Array {
    return this.#key;
  }

  /**
   * Closes the gate, checks what was read and writes. Gives the revision, or undefined for a conflict. When the gate
   * did not stay closed nothing is written.
   */
  async closed(check: () => Promise<boolean>, writes: readonly Write[], groups: number): Promise<number | undefined> {
    const held = await this.#close();
    const isHeld = { key: this.#key, modRevision: BigInt(held) };
    const open: Write = [this.#key, null];
    if (!(await check())) {
      await this.#transact([isHeld], [open], 0);
      return undefined;
    }
    const { succeeded, revision } = await this.#transact([isHeld], [...writes, open], groups);
    if (succeeded) return revision;
    throw new CofferError("unavailable", "a large write took too long and was not done; try again");
  }

  async #close(): Promise<number> {
    const lease = randomBytes(LEASE_ID_BYTES).readUIntBE(0, LEASE_ID_BYTES) || 1;
    await this.#cluster.call(METHOD.lease, leaseRequest(lease, LEASE_SECONDS), "write");
    const holder = Buffer.from(String(lease));
    const request = commitRequest({
      comparisons: [this.isOpen],
      writes: [[this.#key, holder, lease]],
      otherwise: this.#key,
    });
    const result = await this.whenOpen(async () => parseTxn(await this.#cluster.call(METHOD.txn, request, "write")));
    return result.revision;
  }

  async #transact(comparisons: readonly Comparison[], writes: readonly Write[], groups: number): Promise<TxnResult> {
    const request = commitRequest({ comparisons, writes, groups });
    return parseTxn(await this.#cluster.call(METHOD.txn, request, "write"));
  }
}
