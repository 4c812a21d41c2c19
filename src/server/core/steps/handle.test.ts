// Warnings about parameters that a client sent in vain; help.
import { describe, expect, it } from "vitest";
import { objectOf, startCore } from "#test/kit/core.ts";

describe("parameters that are not taken", () => {
  it("are named in an answer with content", async () => {
    const core = await startCore();
    const made = await core.root("update", "auth/token/create", { policies: ["default"], colour: "red", age: 3 });
    expect(made.status).toBe(200);
    expect(made.body["warnings"]).toEqual(["Endpoint ignored these unrecognized parameters: [age colour]"]);
    await core.root("update", "auth/token/roles/ci", { allowed_policies: ["default"] });
    const ofRole = await core.root("update", "auth/token/create/ci", { role_name: "other" });
    expect(ofRole.body["warnings"]).toEqual([
      "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [role_name]",
    ]);
  });

  it("leave an answer without content as it is: 204", async () => {
    const core = await startCore();
    const quota = { name: "other", rate: 5, colour: "red" };
    const made = await core.root("update", "sys/quotas/rate-limit/of-all", quota);
    expect([made.status, made.text]).toEqual([204, ""]);
    expect((await core.root("read", "sys/quotas/rate-limit/of-all")).data["name"]).toBe("of-all");
  });
});

describe("lists that a policy filters", () => {
  const POLICY = `path "kv/metadata/*" {
  capabilities = ["list", "scan"]
  list_scan_response_keys_filter_path = "{{ .path | replace \\"metadata\\" \\"data\\" }}{{ .key }}"
}
path "kv/detailed-metadata/*" {
  capabilities = ["list"]
  list_scan_response_keys_filter_path = "{{ .path | replace \\"detailed-metadata\\" \\"data\\" }}{{ .key }}"
}
path "kv/data/a/mine" { capabilities = ["read"] }
path "kv/data/a/in/*" { capabilities = ["read", "list"] }
path "sys/policy" {
  capabilities = ["list"]
  list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}"
}`;

  it("show what the caller may read and folders that he may list", async () => {
    const core = await startCore();
    await core.root("update", "sys/mounts/kv", { type: "kv", options: { version: "2" } });
    for (const name of ["mine", "other", "in/x", "out/x"])
      await core.root("update", `kv/data/a/${name}`, { data: { v: 1 } });
    await core.policy("filtered", POLICY);
    const token = await core.token({ policies: ["filtered"], ttl: "1h" });
    expect((await core.root("list", "kv/metadata/a")).data).toEqual({ keys: ["in/", "mine", "other", "out/"] });
    expect((await core.send(token, "list", "kv/metadata/a")).data).toEqual({ keys: ["in/", "mine"] });
    expect((await core.send(token, "scan", "kv/metadata/a")).data["keys"]).toEqual(["in/x", "mine"]);
    const { data } = await core.send(token, "list", "kv/detailed-metadata/a");
    expect(Object.keys(objectOf(data, "key_info"))).toEqual(["mine"]);
    expect((await core.send(token, "list", "kv/metadata/a/out")).status).toBe(404);
    expect((await core.send(token, "list", "sys/policy")).status).toBe(403);
  });
});

describe("help", () => {
  it("of a path tells its parameters, of a mount its paths", async () => {
    const core = await startCore();
    const ofPath = await core.root("help", "auth/token/create");
    expect(ofPath.body).toMatchObject({ help: expect.stringContaining("num_uses"), see_also: null });
    const ofMount = await core.root("help", "auth/token");
    expect(ofMount.body["help"]).toMatch(/## PATHS\n[\s\S]*\n {4}lookup-self\n {8}\S/);
    expect(ofMount.body["openapi"]).toMatchObject({ paths: { "/auth/token/lookup-self": expect.anything() } });
    expect((await core.root("help", "sys")).body["help"]).toContain("mounts");
  });
});
