import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { LOOK_MILLIS } from "./seal-wrap.ts";

const DAY = 24 * 60 * 60 * 1000;

async function settle({ server, clock }: InProcessServer): Promise<void> {
  await clock.advance(LOOK_MILLIS);
  while (await server.sealWrap.round());
}

/** A server whose keyring has three terms, with a value under the first one. */
async function start(): Promise<InProcessServer> {
  const server = await startInProcessServer();
  await server.call("create", "sys/mounts/kv", { type: "kv" });
  await server.call("create", "kv/a", { text: "one" });
  await settle(server);
  for (let i = 0; i < 2; i++) expect((await server.call("create", "sys/rotate")).status).toBe(204);
  return server;
}

const retire = (server: InProcessServer, body: JsonObject = {}) => server.call("create", "sys/rotate/retire", body);
async function terms(server: InProcessServer): Promise<JsonObject[]> {
  return (await server.call("read", "sys/rotate/terms")).data["terms"] as JsonObject[];
}
const numbers = async (server: InProcessServer) => (await terms(server)).map(({ term }) => term);

describe("sys/rotate/retire", () => {
  it("refuses while something may be under a term, and says what to do", async () => {
    const server = await start();
    const { status, error } = await retire(server);
    expect(status).toBe(400);
    expect(error).toMatch(/something may still be under term 2 .*sys\/sealwrap\/rewrap/);
    expect(await numbers(server)).toEqual([1, 2, 3]);
  });

  it("gives the terms up once a rewrap has gone through everything", async () => {
    const server = await start();
    await server.call("create", "sys/sealwrap/rewrap");
    expect((await retire(server)).error).toMatch(/the rewrap is under way/);
    await settle(server);
    expect(await terms(server)).toEqual([
      expect.objectContaining({ term: 1, active: false, entries: 0, share: 0, retirable: true }),
      expect.objectContaining({ term: 2, active: false, entries: 0, share: 0, retirable: true }),
      expect.objectContaining({ term: 3, active: true, share: 1, retirable: false, end_time: null }),
    ]);
    expect((await retire(server)).data).toEqual({ retired: [1, 2], term: 3 });
    expect(await numbers(server)).toEqual([3]);
    expect((await server.call("read", "kv/a")).data).toEqual({ text: "one" });
  });

  it("gives up as many as it is told, and names a term that is none", async () => {
    const server = await start();
    await server.call("create", "sys/sealwrap/rewrap");
    await settle(server);
    for (const term of [0, 3, 4]) {
      const { status, error } = await retire(server, { term });
      expect([status, error]).toEqual([400, expect.stringContaining("term must be from 1 to 2")]);
    }
    expect((await retire(server, { term: 1 })).data["retired"]).toEqual([1]);
    expect(await numbers(server)).toEqual([2, 3]);
    await retire(server);
    expect((await retire(server)).error).toMatch(/no term but the one in use/);
  });

  it("asks for another rewrap for a term that began to be old after the last one", async () => {
    const server = await start();
    await server.call("create", "sys/sealwrap/rewrap");
    await settle(server);
    await server.call("create", "sys/rotate");
    expect((await retire(server)).status).toBe(400);
    expect((await retire(server, { term: 2 })).data["retired"]).toEqual([1, 2]);
  });

  it("refuses while an entry cannot be read, and names it", async () => {
    const server = await start();
    const [key = ""] = (await server.storage.scan({ from: "mount/", to: "mount0", limit: 100 })).filter((name) =>
      name.endsWith("/a"),
    );
    const [entry] = await server.storage.get([key]);
    const damaged = (entry?.value ?? new Uint8Array()).with(-1, 1 ^ (entry?.value.at(-1) ?? 0));
    await server.storage.commit({ expected: new Map(), writes: new Map([[key, damaged]]) });
    await server.call("create", "sys/sealwrap/rewrap");
    await settle(server);
    expect((await retire(server)).error).toContain(key);
    await server.call("delete", "kv/a");
    await server.call("create", "sys/sealwrap/rewrap");
    await settle(server);
    expect((await retire(server)).status).toBe(200);
  });

  it("wants sudo, and an integer", async () => {
    const server = await start();
    expect((await server.call("create", "sys/rotate/retire", {}, { token: "" })).status).toBe(403);
    expect((await retire(server, { term: "x" })).error).toContain("term");
  });
});

describe("the progress of a rewrap", () => {
  it("names the terms that it has met, and what it has left of them", async () => {
    const server = await start();
    for (let i = 0; i < 140; i++) await server.call("create", `kv/b${i}`, { n: i });
    await server.call("create", "sys/rotate");
    await server.call("create", "sys/sealwrap/rewrap");
    await server.clock.advance(LOOK_MILLIS);
    await server.server.sealWrap.round();
    const { is_running, counting } = (await server.call("read", "sys/sealwrap/rewrap")).data;
    expect(is_running).toBe(true);
    const { by_term, by_term_before, entries } = counting as Record<string, JsonObject>;
    expect(by_term).toEqual({ 4: entries });
    expect(Object.keys(by_term_before ?? {})).toEqual(expect.arrayContaining(["1", "3"]));
  });
});

describe("retire_after", () => {
  const setAfter = (server: InProcessServer, retire_after: string) =>
    server.call("create", "sys/rotate/config", { retire_after });

  it("starts the rewrap and gives the terms up, that long after they ended", async () => {
    const server = await start();
    expect((await setAfter(server, "48h")).status).toBe(204);
    expect((await server.call("read", "sys/rotate/config")).data).toMatchObject({
      retire_after: "48h0m0s",
      interval: 0,
    });
    const look = async () => {
      await server.clock.advance(LOOK_MILLIS);
      await server.server.background.sweep();
      await settle(server);
    };
    await server.clock.advance(2 * DAY - 4 * LOOK_MILLIS);
    await look();
    expect(await numbers(server)).toEqual([1, 2, 3]);
    await server.call("create", "sys/rotate");
    await server.clock.advance(2 * LOOK_MILLIS);
    await look();
    await look();
    expect(await numbers(server)).toEqual([3, 4]);
    await server.clock.advance(2 * DAY);
    await look();
    expect(await numbers(server)).toEqual([4]);
  });

  it("is off as long as nobody sets it, and again with 0", async () => {
    const server = await start();
    expect((await server.call("read", "sys/rotate/config")).data["retire_after"]).toBe(0);
    await setAfter(server, "2h");
    await setAfter(server, "0");
    await server.clock.advance(100 * DAY);
    await server.server.background.sweep();
    await settle(server);
    await server.server.background.sweep();
    expect(await numbers(server)).toEqual([1, 2, 3]);
  });

  it("is refused below an hour", async () => {
    const { status, error } = await setAfter(await start(), "59m");
    expect([status, error]).toEqual([400, expect.stringContaining("retire_after")]);
    expect((await setAfter(await start(), "1h")).status).toBe(204);
  });

  it("does not walk again and again over an entry that cannot be read", async () => {
    const server = await start();
    const [key = ""] = (await server.storage.scan({ from: "mount/", to: "mount0", limit: 100 })).filter((name) =>
      name.endsWith("/a"),
    );
    const [entry] = await server.storage.get([key]);
    const damaged = (entry?.value ?? new Uint8Array()).with(-1, 1 ^ (entry?.value.at(-1) ?? 0));
    await server.storage.commit({ expected: new Map(), writes: new Map([[key, damaged]]) });
    await setAfter(server, "1h");
    await server.clock.advance(DAY);
    await server.server.background.sweep();
    await settle(server);
    const { start_time } = (await server.call("read", "sys/sealwrap/rewrap")).data;
    await server.clock.advance(LOOK_MILLIS);
    await server.server.background.sweep();
    await settle(server);
    expect((await server.call("read", "sys/sealwrap/rewrap")).data["start_time"]).toBe(start_time);
    expect(await numbers(server)).toEqual([1, 2, 3]);
  });
});
