import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import {
  BURST_EVENTS,
  createEventRecorder,
  type EventRecorder,
  NOTE_CHARACTERS_MAX,
  REFILL_MILLIS,
  SERIES_MILLIS,
  SERIES_WRITE_MILLIS,
} from "./events.ts";
import { createKubeClient, type KubeClient } from "./kube-client.ts";
import { asKubeObject } from "./kube-object.ts";
import { EVENT, POD } from "./resource-kinds.ts";

const POD_A = asKubeObject({ metadata: { namespace: "a", name: "p", uid: "u1", resourceVersion: "7" } }, POD);

let server: FakeApiServer;
let client: KubeClient;
let clock: FakeClock;
let recorder: EventRecorder;
beforeEach(async () => {
  server = await startFakeApiServer();
  clock = new FakeClock();
  client = await createKubeClient({ source: { from: "values", server: server.url }, fieldManager: "coffer", clock });
  recorder = createEventRecorder({ client, instance: "pod-1", clock, log: silentLog });
});
afterEach(async () => {
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

function record(note: string, regarding = POD_A): void {
  recorder.record({ regarding, type: "Warning", reason: "Broken", action: "Repair", note });
}
async function events() {
  await recorder.flush();
  return (await client.list(EVENT)).items;
}

describe("an event recorder", () => {
  it("writes what happened to what", async () => {
    record("a note");
    expect(await events()).toMatchObject([
      {
        metadata: { namespace: "a" },
        eventTime: "2026-01-01T00:00:00.000000Z",
        type: "Warning",
        reason: "Broken",
        action: "Repair",
        note: "a note",
        reportingController: "coffer",
        reportingInstance: "pod-1",
        regarding: { apiVersion: "v1", kind: "Pod", namespace: "a", name: "p", uid: "u1", resourceVersion: "7" },
      },
    ]);
  });
  it("counts repetitions in one event and writes the count seldom", async () => {
    for (let i = 0; i < 50; i++) record("same");
    await clock.advance(SERIES_WRITE_MILLIS);
    record("same");
    expect(await events()).toMatchObject([{ series: { count: 51 } }]);
    expect(server.requests.filter((request) => request.method === "PATCH").length).toBe(2);
  });
  it("begins a new event after a silence", async () => {
    record("same");
    await clock.advance(SERIES_MILLIS);
    record("same");
    expect((await events()).length).toBe(2);
  });
  it("holds a chatty object to its budget and lets others speak", async () => {
    for (let i = 0; i < BURST_EVENTS + 10; i++) record(`note ${i}`);
    record("other", asKubeObject({ metadata: { namespace: "b", name: "q" } }, POD));
    expect((await events()).length).toBe(BURST_EVENTS + 1);
    await clock.advance(REFILL_MILLIS);
    record("later");
    record("later still");
    expect((await events()).length).toBe(BURST_EVENTS + 2);
  });
  it("cuts long notes", async () => {
    record("x".repeat(NOTE_CHARACTERS_MAX + 1));
    expect(String((await events())[0]?.["note"]).length).toBe(NOTE_CHARACTERS_MAX);
  });
  it("survives an API server that refuses", async () => {
    server.intercept((_request, response) => {
      response.writeHead(403).end();
      return true;
    });
    record("lost");
    await recorder.flush();
    server.intercept(undefined);
    record("found");
    expect((await events()).map((event) => event["note"])).toEqual(["found"]);
  });
});
