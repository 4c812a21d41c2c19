// That an explanation says what a request would be answered, for every way a request can be refused.
import { beforeEach, describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { type Core, objectOf, startCore, textOf } from "#test/kit/core.ts";

let core: Core;
let token: string;

const POLICY = `# comment
path "kv/a" { capabilities = ["read", "update"] }
path "kv/locked" { capabilities = ["deny"] }
path "kv/params" {
  capabilities = ["update"]
  allowed_parameters = { "v" = ["1"] }
}
path "sys/policies/acl/*" { capabilities = ["read", "update"] }
path "sys/policies/acl/fence" { capabilities = ["deny"] }
path "auth/token/accessors" { capabilities = ["list"] }
path "auth/token/roles/*" { capabilities = ["update"] }
path "sys/policies/explain" { capabilities = ["update"] }`;

beforeEach(async () => {
  core = await startCore();
  await core.root("update", "sys/mounts/kv", { type: "kv" });
  await core.policy("p", POLICY);
  token = await core.token({ policies: ["p"], ttl: "1h" });
});

async function explained(data: JsonObject): Promise<JsonObject> {
  return (await core.root("update", "sys/policies/explain", { token, ...data })).data;
}

describe("sys/policies/explain", () => {
  it("names policy, line and rule of what is allowed", async () => {
    expect(await explained({ operation: "read", path: "/kv/a" })).toMatchObject({
      ...{ allowed: true, reason: "granted by policy p", operation: "read", path: "kv/a", rule: "kv/a", needed: [] },
      sources: [{ policy: "p", line: 2, path: "kv/a", capabilities: ["read", "update"] }],
      ...{ policies: ["default", "p"], boundaries: [] },
    });
    expect(await explained({ token: core.rootToken, path: "kv/a" })).toMatchObject({
      ...{ allowed: true, reason: "a root token may do everything" },
    });
  });

  it("agrees with the answer about what is refused, and says what would have to be granted", async () => {
    const cases: readonly (readonly [JsonObject, string, JsonObject[]])[] = [
      [{ operation: "read", path: "kv/b" }, "no rule matches", [{ path: "kv/b", capability: "read" }]],
      [{ operation: "delete", path: "kv/a" }, "does not grant", [{ path: "kv/a", capability: "delete" }]],
      [{ operation: "read", path: "kv/locked" }, "says deny", []],
      [{ operation: "update", path: "kv/params", data: { v: "2" } }, "a parameter of the request", []],
      [
        { operation: "list", path: "auth/token/accessors" },
        "needs sudo",
        [{ path: "auth/token/accessors/", capability: "sudo" }],
      ],
      [{ operation: "update", path: "sys/policies/acl/Fence" }, "the case of letters makes no difference", []],
      [
        { operation: "write", path: "auth/token/roles/new" },
        "a write to what is not there yet is a create",
        [{ path: "auth/token/roles/new", capability: "create" }],
      ],
    ];
    for (const [asked, reason, needed] of cases) {
      expect(await explained(asked)).toMatchObject({ allowed: false, reason: expect.stringContaining(reason), needed });
      const operation = asked["operation"] === "write" ? "update" : asked["operation"];
      const sent = await core.send(token, operation as "read", textOf(asked, "path"), objectOf(asked, "data"));
      expect([asked, sent.status]).toEqual([asked, 403]);
    }
  });

  it("tells of entities that are disabled, whatever policies say", async () => {
    await core.root("update", "sys/auth/up", { type: "userpass" });
    await core.root("update", "auth/up/users/ann", { password: "pw", token_policies: "p" });
    const { auth } = await core.send("", "update", "auth/up/login/ann", { password: "pw" });
    const ann = textOf(auth, "client_token");
    expect(await explained({ token: ann, path: "kv/a" })).toMatchObject({ allowed: true });
    await core.root("update", `identity/entity/id/${textOf(auth, "entity_id")}`, { disabled: true });
    expect(await explained({ token: ann, path: "kv/a" })).toMatchObject({
      ...{ allowed: false, reason: expect.stringContaining("entity is disabled") },
    });
    expect((await core.send(ann, "read", "kv/a")).status).toBe(403);
  });

  it("tells of a refused request by its decision id, for whoever may ask", async () => {
    const refused = await core.send(token, "read", "kv/b");
    const id = refused.headers["X-Coffer-Decision"] ?? "";
    expect(id).not.toBe("");
    const { data } = await core.root("update", "sys/policies/explain", { decision_id: id });
    expect(data).toMatchObject({
      refused: { operation: "read", path: "kv/b", refusal: "no-rule", policies: ["default", "p"] },
      now: { allowed: false, needed: [{ path: "kv/b", capability: "read" }] },
    });
    await core.policy("p", `${POLICY}\npath "kv/b" { capabilities = ["read"] }`);
    const later = await core.root("update", "sys/policies/explain", { decision_id: id });
    expect(later.data["now"]).toMatchObject({ allowed: true, sources: [{ line: 13 }] });
    await core.root("update", "auth/token/revoke", { token });
    expect((await core.root("update", "sys/policies/explain", { decision_id: id })).data["now"]).toBe(null);
  });

  it.each([
    [{}, "path must be given, or decision_id"],
    [{ path: "x", operation: "constructor" }, "operation must be one of read, get"],
    [{ path: "x", token: "none" }, "invalid token"],
    [{ path: "x", accessor: "none" }, "invalid accessor"],
    [{ decision_id: "none" }, "decision_id is not one of this store's"],
  ])("refuses %j", async (data, message) => {
    const { status, error } = await core.send(core.rootToken, "update", "sys/policies/explain", data);
    expect({ status, error }).toEqual({ status: 400, error: expect.stringContaining(message) });
  });
});

describe("sys/capabilities", () => {
  it("says which of token and accessor is wrong", async () => {
    const ask = async (path: string, data: JsonObject) =>
      (await core.send(core.rootToken, "update", path, { paths: ["kv/a"], ...data })).error;
    expect(await ask("sys/capabilities", { token: "none" })).toContain("invalid token");
    expect(await ask("sys/capabilities", {})).toContain("missing token");
    expect(await ask("sys/capabilities-accessor", {})).toBe("missing accessor");
    expect(await ask("sys/capabilities-accessor", { accessor: "none" })).toContain("invalid accessor");
  });
});
