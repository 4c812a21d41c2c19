// Whether the disk has room for writes, and what LMDB's failures mean for a caller. LMDB itself says what it was told by
// the system, or EIO when the disk took a part of a write. Must not touch the environment (lmdb-storage.ts does).
import { statfsSync } from "node:fs";
import { type Clock, type Millis, within } from "#common/clock.ts";
import { CofferError, messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { LmdbUsage } from "./usage.ts";

/** A commit rewrites the path to each of its records, and LMDB's list of free pages: tens of pages for a small one. */
const ROOM_BYTES_MIN = 512 * 1024;
/** How often the disk is asked while it is full. */
const LOOK_MILLIS: Millis = 250;
/** LMDB tells the reason a moment after the failure. */
const REASON_MILLIS: Millis = 1_000;
/** Codes of errno(3): no space, over the quota, beyond the largest file. */
const FULL_CODES = [28, 122, 27];

export const FULL_MESSAGE =
  "the disk of the storage is full, so nothing is written; make room or enlarge the volume, and writes go on by themselves";

export class DiskRoom {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #isFull = false;
  #lookedAt: Millis = 0;

  constructor(path: string, clock: Clock, log: Log) {
    this.#path = path;
    this.#clock = clock;
    this.#log = log;
  }

  /** Nothing is known to be written any more. */
  get isFull(): boolean {
    this.#look(undefined);
    return this.#isFull;
  }

  /** Bytes of the disk that this process may still use. */
  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#path);
    return bavail * bsize;
  }

  /**
   * Throws `unavailable` while the disk is known to be full and the store has no pages to reuse: every try would fail,
   * and LMDB reports each on standard error.
   */
  assertRoom(usage: () => LmdbUsage): void {
    this.#look(usage);
    if (this.#isFull && !hasFreePages(usage())) throw new CofferError("unavailable", FULL_MESSAGE);
  }

  /** The error for the caller of a write that failed. */
  async failure(error: unknown): Promise<CofferError> {
    const cause = await reasonOf(error, this.#clock);
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    const isFull = FULL_CODES.some((full) => full === code) || this.freeBytes() < ROOM_BYTES_MIN;
    if (!isFull) {
      const message = `the storage could not write (${messageOf(cause)}); check the disk`;
      return new CofferError("unavailable", message, { cause });
    }
    if (!this.#isFull) this.#log.error("the disk of the storage is full; nothing is written until there is room");
    this.#isFull = true;
    this.#lookedAt = this.#clock.now();
    return new CofferError("unavailable", FULL_MESSAGE, { cause });
  }

  #look(usage: (() => LmdbUsage) | undefined): void {
    if (!this.#isFull || this.#clock.now() - this.#lookedAt < LOOK_MILLIS) return;
    this.#lookedAt = this.#clock.now();
    if (this.freeBytes() < ROOM_BYTES_MIN && !(usage !== undefined && hasFreePages(usage()))) return;
    this.#isFull = false;
    this.#log.info("there is room for the storage again");
  }
}

/** lmdb-js gives the reason as a promise beside its error, and ends the process when nobody looks at it. */
export async function reasonOf(error: unknown, clock: Clock): Promise<unknown> {
  const reason = error instanceof Error && "commitError" in error ? error.commitError : undefined;
  if (!(reason instanceof Promise)) return error;
  const told = await within(
    clock,
    REASON_MILLIS,
    reason.then(
      () => error,
      (cause: unknown) => cause,
    ),
  );
  return told === "late" ? error : told;
}

const hasFreePages = ({ sizeBytes, usedBytes }: LmdbUsage) => sizeBytes - usedBytes >= ROOM_BYTES_MIN;
