// Only root makes root: no role, user or login gives what its writer does not have.
import { describe, expect, it } from "vitest";
import { startCore } from "#test/kit/core.ts";

const ALL_ROLES = `path "auth/token/*" { capabilities = ["create", "update", "sudo"] }`;

describe("root", () => {
  it.each([{}, { allowed_policies: ["root"] }, { allowed_policies_glob: ["*"] }])(
    "does not come from a token role %j",
    async (role) => {
      const core = await startCore();
      await core.root("update", "auth/token/roles/wide", role);
      await core.policy("roles", ALL_ROLES);
      const token = await core.token({ policies: ["roles"] });
      const reply = await core.send(token, "update", "auth/token/create/wide", { policies: ["root"] });
      expect(reply.status).toBeGreaterThanOrEqual(400);
      expect(reply.auth).toEqual({});
    },
  );

  it("comes from root by a role that allows it", async () => {
    const core = await startCore();
    await core.root("update", "auth/token/roles/wide", { allowed_policies: ["root"] });
    const { auth } = await core.root("update", "auth/token/create/wide", { policies: ["root"], ttl: "1h" });
    expect(auth["token_policies"]).toContain("root");
  });

  it("does not come from a login", async () => {
    const core = await startCore();
    await core.root("update", "sys/auth/users", { type: "userpass" });
    await core.root("update", "auth/users/users/eve", { password: "pw", token_policies: ["root"] });
    const reply = await core.send("", "update", "auth/users/login/eve", { password: "pw" });
    expect(reply).toMatchObject({ status: 400, error: "auth methods cannot create root tokens" });
  });

  it("is not near: a role without a list gives no more than the parent has", async () => {
    const core = await startCore();
    await core.root("update", "auth/token/roles/wide", {});
    await core.policy("roles", `path "auth/token/create/wide" { capabilities = ["update"] }`);
    await core.policy("other", `path "secret/*" { capabilities = ["read"] }`);
    const token = await core.token({ policies: ["roles"] });
    const reply = await core.send(token, "update", "auth/token/create/wide", { policies: ["other"] });
    expect(reply.status).toBe(400);
  });

  it("is needed in part to tune an auth method, by whatever path", async () => {
    const core = await startCore();
    await core.root("update", "sys/auth/users", { type: "userpass", config: { token_boundary_policies: ["limit"] } });
    await core.policy("tuner", `path "sys/mounts/*" { capabilities = ["update", "read"] }`);
    const token = await core.token({ policies: ["tuner"] });
    const reply = await core.send(token, "update", "sys/mounts/auth/users/tune", { token_boundary_policies: [] });
    expect(reply.status).toBe(403);
    expect((await core.root("read", "sys/auth/users/tune")).data["token_boundary_policies"]).toEqual(["limit"]);
  });

  it("keeps the policy of wrapping tokens to itself", async () => {
    const core = await startCore();
    const reply = await core.send(core.rootToken, "update", "auth/token/create", { policies: ["response-wrapping"] });
    expect(reply.status).toBe(400);
  });
});
