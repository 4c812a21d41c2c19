// What node A takes away is taken away on node B: once A has answered, no request that begins at B succeeds by it, whether
// it is a token, a policy, a mount, an entity or what a boundary allows; also when B was stopped in mid-course meanwhile.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock, within } from "#common/clock.ts";
import type { JsonObject } from "#common/json.ts";
import { at } from "#test/kit/client.ts";
import type { Method } from "#test/kit/endpoint.ts";
import { type Node, type NodeGroup, startNodes } from "#test/kit/node-group.ts";
import { sharedKinds, startSharedStorage } from "#test/kit/shared-storages.ts";

const ROUNDS = 6;
const HAMMERS = 6;
/** Requests that begin after A's answer, in each round. */
const LATE = 24;
const ALL = '{ capabilities = ["create", "read", "update", "delete", "list"] }';
const KEEPER = `path "kv/*" ${ALL} path "passing/*" ${ALL}`;
/** A store in a file waits for a process that was stopped while it wrote; then there is no answer to go by. */
const REVOKE_MILLIS_MAX = 1_500;

const starting = await Promise.all(
  sharedKinds.map(async (kind) => ({ type: kind.type, storage: await startSharedStorage(kind) })),
);

describe.each(starting)("two nodes on one $type", ({ storage }) => {
  describe.skipIf(storage === undefined)("agree at once", () => {
    let group: NodeGroup;
    let a: Node;
    let b: Node;

    beforeAll(async () => {
      if (storage === undefined) throw new Error("the storage is not installed");
      group = await startNodes([storage.stanza, storage.stanza]);
      [a, b] = [nodeAt(0), nodeAt(1)];
      await must(a, "POST", "sys/policies/acl/keeper", { policy: KEEPER });
      await must(a, "POST", "sys/policies/acl/fence", { policy: KEEPER });
      const config = { token_boundary_policies: ["fence"] };
      await must(a, "POST", "sys/auth/people", { type: "userpass", config });
      await must(a, "POST", "auth/people/users/ada", { password: "first", policies: "keeper" });
      await must(a, "POST", "kv/data/guarded", { data: { a: "1" } });
    });
    afterAll(async () => {
      await group?.stop();
      await storage?.[Symbol.asyncDispose]();
    });

    const nodeAt = (index: number) => group.nodes[index] ?? unreachable();
    const newToken = async (more: JsonObject = {}) =>
      textAt(await must(a, "POST", "auth/token/create", { policies: ["keeper"], ...more }), "client_token");
    const login = async () => (await must(a, "POST", "auth/people/login/ada", { password: "first" }))["auth"];

    it("that a token is revoked", async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const token = await newToken();
        await hammer(b, token, 403, () => must(a, "POST", "auth/token/revoke", { token }));
      }
    });

    it("that a token is gone with its parent", async () => {
      const parent = await newToken({ policies: ["keeper", "root"] });
      const made = await must(a, "POST", "auth/token/create", { policies: ["keeper"] }, parent);
      await hammer(b, textAt(made, "client_token"), 403, () => must(a, "POST", "auth/token/revoke", { token: parent }));
    });

    it("that a policy is removed", async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const token = await newToken();
        await hammer(b, token, 403, () => must(a, "DELETE", "sys/policies/acl/keeper"));
        await must(b, "POST", "sys/policies/acl/keeper", { policy: KEEPER });
      }
    });

    it("that a boundary is lower", async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const token = String(at(await login(), "client_token"));
        const narrow = 'path "kv/data/elsewhere" { capabilities = ["read"] }';
        await hammer(b, token, 403, () => must(a, "POST", "sys/policies/acl/fence", { policy: narrow }));
        await must(b, "POST", "sys/policies/acl/fence", { policy: KEEPER });
      }
    });

    it("that an entity is disabled", async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const auth = await login();
        const entity = `identity/entity/id/${String(at(auth, "entity_id"))}`;
        await hammer(b, String(at(auth, "client_token")), 403, () => must(a, "POST", entity, { disabled: true }));
        await must(b, "POST", entity, { disabled: false });
      }
    });

    it("that a mount is gone", async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await must(b, "POST", "sys/mounts/passing", { type: "kv" });
        await must(b, "POST", "passing/guarded", { a: "1" });
        const requests: readonly Wanted[] = [
          ["GET", "passing/guarded"],
          ["POST", "passing/other", { a: "1" }],
        ];
        await hammer(b, group.root, 404, () => must(a, "DELETE", "sys/mounts/passing"), requests);
      }
    });

    it("that a user's password is another", async () => {
      const requests: readonly Wanted[] = [["POST", "auth/people/login/ada", { password: "first" }]];
      const user = "auth/people/users/ada/password";
      // 403 when the user is locked for having tried so often.
      await hammer(b, "", [400, 403], () => must(a, "POST", user, { password: "second" }), requests);
    });

    it("how often a token with a number of uses was used", async () => {
      const uses = 20;
      const token = await newToken({ num_uses: uses });
      let succeeded = 0;
      const users = [a, b, a, b, a, b].map(async (node) => {
        for (let status = 200; status === 200 || status === 503; ) {
          status = await statusOf(node, token, ["GET", "kv/data/guarded"]);
          if (status === 200) succeeded++;
        }
      });
      await Promise.all(users);
      expect(succeeded).toBe(uses);
    });

    it("what a node that was stopped in mid-course may no longer do", async () => {
      let stoppedInTime = 0;
      for (let round = 0; round < ROUNDS; round++)
        if (await stopWhileWriting(a, b, await newToken(), round)) stoppedInTime++;
      expect(stoppedInTime).toBeGreaterThan(0);
    });
  });
});

type Wanted = readonly [Method, string, JsonObject?];
const GUARDED: readonly Wanted[] = [
  ["GET", "kv/data/guarded"],
  ["POST", "kv/data/written", { data: { a: "1" } }],
];

/** Sends requests to `node` while `change` runs: those that begin after its answer have the status, all of them. */
async function hammer(
  node: Node,
  token: string,
  after: number | readonly number[],
  change: () => Promise<unknown>,
  requests: readonly Wanted[] = GUARDED,
): Promise<void> {
  let changed = false;
  const early: number[] = [];
  const late: number[] = [];
  const hammers = Array.from({ length: HAMMERS }, async (_, i) => {
    while (late.length < LATE) {
      const isLate = changed;
      const status = await statusOf(node, token, requests[i % requests.length] ?? ["GET", ""]);
      (isLate ? late : early).push(status);
    }
  });
  await expect.poll(() => early.length, { interval: 2, timeout: 20_000 }).toBeGreaterThan(HAMMERS);
  await change();
  changed = true;
  await Promise.all(hammers);
  expect([200, 204]).toContain(early[0]);
  const allowed = [after].flat();
  expect(late.filter((status) => !allowed.includes(status))).toEqual([]);
}

/** False when A could not answer before B went on, so that nothing is shown. */
async function stopWhileWriting(a: Node, b: Node, token: string, round: number): Promise<boolean> {
  const folder = `stopped-${round}`;
  const writes: Promise<number>[] = [];
  const send = (n: number) => writes.push(statusOf(b, token, ["POST", `kv/data/${folder}/${n}`, { data: { n } }]));
  for (let n = 0; n < 60; n++) send(n);
  await systemClock.sleep(10 + round * 8);
  const goOn = b.pause();
  for (let n = 60; n < 80; n++) send(n);
  const revoked = must(a, "POST", "auth/token/revoke", { token });
  const before = await within(
    systemClock,
    REVOKE_MILLIS_MAX,
    revoked.then(() => namesBelow(a, folder)),
  ).finally(goOn);
  await revoked;
  const statuses = await Promise.all(writes);
  if (before === "late") return false;
  expect(await namesBelow(a, folder)).toEqual(before);
  for (const [n, status] of statuses.entries()) if (status === 200) expect(before).toContain(String(n));
  expect(statuses).toContain(403);
  return true;
}

async function namesBelow(node: Node, folder: string): Promise<readonly string[]> {
  const answer = await node.send("GET", `kv/metadata/${folder}?list=true`);
  if (typeof answer === "string") throw new Error(`the list is ${answer}`);
  const keys = at(answer.body, "data", "keys");
  return Array.isArray(keys) ? keys.map(String) : [];
}

async function statusOf(node: Node, token: string, [method, path, body]: Wanted): Promise<number> {
  const answer = await node.send(method, path, body, token);
  if (typeof answer === "string") throw new Error(`${method} ${path} is ${answer}\n${node.output()}`);
  return answer.status;
}

async function must(node: Node, method: Method, path: string, body?: JsonObject, token?: string): Promise<JsonObject> {
  const answer = await node.send(method, path, body, token);
  if (typeof answer === "string" || answer.status >= 300)
    throw new Error(`${method} ${path}: ${JSON.stringify(answer)}\n${node.output()}`);
  return answer.body;
}

function unreachable(): never {
  throw new Error("there are two nodes");
}

const textAt = (body: JsonObject, name: string) => String(at(body, "auth", name));
