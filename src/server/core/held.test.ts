import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isJsonObject, parseJson } from "#common/json.ts";
import { type Core, coreParts, objectOf, type Reply, requestOf, sendTo, startCore, textOf } from "#test/kit/core.ts";
import { assemble } from "../assemble.ts";

const SECRET = "secret/vault";
const APPROVER = 'path "sys/control-group/*" { capabilities = ["update"] }';
const controlled = (approvals: number, more = "") => `
  path "${SECRET}" {
    capabilities = ["read", "create", "update"]
    control_group { ${more} factor "managers" { identity { group_names = ["Managers"] approvals = ${approvals} } } }
  }
  path "sys/control-group/*" { capabilities = ["update"] }`;

interface Office {
  readonly core: Core;
  /** Tokens by name: ann asks; bob, cid and dan may approve; eve is somebody else. */
  readonly tokens: Readonly<Record<string, string>>;
}

async function startOffice(approvals = 1, more = ""): Promise<Office> {
  const core = await startCore();
  await core.root("update", "sys/mounts/secret", { type: "kv" });
  await core.root("update", SECRET, { password: "swordfish" });
  await core.policy("asker", controlled(approvals, more));
  await core.policy("approver", APPROVER);
  const tokens: Record<string, string> = {};
  const entities: Record<string, string> = {};
  for (const name of ["ann", "bob", "cid", "dan", "eve"]) {
    const person = await logIn(core, name, [name === "ann" ? "asker" : "approver"]);
    tokens[name] = person.token;
    entities[name] = person.entityId;
  }
  const members = [entities["bob"] ?? "", entities["cid"] ?? "", entities["dan"] ?? ""];
  await core.root("update", "identity/group", { name: "managers", member_entity_ids: members });
  return { core, tokens };
}

/** As a login with an auth method would do it. */
async function logIn(
  { services }: Core,
  name: string,
  policies: string[],
  kind: { readonly type?: "service" | "batch"; readonly numUses?: number; readonly mount?: string } = {},
): Promise<{ token: string; entityId: string }> {
  const tx = services.barrier.begin();
  const { mount = "people", ...token } = kind;
  const where = { mountAccessor: `auth_${mount}`, mountPath: "auth/people/", mountType: "people" };
  const entityId = await services.identity.entityForLogin(tx, { ...where, name, metadata: {} });
  const issued = await services.tokens.create(tx, {
    ...{
      type: "service",
      parent: "",
      policies,
      boundaries: [],
      path: "auth/people/login",
      displayName: name,
      numUses: 0,
      ...token,
    },
    ...{ ttlSeconds: 36_000, explicitMaxTtlSeconds: 0, maxTtlSeconds: 36_000, periodSeconds: 0, renewable: true },
    ...{ role: "", entityId, boundCidrs: [], addressLimits: [] },
  });
  await tx.commit();
  return { token: issued.token, entityId };
}

/** One with another auth method, whose entity can take in others. */
const logInAt = (core: Core, name: string) => logIn(core, name, ["approver"], { mount: "others" });

const say = ({ core, tokens }: Office, name: string, path: string, data = {}): Promise<Reply> =>
  core.send(tokens[name] ?? "", "update", path, data);

async function ask(office: Office): Promise<{ token: string; accessor: string }> {
  const reply = await office.core.send(office.tokens["ann"] ?? "", "read", SECRET);
  expect([reply.status, reply.text.includes("swordfish"), reply.data]).toEqual([200, false, {}]);
  const info = objectOf(reply.body, "wrap_info");
  return { token: textOf(info, "token"), accessor: textOf(info, "accessor") };
}

const approve = (office: Office, name: string, accessor: string): Promise<Reply> =>
  say(office, name, "sys/control-group/authorize", { accessor });
const unwrap = (office: Office, token: string): Promise<Reply> =>
  office.core.send("", "update", "sys/wrapping/unwrap", { token });

describe("a request under a control group", () => {
  it("is done once, when enough have approved, and leaves nothing", async () => {
    const office = await startOffice(2);
    const before = (await office.core.dump()).size;
    const { token, accessor } = await ask(office);
    const early = await unwrap(office, token);
    expect([early.status, early.error]).toEqual([400, "request needs further approval"]);
    expect((await approve(office, "bob", accessor)).data).toEqual({ approved: false });
    expect((await approve(office, "bob", accessor)).data).toEqual({ approved: false });
    expect((await unwrap(office, token)).status).toBe(400);
    expect((await approve(office, "cid", accessor)).data).toEqual({ approved: true });
    expect((await unwrap(office, token)).data).toEqual({ password: "swordfish" });
    expect((await unwrap(office, token)).status).toBe(400);
    expect((await office.core.dump()).size).toBe(before);
  });

  it("has its effect then and not before, in its requester's name", async () => {
    const office = await startOffice();
    const reply = await say(office, "ann", SECRET, { password: "new" });
    const info = objectOf(reply.body, "wrap_info");
    expect((await office.core.root("read", SECRET)).data).toEqual({ password: "swordfish" });
    await approve(office, "bob", textOf(info, "accessor"));
    expect((await unwrap(office, textOf(info, "token"))).status).toBe(204);
    expect((await office.core.root("read", SECRET)).data).toEqual({ password: "new" });
  });

  it("counts two approvals that come at the same time, and is done for one of two who unwrap", async () => {
    const office = await startOffice(2);
    const { token, accessor } = await ask(office);
    const replies = await Promise.all([approve(office, "bob", accessor), approve(office, "cid", accessor)]);
    expect(replies.map(({ data }) => data["approved"]).sort()).toEqual([false, true]);
    const both = await Promise.all([unwrap(office, token), unwrap(office, token)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 400]);
  });

  it("is asked, approved and done by different nodes of one store, with every digit of its numbers", async () => {
    const office = await startOffice();
    const node = async (): Promise<Core> => {
      const server = assemble(coreParts({ storage: office.core.storage, clock: office.core.clock }));
      await server.services.node.tryAutoUnseal();
      return {
        ...office.core,
        send: (token, operation, path, data, options) =>
          sendTo(server, requestOf(token, operation, path, data ?? {}, options)),
      };
    };
    const [second, third] = [await node(), await node()];
    const body = parseJson('{"n":9007199254740993,"f":1.10}');
    const reply = await say(office, "ann", SECRET, isJsonObject(body) ? body : {});
    const info = objectOf(reply.body, "wrap_info");
    await approve({ ...office, core: second }, "bob", textOf(info, "accessor"));
    expect((await unwrap({ ...office, core: third }, textOf(info, "token"))).status).toBe(204);
    expect((await office.core.root("read", SECRET)).text).toContain('{"f":1.10,"n":9007199254740993}');
    expect((await unwrap(office, textOf(info, "token"))).status).toBe(400);
  });

  it("tells how far it is, and what it is to who may approve it", async () => {
    const office = await startOffice(2);
    const { accessor } = await ask(office);
    await approve(office, "bob", accessor);
    const status = (name: string) => say(office, name, "sys/control-group/request", { accessor });
    const { data } = await status("ann");
    expect(data).toMatchObject({ approved: false, request_path: SECRET, request_operation: "read" });
    expect(data["authorizations"]).toHaveLength(1);
    expect(data).not.toHaveProperty("request_data");
    expect((await status("cid")).data).toHaveProperty("request_data");
    expect((await status("eve")).data).not.toHaveProperty("request_data");
  });

  it.each([
    ["who is in no such group", "eve"],
    ["a token that is nobody's", "none"],
  ])("cannot be approved by %s", async (_who, name) => {
    const office = await startOffice();
    const { accessor } = await ask(office);
    const none = await office.core.token({ policies: ["approver"] });
    const reply = await approve({ core: office.core, tokens: { ...office.tokens, none } }, name, accessor);
    expect(reply.status).toBe(403);
  });

  it.each([
    ["", 403],
    ["self_authorization = true", 200],
  ])("is approved by its own requester only where the policy says so: %j", async (more, status) => {
    const office = await startOffice(1, more);
    const ann = await office.core.root("update", "auth/token/lookup", { token: office.tokens["ann"] ?? "" });
    await office.core.root("update", "identity/group", {
      name: "managers",
      member_entity_ids: [textOf(ann.data, "entity_id")],
    });
    const { accessor } = await ask(office);
    expect((await approve(office, "ann", accessor)).status).toBe(status);
  });

  it("of a token without an entity is not kept: its maker could approve it", async () => {
    const office = await startOffice();
    const nobody = await office.core.token({ policies: ["asker"] });
    const before = await office.core.dump();
    const reply = await office.core.send(nobody, "read", SECRET);
    expect([reply.status, reply.error]).toEqual([403, expect.stringContaining("the token has no entity")]);
    expect([...(await office.core.dump()).keys()]).toEqual([...before.keys()]);
  });

  it("of a token without an entity is kept where self_authorization is on, and not approved once it is off", async () => {
    const office = await startOffice(1, "self_authorization = true");
    const nobody = await office.core.token({ policies: ["asker"] });
    const asNobody = { ...office, tokens: { ...office.tokens, ann: nobody } };
    const first = await ask(asNobody);
    expect((await approve(office, "bob", first.accessor)).data).toEqual({ approved: true });
    expect((await unwrap(office, first.token)).data).toEqual({ password: "swordfish" });
    const second = await ask(asNobody);
    await office.core.policy("asker", controlled(1));
    const { data } = await say(office, "bob", "sys/control-group/request", { accessor: second.accessor });
    expect(data).toMatchObject({ approved: false, request_data: {} });
    expect((await approve(office, "bob", second.accessor)).status).toBe(403);
    expect((await unwrap(office, second.token)).status).toBe(400);
  });

  it("of an inline login is not kept, for its token would live on in it", async () => {
    const { core } = await startOffice();
    await core.root("update", "sys/auth/up", { type: "userpass" });
    await core.root("update", "auth/up/users/ann", { password: "pw", token_policies: ["asker"] });
    const password = Buffer.from('{"key":"password","value":"pw"}').toString("base64url");
    const headers = { "x-vault-inline-auth-path": "up/login/ann", "x-vault-inline-auth-parameter-p": password };
    const reply = await core.send("", "read", SECRET, {}, { headers });
    expect([reply.status, reply.error]).toEqual([400, expect.stringContaining("inline authentication")]);
    expect(reply.body["wrap_info"]).toBeUndefined();
  });

  it("is not approved by whom its requester was merged into", async () => {
    const office = await startOffice();
    const idOf = async (name: string) => {
      const { data } = await office.core.root("update", "auth/token/lookup", { token: office.tokens[name] ?? "" });
      return textOf(data, "entity_id");
    };
    const [ann, gus] = [await idOf("ann"), (await logInAt(office.core, "gus")).entityId];
    const { token, accessor } = await ask(office);
    await office.core.root("update", "identity/group", { name: "managers", member_entity_ids: [gus] });
    await office.core.root("update", "identity/entity/merge", { from_entity_ids: [ann], to_entity_id: gus });
    expect((await approve(office, "ann", accessor)).error).toBe("a request cannot be approved by who made it");
    expect((await unwrap(office, token)).error).toBe("request needs further approval");
  });

  it("is not done by the approval of one whom its requester was merged into since", async () => {
    const office = await startOffice();
    const { data: ann } = await office.core.root("update", "auth/token/lookup", { token: office.tokens["ann"] ?? "" });
    const gus = await logInAt(office.core, "gus");
    await office.core.root("update", "identity/group", { name: "managers", member_entity_ids: [gus.entityId] });
    const { token, accessor } = await ask(office);
    const { data } = await office.core.send(gus.token, "update", "sys/control-group/authorize", { accessor });
    expect(data).toEqual({ approved: true });
    const merge = { from_entity_ids: [textOf(ann, "entity_id")], to_entity_id: gus.entityId };
    await office.core.root("update", "identity/entity/merge", merge);
    expect((await unwrap(office, token)).error).toBe("request needs further approval");
  });

  it("is not done when its requester's token has ended meanwhile", async () => {
    const office = await startOffice();
    const { token, accessor } = await ask(office);
    await approve(office, "bob", accessor);
    await office.core.root("update", "auth/token/revoke", { token: office.tokens["ann"] ?? "" });
    const reply = await unwrap(office, token);
    expect([reply.status, reply.error]).toEqual([
      403,
      "the token that made the request has ended; make the request anew",
    ]);
  });

  it("follows the policies of the moment: refused, in need of more, or free", async () => {
    const office = await startOffice();
    const { token, accessor } = await ask(office);
    await approve(office, "bob", accessor);
    await office.core.policy("asker", 'path "other" { capabilities = ["read"] }');
    expect((await unwrap(office, token)).status).toBe(403);
    await office.core.policy("asker", controlled(2));
    expect((await unwrap(office, token)).status).toBe(400);
    await office.core.policy("asker", `path "${SECRET}" { capabilities = ["read"] }`);
    expect((await unwrap(office, token)).data).toEqual({ password: "swordfish" });
  });

  it("does not count who has left the group or was disabled since", async () => {
    const office = await startOffice();
    const { token, accessor } = await ask(office);
    await approve(office, "bob", accessor);
    await office.core.root("update", "identity/group", { name: "managers", member_entity_ids: [] });
    expect((await unwrap(office, token)).error).toBe("request needs further approval");
  });

  it("expires, by its policy or by the server's limit, and nothing is left of it", async () => {
    const office = await startOffice(1, 'ttl = "2h"');
    const before = (await office.core.dump()).size;
    const { token, accessor } = await ask(office);
    await office.core.root("update", "sys/config/control-group", { max_ttl: "1h" });
    expect((await office.core.root("read", "sys/config/control-group")).data).toEqual({ max_ttl: "1h0m0s" });
    const short = await ask(office);
    await office.core.clock.advance(3_600_000);
    expect((await approve(office, "bob", short.accessor)).status).toBe(400);
    expect((await unwrap(office, short.token)).status).toBe(400);
    expect((await approve(office, "bob", accessor)).status).toBe(200);
    await office.core.clock.advance(3_600_000);
    expect((await unwrap(office, token)).status).toBe(400);
    await office.core.settle();
    await office.core.root("delete", "sys/config/control-group");
    expect((await office.core.dump()).size).toBe(before);
  });

  it("can be looked at as a wrapping token and not be rewrapped", async () => {
    const office = await startOffice();
    const { token } = await ask(office);
    const shown = await office.core.send("", "update", "sys/wrapping/lookup", { token });
    expect(shown.data).toMatchObject({ creation_path: SECRET, creation_ttl: 86_400 });
    expect((await office.core.root("update", "sys/wrapping/rewrap", { token }).catch(String)).toString()).toContain(
      "cannot be rewrapped",
    );
  });

  it("that makes a token makes a child of its requester's", async () => {
    const office = await startOffice();
    await office.core.policy(
      "asker",
      `path "auth/token/create" { capabilities = ["update"] control_group { factor "f" {
        identity { group_names = ["managers"] } } } }`,
    );
    const reply = await say(office, "ann", "auth/token/create", { ttl: "1h" });
    const info = objectOf(reply.body, "wrap_info");
    await approve(office, "bob", textOf(info, "accessor"));
    const { auth } = await unwrap(office, textOf(info, "token"));
    const child = textOf(auth, "client_token");
    await office.core.root("update", "auth/token/revoke", { token: office.tokens["ann"] ?? "" });
    await office.core.settle();
    expect((await office.core.send(child, "read", "auth/token/lookup-self")).status).toBe(403);
  });

  it("is audited as a request of its own when it is done, beside the one that unwraps it", async () => {
    const office = await startOffice();
    const folder = await mkdtemp(join(tmpdir(), "coffer-held-"));
    try {
      const file = join(folder, "audit.log");
      await office.core.root("update", "sys/audit/file", { type: "file", options: { file_path: file } });
      const { token, accessor } = await ask(office);
      await approve(office, "bob", accessor);
      await unwrap(office, token);
      const lines = (await readFile(file, "utf8"))
        .trim()
        .split("\n")
        .map((line) => parseJson(line));
      const told = lines.filter(isJsonObject).map((line) => {
        const request = objectOf(line, "request");
        return `${String(line["type"])} ${String(request["operation"])} ${String(request["path"])}`;
      });
      expect(told.slice(-4)).toEqual([
        "request update sys/wrapping/unwrap",
        `request read ${SECRET}`,
        `response read ${SECRET}`,
        "response update sys/wrapping/unwrap",
      ]);
      expect(await readFile(file, "utf8")).not.toContain("swordfish");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("of a batch token is done while that token lives", async () => {
    const office = await startOffice();
    const { token: batch } = await logIn(office.core, "ann", ["asker"], { type: "batch" });
    const first = await ask({ ...office, tokens: { ...office.tokens, ann: batch } });
    const second = await ask({ ...office, tokens: { ...office.tokens, ann: batch } });
    await approve(office, "bob", first.accessor);
    await approve(office, "bob", second.accessor);
    expect((await unwrap(office, first.token)).data).toEqual({ password: "swordfish" });
    await office.core.clock.advance(36_000_000);
    expect((await unwrap(office, second.token)).status).toBe(403);
  });

  it("is no way around a token's last use", async () => {
    const office = await startOffice();
    const { token: once } = await logIn(office.core, "ann", ["asker"], { numUses: 1 });
    const { token, accessor } = await ask({ ...office, tokens: { ...office.tokens, ann: once } });
    expect((await approve(office, "bob", accessor)).status).toBe(403);
    expect((await unwrap(office, token)).status).toBe(403);
  });
});
