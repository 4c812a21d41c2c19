// The npm client node-vault as a program uses it, against a real server that it initialises and unseals itself.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import nodeVault from "node-vault";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type JsonObject, parseJson } from "#common/json.ts";
import { jsonObject, list, number, object, string } from "#common/schema.ts";
import { type RunningServer, startServer, writeConfig } from "#test/kit/server.ts";

const initialised = object({ keys: list(string), keys_base64: list(string), root_token: string });
const grantOf = object({ auth: object({ client_token: string, accessor: string }) });
const wrappedIn = object({ wrap_info: object({ token: string }) });
const inData = (name: string) => object({ data: object({ [name]: string }) });

const folder = mkdtempSync(join(tmpdir(), "coffer-node-vault-"));
let server: RunningServer;
let keys: readonly string[] = [];
let rootToken = "";

/** A client of its own for each use: most of its methods that give a token also begin to use it. */
function client(token?: string, options: nodeVault.VaultOptions = {}): nodeVault.client {
  return nodeVault({ endpoint: server.address, ...(token === undefined ? {} : { token }), ...options });
}
const root = () => client(rootToken);

/** The client's own types know nothing of its answers. */
async function answerOf(call: Promise<unknown>): Promise<JsonObject> {
  return jsonObject.parse(parseJson(JSON.stringify(await call)));
}

async function tokenOf(call: Promise<unknown>): Promise<{ client_token: string; accessor: string }> {
  return grantOf.parse(await answerOf(call)).auth;
}

beforeAll(async () => {
  server = await startServer([`-config=${await writeConfig(folder, {})}`]);
  const made = initialised.parse(await client().init({ secret_shares: 3, secret_threshold: 2 }));
  keys = made.keys;
  rootToken = made.root_token;
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

describe.sequential("node-vault 0.12.0", () => {
  it("unseals with shares in hexadecimal, and tells the progress", async () => {
    expect(keys).toHaveLength(3);
    expect(await client().initialized()).toEqual({ initialized: true });
    expect(await client().health()).toMatchObject({ initialized: true, sealed: true });
    expect(await client().unseal({ key: keys[0] })).toMatchObject({ sealed: true, t: 2, n: 3, progress: 1 });
    expect(await client().unseal({ key: keys[2] })).toMatchObject({ sealed: false, t: 2, n: 3, progress: 0 });
    expect(await client().status()).toMatchObject({ sealed: false, type: "shamir" });
    await expect(client().init({ secret_shares: 1, secret_threshold: 1 })).rejects.toThrow(/already initialized/);
  });

  it("health and leader", async () => {
    expect(await client().health()).toMatchObject({ initialized: true, sealed: false, standby: false });
    expect(await client().leader()).toHaveProperty("ha_enabled");
  });

  it("mounts and unmounts, and lists what is mounted", async () => {
    expect(await root().mount({ mount_point: "one", type: "kv", description: "first" })).toBe("");
    await root().mount({ mount_point: "two", type: "kv", options: { version: "2" } });
    expect(await root().mounts()).toMatchObject({
      "one/": { type: "kv", description: "first" },
      data: { "two/": { options: { version: "2" } } },
    });
    await root().mount({ mount_point: "gone", type: "kv" });
    await root().unmount({ mount_point: "gone" });
    expect(await root().mounts()).not.toHaveProperty("gone/");
    await expect(root().mount({ mount_point: "one", type: "kv" })).rejects.toThrow("path is already in use at one/");
  });

  it("kv version 1: write, read, list by the verb and by GET, delete", async () => {
    const vault = root();
    await vault.write("one/app/db", { user: "ann", port: 5432 });
    expect(await vault.read("one/app/db")).toMatchObject({ data: { user: "ann", port: 5432 } });
    expect(await vault.list("one/app")).toMatchObject({ data: { keys: ["db"] } });
    const noVerbs = client(rootToken, { noCustomHTTPVerbs: true });
    expect(await noVerbs.list("one/app")).toMatchObject({ data: { keys: ["db"] } });
    await vault.delete("one/app/db");
    await expect(vault.read("one/app/db")).rejects.toMatchObject({
      message: "Status 404",
      response: { statusCode: 404, body: { errors: [] } },
    });
  });

  it("kv version 2: versions, merge patches, deletion and destruction", async () => {
    const vault = root();
    expect(await vault.write("two/data/app", { data: { a: "1", b: "2" } })).toMatchObject({ data: { version: 1 } });
    expect(await vault.update("two/data/app", { data: { b: "3", a: null } })).toMatchObject({ data: { version: 2 } });
    expect(await vault.read("two/data/app")).toMatchObject({ data: { data: { b: "3" }, metadata: { version: 2 } } });
    expect(await vault.read("two/data/app?version=1")).toMatchObject({ data: { data: { a: "1", b: "2" } } });
    expect(await vault.list("two/metadata")).toMatchObject({ data: { keys: ["app"] } });
    await vault.destroySecretVersions({ mount_point: "two", path: "app", versions: [1] });
    await vault.delete("two/data/app");
    expect(await vault.read("two/metadata/app")).toMatchObject({
      data: { versions: { 1: { destroyed: true }, 2: { destroyed: false } } },
    });
    await vault.delete("two/metadata/app");
    await expect(vault.list("two/metadata")).rejects.toThrow("Status 404");
  });

  it("policies", async () => {
    const vault = root();
    const rules = 'path "one/*" { capabilities = ["read", "create", "update", "list"] }';
    await vault.addPolicy({ name: "reader", rules });
    expect(await vault.getPolicy({ name: "reader" })).toMatchObject({ rules, data: { name: "reader" } });
    expect(await vault.policies()).toMatchObject({ policies: ["default", "reader", "root"] });
    await vault.addPolicy({ name: "unused", policy: rules });
    await vault.removePolicy({ name: "unused" });
    await expect(vault.getPolicy({ name: "unused" })).rejects.toThrow("Status 404");
  });

  it("tokens: create, lookup, renew, revoke, accessors", async () => {
    const made = await tokenOf(root().tokenCreate({ policies: ["reader"], ttl: "10m", display_name: "mine" }));
    const own = client(made.client_token);
    expect(await own.tokenLookupSelf()).toMatchObject({ data: { policies: ["default", "reader"], num_uses: 0 } });
    expect(await root().tokenLookup({ token: made.client_token })).toMatchObject({ data: { creation_ttl: 600 } });
    expect(await root().tokenLookupAccessor({ accessor: made.accessor })).toMatchObject({ data: { id: "" } });
    expect(await own.tokenRenewSelf({ increment: "20m" })).toMatchObject({ auth: { lease_duration: 1200 } });
    expect(await root().tokenRenew({ token: made.client_token })).toMatchObject({ auth: { renewable: true } });
    expect(await root().tokenAccessors()).toMatchObject({ data: { keys: expect.arrayContaining([made.accessor]) } });
    await own.tokenRevokeSelf();
    await expect(own.tokenLookupSelf()).rejects.toMatchObject({ response: { statusCode: 403 } });
    const orphan = await tokenOf(root().tokenCreateOrphan({ policies: ["default"] }));
    expect(await root().tokenLookup({ token: orphan.client_token })).toMatchObject({ data: { orphan: true } });
    await root().tokenRevokeAccessor({ accessor: orphan.accessor });
    await expect(root().tokenLookup({ token: orphan.client_token })).rejects.toThrow("bad token");
  });

  it("tokens of roles", async () => {
    await root().addTokenRole({ role_name: "ci", allowed_policies: "reader", period: 900 });
    expect(await root().getTokenRole({ role_name: "ci" })).toMatchObject({ data: { allowed_policies: ["reader"] } });
    expect(await root().tokenRoles()).toMatchObject({ data: { keys: ["ci"] } });
    expect(await root().tokenCreateRole({ role_name: "ci" })).toMatchObject({ auth: { lease_duration: 900 } });
    await root().removeTokenRole({ role_name: "ci" });
    await expect(root().getTokenRole({ role_name: "ci" })).rejects.toThrow("Status 404");
  });

  it("renews its token by itself before it ends", async () => {
    const made = await tokenOf(root().tokenCreate({ policies: ["default"], ttl: "4s" }));
    const own = client(made.client_token);
    const renewed = new Promise((resolve, reject) => {
      own.once("token:renewed", resolve);
      own.once("token:error:renew", reject);
    });
    await own.startTokenRenewal({ renewFraction: 0.25 });
    expect(await renewed).toMatchObject({ auth: { client_token: made.client_token, renewable: true } });
    own.stopAllRenewals();
  });

  it("refusals carry the server's text and status", async () => {
    const weak = client((await tokenOf(root().tokenCreate({ policies: ["default"] }))).client_token);
    await expect(weak.read("one/app/db")).rejects.toThrow(/permission denied/);
    await expect(weak.read("one/app/db")).rejects.toMatchObject({ response: { statusCode: 403 } });
    await expect(root().read("no/such/mount")).rejects.toMatchObject({ response: { statusCode: 404 } });
  });

  it("userpass: a login sets the client's token", async () => {
    await root().enableAuth({ mount_point: "userpass", type: "userpass" });
    await root().write("auth/userpass/users/ann", { password: "a-password", token_policies: "reader" });
    const ann = client();
    expect(await ann.userpassLogin({ username: "ann", password: "a-password" })).toMatchObject({
      auth: { policies: ["default", "reader"], metadata: { username: "ann" } },
    });
    expect(await ann.tokenLookupSelf()).toMatchObject({ data: { display_name: "userpass-ann" } });
    await ann.write("one/of-ann", { a: "1" });
    await expect(client().userpassLogin({ username: "ann", password: "x" })).rejects.toThrow(
      "invalid username or password",
    );
  });

  it("approle: roles, secret ids, login", async () => {
    const vault = root();
    await vault.enableAuth({ mount_point: "approle", type: "approle" });
    await vault.addApproleRole({ role_name: "web", policies: "reader", token_ttl: 1200, secret_id_num_uses: 5 });
    expect(await vault.getApproleRole({ role_name: "web" })).toMatchObject({ data: { token_ttl: 1200 } });
    expect(await vault.approleRoles()).toMatchObject({ data: { keys: ["web"] } });
    const { role_id } = inData("role_id").parse(await vault.getApproleRoleId({ role_name: "web" })).data;
    const made = await vault.getApproleRoleSecret({ role_name: "web", metadata: '{"host":"a1"}' });
    const { secret_id } = inData("secret_id").parse(made).data;
    expect(await vault.approleSecretLookup({ role_name: "web", secret_id })).toMatchObject({
      data: { metadata: { host: "a1" } },
    });
    const program = client();
    expect(await program.approleLogin({ role_id, secret_id })).toMatchObject({
      auth: { lease_duration: 1200, metadata: { role_name: "web", host: "a1" } },
    });
    expect(await program.read("one/of-ann")).toMatchObject({ data: { a: "1" } });
    await vault.approleSecretDestroy({ role_name: "web", secret_id });
    await expect(client().approleLogin({ role_id, secret_id })).rejects.toThrow(/invalid role or secret ID/);
    await vault.deleteApproleRole({ role_name: "web" });
    expect(await vault.auths()).toMatchObject({ "approle/": { type: "approle" } });
    await vault.disableAuth({ mount_point: "approle" });
  });

  it("wrapping: an answer in a token, taken out once", async () => {
    const vault = root();
    await vault.write("one/wrapped", { a: "1" });
    const { token } = wrappedIn.parse(
      await vault.read("one/wrapped", { headers: { "X-Vault-Wrap-TTL": "60s" } }),
    ).wrap_info;
    expect(await client(token).unwrap()).toMatchObject({ data: { a: "1" } });
    await expect(vault.unwrap({ token })).rejects.toThrow(/wrapping token is not valid or does not exist/);
  });

  it("leases: a one-time password of ssh, revoked", async () => {
    const vault = root();
    await vault.mount({ mount_point: "ssh", type: "ssh" });
    await vault.write("ssh/roles/ops", { key_type: "otp", default_user: "ann", cidr_list: "10.0.0.0/8" });
    const creds = await answerOf(vault.write("ssh/creds/ops", { ip: "10.1.2.3" }));
    const { lease_id } = object({ lease_id: string }).parse(creds);
    await expect(vault.renew({ lease_id })).rejects.toThrow(/not renewable/);
    await vault.revoke({ lease_id });
    await vault.write("ssh/creds/ops", { ip: "10.1.2.3" });
    await vault.revokePrefix({ path_prefix: "ssh" });
    await expect(vault.list("sys/leases/lookup/ssh/creds/ops")).rejects.toThrow("Status 404");
  });

  it("audit devices", async () => {
    const file = join(folder, "audit.log");
    await root().enableAudit({ name: "of-test", type: "file", options: { file_path: file } });
    expect(await root().audits()).toMatchObject({ "of-test/": { type: "file", options: { file_path: file } } });
    await root().read("one/wrapped");
    await root().disableAudit({ name: "of-test" });
    expect(readFileSync(file, "utf8")).toContain('"one/wrapped"');
  });

  it("help of a mount and of a path", async () => {
    expect(await root().help("one")).toMatchObject({ help: expect.stringContaining("## PATHS") });
    expect(await root().help("auth/token/create")).toMatchObject({
      help: expect.stringContaining("num_uses"),
      openapi: { openapi: "3.0.2" },
    });
  });

  it("rotate and remount", async () => {
    await root().rotate();
    await root().remount({ from: "one", to: "moved" });
    await expect.poll(() => root().read("moved/of-ann"), { timeout: 20_000 }).toMatchObject({ data: { a: "1" } });
  });

  it("a root token made by a quorum of shares", async () => {
    const attempt = object({ otp_length: number }).parse(await answerOf(root().read("sys/generate-root/attempt")));
    const otp = "A".repeat(attempt.otp_length);
    const started = await answerOf(root().generateRootInit({ otp }));
    expect(started).toMatchObject({ started: true, required: 2, progress: 0, complete: false });
    const { nonce } = object({ nonce: string }).parse(started);
    expect(await root().generateRootUpdate({ key: keys[0], nonce })).toMatchObject({ progress: 1, complete: false });
    const done = await answerOf(root().generateRootUpdate({ key: keys[1], nonce }));
    expect(done).toMatchObject({ complete: true });
    const { encoded_root_token } = object({ encoded_root_token: string }).parse(done);
    const token = Buffer.from(encoded_root_token, "base64").map((byte, index) => byte ^ otp.charCodeAt(index));
    expect(await client(token.toString()).tokenLookupSelf()).toMatchObject({ data: { policies: ["root"] } });
  });

  it("seals: answers that are not health fail with 503", async () => {
    await root().seal();
    expect(await client().health()).toMatchObject({ sealed: true });
    await expect(root().mounts()).rejects.toMatchObject({ response: { statusCode: 503 } });
  });
});
