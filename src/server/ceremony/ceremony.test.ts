import { createHash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import type { JsonObject, JsonValue } from "#common/json.ts";
import { SecretBytes } from "#common/secret-bytes.ts";
import { type InProcessServer, startInProcessServer, type TestAnswer } from "#test/kit/in-process-server.ts";
import { createStaticSeal } from "../seal/static/static-seal.ts";
import { ATTEMPT_SECONDS_MAX } from "./attempt.ts";
import { encodeToken, PAD_LENGTH } from "./root-generation.ts";

/** As at a listener that takes shares without a token. */
const OPEN = ["rekey", "generate-root"] as const;

const UNTRUSTED = { token: "" };
const WRONG = createHash("sha256").update("wrong").digest("base64");

let server: InProcessServer;
const texts = (value: JsonValue | undefined) => JSON.parse(JSON.stringify(value ?? [])) as string[]; // test data
const put = (path: string, data: JsonObject = {}, options = UNTRUSTED) =>
  server.call("update", `sys/${path}`, data, options);

/** Gives shares in turn; the last answer. */
async function give(path: string, nonce: JsonValue | undefined, keys: readonly string[]): Promise<TestAnswer> {
  let answer: TestAnswer | undefined;
  for (const key of keys) answer = await put(path, { key, nonce: nonce ?? "" });
  if (!answer) throw new Error("no keys to give");
  return answer;
}

/** Seals and unseals with the given shares; whether it worked. */
async function opensWith(keys: readonly string[]): Promise<boolean> {
  const { node } = server.server.services;
  node.seal();
  for (const key of keys) await put("unseal", { key });
  return node.state === "unsealed";
}

describe("new shares of the unseal key", () => {
  beforeEach(async () => {
    server = await startInProcessServer({ shares: 3, threshold: 2, openForms: OPEN });
    await server.call("update", "sys/mounts/a", { type: "kv" });
    await server.call("update", "a/k", { v: "1" });
  });
  const begin = async (data: JsonObject = {}) =>
    (await put("rekey/init", { secret_shares: 5, secret_threshold: 3, ...data })).body["nonce"];

  it("replaces old ones: only the new ones open, and the data stays", async () => {
    const nonce = await begin();
    const first = await put("rekey/update", { key: server.keys[0] ?? "", nonce: nonce ?? "" });
    expect(first.body).toMatchObject({ started: true, progress: 1, required: 2, t: 3, n: 5 });
    const { body } = await give("rekey/update", nonce, [server.keys[0] ?? "", server.keys[2] ?? ""]);
    expect(body).toMatchObject({ complete: true, nonce, verification_required: false });
    const keys = texts(body["keys_base64"]);
    expect(texts(body["keys"]).map((hex) => Buffer.from(hex, "hex").toString("base64"))).toEqual(keys);
    expect(keys).toHaveLength(5);
    expect((await put("rekey/init")).status).toBe(200);
    await server.call("delete", "sys/rekey/init", {}, UNTRUSTED);
    expect(await opensWith(server.keys.slice(0, 3))).toBe(false);
    await put("unseal", { reset: true });
    expect(await opensWith(keys.slice(1, 4))).toBe(true);
    expect((await server.call("read", "a/k")).data).toEqual({ v: "1" });
    expect((await server.call("read", "sys/seal-status")).body).toMatchObject({ t: 3, n: 5 });
  });

  it("takes effect after verification where that is wanted", async () => {
    const nonce = await begin({ require_verification: true });
    const { body } = await give("rekey/update", nonce, server.keys.slice(0, 2));
    expect(body).toMatchObject({ complete: true, verification_required: true });
    const [keys, proof] = [texts(body["keys_base64"]), body["verification_nonce"]];
    expect(await opensWith(server.keys.slice(0, 2))).toBe(true);
    const again = await put("rekey/update", { key: server.keys[0] ?? "", nonce: nonce ?? "" });
    expect(again.error).toContain("must be verified");
    expect((await give("rekey/verify", proof, [WRONG, ...keys.slice(0, 2)])).error).toContain("verification failed");
    const restarted = (await server.call("delete", "sys/rekey/verify", {}, UNTRUSTED)).body["nonce"];
    expect(restarted).not.toBe(proof);
    expect((await give("rekey/verify", restarted, keys.slice(0, 2))).body).toMatchObject({ progress: 2, t: 3 });
    expect((await give("rekey/verify", restarted, keys.slice(2, 3))).body).toMatchObject({ complete: true });
    expect(await opensWith(server.keys.slice(0, 2))).toBe(false);
    await put("unseal", { reset: true });
    expect(await opensWith(keys.slice(0, 3))).toBe(true);
  });

  it("goes on at any node, and all of them follow the new key", async () => {
    const other = await startInProcessServer({ beside: server, openForms: OPEN });
    const nonce = (await begin()) ?? "";
    await put("rekey/update", { key: server.keys[0] ?? "", nonce });
    const last = { key: server.keys[1] ?? "", nonce };
    const { body } = await other.call("update", "sys/rekey/update", last, UNTRUSTED);
    const keys = texts(body["keys_base64"]);
    expect((await server.call("update", "a/k", { v: "2" })).status).toBe(204);
    expect((await other.call("read", "a/k")).data).toEqual({ v: "2" });
    expect(await opensWith(keys.slice(0, 3))).toBe(true);
  });

  it("gives new keys to one only, when two complete it at the same time", async () => {
    const other = await startInProcessServer({ beside: server, openForms: OPEN });
    const nonce = (await begin()) ?? "";
    await put("rekey/update", { key: server.keys[0] ?? "", nonce });
    const share = (key: string | undefined) => ({ key: key ?? "", nonce });
    const answers = await Promise.all([
      put("rekey/update", share(server.keys[1])),
      other.call("update", "sys/rekey/update", share(server.keys[1]), UNTRUSTED),
    ]);
    const done = answers.filter(({ body }) => body["complete"] === true);
    expect(done).toHaveLength(1);
    expect(await opensWith(texts(done[0]?.body["keys_base64"]).slice(0, 3))).toBe(true);
  });

  it("forgets wrong shares and keeps the attempt", async () => {
    const nonce = await begin();
    const wrong = await give("rekey/update", nonce, [server.keys[0] ?? "", `${WRONG.slice(0, 40)}AAAA`]);
    expect(wrong.status).toBe(400);
    expect((await server.call("read", "sys/rekey/init")).body).toMatchObject({ started: true, progress: 0, nonce });
    expect((await give("rekey/update", nonce, server.keys.slice(0, 2))).body["complete"]).toBe(true);
  });

  it("refuses what cannot be", async () => {
    expect((await put("rekey/update", { key: WRONG, nonce: "x" })).error).toBe("no barrier rekey in progress");
    expect((await put("rekey/init", { secret_shares: 2, secret_threshold: 3 })).status).toBe(400);
    const nonce = await begin();
    expect((await put("rekey/init")).error).toBe("rekey already in progress");
    expect((await put("rekey/update", { key: WRONG, nonce: "x" })).error).toContain(`"${String(nonce)}"`);
    expect((await put("rekey/verify", { key: WRONG, nonce: nonce ?? "" })).error).toContain("no rekey verification");
    expect((await put("rekey-recovery-key/init")).error).toContain("recovery rekey not supported");
    expect((await server.call("update", "sys/rotate/root")).error).toContain("sys/rotate/root/init");
    expect((await server.call("read", "sys/rekey/backup")).error).toBe("no backed-up keys found");
  });

  it("ends an attempt after a day", async () => {
    await begin();
    await server.clock.advance((ATTEMPT_SECONDS_MAX + 1) * 1000);
    expect((await server.call("read", "sys/rekey/init")).body["started"]).toBe(false);
    expect(await begin()).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("wants a token without a limit of uses: its commit could make the request run twice", async () => {
    const { body } = await server.call("update", "auth/token/create", { policies: ["root"], num_uses: 5 });
    const token = JSON.parse(JSON.stringify(body["auth"])).client_token;
    const answer = await put("rotate/root/init", {}, { token });
    expect(answer.error).toContain("without a limit of uses");
  });
});

describe("without the configuration's leave", () => {
  it("the elder paths want a token with sudo, as their twins do", async () => {
    server = await startInProcessServer();
    for (const path of ["rekey/init", "generate-root/attempt", "rotate/root/init", "generate-root-token/attempt"]) {
      expect((await put(path)).status).toBe(403);
      expect((await put(path, {}, { token: server.rootToken })).status).toBe(200);
      expect((await server.call("read", `sys/${path}`)).body["started"]).toBe(true);
      expect((await server.call("delete", `sys/${path}`)).status).toBe(204);
    }
    await put("rekey/init", {}, { token: server.rootToken });
    expect((await server.call("read", "sys/rotate/root/init")).data).toMatchObject({ started: true, n: 1 });
  });
});

describe("recovery keys of an auto seal", () => {
  const start = async (shares: number, threshold: number) => {
    const key = SecretBytes.random(32);
    const seal = createStaticSeal("static", [{ id: "1", key }], { clock: new FakeClock() });
    server = await startInProcessServer({
      seals: [seal],
      shares,
      threshold,
      openForms: OPEN,
    });
  };

  it("are replaced by those who hold them", async () => {
    await start(2, 2);
    const { nonce } = (await put("rekey-recovery-key/init", { secret_shares: 3, secret_threshold: 2 })).body;
    const { body } = await give("rekey-recovery-key/update", nonce, server.keys);
    const fresh = texts(body["keys_base64"]);
    expect(fresh).toHaveLength(3);
    const root = (await put("generate-root/attempt")).body["nonce"];
    expect((await give("generate-root/update", root, server.keys)).status).toBe(400);
    expect((await give("generate-root/update", root, fresh.slice(1))).body["complete"]).toBe(true);
  });

  it("are made later by who may, where there were none", async () => {
    await start(0, 0);
    expect((await put("rekey-recovery-key/init")).error).toContain("sys/rotate/recovery/init");
    expect((await put("generate-root/attempt")).error).toContain("sys/rotate/recovery/init");
    const made = await put(
      "rotate/recovery/init",
      { secret_shares: 3, secret_threshold: 2 },
      { token: server.rootToken },
    );
    const keys = texts(made.data["keys_base64"]);
    expect(keys).toHaveLength(3);
    expect((await server.call("read", "sys/seal-status")).body).toMatchObject({ t: 2, n: 3 });
    const { nonce } = (await put("rekey/init", { secret_shares: 1, secret_threshold: 1 })).body;
    expect((await give("rekey/update", nonce, keys.slice(0, 2))).body).toMatchObject({ complete: true, keys: [] });
  });

  it("are not needed by who may rotate the root key, and the seal opens the new one", async () => {
    await start(0, 0);
    const { node, barrier } = server.server.services;
    using before = barrier.cloneRootKey();
    expect((await server.call("update", "sys/rotate/root")).status).toBe(204);
    using after = barrier.cloneRootKey();
    expect(after.equals(before)).toBe(false);
    node.seal();
    expect(await node.tryAutoUnseal()).toBe(true);
  });
});

describe("a root token from shares", () => {
  beforeEach(async () => {
    server = await startInProcessServer({ shares: 3, threshold: 2, openForms: OPEN });
  });
  const decode = (encoded: JsonValue | undefined, pad: string) =>
    Buffer.from(String(encoded), "base64")
      .map((byte, i) => byte ^ pad.charCodeAt(i))
      .toString();

  it("comes combined with the pad that only the first answer shows", async () => {
    const begun = (await put("generate-root/attempt")).body;
    expect(begun).toMatchObject({ started: true, progress: 0, required: 2, otp_length: PAD_LENGTH });
    const status = await server.call("read", "sys/generate-root/attempt", {}, UNTRUSTED);
    expect(status.body).toMatchObject({ started: true, otp: "" });
    const { body } = await give("generate-root/update", begun["nonce"], server.keys.slice(1));
    expect(body["encoded_token"]).toBe(body["encoded_root_token"]);
    const token = decode(body["encoded_token"], String(begun["otp"]));
    const sent = { encoded_token: body["encoded_token"] ?? "", otp: begun["otp"] ?? "" };
    expect((await put("decode-token", sent)).data).toEqual({ token });
    expect((await server.call("read", "auth/token/lookup-self", {}, { token })).data).toMatchObject({
      policies: ["root"],
    });
    expect((await server.call("read", "sys/generate-root/attempt")).body["started"]).toBe(false);
  });

  it("wants a token where the listener does not open this form, though it opens another", async () => {
    for (const openForms of [[], ["rekey"]] as const) {
      const options = { token: "", openForms };
      expect((await server.call("read", "sys/generate-root/attempt", {}, options)).status).toBe(403);
      const expected = openForms.length === 0 ? 403 : 200;
      expect((await server.call("read", "sys/rekey/init", {}, options)).status).toBe(expected);
      expect((await server.call("read", "sys/rekey/backup", {}, options)).status).toBe(403);
      expect((await server.call("read", "sys/rotate/root/init", {}, options)).status).toBe(403);
    }
  });

  it("is begun, seen and given up at the elder path too", async () => {
    const begun = (await put("generate-root")).body;
    expect((await server.call("read", "sys/generate-root", {}, UNTRUSTED)).body["nonce"]).toBe(begun["nonce"]);
    expect((await server.call("delete", "sys/generate-root", {}, UNTRUSTED)).status).toBe(204);
    expect((await server.call("read", "sys/generate-root/attempt", {}, UNTRUSTED)).body["started"]).toBe(false);
  });

  it.each([
    [{ otp: "x" }, "encoded_token"],
    [{ encoded_token: "AAAA" }, "otp"],
    [{ encoded_token: "no base64!", otp: "x" }, "encoded_token"],
    [{ encoded_token: "AAAA", otp: "xx" }, "lengths differ"],
    [{ encoded_token: "A".repeat(1025), otp: "x" }, "1024"],
  ])("decodes nothing of %j", async (data, message) => {
    const { status, error } = await put("decode-token", data);
    expect([status, error]).toEqual([400, expect.stringContaining(message)]);
  });

  it("takes the client's pad, if it is as long as a token", async () => {
    expect((await put("generate-root/attempt", { otp: "x".repeat(PAD_LENGTH - 1) })).error).toContain("wrong length");
    const otp = "y".repeat(PAD_LENGTH);
    const begun = (await put("generate-root/attempt", { otp })).body;
    expect(begun["otp"]).toBe("");
    const { body } = await give("generate-root/update", begun["nonce"], server.keys.slice(0, 2));
    expect(decode(body["encoded_token"], otp)).toMatch(/^hvs\./);
  });

  it("forgets wrong shares, and needs the nonce", async () => {
    const { nonce } = (await put("generate-root/attempt")).body;
    expect((await put("generate-root/attempt")).error).toContain("already in progress");
    expect((await give("generate-root/update", "x", server.keys)).error).toContain("incorrect nonce");
    const wrong = `${server.keys[1]?.slice(0, -8)}AAAAAAA=`;
    expect((await give("generate-root/update", nonce, [server.keys[0] ?? "", wrong])).status).toBe(400);
    expect((await server.call("read", "sys/generate-root/attempt")).body).toMatchObject({ progress: 0, nonce });
    await server.call("delete", "sys/generate-root/attempt", {}, UNTRUSTED);
    expect((await give("generate-root/update", nonce, server.keys)).error).toBe("no root generation in progress");
  });

  it("is encoded as clients decode it", () => {
    expect(encodeToken("hvs.", "\0\0\0\0")).toBe("aHZzLg");
    expect(encodeToken("ab", "ba")).toBe(Buffer.from([3, 3]).toString("base64").replace("=", ""));
  });
});
