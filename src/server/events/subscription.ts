// One subscriber's queue. It has an end: who reads more slowly than things happen loses the subscription, not the
// server its memory. What a subscriber may see is decided when it reads, by whoever reads for it.
import type { Clock, Millis } from "#common/clock.ts";
import { matchesGlob } from "#common/glob.ts";
import type { ServerEvent } from "./event.ts";

/** Events that wait for one subscriber; they are small, and shared by all who wait for the same. */
export const QUEUE_MAX = 1_000;

/** Which events a subscriber wants. Patterns have "*" for anything. */
export interface EventSelection {
  readonly types: string;
  /** The namespace of the request, whose events are always wanted. */
  readonly namespace: string;
  /** Patterns of further namespaces. */
  readonly namespaces: readonly string[];
  /** Pattern of data paths; "" for all. */
  readonly dataPath: string;
}

export class Subscription {
  readonly #selection: EventSelection;
  readonly #onClose: () => void;
  readonly #overflow = new AbortController();
  #queue: ServerEvent[] = [];
  #wake = new AbortController();
  constructor(selection: EventSelection, onClose: () => void) {
    this.#selection = selection;
    this.#onClose = onClose;
  }

  /** Aborts when more was waiting than fits; nothing comes any more. */
  get overflowed(): AbortSignal {
    return this.#overflow.signal;
  }

  offer(event: ServerEvent): void {
    if (this.#overflow.signal.aborted || !selects(this.#selection, event)) return;
    if (this.#queue.length >= QUEUE_MAX) {
      this.#overflow.abort();
      this.#queue = [];
    } else this.#queue.push(event);
    this.#wake.abort();
  }

  /** All that waits. */
  take(): readonly ServerEvent[] {
    const taken = this.#queue;
    this.#queue = [];
    return taken;
  }

  /** Until something waits, the time is over or the signal aborts. */
  async wait(clock: Clock, millis: Millis, signal: AbortSignal): Promise<void> {
    if (this.#queue.length > 0 || this.#overflow.signal.aborted) return;
    const wake = new AbortController();
    this.#wake = wake;
    const stop = () => wake.abort();
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    await clock.sleep(millis, wake.signal);
    signal.removeEventListener("abort", stop);
  }

  close(): void {
    this.#queue = [];
    this.#onClose();
  }
}

function selects({ types, namespace, namespaces, dataPath }: EventSelection, event: ServerEvent): boolean {
  if (!matchesGlob(types, event.type)) return false;
  if (dataPath !== "" && !matchesGlob(dataPath, event.dataPath)) return false;
  return event.namespace === namespace || namespaces.some((pattern) => matchesGlob(pattern, event.namespace));
}
