// Restores on a server of several worker processes: whichever takes the snapshot in, all of them stand still meanwhile
// and serve what was restored afterwards, also one that is started again later.
import { rm } from "node:fs/promises";
import { afterEach, describe, expect, it } from "vitest";
import { at } from "#test/kit/client.ts";
import type { Connection } from "#test/kit/connection.ts";
import { untilUnsealed } from "#test/kit/server.ts";
import {
  bootstrapped,
  connectToBoth,
  count,
  login,
  type Started,
  start,
  until,
  workerPids,
} from "#test/kit/worker-server.ts";

const SECRETS = 20;
const RESTORED = /the snapshot is restored/g;

const running: Started[] = [];
afterEach(async () => {
  for (const { server, folder } of running.splice(0)) {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

async function startWorkers(seal?: object) {
  const started = await start({ ...bootstrapped(), ...(seal && { seal: { ...seal } }) });
  running.push(started);
  await untilUnsealed(started.server);
  return { started, address: started.server.address, token: await login(started.server) };
}

async function take(address: string, token: string): Promise<Uint8Array> {
  const answer = await fetch(`${address}/v1/sys/storage/snapshot`, { headers: { "X-Vault-Token": token } });
  return new Uint8Array(await answer.arrayBuffer());
}

async function restore(address: string, token: string, body: Uint8Array, path = "snapshot"): Promise<void> {
  const headers = { "X-Vault-Token": token };
  const answer = await fetch(`${address}/v1/sys/storage/${path}`, { method: "POST", headers, body });
  expect(answer.status, await answer.text()).toBe(204);
}

async function writeAll(client: Connection, value: string): Promise<void> {
  for (let i = 0; i < SECRETS; i++) await client.must("POST", `secret/data/s${i}`, { data: { value } });
}

async function readAll(client: Connection): Promise<ReadonlySet<string>> {
  const seen = new Set<string>();
  for (let i = 0; i < SECRETS; i++) {
    const { status, body } = await client.call("GET", `secret/data/s${i}`);
    seen.add(status === 200 ? String(at(body, "data", "data", "value")) : String(status));
  }
  return seen;
}

/** Kills all workers, one after the other, and waits until they are back. */
async function replaceWorkers({ server }: Started): Promise<void> {
  for (const pid of await workerPids(server)) {
    const before = count(server.output(), /listening worker=/g);
    process.kill(pid, "SIGKILL");
    await until(() => count(server.output(), /listening worker=/g) > before, "it is back", server);
  }
}

describe("a restore on a server of two workers", () => {
  it("is seen at both as before, then refusals, then after, and by those that start later", async () => {
    const { started, address, token } = await startWorkers();
    const [one, two] = await connectToBoth(address, token);
    await writeAll(one, "snapshot");
    const snapshot = await take(address, token);
    await writeAll(two, "later");
    let isOver = false;
    const watching = [one, two].map(async (client) => {
      const seen: string[] = [];
      while (!isOver) for (const value of await readAll(client)) if (value !== seen.at(-1)) seen.push(value);
      return seen;
    });
    await restore(address, token, snapshot);
    isOver = true;
    for (const seen of await Promise.all(watching)) {
      // Before the store is marked, a worker may refuse and serve again; once it has served what came after, never.
      const values = seen.filter((value) => value === "later" || value === "snapshot");
      expect(values.filter((value, i) => value !== values[i - 1])).toEqual(["later", "snapshot"]);
      expect(seen).toContain("503");
    }
    for (const client of [one, two]) expect(await readAll(client)).toEqual(new Set(["snapshot"]));
    await replaceWorkers(started);
    for (const client of await connectToBoth(address, token)) {
      expect(await readAll(client)).toEqual(new Set(["snapshot"]));
      await client.must("POST", "secret/data/after", { data: {} });
    }
  });

  it("of another cluster opens both by its keys, and those that start later", async () => {
    const { seal } = bootstrapped();
    const [here, there] = [await startWorkers(seal), await startWorkers(seal)];
    const [one] = await connectToBoth(there.address, there.token);
    await writeAll(one, "there");
    await restore(here.address, here.token, await take(there.address, there.token), "snapshot-force");
    expect(count(here.started.server.output(), RESTORED)).toBe(1);
    for (const client of await connectToBoth(here.address, there.token))
      expect(await readAll(client)).toEqual(new Set(["there"]));
    await replaceWorkers(here.started);
    await untilUnsealed(here.started.server);
    for (const client of await connectToBoth(here.address, there.token))
      expect(await readAll(client)).toEqual(new Set(["there"]));
  });
});
