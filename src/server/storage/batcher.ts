// Gathers what many callers want at once into few round trips. While `lanes` batches are on their way, what arrives
// waits and leaves together: a quiet server adds no delay, a busy one makes larger batches. Knows nothing of databases.

export interface BatchRules<Item, Result> {
  /** Batches on their way at once. */
  readonly lanes: number;
  /** Takes from the head of the queue what may travel together: at least one. The rest stays in its order. */
  take(waiting: Item[]): Item[];
  /** One result for each item, in order; a rejection is every item's. */
  run(batch: readonly Item[]): Promise<readonly Result[]>;
}

interface Waiting<Result> {
  resolve(result: Result): void;
  reject(error: unknown): void;
}

export class Batcher<Item extends object, Result> {
  readonly #rules: BatchRules<Item, Result>;
  readonly #callers = new Map<Item, Waiting<Result>>();
  #queue: Item[] = [];
  #running = 0;
  #scheduled = false;

  constructor(rules: BatchRules<Item, Result>) {
    this.#rules = rules;
  }

  /** Each item is an object of its own. */
  add(item: Item): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    this.#callers.set(item, { resolve, reject });
    this.#queue.push(item);
    this.#schedule();
    return promise;
  }

  /** After the current turn of the event loop's callbacks, so that what arrives together leaves together. */
  #schedule(): void {
    if (this.#scheduled || this.#running >= this.#rules.lanes) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#queue.length > 0 && this.#running < this.#rules.lanes) this.#start();
    });
  }

  #start(): void {
    const batch = this.#rules.take(this.#queue);
    const taken = new Set(batch);
    this.#queue = this.#queue.filter((item) => !taken.has(item));
    this.#running++;
    void this.#finish(batch);
  }

  async #finish(batch: readonly Item[]): Promise<void> {
    try {
      const results = await this.#rules.run(batch);
      for (const [i, result] of results.entries()) this.#take(batch[i])?.resolve(result);
    } catch (error) {
      for (const item of batch) this.#take(item)?.reject(error);
    } finally {
      this.#running--;
      this.#schedule();
    }
  }

  #take(item: Item | undefined): Waiting<Result> | undefined {
    if (item === undefined) return undefined;
    const caller = this.#callers.get(item);
    this.#callers.delete(item);
    return caller;
  }
}
