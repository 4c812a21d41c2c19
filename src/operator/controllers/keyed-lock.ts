// One at a time per key, in the order of asking; different keys do not wait for each other.

export interface KeyedLock {
  /** Runs the work when all earlier work under the key has ended, well or not. */
  run<T>(key: string, work: () => Promise<T>): Promise<T>;
}

export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<unknown>>();
  return {
    async run(key, work) {
      const before = tails.get(key) ?? Promise.resolve();
      // What came before is only waited for; whoever asked for it hears of its failure.
      const mine = before.then(work, work);
      tails.set(key, mine);
      try {
        return await mine;
      } finally {
        if (tails.get(key) === mine) tails.delete(key);
      }
    },
  };
}
