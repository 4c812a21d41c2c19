import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeClock } from "#common/clock.ts";
import { silentLog } from "#common/log.ts";
import { createMetrics } from "#common/metrics.ts";
import { eventually } from "#test/kube/eventually.ts";
import { type FakeApiServer, startFakeApiServer } from "#test/kube/fake-api-server.ts";
import { createController, declareControllerMetrics, type Reconcile } from "./controller.ts";
import { createKubeClient, type KubeClient } from "./kube-client.ts";
import { createReflector } from "./reflector.ts";
import { CONFIG_MAP } from "./resource-kinds.ts";

let server: FakeApiServer;
let client: KubeClient;
let clock: FakeClock;
let abort: AbortController;
let running: Promise<unknown>;
beforeEach(async () => {
  server = await startFakeApiServer();
  clock = new FakeClock();
  client = await createKubeClient({ source: { from: "values", server: server.url }, fieldManager: "t", clock });
  abort = new AbortController();
});
afterEach(async () => {
  abort.abort();
  await running;
  client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

function start(reconcile: Reconcile) {
  const metrics = createMetrics();
  const reflector = createReflector({ client, kind: CONFIG_MAP, clock, log: silentLog });
  const controller = createController({
    name: "things",
    sources: [{ reflector }],
    reconcile,
    clock,
    log: silentLog,
    metrics: declareControllerMetrics(metrics),
    timeoutMillis: 10_000,
  });
  running = Promise.all([reflector.run(abort.signal), controller.run(abort.signal)]);
  return { controller, metrics };
}

describe("a controller", () => {
  it("reconciles what is there and what changes", async () => {
    server.put("/api/v1/namespaces/a/configmaps/one", {});
    const seen: string[] = [];
    start(async (key) => {
      seen.push(key);
      return undefined;
    });
    await eventually(() => expect(seen).toEqual(["a/one"]));
    await eventually(() => server.watchers === 1);
    server.put("/api/v1/namespaces/b/configmaps/two", {});
    await eventually(() => expect(seen).toEqual(["a/one", "b/two"]));
  });
  it("tries again after a failure and counts it", async () => {
    let calls = 0;
    const { controller, metrics } = start(async () => {
      if (++calls < 3) throw new Error("not today");
      return undefined;
    });
    controller.enqueue("k");
    await eventually(async () => {
      await clock.advance(1000);
      expect(calls).toBe(3);
    });
    await eventually(() => {
      expect(metrics.render()).toContain('reconciles_total{controller="things",result="failed"} 2');
      expect(metrics.render()).toContain('reconciles_total{controller="things",result="done"} 1');
    });
  });
  it("comes back when asked to", async () => {
    let calls = 0;
    const { controller } = start(async () => ({ requeueAfterMillis: ++calls < 2 ? 60_000 : undefined }));
    controller.enqueue("k");
    await eventually(() => expect(controller.queueSizes().waiting).toBe(1));
    await clock.advance(59_000);
    expect(calls).toBe(1);
    await clock.advance(1000);
    await eventually(() => expect(calls).toBe(2));
  });
  it("aborts a reconcile that takes too long", async () => {
    const reasons: unknown[] = [];
    const { controller } = start(
      (_key, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => {
            reasons.push(signal.reason);
            reject(signal.reason);
          });
        }),
    );
    controller.enqueue("k");
    await eventually(() => expect(controller.queueSizes().working).toBe(1));
    await clock.advance(10_000);
    await eventually(() => expect(reasons).toMatchObject([{ name: "DeadlineExceeded" }]));
  });
});
