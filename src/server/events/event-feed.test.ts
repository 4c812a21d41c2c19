import { beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "#common/log.ts";
import { type InProcessServer, startInProcessServer } from "#test/kit/in-process-server.ts";
import { EVENT_KEPT_MILLIS, EventFeed } from "./event-feed.ts";
import type { EventSelection, Subscription } from "./subscription.ts";

const ALL: EventSelection = { types: "*", namespace: "", namespaces: ["*"], dataPath: "" };
let one: InProcessServer;
let two: InProcessServer;
beforeEach(async () => {
  one = await startInProcessServer();
  two = await startInProcessServer({ beside: one });
  await one.call("update", "sys/mounts/kv", { type: "kv" });
});

async function subscribeTo(server: InProcessServer, selection = ALL): Promise<Subscription> {
  const { events } = server.server.services;
  await events.prepare();
  return events.subscribe(selection);
}
const look = (server: InProcessServer) => server.server.eventFeed.look();
const storedEvents = async () => (await one.storage.list("core/event/", { limit: 1_000 })).length;
const pathsOf = (subscription: Subscription) => subscription.take().map(({ dataPath }) => dataPath);

describe("events of other servers on one storage", () => {
  it("reach a subscriber, each once, and those of its own server too", async () => {
    const subscription = await subscribeTo(two);
    await look(one);
    await one.call("update", "kv/by-one", { password: "swordfish" });
    await two.call("update", "kv/by-two", { a: 1 });
    await look(two);
    await look(two);
    const told = subscription.take();
    expect(told.map(({ dataPath }) => dataPath).sort()).toEqual(["kv/by-one", "kv/by-two"]);
    expect(told.find(({ dataPath }) => dataPath === "kv/by-one")).toMatchObject({
      ...{ type: "kv-v1/write", namespace: "", metadata: { operation: "write" }, mount: { path: "kv/" } },
    });
    expect(JSON.stringify(told)).not.toContain("swordfish");
    subscription.close();
  });

  it("are those of namespaces as well, and only such as came to be", async () => {
    await one.call("update", "sys/namespaces/n");
    await one.call("update", "n/sys/mounts/kv", { type: "kv" });
    const subscription = await subscribeTo(two);
    await look(one);
    await one.call("update", "n/kv/a", { a: 1 });
    expect((await one.call("update", "kv/refused", {})).status).toBe(400);
    await look(two);
    expect(subscription.take().map(({ namespace, dataPath }) => [namespace, dataPath])).toEqual([["n", "kv/a"]]);
    subscription.close();
  });

  it("are not those from before the subscription", async () => {
    const early = await subscribeTo(two);
    await look(one);
    await one.call("update", "kv/early", { a: 1 });
    const three = await startInProcessServer({ beside: one });
    const late = await subscribeTo(three);
    await one.call("update", "kv/late", { a: 1 });
    await look(three);
    expect(pathsOf(late)).toEqual(["kv/late"]);
    early.close();
    late.close();
  });

  it("are not stored while nobody elsewhere listens", async () => {
    await look(one);
    await one.call("update", "kv/a", { a: 1 });
    const own = await subscribeTo(one);
    await look(one);
    await one.call("update", "kv/b", { a: 1 });
    expect(pathsOf(own)).toEqual(["kv/b"]);
    expect(await storedEvents()).toBe(0);
    own.close();
  });

  it("are stored no more when the last subscriber has gone, or is not heard of any more", async () => {
    const subscription = await subscribeTo(two);
    await look(one);
    expect(one.server.eventFeed.isWanted()).toBe(true);
    subscription.close();
    await two.clock.advance(61_000); // a subscription that was prepared and never made would end so
    await look(two);
    await look(one);
    expect(one.server.eventFeed.isWanted()).toBe(false);
    const lost = await subscribeTo(two);
    await look(one);
    expect(one.server.eventFeed.isWanted()).toBe(true);
    await one.clock.advance(31_000); // two has died
    await look(one);
    expect(one.server.eventFeed.isWanted()).toBe(false);
    expect(await one.storage.list("core/event-reader/", { limit: 10 })).toEqual([]);
    lost.close();
  });

  it("stay for a minute", async () => {
    const subscription = await subscribeTo(two);
    await look(one);
    for (let i = 0; i < 3; i++) await one.call("update", `kv/${i}`, { i });
    expect(await storedEvents()).toBe(3);
    await one.clock.advance(EVENT_KEPT_MILLIS + 1);
    await look(one);
    expect(await storedEvents()).toBe(0);
    subscription.close();
  });

  it("come in pages, however many there are", async () => {
    const subscription = await subscribeTo(two);
    await look(one);
    for (let i = 0; i < 600; i++) await one.call("update", `kv/${i}`, { i });
    await look(two);
    expect(new Set(pathsOf(subscription)).size).toBe(600);
    subscription.close();
  });
});

describe("events of worker processes of one server", () => {
  it("do not go through the storage, those of others do", async () => {
    const beside = (server: string) => {
      const { barrier } = one.server.services;
      const feed = new EventFeed({ barrier, clock: one.clock, log: silentLog, server });
      feed.connect({ deliver: () => {}, isReading: () => true });
      return feed;
    };
    const [first, sibling, other] = [beside("a"), beside("a"), beside("b")];
    await sibling.announce();
    await first.look();
    expect(first.isWanted()).toBe(false);
    await other.announce();
    await first.look();
    expect(first.isWanted()).toBe(true);
  });
});
