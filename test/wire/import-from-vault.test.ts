// `coffer import` from a server that answers as Vault does where it differs from Coffer: listings know no pages, tables
// come twice, times have nanoseconds, nothing is null or empty, and the server is sometimes busy.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { at, must } from "#test/kit/client.ts";
import { type OpenServer, startDevelopmentServer } from "#test/kit/server.ts";
import { cli } from "#test/run-cli.ts";
import { type ScriptedAnswer, type SeenRequest, startScriptedApi } from "#test/scripted-api.ts";

/** More than a page, which Vault gives at once and again when it is asked for what comes after. */
const MANY = 1_000;
const TOKEN = "hvs.source-token";
const MADE = "2019-03-04T05:06:07.123456789Z";

const mountConfig = { default_lease_ttl: 0, force_no_cache: false, max_lease_ttl: 0 };
const builtIn = (type: string) => ({
  type,
  accessor: `${type}_1`,
  config: mountConfig,
  options: null,
  description: "",
});
const MOUNTS: JsonObject = {
  "sys/": builtIn("system"),
  "identity/": builtIn("identity"),
  "cubbyhole/": builtIn("cubbyhole"),
  "old/": { ...builtIn("kv"), uuid: "u", plugin_version: "", running_plugin_version: "v0.20.0+builtin" },
  "older/": { ...builtIn("generic"), options: {} },
  "new/": { ...builtIn("kv"), options: { version: "2" }, config: { ...mountConfig, listing_visibility: "unauth" } },
  "pki/": builtIn("pki"),
};
const AUTH: JsonObject = {
  "token/": { ...builtIn("token"), config: { ...mountConfig, token_type: "default-service" } },
  "approle/": { ...builtIn("approle"), accessor: "auth_approle_1", config: { ...mountConfig, max_lease_ttl: 7200 } },
  "oidc/": builtIn("oidc"),
};
const ROLE = {
  ...{ bind_secret_id: true, local_secret_ids: false, secret_id_bound_cidrs: null, secret_id_num_uses: 0 },
  ...{ secret_id_ttl: 600, token_bound_cidrs: [], token_explicit_max_ttl: 0, token_max_ttl: 0, token_num_uses: 0 },
  ...{
    token_no_default_policy: false,
    token_period: 0,
    token_policies: ["app"],
    token_ttl: 1200,
    token_type: "default",
  },
};

const READS: Readonly<Record<string, JsonValue>> = {
  "auth/token/lookup-self": { id: TOKEN },
  "sys/mounts": MOUNTS,
  "sys/auth": AUTH,
  "sys/policies/acl/app": { name: "app", policy: 'path "old/*" {\n  capabilities = ["read"]\n}\n' },
  "auth/approle/role/app": ROLE,
  "auth/approle/role/app/role-id": { role_id: "vault-role-id", role_id_ttl: 0 },
  "identity/entity/id/e-1": {
    ...{ id: "e-1", name: "app", metadata: null, policies: [], disabled: false, namespace_id: "root" },
    aliases: [
      { id: "a-1", name: "vault-role-id", mount_accessor: "auth_approle_1", mount_path: "auth/approle/" },
      { id: "a-2", name: "gone", mount_accessor: "auth_ldap_9", mount_path: "" },
    ],
  },
  "identity/group/id/g-1": {
    ...{ id: "g-1", name: "all", type: "internal", metadata: null, policies: ["app"], alias: {} },
    ...{ member_entity_ids: ["e-1"], member_group_ids: null, parent_group_ids: null },
  },
  "old/one": { ttl: "1h", n: 1 },
  "older/one": { a: "1" },
  "new/config": { cas_required: false, delete_version_after: "0s", max_versions: 0 },
  "new/metadata/deep/er": {
    ...{ cas_required: false, created_time: MADE, current_version: 12, custom_metadata: null },
    ...{ delete_version_after: "0s", max_versions: 0, oldest_version: 11, updated_time: MADE },
    versions: {
      "11": { created_time: MADE, deletion_time: "", destroyed: true },
      "12": { created_time: MADE, deletion_time: "", destroyed: false },
    },
  },
  "new/data/deep/er": { data: { v: "twelve" }, metadata: { version: 12 } },
};
const many = Array.from({ length: MANY }, (_, n) => `k${String(n).padStart(4, "0")}`);
const LISTS: Readonly<Record<string, readonly string[]>> = {
  "sys/policies/acl": ["app", "default", "root"],
  "auth/approle/role": ["app"],
  "auth/approle/role/app/secret-id": ["an-accessor"],
  "identity/entity/id": ["e-1"],
  "identity/group/id": ["g-1"],
  "old/": ["one", ...many],
  "older/": ["one"],
  "new/metadata/": ["deep/"],
  "new/metadata/deep/": ["er"],
};

/** The envelope of Vault; tables of mounts stand beside `data` as well. */
function answer({ path, query, headers }: SeenRequest): ScriptedAnswer {
  if (headers["x-vault-token"] !== TOKEN) return { status: 403, body: { errors: ["permission denied"] } };
  const keys = LISTS[path] ?? LISTS[`${path}/`];
  if (query["list"] === "true") {
    if (keys === undefined) return { status: 404, body: { errors: [] } };
    return { status: 200, body: enveloped({ keys }) };
  }
  const data = READS[path] ?? (/^old\/k\d+$/.test(path) ? { at: path } : undefined);
  if (path === "sys/policies/acl/default")
    return { status: 403, body: { errors: ["1 error occurred:\n\t* denied\n\n"] } };
  if (data === undefined) return { status: 404, body: { errors: [] } };
  return { status: 200, body: { ...(path.startsWith("sys/") ? Object(data) : {}), ...enveloped(data) } };
}

const enveloped = (data: JsonValue): JsonObject => ({
  ...{ request_id: "1", lease_id: "", renewable: false, lease_duration: 0, data },
  ...{ wrap_info: null, warnings: null, auth: null, mount_type: "system" },
});

describe("an import from Vault", () => {
  let target: OpenServer;
  beforeAll(async () => {
    target = await startDevelopmentServer();
  });
  afterAll(() => target?.stop());
  const there = (path: string) => must(target.address, target.rootToken, "GET", path);

  it("copies all that there is, over a server that is busy now and then, and nothing the second time", async () => {
    let calls = 0;
    // Five calls in a row: more than the client itself repeats.
    const isBusy = () => ++calls % 500 < 6 && calls > 20;
    await using vault = await startScriptedApi((request) =>
      isBusy() ? { status: 503, body: { errors: ["local node not active"] } } : answer(request),
    );
    const run = async () => {
      const setting = {
        address: target.address,
        env: { VAULT_TOKEN: target.rootToken, VAULT_FROM_TOKEN: TOKEN, VAULT_FROM_ADDR: vault.address },
      };
      const { code, stdout } = await cli(setting, "import", "-format=json", "-parallel=1");
      expect(stdout).not.toContain(TOKEN);
      return { code, body: parseJson(stdout) };
    };
    const first = await run();
    expect(first.code).toBe(2);
    expect(at(first.body, "kinds")).toEqual({
      mounts: { created: 3, updated: 0, unchanged: 1, skipped: 1, failed: 0 },
      auth: { created: 1, updated: 0, unchanged: 0, skipped: 1, failed: 0 },
      policies: { created: 1, updated: 0, unchanged: 0, skipped: 0, failed: 1 },
      approle: { created: 1, updated: 0, unchanged: 0, skipped: 0, failed: 0 },
      entities: { created: 1, updated: 0, unchanged: 0, skipped: 0, failed: 0 },
      aliases: { created: 1, updated: 0, unchanged: 0, skipped: 1, failed: 0 },
      groups: { created: 1, updated: 0, unchanged: 0, skipped: 0, failed: 0 },
      "group-members": { created: 0, updated: 1, unchanged: 0, skipped: 0, failed: 0 },
      kv: { created: MANY + 3, updated: 0, unchanged: 0, skipped: 0, failed: 0 },
    });
    expect(vault.seen.every(({ method }) => method === "GET")).toBe(true);
    const second = await run();
    for (const [kind, counts] of Object.entries(at(second.body, "kinds") ?? {}))
      expect({ kind, ...Object(counts) }).toMatchObject({ kind, created: 0, updated: 0 });
    await expectCopied();
  });

  it("goes on with a secret whose versions were copied in part", async () => {
    const large = (v: string) => ({ v, filling: "x".repeat(200_000) });
    const version = { created_time: MADE, deletion_time: "", destroyed: false };
    const metadata = {
      ...{ cas_required: true, created_time: MADE, current_version: 3, custom_metadata: { a: "b" } },
      ...{ delete_version_after: "0s", max_versions: 0, oldest_version: 0, updated_time: MADE },
      versions: { "1": version, "2": version, "3": version },
    };
    let isBroken = true;
    await using vault = await startScriptedApi((request) => {
      const number = request.query["version"] ?? "";
      if (request.path === "new/metadata/" && request.query["list"])
        return { status: 200, body: enveloped({ keys: ["big"] }) };
      if (request.path === "new/metadata/big") return { status: 200, body: enveloped(metadata) };
      if (request.path !== "new/data/big") return answer(request);
      if (number === "3" && isBroken) return { status: 403, body: { errors: ["permission denied"] } };
      return { status: 200, body: enveloped({ data: large(number), metadata: {} }) };
    });
    const run = async () => {
      const env = { VAULT_TOKEN: target.rootToken, VAULT_FROM_TOKEN: TOKEN, VAULT_FROM_ADDR: vault.address };
      return cli({ address: target.address, env }, "import", "-format=json", "-include=mounts,kv:new/*");
    };
    expect(at(parseJson((await run()).stdout), "kinds", "kv")).toMatchObject({ created: 0, failed: 1 });
    expect(Object.keys(Object(at(await there("new/metadata/big"), "data", "versions")))).toEqual(["1"]);
    isBroken = false;
    expect(at(parseJson((await run()).stdout), "kinds", "kv")).toMatchObject({ updated: 1, failed: 0 });
    expect(at(await there("new/metadata/big"), "data")).toMatchObject({ current_version: 3, cas_required: true });
    for (const number of ["1", "2", "3"])
      expect(at(await there(`new/data/big?version=${number}`), "data", "data", "v")).toBe(number);
    expect(at(parseJson((await run()).stdout), "kinds", "kv")).toMatchObject({ unchanged: 1, updated: 0 });
  });

  async function expectCopied(): Promise<void> {
    expect(at(await there("sys/mounts/new/tune"), "data")).toMatchObject({ listing_visibility: "unauth" });
    expect(at(await there("sys/auth/approle/tune"), "data")).toMatchObject({ max_lease_ttl: 7200 });
    expect(at(await there("auth/approle/role/app"), "data")).toMatchObject({ secret_id_ttl: 600, token_ttl: 1200 });
    expect(at(await there("auth/approle/role/app/role-id"), "data", "role_id")).toBe("vault-role-id");
    expect(at(await there("old/one"), "data")).toEqual({ ttl: "1h", n: 1 });
    expect(at(await there("old/k0999"), "data")).toEqual({ at: "old/k0999" });
    expect(at(await there("new/data/deep/er"), "data")).toMatchObject({
      data: { v: "twelve" },
      metadata: { version: 12, created_time: "2019-03-04T05:06:07.123000000Z" },
    });
    expect(at(await there("new/metadata/deep/er"), "data", "oldest_version")).toBe(11);
    const entity = at(await there("identity/entity/name/app"), "data", "id");
    expect(at(await there("identity/group/name/all"), "data", "member_entity_ids")).toEqual([entity]);
  }
});
