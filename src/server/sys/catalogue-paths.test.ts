import { beforeAll, describe, expect, it } from "vitest";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";

let server: InProcessServer;
beforeAll(async () => {
  server = await startInProcessServer();
});

describe("sys/plugins/catalog", () => {
  it("shows every type that can be mounted, and nothing else", async () => {
    const { data } = await server.call("read", "sys/plugins/catalog");
    const backends = server.server.services.backends;
    expect(data["secret"]).toEqual([...backends.types("engines")].sort());
    expect(data["auth"]).toEqual([...backends.types("auth")].sort());
    expect((await server.call("list", "sys/plugins/catalog/auth")).data["keys"]).toEqual(data["auth"]);
    expect((await server.call("read", "sys/plugins/catalog/secret/kv")).data).toEqual({
      name: "kv",
      builtin: true,
      args: null,
      command: "",
      sha256: "",
      deprecation_status: "supported",
      version: "",
    });
    expect((await server.call("read", "sys/plugins/catalog/secret/no-such")).status).toBe(404);
    expect((await server.call("list", "sys/plugins/catalog/other")).error).toContain("auth, database, secret");
    expect((await server.call("read", "sys/plugins/catalog/approle")).data).toMatchObject({ name: "approle" });
    expect((await server.call("read", "sys/plugins/catalog/no-such")).status).toBe(404);
  });

  it("cannot be changed, and says so", async () => {
    const plugin = { type: "secret", command: "x", sha256: "00" };
    for (const path of ["sys/plugins/catalog/x", "sys/plugins/catalog/secret/x"])
      for (const operation of ["update", "delete"] as const) {
        const { status, error } = await server.call(operation, path, plugin);
        expect([status, error]).toEqual([400, expect.stringContaining("read-only")]);
      }
    const { status, error } = await server.call("update", "sys/plugins/reload/backend", { plugin: "kv" });
    expect([status, error]).toEqual([400, expect.stringContaining("no external plugins")]);
  });
});

describe("sys/policies/password", () => {
  const path = "sys/policies/password/p/a";
  it("does not take a name with a slash", async () => {
    expect((await server.call("update", path, { policy: "x" })).error).toContain("unsupported path");
  });

  it("lists nothing, then what was written, and generates by it", async () => {
    expect((await server.call("list", "sys/policies/password")).status).toBe(404);
    const policy = 'length = 8\nrule "charset" { charset = "z" }';
    expect((await server.call("update", "sys/policies/password/p q", { policy })).status).toBe(204);
    expect((await server.call("list", "sys/policies/password")).data).toEqual({ keys: ["p q"] });
    expect((await server.call("read", "sys/policies/password/p q/generate")).data).toEqual({ password: "zzzzzzzz" });
  });
});
