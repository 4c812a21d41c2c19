// That the harness finds what it is made to find: two nodes in this process on storages that break the rules one way or
// another, and on one that keeps them.
import { describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { Operation } from "#server/framework/context.ts";
import { openMemoryStorage } from "#server/storage/memory/memory-storage.ts";
import type { CommitBatch, Entry, Storage } from "#server/storage/storage.ts";
import type { Endpoint, Method } from "#test/kit/endpoint.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { checkHistory } from "#test/kit/linearizability/check.ts";
import { register } from "#test/kit/linearizability/register.ts";
import { SeededRandom } from "#test/kit/seeded-random.ts";
import { Clients, type Recording } from "./clients.ts";

const OPERATIONS: Readonly<Record<Method, Operation>> = { GET: "read", POST: "update", DELETE: "delete" };
/** Of a secret, in storage. */
const isSecret = (key: string) => /\/(key|data)\/r\d/.test(key);
/** Every call takes a moment, or nothing would happen at the same time. */
const CALL_MILLIS_MAX = 3;
const SEED = 7;

function endpointOf(name: string, { call }: InProcessServer): Endpoint {
  return {
    name,
    send: async (method, path, body = {}) => {
      const { status, body: answered } = await call(OPERATIONS[method], path, body);
      return { status, body: answered };
    },
  };
}

/** Two nodes; `broken` changes the storage of the second before it is used. */
async function record(broken: (storage: Storage, random: SeededRandom) => Storage): Promise<Recording> {
  const random = new SeededRandom(SEED);
  const shared = openMemoryStorage();
  const slow = slowed(shared, random);
  const one = await startInProcessServer({ parts: { storage: slow, clock: systemClock } });
  const two = await startInProcessServer({
    beside: one,
    parts: { storage: broken(slow, random), clock: systemClock },
  });
  await one.call("update", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
  const clients = new Clients([endpointOf("one", one), endpointOf("two", two)], random);
  const over = new AbortController();
  const work = clients.work(8, over.signal);
  await expect.poll(() => clients.recording.history.length, { timeout: 20_000 }).toBeGreaterThan(600);
  over.abort();
  await work;
  return clients.recording;
}

function slowed(storage: Storage, random: SeededRandom): Storage {
  const wait = () => systemClock.sleep(random.integer(0, CALL_MILLIS_MAX));
  return changed(storage, {
    get: async (keys) => {
      await wait();
      return storage.get(keys);
    },
    commit: async (batch) => {
      await wait();
      const outcome = await storage.commit(batch);
      await wait();
      return outcome;
    },
  });
}

function changed(storage: Storage, own: Partial<Storage>): Storage {
  return {
    get: (keys) => storage.get(keys),
    list: (prefix, page) => storage.list(prefix, page),
    scan: (range) => storage.scan(range),
    commit: (batch) => storage.commit(batch),
    watch: (onChange) => storage.watch(onChange),
    snapshot: () => storage.snapshot(),
    close: () => storage.close(),
    ...own,
  };
}

/** A cache that is not looked after: a record is read again only now and then. */
function stale(storage: Storage, random: SeededRandom): Storage {
  const kept = new Map<string, Entry | undefined>();
  return changed(storage, {
    get: async (keys) => {
      const found = await storage.get(keys);
      return keys.map((key, i) => {
        if (!isSecret(key)) return found[i];
        if (!kept.has(key) || random.next() < 0.3) kept.set(key, found[i]);
        return kept.get(key);
      });
    },
  });
}

/** Writes whatever was read, as if nobody else wrote. */
function unchecked(storage: Storage): Storage {
  return changed(storage, { commit: ({ writes }: CommitBatch) => storage.commit({ expected: new Map(), writes }) });
}

/** Says that it is done, and now and then it is not. */
function forgetful(storage: Storage, random: SeededRandom): Storage {
  return changed(storage, {
    commit: async (batch) => {
      const isForgotten = [...batch.writes.keys()].some(isSecret) && random.next() < 0.1;
      return isForgotten ? "committed" : storage.commit(batch);
    },
  });
}

/** Sends what it got no answer for a second time, so that a write finds itself in its way. */
function repeating(storage: Storage, random: SeededRandom): Storage {
  return changed(storage, {
    commit: async (batch) => {
      const outcome = await storage.commit(batch);
      const isRepeated = [...batch.writes.keys()].some(isSecret) && random.next() < 0.1;
      return isRepeated ? storage.commit(batch) : outcome;
    },
  });
}

describe("the harness", () => {
  it("accepts two nodes on a storage that keeps the rules", async () => {
    const { history, wrong } = await record((storage) => storage);
    expect(wrong).toEqual([]);
    expect(checkHistory(history, register).violations).toEqual([]);
  });

  it.each([
    ["reads what is out of date", stale],
    ["writes over what others wrote", unchecked],
    ["forgets what it has acknowledged", forgetful],
    ["does again what may have been done", repeating],
  ])("catches a node whose storage %s", async (_name, broken) => {
    const { history } = await record(broken);
    const { violations } = checkHistory(history, register);
    expect(violations.length).toBeGreaterThan(0);
    expect(violations[0]).toMatch(/^key r\d-\d+: no order of the operations explains the answers\n {2}at first: /);
  });
});
