// Makes this process stand still while a snapshot replaces the store, whoever does that: sealed, so that nothing is
// served of a half-replaced store, and opened again when the mark (storage/restore-record.ts) is gone. The root key is
// kept meanwhile, because most restores leave it as it is.
import type { Clock, Millis } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { SecretBytes } from "#common/secret-bytes.ts";
import type { Barrier } from "../barrier/barrier.ts";
import type { Node } from "../core/node.ts";
import { isBeingRestored, RESTORE_KEY } from "../storage/restore-record.ts";
import type { Storage } from "../storage/storage.ts";

export interface RestoreWatchParts {
  readonly storage: Storage;
  readonly barrier: Barrier;
  readonly node: Node;
  readonly clock: Clock;
  readonly log: Log;
}

/** Between looks for the end, in case that its news are lost. */
const LOOK_MILLIS: Millis = 500;

export class RestoreWatch implements Disposable {
  readonly #parts: RestoreWatchParts;
  readonly #stop = new AbortController();
  #watch: Disposable | undefined;
  #rootKey: SecretBytes | undefined;
  #isPaused = false;
  #looking: Promise<void> | undefined;
  #isNewsMissed = false;
  #unsealAgain: () => Promise<void> = async () => {};

  constructor(parts: RestoreWatchParts) {
    this.#parts = parts;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** `unsealAgain` is tried when the key of before does not open the store any more. */
  start(unsealAgain: () => Promise<void>): void {
    this.#unsealAgain = unsealAgain;
    this.#watch ??= this.#parts.storage.watch((keys) => {
      if (keys === "all" || keys.includes(RESTORE_KEY)) void this.look();
    });
  }

  /** Looks for the mark, and stops or goes on accordingly. Never rejects. */
  look(): Promise<void> {
    if (this.#looking) this.#isNewsMissed = true;
    this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  /** Serves nothing from now on, until a look finds no mark. */
  pause(): void {
    if (this.#isPaused) return;
    const { barrier, node } = this.#parts;
    this.#isPaused = true;
    if (!barrier.isSealed) this.#rootKey = barrier.cloneRootKey();
    node.sealHere();
    void this.#lookAgain();
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#watch?.[Symbol.dispose]();
    this.#rootKey?.[Symbol.dispose]();
    this.#rootKey = undefined;
  }

  async #look(): Promise<void> {
    do {
      this.#isNewsMissed = false;
      try {
        const isMarked = await isBeingRestored(this.#parts.storage);
        if (isMarked) this.pause();
        else if (this.#isPaused) await this.#resume();
      } catch (error) {
        // A storage that cannot be read serves nothing either.
        this.#parts.log.debug("cannot look for a restore", { error: messageOf(error) });
      }
    } while (this.#isNewsMissed && !this.#stop.signal.aborted);
  }

  async #resume(): Promise<void> {
    const { node, log } = this.#parts;
    using rootKey = this.#rootKey;
    this.#rootKey = undefined;
    this.#isPaused = false;
    await node.reload();
    if (rootKey === undefined) return;
    try {
      await node.adopt(rootKey);
    } catch (error) {
      log.warn("the restored store has other keys; it opens by the snapshot's seals", { error: messageOf(error) });
      void this.#unsealAgain().catch((failure: unknown) => log.warn("still sealed", { error: messageOf(failure) }));
    }
  }

  async #lookAgain(): Promise<void> {
    const { clock } = this.#parts;
    while (this.#isPaused && !this.#stop.signal.aborted) {
      await clock.sleep(LOOK_MILLIS, this.#stop.signal);
      if (!this.#stop.signal.aborted) await this.look();
    }
  }
}
