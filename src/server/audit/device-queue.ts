// Lines on their way to one device: in order, in batches, bounded, each attempt with a deadline. A device that refuses
// or hangs costs its callers one deadline at most; then lines wait for it here, and it is tried again until it takes
// them. What finds the queue full is counted and told in a line of its own.
//
//   accepting --refused--> refusing   the next line tries again at once, and waits for the outcome
//   accepting --too late-> hung       lines are queued and their callers told at once; tried again by itself
//   both      --accepted-> accepting

import { CHAIN_BYTES_MAX } from "#common/audit-chain.ts";
import { type Clock, within } from "#common/clock.ts";
import { messageOf } from "#common/errors.ts";
import type { Log } from "#common/log.ts";
import type { AuditDevice } from "./audit-device.ts";
import type { AuditMetrics } from "./audit-metrics.ts";
import type { ChainHead, ChainWriter } from "./chain-writer.ts";

/** A minute of a busy server; what comes then is lost to this device, and counted. */
export const QUEUE_LINES_MAX = 10_000;
/** Lines can be as large as bodies; a queue of the largest must not fill the memory. */
export const QUEUE_CHARACTERS_MAX = 64 * 1024 * 1024;
/** Of one write: what a peer answers well within the deadline. */
const BATCH_LINES_MAX = 1_000;
const BATCH_CHARACTERS_MAX = 1024 * 1024;
/** Between attempts when nothing else causes one. */
const RETRY_MILLIS = 1_000;

/**
 * When all that came in this turn of the event loop has been looked at: requests that arrive together write together.
 * A line that is alone waits a few microseconds.
 */
function endOfTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Waiting {
  readonly entry: string;
  readonly settle: ((error?: Error) => void) | undefined;
}

export interface DeviceQueueParts {
  /** Of the device, for log and metrics. */
  readonly path: string;
  readonly device: AuditDevice;
  readonly chain: ChainWriter;
  readonly timeoutMillis: number;
  readonly clock: Clock;
  readonly log: Log;
  metrics(): AuditMetrics | undefined;
  /** The line that tells of lost lines, as this device writes it. */
  lostLine(lines: number): string;
}

export class DeviceQueue {
  readonly #parts: DeviceQueueParts;
  readonly #labels: { readonly device: string };
  #queue: Waiting[] = [];
  #characters = 0;
  /** Under way, or to be tried again. */
  #batch: readonly Waiting[] = [];
  #state: "accepting" | "refusing" | "hung" = "accepting";
  /** The attempt that is under way has missed its deadline. */
  #late = false;
  #lost = 0;
  #running: Promise<void> | undefined;
  /** Of the rest between two attempts. */
  #pause: AbortController | undefined;
  #closed = false;
  /** Somebody found it slow: until the queue is empty, callers who have another device do not wait for this one. */
  behind = false;

  constructor(parts: DeviceQueueParts) {
    this.#parts = parts;
    this.#labels = { device: parts.path };
  }

  get head(): ChainHead {
    return this.#parts.chain.head;
  }

  /** Resolves when the device has the line; rejects when it does not have it in time, though it may get it later. */
  write(entry: string): Promise<void> {
    if (this.#closed) return Promise.reject(new Error("the audit device is closed"));
    const { lineBytesMax } = this.#parts.device;
    if (lineBytesMax !== undefined && Buffer.byteLength(entry) + CHAIN_BYTES_MAX > lineBytesMax) {
      this.#parts.metrics()?.failures.add(this.#labels);
      return Promise.reject(
        new Error(`the line is longer than the ${lineBytesMax} bytes that this audit device takes`),
      );
    }
    if (this.#queue.length >= QUEUE_LINES_MAX || this.#characters + entry.length > QUEUE_CHARACTERS_MAX) {
      this.#lost++;
      this.#parts.metrics()?.lost.add(this.#labels);
      return Promise.reject(new Error("the queue of the audit device is full"));
    }
    return this.#enqueue(entry);
  }

  #enqueue(entry: string): Promise<void> {
    this.#characters += entry.length;
    if (this.#state === "hung") {
      this.#queue.push({ entry, settle: undefined });
      this.#countQueue();
      return Promise.reject(new Error("the audit device does not answer; the line waits for it"));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, settle: (error) => (error ? reject(error) : resolve()) });
      this.#countQueue();
      this.#pause?.abort("a line has come");
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    while (this.#batch.length > 0 || this.#queue.length > 0) {
      if (this.#batch.length === 0) {
        await endOfTurn();
        this.#batch = this.#take();
      }
      try {
        await this.#attempt();
        this.#accepted();
      } catch (error) {
        // A device that was too late and is cut off says so by refusing; that is told already.
        if (!this.#late) this.#fail("refusing", error);
        if (this.#closed) break;
        await this.#rest();
      }
    }
    this.#running = undefined;
  }

  #take(): readonly Waiting[] {
    let characters = 0;
    let count = 0;
    for (const { entry } of this.#queue) {
      characters += entry.length;
      if (count > 0 && (count >= BATCH_LINES_MAX || characters > BATCH_CHARACTERS_MAX)) break;
      count++;
    }
    const taken = this.#queue.splice(0, count);
    for (const { entry } of taken) this.#characters -= entry.length;
    if (this.#lost === 0) return taken;
    const told = { entry: this.#parts.lostLine(this.#lost), settle: undefined };
    this.#lost = 0;
    return [told, ...taken];
  }

  async #attempt(): Promise<void> {
    const { clock, timeoutMillis } = this.#parts;
    this.#late = false;
    const cut = new AbortController();
    const delivered = this.#deliver(cut.signal);
    if ((await within(clock, timeoutMillis, delivered)) !== "late") return;
    this.#hang();
    cut.abort(new Error("the deadline of the audit device has passed"));
    await delivered;
  }

  async #deliver(signal: AbortSignal): Promise<void> {
    const { device, chain } = this.#parts;
    const place = await device.follow?.();
    if (place) chain.moveTo(place);
    await device.write(chain.seal(this.#batch.map(({ entry }) => entry)), signal);
    chain.accept();
  }

  #hang(): void {
    this.#late = true;
    this.#fail("hung", new Error(`the audit device did not answer within ${this.#parts.timeoutMillis} ms`));
  }

  #accepted(): void {
    const { log, path } = this.#parts;
    if (this.#state !== "accepting") log.info("audit device accepts lines again", { device: path });
    this.#state = "accepting";
    for (const { settle } of this.#batch) settle?.();
    this.#parts.metrics()?.lines.add(this.#labels, this.#batch.length);
    this.#parts.metrics()?.answering.set(this.#labels, 1);
    this.#batch = [];
    if (this.#queue.length === 0) this.behind = false;
    this.#countQueue();
  }

  #fail(state: "refusing" | "hung", error: unknown): void {
    const { log, path } = this.#parts;
    if (this.#state === "accepting")
      log.error("audit device does not accept lines", { device: path, error: messageOf(error) });
    this.#state = state;
    const cause = error instanceof Error ? error : new Error(messageOf(error));
    for (const { settle } of [...this.#batch, ...this.#queue]) settle?.(cause);
    const silent = ({ entry }: Waiting): Waiting => ({ entry, settle: undefined });
    this.#batch = this.#batch.map(silent);
    this.#queue = this.#queue.map(silent);
    this.#parts.metrics()?.failures.add(this.#labels);
    this.#parts.metrics()?.answering.set(this.#labels, 0);
  }

  async #rest(): Promise<void> {
    this.#pause = new AbortController();
    await this.#parts.clock.sleep(RETRY_MILLIS, this.#pause.signal);
    this.#pause = undefined;
  }

  #countQueue(): void {
    this.#parts.metrics()?.queue.set(this.#labels, this.#batch.length + this.#queue.length);
  }

  /** Gives the device one more deadline for what waits, then closes it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#pause?.abort("closed");
    const { clock, timeoutMillis, device } = this.#parts;
    if (this.#running) await within(clock, timeoutMillis, this.#running);
    await device.close();
    this.#parts.metrics()?.queue.remove(this.#labels);
    this.#parts.metrics()?.answering.remove(this.#labels);
  }
}
