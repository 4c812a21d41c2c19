// Through the API: a change between shares and a seal that opens by itself, with the answers that clients of Vault know;
// the emergency set, from its making to the day it is needed.
import { describe, expect, it } from "vitest";
import { silentLog } from "#common/log.ts";
import { testSeal } from "#test/kit/core.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { changeSeals } from "../core/seal-change.ts";
import { SealSet } from "../core/seal-set.ts";
import { type Seal, SealError } from "../seal/seal.ts";
import { createShamirSeal } from "../seal/shamir/shamir-seal.ts";

const shamir = createShamirSeal("shamir");
const never = new AbortController().signal;

/** The same store, as a server finds it that was started with other seals. */
async function restarted(before: InProcessServer, seals: readonly Seal[], retiredSeals: readonly Seal[] = []) {
  const { storage, clock } = before;
  const server = await startInProcessServer({ seals, uninitialised: true, parts: { storage, clock, retiredSeals } });
  await server.server.services.node.tryAutoUnseal();
  const call: InProcessServer["call"] = (operation, path, data, options) =>
    server.call(operation, path, data, { token: before.rootToken, ...options });
  return { ...server, storage, clock, rootToken: before.rootToken, call };
}

function gone(seal: Seal): Seal {
  if (seal.kind !== "auto") throw new Error("the static seal opens by itself");
  const fail = () => Promise.reject(new SealError("KeyNotFound", "somebody has deleted it", { transient: false }));
  return { ...seal, wrap: fail, unwrap: fail, probe: fail };
}

const statusOf = async (server: InProcessServer) => (await server.call("read", "sys/seal-status")).body;

async function enter(server: InProcessServer, keys: readonly string[], migrate = false) {
  const answers = [];
  for (const key of keys) answers.push(await server.call("update", "sys/unseal", { key, migrate }));
  return answers.at(-1) ?? { status: 0, body: {}, error: "" };
}

describe("from shares to a seal that opens by itself", () => {
  const shares = { shares: 3, threshold: 2 };

  it("takes the shares with migrate, which are those of the recovery key afterwards", async () => {
    const before = await startInProcessServer(shares);
    const server = await restarted(before, [testSeal("kms", 1)], [shamir]);
    expect(await statusOf(server)).toMatchObject({ sealed: true, migration: true, type: "shamir", t: 2, n: 3 });
    const [one = "", two = "", three = ""] = before.keys;
    const { status, error } = await enter(server, [one]);
    expect([status, error]).toEqual([
      400,
      "'migrate' parameter must be set true in JSON body when in seal migration mode",
    ]);
    expect((await enter(server, [one], true)).body).toMatchObject({ progress: 1, sealed: true });
    expect((await enter(server, [two], true)).body).toMatchObject({
      ...{ sealed: false, migration: false, type: "static", recovery_seal: true, t: 2, n: 3 },
    });
    const again = await restarted(server, [testSeal("kms", 1)]);
    expect(await statusOf(again)).toMatchObject({ sealed: false, migration: false });
    const { body } = await again.call("update", "sys/generate-root/attempt");
    const nonce = body["nonce"] ?? "";
    await again.call("update", "sys/generate-root/update", { key: three, nonce });
    const made = await again.call("update", "sys/generate-root/update", { key: one, nonce });
    expect(made.body).toMatchObject({ complete: true });
  });

  it("does so on a running server too", async () => {
    const server = await startInProcessServer(shares);
    const { seals, copies, services } = server.server;
    await changeSeals(
      { seals, copies, node: services.node, log: silentLog },
      new SealSet([testSeal("kms", 1)], seals.active),
    );
    expect(await statusOf(server)).toMatchObject({ sealed: false, migration: true });
    await enter(server, server.keys.slice(0, 2), true);
    expect(await statusOf(server)).toMatchObject({ sealed: false, migration: false, recovery_seal: true });
    expect(await statusOf(await restarted(server, [testSeal("kms", 1)]))).toMatchObject({ sealed: false });
    expect(await statusOf(await restarted(server, [shamir]))).toMatchObject({ sealed: true });
  });

  it("stays as it was for wrong shares", async () => {
    const before = await startInProcessServer(shares);
    const other = await startInProcessServer(shares);
    const server = await restarted(before, [testSeal("kms", 1)], [shamir]);
    const answer = await enter(server, [before.keys[0] ?? "", other.keys[1] ?? ""], true);
    expect([answer.status, answer.error]).toEqual([400, expect.stringContaining("invalid key")]);
    expect(await statusOf(server)).toMatchObject({ sealed: true, migration: true, progress: 0 });
  });
});

describe("from a seal that opens by itself to shares", () => {
  it("takes the recovery shares with migrate, which unseal afterwards", async () => {
    const before = await startInProcessServer({ seals: [testSeal("kms", 1)], shares: 3, threshold: 2 });
    const server = await restarted(before, [shamir], [testSeal("kms", 1)]);
    expect(await statusOf(server)).toMatchObject({ sealed: false, migration: true, t: 2, n: 3 });
    expect((await enter(server, before.keys.slice(1), true)).body).toMatchObject({ migration: false, type: "shamir" });
    const again = await restarted(server, [shamir]);
    expect(await statusOf(again)).toMatchObject({ sealed: true, recovery_seal: false, t: 2, n: 3 });
    expect((await enter(again, before.keys.slice(0, 2))).body).toMatchObject({ sealed: false });
    expect(await statusOf(await restarted(server, [testSeal("kms", 1)]))).toMatchObject({ sealed: true });
  });

  it("says what is missing where no recovery keys were made", async () => {
    const before = await startInProcessServer({ seals: [testSeal("kms", 1)], shares: 0, threshold: 0 });
    const server = await restarted(before, [shamir], [testSeal("kms", 1)]);
    const answer = await server.call("update", "sys/unseal", { key: "ab".repeat(33), migrate: true });
    expect([answer.status, answer.error]).toEqual([400, expect.stringContaining("sys/rotate/recovery/init")]);
  });

  it("is not begun by a client alone", async () => {
    const server = await startInProcessServer({ uninitialised: true });
    await server.call("update", "sys/init", { secret_shares: 1, secret_threshold: 1 }, { token: "" });
    const answer = await server.call("update", "sys/unseal", { key: "ab".repeat(33), migrate: true });
    expect([answer.status, answer.error]).toEqual([
      400,
      "'migrate' parameter set true in JSON body when not in seal migration mode",
    ]);
  });
});

describe("the emergency set", () => {
  const emergency = createShamirSeal("emergency");
  const begin = { secret_shares: 3, secret_threshold: 2 };
  const sharesOf = (body: Readonly<Record<string, unknown>>) =>
    Array.isArray(body["keys_base64"]) ? body["keys_base64"].map(String) : [];

  it("opens the store when the only seal is gone for ever; a new seal then takes its place", async () => {
    const server = await startInProcessServer({ seals: [testSeal("kms", 1), emergency], shares: 0, threshold: 0 });
    const shares = sharesOf((await server.call("update", "sys/seal-emergency/init", begin)).data);
    expect(shares).toHaveLength(3);
    expect(await statusOf(server)).toMatchObject({ emergency: { n: 3, t: 2 }, recovery_seal: true });
    const lost = await restarted(server, [gone(testSeal("kms", 1)), emergency]);
    expect(await statusOf(lost)).toMatchObject({
      sealed: true,
      seal_troubles: [{ seal: "kms", reason: "KeyNotFound" }],
    });
    expect((await enter(lost, shares.slice(1))).body).toMatchObject({ sealed: false });
    expect(await lost.server.sealWatch.look(never)).toBe(false);
    const { seals, copies, services } = lost.server;
    await changeSeals(
      { seals, copies, node: services.node, log: silentLog },
      new SealSet([testSeal("new", 5), emergency]),
    );
    expect((await lost.call("read", "sys/seal-backend-status")).body).toMatchObject({
      fully_wrapped: true,
      backends: [{ name: "new", wrapped: true, generation: 1 }],
    });
    expect(await statusOf(await restarted(lost, [testSeal("new", 5)]))).toMatchObject({ sealed: false });
    const later = await restarted(lost, [testSeal("new", 8), emergency]);
    expect((await enter(later, shares.slice(0, 2))).body).toMatchObject({ sealed: false });
  });

  it("opens with the root key of today after that was replaced without its holders", async () => {
    const server = await startInProcessServer({ seals: [testSeal("kms", 1), emergency], shares: 0, threshold: 0 });
    const shares = sharesOf((await server.call("update", "sys/seal-emergency/init", begin)).data);
    expect((await server.call("update", "sys/rotate/root")).status).toBe(204);
    const lost = await restarted(server, [testSeal("kms", 9), emergency]);
    expect((await enter(lost, shares.slice(1))).body).toMatchObject({ sealed: false });
  });

  it("takes effect after verification, and old shares open no more", async () => {
    const server = await startInProcessServer({ seals: [testSeal("kms", 1), emergency], shares: 0, threshold: 0 });
    const old = sharesOf((await server.call("update", "sys/seal-emergency/init", begin)).data);
    const made = (await server.call("update", "sys/seal-emergency/init", { ...begin, require_verification: true }))
      .data;
    const nonce = made["verification_nonce"] ?? "";
    const news = sharesOf(made);
    const lost = () => restarted(server, [testSeal("kms", 9), emergency]);
    expect((await enter(await lost(), news.slice(1))).status).toBe(400);
    for (const key of news.slice(0, 2)) await server.call("update", "sys/seal-emergency/verify", { key, nonce });
    expect((await enter(await lost(), news.slice(1))).body).toMatchObject({ sealed: false });
    expect((await enter(await lost(), old.slice(1))).status).toBe(400);
  });

  it("is made by holders of recovery keys where there are some", async () => {
    const server = await startInProcessServer({ seals: [testSeal("kms", 1), emergency], shares: 2, threshold: 2 });
    const begun = (await server.call("update", "sys/seal-emergency/init", begin)).data;
    expect(begun).toMatchObject({ started: true, required: 2 });
    const [one = "", two = ""] = server.keys;
    const nonce = begun["nonce"] ?? "";
    await server.call("update", "sys/seal-emergency/update", { key: one, nonce });
    const { data } = await server.call("update", "sys/seal-emergency/update", { key: two, nonce });
    expect(sharesOf(data)).toHaveLength(3);
  });

  it("is refused without its stanza, and where shares unseal anyway", async () => {
    const auto = await startInProcessServer({ seals: [testSeal("kms", 1)], shares: 0, threshold: 0 });
    const without = await auto.call("update", "sys/seal-emergency/init", begin);
    expect([without.status, without.error]).toEqual([400, expect.stringContaining('seal "shamir"')]);
    const byShares = await startInProcessServer();
    expect((await byShares.call("update", "sys/seal-emergency/init", begin)).status).toBe(400);
  });

  it("is forgotten when its stanza goes", async () => {
    const server = await startInProcessServer({ seals: [testSeal("kms", 1), emergency], shares: 0, threshold: 0 });
    const shares = sharesOf((await server.call("update", "sys/seal-emergency/init", begin)).data);
    const { seals, copies, services } = server.server;
    await changeSeals({ seals, copies, node: services.node, log: silentLog }, new SealSet(seals.autos));
    const lost = await restarted(server, [testSeal("kms", 9), emergency]);
    expect((await enter(lost, shares)).error).toContain("no emergency set");
  });
});
