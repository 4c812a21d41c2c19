// Random histories of three nodes on one store that hear nothing of each other: they write, rotate, walk and retire, and
// commits of any of them stay on their way for any time. Whatever happens, a fresh node reads exactly what was
// acknowledged. COFFER_SEED brings a history back.
import { expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { chosenSeed, SeededRandom } from "#test/kit/seeded-random.ts";
import { Barrier } from "../barrier/barrier.ts";
import { isBarrierKey } from "../barrier/barrier-transaction.ts";
import { KEYRING_KEY } from "../barrier/keyring.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { CommitBatch, Storage } from "../storage/storage.ts";
import { RewrapWork } from "./rewrap.ts";
import { EVERYTHING, queueRewrap } from "./rewrap-record.ts";
import { TermRetirement } from "./term-retirement.ts";

const HISTORIES = 25;
const STEPS = 160;
const NODES = 3;
const KEYS = Array.from({ length: 70 }, (_, i) => `data/${i}`);

interface Node {
  readonly barrier: Barrier;
  readonly work: RewrapWork;
  readonly terms: TermRetirement;
  /** The next commit of values waits for what this gives. */
  hold: (() => Promise<void>) | undefined;
}

class History {
  readonly #random: SeededRandom;
  readonly #store = openMemoryStorage();
  readonly #clock = new FakeClock();
  readonly #rootKey = SecretBytes.random(32);
  readonly #model = new Map<string, string>();
  readonly #nodes: Node[] = [];
  /** Commits on their way. */
  readonly #late: { go(): void; done: Promise<void> }[] = [];
  /** Keys with a late commit, whose order against others nobody knows before it is there. */
  readonly #busy = new Set<string>();
  readonly counts = { retired: 0, late: 0, lateCommitted: 0 };

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  async run(): Promise<void> {
    for (let i = 0; i < NODES; i++) this.#nodes.push(await this.#open());
    for (let step = 0; step < STEPS; step++) {
      await this.#step(this.#random.pick(this.#nodes));
      if (step % 20 === 0) await this.#check();
    }
    while (this.#late.length > 0) await this.#arrive();
    await this.#check();
  }

  async #open(): Promise<Node> {
    const clock = this.#clock;
    const node: { hold: Node["hold"] } = { hold: undefined };
    const commit = async (batch: CommitBatch) => {
      const hold = batch.writes.has(KEYRING_KEY) ? undefined : node.hold;
      if (hold) node.hold = undefined;
      await hold?.();
      return this.#store.commit(batch);
    };
    const storage: Storage = {
      get: (keys) => this.#store.get(keys),
      list: (prefix, page) => this.#store.list(prefix, page),
      scan: (range) => this.#store.scan(range),
      watch: () => ({ [Symbol.dispose]: () => {} }),
      snapshot: () => this.#store.snapshot(),
      close: async () => {},
      commit,
    };
    const barrier = new Barrier({ storage, clock, log: silentLog });
    if (!(await barrier.isInitialized())) await barrier.initialize({ rootKey: this.#rootKey, plain: [] });
    expect(await barrier.unseal(this.#rootKey)).toBe("unsealed");
    const start = (tx: ReturnType<Barrier["begin"]>) => queueRewrap(tx, EVERYTHING, "2026-01-01T00:00:00Z");
    return Object.assign(node, {
      barrier,
      work: new RewrapWork({ barrier, clock, log: silentLog }),
      terms: new TermRetirement({ barrier, clock, start }),
    });
  }

  async #step(node: Node): Promise<void> {
    const dice = this.#random.integer(0, 100);
    if (dice < 30) await this.#write(node);
    else if (dice < 42) this.#writeLate(node);
    else if (dice < 54) await this.#arrive();
    else if (dice < 62) await this.#rotate(node);
    else if (dice < 68) await this.#startWalk(node);
    else if (dice < 86) await this.#walk(node);
    else if (dice < 97) await this.#retire(node);
    else this.#nodes[this.#random.integer(0, NODES)] = await this.#open();
  }

  /** A transaction that reads one key (or none) and writes another, or removes it. */
  async #attempt(node: Node, key: string, value: string | undefined, read: string | undefined): Promise<boolean> {
    const tx = node.barrier.begin();
    if (read !== undefined) await tx.get(read);
    if (value === undefined) tx.delete(key);
    else tx.put(key, Buffer.from(value));
    return (await tx.commit()) === "committed";
  }

  #choice() {
    const key = this.#random.pick(KEYS);
    const value = this.#random.next() < 0.15 ? undefined : String(this.#random.next());
    const read = this.#random.next() < 0.5 ? this.#random.pick(KEYS) : undefined;
    return { key, value, read };
  }

  async #write(node: Node): Promise<void> {
    const { key, value, read } = this.#choice();
    if (node.hold || this.#busy.has(key)) return;
    if (await this.#attempt(node, key, value, read)) this.#note(key, value);
  }

  #writeLate(node: Node): void {
    const { key, value, read } = this.#choice();
    if (node.hold || this.#busy.has(key)) return;
    this.#busy.add(key);
    this.counts.late++;
    let go = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    node.hold = () => gate;
    const done = this.#attempt(node, key, value, read).then((committed) => {
      if (committed) this.#note(key, value);
      if (committed) this.counts.lateCommitted++;
      this.#busy.delete(key);
    });
    this.#late.push({ go, done });
  }

  async #arrive(): Promise<void> {
    const [commit] = this.#late.splice(this.#random.integer(0, this.#late.length), 1);
    commit?.go();
    await commit?.done;
  }

  #note(key: string, value: string | undefined): void {
    if (value === undefined) this.#model.delete(key);
    else this.#model.set(key, value);
  }

  async #rotate({ barrier, hold }: Node): Promise<void> {
    if (hold) return;
    const tx = barrier.begin();
    barrier.rotate(tx);
    await tx.commit();
  }

  async #startWalk({ barrier, hold }: Node): Promise<void> {
    if (hold) return;
    const tx = barrier.begin();
    await queueRewrap(tx, EVERYTHING, "2026-01-01T00:00:00Z");
    await tx.commit();
  }

  async #walk({ work, hold }: Node): Promise<void> {
    if (hold) return;
    if (this.#random.next() < 0.3) await this.#clock.advance(31_000);
    await work.slice();
  }

  async #retire({ terms, barrier, hold }: Node): Promise<void> {
    if (hold) return;
    const tx = barrier.begin();
    const through = barrier.terms().findLast(({ term }) => term < barrier.keyStatus().term)?.term;
    const wanted = through && this.#random.integer(Math.max(1, through - 1), through + 1);
    const gone = await terms.retire(tx, wanted).catch(() => []);
    if (gone.length > 0 && (await tx.commit()) === "committed") this.counts.retired += gone.length;
  }

  /** What a node that knows nothing but the root key reads. */
  async #check(): Promise<void> {
    const { barrier } = await this.#open();
    const tx = barrier.begin();
    for (const key of await this.#store.scan({ from: "", to: "\u{10ffff}", limit: 10_000 })) {
      const value = isBarrierKey(key) ? undefined : await tx.get(key);
      if (!key.startsWith("data/")) continue;
      if (this.#busy.has(key)) continue;
      expect([key, Buffer.from(value ?? []).toString()]).toEqual([key, this.#model.get(key)]);
    }
    for (const key of this.#model.keys()) if (!this.#busy.has(key)) expect(await tx.get(key), key).toBeDefined();
  }
}

it("nothing acknowledged is lost, however late its commit, whoever retires terms meanwhile", async () => {
  const seed = chosenSeed();
  const total = { retired: 0, late: 0, lateCommitted: 0 };
  for (let i = 0; i < HISTORIES; i++) {
    const history = new History(seed + i);
    await history.run().catch((error: unknown) => {
      throw new Error(`COFFER_SEED=${seed + i}`, { cause: error });
    });
    for (const name of ["retired", "late", "lateCommitted"] as const) total[name] += history.counts[name];
  }
  // The histories are worth something only when terms went and late commits came.
  expect(total.retired).toBeGreaterThan(HISTORIES / 5);
  expect(total.lateCommitted).toBeGreaterThan(HISTORIES);
});
