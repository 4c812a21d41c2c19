// Two servers on one PostgreSQL, both active: what one has written, revoked or removed holds on the other for the next
// request; a server that was stopped in mid-course does nothing that it may no longer do; the database may restart.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonValue } from "#common/json.ts";
import { type PostgresServer, startPostgres } from "#server/storage/postgres/fixture.ts";
import type { Answer } from "#test/kit/client.ts";
import type { RunningServer } from "#test/kit/server.ts";
import { call, KEEPER_POLICY, must, startTwoServers, startWriting, type TwoServers } from "#test/kit/two-servers.ts";

const ROUNDS = 15;

const database = await startPostgres();

it("PostgreSQL is installed in CI", () => {
  if (process.env["CI"] === "true") expect(database).toBeDefined();
});

afterAll(() => database?.remove());

describe.skipIf(database === undefined).each([
  ["advisory locks", { table: "by_lock" }],
  ["a row", { table: "by_row", locking: "row" }],
])("two servers on one PostgreSQL, kept apart by %s", (_name, stanza) => {
  let postgres: PostgresServer;
  let both: TwoServers;
  let one: RunningServer;
  let two: RunningServer;
  let root: string;

  beforeAll(async () => {
    if (database === undefined) throw new Error("PostgreSQL is not installed");
    postgres = database;
    both = await startTwoServers({ postgres: { connection_url: postgres.url, max_parallel: "8", ...stanza } });
    ({ one, two, root } = both);
  });

  afterAll(async () => {
    await both?.stop();
  });

  it("read at once what the other one wrote, whichever it was", async () => {
    for (let round = 0; round < 30; round++) {
      const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one];
      await must(writer, "PUT", `secret/seen/${round % 3}`, root, { round: String(round) });
      const body = await must(reader, "GET", `secret/seen/${round % 3}`, root);
      expect(body["data"]).toEqual({ round: String(round) });
    }
  });

  it("refuse a token from the request on after the other one revoked it", async () => {
    await must(one, "PUT", "secret/guarded", root, { a: "1" });
    for (let round = 0; round < ROUNDS; round++) {
      const token = await both.newToken();
      await expectEnd(
        () => call(two, "GET", "secret/guarded", token),
        200,
        403,
        () => must(one, "POST", "auth/token/revoke", root, { token }),
      );
    }
  });

  it("go by the policy from the request on after the other one changed it", async () => {
    const token = await both.newToken();
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
        () => must(one, "PUT", "sys/policies/acl/keeper", root, { policy: KEEPER_POLICY }),
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
      const token = await both.newToken();
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
    const writing = startWriting(both);
    const { acknowledged, statuses } = writing;
    for (const end of [() => postgres.stop(), () => postgres.kill9()]) {
      await systemClock.sleep(500);
      await end();
      const before = acknowledged.size;
      await systemClock.sleep(500);
      await postgres.start();
      await expect.poll(() => acknowledged.size, { timeout: 30_000 }).toBeGreaterThan(before + 10);
    }
    await writing.stop();
    expect([...statuses].sort()).toEqual([204, 503]);
    for (const path of acknowledged) {
      const body = await must(one, "GET", path, root);
      expect(body["data"]).toEqual({ path });
    }
    const health = await Promise.all([one, two].map((server) => call(server, "GET", "sys/health", "")));
    expect(health.map(({ status }) => status)).toEqual([200, 200]);
  });
});

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
