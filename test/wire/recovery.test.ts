// Recovery mode by real server processes and the CLI: the example of docs/guides/recovery.md. A rate limit lets nobody
// in, and whoever could delete it neither; in recovery mode it is taken out of the index of quotas.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { type RunningServer, startServer, writeConfig } from "#test/kit/server.ts";
import { cli } from "#test/run-cli.ts";

const folders: string[] = [];
const running: RunningServer[] = [];
async function stopAll(): Promise<void> {
  for (const server of running.splice(0)) await server.stop();
}
afterEach(async () => {
  await stopAll();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

async function start(...argv: string[]): Promise<RunningServer> {
  const server = await startServer(argv);
  running.push(server);
  return server;
}

async function call(server: RunningServer, method: string, path: string, token = "", body?: JsonObject) {
  const response = await fetch(`${server.address}/v1/${path}`, {
    method,
    headers: { "X-Vault-Token": token },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const parsed = text === "" ? {} : parseJson(text);
  return { status: response.status, body: isJsonObject(parsed) ? parsed : {} };
}

/** What the CLI prints as JSON. */
async function run(server: RunningServer, token: string, ...argv: string[]): Promise<JsonObject> {
  const env = token === "" ? {} : { VAULT_TOKEN: token };
  const { code, stdout, stderr } = await cli({ address: server.address, env }, ...argv, "-format=json");
  if (code !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  const parsed = stdout.trim() === "" ? {} : parseJson(stdout);
  if (!isJsonObject(parsed)) throw new Error(`${argv.join(" ")} printed ${stdout}`);
  return parsed;
}

it("repairs what keeps everybody out", async () => {
  const folder = await mkdtemp(join(tmpdir(), "coffer-recovery-"));
  folders.push(folder);
  const config = await writeConfig(folder, {});
  const first = await start(`-config=${config}`);
  const made = (await call(first, "POST", "sys/init", "", { secret_shares: 3, secret_threshold: 2 })).body;
  const keys = Array.isArray(made["keys_base64"]) ? made["keys_base64"].map(String) : [];
  for (const key of keys.slice(0, 2)) await call(first, "POST", "sys/unseal", "", { key });
  const root = String(made["root_token"]);
  await call(first, "POST", "sys/mounts/secret", root, { type: "kv" });
  await call(first, "POST", "secret/a", root, { password: "kept" });
  await call(first, "POST", "sys/quotas/rate-limit/nobody", root, { rate: 0.0001 });
  await call(first, "GET", "secret/a", root); // the one request in hours that it lets through
  for (const path of ["secret/a", "sys/quotas/rate-limit/nobody"])
    expect([path, (await call(first, "GET", path, root)).status]).toEqual([path, 429]);
  expect((await call(first, "DELETE", "sys/quotas/rate-limit/nobody", root)).status).toBe(429);
  await stopAll();

  const repair = await start(`-config=${config}`, "-recovery");
  expect((await call(repair, "GET", "secret/a", root)).status).toBe(404);
  const begun = await run(repair, "", "operator", "generate-root", "-recovery-token", "-init");
  let done: JsonObject = {};
  for (const key of keys.slice(1)) done = await run(repair, "", "operator", "generate-root", "-recovery-token", key);
  expect(done["complete"]).toBe(true);
  const [encoded, pad] = [String(done["encoded_token"]), String(begun["otp"])];
  const decoded = await run(repair, "", "operator", "generate-root", `-decode=${encoded}`, `-otp=${pad}`);
  const token = String(decoded["token"]);
  expect(token).toMatch(/^r\./);
  expect((await call(repair, "GET", "sys/raw/core/quota-index", root)).status).toBe(403);
  const read = await run(repair, token, "read", "sys/raw/core/quota-index");
  const { value } = isJsonObject(read["data"]) ? read["data"] : {};
  const index = parseJson(String(value));
  if (!isJsonObject(index)) throw new Error(`the index of quotas is ${String(value)}`);
  expect(index["rules"]).toEqual([expect.objectContaining({ name: "nobody" })]);
  const repaired = JSON.stringify({ ...index, rules: [] });
  const { code } = await cli(
    { address: repair.address, env: { VAULT_TOKEN: token } },
    ...["write", "sys/raw/core/quota-index", `value=${repaired}`],
  );
  expect(code).toBe(0);
  expect(repair.output()).toContain("raw storage was used");
  expect(repair.output()).not.toContain(token);
  await stopAll();

  const last = await start(`-config=${config}`);
  for (const key of keys.slice(0, 2)) await call(last, "POST", "sys/unseal", "", { key });
  expect((await call(last, "GET", "secret/a", root)).body["data"]).toEqual({ password: "kept" });
  expect((await call(last, "GET", "secret/a", token)).status).toBe(403);
  expect((await call(last, "GET", "sys/raw/core/quota-index", root)).status).toBe(404);
});

it("is not for a development server", async () => {
  await expect(start("-dev", "-recovery")).rejects.toThrow("exclude each other");
});
