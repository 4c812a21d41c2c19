import { createSecretKey } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { JsonValue } from "#common/json.ts";
import { type TotpSettings, totpCode, totpCounter } from "#common/totp.ts";
import { type Core, startCore, textOf } from "#test/kit/core.ts";
import type { BackendType } from "../framework/backend.ts";
import { definePath } from "../framework/path.ts";

let core: Core;

const lease = { kind: "k", ttlSeconds: 60, maxTtlSeconds: 60, renewable: false, internal: {} };
/** An engine whose secrets end. */
const leaser: BackendType = {
  type: "leaser",
  create: () => ({
    type: "leaser",
    summary: "Secrets that end.",
    leaseKinds: { k: { revoke: async () => undefined } },
    paths: [
      definePath("secret", {
        summary: "One.",
        operations: { read: { summary: "Get it.", handler: () => ({ data: { a: "b" }, lease }) } },
      }),
    ],
  }),
};

beforeEach(async () => {
  core = await startCore({ engines: [leaser] });
  await core.root("update", "sys/auth/up", { type: "userpass" });
  await core.root("update", "sys/mounts/secret", { type: "kv" });
  await core.policy("p", 'path "secret/*" { capabilities = ["read", "create", "update"] }');
  await core.root("update", "auth/up/users/ann", { password: "pw", token_policies: ["p"] });
  await core.root("update", "secret/a", { k: "v" });
});

const parameter = (key: string, value: JsonValue) => Buffer.from(JSON.stringify({ key, value })).toString("base64url");
const headersOf = (more: Record<string, string> = {}) => ({
  "x-vault-inline-auth-path": "auth/up/login/ann",
  "x-vault-inline-auth-parameter-p": parameter("password", "pw"),
  ...more,
});
const read = (headers: Record<string, string> = headersOf(), token = "", remoteAddress = "127.0.0.1") =>
  core.send(token, "read", "secret/a", {}, { headers, remoteAddress });
const wrong = { "x-vault-inline-auth-parameter-p": parameter("password", "wrong") };

/** What an authenticator app with the key of this URL shows. */
function codeOf(url: string, seconds: number): string {
  const settings: TotpSettings = { algorithm: "SHA1", digits: 6, periodSeconds: 30 };
  const letters = [...(new URL(url).searchParams.get("secret") ?? "")];
  const bits = letters.map((one) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(one).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g) ?? [];
  const key = createSecretKey(Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2))));
  return totpCode(key, settings, totpCounter(settings, seconds));
}

describe("a request that brings its login", () => {
  it("acts as who logged in, and leaves no token", async () => {
    await core.send("", "update", "auth/up/login/ann", { password: "pw" });
    const before = await core.dump("core/");
    expect(await read()).toMatchObject({ status: 200, data: { k: "v" } });
    const written = await core.send("", "update", "secret/b", { k: "w" }, { headers: headersOf() });
    expect(written.status).toBe(204);
    expect([...(await core.dump("core/")).keys()]).toEqual([...before.keys()]);
  });

  it("may do what the user's policies allow, and no more", async () => {
    const refused = await core.send("", "read", "sys/mounts", {}, { headers: headersOf() });
    expect(refused).toMatchObject({ status: 403, error: "1 error occurred:\n\t* permission denied\n\n" });
    await core.root("update", "auth/up/users/ann", { token_bound_cidrs: ["10.0.0.0/8"] });
    expect((await read()).status).toBe(403);
    expect((await read(headersOf(), "", "10.1.1.1")).status).toBe(200);
  });

  it("takes part in identity", async () => {
    const { auth } = await core.send("", "update", "auth/up/login/ann", { password: "pw" });
    await core.root("update", `identity/entity/id/${textOf(auth, "entity_id")}`, { disabled: true });
    expect((await read()).status).toBe(403);
  });

  it("makes nothing that would outlive it", async () => {
    await core.root("update", "sys/mounts/l", { type: "leaser" });
    await core.policy("p", 'path "*" { capabilities = ["read", "update"] }');
    // Makes the user's entity, which is the user's and not the token's.
    await read();
    const before = await core.dump();
    expect(await core.send("", "read", "l/secret", {}, { headers: headersOf() })).toMatchObject({
      status: 400,
      error: expect.stringContaining("inline authentication cannot make tokens or leases"),
    });
    const options = { headers: headersOf() };
    expect((await core.send("", "update", "auth/token/create", {}, options)).status).toBe(403);
    expect((await core.send("", "update", "cubbyhole/x", { a: "b" }, options)).status).toBeGreaterThanOrEqual(400);
    expect([...(await core.dump()).keys()]).toEqual([...before.keys()]);
  });

  it("counts wrong passwords of the login", async () => {
    for (let i = 0; i < 5; i++) expect((await read(headersOf(wrong))).status).toBeGreaterThanOrEqual(400);
    expect((await read()).status).toBe(403);
    expect((await core.send("", "update", "auth/up/login/ann", { password: "pw" })).status).toBe(403);
  });

  it("must bring the second factor as well", async () => {
    const { data } = await core.root("update", "identity/mfa/method/totp", { issuer: "Coffer" });
    const methods = { mfa_method_ids: [textOf(data, "method_id")], auth_method_types: ["userpass"] };
    await core.root("update", "identity/mfa/login-enforcement/e", methods);
    expect(await read()).toMatchObject({
      status: 403,
      error: expect.stringContaining("failed to satisfy enforcement e"),
    });
  });

  it("counts against the login's quotas too", async () => {
    await core.root("update", "sys/quotas/rate-limit/q", { path: "auth/up", rate: 1, interval: "1h" });
    expect((await read()).status).toBe(200);
    expect((await read()).status).toBe(429);
  });

  it("writes lines of both to the audit log", async () => {
    const folder = await mkdtemp(join(tmpdir(), "coffer-inline-"));
    try {
      const file = join(folder, "audit.log");
      await core.root("update", "sys/audit/file", { type: "file", options: { file_path: file } });
      await read();
      await read(headersOf(wrong));
      const lines = (await readFile(file, "utf8"))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      const seen = lines.filter(({ request }) => request.path !== "sys/audit/file");
      expect(seen.map(({ type, request, error }) => `${type} ${request.path}${error ? " failed" : ""}`)).toEqual([
        "request auth/up/login/ann",
        "response auth/up/login/ann",
        "request secret/a",
        "response secret/a",
        "request auth/up/login/ann",
        "response auth/up/login/ann failed",
      ]);
      expect(await readFile(file, "utf8")).not.toMatch(/"pw"|"wrong"/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("a request that is refused after its login", () => {
  const refused = (headers: Record<string, string>) => core.send("", "read", "sys/mounts", {}, { headers });

  it("has used up a secret id that is good for one login", async () => {
    await core.root("update", "sys/auth/ar", { type: "approle" });
    await core.root("update", "auth/ar/role/r", { token_policies: ["p"], secret_id_num_uses: 1 });
    const role_id = textOf((await core.root("read", "auth/ar/role/r/role-id")).data, "role_id");
    const secretId = async () => textOf((await core.root("update", "auth/ar/role/r/secret-id")).data, "secret_id");
    const secret_id = await secretId();
    const headers = (id: string) => ({
      "x-vault-inline-auth-path": "ar/login",
      "x-vault-inline-auth-parameter-r": parameter("role_id", role_id),
      "x-vault-inline-auth-parameter-s": parameter("secret_id", id),
    });
    expect((await read(headers(await secretId()))).status).toBe(200);
    const before = await core.dump("core/");
    const first = await refused(headers(secret_id));
    expect([first.status, first.error]).toEqual([403, "1 error occurred:\n\t* permission denied\n\n"]);
    expect([...(await core.dump("core/")).keys()]).toEqual([...before.keys()]);
    const again = await core.send("", "update", "auth/ar/login", { role_id, secret_id });
    expect([again.status, again.error]).toEqual([400, "invalid role or secret ID"]);
  });

  it("has used up its code, even where there is one try", async () => {
    const { auth } = await core.send("", "update", "auth/up/login/ann", { password: "pw" });
    const made = await core.root("update", "identity/mfa/method/totp", { issuer: "C", max_validation_attempts: 1 });
    const method_id = textOf(made.data, "method_id");
    const ann = { method_id, entity_id: textOf(auth, "entity_id") };
    const { data } = await core.root("update", "identity/mfa/method/totp/admin-generate", ann);
    const enforcement = { mfa_method_ids: [method_id], auth_method_types: ["userpass"] };
    await core.root("update", "identity/mfa/login-enforcement/e", enforcement);
    const headers = headersOf({
      "x-vault-mfa": `${method_id}:${codeOf(textOf(data, "url"), core.clock.now() / 1000)}`,
    });
    expect((await refused(headers)).error).toContain("permission denied");
    expect((await read(headers)).error).toContain("code already used");
  });
});

describe("the headers of an inline login", () => {
  it("do not stand beside a token", async () => {
    expect(await read(headersOf(), core.rootToken)).toMatchObject({
      status: 400,
      error: expect.stringContaining("cannot layer inline authentication with token authentication"),
    });
  });

  it("do no harm where none is needed", async () => {
    const { status } = await core.send(
      "",
      "update",
      "auth/up/login/ann",
      { password: "pw" },
      { headers: headersOf(wrong) },
    );
    expect(status).toBe(200);
  });

  it("name a login below auth/, with or without saying so", async () => {
    expect((await read(headersOf({ "x-vault-inline-auth-path": "up/login/ann" }))).status).toBe(200);
  });

  it.each([
    [{ "x-vault-inline-auth-path": "auth/token/lookup-self" }, "names no path of a login"],
    [{ "x-vault-inline-auth-path": "auth/none/login/ann" }, "names no path of a login"],
    [{ "x-vault-inline-auth-operation": "sudo" }, "X-Vault-Inline-Auth-Operation"],
    [{ "x-vault-inline-auth-parameter-x": "{}" }, "x-vault-inline-auth-parameter-x wants"],
    [{ "x-vault-inline-auth-parameter-x": parameter("password", "pw") }, "each key once"],
    [{ "x-vault-inline-auth-parameter-x": Buffer.from('{"key":"a"}').toString("base64url") }, "wants"],
    [{ "x-vault-inline-auth-parameter-p": `${parameter("a", 1)}, ${parameter("b", 2)}` }, "wants"],
  ])("are refused: %j", async (more, message) => {
    expect(await read(headersOf(more))).toMatchObject({ status: 400, error: expect.stringContaining(message) });
  });
});
