// Seal wrap in a real server process over the strict KMS: an outage, kills, and a rewrap that goes on after one.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { type AwsResponder, startAwsResponder } from "#test/kit/aws/responder.ts";
import { type RunningServer, startServer, writeConfig } from "#test/kit/server.ts";

const WAIT_MILLIS_MAX = 60_000;
const ENTRIES = 300;

let aws: AwsResponder;
let folder: string;
let server: RunningServer | undefined;
let token = "";
beforeAll(async () => {
  aws = await startAwsResponder();
  aws.createKey({ alias: "alias/root" });
  folder = await mkdtemp(join(tmpdir(), "coffer-seal-wrap-"));
});
afterEach(() => aws.faults.clear());
afterAll(async () => {
  await server?.stop();
  await aws.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(nodeFlags: readonly string[] = []): Promise<void> {
  const { accessKeyId: access_key, secretAccessKey: secret_key } = aws.credentials;
  const where = { region: aws.region, endpoint: aws.endpoint, kms_key_id: "alias/root" };
  const config = await writeConfig(folder, { seal: { awskms: { name: "kms-eu", ...where, access_key, secret_key } } });
  server = await startServer([`-config=${config}`], nodeFlags);
}

async function call(method: string, path: string, body?: JsonObject): Promise<JsonObject & { status: number }> {
  const response = await fetch(`${server?.address}/v1/${path}`, {
    method,
    headers: { "x-vault-token": token },
    ...(body && { body: JSON.stringify(body) }),
  });
  const answer = parseJson((await response.text()) || "{}");
  return { ...(isJsonObject(answer) ? answer : {}), status: response.status };
}

const dataOf = (answer: JsonObject) => (isJsonObject(answer["data"]) ? answer["data"] : {});
const rewrap = async () => dataOf(await call("GET", "sys/sealwrap/rewrap"));

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + WAIT_MILLIS_MAX; !(await isSo()); await systemClock.sleep(20))
    if (Date.now() > end) throw new Error(`not within a minute: ${what}\n${server?.output()}`);
}

const isUnsealed = async () => (await call("GET", "sys/seal-status"))["sealed"] === false;
const isAtRest = async () => {
  const { is_running, wrapping } = await rewrap();
  return is_running === false && wrapping === true;
};

it("is read on while KMS is away, loses nothing to a kill meanwhile, and recovers by itself", {
  timeout: 180_000,
}, async () => {
  await start();
  token = String((await call("PUT", "sys/init", { recovery_shares: 0, recovery_threshold: 0 }))["root_token"]);
  await until("the server is unsealed", isUnsealed);
  await until("the server's own keys are wrapped", isAtRest);
  expect((await call("POST", "sys/mounts/kv", { type: "kv", seal_wrap: true })).status).toBe(204);
  expect((await call("POST", "kv/a", { text: "one" })).status).toBe(204);
  aws.faults.goDown();
  expect(dataOf(await call("GET", "kv/a"))).toEqual({ text: "one" });
  const refused = await call("POST", "sys/sealwrap/rotate", {});
  expect(refused.status).toBe(503);
  await server?.kill9();
  await start();
  expect(await isUnsealed()).toBe(false);
  aws.faults.clear();
  await until("it is unsealed when KMS is back", isUnsealed);
  expect(dataOf(await call("GET", "kv/a"))).toEqual({ text: "one" });
});

it("goes on with a rewrap after a kill, on and off", { timeout: 180_000 }, async () => {
  expect((await call("POST", "sys/mounts/many", { type: "kv" })).status).toBe(204);
  for (let i = 0; i < ENTRIES; i += 50)
    await Promise.all(Array.from({ length: 50 }, (_, j) => call("POST", `many/${i + j}`, { text: `${i + j}` })));
  for (const seal_wrap of [true, false]) {
    expect((await call("POST", "sys/mounts/many/tune", { seal_wrap })).status).toBe(204);
    await server?.kill9();
    await start();
    await until("it is unsealed again", isUnsealed);
    await until("the rewrap has ended", isAtRest);
    await call("POST", "sys/sealwrap/rewrap", {});
    await until("all is counted", isAtRest);
    const { coverage, entries } = await rewrap();
    expect(entries).toMatchObject({ failed: 0 });
    expect(coverage).toMatchObject({ share: 1 });
    const critical = Number(isJsonObject(coverage) && coverage["critical"]);
    expect(critical > ENTRIES).toBe(seal_wrap);
    for (const i of [0, 150, ENTRIES - 1]) expect(dataOf(await call("GET", `many/${i}`))).toEqual({ text: `${i}` });
  }
});

it("answers 503 for values whose key is not at hand any more while KMS is away, and for nothing else", {
  timeout: 180_000,
}, async () => {
  await server?.stop();
  // The server's clock goes ahead by six minutes as soon as a file is there: a key is at hand for five.
  const ahead = join(folder, "ahead");
  const preload = join(folder, "clock.mjs");
  await writeFile(
    preload,
    `import { existsSync } from "node:fs";
const now = Date.now;
Date.now = () => now() + (existsSync(${JSON.stringify(ahead)}) ? 360_000 : 0);
`,
  );
  await start([`--import=${preload}`]);
  await until("the server is unsealed", isUnsealed);
  await call("POST", "sys/mounts/late", { type: "kv", seal_wrap: true });
  await call("POST", "sys/mounts/plain", { type: "kv" });
  for (const mount of ["late", "plain"]) await call("POST", `${mount}/a`, { text: mount });
  aws.faults.goDown();
  expect(dataOf(await call("GET", "late/a"))).toEqual({ text: "late" });
  await writeFile(ahead, "");
  for (const refused of [await call("GET", "late/a"), await call("POST", "late/b", { text: "x" })])
    expect(refused).toMatchObject({
      status: 503,
      errors: [expect.stringMatching(/seal kms-eu.*cannot be reached.*check/)],
    });
  expect(dataOf(await call("GET", "plain/a"))).toEqual({ text: "plain" });
  expect((await call("POST", "plain/b", { text: "x" })).status).toBe(204);
  expect(await isUnsealed()).toBe(true);
  aws.faults.clear();
  await until("it is read again", async () => (await call("GET", "late/a")).status === 200);
});
