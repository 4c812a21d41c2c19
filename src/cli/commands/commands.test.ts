// Commands against a scripted server: what they send, what they print, and their exit codes.
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CliSetting, cli } from "#test/run-cli.ts";
import { authBlock, enveloped, refused, type Script, type ScriptedApi, startScriptedApi } from "#test/scripted-api.ts";

let api: ScriptedApi;
beforeAll(async () => {
  api = await startScriptedApi(() => refused(404));
});
afterAll(() => api[Symbol.asyncDispose]());

/** Runs a command against the script; gives its output and the requests that it made. */
async function against(script: Script, setting: CliSetting, ...argv: string[]) {
  api.script = script;
  api.seen.length = 0;
  const result = await cli({ address: api.address, ...setting }, ...argv);
  return { ...result, calls: api.seen.map(({ method, path, body }) => [method, path, body]), seen: [...api.seen] };
}

const kvScript: Script = ({ path, method }) => {
  if (path.startsWith("sys/internal/")) return enveloped({ path: "secret/", type: "kv", options: { version: "2" } });
  const metadata = { version: 3, created_time: "2026-01-01T00:00:00Z", deletion_time: "", destroyed: false };
  return method === "GET" ? enveloped({ data: { user: "app", n: 5 }, metadata }) : enveloped(metadata);
};

describe("reading and writing", () => {
  it("prints a table, JSON, YAML or one field", async () => {
    const script = () =>
      enveloped({ password: "p", a: [1, 2] }, { lease_id: "db/1", lease_duration: 3600, renewable: true });
    const run = (...flags: string[]) => against(script, {}, "read", ...flags, "/v1/database/creds/r");
    expect((await run()).stdout).toBe(
      "Key                Value\n---                -----\nlease_id           db/1\nlease_duration     1h\nlease_renewable    true\na                  [1 2]\npassword           p\n",
    );
    expect((await run("-field=password")).stdout).toBe("p");
    expect((await run("-format=yaml")).stdout).toContain("password: p\n");
    const json = await run("-format=json");
    expect(JSON.parse(json.stdout)).toMatchObject({ lease_id: "db/1", data: { password: "p" } });
    expect(json.calls).toEqual([["GET", "database/creds/r", undefined]]);
    expect(await run("-field=other")).toMatchObject({ code: 1, stdout: "" });
    expect(await run("-format=xml")).toMatchObject({ code: 1 });
  });

  it("writes key=value, files, standard input and repeated keys", async () => {
    const home = await mkdtemp(join(tmpdir(), "coffer-cli-"));
    await writeFile(join(home, "data.json"), '{"from":"json","n":1}');
    await writeFile(join(home, "text"), "line\n");
    const words = ["write", "a/b", "@data.json", "file=@text", "in=-", "x=1", "x=2", "esc=\\@home", "eq=a=b"];
    const result = await against(() => ({ status: 204 }), { home, stdin: "piped" }, ...words);
    expect(result.stdout).toBe("Success! Data written to: a/b\n");
    const body = { from: "json", n: 1, file: "line\n", in: "piped", x: ["1", "2"], esc: "@home", eq: "a=b" };
    expect(result.calls).toEqual([["PUT", "a/b", body]]);
    await rm(home, { recursive: true });
  });

  it("refuses data that is none, before it calls", async () => {
    for (const word of ["novalue", "=x", "@missing", "k=@missing"]) {
      expect(await against(() => ({ status: 204 }), {}, "write", "a", word)).toMatchObject({ code: 1, calls: [] });
    }
    expect((await against(() => ({ status: 204 }), {}, "write", "a")).stderr).toContain("-force");
    expect(await against(() => ({ status: 204 }), {}, "write", "-f", "a")).toMatchObject({ code: 0 });
  });

  it("lists, deletes, and says when there is nothing", async () => {
    const list = await against(() => enveloped({ keys: ["a", "b/"] }), {}, "list", "x");
    expect(list.stdout).toBe("Keys\n----\na\nb/\n");
    const nothing = await against(() => refused(404), {}, "list", "x");
    expect(nothing).toMatchObject({ code: 2, stderr: "No value found at x\n" });
    expect(await against(() => refused(404), {}, "read", "x")).toMatchObject({ code: 2 });
    expect((await against(() => ({ status: 204 }), {}, "delete", "x")).stdout).toContain("Data deleted");
  });

  it("asks for wrapping, shows the wrapping token, and unwraps with it", async () => {
    const wrap_info = { token: "w1", ttl: 60, accessor: "a", creation_time: "now", creation_path: "x" };
    const wrapped = await against(() => enveloped(null, { wrap_info }), {}, "read", "-wrap-ttl=60s", "x");
    expect(wrapped.seen[0]?.headers["x-vault-wrap-ttl"]).toBe("60s");
    expect(wrapped.stdout).toContain("wrapping_token:                  w1\n");
    const unwrap = await against(() => enveloped({ k: "v" }), {}, "unwrap", "-field=k", "w1");
    expect(unwrap).toMatchObject({ stdout: "v", calls: [["PUT", "sys/wrapping/unwrap", {}]] });
    expect(unwrap.seen[0]?.headers["x-vault-token"]).toBe("w1");
  });
});

describe("kv", () => {
  it("shows path, metadata and data of version 2", async () => {
    const get = await against(kvScript, {}, "kv", "get", "-mount=secret", "-version=3", "team/db");
    expect(get.seen.at(-1)).toMatchObject({ path: "secret/data/team/db", query: { version: "3" } });
    expect(get.stdout).toContain("= Secret Path =");
    expect(get.stdout).toContain("secret/data/team/db\n\n");
    expect(get.stdout).toContain("deletion_time    n/a\n");
    expect(get.stdout).toContain("=== Data ===\nKey     Value\n---     -----\nn       5\nuser    app\n");
    expect((await against(kvScript, {}, "kv", "get", "-field=user", "secret/a")).stdout).toBe("app");
    const json = await against(kvScript, {}, "kv", "get", "-format=json", "secret/a");
    expect(JSON.parse(json.stdout)).toMatchObject({ data: { data: { user: "app" }, metadata: { version: 3 } } });
  });

  it("puts, patches, deletes versions and writes metadata", async () => {
    const last = async (...argv: string[]) => (await against(kvScript, {}, "kv", ...argv)).calls.at(-1);
    expect(await last("put", "-cas=0", "secret/a", "k=v")).toEqual([
      "PUT",
      "secret/data/a",
      { data: { k: "v" }, options: { cas: 0 } },
    ]);
    expect(await last("patch", "-remove-data=old", "secret/a", "k=v")).toEqual([
      "PATCH",
      "secret/data/a",
      { data: { k: "v", old: null } },
    ]);
    expect(await last("delete", "-versions=1,2", "secret/a")).toEqual(["PUT", "secret/delete/a", { versions: [1, 2] }]);
    expect(await last("undelete", "-versions=1", "secret/a")).toEqual(["PUT", "secret/undelete/a", { versions: [1] }]);
    expect(await last("metadata", "put", "-max-versions=4", "-custom-metadata=o=me", "secret/a")).toEqual([
      "PUT",
      "secret/metadata/a",
      { max_versions: 4, custom_metadata: { o: "me" } },
    ]);
    expect(await last("metadata", "delete", "secret/a")).toEqual(["DELETE", "secret/metadata/a", undefined]);
    expect((await against(kvScript, {}, "kv", "destroy", "secret/a")).stderr).toContain("say which versions");
  });
});

describe("login and tokens", () => {
  const loginScript: Script = ({ path }) =>
    path.endsWith("lookup-self")
      ? enveloped({ id: "root", policies: ["root"] })
      : enveloped(null, { auth: authBlock("s.new", 3600) });

  it("stores the token for its owner only, and uses it", async () => {
    const home = await mkdtemp(join(tmpdir(), "coffer-cli-"));
    const words = ["login", "-method=userpass", "username=ann"];
    const login = await against(loginScript, { home, typed: "pw" }, ...words);
    expect(login.calls).toEqual([["PUT", "auth/userpass/login/ann", { password: "pw" }]]);
    expect(login.stdout).toContain("You are now authenticated");
    expect(login.stdout).toMatch(/^token {14,}s\.new$/m);
    expect(await readFile(join(home, ".vault-token"), "utf8")).toBe("s.new");
    expect((await stat(join(home, ".vault-token"))).mode & 0o777).toBe(0o600);
    const read = await against(() => enveloped({ a: 1 }), { home }, "read", "x");
    expect(read.seen[0]?.headers["x-vault-token"]).toBe("s.new");
    await rm(home, { recursive: true });
  });

  it("checks a token with the server before storing it", async () => {
    const good = await against(loginScript, { typed: "root\n" }, "login");
    expect(good.seen[0]).toMatchObject({ path: "auth/token/lookup-self", headers: { "x-vault-token": "root" } });
    expect(await against(() => refused(403, "permission denied"), {}, "login", "bad")).toMatchObject({ code: 2 });
    expect((await against(loginScript, {}, "login", "-token-only", "root")).stdout).toBe("root");
  });

  it("logs in by approle and kubernetes at their mounts, and names unknown methods", async () => {
    const approle = ["login", "-no-store", "-method=approle", "-path=/ci/", "role_id=r", "secret_id=s"];
    const { calls } = await against(loginScript, {}, ...approle);
    expect(calls).toEqual([["PUT", "auth/ci/login", { role_id: "r", secret_id: "s" }]]);
    const kubernetes = await against(loginScript, {}, "login", "-method=kubernetes", "role=r", "jwt=j");
    expect(kubernetes.calls).toEqual([["PUT", "auth/kubernetes/login", { role: "r", jwt: "j" }]]);
    expect((await against(loginScript, {}, "login", "-method=magic")).stderr).toContain("userpass, approle");
    expect((await against(loginScript, {}, "login", "-method=approle")).stderr).toContain("needs role_id");
  });

  it("creates, looks up, renews and revokes tokens", async () => {
    const call = async (...argv: string[]) => (await against(loginScript, {}, "token", ...argv)).calls[0];
    const create = ["create", "-policy=a", "-policy=b", "-ttl=1h", "-orphan", "-use-limit=2", "-metadata=k=v"];
    expect(await call(...create)).toEqual([
      "PUT",
      "auth/token/create-orphan",
      { ttl: "1h", policies: ["a", "b"], num_uses: 2, meta: { k: "v" } },
    ]);
    expect(await call("lookup")).toEqual(["GET", "auth/token/lookup-self", undefined]);
    expect(await call("lookup", "-accessor", "x")).toEqual(["PUT", "auth/token/lookup-accessor", { accessor: "x" }]);
    expect(await call("renew", "-increment=1h", "t")).toEqual([
      "PUT",
      "auth/token/renew",
      { token: "t", increment: "1h" },
    ]);
    expect(await call("revoke", "-mode=orphan", "t")).toEqual(["PUT", "auth/token/revoke-orphan", { token: "t" }]);
    expect(await call("revoke", "-self")).toEqual(["PUT", "auth/token/revoke-self", {}]);
    expect((await against(loginScript, {}, "token", "revoke")).code).toBe(1);
  });
});

describe("status and operator", () => {
  const status =
    (sealed: boolean, more = {}): Script =>
    () => ({
      status: 200,
      body: { type: "shamir", initialized: true, sealed, t: 3, n: 5, progress: 1, nonce: "x", version: "1", ...more },
    });

  it("exits 0 unsealed, 2 sealed, 1 without a server", async () => {
    const open = await against(status(false), {}, "status");
    expect(open.code).toBe(0);
    expect(open.stdout).toMatch(/^Key +Value\n--- +-----\nSeal Type +shamir\nInitialized +true\nSealed +false\n/);
    expect(open.stdout).not.toContain("Progress");
    const sealed = await against(status(true), {}, "status");
    expect(sealed.code).toBe(2);
    expect(sealed.stdout).toMatch(/Unseal Progress +1\/3/);
    const away = await cli({ address: "http://127.0.0.1:1" }, "status");
    expect(away.code).toBe(1);
    expect(away.stderr).toContain("Is http://127.0.0.1:1 right, and is the server running? Set VAULT_ADDR");
  });

  it("initialises by shares, or by recovery shares with an auto seal", async () => {
    const keys = { keys: ["00"], keys_base64: ["AA=="], root_token: "s.root" };
    const script =
      (type: string): Script =>
      (seen) =>
        seen.path === "sys/init" ? { status: 200, body: keys } : status(true, { type })(seen);
    const shamir = await against(script("shamir"), {}, "operator", "init", "-key-shares=1", "-key-threshold=1");
    expect(shamir.calls.at(-1)).toEqual(["PUT", "sys/init", { secret_shares: 1, secret_threshold: 1 }]);
    expect(shamir.stdout).toContain("Unseal Key 1: AA==\n\nInitial Root Token: s.root\n");
    const auto = await against(script("awskms"), {}, "operator", "init");
    expect(auto.calls.at(-1)).toEqual(["PUT", "sys/init", { recovery_shares: 5, recovery_threshold: 3 }]);
    const only = await against(
      () => ({ status: 200, body: { initialized: false } }),
      {},
      "operator",
      "init",
      "-status",
    );
    expect(only.code).toBe(2);
  });

  it("unseals by an argument or by asking, resets, and seals", async () => {
    const asked = await against(status(true), { typed: " key \n" }, "operator", "unseal");
    expect(asked.calls).toEqual([["PUT", "sys/unseal", { key: "key" }]]);
    expect((await against(status(true), {}, "operator", "unseal", "-reset")).calls[0]?.[2]).toEqual({ reset: true });
    expect((await against(() => ({ status: 204 }), {}, "operator", "seal")).stdout).toContain("sealed");
  });
});

describe("policies and mounts", () => {
  it("writes a policy from a file and prints it back", async () => {
    const home = await mkdtemp(join(tmpdir(), "coffer-cli-"));
    await writeFile(join(home, "p.hcl"), 'path "a" {}');
    const fromFile = await against(() => ({ status: 204 }), { home }, "policy", "write", "p", "p.hcl");
    expect(fromFile.calls).toEqual([["PUT", "sys/policies/acl/p", { policy: 'path "a" {}' }]]);
    await rm(home, { recursive: true });
    const write = ["policy", "write", "-cas=-1", "-cas-required", "-ttl=4h", "p", "-"];
    const ending = await against(() => ({ status: 204 }), { stdin: "x" }, ...write);
    expect(ending.calls[0]?.[2]).toEqual({ policy: "x", cas: "-1", cas_required: true, ttl: "4h" });
    const piped = await against(() => ({ status: 204 }), { stdin: "x" }, "policy", "write", "p", "-");
    expect(piped.calls[0]?.[2]).toEqual({ policy: "x" });
    const read = await against(() => enveloped({ name: "p", policy: "rules" }), {}, "policy", "read", "p");
    expect(read.stdout).toBe("rules\n");
  });

  it("lists, enables and disables mounts", async () => {
    const mounts = enveloped({ "kv/": { type: "kv", accessor: "kv_1", description: "" } });
    const list = await against(() => mounts, {}, "secrets", "list");
    expect(list.stdout).toBe(
      "Path    Type    Accessor    Description\n----    ----    --------    -----------\nkv/     kv      kv_1        n/a\n",
    );
    const enable = await against(
      () => ({ status: 204 }),
      {},
      "secrets",
      "enable",
      "-path=s",
      "-max-lease-ttl=1h",
      "kv-v2",
    );
    expect(enable.calls).toEqual([
      [
        "PUT",
        "sys/mounts/s",
        { type: "kv", description: "", config: { max_lease_ttl: "1h" }, options: { version: "2" } },
      ],
    ]);
    const audit = await against(() => ({ status: 204 }), {}, "audit", "enable", "file", "file_path=/x");
    expect(audit.calls[0]?.[2]).toEqual({ type: "file", description: "", options: { file_path: "/x" } });
    const disable = await against(() => ({ status: 204 }), {}, "auth", "disable", "approle/");
    expect(disable.calls).toEqual([["DELETE", "sys/auth/approle", undefined]]);
  });
});
