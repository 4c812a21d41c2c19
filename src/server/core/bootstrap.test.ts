import { describe, expect, it } from "vitest";
import { coreParts, requestOf, sendTo } from "#test/kit/core.ts";
import { assemble } from "../assemble.ts";
import { openMemoryStorage } from "../storage/memory/memory-storage.ts";
import { type BootstrapStep, runBootstrap } from "./bootstrap.ts";

const step = (path: string, data: BootstrapStep["data"] = {}): BootstrapStep => ({
  ...{ name: path, operation: "update", path, data, namespace: "" },
});

const GOOD: readonly BootstrapStep[] = [
  step("sys/mounts/secret", { type: "kv" }),
  step("sys/policies/acl/reader", { policy: 'path "secret/*" { capabilities = ["read"] }' }),
  step("sys/auth/users", { type: "userpass" }),
  step("auth/users/users/ann", { password: "pw", token_policies: "reader" }),
  step("secret/a", { v: "1" }),
];

async function bootstrap(requests: readonly BootstrapStep[]) {
  const storage = openMemoryStorage();
  const server = assemble(coreParts({ storage }));
  const { services, initial } = server;
  const outcome = await services.node
    .initialize({
      ...{ shares: 1, threshold: 1, recoveryShares: 0, recoveryThreshold: 0 },
      fill: async (tx) => {
        await initial.write(tx);
        await runBootstrap(tx, requests, services);
      },
    })
    .then(
      () => "done",
      (error: Error) => error.message,
    );
  return { storage, server, services, outcome };
}

describe("self-initialisation", () => {
  it("has done all of its requests when the server opens, each building on those before", async () => {
    const { server, outcome } = await bootstrap(GOOD);
    expect(outcome).toBe("done");
    const login = await sendTo(server, requestOf("", "update", "auth/users/login/ann", { password: "pw" }));
    const token = String(login.auth["client_token"]);
    expect((await sendTo(server, requestOf(token, "read", "secret/a", {}))).data).toEqual({ v: "1" });
  });

  it("makes no token at all", async () => {
    const { storage } = await bootstrap(GOOD);
    const keys = await storage.scan({ from: "core/", to: "core0", limit: 1_000 });
    expect(keys.filter((key) => key.startsWith("core/token/"))).toEqual([]);
    expect(keys.filter((key) => key.startsWith("core/lease/"))).toEqual([]);
  });

  it.each<[string, BootstrapStep, string]>([
    ["asks for nonsense", step("sys/mounts/x", { type: "none" }), "plugin not found in the catalog: none"],
    ["has a path that is not there", step("nowhere/a"), "no handler for route"],
    ["logs in", step("auth/users/login/ann", { password: "pw" }), "may not issue tokens or leases"],
    ["asks for a token", step("auth/token/create", { policies: ["reader"] }), "permission denied"],
    ["initialises", step("sys/init", { recovery_shares: 0 }), "may not work on the seal or the node itself"],
    ["seals", step("sys/seal"), "may not work on the seal or the node itself"],
  ])("stores nothing when one %s, and names it", async (_what, bad, message) => {
    const { storage, services, outcome } = await bootstrap([...GOOD, bad]);
    expect(outcome).toContain(`bootstrap request "${bad.path}" (${bad.path}) failed: `);
    expect(outcome).toContain(message);
    expect(await storage.scan({ from: "", to: "\u{10ffff}", limit: 10 })).toEqual([]);
    expect(services.node.state).toBe("uninitialised");
  });

  it("can be tried again after it failed", async () => {
    const { server, services, outcome } = await bootstrap([step("nowhere/a")]);
    expect(outcome).not.toBe("done");
    await services.node.initialize({
      ...{ shares: 1, threshold: 1, recoveryShares: 0, recoveryThreshold: 0 },
      fill: async (tx) => {
        await server.initial.write(tx);
        await runBootstrap(tx, GOOD, services);
      },
    });
    expect(services.node.state).toBe("unsealed");
  });
});
