import { beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { createLog } from "#common/log.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { requestOf } from "#test/kit/core.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { ATTEMPT_SECONDS_MAX } from "../ceremony/attempt.ts";
import type { Operation } from "../framework/context.ts";
import type { Seal } from "../seal/seal.ts";
import { createShamirSeal } from "../seal/shamir/shamir-seal.ts";
import { createStaticSeal } from "../seal/static/static-seal.ts";
import { assembleRecovery, type RecoveryServer } from "./recovery-server.ts";

let ordinary: InProcessServer;
let recovery: RecoveryServer;
let lines: string[];

function start(seal: Seal): void {
  lines = [];
  const log = createLog({ level: "info", format: "text", write: (line) => lines.push(line), now: () => 0 });
  const { storage, clock } = ordinary;
  const seals = { seals: [seal], retiredSeals: [] };
  recovery = assembleRecovery({ storage, storageType: "memory", ...seals, clock, log, version: "1", buildDate: "" });
}

async function call(operation: Operation, path: string, data: JsonObject = {}, token = "", options = {}) {
  const { status, body } = await recovery.serve(requestOf(token, operation, `sys/${path}`, data, options));
  const parsed = body === undefined || body === "" ? {} : parseJson(String(body));
  const shown = isJsonObject(parsed) ? parsed : {};
  const found = isJsonObject(shown["data"]) ? shown["data"] : {};
  return { status, body: shown, data: found, error: JSON.stringify(shown["errors"] ?? "") };
}

const decode = (encoded: unknown, pad: unknown) => {
  const padBytes = Buffer.from(String(pad));
  return Buffer.from(Buffer.from(String(encoded), "base64").map((byte, i) => byte ^ (padBytes[i] ?? 0))).toString();
};

/** A recovery token by these shares. */
async function tokenBy(keys: readonly string[]): Promise<string> {
  const { body: begun } = await call("update", "generate-recovery-token/attempt");
  const nonce = begun["nonce"] ?? "";
  let last: JsonObject = {};
  for (const key of keys) last = (await call("update", "generate-recovery-token/update", { key, nonce })).body;
  expect(last).toMatchObject({ complete: true, nonce });
  return decode(last["encoded_token"], begun["otp"]);
}

describe("recovery mode of a server that is unsealed by shares", () => {
  beforeEach(async () => {
    ordinary = await startInProcessServer({ shares: 3, threshold: 2 });
    await ordinary.call("update", "sys/mounts/a", { type: "kv" });
    start(createShamirSeal("shamir"));
  });

  it("opens by the token's shares and gives raw storage to its holder alone", async () => {
    expect((await call("read", "seal-status")).body).toMatchObject({ sealed: true, t: 2, recovery_mode: true });
    expect((await call("read", "raw/core/cluster")).status).toBe(503);
    const { body } = await call("update", "generate-recovery-token/attempt");
    expect(body).toMatchObject({ started: true, progress: 0, required: 2, complete: false, otp_length: 26 });
    expect(body["otp"]).toMatch(/^[0-9A-Za-z]{26}$/);
    const nonce = body["nonce"] ?? "";
    const [first = "", second = ""] = ordinary.keys;
    const once = await call("update", "generate-recovery-token/update", { key: first, nonce });
    expect(once.body).toMatchObject({ progress: 1, complete: false, encoded_token: "", otp: "" });
    expect((await call("update", "generate-recovery-token/update", { key: first, nonce })).body["progress"]).toBe(1);
    const done = await call("update", "generate-recovery-token/update", { key: second, nonce });
    const token = decode(done.body["encoded_token"], body["otp"]);
    expect(token).toMatch(/^r\.[0-9A-Za-z]{24}$/);
    expect((await call("read", "seal-status")).body).toMatchObject({ sealed: false, recovery_mode: true });
    expect((await call("read", "raw/core/cluster", {}, token)).data["value"]).toContain("id");
    expect((await call("update", "raw/core/cluster", { value: "broken" }, token)).status).toBe(204);
    expect((await call("read", "raw/core/cluster", {}, token)).data).toEqual({ value: "broken" });
    expect((await call("read", "seal-status")).status).toBe(200);
    for (const other of ["", ordinary.rootToken, `${token.slice(0, -1)}_`, `${token}x`])
      expect((await call("read", "raw/core/cluster", {}, other)).status).toBe(403);
    expect(lines.join("")).toMatch(/raw storage was used.*update.*raw\/core\/cluster/);
    expect(lines.join("")).toMatch(/raw storage was refused.*read.*raw\/core\/cluster/);
    expect(lines.join("")).toContain("a recovery token was made");
    expect(lines.join("")).not.toContain("broken");
    expect(lines.join("")).not.toContain(token);
  });

  it("gives the same after an ordinary unseal", async () => {
    for (const key of ordinary.keys.slice(0, 2)) await call("update", "unseal", { key });
    expect((await call("read", "seal-status")).body["sealed"]).toBe(false);
    expect((await call("read", "raw/core/cluster")).status).toBe(403);
    const token = await tokenBy(ordinary.keys.slice(1));
    expect((await call("list", "raw/core", {}, token)).status).toBe(200);
  });

  it("forgets wrong shares, and gives no token for them", async () => {
    const wrong = SecretBytes.random(33).expose().toString("base64");
    const { nonce = "" } = (await call("update", "generate-recovery-token/attempt")).body;
    await call("update", "generate-recovery-token/update", { key: ordinary.keys[0] ?? "", nonce });
    const refused = await call("update", "generate-recovery-token/update", { key: wrong, nonce });
    expect([refused.status, refused.error]).toEqual([400, expect.stringContaining("give them again")]);
    expect((await call("read", "generate-recovery-token/attempt")).body).toMatchObject({ progress: 0, nonce });
    expect((await call("read", "seal-status")).body["sealed"]).toBe(true);
    expect((await call("delete", "generate-recovery-token/attempt")).status).toBe(204);
    expect(await tokenBy(ordinary.keys.slice(0, 2))).toMatch(/^r\./);
  });

  it("knows one token: a new one ends the one before", async () => {
    const before = await tokenBy(ordinary.keys.slice(0, 2));
    const after = await tokenBy(ordinary.keys.slice(1));
    expect((await call("read", "raw/core/cluster", {}, before)).status).toBe(403);
    expect((await call("read", "raw/core/cluster", {}, after)).status).toBe(200);
  });

  it("keeps the token in the process: nothing of it is stored, and the next start knows it no more", async () => {
    const before = await ordinary.storage.list("core/", { limit: 1_000 });
    const token = await tokenBy(ordinary.keys.slice(0, 2));
    expect(await ordinary.storage.list("core/", { limit: 1_000 })).toEqual(before);
    start(createShamirSeal("shamir"));
    for (const key of ordinary.keys.slice(0, 2)) await call("update", "unseal", { key });
    expect((await call("read", "raw/core/cluster", {}, token)).status).toBe(403);
  });

  it("ends an attempt after a day", async () => {
    await call("update", "generate-recovery-token/attempt");
    expect((await call("update", "generate-recovery-token/attempt")).error).toContain("already in progress");
    await ordinary.clock.advance((ATTEMPT_SECONDS_MAX + 1) * 1000);
    expect((await call("read", "generate-recovery-token/attempt")).body["started"]).toBe(false);
  });

  it("serves nothing else", async () => {
    const token = await tokenBy(ordinary.keys.slice(0, 2));
    for (const path of ["mounts", "leases", "health/x", "init", "metrics", "generate-root/attempt"])
      expect([path, (await call("read", path, {}, token)).status]).toEqual([path, 404]);
    expect((await recovery.serve(requestOf(token, "read", "a/k", {}))).status).toBe(404);
    expect((await call("update", "seal", {}, token)).status).toBe(404);
    expect((await call("patch", "raw/a", { value: "x" }, token)).status).toBe(405);
    expect((await call("read", "raw/core/keyring", {}, token)).status).toBe(400);
    expect((await call("read", "raw/core/cluster", {}, token, { namespace: "n" })).status).toBe(400);
    expect((await call("read", "raw/core/cluster", {}, token, { wrapTtlSeconds: 60 })).status).toBe(400);
  });

  it("is never healthy for a balancer", async () => {
    expect((await call("read", "health")).status).toBe(503);
    await tokenBy(ordinary.keys.slice(0, 2));
    const { status, body } = await call("read", "health");
    expect([status, body["sealed"], body["recovery_mode"]]).toEqual([503, false, true]);
  });

  it.each([
    [{ otp: "short" }, "26"],
    [{ otp: "x".repeat(26), pgp_key: "x" }, "not both"],
    [{ pgp_key: "no key" }, "pgp_key"],
  ])("refuses to begin with %j", async (data, message) => {
    const { status, error } = await call("update", "generate-recovery-token/attempt", data);
    expect([status, error]).toEqual([400, expect.stringContaining(message)]);
  });

  it("takes a pad of the client's own and does not show it again", async () => {
    const otp = "a".repeat(26);
    const { body } = await call("update", "generate-recovery-token/attempt", { otp });
    expect(body["otp"]).toBe("");
    const data = { nonce: body["nonce"] ?? "" };
    await call("update", "generate-recovery-token/update", { ...data, key: ordinary.keys[0] ?? "" });
    const done = await call("update", "generate-recovery-token/update", { ...data, key: ordinary.keys[1] ?? "" });
    expect(decode(done.body["encoded_token"], otp)).toMatch(/^r\./);
    const again = await call("update", "generate-recovery-token/update", { ...data, key: ordinary.keys[0] ?? "" });
    expect(again.error).toContain("no recovery token generation in progress");
  });
});

describe("recovery mode of a server that unseals by itself", () => {
  const seal = () =>
    createStaticSeal("static", [{ id: "1", key: new SecretBytes(Buffer.alloc(32, 3)) }], { clock: new FakeClock() });
  const startWith = async (shares: number) => {
    ordinary = await startInProcessServer({ seals: [seal()], shares, threshold: Math.min(shares, 2) });
    start(seal());
  };

  it("gives the token for shares of the recovery key, once the seal has opened", async () => {
    await startWith(3);
    const { nonce = "" } = (await call("update", "generate-recovery-token/attempt")).body;
    for (const key of ordinary.keys.slice(0, 1)) await call("update", "generate-recovery-token/update", { key, nonce });
    const early = await call("update", "generate-recovery-token/update", { key: ordinary.keys[1] ?? "", nonce });
    expect([early.status, early.error]).toEqual([503, expect.stringContaining("seal-status")]);
    await call("delete", "generate-recovery-token/attempt");
    await recovery.node.tryAutoUnseal();
    const token = await tokenBy(ordinary.keys.slice(0, 2));
    expect((await call("read", "raw/core/cluster", {}, token)).status).toBe(200);
  });

  it("gives none where there are no recovery keys", async () => {
    await startWith(0);
    await recovery.node.tryAutoUnseal();
    expect((await call("update", "generate-recovery-token/attempt")).error).toContain("no recovery keys");
  });
});
