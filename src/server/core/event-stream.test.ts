import { describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject, parseJson } from "#common/json.ts";
import { type Core, objectOf, requestOf, sendTo, startCore, textOf } from "#test/kit/core.ts";
import { createProbe } from "#test/kit/probe-engine.ts";
import { SUBSCRIPTIONS_MAX } from "../events/events.ts";
import { QUEUE_MAX } from "../events/subscription.ts";
import type { EventStream } from "./event-stream.ts";
import type { Answer } from "./request.ts";

const POLICY = `
  path "sys/events/subscribe/*" { capabilities = ["subscribe"] }
  path "secret/open/*" { capabilities = ["subscribe"] }
  path "secret/written/*" {
    capabilities = ["subscribe"]
    subscribe_event_types = ["kv-v1/wri*"]
  }`;

async function startEvents(): Promise<Core> {
  const core = await startCore();
  await core.root("update", "sys/mounts/secret", { type: "kv" });
  await core.root("update", "sys/mounts/two", { type: "kv", options: { version: "2" } });
  await core.policy("listener", POLICY);
  return core;
}

function ask(core: Core, token: string, type: string, query: JsonObject = { json: "true" }): Promise<Answer> {
  const request = requestOf(token, "read", `sys/events/subscribe/${type}`, query);
  return core.server.serve({ ...request, upgrade: "websocket" });
}

async function subscribe(core: Core, token: string, type: string, query: JsonObject = {}): Promise<EventStream> {
  const { status, stream, body } = await ask(core, token, type, { json: "true", ...query });
  if (!stream) throw new Error(`answered ${status} ${String(body)}`);
  return stream;
}

async function next(stream: EventStream, signal = new AbortController().signal): Promise<readonly JsonObject[]> {
  const delivery = await stream.next(signal);
  if ("end" in delivery) throw new Error(`the stream ended: ${delivery.end.code} ${delivery.end.reason}`);
  return delivery.texts.map((text) => {
    const event = parseJson(text);
    return isJsonObject(event) ? event : {};
  });
}

const metadataOf = (event: JsonObject | undefined) =>
  objectOf(objectOf(objectOf(event ?? {}, "data"), "event"), "metadata");

describe("a subscription", () => {
  it("tells what was committed, in the form that clients know, and no secret", async () => {
    const core = await startEvents();
    const stream = await subscribe(core, core.rootToken, "kv-v2/data-*");
    await core.root("update", "two/data/a/b", { data: { password: "swordfish" } });
    const [event] = await next(stream);
    expect(event).toMatchObject({
      specversion: "1.0",
      source: "coffer://test",
      type: "kv-v2/data-write",
      data: {
        event_type: "kv-v2/data-write",
        namespace: "",
        event: {
          metadata: {
            current_version: "1",
            oldest_version: "0",
            data_path: "two/data/a/b",
            path: "two/data/a/b",
            operation: "data-write",
            modified: "true",
          },
        },
        plugin_info: { mount_class: "secret", mount_path: "two/", plugin: "kv", version: "2" },
      },
    });
    expect(JSON.stringify(event)).not.toContain("swordfish");
    stream.close();
    expect(core.services.events.subscribers).toBe(0);
  });

  it("tells every kind of change of KV version 2", async () => {
    const core = await startEvents();
    const stream = await subscribe(core, core.rootToken, "kv-v2/*");
    await core.root("update", "two/config", { max_versions: 5 });
    await core.root("update", "two/data/a", { data: { x: 1 } });
    await core.root("patch", "two/data/a", { data: { y: 1 } });
    await core.root("delete", "two/data/a");
    await core.root("update", "two/undelete/a", { versions: [2] });
    await core.root("update", "two/delete/a", { versions: [1, 2] });
    await core.root("update", "two/destroy/a", { versions: [1] });
    await core.root("update", "two/metadata/a", { max_versions: 3 });
    await core.root("patch", "two/metadata/a", { max_versions: 4 });
    await core.root("delete", "two/metadata/a");
    const events = await next(stream);
    expect(events.map((event) => textOf(event, "type").slice("kv-v2/".length))).toEqual([
      ...["config-write", "data-write", "data-patch", "data-delete", "undelete", "delete", "destroy"],
      ...["metadata-write", "metadata-patch", "metadata-delete"],
    ]);
    expect(metadataOf(events[5])).toMatchObject({ path: "two/delete/a", data_path: "two/data/a" });
    expect(metadataOf(events[5])).toMatchObject({ deleted_versions: "[1,2]" });
  });

  it("hears nothing of a request that failed", async () => {
    const core = await startEvents();
    const stream = await subscribe(core, core.rootToken, "*");
    expect((await core.send(core.rootToken, "update", "two/data/a", { options: { cas: 7 }, data: {} })).status).toBe(
      400,
    );
    await core.root("update", "secret/a", { x: 1 });
    expect((await next(stream)).map((event) => event["type"])).toEqual(["kv-v1/write"]);
  });

  it("hears once of each of many writes that meet conflicts", async () => {
    const core = await startEvents();
    const stream = await subscribe(core, core.rootToken, "*");
    await Promise.all(Array.from({ length: 20 }, (_, x) => core.root("update", "two/data/a", { data: { x } })));
    const versions = (await next(stream)).map((event) => Number(metadataOf(event)["current_version"]));
    expect(versions.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  });

  it("holds only what the token may see at that moment", async () => {
    const core = await startEvents();
    const stream = await subscribe(core, await core.token({ policies: ["listener"] }), "kv-v1/*");
    for (const path of ["secret/hidden/a", "secret/open/a", "secret/written/a"]) {
      await core.root("update", path, { x: 1 });
      await core.root("delete", path);
    }
    expect((await next(stream)).map((event) => [event["type"], metadataOf(event)["data_path"]])).toEqual([
      ["kv-v1/write", "secret/open/a"],
      ["kv-v1/delete", "secret/open/a"],
      ["kv-v1/write", "secret/written/a"],
    ]);
    await core.policy("listener", POLICY.replace("secret/open", "secret/closed"));
    await core.root("update", "secret/open/a", { x: 1 });
    await core.root("update", "secret/closed/a", { x: 1 });
    expect((await next(stream)).map((event) => metadataOf(event)["data_path"])).toEqual(["secret/closed/a"]);
  });

  it("is for one data path when asked so", async () => {
    const core = await startEvents();
    const stream = await subscribe(core, core.rootToken, "*", { data_path: "secret/open/*" });
    await core.root("update", "secret/hidden/a", { x: 1 });
    await core.root("update", "secret/open/b", { x: 1 });
    expect((await next(stream)).map((event) => metadataOf(event)["data_path"])).toEqual(["secret/open/b"]);
  });

  it.each([
    ["is revoked", (core: Core, token: string) => core.send(token, "update", "auth/token/revoke-self")],
    ["expires", (core: Core) => core.clock.advance(3_600_000)],
    ["may no longer subscribe", (core: Core) => core.policy("listener", 'path "x" { capabilities = ["read"] }')],
  ])("ends when its token %s", async (_what, happen) => {
    const core = await startEvents();
    const token = await core.token({ policies: ["default", "listener"], ttl: "1h" });
    const stream = await subscribe(core, token, "*");
    const waiting = stream.next(new AbortController().signal);
    await happen(core, token);
    await core.clock.advance(5_000);
    expect(await waiting).toMatchObject({ end: { code: 1008 } });
  });

  it("ends when it is read too slowly", async () => {
    const core = await startEvents();
    const stream = await subscribe(core, core.rootToken, "*");
    for (let i = 0; i <= QUEUE_MAX; i++) await core.root("update", "secret/a", { i });
    expect(stream.overflowed.aborted).toBe(true);
    expect(await stream.next(new AbortController().signal)).toMatchObject({ end: { code: 1013 } });
  });

  it("ends when the server is sealed", async () => {
    const core = await startEvents();
    const stream = await subscribe(core, core.rootToken, "*");
    const waiting = stream.next(new AbortController().signal);
    await core.root("update", "sys/seal");
    await core.clock.advance(5_000);
    expect(await waiting).toMatchObject({ end: { code: 1012 } });
  });

  it("tells of leases: issued, renewed, ended", async () => {
    const core = await startCore({ engines: [createProbe().type] });
    await core.root("update", "sys/mounts/probe", { type: "probe" });
    await core.root("update", "probe/note/config", { text: "needed to end a lease" });
    const stream = await subscribe(core, core.rootToken, "lease/*");
    const issue = async () => textOf((await core.root("read", "probe/lease/a", { ttl: 60 })).body, "lease_id");
    const first = await issue();
    await core.root("update", "sys/leases/renew", { lease_id: first });
    await core.root("update", "sys/leases/revoke", { lease_id: first });
    const second = await issue();
    await core.clock.advance(60_000);
    await core.settle();
    expect((await next(stream)).map((event) => [event["type"], metadataOf(event)["lease_id"]])).toEqual([
      ...["lease/create", "lease/renew", "lease/revoke"].map((type) => [type, first]),
      ...["lease/create", "lease/revoke"].map((type) => [type, second]),
    ]);
  });
});

describe("asking for a subscription", () => {
  it.each([
    [
      "without a socket",
      {},
      "events come over a WebSocket; connect with ws:// or wss:// (a GET with Upgrade: websocket)",
    ],
  ])("is refused %s", async (_what, query, error) => {
    const core = await startEvents();
    const reply = await sendTo(
      core.server,
      requestOf(core.rootToken, "read", "sys/events/subscribe/kv-v1/write", query),
    );
    expect([reply.status, reply.error]).toEqual([400, error]);
  });

  it("is refused without json=true, without a token and without the right", async () => {
    const core = await startEvents();
    expect((await ask(core, core.rootToken, "*", {})).status).toBe(400);
    expect((await ask(core, "", "*")).status).toBe(403);
    expect((await ask(core, await core.token({ policies: ["default"] }), "*")).status).toBe(403);
    expect(core.services.events.subscribers).toBe(0);
  });

  it("is granted by read as by subscribe", async () => {
    const core = await startEvents();
    await core.policy("reader", 'path "sys/events/subscribe/kv-v1/write" { capabilities = ["read"] }');
    const token = await core.token({ policies: ["reader"] });
    expect((await ask(core, token, "kv-v1/write")).status).toBe(101);
    expect((await ask(core, token, "kv-v1/*")).status).toBe(403);
  });

  it("is refused beyond the number that a node takes", async () => {
    const core = await startEvents();
    for (let i = 0; i < SUBSCRIPTIONS_MAX; i++)
      core.services.events.subscribe({ types: "*", namespace: "", namespaces: [], dataPath: "" });
    expect((await ask(core, core.rootToken, "*")).status).toBe(429);
  });
});
