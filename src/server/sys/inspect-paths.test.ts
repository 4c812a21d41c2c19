import { beforeAll, describe, expect, it } from "vitest";
import { isJsonArray, isJsonObject } from "#common/json.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";

let server: InProcessServer;
beforeAll(async () => {
  server = await startInProcessServer({ parts: { introspection: true } });
});

describe("sys/internal/inspect", () => {
  it("is not there unless the configuration says so", async () => {
    const plain = await startInProcessServer();
    expect((await plain.call("read", "sys/internal/inspect/router/root")).status).toBe(404);
  });

  it.each([
    ["root", true],
    ["storage", true],
    ["uuid", false],
    ["accessor", false],
  ])("shows the mounts by %s", async (tag, withStorage) => {
    const { data } = await server.call("read", `sys/internal/inspect/router/${tag}`);
    const shown = isJsonArray(data[tag]) ? data[tag].filter(isJsonObject) : [];
    const token = shown.find((mount) => mount["mount_type"] === "token");
    const { uuid } = (await server.call("read", "sys/auth/token")).data;
    expect(token).toMatchObject({ mount_path: "token/", mount_namespace: "", uuid });
    expect("storage_prefix" in (token ?? {})).toBe(withStorage);
    expect(shown).toHaveLength(4);
  });

  it("shows the request that asks, without its token", async () => {
    const answer = await server.call("read", "sys/internal/inspect/request", { a: "b" });
    expect(answer.data["req"]).toMatchObject({
      ...{ operation: "read", path: "sys/internal/inspect/request", mount_point: "sys/" },
      ...{ data: { a: "b" }, policies: ["root"], has_sudo: true },
    });
    expect(JSON.stringify(answer.body)).not.toContain(server.rootToken);
  });

  it("knows no other order, and wants sudo", async () => {
    expect((await server.call("read", "sys/internal/inspect/router/x")).error).toContain("root, uuid");
    const policy = 'path "sys/internal/inspect/*" { capabilities = ["read"] }';
    await server.call("update", "sys/policies/acl/p", { policy });
    const { body } = await server.call("update", "auth/token/create", { policies: ["p"] });
    const token = JSON.parse(JSON.stringify(body["auth"])).client_token;
    expect((await server.call("read", "sys/internal/inspect/request", {}, { token })).status).toBe(403);
  });
});
