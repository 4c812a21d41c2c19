import { describe, expect, it } from "vitest";
import { startCore } from "#test/kit/core.ts";

const READ_X = 'path "x" { capabilities = ["read"] }';
const READ_Y = 'path "y" { capabilities = ["read"] }';

describe("sys/policies/acl", () => {
  it("shows what was written with a policy, in both forms", async () => {
    const core = await startCore();
    await core.root("update", "sys/policies/acl/p", {
      ...{ policy: READ_X, cas: -1, cas_required: true, expiration: "2026-01-02T00:00:00Z" },
      ...{ allow_wildcards_in_identity_templates: true },
    });
    const rest = {
      ...{ name: "p", version: 1, modified: "2026-01-01T00:00:00.000Z", cas_required: true },
      expiration: "2026-01-02T00:00:00.000Z",
      ...{ allow_wildcards_in_identity_templates: true, allow_slashes_in_identity_templates: false },
    };
    expect((await core.root("read", "sys/policies/acl/p")).data).toEqual({ policy: READ_X, ...rest });
    const old = await core.root("read", "sys/policy/p");
    expect(old.data).toEqual({ rules: READ_X, ...rest });
    expect(old.body["rules"]).toBe(READ_X);
  });

  it("sets back with a write what the write does not say", async () => {
    const core = await startCore();
    await core.root("update", "sys/policy/p", { policy: READ_X, ttl: "1h", allow_slashes_in_identity_templates: true });
    await core.root("update", "sys/policy/p", { policy: READ_Y });
    const { data } = await core.root("read", "sys/policies/acl/p");
    expect(data).toMatchObject({ policy: READ_Y, version: 2, allow_slashes_in_identity_templates: false });
    expect(data).not.toHaveProperty("expiration");
  });

  it("keeps with a patch what the patch does not say, and makes no policy by it", async () => {
    const core = await startCore();
    await core.root("update", "sys/policies/acl/p", { policy: READ_X, ttl: 60, cas_required: true, cas: 0 });
    const sent = (data: object) => core.send(core.rootToken, "patch", "sys/policies/acl/p", { ...data });
    expect((await sent({ policy: READ_Y })).error).toBe("check-and-set parameter required for this call");
    expect((await sent({ policy: READ_Y, cas: 1 })).status).toBe(204);
    expect((await core.root("read", "sys/policies/acl/p")).data).toMatchObject({
      ...{ policy: READ_Y, version: 2, cas_required: true, expiration: "2026-01-01T00:01:00.000Z" },
    });
    expect((await sent({ cas_required: false, expiration: null, cas: 2 })).status).toBe(204);
    const { data } = await core.root("read", "sys/policies/acl/p");
    expect(data).toMatchObject({ policy: READ_Y, version: 3, cas_required: false });
    expect(data).not.toHaveProperty("expiration");
    expect((await core.send(core.rootToken, "patch", "sys/policies/acl/none", { policy: READ_X })).status).toBe(404);
    expect((await core.send(core.rootToken, "patch", "sys/policies/acl/root", { policy: READ_X })).error).toBe(
      'cannot update "root" policy',
    );
  });

  it("grants nothing once it has run out", async () => {
    const core = await startCore();
    await core.root("update", "sys/mounts/kv", { type: "kv" });
    await core.root("update", "kv/a", { v: 1 });
    await core.root("update", "sys/policies/acl/p", { policy: 'path "kv/*" { capabilities = ["read"] }', ttl: 60 });
    const token = await core.token({ policies: ["p"], ttl: "1h" });
    expect((await core.send(token, "read", "kv/a")).status).toBe(200);
    core.clock.advance(60_000);
    expect((await core.send(token, "read", "kv/a")).status).toBe(403);
    expect((await core.send(core.rootToken, "read", "sys/policies/acl/p")).status).toBe(404);
    expect((await core.root("list", "sys/policies/acl")).data).toEqual({ keys: ["default", "root"] });
    expect([...(await core.dump("core/policy/")).keys()]).toEqual([]);
  });

  it.each([
    [{ ttl: 60, expiration: "2026-01-02T00:00:00Z" }, "ttl and expiration cannot both be given"],
    [{ ttl: 0 }, "ttl must be longer than nothing"],
    [{ ttl: -1 }, "ttl must be longer than nothing"],
    [{ expiration: "2025-01-02T00:00:00Z" }, "expiration must be in the future"],
    [{ expiration: "tomorrow" }, 'expiration must be a time such as "2030-01-31T12:00:00Z"'],
    [{ expiration: "2030" }, 'expiration must be a time such as "2030-01-31T12:00:00Z"'],
    [{ cas: -2 }, "check-and-set parameter did not match the current version"],
    [{ cas: "x" }, 'error converting input for field "cas"'],
  ])("refuses %j", async (data, message) => {
    const core = await startCore();
    const { status, error } = await core.send(core.rootToken, "update", "sys/policies/acl/p", {
      ...{ policy: READ_X, ...data },
    });
    expect(status).toBe(400);
    expect(error).toContain(message);
  });

  it("lists the policies of a folder", async () => {
    const core = await startCore();
    for (const name of ["team/a", "team/b", "teams", "other"]) await core.policy(name, READ_X);
    expect((await core.root("list", "sys/policies/acl/team")).data).toEqual({ keys: ["team/a", "team/b"] });
    expect((await core.root("list", "sys/policy/TEAM/")).data).toEqual({
      ...{ keys: ["team/a", "team/b"], policies: ["team/a", "team/b"] },
    });
    expect((await core.send(core.rootToken, "list", "sys/policies/acl/none")).status).toBe(404);
  });

  it("lists policies with their texts, a page at a time", async () => {
    const core = await startCore();
    for (const name of ["team/a", "team/b"]) await core.policy(name, READ_X);
    const { data } = await core.root("list", "sys/policies/detailed/acl/team", {}, { limit: 1 });
    expect(data).toEqual({
      keys: ["team/a"],
      key_info: {
        "team/a": {
          ...{ name: "team/a", policy: READ_X, version: 1, modified: "2026-01-01T00:00:00.000Z", cas_required: false },
          ...{ allow_wildcards_in_identity_templates: false, allow_slashes_in_identity_templates: false },
        },
      },
    });
    const all = (await core.root("read", "sys/policies/detailed/acl")).data;
    expect(all["keys"]).toEqual(["default", "root", "team/a", "team/b"]);
    expect(all["key_info"]).toMatchObject({ root: { policy: "", version: 0 } });
  });
});
