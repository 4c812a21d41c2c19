// Two servers on one etcd, both active: what one has written, revoked or removed holds on the other for the next
// request; a member may die and come back; a full database is said and not suffered.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#common/clock.ts";
import { type EtcdServer, startEtcd } from "#server/storage/etcd/fixture.ts";
import type { Answer } from "#test/kit/client.ts";
import type { RunningServer } from "#test/kit/server.ts";
import { call, KEEPER_POLICY, must, startTwoServers, startWriting, type TwoServers } from "#test/kit/two-servers.ts";

const ROUNDS = 10;
const QUOTA_BYTES = 48 * 1024 * 1024;

const cluster = await startEtcd(["--quota-backend-bytes", String(QUOTA_BYTES)]);

it("etcd is installed in CI", () => {
  if (process.env["CI"] === "true") expect(cluster).toBeDefined();
});

describe.skipIf(cluster === undefined)("two servers on one etcd", () => {
  let etcd: EtcdServer;
  let both: TwoServers;
  let one: RunningServer;
  let two: RunningServer;
  let root: string;

  beforeAll(async () => {
    if (cluster === undefined) throw new Error("etcd is not installed");
    etcd = cluster;
    both = await startTwoServers({ etcd: { address: etcd.addresses.join(","), path: "coffer", ha_enabled: "true" } });
    ({ one, two, root } = both);
  });

  afterAll(async () => {
    await both?.stop();
    await etcd?.remove();
  });

  it("read at once what the other one wrote, whichever it was", async () => {
    for (let round = 0; round < 30; round++) {
      const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one];
      await must(writer, "PUT", `secret/seen/${round % 3}`, root, { round: String(round) });
      const body = await must(reader, "GET", `secret/seen/${round % 3}`, root);
      expect(body["data"]).toEqual({ round: String(round) });
    }
    const body = await must(two, "GET", "secret/seen?list=true", root);
    expect(body["data"]).toEqual({ keys: ["0", "1", "2"] });
  });

  it("refuse a token from the request on after the other one revoked it, while it is in use", async () => {
    await must(one, "PUT", "secret/guarded", root, { a: "1" });
    for (let round = 0; round < ROUNDS; round++) {
      const token = await both.newToken();
      let revoked = false;
      const statuses: number[] = [];
      const hammering = [1, 2, 3].map(async () => {
        for (;;) {
          const isAfter = revoked;
          const { status } = await call(two, "GET", "secret/guarded", token);
          if (isAfter) statuses.push(status);
          if (isAfter || status !== 200) return;
        }
      });
      await must(one, "POST", "auth/token/revoke", root, { token });
      revoked = true;
      statuses.push((await call(two, "GET", "secret/guarded", token)).status);
      await Promise.all(hammering);
      expect(new Set(statuses)).toEqual(new Set([403]));
    }
  });

  it("go by a policy and know a mount no more from the request on after the other one changed it", async () => {
    const token = await both.newToken();
    for (let round = 0; round < ROUNDS; round++) {
      await must(one, "PUT", "sys/policies/acl/keeper", root, { policy: 'path "other/*" { capabilities = ["read"] }' });
      expect((await call(two, "GET", "secret/guarded", token)).status).toBe(403);
      await must(two, "PUT", "sys/policies/acl/keeper", root, { policy: KEEPER_POLICY });
      expect((await call(one, "GET", "secret/guarded", token)).status).toBe(200);
      await must(one, "POST", "sys/mounts/passing", root, { type: "kv" });
      await must(two, "PUT", "passing/a", root, { a: "1" });
      await must(one, "DELETE", "sys/mounts/passing", root);
      expect((await call(two, "GET", "passing/a", root)).status).toBe(404);
    }
  });

  it("answer 503 while the member is dead, recover, and lose nothing that was acknowledged", async () => {
    const writing = startWriting(both);
    const { acknowledged, statuses } = writing;
    for (let round = 0; round < 2; round++) {
      await systemClock.sleep(500);
      await etcd.kill9();
      await systemClock.sleep(500);
      expect((await call(one, "GET", "secret/guarded", root)).status).toBe(503);
      const before = acknowledged.size;
      await etcd.start();
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

  it("refuse a secret that etcd does not take, and say which limit it is", async () => {
    const value = randomBytes(1_000_000).toString("hex");
    const { status, body } = await call(one, "PUT", "secret/large", root, { value });
    expect(status).toBe(413);
    expect(JSON.stringify(body)).toContain("--max-request-bytes");
    expect((await call(two, "GET", "secret/large", root)).status).toBe(404);
  });

  // Last: the database stays full.
  it("answer 503 to writes when etcd's database is full, and go on reading", async () => {
    const value = randomBytes(400_000).toString("hex");
    let answer: Answer = { status: 204, body: {} };
    for (let i = 0; i < 200 && answer.status < 300; i++)
      answer = await call(one, "PUT", "secret/filler", root, { value });
    expect(answer.status).toBe(503);
    expect(JSON.stringify(answer.body)).toContain("--quota-backend-bytes");
    expect((await call(two, "PUT", "secret/more", root, { a: "1" })).status).toBe(503);
    expect((await call(two, "GET", "secret/guarded", root)).status).toBe(200);
  });
});
