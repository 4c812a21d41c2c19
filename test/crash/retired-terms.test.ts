// Terms of the keyring that are given up while processes die and stand still. Whatever happens, what was acknowledged can
// be read at every server, and in the end one term is left.
import { randomBytes } from "node:crypto";
import { access, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonArray } from "#common/json.ts";
import { at, must, send } from "#test/kit/client.ts";
import { type RunningServer, startProgram, untilUnsealed, writeConfig } from "#test/kit/server.ts";
import { sharedKinds, startSharedStorage } from "#test/kit/shared-storages.ts";
import { startTwoServers, startWriting } from "#test/kit/two-servers.ts";

const PROGRAM = join(import.meta.dirname, "../kit/mortal-store-server.ts");
const POINTS = ["rotation", "slice", "retirement"].flatMap((name) => [`before-${name}`, `after-${name}`]);
const WITHIN = { timeout: 60_000, interval: 100 };
const POLL_MILLIS = 50;
/** Longer than a whole rotation, rewrap and retirement of a small store. */
const PAUSE_MILLIS = 3_000;
const READERS = 16;

interface Pair {
  readonly servers: readonly RunningServer[];
  readonly root: string;
}

const first = ({ servers: [server] }: Pair) => server?.address ?? "";

async function termsAt(address: string, root: string): Promise<readonly number[]> {
  const { data } = await must(address, root, "GET", "sys/rotate/terms");
  const terms = at(data, "terms");
  return (isJsonArray(terms) ? terms : []).map((term) => Number(at(term, "term")));
}

/** Asks for a rewrap and the retirement of all old terms until it is done, at whatever server answers. */
async function retireAll({ servers, root }: Pair): Promise<void> {
  let isStarted = false;
  const tryOnce = async () => {
    for (const { address } of servers) {
      const terms = await termsAt(address, root).catch(() => []);
      if (terms.length === 1) return true;
      if (terms.length === 0) continue;
      if (!isStarted) isStarted = (await send(address, root, "PUT", "sys/sealwrap/rewrap", {}))?.status === 204;
      const answer = await send(address, root, "PUT", "sys/rotate/retire", {});
      // It was begun, and is over without a proof: another term has begun meanwhile.
      if (answer?.status === 400 && !JSON.stringify(answer.body).includes("under way")) isStarted = false;
    }
    return false;
  };
  await expect.poll(tryOnce, WITHIN).toBe(true);
}

async function expectAll({ servers, root }: Pair, acknowledged: ReadonlySet<string>): Promise<void> {
  for (const { address } of servers) {
    const paths = [...acknowledged];
    const reader = async () => {
      for (let path = paths.pop(); path !== undefined; path = paths.pop())
        expect(at(await must(address, root, "GET", path), "data", "path")).toBe(path);
    };
    await Promise.all(Array.from({ length: READERS }, reader));
  }
}

describe("kill -9 at a named point of the keyring's life", () => {
  let folder: string;
  let config: string;
  let root: string;
  let servers: RunningServer[];
  const launch = () => startProgram([PROGRAM, config, join(folder, "data"), join(folder, "points")]);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "coffer-terms-"));
    await mkdir(join(folder, "points"));
    const seal = { static: { current_key: randomBytes(32).toString("base64"), current_key_id: "drill" } };
    config = await writeConfig(folder, { seal, storage: { inmem: {} } });
    servers = [await launch(), await launch()];
    const made = await must(servers[0]?.address ?? "", "", "POST", "sys/init", {
      recovery_shares: 1,
      recovery_threshold: 1,
    });
    root = String(made["root_token"]);
    for (const server of servers) await untilUnsealed(server);
    await must(servers[0]?.address ?? "", root, "POST", "sys/mounts/secret", { type: "kv" });
  });
  afterAll(async () => {
    await Promise.all((servers ?? []).map((server) => server.kill9()));
    await rm(folder, { recursive: true, force: true });
  });

  const isThere = (point: string) =>
    access(join(folder, "points", point)).then(
      () => true,
      () => false,
    );

  it.each(POINTS)("%s", async (point) => {
    const acknowledged = new Set<string>();
    const writing = writeTo(() => servers, root, point, acknowledged);
    await writeFile(join(folder, "points", point), "");
    const [before] = await termsAt(servers[0]?.address ?? "", root);
    // Whoever serves this may die of it; the other one does it then.
    for (const { address } of servers) if ((await send(address, root, "PUT", "sys/rotate", {}))?.status === 204) break;
    await retireAll({ servers, root });
    await expect.poll(() => isThere(point), WITHIN).toBe(false);
    await expect.poll(() => servers.filter(({ pid }) => !isAlive(pid)).length, WITHIN).toBe(1);
    const dead = servers.findIndex(({ pid }) => !isAlive(pid));
    servers[dead] = await launch();
    await untilUnsealed(servers[dead] as RunningServer);
    await writing.stop();
    await retireAll({ servers, root });
    const [after, ...more] = await termsAt(servers[dead]?.address ?? "", root);
    expect([(after ?? 0) > (before ?? 0), more]).toEqual([true, []]);
    expect(acknowledged.size).toBeGreaterThan(0);
    await expectAll({ servers, root }, acknowledged);
  });
});

/** Writes new secrets through all servers that live, until it is stopped. */
function writeTo(servers: () => readonly RunningServer[], root: string, name: string, acknowledged: Set<string>) {
  let [stopped, n] = [false, 0];
  const writers = [0, 1, 0, 1].map(async (index) => {
    while (!stopped) {
      const path = `secret/${name}/${n++}`;
      const address = servers()[index]?.address ?? "";
      const answer = await send(address, root, "PUT", path, { path });
      if (answer && answer.status < 300) acknowledged.add(path);
      // Few are enough, and everything that is written has to be encrypted anew.
      await systemClock.sleep(POLL_MILLIS);
    }
  });
  return {
    stop: async () => {
      stopped = true;
      await Promise.all(writers);
    },
  };
}

const starting = await Promise.all(
  sharedKinds.map(async (kind) => ({ type: kind.type, storage: await startSharedStorage(kind) })),
);

describe.each(starting)("two servers on one $type", ({ storage }) => {
  it.skipIf(storage === undefined)("lose nothing while one gives terms up and the other one stands still", async () => {
    if (storage === undefined) throw unreachable();
    const both = await startTwoServers(storage.stanza);
    try {
      const pair: Pair = { servers: [both.one, both.two], root: both.root };
      const writing = startWriting(both);
      both.two.signal("SIGSTOP");
      const over = systemClock.sleep(PAUSE_MILLIS).then(() => both.two.signal("SIGCONT"));
      for (let i = 0; i < 2; i++) await must(first(pair), both.root, "PUT", "sys/rotate", {});
      await retireAll({ servers: [both.one], root: both.root });
      await over;
      await systemClock.sleep(POLL_MILLIS);
      await writing.stop();
      await retireAll(pair);
      expect(await termsAt(both.two.address, both.root)).toHaveLength(1);
      expect(writing.acknowledged.size).toBeGreaterThan(0);
      await expectAll(pair, writing.acknowledged);
    } finally {
      await both.stop();
      await storage[Symbol.asyncDispose]();
    }
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function unreachable(): Error {
  return new Error("this cannot be");
}
