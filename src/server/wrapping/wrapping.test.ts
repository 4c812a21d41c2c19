import { createPublicKey, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseJson } from "#common/json.ts";
import { type Core, objectOf, type Reply, requestOf, sendTo, startCore, textOf } from "#test/kit/core.ts";

const TTL = 60;

async function startWrapping(): Promise<Core> {
  const core = await startCore();
  await core.root("update", "sys/mounts/secret", { type: "kv" });
  await core.root("update", "secret/a", { password: "swordfish" });
  return core;
}

async function wrapped(core: Core): Promise<string> {
  const reply = await core.root("read", "secret/a", {}, { wrapTtlSeconds: TTL });
  return textOf(objectOf(reply.body, "wrap_info"), "token");
}

const unwrap = (core: Core, token: string): Promise<Reply> => core.send(token, "update", "sys/wrapping/unwrap");

async function tokens(core: Core): Promise<number> {
  return (await core.dump("core/token/id/")).size;
}

async function cubbyholes(core: Core): Promise<readonly string[]> {
  return [...(await core.dump("mount/"))].filter(([key]) => key.endsWith("/response")).map(([key]) => key);
}

describe("a wrapped answer", () => {
  it("comes without its data, which its token gives once, and nothing is left", async () => {
    const core = await startWrapping();
    const before = await tokens(core);
    const reply = await core.root("read", "secret/a", {}, { wrapTtlSeconds: TTL });
    expect(reply.text).not.toContain("swordfish");
    expect(reply.body["wrap_info"]).toMatchObject({ ttl: TTL, creation_path: "secret/a" });
    const token = textOf(objectOf(reply.body, "wrap_info"), "token");
    const unwrapped = await unwrap(core, token);
    expect(unwrapped.data).toEqual({ password: "swordfish" });
    expect(unwrapped.body["request_id"]).not.toBe("");
    expect((await unwrap(core, token)).status).toBe(400);
    expect(await cubbyholes(core)).toEqual([]);
    expect(await tokens(core)).toBe(before);
    expect((await core.dump("core/lease/")).size).toBe(0);
  });

  it("goes to one of two who ask at the same time", async () => {
    const core = await startWrapping();
    const token = await wrapped(core);
    const replies = await Promise.all([unwrap(core, token), unwrap(core, token), unwrap(core, token)]);
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 400, 400]);
  });

  it("is to be had with the token in the body, by anyone who has it", async () => {
    const core = await startWrapping();
    const token = await wrapped(core);
    const other = await core.token({ policies: ["default"] });
    expect((await core.send(other, "update", "sys/wrapping/unwrap", { token })).data).toEqual({
      password: "swordfish",
    });
  });

  it("is gone when its time is over", async () => {
    const core = await startWrapping();
    const token = await wrapped(core);
    await core.clock.advance(TTL * 1_000);
    expect((await unwrap(core, token)).status).toBe(400);
    await core.settle();
    expect(await cubbyholes(core)).toEqual([]);
  });

  it("can be looked at without being used up", async () => {
    const core = await startWrapping();
    const token = await wrapped(core);
    const shown = await core.send("", "update", "sys/wrapping/lookup", { token });
    expect(shown.data).toMatchObject({ creation_path: "secret/a", creation_ttl: TTL });
    expect((await unwrap(core, token)).status).toBe(200);
  });

  it("moves to a new token with the time begun anew; the old one is nothing", async () => {
    const core = await startWrapping();
    const token = await wrapped(core);
    await core.clock.advance(TTL * 1_000 - 1_000);
    const moved = await core.root("update", "sys/wrapping/rewrap", { token });
    expect(moved.body["wrap_info"]).toMatchObject({ ttl: TTL, creation_path: "secret/a" });
    expect((await unwrap(core, token)).status).toBe(400);
    await core.clock.advance(TTL * 1_000 - 1_000);
    const next = textOf(objectOf(moved.body, "wrap_info"), "token");
    expect((await unwrap(core, next)).data).toEqual({ password: "swordfish" });
    expect(await cubbyholes(core)).toEqual([]);
  });

  it("is of no other use: its token may do nothing else", async () => {
    const core = await startWrapping();
    const token = await wrapped(core);
    expect((await core.send(token, "read", "secret/a")).status).toBe(403);
    // That was its one use.
    expect((await unwrap(core, token)).status).toBe(400);
    expect(await cubbyholes(core)).toEqual([]);
  });

  it("is limited by policies: how long, and whether at all", async () => {
    const core = await startWrapping();
    await core.policy(
      "limited",
      'path "secret/a" { capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = "2m" }',
    );
    const token = await core.token({ policies: ["limited"] });
    const status = async (wrapTtlSeconds?: number) => {
      const options = wrapTtlSeconds === undefined ? {} : { wrapTtlSeconds };
      return (await core.send(token, "read", "secret/a", {}, options)).status;
    };
    expect(await Promise.all([undefined, 59, 60, 120, 121].map(status))).toEqual([403, 403, 200, 200, 403]);
    const refused = await core.send(token, "read", "secret/a", {}, { wrapTtlSeconds: 59 });
    expect(refused.error).toBe("1 error occurred:\n\t* permission denied\n\n");
  });

  it("that is no envelope comes back as it would have come", async () => {
    const core = await startWrapping();
    const plain = await core.root("read", "sys/internal/specs/openapi");
    const reply = await core.root("read", "sys/internal/specs/openapi", {}, { wrapTtlSeconds: TTL });
    expect(reply.text).not.toContain("openapi:");
    const unwrapped = await unwrap(core, textOf(objectOf(reply.body, "wrap_info"), "token"));
    expect(unwrapped.text).toBe(plain.text);
  });

  it("is not made of states of the server", async () => {
    const core = await startWrapping();
    expect((await core.root("read", "sys/health", {}, { wrapTtlSeconds: TTL })).body).not.toHaveProperty("wrap_info");
  });

  it("of a login names the accessor of what is inside", async () => {
    const core = await startWrapping();
    const reply = await core.root("update", "auth/token/create", { policies: ["default"] }, { wrapTtlSeconds: TTL });
    expect(reply.auth).toEqual({});
    const info = objectOf(reply.body, "wrap_info");
    const { auth } = await unwrap(core, textOf(info, "token"));
    expect(info["wrapped_accessor"]).toBe(auth["accessor"]);
  });

  it.each([
    ["an ordinary token", async (core: Core) => core.token({ policies: ["default"] })],
    ["a text that is no token", async () => "hvs.none"],
    ["nothing", async () => ""],
  ])("is not found by %s", async (_what, make) => {
    const core = await startWrapping();
    expect((await unwrap(core, await make(core))).status).toBe(400);
  });
});

describe("a wrapping token that is a JWT", () => {
  async function wrappedJwt(core: Core): Promise<string> {
    const request = requestOf(core.rootToken, "read", "secret/a", {}, { wrapTtlSeconds: TTL });
    const reply = await sendTo(core.server, { ...request, wrapFormat: "jwt" });
    return textOf(objectOf(reply.body, "wrap_info"), "token");
  }

  it("is signed by the key that the server shows, and opens as the other form does", async () => {
    const core = await startWrapping();
    const jwt = await wrappedJwt(core);
    const { data } = await core.send("", "read", "sys/wrapping/pubkey");
    const coordinate = (name: string) =>
      Buffer.from(BigInt(textOf(data, name)).toString(16).padStart(132, "0"), "hex").toString("base64url");
    const jwk = { kty: "EC", crv: "P-521", x: coordinate("jwt_x"), y: coordinate("jwt_y") };
    const key = createPublicKey({ key: jwk, format: "jwk" });
    const [head = "", body = "", signature = ""] = jwt.split(".");
    const signed = { key, dsaEncoding: "ieee-p1363" } as const;
    expect(verify("sha512", Buffer.from(`${head}.${body}`), signed, Buffer.from(signature, "base64url"))).toBe(true);
    expect(data["jwt_curve"]).toBe("p521");
    const claims = parseJson(Buffer.from(body, "base64url").toString("utf8"));
    expect(claims).toMatchObject({ type: "wrapping", jti: expect.stringMatching(/^hvs\./) });
    expect((await core.send("", "update", "sys/wrapping/lookup", { token: jwt })).data).toMatchObject({
      creation_path: "secret/a",
    });
    expect((await unwrap(core, jwt)).data).toEqual({ password: "swordfish" });
    expect((await unwrap(core, jwt)).status).toBe(400);
  });

  it("stays one when it is rewrapped", async () => {
    const core = await startWrapping();
    const moved = await core.root("update", "sys/wrapping/rewrap", { token: await wrappedJwt(core) });
    const next = textOf(objectOf(moved.body, "wrap_info"), "token");
    expect(next.split(".")).toHaveLength(3);
    expect((await unwrap(core, next)).data).toEqual({ password: "swordfish" });
  });

  it.each([
    [
      "changed",
      (jwt: string) => jwt.replace(/\.[^.]+\./, `.${Buffer.from('{"type":"wrapping"}').toString("base64url")}.`),
    ],
    ["signed by nobody", (jwt: string) => jwt.replace(/[^.]+$/, "AAAA")],
    [
      "of the algorithm none",
      (jwt: string) => jwt.replace(/^[^.]+/, Buffer.from('{"alg":"none"}').toString("base64url")),
    ],
  ])("opens nothing when it is %s", async (_what, change) => {
    const core = await startWrapping();
    const jwt = await wrappedJwt(core);
    expect((await unwrap(core, change(jwt))).status).toBe(400);
    expect((await unwrap(core, jwt)).status).toBe(200);
  });
});
