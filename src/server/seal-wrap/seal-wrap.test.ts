import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { testSeal } from "#test/kit/core.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { envelopeHead } from "../barrier/envelope.ts";
import { type AutoSeal, type Seal, SealError } from "../seal/seal.ts";
import { createShamirSeal } from "../seal/shamir/shamir-seal.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import type { Storage } from "../storage/storage.ts";
import { KEY_MILLIS, REFUSAL_MILLIS } from "./data-keys.ts";
import { LOOK_MILLIS } from "./seal-wrap.ts";

const PAST = "\u{10ffff}";
const ALWAYS = ["core/audit", "core/sealed-text-key", "core/token-salt", "core/wrapping-key"];

/** A seal that counts its calls and can be unplugged. */
function frail(name: string, byte: number) {
  const inner = testSeal(name, byte);
  if (inner.kind !== "auto") throw new Error("the static seal opens by itself");
  const state = { down: false, unwraps: 0 };
  const plugged = async <T>(work: () => Promise<T>): Promise<T> => {
    if (state.down) throw new SealError("Unreachable", "it is unplugged", { transient: true });
    return work();
  };
  const seal: AutoSeal = {
    ...inner,
    wrap: (key, purpose) => plugged(() => inner.wrap(key, purpose)),
    unwrap: (copy, purpose) => {
      state.unwraps++;
      return plugged(() => inner.unwrap(copy, purpose));
    },
  };
  return { seal, state };
}

async function settle({ server, clock }: InProcessServer): Promise<void> {
  await clock.advance(LOOK_MILLIS);
  while (await server.sealWrap.round());
}

/** Generation by storage key, of all that is wrapped. */
async function wrapped({ storage }: InProcessServer): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const keys = await storage.scan({ from: "", to: PAST, limit: 10_000 });
  for (const [i, entry] of (await storage.get(keys)).entries()) {
    const generation = entry && envelopeHead(entry.value)?.generation;
    if (generation !== undefined) found.set(keys[i] ?? "", generation);
  }
  return found;
}

const wrappedKeys = async (server: InProcessServer) => [...(await wrapped(server)).keys()];

async function start(seals: readonly Seal[]): Promise<InProcessServer> {
  const server = await startInProcessServer({ seals });
  await server.call("create", "sys/audit/file", { type: "file", options: { file_path: "discard" } });
  await settle(server);
  return server;
}

async function mountKv(server: InProcessServer, body: JsonObject = { seal_wrap: true }): Promise<void> {
  const { status: answered } = await server.call("create", "sys/mounts/kv", { type: "kv", ...body });
  expect(answered).toBeOneOf([200, 204]);
  expect((await server.call("create", "kv/a", { text: "one" })).status).toBe(204);
}

const tune = (server: InProcessServer, seal_wrap: boolean) =>
  server.call("create", "sys/mounts/kv/tune", { seal_wrap });
const read = async (server: InProcessServer) => (await server.call("read", "kv/a")).data["text"];
const status = async (server: InProcessServer) => (await server.call("read", "sys/sealwrap/rewrap")).data;

describe("the server's own keys", () => {
  it("are wrapped as soon as there is a seal for it", async () => {
    const server = await start([testSeal("one", 1)]);
    expect(await wrappedKeys(server)).toEqual(expect.arrayContaining(["core/sealed-text-key", "core/token-salt"]));
    for (const key of await wrappedKeys(server)) expect(ALWAYS).toContain(key);
    expect((await server.call("read", "auth/token/lookup-self")).status).toBe(200);
  });

  it("go on being read while the seal is away, for as long as the server runs", async () => {
    const { seal, state } = frail("one", 1);
    const server = await start([seal]);
    await server.call("read", "auth/token/lookup-self");
    state.down = true;
    await server.clock.advance(100 * KEY_MILLIS);
    await settle(server);
    expect((await server.call("read", "auth/token/lookup-self")).status).toBe(200);
  });
});

describe("a server that is unsealed", () => {
  it("asks for the key of its own records at once, so that a seal that goes away right then is not missed", async () => {
    const { seal, state } = frail("one", 1);
    const first = await start([seal]);
    const second = await startInProcessServer({ seals: [seal], beside: first, uninitialised: true });
    await second.server.services.node.tryAutoUnseal();
    await second.server.sealWrap.round();
    state.down = true;
    const answer = await second.call("read", "auth/token/lookup-self", {}, { token: first.rootToken });
    expect(answer.status).toBe(200);
  });
});

describe("a mount with seal_wrap", () => {
  it("has what its backend names wrapped from the first write, and is read as before", async () => {
    const server = await start([testSeal("one", 1)]);
    await mountKv(server);
    expect((await wrappedKeys(server)).filter((key) => key.startsWith("mount/"))).toHaveLength(1);
    expect(await read(server)).toBe("one");
  });

  it("is tuned on and off, and what was there follows", async () => {
    const server = await start([testSeal("one", 1)]);
    await mountKv(server, {});
    const ofMounts = async () => (await wrappedKeys(server)).filter((key) => key.startsWith("mount/")).length;
    expect(await ofMounts()).toBe(0);
    for (const [flag, count] of [
      [true, 1],
      [false, 0],
      [true, 1],
    ] as const) {
      expect((await tune(server, flag)).status).toBe(204);
      expect(await read(server)).toBe("one");
      await settle(server);
      expect(await ofMounts()).toBe(count);
      expect(await read(server)).toBe("one");
    }
    expect((await status(server))["is_running"]).toBe(false);
  });

  it("asks the seal once for many entries, and again when the key's time is over", async () => {
    const { seal, state } = frail("one", 1);
    const server = await start([seal]);
    await mountKv(server);
    await server.clock.advance(KEY_MILLIS);
    const before = state.unwraps;
    for (let i = 0; i < 100; i++) await server.call("read", "kv/a");
    expect(state.unwraps - before).toBe(1);
    await server.clock.advance(KEY_MILLIS);
    await server.call("read", "kv/a");
    expect(state.unwraps - before).toBe(2);
  });

  it("is read while the seal is away as long as the key is at hand, then answers 503, and recovers by itself", async () => {
    const { seal, state } = frail("kms-eu", 1);
    const server = await start([seal]);
    await mountKv(server);
    state.down = true;
    expect(await read(server)).toBe("one");
    await server.clock.advance(KEY_MILLIS);
    for (const answer of [await server.call("read", "kv/a"), await server.call("create", "kv/b", { text: "two" })]) {
      expect(answer.status).toBe(503);
      expect(answer.error).toMatch(/no seal opens it now: seal kms-eu: it is unplugged/);
    }
    expect((await server.call("read", "sys/mounts")).status).toBe(200);
    state.down = false;
    await server.clock.advance(REFUSAL_MILLIS);
    expect(await read(server)).toBe("one");
  });

  it("asks an unplugged seal once for many requests", async () => {
    const { seal, state } = frail("one", 1);
    const server = await start([seal]);
    await mountKv(server);
    await server.clock.advance(KEY_MILLIS);
    state.down = true;
    const before = state.unwraps;
    await Promise.all(Array.from({ length: 50 }, () => server.call("read", "kv/a")));
    expect(state.unwraps - before).toBe(1);
  });

  it("says at once when nothing will be wrapped", async () => {
    const server = await startInProcessServer({});
    const asked = await server.call("update", "sys/mounts/kv", { type: "kv", seal_wrap: true });
    expect(asked.body["warnings"]).toEqual([expect.stringMatching(/^seal_wrap is set and has no effect now: /)]);
    expect((await server.call("update", "sys/mounts/other", { type: "kv" })).status).toBe(204);
  });

  it("says what it does where shares alone open the store: nothing", async () => {
    const server = await start([createShamirSeal("shamir")]);
    await mountKv(server);
    expect(await wrappedKeys(server)).toEqual([]);
    await tune(server, false);
    const answer = await tune(server, true);
    expect(JSON.stringify(answer.body["warnings"])).toMatch(/no effect now: the store is unsealed by shares alone/);
    expect(await status(server)).toMatchObject({ wrapping: false, reason: expect.stringMatching(/shares alone/) });
  });
});

describe("several seals", () => {
  it("each open what is wrapped, one that was added as well", async () => {
    const one = frail("one", 1);
    const server = await start([one.seal]);
    await mountKv(server);
    const two = testSeal("two", 2);
    server.server.seals.replace([one.seal, two], []);
    await settle(server);
    one.state.down = true;
    await server.clock.advance(KEY_MILLIS + REFUSAL_MILLIS);
    expect(await read(server)).toBe("one");
    const [generation] = (await status(server))["generations"] as JsonObject[];
    expect(generation?.["seals"]).toMatchObject([{ name: "one" }, { name: "two" }]);
  });

  it("unwrap what one of them wrapped before it goes, when only shares stay", async () => {
    const one = testSeal("one", 1);
    const server = await start([one]);
    await mountKv(server);
    server.server.seals.replace([createShamirSeal("shamir")], [one]);
    await settle(server);
    expect(await wrappedKeys(server)).toEqual([]);
    server.server.seals.replace([createShamirSeal("shamir")], []);
    await server.clock.advance(KEY_MILLIS);
    expect(await read(server)).toBe("one");
  });
});

describe("a new seal-wrap key", () => {
  it("wraps from now on; the old one goes when nothing is under it any more", async () => {
    const server = await start([testSeal("one", 1)]);
    await mountKv(server);
    expect((await server.call("update", "sys/sealwrap/rotate")).data).toEqual({ generation: 2 });
    await server.call("create", "kv/b", { text: "two" });
    expect(new Set((await wrapped(server)).values())).toEqual(new Set([1, 2]));
    await settle(server);
    expect(new Set((await wrapped(server)).values())).toEqual(new Set([2]));
    const shown = await status(server);
    expect(shown["generations"]).toHaveLength(1);
    expect(shown["coverage"]).toMatchObject({ share: 1, by_generation: { 2: (await wrapped(server)).size } });
    expect(await read(server)).toBe("one");
  });

  it("leaves no entry under an old one behind: who wrapped by that and commits late meets a conflict", async () => {
    const inner = openMemoryStorage();
    let between: (() => Promise<void>) | undefined;
    const storage: Storage = {
      get: (keys) => inner.get(keys),
      list: (prefix, page) => inner.list(prefix, page),
      scan: (range) => inner.scan(range),
      watch: (onChange) => inner.watch(onChange),
      snapshot: () => inner.snapshot(),
      close: () => inner.close(),
      commit: async (batch) => {
        const run = batch.writes.has("mount/x/y") ? between : undefined;
        between = undefined;
        await run?.();
        return inner.commit(batch);
      },
    };
    const server = await startInProcessServer({ seals: [testSeal("one", 1)], parts: { storage } });
    await settle(server);
    const write = async () => {
      const tx = server.server.services.barrier.begin();
      tx.put("mount/x/y", Buffer.from("z"), true);
      return tx.commit();
    };
    between = async () => {
      await server.call("update", "sys/sealwrap/rotate");
      await settle(server);
    };
    expect(await write()).toBe("conflict");
    expect(await write()).toBe("committed");
    expect((await status(server))["generations"]).toMatchObject([{ generation: 2 }]);
    expect(Buffer.from((await server.server.services.barrier.begin().get("mount/x/y")) ?? []).toString()).toBe("z");
  });
});

describe("the rewrap", () => {
  it("is started by hand, counts, and re-encrypts what is under an old term of the barrier", async () => {
    const server = await start([testSeal("one", 1)]);
    await mountKv(server);
    await server.call("update", "sys/rotate");
    expect((await server.call("update", "sys/sealwrap/rewrap")).status).toBe(204);
    expect(await status(server)).toMatchObject({ is_running: true });
    await settle(server);
    const { entries, coverage } = (await status(server)) as { entries: JsonObject; coverage: JsonObject };
    expect(Number(entries["processed"])).toBeGreaterThan(10);
    expect(entries).toMatchObject({ succeeded: entries["processed"], failed: 0 });
    expect(Object.keys(coverage["by_term"] as JsonObject)).toEqual(["2"]);
  });

  it("counts an entry that does not open as failed, names it, and goes on", async () => {
    const server = await start([testSeal("one", 1)]);
    await mountKv(server);
    const [key = ""] = (await wrappedKeys(server)).filter((found) => found.startsWith("mount/"));
    const [entry] = await server.storage.get([key]);
    const damaged = Buffer.from(entry?.value ?? []);
    damaged[30] = (damaged[30] ?? 0) ^ 1;
    await server.storage.commit({ expected: new Map(), writes: new Map([[key, damaged]]) });
    await server.call("update", "sys/sealwrap/rotate");
    await settle(server);
    expect(await status(server)).toMatchObject({ is_running: false, entries: { failed: 1 } });
    expect((await status(server))["last_error"]).toContain(key);
    expect((await status(server))["generations"]).toHaveLength(2);
  });

  it("waits for a seal that is away, and goes on when it is back", async () => {
    const { seal, state } = frail("one", 1);
    const server = await start([seal]);
    await mountKv(server);
    await tune(server, false);
    await server.clock.advance(KEY_MILLIS);
    state.down = true;
    await settle(server);
    expect(await status(server)).toMatchObject({ is_running: true, last_error: expect.stringMatching(/unplugged/) });
    state.down = false;
    await settle(server);
    expect(await status(server)).toMatchObject({ is_running: false });
    expect((await wrappedKeys(server)).filter((key) => key.startsWith("mount/"))).toEqual([]);
  });

  it("is gone on with by another node when the first one dies", async () => {
    const seal = testSeal("one", 1);
    const first = await start([seal]);
    await first.call("create", "sys/mounts/kv", { type: "kv" });
    for (let i = 0; i < 100; i++) await first.call("create", `kv/${i}`, { text: "x" });
    await first.call("create", "sys/mounts/kv/tune", { seal_wrap: true });
    const second = await startInProcessServer({ seals: [seal], beside: first, uninitialised: true });
    await second.server.services.node.tryAutoUnseal();
    await first.server.sealWrap.round();
    first.server.services.node.stop();
    const partly = (await wrappedKeys(second)).filter((key) => key.startsWith("mount/")).length;
    expect(partly).toBeGreaterThan(0);
    await settle(second);
    expect((await wrappedKeys(second)).filter((key) => key.startsWith("mount/"))).toHaveLength(100);
    expect((await second.call("read", "kv/7", {}, { token: first.rootToken })).data).toEqual({ text: "x" });
  });
});
