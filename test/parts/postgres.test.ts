// Two servers on one PostgreSQL, both active: what one has written, revoked or removed holds on the other for the next
// request; a server that was stopped in mid-course does nothing that it may no longer do; the database may restart.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "#common/json.ts";
import { type PostgresServer, startPostgres } from "#server/storage/postgres/fixture.ts";
import { type OpenServer, type RunningServer, startServer, startShamirServer, writeConfig } from "#test/kit/server.ts";

const ROUNDS = 15;
const POLICY = 'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }';

const database = await startPostgres();

it("PostgreSQL is installed in CI", () => {
  if (process.env["CI"] === "true") expect(database).toBeDefined();
});

describe.skipIf(database === undefined)("two servers on one PostgreSQL", () => {
  let postgres: PostgresServer;
  let folder: string;
  let one: OpenServer;
  let two: RunningServer;
  let root: string;

  beforeAll(async () => {
    if (database === undefined) throw new Error("PostgreSQL is not installed");
    postgres = database;
    folder = await mkdtemp(join(tmpdir(), "coffer-two-"));
    const extra = { storage: { postgres: { connection_url: postgres.url, max_parallel: "8" } } };
    const first = await startShamirServer(extra);
    one = first;
    root = first.rootToken;
    two = await startServer([`-config=${await writeConfig(folder, extra)}`]);
    await must(two, "PUT", "sys/unseal", "", { key: first.unsealKey });
    await must(one, "POST", "sys/mounts/secret", root, { type: "kv" });
    await must(one, "PUT", "sys/policies/acl/keeper", root, { policy: POLICY });
  });

  afterAll(async () => {
    await two?.stop();
    await one?.stop();
    await rm(folder, { recursive: true, force: true });
    await postgres?.remove();
  });

  const newToken = async (): Promise<string> => {
    const { body } = await must(one, "POST", "auth/token/create", root, { policies: ["keeper"] });
    const auth = body["auth"];
    return isJsonObject(auth) ? String(auth["client_token"]) : "";
  };

  it("read at once what the other one wrote, whichever it was", async () => {
    for (let round = 0; round < 30; round++) {
      const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one];
      await must(writer, "PUT", `secret/seen/${round % 3}`, root, { round: String(round) });
      const { body } = await must(reader, "GET", `secret/seen/${round % 3}`, root);
      expect(body["data"]).toEqual({ round: String(round) });
    }
  });

  it("refuse a token from the request on after the other one revoked it", async () => {
    await must(one, "PUT", "secret/guarded", root, { a: "1" });
    for (let round = 0; round < ROUNDS; round++) {
      const token = await newToken();
      await expectEnd(
        () => call(two, "GET", "secret/guarded", token),
        200,
        403,
        () => must(one, "POST", "auth/token/revoke", root, { token }),
      );
    }
  });

  it("go by the policy from the request on after the other one changed it", async () => {
    const token = await newToken();
    for (let round = 0; round < ROUNDS; round++) {
      await expectEnd(
        () => call(two, "GET", "secret/guarded", token),
        200,
        403,
        () =>
          must(one, "PUT", "sys/policies/acl/keeper", root, { policy: 'path "other/*" { capabilities = ["read"] }' }),
      );
      await expectEnd(
        () => call(two, "GET", "secret/guarded", token),
        403,
        200,
        () => must(one, "PUT", "sys/policies/acl/keeper", root, { policy: POLICY }),
      );
    }
  });

  it("know a mount no more from the request on after the other one removed it", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await must(one, "POST", "sys/mounts/passing", root, { type: "kv" });
      await must(two, "PUT", "passing/a", root, { a: "1" });
      await expectEnd(
        () => call(two, "GET", "passing/a", root),
        200,
        404,
        () => must(one, "DELETE", "sys/mounts/passing", root),
      );
    }
  });

  it("let a stopped server do nothing afterwards that its token may no longer do", async () => {
    for (let round = 0; round < 5; round++) {
      const token = await newToken();
      const writes: Promise<{ path: string; status: number }>[] = [];
      const send = (n: number) => {
        const path = `secret/stopped/${round}/${n}`;
        writes.push(call(two, "PUT", path, token, { n: String(n) }).then(({ status }) => ({ path, status })));
      };
      for (let n = 0; n < 60; n++) send(n);
      await systemClock.sleep(10 + round * 8);
      process.kill(two.pid, "SIGSTOP");
      for (let n = 60; n < 80; n++) send(n);
      let before: readonly JsonValue[];
      try {
        await must(one, "POST", "auth/token/revoke", root, { token });
        before = await namesBelow(one, `secret/stopped/${round}`, root);
      } finally {
        process.kill(two.pid, "SIGCONT");
      }
      const results = await Promise.all(writes);
      expect(await namesBelow(one, `secret/stopped/${round}`, root)).toEqual(before);
      for (const { path, status } of results)
        if (status < 300) expect(before).toContain(path.slice(path.lastIndexOf("/") + 1));
      expect(results.some(({ status }) => status === 403)).toBe(true);
    }
  });

  it("answer 503 while the database restarts, recover, and lose nothing that was acknowledged", async () => {
    const acknowledged = new Map<string, string>();
    const statuses = new Set<number>();
    let [stopped, n] = [false, 0];
    const writers = [one, two, one, two].map(async (server) => {
      while (!stopped) {
        const path = `secret/restart/${n++}`;
        const { status } = await call(server, "PUT", path, root, { path });
        statuses.add(status);
        if (status < 300) acknowledged.set(path, path);
        else await systemClock.sleep(20);
      }
    });
    for (const end of [() => postgres.stop(), () => postgres.kill9()]) {
      await systemClock.sleep(500);
      await end();
      const before = acknowledged.size;
      await systemClock.sleep(500);
      await postgres.start();
      await expect.poll(() => acknowledged.size, { timeout: 30_000 }).toBeGreaterThan(before + 10);
    }
    stopped = true;
    await Promise.all(writers);
    expect([...statuses].sort()).toEqual([204, 503]);
    for (const [path, value] of acknowledged) {
      const { body } = await must(one, "GET", path, root);
      expect(body["data"]).toEqual({ path: value });
    }
    const health = await Promise.all([one, two].map((server) => call(server, "GET", "sys/health", "")));
    expect(health.map(({ status }) => status)).toEqual([200, 200]);
  });
});

interface Answer {
  readonly status: number;
  readonly body: JsonObject;
}

async function call(
  server: RunningServer,
  method: string,
  path: string,
  token: string,
  body?: JsonObject,
): Promise<Answer> {
  const response = await fetch(`${server.address}/v1/${path}`, {
    method,
    headers: { "x-vault-token": token },
    ...(body && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const parsed: JsonValue = text === "" ? {} : parseJson(text);
  return { status: response.status, body: isJsonObject(parsed) ? parsed : {} };
}

async function must(
  server: RunningServer,
  method: string,
  path: string,
  token: string,
  body?: JsonObject,
): Promise<Answer> {
  const answer = await call(server, method, path, token, body);
  if (answer.status >= 300)
    throw new Error(`${method} ${path} answered ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer;
}

/** Hammers with `request` while `change` runs: each that begins after the change has been answered has the new status. */
async function expectEnd(
  request: () => Promise<Answer>,
  before: number,
  after: number,
  change: () => Promise<unknown>,
): Promise<void> {
  let changed = false;
  const late: number[] = [];
  const early: number[] = [];
  const hammers = Array.from({ length: 6 }, async () => {
    while (late.length < 12) {
      const isLate = changed;
      const { status } = await request();
      (isLate ? late : early).push(status);
    }
  });
  await expect.poll(() => early.length, { interval: 2 }).toBeGreaterThan(6);
  await change();
  changed = true;
  await Promise.all(hammers);
  expect(early[0]).toBe(before);
  expect(new Set(late)).toEqual(new Set([after]));
}

async function namesBelow(server: RunningServer, path: string, token: string): Promise<readonly JsonValue[]> {
  const { status, body } = await call(server, "GET", `${path}?list=true`, token);
  if (status === 404) return [];
  const data = body["data"];
  const keys = isJsonObject(data) ? data["keys"] : undefined;
  return Array.isArray(keys) ? keys : [];
}
