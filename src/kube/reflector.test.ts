import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { eventually } from "#test/kube/eventually.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { createKubeClient, type KubeClient } from "./kube-client.ts";
import {
  type Change,
  createReflector,
  RELIST_SPREAD_MILLIS,
  type Reflector,
  type ReflectorOptions,
  WATCH_DEADLINE_MILLIS_MAX,
} from "./reflector.ts";
import { CONFIG_MAP } from "./resource-kinds.ts";

const path = (name: string) => `/api/v1/namespaces/a/configmaps/${name}`;

let server: FakeApiServer;
let client: KubeClient;
let clock: FakeClock;
let abort: AbortController;
let running: Promise<void>;
let changes: string[];
beforeEach(async () => {
  server = await startFakeApiServer();
  clock = new FakeClock();
  client = await createKubeClient({ source: { from: "values", server: server.url }, fieldManager: "t", clock });
  abort = new AbortController();
  running = Promise.resolve();
  changes = [];
});
afterEach(async () => {
  abort.abort();
  await running;
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

function start(options: Partial<ReflectorOptions> = {}): Reflector {
  const reflector = createReflector({ client, kind: CONFIG_MAP, clock, log: silentLog, ...options });
  reflector.onChange((change: Change) => {
    changes.push(`${change.type} ${change.object.metadata.name}${change.initial ? " initial" : ""}`);
  });
  running = reflector.run(abort.signal);
  return reflector;
}
const lists = () => server.requests.filter((request) => request.query.get("watch") !== "true").length;
const watches = () => server.requests.filter((request) => request.query.get("watch") === "true");

describe("a reflector", () => {
  it("lists, then follows additions, modifications and deletions", async () => {
    server.put(path("one"), { data: { k: "1" } });
    const reflector = start();
    await reflector.whenSynced(abort.signal);
    expect(reflector.get("a/one")?.["data"]).toEqual({ k: "1" });
    await eventually(() => server.watchers === 1);
    server.put(path("two"), {});
    server.put(path("one"), { data: { k: "2" } });
    server.remove(path("two"));
    await eventually(() => expect(changes).toEqual(["added one initial", "added two", "modified one", "deleted two"]));
    expect(reflector.list("a").map((object) => object["data"])).toEqual([{ k: "2" }]);
    expect(reflector.list("b")).toEqual([]);
  });
  it("goes on from the last version when the server ends the watch", async () => {
    start();
    await eventually(() => server.watchers === 1);
    const last = server.put(path("one"), {});
    await eventually(() => changes.length === 1);
    server.endWatches("end");
    server.put(path("two"), {});
    await clock.advance(2000);
    await eventually(() => expect(changes).toEqual(["added one", "added two"]));
    expect(lists()).toBe(1);
    expect(watches()[1]?.query.get("resourceVersion")).toBe(String(Object(last["metadata"])["resourceVersion"]));
  });
  it("goes on from a bookmark where nothing changed", async () => {
    start();
    await eventually(() => server.watchers === 1);
    server.put("/api/v1/namespaces/a/secrets/other", {});
    server.bookmark();
    server.endWatches("end");
    await eventually(() => server.watchers === 0);
    await eventually(async () => clock.advance(2000));
    await eventually(() => watches().length === 2);
    expect(watches()[1]?.query.get("resourceVersion")).toBe("101");
  });
  it("notices within a minute that a connection has died silently, and misses nothing", async () => {
    expect(WATCH_DEADLINE_MILLIS_MAX).toBeLessThan(60_000);
    const reflector = start();
    await eventually(() => server.watchers === 1);
    server.freezeWatches(true);
    server.put(path("one"), {});
    server.freezeWatches(false);
    await clock.advance(WATCH_DEADLINE_MILLIS_MAX);
    await eventually(() => server.watchers === 0);
    await clock.advance(1000);
    await eventually(() => reflector.get("a/one") !== undefined);
    expect(lists()).toBe(1);
  });
  it("lists again when history is gone, and reports what vanished meanwhile", async () => {
    server.put(path("one"), {});
    server.put(path("two"), {});
    const reflector = start();
    await eventually(() => server.watchers === 1);
    server.freezeWatches(true);
    server.remove(path("one"));
    server.put(path("three"), {});
    server.freezeWatches(false);
    server.compact();
    server.endWatches("cut");
    await eventually(async () => {
      await clock.advance(RELIST_SPREAD_MILLIS);
      expect(lists()).toBe(2);
    });
    await eventually(() => expect(changes.slice(2).sort()).toEqual(["added three", "deleted one"]));
    expect(reflector.list().length).toBe(2);
  });
  it("tells of a deletion and an addition when an object was made anew unseen", async () => {
    server.put(path("one"), {});
    start();
    await eventually(() => server.watchers === 1);
    server.freezeWatches(true);
    server.remove(path("one"));
    server.put(path("one"), {});
    server.freezeWatches(false);
    server.compact();
    server.endWatches("cut");
    await eventually(async () => {
      await clock.advance(RELIST_SPREAD_MILLIS);
      expect(changes).toEqual(["added one initial", "deleted one", "added one"]);
    });
  });
  it("waits out an API server that is away", async () => {
    let away = true;
    server.intercept((_request, response) => {
      if (away) response.writeHead(500).end();
      return away;
    });
    const reflector = start();
    await eventually(() => server.requests.length === 1);
    away = false;
    await eventually(async () => {
      await clock.advance(10);
      expect(server.requests.length).toBeGreaterThan(1);
    });
    await eventually(() => reflector.isSynced());
  });
  it("asks for metadata and by selector when told so", async () => {
    server.put(path("one"), { metadata: { labels: { app: "x" } } });
    server.put(path("two"), {});
    const reflector = start({ metadataOnly: true, labelSelector: "app=x", namespace: "a" });
    await eventually(() => server.watchers === 1);
    expect(reflector.list().map((object) => object.metadata.name)).toEqual(["one"]);
    expect(server.requests.map((request) => request.headers.accept)).toEqual([
      expect.stringContaining("PartialObjectMetadataList"),
      expect.stringMatching(/PartialObjectMetadata;/),
    ]);
  });
  it("repeats every object at the resync", async () => {
    server.put(path("one"), {});
    start({ resyncMillis: 600_000 });
    await eventually(() => server.watchers === 1);
    await clock.advance(600_000);
    await eventually(() => expect(changes).toEqual(["added one initial", "resync one"]));
  });
  it("gives a late handler what is there already, and survives a handler that throws", async () => {
    server.put(path("one"), {});
    const reflector = start();
    await reflector.whenSynced(abort.signal);
    const seen: string[] = [];
    reflector.onChange(() => {
      throw new Error("broken");
    });
    using _ = reflector.onChange((change) => void seen.push(change.object.metadata.name));
    expect(seen).toEqual(["one"]);
  });
  it("drops managed fields", async () => {
    server.put(path("one"), { metadata: { managedFields: [{ manager: "x" }] } });
    const reflector = start();
    await reflector.whenSynced(abort.signal);
    expect(Object.keys(reflector.get("a/one")?.metadata ?? {})).not.toContain("managedFields");
  });
});
