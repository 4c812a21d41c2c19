// Random commits by many at once while connections are cut, answers get lost and stores are closed, held against a model:
// each commit raises counters that it has read and leaves a mark of its own, all or nothing. What was told of it must be
// so: "committed" is there, "conflict" and `unavailable` are not, and only `unconfirmed` may be either.
import { expect, it, type TestContext } from "vitest";
import { systemClock } from "#common/clock.ts";
import { CofferError } from "#common/errors.ts";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { type StorageKind, storageRegistry } from "#server/storage/registry.ts";
import type { Entry, Storage } from "#server/storage/storage.ts";
import { chosenSeed, SeededRandom } from "#test/kit/seeded-random.ts";
import { startTcpProxy, type TcpProxy } from "#test/kit/tcp-proxy.ts";

const COUNTERS = 6;
const COMMITTERS = 8;
const RUN_MILLIS = 4_000;
/** How long a cut connection or a lost answer lasts. */
const FAULT_MILLIS = [20, 400] as const;

type Told = "committed" | "conflict" | "unavailable" | "unconfirmed";

/** The stanza of a store whose server is reached by another port. */
const throughPort: Readonly<Record<string, (config: JsonObject, port: number) => JsonObject>> = {
  etcd: (config, port) => ({ ...config, address: `http://127.0.0.1:${port}`, request_timeout: "1s", sync: "false" }),
  postgres: (config, port) => ({
    ...config,
    connection_url: withPort(String(config["connection_url"]), port),
    statement_timeout: "1s",
    max_parallel: "6",
  }),
};
const portOf: Readonly<Record<string, (config: JsonObject) => number>> = {
  etcd: ({ address }) => Number(new URL(String(address)).port),
  postgres: ({ connection_url }) => Number(new URL(String(connection_url)).port),
};

function withPort(url: string, port: number): string {
  const changed = new URL(url);
  changed.port = String(port);
  return `${changed.toString()}&connect_timeout=1`;
}

const textOf = (entry: Entry | undefined) => (entry === undefined ? "0" : Buffer.from(entry.value).toString());

/** Commits until the signal aborts; gives what was told of each, by its mark. */
async function commitUntil(
  storages: readonly Storage[],
  random: SeededRandom,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Told>> {
  const told = new Map<string, Told>();
  let next = 0;
  const work = async (storage: Storage) => {
    while (!signal.aborted) {
      const mark = `mark/${next++}`;
      told.set(mark, await commitOnce(storage, mark, random));
      await systemClock.sleep(random.integer(0, 6));
    }
  };
  await Promise.all(Array.from({ length: COMMITTERS }, (_, i) => work(storages[i % storages.length] ?? nothing())));
  return told;
}

/** Raises one to three counters. The mark says which, so that what is there can be added up. */
async function commitOnce(storage: Storage, mark: string, random: SeededRandom): Promise<Told> {
  const first = random.integer(0, COUNTERS);
  const keys = Array.from({ length: random.integer(1, 4) }, (_, i) => `counter/${(first + i) % COUNTERS}`);
  try {
    const found = await storage.get(keys);
    const raised = keys.map((key, i) => [key, Buffer.from(String(Number(textOf(found[i])) + 1))] as const);
    return await storage.commit({
      expected: new Map(keys.map((key, i) => [key, found[i]?.version])),
      writes: new Map([...raised, [mark, Buffer.from(keys.join())]]),
    });
  } catch (error) {
    if (error instanceof CofferError && (error.code === "unavailable" || error.code === "unconfirmed"))
      return error.code;
    throw error;
  }
}

/** What is there in the end is what was told, and nothing of it is half there. */
async function assertAgree(storage: Storage, told: ReadonlyMap<string, Told>): Promise<void> {
  const marks = await storage.scan({ from: "mark/", to: "mark0", limit: told.size + 1 });
  const there = new Set(marks);
  const wrong = [...told].filter(
    ([mark, outcome]) => outcome !== "unconfirmed" && there.has(mark) !== (outcome === "committed"),
  );
  expect(wrong).toEqual([]);
  const sums = new Map<string, number>();
  for (const entry of await storage.get(marks))
    for (const key of textOf(entry).split(",")) sums.set(key, (sums.get(key) ?? 0) + 1);
  const counters = Array.from({ length: COUNTERS }, (_, i) => `counter/${i}`);
  const found = await storage.get(counters);
  expect(counters.map((key, i) => [key, Number(textOf(found[i]))])).toEqual(
    counters.map((key) => [key, sums.get(key) ?? 0]),
  );
}

async function breakLines(lines: readonly TcpProxy[], random: SeededRandom, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await systemClock.sleep(random.integer(...FAULT_MILLIS), signal);
    const line = random.pick(lines);
    if (random.next() < 0.5) line.cut();
    else {
      line.lose(random.pick(["answers", "answers", "requests", "both"]));
      await systemClock.sleep(random.integer(...FAULT_MILLIS));
      line.mend();
    }
  }
}

const count = (told: ReadonlyMap<string, Told>) =>
  [...Map.groupBy(told.values(), (outcome) => outcome)].map(([outcome, all]) => `${all.length} ${outcome}`).join(", ");

async function withFixture(
  kind: StorageKind,
  context: TestContext,
  work: (config: JsonObject, parts: AsyncDisposableStack, random: SeededRandom) => Promise<void>,
): Promise<void> {
  const fixture = await kind.startFixture();
  if (fixture === undefined) {
    expect(process.env["CI"], `storage ${kind.type} must be installed in CI`).not.toBe("true");
    return context.skip(`what storage ${kind.type} needs is not installed here`);
  }
  await using parts = new AsyncDisposableStack();
  parts.defer(() => fixture.stop());
  const random = new SeededRandom(chosenSeed());
  console.log(`${kind.type}: COFFER_SEED=${random.seed}`);
  await work(fixture.config, parts, random);
}

async function openIn(parts: AsyncDisposableStack, kind: StorageKind, config: JsonObject): Promise<Storage> {
  const storage = await kind.open(config, { log: silentLog, clock: systemClock });
  parts.defer(() => storage.close());
  return storage;
}

it.for(storageRegistry)("$type tells the truth of every commit, cut off or closed in the middle", (kind, context) =>
  withFixture(kind, context, async (config, parts, random) => {
    const through = throughPort[kind.type];
    const port = portOf[kind.type]?.(config);
    const lines = through && port !== undefined ? [await startTcpProxy(port), await startTcpProxy(port)] : [];
    for (const line of lines) parts.defer(() => line.close());
    const configs = through ? lines.map((line) => through(config, line.port)) : [config];
    const storages: Storage[] = [];
    for (const each of configs) storages.push(await openIn(parts, kind, each));
    const over = AbortSignal.timeout(RUN_MILLIS);
    const faults = lines.length > 0 ? breakLines(lines, random, over) : undefined;
    const told = new Map(await commitUntil(storages, random, over));
    await faults;
    // Closed with commits under way: those too are told as they are.
    const last = Array.from({ length: 40 }, async (_, i) => {
      const mark = `mark/closed-${i}`;
      const storage = storages[i % storages.length] ?? nothing();
      told.set(mark, await commitOnce(storage, mark, random));
    });
    if (kind.durable) {
      await systemClock.sleep(random.integer(0, 4));
      await Promise.all(storages.map((storage) => storage.close()));
    }
    await Promise.all(last);
    console.log(`${kind.type}: ${count(told)}`);
    expect(told.size).toBeGreaterThan(100);
    await assertAgree(kind.durable ? await openIn(parts, kind, config) : (storages[0] ?? nothing()), told);
  }),
);

it.for(storageRegistry.filter(({ type }) => throughPort[type]))("$type knows what it does not know", (kind, context) =>
  withFixture(kind, context, async (config, parts) => {
    const line = await startTcpProxy(portOf[kind.type]?.(config) ?? 0);
    parts.defer(() => line.close());
    const direct = await openIn(parts, kind, config);
    const far = await openIn(parts, kind, throughPort[kind.type]?.(config, line.port) ?? {});
    const write = (key: string) => far.commit({ expected: new Map(), writes: new Map([[key, Buffer.from("1")]]) });
    const isThere = async (key: string) => (await direct.get([key]))[0] !== undefined;
    expect(await write("before")).toBe("committed");
    line.lose("answers");
    const unanswered = write("answer lost");
    await expect.poll(() => isThere("answer lost"), { timeout: 10_000 }).toBe(true);
    line.mend();
    await expect(unanswered).rejects.toMatchObject({
      code: "unconfirmed",
      message: expect.stringContaining("may or may not"),
    });
    await expect.poll(() => write("between").catch(() => "not yet"), { timeout: 10_000 }).toBe("committed");
    line.lose("requests");
    const unheard = write("request lost");
    await systemClock.sleep(200);
    line.mend();
    await expect(unheard).rejects.toMatchObject({ code: expect.stringMatching(/^(unconfirmed|unavailable)$/) });
    await expect.poll(() => write("after").catch(() => "not yet"), { timeout: 10_000 }).toBe("committed");
    expect(await isThere("request lost")).toBe(false);
  }),
);

function nothing(): never {
  throw new Error("there is no storage");
}
