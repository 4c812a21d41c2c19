import { describe, expect, it } from "vitest";
import { type Core, objectOf, type Reply, startCore, textOf } from "#test/kit/core.ts";

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
