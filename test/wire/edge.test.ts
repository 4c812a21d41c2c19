// What the HTTP edge promises for the whole API at once: a description that generators take, pages of every list, and
// settings of sys/config that are in effect.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isJsonArray, isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { validateOpenApi } from "#test/kit/openapi-validator.ts";
import { type ShamirServer, startShamirServer } from "#test/kit/server.ts";
import { Api, at, textAt } from "./checklist/checklist.ts";

let server: ShamirServer;
let api: Api;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "coffer-edge-"));
  server = await startShamirServer();
  api = new Api(server);
  await fill();
});

afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Two or three names in as many lists as there are. */
async function fill(): Promise<void> {
  const catalogue = await api.must("GET sys/plugins/catalog");
  for (const [kind, path] of [
    ["secret", "mounts"],
    ["auth", "auth"],
  ] as const) {
    const types = at(catalogue.body, "data", kind);
    for (const type of isJsonArray(types) ? types : [])
      await api.ask(`POST sys/${path}/${String(type)}`, { body: { type } });
  }
  await api.must("POST sys/mounts/two", { body: { type: "kv", options: { version: "2" } } });
  for (const name of ["n1", "n2", "n3"]) {
    await api.must(`POST kv/${name}`, { body: { a: "1" } });
    await api.must(`POST two/data/${name}`, { body: { data: { a: "1" } } });
    await api.must(`POST cubbyhole/${name}`, { body: { a: "1" } });
    await api.must(`POST auth/userpass/users/${name}`, { body: { password: "x" } });
    await api.must(`POST auth/approle/role/${name}`, { body: {} });
    await api.must(`POST auth/token/roles/${name}`, { body: {} });
    await api.must(`PUT sys/policies/acl/${name}`, { body: { policy: 'path "a" { capabilities = ["read"] }' } });
    await api.must(`PUT sys/policies/password/${name}`, {
      body: { policy: 'length=10\nrule "charset" { charset = "ab" }' },
    });
    await api.must(`PUT sys/config/ui/headers/x-${name}`, { body: { values: ["v"] } });
    await api.must("POST identity/entity", { body: { name } });
    await api.must("POST identity/group", { body: { name } });
    await api.must("POST auth/token/create", { body: { policies: ["default"], ttl: "1h" } });
  }
}

async function document(query = ""): Promise<JsonObject> {
  const { body } = await api.must(`GET sys/internal/specs/openapi${query}`);
  if (!body) throw new Error("the document is no JSON object");
  return body;
}

describe("the API's description", () => {
  it.each(["", "?generic_mount_paths=true"])("is valid OpenAPI (%s)", async (query) => {
    const found = await document(query);
    expect(Object.keys(at(found, "paths") ?? {}).length).toBeGreaterThan(100);
    expect(validateOpenApi(found)).toEqual([]);
  });

  it("names mounts by a parameter when asked", async () => {
    const paths = at(await document("?generic_mount_paths=true"), "paths");
    expect(paths).toHaveProperty(["/{kv_mount_path}/{path}"]);
    expect(paths).toHaveProperty(["/auth/{userpass_mount_path}/users"]);
    expect(paths).toHaveProperty(["/sys/mounts/{path}"]);
  });
});

describe("pages of lists", () => {
  it("are given by every list of two names and more", async () => {
    const tried: string[] = [];
    for (const path of listPaths(await document())) {
      const all = await keysOf(`LIST ${path}`);
      const [first, second] = all;
      if (first === undefined || second === undefined) continue;
      tried.push(path);
      expect(await keysOf(`LIST ${path}?limit=1`), path).toEqual([first]);
      expect(await keysOf(`LIST ${path}?limit=${all.length + 1}`), path).toEqual(all);
      expect(await keysOf(`GET ${path}?list=true&after=${encodeURIComponent(first)}`), path).toEqual(all.slice(1));
    }
    for (const path of ["kv/", "two/metadata/", "auth/userpass/users", "auth/token/accessors", "identity/entity/id"])
      expect(tried).toContain(path);
  });
});

/** Paths that can be listed, parameters at the end left out. */
function listPaths(description: JsonObject): readonly string[] {
  const paths = Object.entries(at(description, "paths") ?? {});
  return paths
    .filter(([, item]) =>
      JSON.stringify(at(isJsonObject(item) ? item : {}, "get", "parameters") ?? "").includes('"list"'),
    )
    .map(([path]) => path.slice(1).replace(/\{[^}]*\}$/, ""))
    .filter((path) => !path.includes("{"));
}

async function keysOf(call: string): Promise<readonly string[]> {
  const { body } = await api.ask(call);
  const keys = at(body, "data", "keys");
  return isJsonArray(keys) ? keys.map(String) : [];
}

describe("settings of sys/config", () => {
  it("send pages with the headers that were set", async () => {
    await api.must("PUT sys/config/ui/headers/X-Motd", { body: { values: ["hello", "you"] } });
    const page = await fetch(`${server.address}/ui/`);
    expect(page.headers.get("x-motd")).toBe("hello, you");
    await api.must("DELETE sys/config/ui/headers/X-Motd");
    expect((await fetch(`${server.address}/ui/`)).headers.get("x-motd")).toBe(null);
    await api.expectError(400, "X-Vault headers cannot be set", "PUT sys/config/ui/headers/X-Vault-A", {
      body: { values: ["a"] },
    });
  });

  it("show request headers in audit lines, in clear or as HMAC", async () => {
    const file = join(folder, "audit.log");
    await api.must("PUT sys/audit/edge", { body: { type: "file", options: { file_path: file } } });
    await api.must("PUT sys/config/auditing/request-headers/X-Clear", { body: {} });
    await api.must("PUT sys/config/auditing/request-headers/X-Hidden", { body: { hmac: true } });
    const headers = { "X-Clear": "seen", "X-Hidden": "secret-header", "X-Other": "other" };
    await api.must("GET kv/n1", { headers });
    await api.must("DELETE sys/config/auditing/request-headers/X-Clear");
    await api.must("GET kv/n2", { headers });
    const hash = textAt(
      (await api.must("POST sys/audit-hash/edge", { body: { input: "secret-header" } })).body,
      "data",
      "hash",
    );
    await api.must("DELETE sys/audit/edge");
    const text = await readFile(file, "utf8");
    const shown = (path: string) =>
      text
        .split("\n")
        .map((line) => (line === "" ? undefined : parseJson(line)))
        .filter((line) => isJsonObject(line) && at(line, "request", "path") === path)
        .map((line) => at(isJsonObject(line) ? line : undefined, "request", "headers"));
    expect(shown("kv/n1")).toEqual(Array(2).fill({ "x-clear": ["seen"], "x-hidden": [hash] }));
    expect(shown("kv/n2")).toEqual(Array(2).fill({ "x-hidden": [hash] }));
    expect(text).not.toContain("secret-header");
    expect(hash).toMatch(/^hmac-sha256:[0-9a-f]{64}$/);
  });

  it("refuse what no browser could use", async () => {
    for (const body of [
      { allowed_origins: [] },
      { allowed_origins: ["*", "https://a.example"] },
      { allowed_origins: "*", allowed_headers: "a b" },
    ])
      expect((await api.ask("POST sys/config/cors", { body })).status).toBe(400);
  });
});
