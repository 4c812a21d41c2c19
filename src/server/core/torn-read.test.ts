import { describe, expect, it } from "vitest";
import { type Core, startCore } from "#test/kit/core.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";

/** A core with KV version 2 at kv/ that does `meanwhile` once, between the two reads that a secret takes. */
async function startTorn(meanwhile: (core: Core) => Promise<unknown>): Promise<Core> {
  const storage = openMemoryStorage();
  const get = storage.get.bind(storage);
  let armed = false;
  storage.get = async (keys) => {
    const found = await get(keys);
    if (armed && keys.some((key) => key.endsWith("key/a"))) {
      armed = false;
      await meanwhile(core);
    }
    return found;
  };
  const core = await startCore({ storage });
  await core.root("update", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
  await core.root("update", "kv/data/a", { data: { n: "1" } });
  armed = true;
  return core;
}

describe("a read that sees a record of before a change and one of after it", () => {
  it("is done again: the secret was removed", async () => {
    const core = await startTorn(({ root }) => root("delete", "kv/metadata/a"));
    expect((await core.send(core.rootToken, "read", "kv/data/a")).status).toBe(404);
  });

  it("is done again: the version was destroyed and another one written", async () => {
    const core = await startTorn(async ({ root }) => {
      await root("update", "kv/destroy/a", { versions: [1] });
      await root("update", "kv/data/a", { data: { n: "2" } });
    });
    const { status, data } = await core.send(core.rootToken, "read", "kv/data/a");
    expect(status).toBe(200);
    expect(data).toMatchObject({ data: { n: "2" }, metadata: { version: 2 } });
  });

  it("stays an error of the server's when nothing has changed: the record is lost", async () => {
    const core = await startTorn(async () => {});
    const [key = ""] = [...(await core.dump()).keys()].filter((name) => name.endsWith("data/a/1"));
    await core.storage.commit({ expected: new Map(), writes: new Map([[key, null]]) });
    const { status, error } = await core.send(core.rootToken, "read", "kv/data/a");
    expect(status).toBe(500);
    expect(error).toContain("a");
  });
});
