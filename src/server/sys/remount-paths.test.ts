import { beforeEach, describe, expect, it } from "vitest";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";

describe("sys/remount", () => {
  let server: InProcessServer;
  beforeEach(async () => {
    server = await startInProcessServer();
    await server.call("update", "sys/mounts/a", { type: "kv", options: { version: "1" } });
    await server.call("update", "a/k", { v: "1" });
  });
  const move = (from: string, to: string) => server.call("update", "sys/remount", { from, to });

  it("moves a mount with its data, and tells how it went", async () => {
    const { data } = await move("a", "b/c/");
    expect((await server.call("read", "b/c/k")).data).toEqual({ v: "1" });
    expect((await server.call("read", "a/k")).status).toBe(404);
    const status = await server.call("read", `sys/remount/status/${String(data["migration_id"])}`);
    expect(status.data["migration_info"]).toEqual({ source_mount: "a/", target_mount: "b/c/", status: "success" });
    expect((await server.call("read", "sys/remount/status/other")).status).toBe(404);
  });

  it("moves below and above where it was", async () => {
    expect((await move("a", "a/deep")).status).toBe(200);
    expect((await move("a/deep", "a")).status).toBe(200);
    expect((await server.call("read", "a/k")).data).toEqual({ v: "1" });
  });

  it("ends an auth method's tokens, whose leases name the old path", async () => {
    await server.call("update", "sys/auth/u", { type: "userpass" });
    await server.call("update", "auth/u/users/x", { password: "secret" });
    const login = await server.call("update", "auth/u/login/x", { password: "secret" }, { token: "" });
    const token = JSON.parse(JSON.stringify(login.body["auth"])).client_token;
    expect((await server.call("read", "auth/token/lookup-self", {}, { token })).status).toBe(200);
    expect((await move("auth/u", "auth/v")).status).toBe(200);
    expect((await server.call("read", "auth/token/lookup-self", {}, { token })).status).toBe(403);
    expect((await server.call("update", "auth/v/login/x", { password: "secret" }, { token: "" })).status).toBe(200);
  });

  it.each([
    ["", "b"],
    ["a", ""],
    ["a", "a/"],
    ["none", "b"],
    ["sys", "b"],
    ["auth/token", "auth/b"],
    ["identity", "b"],
    ["a", "sys/x"],
    ["a", "auth/x"],
    ["a", "cubbyhole"],
    ["a", "b/../c"],
  ])("refuses %j to %j and leaves all as it is", async (from, to) => {
    expect((await move(from, to)).status).toBe(400);
    expect((await server.call("read", "a/k")).data).toEqual({ v: "1" });
  });

  it("refuses a path in use", async () => {
    await server.call("update", "sys/mounts/b", { type: "kv" });
    expect((await move("a", "b")).error).toBe("path is already in use at b/");
  });
});
