// `coffer import` from one real server into another, as from Vault or OpenBao: what comes over, what a second run copies,
// and that nothing secret is shown. What Vault answers otherwise than Coffer is in import-from-vault.test.ts.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type JsonObject, parseJson } from "#common/json.ts";
import { at, exchange, must } from "#test/kit/client.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";
import { type CliResult, cli } from "#test/run-cli.ts";

const PASSWORD = "topsecret-password";

describe("an import", () => {
  let source: OpenServer;
  let target: OpenServer;

  const from = (method: string, path: string, body?: JsonObject) =>
    must(source.address, source.rootToken, method, path, body);
  const there = (path: string) => must(target.address, target.rootToken, "GET", path);
  const run = (...argv: string[]): Promise<CliResult> =>
    cli(
      {
        address: target.address,
        env: { VAULT_TOKEN: target.rootToken, COFFER_FROM_TOKEN: source.rootToken },
      },
      ...["import", `-from-address=${source.address}`, ...argv],
    );
  const report = async (...argv: string[]) => {
    const result = await run("-format=json", ...argv);
    expect(result.stderr).toBe("");
    return { code: result.code, body: parseJson(result.stdout) };
  };

  beforeAll(async () => {
    [source, target] = await Promise.all([startDevelopmentServer(), startDevelopmentServer()]);
    await fill(from);
  });
  afterAll(() => Promise.all([source?.stop(), target?.stop()]));

  it("says what it would do and does nothing in a dry run", async () => {
    const result = await run("-dry-run");
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toContain("would create mounts:team/");
    expect(result.stdout).toContain("would create policies:reader");
    expect(result.stdout).not.toContain(PASSWORD);
    expect((await exchange(target.address, target.rootToken, "GET", "sys/policies/acl/reader")).status).toBe(404);
  });

  it("says so when nothing is chosen", async () => {
    const result = await run("-include=kv:nothing/*");
    expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining("Nothing in the source is chosen") });
  });

  it("copies what is chosen alone", async () => {
    const { code, body } = await report("-include=mounts:team/*,kv:team/*", "-exclude=kv:team/b*");
    expect(code).toBe(0);
    expect(at(body, "kinds")).toEqual({
      mounts: { created: 1, updated: 0, unchanged: 1, skipped: 0, failed: 0 },
      kv: { created: 1, updated: 0, unchanged: 0, skipped: 0, failed: 0 },
    });
  });

  it("copies everything else, and names what cannot be had", async () => {
    const { code, body } = await report();
    expect(code).toBe(0);
    const told = JSON.stringify(at(body, "items"));
    expect(told).toContain("its password cannot be read");
    expect(told).toContain("its secret ids cannot be read");
    expect(told).toContain("token_reviewer_jwt cannot be read");
    expect(told).toContain("version 3 is deleted, so its data cannot be read");
    expect(told).toContain("an engine of type ssh");
    expect(told).not.toContain(PASSWORD);
    for (const kind of Object.values(at(body, "kinds") ?? {})) expect(kind).toMatchObject({ failed: 0 });
  });

  it("has kept KV with versions, numbers, times and metadata", async () => {
    expect(at(await there("flat/a/b"), "data")).toEqual({ big: 9007199254740992, text: PASSWORD });
    const [here, copied] = [await from("GET", "secret/metadata/app/db"), await there("secret/metadata/app/db")];
    const known = { current_version: 5, oldest_version: 2, max_versions: 4, custom_metadata: { owner: "a" } };
    expect(at(copied, "data")).toMatchObject(known);
    for (const version of ["2", "4", "5"])
      expect(at(copied, "data", "versions", version)).toEqual(at(here, "data", "versions", version));
    expect(at(copied, "data", "versions", "3")).toMatchObject({ destroyed: true });
    expect(at(await there("secret/data/app/db"), "data", "data")).toEqual({ v: "5" });
    expect(at(await there("secret/data/app/db?version=2"), "data", "data")).toEqual({ v: "2" });
    expect(at(await there("secret/config"), "data")).toMatchObject({
      cas_required: true,
      delete_version_after: "720h0m0s",
    });
  });

  it("has kept mounts, methods, roles and policies", async () => {
    expect(at(await there("sys/mounts/team/tune"), "data")).toMatchObject({ default_lease_ttl: 3600 });
    expect(at(await there("auth/ci/role/deploy"), "data")).toMatchObject({ token_policies: ["reader"], token_ttl: 60 });
    expect(at(await there("auth/ci/role/deploy/role-id"), "data", "role_id")).toBe("a-role-id");
    expect(at(await there("auth/kubernetes/config"), "data")).toMatchObject({ kubernetes_host: "https://k8s:6443" });
    expect(at(await there("auth/kubernetes/role/web"), "data")).toMatchObject({ bound_service_account_names: ["web"] });
    expect(at(await there("sys/policies/password/strong"), "data", "policy")).toContain("length = 20");
    expect(at(await there("auth/token/roles/batch"), "data")).toMatchObject({ orphan: true });
    const accessor = at(await there("sys/auth"), "data", "people/", "accessor");
    const reader = at(await there("sys/policies/acl/reader"), "data");
    expect(reader).toMatchObject({ expiration: "2100-01-31T12:00:00.000Z" });
    const policy = String(at(reader, "policy"));
    expect(policy).toContain(`aliases.${String(accessor)}.name`);
  });

  it("has kept identity under new ids", async () => {
    const entity = await there("identity/entity/name/alice");
    expect(at(entity, "data")).toMatchObject({ metadata: { team: "a" }, policies: ["reader"] });
    const accessor = at(await there("sys/auth"), "data", "people/", "accessor");
    expect(at(entity, "data", "aliases")).toMatchObject([{ name: "alice", mount_accessor: accessor }]);
    const inner = await there("identity/group/name/inner");
    expect(at(inner, "data", "member_entity_ids")).toEqual([at(entity, "data", "id")]);
    const outer = await there("identity/group/name/outer");
    expect(at(outer, "data", "member_group_ids")).toEqual([at(inner, "data", "id")]);
    const external = await there("identity/group/name/external");
    expect(at(external, "data", "alias")).toMatchObject({ name: "staff", mount_accessor: accessor });
  });

  it("copies nothing when nothing has changed, and then only what has", async () => {
    const again = await report();
    for (const [kind, counts] of Object.entries(at(again.body, "kinds") ?? {}))
      expect({ kind, ...Object(counts) }).toMatchObject({ kind, created: 0, updated: 0, failed: 0 });
    await from("POST", "secret/data/app/db", { data: { v: "6" }, options: { cas: 5 } });
    await from("PUT", "sys/policies/acl/other", { policy: 'path "b" { capabilities = ["read"] }' });
    await from("PUT", "flat/a/b", { text: "changed" });
    const { body } = await report();
    expect(at(body, "kinds", "kv")).toMatchObject({ created: 0, updated: 2 });
    expect(at(body, "kinds", "policies")).toMatchObject({ created: 0, updated: 1 });
    expect(at(await there("secret/data/app/db"), "data", "data")).toEqual({ v: "6" });
    const trimmed = await exchange(target.address, target.rootToken, "GET", "secret/data/app/db?version=2");
    expect(trimmed.status).toBe(404);
  });

  it("does not touch a key that the destination has gone on with", async () => {
    const body = { data: { v: "own" }, options: { cas: 6 } };
    await must(target.address, target.rootToken, "POST", "secret/data/app/db", body);
    const { code, body: told } = await report("-include=kv:secret/*");
    expect(code).toBe(0);
    expect(JSON.stringify(told)).toContain("the destination has versions of its own (7)");
    expect(at(await there("secret/data/app/db"), "data", "data")).toEqual({ v: "own" });
  });

  it.each([
    [["-include=nothing"], 'there is no kind "nothing" to import'],
    [["-parallel=0"], "-parallel must be from 1 to 64"],
    [["-parallel=65"], "-parallel must be from 1 to 64"],
  ])("refuses %j", async (argv, message) => {
    expect(await run(...argv)).toMatchObject({ code: 1, stderr: expect.stringContaining(message) });
  });

  it("needs a token of the source that is not the destination's", async () => {
    const setting = { address: target.address, env: { VAULT_TOKEN: target.rootToken } };
    const result = await cli(setting, "import", `-from-address=${source.address}`);
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(/the source .*lookup-self: .*; check -from-address and -from-token-file/);
    expect((await cli(setting, "import")).stderr).toContain("give -from-address=URL");
  });
});

async function fill(from: (method: string, path: string, body?: JsonObject) => Promise<JsonObject>): Promise<void> {
  await from("POST", "sys/mounts/flat", { type: "kv" });
  await from("PUT", "flat/a/b", { text: PASSWORD, big: 9007199254740992 });
  await from("POST", "sys/mounts/team", {
    ...{ type: "kv", options: { version: "2" }, description: "the team's" },
    config: { default_lease_ttl: "1h" },
  });
  await from("POST", "team/data/a", { data: { a: "1" } });
  await from("POST", "team/data/b", { data: { b: "1" } });
  await from("POST", "sys/mounts/ssh", { type: "ssh" });
  await from("POST", "secret/metadata/app/db", { max_versions: 4, custom_metadata: { owner: "a" } });
  for (const v of ["1", "2", "3", "4", "5"]) await from("POST", "secret/data/app/db", { data: { v } });
  await from("POST", "secret/delete/app/db", { versions: [3] });
  await from("POST", "secret/destroy/app/db", { versions: [4] });
  await from("POST", "secret/config", { cas_required: true, delete_version_after: "720h" });
  for (const [path, type] of [
    ["people", "userpass"],
    ["ci", "approle"],
    ["kubernetes", "kubernetes"],
  ])
    await from("POST", `sys/auth/${path}`, { type: type ?? "" });
  const accessor = String(at(await from("GET", "sys/auth"), "data", "people/", "accessor"));
  await from("PUT", "sys/policies/acl/reader", {
    policy: `path "team/{{identity.entity.aliases.${accessor}.name}}" { capabilities = ["read"] }`,
    expiration: "2100-01-31T12:00:00Z",
  });
  await from("PUT", "sys/policies/acl/other", { policy: 'path "a" { capabilities = ["read"] }' });
  await from("PUT", "sys/policies/password/strong", { policy: 'length = 20\nrule "charset" { charset = "abc" }' });
  await from("POST", "auth/people/users/alice", { password: PASSWORD, token_policies: "reader" });
  await from("POST", "auth/ci/role/deploy", { token_policies: "reader", token_ttl: "60s", role_id: "a-role-id" });
  await from("POST", "auth/ci/role/deploy/secret-id", {});
  await from("POST", "auth/kubernetes/config", { kubernetes_host: "https://k8s:6443", token_reviewer_jwt: PASSWORD });
  await from("POST", "auth/kubernetes/role/web", {
    ...{ bound_service_account_names: "web", bound_service_account_namespaces: "shop", token_policies: "reader" },
  });
  await from("POST", "auth/token/roles/batch", { orphan: true, allowed_policies: "reader" });
  const entity = await from("POST", "identity/entity", {
    name: "alice",
    metadata: { team: "a" },
    policies: ["reader"],
  });
  const id = at(entity, "data", "id") ?? null;
  await from("POST", "identity/entity-alias", { name: "alice", canonical_id: id, mount_accessor: accessor });
  const inner = await from("POST", "identity/group", { name: "inner", member_entity_ids: [id] });
  await from("POST", "identity/group", { name: "outer", member_group_ids: [at(inner, "data", "id") ?? null] });
  const external = await from("POST", "identity/group", { name: "external", type: "external" });
  await from("POST", "identity/group-alias", {
    ...{ name: "staff", canonical_id: at(external, "data", "id") ?? null, mount_accessor: accessor },
  });
}
