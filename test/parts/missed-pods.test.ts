// Pods that ask for secrets and have no agent, on a real API server without a node: who is told of, and who is evicted.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "#common/clock.ts";
import { isJsonObject, type JsonObject } from "#common/json.ts";
import { silentLog } from "#common/log.ts";
import { Evictions } from "#injector/missed/evictions.ts";
import { MissedPods } from "#injector/missed/missed-pods.ts";
import { createEventRecorder } from "#kube/events.ts";
import { EVENT, NAMESPACE, POD } from "#kube/resource-kinds.ts";
import { binding, pod, settings, surroundings } from "#test/injector/fixtures.ts";
import { findKubePrograms, type KubeApi, startKubeApi } from "#test/kit/kube-api.ts";

const programs = findKubePrograms(process.env);
/** Its waits are short; those of calls are not. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 50), signal) };
const rules = { vaultAnnotations: true, excludedNamespaces: new Set(["kube-system"]) };
const ANNOTATED = { annotations: { "vault.hashicorp.com/agent-inject": "true" }, labels: { app: "web" } };

describe.skipIf(programs === undefined)("pods without injection", () => {
  let api: KubeApi;
  beforeAll(async () => {
    api = await startKubeApi(programs ?? "");
    await api.client.create(NAMESPACE, { metadata: { name: "team" } });
    await api.client.create(NAMESPACE, { metadata: { name: "kube-system" } }).catch(() => undefined);
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
  });

  async function create(
    name: string,
    { owner = "", kind = "ReplicaSet", metadata = {}, spec = {}, namespace = "team" } = {},
  ) {
    const reference = { apiVersion: "apps/v1", kind, name: owner, uid: owner, controller: true };
    const shape = pod(spec, metadata);
    const meta = isJsonObject(shape["metadata"]) ? shape["metadata"] : {};
    await api.client.create(POD, {
      ...shape,
      metadata: { ...meta, name, namespace, ...(owner !== "" && { ownerReferences: [reference] }) },
    });
  }

  const names = async (namespace = "team") =>
    (await api.client.list(POD, { namespace })).items.map(({ metadata }) => metadata.name).sort();
  const told = async (): Promise<readonly JsonObject[]> =>
    (await api.client.list(EVENT)).items.filter((event) => event["reason"] === "NotInjected");

  async function watching(evicts: boolean) {
    const stop = new AbortController();
    let evicted = 0;
    const parts = { client: api.client, clock: hasty, log: silentLog };
    const catalog = {
      isSynced: () => true,
      surroundings: () => surroundings([binding("app", { selector: { matchLabels: { app: "web" } } })]),
      [Symbol.dispose]: () => undefined,
    };
    const evictions = evicts
      ? new Evictions({ ...parts, catalog, settings, onEvicted: () => void evicted++ })
      : undefined;
    const missed = new MissedPods({
      ...parts,
      ...{ rules, evictions, isReady: () => true },
      events: createEventRecorder({ client: api.client, instance: "injector-1", clock: systemClock, log: silentLog }),
    });
    const running = missed.run(stop.signal);
    return {
      missed,
      evicted: () => evicted,
      async [Symbol.asyncDispose]() {
        stop.abort();
        await running;
      },
    };
  }

  it("are told of by an event each, with what to do", async () => {
    await create("old-1", { owner: "one" });
    await create("old-2", { owner: "one" });
    await create("lone");
    await create("annotated", { metadata: ANNOTATED });
    await create("refused", { owner: "two", spec: { nodeSelector: { "kubernetes.io/os": "windows" } } });
    await create("of-a-job", { owner: "four", kind: "Job" });
    await create("system", { namespace: "kube-system", owner: "three" });
    await create("injected", {
      metadata: { labels: { "coffer.dev/inject": "true" }, annotations: { "coffer.dev/injected": "true" } },
    });
    await create("stranger", { metadata: { labels: { app: "web" } } });
    await using watch = await watching(false);
    await expect.poll(() => watch.missed.count, { timeout: 20_000 }).toBe(7);
    await expect.poll(async () => (await told()).length, { timeout: 20_000 }).toBe(7);
    const notes = Object.fromEntries(
      (await told()).map(({ regarding, note }) => [isJsonObject(regarding) ? String(regarding["name"]) : "", note]),
    );
    expect(notes["old-1"]).toMatch(/\(label coffer.dev\/inject\) and has no agent: .* Delete it, and it is made anew/);
    expect(notes["annotated"]).toMatch(/vault.hashicorp.com\/agent-inject\) and has no agent: .* Make it anew/);
    expect(notes["system"]).toMatch(/pods of this namespace are never sent/);
  });

  it("are evicted when somebody makes them anew and they would be injected, and not when they come back", async () => {
    await using watch = await watching(true);
    await expect
      .poll(names, { timeout: 20_000 })
      .toEqual(["annotated", "injected", "lone", "of-a-job", "refused", "stranger"]);
    expect(watch.evicted()).toBe(2);
    await create("came-back", { owner: "one" });
    await expect.poll(() => watch.missed.count, { timeout: 20_000 }).toBe(6);
    await systemClock.sleep(500);
    expect(await names()).toContain("came-back");
    expect(await names("kube-system")).toEqual(["system"]);
    expect(watch.evicted()).toBe(2);
  });
});
