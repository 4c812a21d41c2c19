// Brings what is stored to the form that it would have if it were written now: with or without the seal's layer, under
// the newest generation of its key and, on a walk of everything, under the barrier's newest term. One slice is one
// commit: it reads and writes again a bounded number of entries and moves the record on (rewrap-record.ts), so that
// whoever comes after a crash goes on from there. By claims (docs/adr/0019-claims.md).
import { randomUUID } from "node:crypto";
import type { Clock } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { Barrier } from "../barrier/barrier.ts";
import { isBarrierKey } from "../barrier/barrier-transaction.ts";
import type { EnvelopeHead } from "../barrier/envelope.ts";
import type { Transaction } from "../barrier/transaction.ts";
import { isHeld } from "../leases/claim.ts";
import { isCritical } from "./critical.ts";
import {
  type Coverage,
  EVERYTHING,
  isRunning,
  noCoverage,
  type Rewrap,
  readRewrap,
  writeRewrap,
} from "./rewrap-record.ts";
import { currentGeneration, readWrapKeys, type WrapKeys, writeWrapKeys } from "./wrap-keys.ts";

/** Entries that one slice looks at: their heads, in one read. */
const LOOK_MAX = 200;
/** Entries that one slice writes: etcd takes 128 operations in one transaction, and large values add up. */
const WRITE_MAX = 32;
/** How long the walk stays with the node that did the last slice. */
const CLAIM_SECONDS = 30;
/** After a slice in which a seal did not answer. */
const RETRY_SECONDS = 10;
const PAST = "\u{10ffff}";

export interface RewrapDependencies {
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly log: Log;
  /** 30 by default. */
  readonly claimSeconds?: number | undefined;
}

/** "none": nothing to do. "more": the next slice can follow at once. "later": it is another's, or has to wait. */
export type SliceEnd = "none" | "more" | "later";

interface Slice {
  readonly cursor: string | undefined;
  readonly processed: number;
  readonly failed: number;
  readonly lastError: string | undefined;
  readonly counted: Coverage;
}

export class RewrapWork {
  readonly #deps: RewrapDependencies;
  readonly #holder = randomUUID();
  readonly #claimSeconds: number;
  #seen: Rewrap | undefined;
  /** No slice before this; seconds. */
  #restUntil = 0;
  constructor(dependencies: RewrapDependencies) {
    this.#deps = dependencies;
    this.#claimSeconds = dependencies.claimSeconds ?? CLAIM_SECONDS;
  }

  /** How far it was at the last look of this process. */
  get seen(): Rewrap | undefined {
    return this.#seen;
  }

  async slice(): Promise<SliceEnd> {
    const now = this.#nowSeconds();
    if (now < this.#restUntil) return "later";
    const tx = this.#deps.barrier.begin();
    const job = await readRewrap(tx);
    this.#seen = job;
    const [prefix] = job.queue;
    if (prefix === undefined) return "none";
    if (isHeld(job.claim, now) && job.claim?.holder !== this.#holder) return "later";
    try {
      await this.#advance(tx, job, prefix);
      // Of two that met, the other one has committed: what it did is done.
      await tx.commit();
      return "more";
    } catch (error) {
      if (!(error instanceof CofferError) || error.code !== "unavailable") throw error;
      await this.#rest(error);
      return "later";
    }
  }

  async #advance(tx: Transaction, job: Rewrap, prefix: string): Promise<void> {
    const keys = await readWrapKeys(tx);
    const isWhole = prefix === EVERYTHING;
    const begins = job.cursor === undefined && isWhole;
    const current = { ...job, ...(begins && (await this.#beginning(keys))) };
    const slice = await this.#walk(tx, keys, prefix, current);
    const { processed, failed, lastError, counted } = slice;
    const after: Rewrap = {
      ...current,
      processed: job.processed + processed,
      succeeded: job.succeeded + processed - failed,
      failed: job.failed + failed,
      ...(lastError !== undefined && { lastError }),
      ...(isWhole && { counting: sum(current.counting ?? noCoverage(), counted) }),
      claim: { holder: this.#holder, untilSeconds: this.#nowSeconds() + this.#claimSeconds },
    };
    if (slice.cursor !== undefined) writeRewrap(tx, { ...after, cursor: slice.cursor });
    else this.#finish(tx, after, keys, isWhole);
  }

  /** What a walk of everything notes when it begins, so that at its end it proves something. */
  async #beginning(keys: WrapKeys | undefined) {
    const sinceTerm = await this.#deps.barrier.fenceOff();
    return { counting: noCoverage(), sinceGeneration: keys?.generations.at(-1)?.generation, sinceTerm };
  }

  async #walk(tx: Transaction, keys: WrapKeys | undefined, prefix: string, { cursor }: Rewrap): Promise<Slice> {
    const found = await tx.scan({ from: cursor ?? prefix, to: prefix + PAST, limit: LOOK_MAX });
    const heads = await this.#deps.barrier.heads(found);
    const counted: Counting = { ...noCoverage(), found: {} };
    let [processed, failed, written] = [0, 0, 0];
    let lastError: string | undefined;
    let next: string | undefined;
    for (const [i, key] of found.entries()) {
      if (written === WRITE_MAX) break;
      next = `${key}\0`;
      const head = heads[i];
      if (head === undefined || isBarrierKey(key)) continue;
      const wanted = await this.#wanted(tx, keys, key, prefix === EVERYTHING);
      processed++;
      if (isAsWanted(head, wanted)) {
        count(counted, head, wanted.critical, head.term);
        continue;
      }
      try {
        const value = await tx.get(key);
        if (value === undefined) continue;
        tx.put(key, value, wanted.critical);
        written++;
        count(counted, { term: wanted.term, generation: wanted.generation }, wanted.critical, head.term);
      } catch (error) {
        if (error instanceof CofferError && (error.code === "unavailable" || error.code === "sealed")) throw error;
        failed++;
        lastError = `${key}: ${messageOf(error)}`;
        count(counted, head, wanted.critical, head.term);
      }
    }
    const isAll = found.length < LOOK_MAX && (found.length === 0 || next === `${found.at(-1)}\0`);
    return { cursor: isAll ? undefined : next, processed, failed, lastError, counted };
  }

  async #wanted(tx: Transaction, keys: WrapKeys | undefined, key: string, byTerm: boolean): Promise<Wanted> {
    const critical = await isCritical(tx, key);
    const generation = critical ? currentGeneration(keys)?.generation : undefined;
    return { critical, generation, term: this.#deps.barrier.keyStatus().term, byTerm };
  }

  #finish(tx: Transaction, job: Rewrap, keys: WrapKeys | undefined, isWhole: boolean): void {
    const [, ...queue] = job.queue;
    const time = new Date(this.#deps.clock.now()).toISOString();
    const counted = isWhole && job.counting ? { coverage: job.counting, coverageTime: time } : {};
    const { cursor: _, counting: __, sinceGeneration, sinceTerm, ...rest } = job;
    const isProof = isWhole && job.failed === 0;
    writeRewrap(tx, {
      ...rest,
      ...counted,
      ...(isProof && sinceTerm !== undefined && { emptyBelow: sinceTerm }),
      queue,
      ...(queue.length === 0 && { finishedTime: time, claim: undefined }),
    });
    // Whoever wraps has this record in its read set, so nothing of an older generation came after the walk began.
    if (!isProof || !keys || sinceGeneration === undefined) return;
    const kept = keys.generations.filter(({ generation }) => generation >= sinceGeneration);
    if (kept.length < keys.generations.length) writeWrapKeys(tx, { ...keys, generations: kept });
  }

  async #rest(error: CofferError): Promise<void> {
    const { barrier, log } = this.#deps;
    this.#restUntil = this.#nowSeconds() + RETRY_SECONDS;
    const tx = barrier.begin();
    const job = await readRewrap(tx);
    if (!isRunning(job) || job.lastError === error.message) return;
    log.warn("the rewrap waits for a seal", { reason: error.message });
    writeRewrap(tx, { ...job, lastError: error.message });
    await tx.commit();
  }

  #nowSeconds(): number {
    return Math.floor(this.#deps.clock.now() / 1000);
  }
}

interface Wanted {
  readonly critical: boolean;
  readonly generation: number | undefined;
  readonly term: number;
  /** Whether an older term is a reason to write it again. */
  readonly byTerm: boolean;
}

function isAsWanted(head: EnvelopeHead, wanted: Wanted): boolean {
  return head.generation === wanted.generation && !(wanted.byTerm && head.term < wanted.term);
}

/** A coverage while it is being counted. */
type Counting = { -readonly [K in keyof Coverage]: Coverage[K] } & { found: Record<string, number> };

function count(coverage: Counting, { term, generation }: EnvelopeHead, critical: boolean, found: number): void {
  coverage.entries++;
  increase(coverage.terms, String(term));
  increase(coverage.found, String(found));
  if (generation !== undefined) increase(coverage.generations, String(generation));
  else if (critical) coverage.plain++;
}

function sum(one: Coverage, other: Coverage): Coverage {
  const both = (a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>) => {
    const total = { ...a };
    for (const [key, value] of Object.entries(b)) total[key] = (total[key] ?? 0) + value;
    return total;
  };
  return {
    entries: one.entries + other.entries,
    plain: one.plain + other.plain,
    generations: both(one.generations, other.generations),
    terms: both(one.terms, other.terms),
    found: both(one.found ?? {}, other.found ?? {}),
  };
}

function increase(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}
