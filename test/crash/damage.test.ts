// Records that somebody or something changed behind the server's back: found when they are read, named by path and never
// served; everything else goes on. Also records that are gone although others refer to them.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { execute } from "#server/storage/postgres/fixture.ts";
import type { StorageFixture, StorageKind } from "#server/storage/registry.ts";
import type { Storage } from "#server/storage/storage.ts";
import { type Answer, at } from "#test/kit/client.ts";
import type { Method } from "#test/kit/endpoint.ts";
import { type Node, type NodeGroup, startNodes } from "#test/kit/node-group.ts";
import { sharedKinds } from "#test/kit/shared-storages.ts";

/** By offset in what is stored (barrier/envelope.ts): version, term, nonce, ciphertext, and the tag from the end. */
const PLACES: Readonly<Record<string, number>> = { version: 0, term: 4, nonce: 9, ciphertext: 20, tag: -3 };
const VALUE = "a value that must never be seen";
const FLIP = 0x10;
/** What is said of a store that has lost its keys. */
const LEFT = /nothing is stored at path core\/|holds records .* and no keys to them/;

/** Changes stored bytes by the means of the storage's own, past this program. */
const flipIn: Readonly<Record<string, (config: JsonObject, key: string, from: Buffer, to: Buffer) => Promise<void>>> = {
  lmdb: async ({ path }, _key, from, to) => {
    const file = join(String(path), "data.mdb");
    const bytes = await readFile(file);
    let count = 0;
    // Pages that are free now may have it, too.
    for (let found = bytes.indexOf(from); found >= 0; found = bytes.indexOf(from, found + 1), count++)
      to.copy(bytes, found);
    expect(count).toBeGreaterThan(0);
    await writeFile(file, bytes);
  },
  postgres: async ({ connection_url, table }, key, _from, to) => {
    const where = `key = '\\x${Buffer.from(key).toString("hex")}'::bytea`;
    await execute(
      String(connection_url),
      `UPDATE ${table} SET value = '\\x${to.toString("hex")}'::bytea WHERE ${where}`,
    );
  },
  etcd: async ({ address, path }, key, _from, to) => {
    const body = { key: Buffer.from(`${path}/kv/${key}`).toString("base64"), value: to.toString("base64") };
    const answer = await fetch(`${address}/v3/kv/put`, { method: "POST", body: JSON.stringify(body) });
    expect(answer.status).toBe(200);
  },
};

const starting = await Promise.all(
  sharedKinds.map(async (kind) => ({ type: kind.type, kind, fixture: await kind.startFixture() })),
);

describe.each(starting)("a store in $type", ({ type, kind, fixture }) => {
  describe.skipIf(fixture === undefined)("with damage", () => {
    let group: NodeGroup;
    let node: Node;
    let config: JsonObject;
    let token: string;

    beforeAll(async () => {
      config = configOf(fixture);
      group = await startNodes([{ [type]: config }]);
      node = group.nodes[0] ?? unreachable();
      for (const name of [...Object.keys(PLACES), "whole", "key", "gone", "policy", "token"])
        await must("POST", `kv/data/${name}`, { data: { value: VALUE } });
      const policy = 'path "kv/*" { capabilities = ["read"] }';
      for (const name of ["reader", "other"]) await must("POST", `sys/policies/acl/${name}`, { policy });
      token = await newToken("reader");
    });
    afterAll(async () => {
      await group?.stop();
      await fixture?.stop();
    });

    const send = async (method: Method, path: string, body?: JsonObject, as?: string): Promise<Answer> => {
      const answer = await node.send(method, path, body, as);
      if (typeof answer === "string") throw new Error(`${path} is ${answer}`);
      return answer;
    };
    const must = async (...request: Parameters<typeof send>): Promise<JsonObject> => {
      const { status, body } = await send(...request);
      if (status >= 300) throw new Error(`${request[1]}: ${status} ${JSON.stringify(body)}`);
      return body;
    };
    const newToken = async (policy: string) =>
      String(at(await must("POST", "auth/token/create", { policies: [policy] }), "auth", "client_token"));

    /** Changes the store while nobody has it open, as a disk or somebody with rights to it would. */
    const behindItsBack = async (change: () => Promise<void>): Promise<void> => {
      await node.kill9();
      await change();
      await node.startAgain();
    };
    const flip = (places: Readonly<Record<string, number>>) =>
      behindItsBack(async () => {
        for (const [key, place] of Object.entries(places)) {
          const stored = await withStore(kind, config, async (storage) => {
            const [entry] = await storage.get([key]);
            return Buffer.from(entry?.value ?? unreachable());
          });
          const changed = Buffer.from(stored);
          const offset = place < 0 ? changed.length + place : place;
          changed[offset] = (changed[offset] ?? 0) ^ FLIP;
          await (flipIn[type] ?? unreachable())(config, key, stored, changed);
        }
      });
    const remove = (key: string) =>
      behindItsBack(() =>
        withStore(kind, config, async (storage) => {
          await storage.commit({ expected: new Map(), writes: new Map([[key, null]]) });
        }),
      );
    const keyEndingIn = (end: string) =>
      withStore(kind, config, async (storage) => {
        const keys = await storage.scan({ from: "", to: "\u{10ffff}", limit: 10_000 });
        return keys.find((key) => key.endsWith(end)) ?? unreachable();
      });

    const expectRefusal = async (path: string, key: string, as?: string) => {
      const { status, body } = await send("GET", path, undefined, as);
      expect(status, JSON.stringify(body)).toBe(500);
      expect(JSON.stringify(body)).toContain(key);
      expect(JSON.stringify(body)).not.toContain(VALUE);
      expect(node.output()).toContain(key);
      expect(node.output()).not.toContain(VALUE);
    };
    const expectTheRest = async () => {
      expect(at(await must("GET", "kv/data/whole"), "data", "data", "value")).toBe(VALUE);
      await must("POST", "kv/data/written", { data: { value: VALUE } });
    };

    it("in any part of a value: named, not served, mended by a new version", async () => {
      const flipped: Record<string, number> = {};
      for (const [name, place] of Object.entries(PLACES)) flipped[await keyEndingIn(`/data/${name}/1`)] = place;
      await flip(flipped);
      const keyOf = (name: string) => Object.keys(flipped).find((key) => key.endsWith(`/${name}/1`)) ?? unreachable();
      for (const name of Object.keys(PLACES)) await expectRefusal(`kv/data/${name}`, keyOf(name));
      await expectTheRest();
      const metrics = await fetch(`${node.address}/v1/sys/metrics?format=prometheus`, {
        headers: { "X-Vault-Token": group.root },
      });
      expect(await metrics.text()).toMatch(/^coffer_barrier_damaged_reads [5-9]/m);
      for (const name of Object.keys(PLACES)) {
        await must("POST", `kv/data/${name}`, { data: { value: VALUE } });
        expect(at(await must("GET", `kv/data/${name}`), "data", "metadata", "version")).toBe(2);
        await expectRefusal(`kv/data/${name}?version=1`, keyOf(name));
      }
    });

    it("in the record of a secret's versions: neither read nor written over", async () => {
      const key = await keyEndingIn("/key/key");
      await flip({ [key]: 30 });
      await expectRefusal("kv/data/key", key);
      expect((await send("POST", "kv/data/key", { data: { value: VALUE } })).status).toBe(500);
      await expectTheRest();
    });

    it("in a policy: whoever needs it is refused, others are not", async () => {
      const key = await keyEndingIn("core/policy/reader");
      const other = await newToken("other");
      await flip({ [key]: 30 });
      await expectRefusal("kv/data/whole", key, token);
      expect((await send("GET", "kv/data/whole", undefined, other)).status).toBe(200);
      await expectTheRest();
    });

    it("a value that is gone is missed, and the secret named", async () => {
      await remove(await keyEndingIn("/data/gone/1"));
      await expectRefusal("kv/data/gone", "gone");
      await expectTheRest();
    });

    it("a policy that is gone allows nothing", async () => {
      const other = await newToken("other");
      await remove(await keyEndingIn("core/policy/other"));
      expect((await send("GET", "kv/data/whole", undefined, other)).status).toBe(403);
    });

    /** What a node says that is started on such a store; it neither serves nor begins anew. */
    const toldWithout = async (): Promise<string> => {
      await node.start();
      const { status, body } = await send("POST", "sys/init", { recovery_shares: 1, recovery_threshold: 1 }, "");
      expect(status).toBeGreaterThanOrEqual(400);
      expect((await send("GET", "kv/data/whole")).status).toBeGreaterThanOrEqual(500);
      const told = () => node.output() + JSON.stringify(body);
      await expect.poll(told, { timeout: 10_000 }).toMatch(LEFT);
      return told();
    };

    it.each([
      [["core/keyring"]],
      [["core/seal-config"]],
      [["core/seal-keys"]],
      [["core/keyring", "core/seal-config", "core/seal-keys"]],
    ])("without %s no server begins anew over what is left", async (keys) => {
      await node.kill9();
      const kept = await withStore(kind, config, async (storage) => {
        const values = (await storage.get(keys)).map((entry) => entry?.value ?? unreachable());
        await storage.commit({ expected: new Map(), writes: new Map(keys.map((key) => [key, null])) });
        return values;
      });
      try {
        expect(await toldWithout()).toMatch(LEFT);
      } finally {
        await node.kill9();
        await withStore(kind, config, async (storage) => {
          await storage.commit({
            expected: new Map(keys.map((key) => [key, undefined])),
            writes: new Map(keys.map((key, i) => [key, kept[i] ?? unreachable()])),
          });
        });
      }
      await node.startAgain();
      await expectTheRest();
    });
  });
});

async function withStore<T>(kind: StorageKind, config: JsonObject, work: (storage: Storage) => Promise<T>): Promise<T> {
  const storage = await kind.open(config, { log: silentLog, clock: systemClock });
  try {
    return await work(storage);
  } finally {
    await storage.close();
  }
}

function configOf(fixture: StorageFixture | undefined): JsonObject {
  return fixture?.config ?? unreachable();
}

function unreachable(): never {
  throw new Error("what the test has made is not there");
}
